//! Whose a record is: records come from people, from Git repositories, or from custom resources, and
//! those of the latter two are changed where they come from alone.

use bellwether_api::application::AdoptPolicy;

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
    /// The hub, of the custom resource of the record's name.
    CustomResource {
        /// Whether it takes over what came from elsewhere.
        adopt: AdoptPolicy,
    },
}

/// Where a record comes from, if not from people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A repository of this name.
    Repository(String),
    /// The custom resource of the record's name.
    CustomResource {
        /// Whether it was seen to be gone without having been deleted as it should.
        missing: bool,
    },
}

impl Owner {
    /// How `metadata.managedBy` names it: a repository by its name, a custom resource by a word that is
    /// no name.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Repository(name) => name,
            Self::CustomResource { .. } => "CustomResource",
        }
    }

    /// What is to be done instead, where somebody else would delete the record.
    #[must_use]
    pub fn deletion_hint(&self) -> String {
        match self {
            Self::Repository(name) => format!(
                "comes from repository {name}: take it out there, or delete the repository's record \
                 first"
            ),
            Self::CustomResource { .. } => {
                "comes from the custom resource of that name in the hub's cluster: delete that \
                 (kubectl delete)"
                    .to_owned()
            }
        }
    }
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

/// What becomes of whose a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It stays whose it was.
    Stays,
    /// It is the writer's from now on.
    Takes,
    /// It is nobody's from now on.
    Frees,
}

/// Why a record is not written; the text is safe to show to whoever may write it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// It comes from a repository.
    #[error("it comes from repository {repository}: change it there")]
    OfRepository {
        /// The repository.
        repository: String,
    },
    /// It comes from a custom resource.
    #[error(
        "it comes from the custom resource of that name in the hub's cluster: change it there \
         (kubectl edit or apply)"
    )]
    OfCustomResource,
    /// The writer adopts nothing.
    #[error("it is there already and came from elsewhere; {remedy}")]
    Exists {
        /// What has it taken over.
        remedy: &'static str,
    },
    /// The writer adopts what is the same.
    #[error("it is there already, came from elsewhere and differs; {remedy}")]
    Differs {
        /// What has it taken over.
        remedy: &'static str,
    },
}

const REPOSITORY_ADOPTS: &str = "set spec.adopt of the repository";
const REPOSITORY_TAKES: &str = "set spec.adopt: Always of the repository to take it over";
const RESOURCE_ADOPTS: &str = "annotate the custom resource with bellwether.dev/adopt: IfIdentical";
const RESOURCE_TAKES: &str =
    "annotate the custom resource with bellwether.dev/adopt: Always to take it over";

/// Tells whether `writer` may do this to a record that comes from `owner`, and whose it is then; absent =
/// it comes from people.
///
/// # Errors
/// [`Refusal`] says why not.
pub fn may_write(
    writer: Writer<'_>,
    owner: Option<&Owner>,
    effect: Effect,
) -> Result<Claim, Refusal> {
    // What nobody can change where it came from is, to a repository, as what came from people.
    let owner = match (writer, owner) {
        (Writer::Repository { .. }, Some(Owner::CustomResource { missing: true })) => None,
        _ => owner,
    };
    match (writer, owner) {
        (Writer::Person, None) => Ok(Claim::Stays),
        (Writer::Repository { name, .. }, Some(Owner::Repository(owner))) if name == owner => {
            Ok(Claim::Stays)
        }
        // One that is back is noted as such.
        (Writer::CustomResource { .. }, Some(Owner::CustomResource { missing })) => {
            Ok(match missing {
                true => Claim::Takes,
                false => Claim::Stays,
            })
        }
        // Applying what is there already does no harm.
        (Writer::Person, Some(_)) if effect == Effect::Nothing => Ok(Claim::Stays),
        (Writer::Person, Some(Owner::CustomResource { missing: true })) => Ok(Claim::Frees),
        (Writer::Repository { adopt, .. }, None) => {
            takes_over(adopt, effect, REPOSITORY_ADOPTS, REPOSITORY_TAKES)
        }
        (Writer::CustomResource { adopt }, None) => {
            takes_over(adopt, effect, RESOURCE_ADOPTS, RESOURCE_TAKES)
        }
        (_, Some(Owner::Repository(repository))) => Err(Refusal::OfRepository {
            repository: repository.clone(),
        }),
        (_, Some(Owner::CustomResource { .. })) => Err(Refusal::OfCustomResource),
    }
}

fn takes_over(
    adopt: AdoptPolicy,
    effect: Effect,
    adopts: &'static str,
    takes: &'static str,
) -> Result<Claim, Refusal> {
    match (effect, adopt) {
        (Effect::Creates, _)
        | (_, AdoptPolicy::Always)
        | (Effect::Nothing, AdoptPolicy::IfIdentical) => Ok(Claim::Takes),
        (_, AdoptPolicy::Never) => Err(Refusal::Exists { remedy: adopts }),
        (Effect::Changes, AdoptPolicy::IfIdentical) => Err(Refusal::Differs { remedy: takes }),
    }
}

/// Tells whether somebody by the API may delete a record that comes from `owner`.
#[must_use]
pub const fn may_be_deleted(owner: Option<&Owner>) -> bool {
    matches!(owner, None | Some(Owner::CustomResource { missing: true }))
}

#[cfg(test)]
mod tests;
