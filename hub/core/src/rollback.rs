//! Which release a rollback lands on.

/// A release that is still kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRelease {
    /// Its number, from 1.
    pub revision: u64,
    /// Digest of its content.
    pub digest: String,
    /// Whether its run succeeded as a whole.
    pub succeeded: bool,
    /// The revision that it restored itself; absent = it was made from the records.
    pub restores: Option<u64>,
}

impl PastRelease {
    /// The revision under which its content came first.
    fn origin(&self) -> u64 {
        self.restores.unwrap_or(self.revision)
    }
}

/// Why there is nothing to go back to; the text is for whoever asked.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoTarget {
    /// Nothing else ever succeeded.
    #[error(
        "no release before revision {before} succeeded, or none is kept; name another that did with \
         --to-revision (see rollout history)"
    )]
    NoneSucceeded {
        /// The revision before which one was looked for.
        before: u64,
    },
    /// It is not kept.
    #[error("there is no revision {revision}; kept are {}", list(kept))]
    Unknown {
        /// The revision.
        revision: u64,
        /// Those that are kept, newest first.
        kept: Vec<u64>,
    },
    /// It never proved itself.
    #[error(
        "revision {revision} never succeeded, and a rollback goes without a canary; apply what it \
         had again to take it through its waves"
    )]
    NotProven {
        /// The revision.
        revision: u64,
    },
    /// It is what runs.
    #[error("revision {current} is what revision {revision} was already")]
    Current {
        /// The revision that was asked for.
        revision: u64,
        /// The newest revision.
        current: u64,
    },
}

fn list(revisions: &[u64]) -> String {
    let shown: Vec<String> = revisions.iter().map(ToString::to_string).collect();
    shown.join(", ")
}

/// Finds the release to restore: the last one that succeeded and is another than the newest, or
/// the named one. Who rolls back a rollback goes further back, never to what was left.
///
/// `history` is newest first and begins with the newest release. `unreleased` says that the records
/// ask for something that is no release yet: that is what is left then, and the newest release may
/// be the one to stay with.
///
/// # Errors
/// [`NoTarget`] says why there is none.
pub fn target(
    history: &[PastRelease],
    wanted: Option<u64>,
    unreleased: bool,
) -> Result<&PastRelease, NoTarget> {
    let Some(newest) = history.first() else {
        return Err(NoTarget::NoneSucceeded { before: 1 });
    };
    let is_left = |one: &PastRelease| one.digest == newest.digest && !unreleased;
    match wanted {
        Some(revision) => {
            let found = history
                .iter()
                .find(|one| one.revision == revision)
                .ok_or_else(|| NoTarget::Unknown {
                    revision,
                    kept: history.iter().map(|one| one.revision).collect(),
                })?;
            if is_left(found) {
                return Err(NoTarget::Current {
                    revision,
                    current: newest.revision,
                });
            }
            // A restored release proves what it restored.
            let proven = history
                .iter()
                .any(|one| one.succeeded && one.digest == found.digest);
            proven
                .then_some(found)
                .ok_or(NoTarget::NotProven { revision })
        }
        None => {
            let before = if unreleased {
                newest.revision + 1
            } else {
                newest.origin()
            };
            history
                .iter()
                .find(|one| one.succeeded && one.origin() < before && !is_left(one))
                .ok_or(NoTarget::NoneSucceeded { before })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NoTarget, PastRelease, target};

    /// `4:b!` is revision 4 with content b that succeeded; `4:a=1` restores revision 1.
    fn history(text: &str) -> Vec<PastRelease> {
        text.split_whitespace()
            .map(|word| {
                let succeeded = word.ends_with('!');
                let word = word.trim_end_matches('!');
                let (word, restores) = match word.split_once('=') {
                    Some((word, restores)) => (word, Some(restores.parse().expect("a number"))),
                    None => (word, None),
                };
                let (revision, digest) = word.split_once(':').expect("revision:content");
                PastRelease {
                    revision: revision.parse().expect("a number"),
                    digest: digest.to_owned(),
                    succeeded,
                    restores,
                }
            })
            .collect()
    }

    #[test]
    fn lands_on_the_last_release_that_succeeded() {
        for (text, unreleased, expected) in [
            // v1 ok, v2 aborted, v3 in progress.
            ("3:c 2:b 1:a!", false, Some(1)),
            ("2:b! 1:a!", false, Some(1)),
            ("3:c 2:b! 1:a!", false, Some(2)),
            // The same content again is no way back.
            ("3:a 2:b 1:a!", false, None),
            ("1:a!", false, None),
            ("1:a", false, None),
            ("", false, None),
            // A rollback of a rollback goes on, and never to what was left.
            ("3:a=1! 2:b! 1:a!", false, None),
            ("4:b=2! 3:c! 2:b! 1:a!", false, Some(1)),
            ("5:c 4:b=2! 3:c 2:b! 1:a!", false, Some(4)),
            ("5:d 4:b=2! 3:c! 2:b! 1:a!", false, Some(4)),
            // What was applied last is no release yet: it alone is left.
            ("2:b! 1:a!", true, Some(2)),
            ("2:b 1:a!", true, Some(1)),
        ] {
            let history = history(text);
            let found = target(&history, None, unreleased).ok();
            assert_eq!(found.map(|one| one.revision), expected, "{text}");
        }
    }

    #[test]
    fn a_named_revision_must_be_kept_proven_and_another() {
        let refused = |text: &str, revision| {
            target(&history(text), Some(revision), false).expect_err("it is refused")
        };
        let found = history("4:d 3:c! 2:b 1:a!");
        assert_eq!(target(&found, Some(3), false), Ok(&found[1]));
        assert_eq!(target(&found, Some(1), false), Ok(&found[3]));
        assert_eq!(
            refused("4:d 3:c! 2:b 1:a!", 2),
            NoTarget::NotProven { revision: 2 }
        );
        assert_eq!(
            refused("4:d 3:c!", 9).to_string(),
            "there is no revision 9; kept are 4, 3"
        );
        let current = NoTarget::Current {
            revision: 1,
            current: 3,
        };
        assert_eq!(refused("3:a=1! 2:b! 1:a!", 1), current);
        let stays = history("2:b! 1:a!");
        assert_eq!(target(&stays, Some(2), true), Ok(&stays[0]));
        // What a restored release proved stays proven.
        let again = history("4:c 3:b=2! 2:b 1:a!");
        assert_eq!(target(&again, Some(2), false), Ok(&again[2]));
    }
}
