//! Git repositories of records: what may go when it is gone there.

use crate::brake::Loss;

/// What becomes of records that came from a repository and are gone there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// There are none.
    None,
    /// They stay, and are named.
    Stay,
    /// They are deleted.
    Go,
    /// So many would go that somebody must say so.
    Braked(Loss),
}

/// Decides what becomes of `leaving` of the `held` records of a repository. `allowance` is how many
/// somebody allowed to go at once; absent = nobody said. More than max(1, 20 %) takes such a word: a
/// moved folder must not take applications away from the fleet.
#[must_use]
pub fn orphans(prune: bool, leaving: usize, held: usize, allowance: Option<usize>) -> Orphans {
    match (leaving, prune) {
        (0, _) => Orphans::None,
        (_, false) => Orphans::Stay,
        (leaving, true) if leaving <= (held / 5).max(1) => Orphans::Go,
        (leaving, true) if allowance.is_some_and(|allowed| leaving <= allowed) => Orphans::Go,
        (leaving, true) => Orphans::Braked(Loss {
            leaving,
            holding: held,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_records_go_only_by_somebodys_word() {
        assert_eq!(orphans(true, 0, 9, None), Orphans::None);
        assert_eq!(orphans(false, 9, 9, Some(9)), Orphans::Stay);
        assert_eq!(orphans(true, 1, 1, None), Orphans::Go);
        assert_eq!(orphans(true, 2, 10, None), Orphans::Go);
        assert_eq!(
            orphans(true, 3, 10, None),
            Orphans::Braked(Loss {
                leaving: 3,
                holding: 10
            })
        );
        assert_eq!(orphans(true, 3, 10, Some(3)), Orphans::Go);
        assert!(matches!(orphans(true, 4, 10, Some(3)), Orphans::Braked(_)));
    }
}
