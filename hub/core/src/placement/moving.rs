//! When a cluster may lose what it has because another one took it.

use std::collections::BTreeSet;

use bellwether_api::status::{Health, UnitOutcome, UnitStatus};

/// Tells whether a cluster runs an application, as the status says that it gave last: of the very bundle
/// that it holds now, with a release that came in as a whole. Healthy alone says less: what is there of
/// a release that is still coming in may be well. `releases` = the digests of those that the application keeps;
/// another one is of an application of the same name that was deleted before.
#[must_use]
pub fn runs(status: &UnitStatus, holds: &str, releases: &BTreeSet<String>) -> bool {
    let applied = status.applied_release.as_ref();
    status.digest == holds
        && applied.is_some_and(|applied| releases.contains(applied))
        && status.outcome != UnitOutcome::Removing
        && status.health == Health::Healthy
}

#[cfg(test)]
mod tests {
    use bellwether_api::status::UnitOutcome::{Failed, Progressing, Removing, Succeeded};
    use uuid::Uuid;

    use super::*;
    use crate::run::tests::model::status;

    #[test]
    fn only_what_came_in_as_a_whole_and_is_well_runs() {
        let cases = [
            (
                "it came in",
                "now",
                Succeeded,
                Some("new"),
                Health::Healthy,
                true,
            ),
            (
                "another release comes in",
                "now",
                Progressing,
                Some("old"),
                Health::Healthy,
                true,
            ),
            (
                "it is back on the one before",
                "now",
                Failed,
                Some("old"),
                Health::Healthy,
                true,
            ),
            (
                "the first comes in, well so far",
                "now",
                Progressing,
                None,
                Health::Healthy,
                false,
            ),
            (
                "the first failed",
                "now",
                Failed,
                None,
                Health::Healthy,
                false,
            ),
            (
                "it speaks of what it held before",
                "then",
                Succeeded,
                Some("old"),
                Health::Healthy,
                false,
            ),
            (
                "it is not well",
                "now",
                Succeeded,
                Some("new"),
                Health::Degraded,
                false,
            ),
            (
                "nobody knows",
                "now",
                Succeeded,
                Some("new"),
                Health::Unknown,
                false,
            ),
            (
                "it has what an application of this name had before",
                "now",
                Progressing,
                Some("forgotten"),
                Health::Healthy,
                false,
            ),
            (
                "it is taken away",
                "now",
                Removing,
                Some("new"),
                Health::Healthy,
                false,
            ),
        ];
        let releases = BTreeSet::from(["old".to_owned(), "new".to_owned()]);
        for (what, digest, outcome, applied, health, expected) in cases {
            let mut status = status(Uuid::nil(), 1, digest, outcome, applied);
            status.health = health;
            assert_eq!(runs(&status, "now", &releases), expected, "{what}");
        }
    }
}
