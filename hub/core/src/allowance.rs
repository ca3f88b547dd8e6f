//! Somebody's word that more may go at once than a brake lets through. It counts once: what used it up is kept,
//! and the same word is none until it is written anew.

use std::fmt;

/// A word that was used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The annotation.
    pub annotation: String,
    /// What it said.
    pub value: String,
    /// What it allowed, such as `release 7`.
    pub used_for: String,
    /// What may still go by it: names of what it allowed and was not gone at once. Empty = nothing.
    pub covers: Vec<String>,
}

/// What the annotation of a record allows now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    annotation: &'static str,
    word: Word,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// Nobody said anything, or nothing that is a number.
    Absent,
    /// So many may go.
    Open { count: usize, value: String },
    /// It was said before, and used.
    Spent(Spent),
}

impl Allowance {
    /// Reads what `annotation` allows: `said` is what it says (absent = it is not there), and `spent` what was
    /// used of the record's annotations. After the number there may be a note, as in `6 second time`.
    #[must_use]
    pub fn read(annotation: &'static str, said: Option<&str>, spent: &[Spent]) -> Self {
        let word = match said {
            None => Word::Absent,
            Some(said) => {
                let used = spent
                    .iter()
                    .find(|one| one.annotation == annotation && one.value == said);
                match (used, number(said)) {
                    (Some(used), _) => Word::Spent(used.clone()),
                    (None, Some(count)) => Word::Open {
                        count,
                        value: said.to_owned(),
                    },
                    (None, None) => Word::Absent,
                }
            }
        };
        Self { annotation, word }
    }

    /// How many may go at once; absent = nobody said so, or it was used.
    #[must_use]
    pub const fn count(&self) -> Option<usize> {
        match self.word {
            Word::Open { count, .. } => Some(count),
            Word::Absent | Word::Spent(_) => None,
        }
    }

    /// How many may go at once for `used_for`, which the word may have been used for before.
    #[must_use]
    pub fn count_for(&self, used_for: &str) -> Option<usize> {
        match self.is_used_for(used_for) {
            true => Some(self.said()),
            false => self.count(),
        }
    }

    /// How many it says, whether it was used or not; 0 = it says none.
    #[must_use]
    pub fn said(&self) -> usize {
        match &self.word {
            Word::Absent => 0,
            Word::Open { count, .. } => *count,
            Word::Spent(spent) => number(&spent.value).unwrap_or(0),
        }
    }

    /// Tells whether it was used for `used_for`, and by nothing since.
    #[must_use]
    pub fn is_used_for(&self, used_for: &str) -> bool {
        self.spent().is_some_and(|spent| spent.used_for == used_for)
    }

    /// The word as it is used up for `used_for`; absent = there is none that counts.
    #[must_use]
    pub fn spend(&self, used_for: String) -> Option<Spent> {
        let Word::Open { value, .. } = &self.word else {
            return None;
        };
        Some(Spent {
            annotation: self.annotation.to_owned(),
            value: value.clone(),
            used_for,
            covers: Vec::new(),
        })
    }

    /// What is left of it once it is used as `spent` says; absent = it is not used.
    #[must_use]
    pub fn after(self, spent: Option<&Spent>) -> Self {
        match spent {
            Some(spent) => Self {
                word: Word::Spent(spent.clone()),
                ..self
            },
            None => self,
        }
    }

    /// The word that was used before and still stands there; absent = none.
    #[must_use]
    pub const fn spent(&self) -> Option<&Spent> {
        match &self.word {
            Word::Spent(spent) => Some(spent),
            Word::Absent | Word::Open { .. } => None,
        }
    }

    /// What is to be written so that `count` may go.
    #[must_use]
    pub fn ask(&self, count: usize) -> Ask {
        Ask {
            annotation: self.annotation,
            count,
            spent: self.spent().cloned(),
        }
    }
}

fn number(said: &str) -> Option<usize> {
    said.split_whitespace().next()?.parse().ok()
}

/// What is to be written so that something may go: `annotation NAME: "6"`, and why what stands there does not
/// count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    annotation: &'static str,
    count: usize,
    spent: Option<Spent>,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            annotation, count, ..
        } = self;
        let Some(spent) = &self.spent else {
            return write!(f, "{annotation}: \"{count}\"");
        };
        let plain = count.to_string();
        let anew = match spent.value == plain {
            true => format!("{count} again"),
            false => plain,
        };
        write!(
            f,
            "{annotation}: \"{anew}\" (allowance {:?} was used by {}; write another)",
            spent.value, spent.used_for
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "bellwether.dev/allow-prune";

    fn spent(annotation: &str, value: &str) -> Spent {
        Spent {
            annotation: annotation.to_owned(),
            value: value.to_owned(),
            used_for: "release 7".to_owned(),
            covers: Vec::new(),
        }
    }

    #[test]
    fn a_word_counts_until_it_was_used() {
        let used = [spent(NAME, "6")];
        let other = [spent("bellwether.dev/allow-removal", "6")];
        for (said, spent, count) in [
            (None, &[][..], None),
            (Some("6"), &[], Some(6)),
            (Some(" 6 "), &[], Some(6)),
            (Some("6 second time"), &[], Some(6)),
            (Some("all"), &[], None),
            (Some(""), &[], None),
            (Some("-1"), &[], None),
            (Some("6"), &used, None),
            (Some("6"), &other, Some(6)),
            (Some("7"), &used, Some(7)),
            (Some("6 again"), &used, Some(6)),
            (None, &used, None),
        ] {
            let read = Allowance::read(NAME, said, spent);
            assert_eq!(read.count(), count, "{said:?} with {spent:?}");
            let spends = read.spend("release 8".to_owned());
            assert_eq!(
                spends.map(|spends| (spends.value, spends.used_for)),
                count.map(|_| (said.unwrap_or_default().to_owned(), "release 8".to_owned()))
            );
        }
    }

    #[test]
    fn what_used_a_word_has_it_still() {
        let used = [spent(NAME, "6")];
        let count = |said, spent: &[Spent], used_for| {
            Allowance::read(NAME, Some(said), spent).count_for(used_for)
        };
        assert_eq!(count("6", &[], "release 7"), Some(6));
        assert_eq!(count("6", &used, "release 7"), Some(6));
        assert_eq!(count("6", &used, "release 8"), None);
        assert_eq!(count("9", &used, "release 8"), Some(9));
    }

    #[test]
    fn what_uses_it_leaves_none_for_others() {
        let open = Allowance::read(NAME, Some("6"), &[]);
        assert_eq!(open.clone().after(None), open);
        let left = open.after(Some(&spent(NAME, "6")));
        assert_eq!(left.count_for("release 8"), None);
        assert_eq!(left.count_for("release 7"), Some(6));
    }

    #[test]
    fn who_used_it_is_said_with_what_would_count() {
        let ask = |said, spent: &[Spent]| Allowance::read(NAME, said, spent).ask(6).to_string();
        assert_eq!(ask(None, &[]), format!("{NAME}: \"6\""));
        assert_eq!(ask(Some("5"), &[]), format!("{NAME}: \"6\""));
        let told = ask(Some("6"), &[spent(NAME, "6")]);
        assert_eq!(
            told,
            format!("{NAME}: \"6 again\" (allowance \"6\" was used by release 7; write another)")
        );
        let told = ask(Some("200"), &[spent(NAME, "200")]);
        assert!(told.starts_with(&format!("{NAME}: \"6\" (")), "{told}");
    }
}
