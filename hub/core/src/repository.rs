//! Git repositories of records: what may go when it is gone there.

use std::collections::BTreeSet;

use crate::{allowance::Allowance, brake::Loss};

/// What becomes of records that came from a repository and are gone there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// There are none.
    None,
    /// They stay, and are named.
    Stay,
    /// They are deleted.
    Go,
    /// They are deleted because somebody said so: the word is used.
    GoByWord,
    /// So many would go that somebody must say so.
    Braked(Loss),
}

/// Decides what becomes of the records `leaving` of the `held` ones of a repository. More than max(1, 20 %) takes
/// somebody's word, `allowance`: a moved folder must not take applications away from the fleet. What a word that
/// was used covers goes without another one.
#[must_use]
pub fn orphans(
    prune: bool,
    leaving: &BTreeSet<String>,
    held: usize,
    allowance: &Allowance,
) -> Orphans {
    let covers = still_covered(leaving, allowance);
    let counts = leaving.len() - covers.len();
    match (leaving.len(), prune) {
        (0, _) => Orphans::None,
        (_, false) => Orphans::Stay,
        (_, true) if counts <= (held / 5).max(1) => Orphans::Go,
        (_, true) if allowance.count().is_some_and(|allowed| counts <= allowed) => {
            Orphans::GoByWord
        }
        (_, true) => Orphans::Braked(Loss {
            leaving: counts,
            holding: held,
        }),
    }
}

/// Which of the records `leaving` a word that was used covers still: one that came back needs another word to go
/// again.
#[must_use]
pub fn still_covered(leaving: &BTreeSet<String>, allowance: &Allowance) -> BTreeSet<String> {
    let covers = allowance.spent().map_or(&[][..], |spent| &spent.covers);
    let covered = covers.iter().filter(|name| leaving.contains(*name));
    covered.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allowance::Spent;

    const NAME: &str = "bellwether.dev/allow-removal";

    fn records(count: usize) -> BTreeSet<String> {
        (0..count).map(|number| format!("Fleet/{number}")).collect()
    }

    fn said(value: Option<&str>) -> Allowance {
        Allowance::read(NAME, value, &[])
    }

    fn braked(leaving: usize, holding: usize) -> Orphans {
        Orphans::Braked(Loss { leaving, holding })
    }

    #[test]
    fn many_records_go_only_by_somebodys_word() {
        for (prune, leaving, held, word, expected) in [
            (true, 0, 9, None, Orphans::None),
            (false, 9, 9, Some("9"), Orphans::Stay),
            (true, 1, 1, None, Orphans::Go),
            (true, 2, 10, None, Orphans::Go),
            (true, 2, 10, Some("3"), Orphans::Go),
            (true, 3, 10, None, braked(3, 10)),
            (true, 3, 10, Some("3"), Orphans::GoByWord),
            (true, 4, 10, Some("3"), braked(4, 10)),
        ] {
            let found = orphans(prune, &records(leaving), held, &said(word));
            assert_eq!(found, expected, "{leaving} of {held} by {word:?}");
        }
    }

    #[test]
    fn a_word_that_was_used_covers_what_it_was_said_for() {
        let used = |covers: usize| {
            let spent = Spent {
                annotation: NAME.to_owned(),
                value: "3".to_owned(),
                used_for: "the removal of 3 records".to_owned(),
                covers: records(covers).into_iter().collect(),
            };
            Allowance::read(NAME, Some("3"), &[spent])
        };
        // Two of three could not go at once, for they were used still.
        assert_eq!(orphans(true, &records(2), 9, &used(3)), Orphans::Go);
        assert_eq!(still_covered(&records(2), &used(3)), records(2));
        // Others need a word of their own.
        assert_eq!(orphans(true, &records(4), 9, &used(2)), braked(2, 9));
        assert_eq!(orphans(true, &records(3), 9, &used(0)), braked(3, 9));
    }
}
