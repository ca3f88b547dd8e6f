//! Git repositories of records: who may change a record, and what may go when it is gone there.

use bellwether_api::application::AdoptPolicy;

use crate::brake::Loss;

/// Who writes a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer<'a> {
    /// Somebody by the API.
    Person,
    /// The hub, of what stands in a repository.
    Repository {
        /// Its name.
        name: &'a str,
        /// Whether it takes over what came from elsewhere.
        adopt: AdoptPolicy,
    },
}

/// What a write does to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It was not there.
    Creates,
    /// It was something else.
    Changes,
    /// It was that already.
    Nothing,
}

/// Why a record is not written; the text is safe to show to whoever may write it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// It comes from a repository.
    #[error("it comes from repository {repository}: change it there")]
    Owned {
        /// The repository.
        repository: String,
    },
    /// The repository adopts nothing.
    #[error("it is there already and came from elsewhere; set spec.adopt of the repository")]
    Exists,
    /// The repository adopts what is the same.
    #[error(
        "it is there already, came from elsewhere and differs; set spec.adopt: Always of the \
         repository to take it over"
    )]
    Differs,
}

/// Tells whether `writer` may do this to a record that came from the repository `owner`; absent = it
/// came from none.
///
/// # Errors
/// [`Refusal`] says why not.
pub fn may_write(writer: Writer<'_>, owner: Option<&str>, effect: Effect) -> Result<(), Refusal> {
    match (writer, owner) {
        (Writer::Person, None) => Ok(()),
        (Writer::Repository { name, .. }, Some(owner)) if name == owner => Ok(()),
        // Applying what is there already does no harm.
        (Writer::Person, Some(_)) if effect == Effect::Nothing => Ok(()),
        (_, Some(owner)) => Err(Refusal::Owned {
            repository: owner.to_owned(),
        }),
        (Writer::Repository { adopt, .. }, None) => match (effect, adopt) {
            (Effect::Creates, _)
            | (_, AdoptPolicy::Always)
            | (Effect::Nothing, AdoptPolicy::IfIdentical) => Ok(()),
            (_, AdoptPolicy::Never) => Err(Refusal::Exists),
            (Effect::Changes, AdoptPolicy::IfIdentical) => Err(Refusal::Differs),
        },
    }
}

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

    const fn repository(adopt: AdoptPolicy) -> Writer<'static> {
        Writer::Repository {
            name: "platform",
            adopt,
        }
    }

    #[test]
    fn what_comes_from_a_repository_is_changed_there_alone() {
        let (person, own) = (Writer::Person, repository(AdoptPolicy::Never));
        for effect in [Effect::Creates, Effect::Changes, Effect::Nothing] {
            assert_eq!(may_write(person, None, effect), Ok(()));
            assert_eq!(may_write(own, Some("platform"), effect), Ok(()));
        }
        let refused = Err(Refusal::Owned {
            repository: "platform".to_owned(),
        });
        assert_eq!(
            may_write(person, Some("platform"), Effect::Changes),
            refused
        );
        assert_eq!(may_write(person, Some("platform"), Effect::Nothing), Ok(()));
        for adopt in [
            AdoptPolicy::Never,
            AdoptPolicy::IfIdentical,
            AdoptPolicy::Always,
        ] {
            let other = Writer::Repository {
                name: "other",
                adopt,
            };
            assert_eq!(
                may_write(other, Some("platform"), Effect::Nothing),
                refused,
                "two repositories do not share a record"
            );
        }
    }

    #[test]
    fn what_came_from_elsewhere_is_taken_over_as_adopt_says() {
        let cases = [
            (AdoptPolicy::Never, Effect::Creates, Ok(())),
            (AdoptPolicy::Never, Effect::Nothing, Err(Refusal::Exists)),
            (AdoptPolicy::Never, Effect::Changes, Err(Refusal::Exists)),
            (AdoptPolicy::IfIdentical, Effect::Creates, Ok(())),
            (AdoptPolicy::IfIdentical, Effect::Nothing, Ok(())),
            (
                AdoptPolicy::IfIdentical,
                Effect::Changes,
                Err(Refusal::Differs),
            ),
            (AdoptPolicy::Always, Effect::Changes, Ok(())),
        ];
        for (adopt, effect, wanted) in cases {
            assert_eq!(
                may_write(repository(adopt), None, effect),
                wanted,
                "{adopt:?} {effect:?}"
            );
        }
    }

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
