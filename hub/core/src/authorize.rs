//! Who may do what.

use serde::{Deserialize, Serialize};

/// Stands for every namespace in [`Principal::namespaces`].
pub const EVERY_NAMESPACE: &str = "*";

/// Whoever makes an API call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// A name for the audit trail, such as `ana` or `ci-bot`.
    pub name: String,
    /// What the principal may do where it may act at all.
    pub role: Role,
    /// Namespaces in which the role holds; [`EVERY_NAMESPACE`] is all of them, empty is none.
    /// An [`Role::Admin`] is bound to no namespace, whatever stands here.
    pub namespaces: Vec<String>,
}

impl Principal {
    /// Makes the principal of a local administrator (Unix socket of the hub).
    #[must_use]
    pub fn local_admin(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            role: Role::Admin,
            namespaces: vec![EVERY_NAMESPACE.to_owned()],
        }
    }

    /// Tells whether the role holds in `namespace`.
    #[must_use]
    pub fn acts_in(&self, namespace: &str) -> bool {
        self.role == Role::Admin
            || self
                .namespaces
                .iter()
                .any(|own| own == EVERY_NAMESPACE || own == namespace)
    }
}

/// What a principal may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Everything, clusters, fleets and tokens included.
    Admin,
    /// Writes applications and rollouts and acts on runs.
    Editor,
    /// Reads.
    Viewer,
}

impl Role {
    /// Returns the role as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "Admin",
            Self::Editor => "Editor",
            Self::Viewer => "Viewer",
        }
    }
}

/// A text that is no role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to read {text:?} as a role; use Admin, Editor or Viewer")]
pub struct ParseRoleError {
    /// The text as it was given.
    pub text: String,
}

impl std::str::FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Admin, Self::Editor, Self::Viewer]
            .into_iter()
            .find(|role| role.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| ParseRoleError {
                text: text.to_owned(),
            })
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Reads one.
    Get,
    /// Reads many.
    List,
    /// Follows changes.
    Watch,
    /// Creates or changes.
    Apply,
    /// Deletes.
    Delete,
    /// Acts on a run: approve, suspend, resume, promote, skip, abort, retry, set-weight,
    /// rollback, finish.
    Act,
}

impl Verb {
    const fn reads(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Watch)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Apply => "apply",
            Self::Delete => "delete",
            Self::Act => "act on",
        }
    }
}

/// What it is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Registered clusters; global.
    Cluster,
    /// Fleets; global.
    Fleet,
    /// Applications; of a namespace.
    Application,
    /// Rollouts and their runs; of a namespace.
    Rollout,
    /// Metric templates; of a namespace.
    MetricTemplate,
    /// Where people are told of runs; of a namespace.
    AlertProvider,
    /// Git repositories of records; global.
    Repository,
    /// Secrets that the hub keeps, whose values nobody reads back; of a namespace.
    Secret,
    /// Events; of a namespace, or global for clusters.
    Event,
    /// Join tokens of agents; global.
    JoinToken,
    /// API tokens and their principals; global.
    ApiToken,
}

impl Kind {
    /// Tells whether knowing it gives away a credential or a way in.
    const fn is_secret(self) -> bool {
        matches!(self, Self::JoinToken | Self::ApiToken)
    }

    const fn is_tenant_owned(self) -> bool {
        matches!(
            self,
            Self::Application
                | Self::Rollout
                | Self::MetricTemplate
                | Self::AlertProvider
                | Self::Secret
        )
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "clusters",
            Self::Fleet => "fleets",
            Self::Application => "applications",
            Self::Rollout => "rollouts",
            Self::MetricTemplate => "metric templates",
            Self::AlertProvider => "alert providers",
            Self::Repository => "repositories",
            Self::Secret => "secrets",
            Self::Event => "events",
            Self::JoinToken => "join tokens",
            Self::ApiToken => "API tokens",
        }
    }
}

/// Why something is not allowed; the text is safe to show to whoever asked.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Denied {
    /// The role does not reach that far.
    #[error("{name} is {role} and may not {verb} {kind}")]
    Role {
        /// Who asked.
        name: String,
        /// Its role.
        role: &'static str,
        /// What was asked for.
        verb: &'static str,
        /// What it was asked of.
        kind: &'static str,
    },
    /// The role holds in other namespaces.
    #[error("{name} may not {verb} {kind} in namespace {namespace}")]
    Namespace {
        /// Who asked.
        name: String,
        /// What was asked for.
        verb: &'static str,
        /// What it was asked of.
        kind: &'static str,
        /// Where.
        namespace: String,
    },
}

/// Decides whether `principal` may do `verb` to `kind` in `namespace`; `None` is a global object
/// or a read across namespaces, which is then allowed only to whoever acts in all of them.
///
/// # Errors
/// [`Denied`] says why not.
pub fn authorize(
    principal: &Principal,
    verb: Verb,
    kind: Kind,
    namespace: Option<&str>,
) -> Result<(), Denied> {
    let by_role = match principal.role {
        Role::Admin => return Ok(()),
        Role::Editor => {
            (verb.reads() && !kind.is_secret()) || (!verb.reads() && kind.is_tenant_owned())
        }
        Role::Viewer => verb.reads() && !kind.is_secret(),
    };
    if !by_role {
        return Err(Denied::Role {
            name: principal.name.clone(),
            role: principal.role.as_str(),
            verb: verb.as_str(),
            kind: kind.as_str(),
        });
    }
    let place = match (namespace, kind) {
        (None, Kind::Cluster | Kind::Fleet | Kind::Repository) => return Ok(()),
        (None, _) => EVERY_NAMESPACE,
        (Some(namespace), _) => namespace,
    };
    if principal.acts_in(place) {
        return Ok(());
    }
    Err(Denied::Namespace {
        name: principal.name.clone(),
        verb: verb.as_str(),
        kind: kind.as_str(),
        namespace: place.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Kind, Principal, Role, Verb, authorize};

    fn principal(role: Role, namespace: &str) -> Principal {
        Principal {
            name: "ana".to_owned(),
            role,
            namespaces: Some(namespace.to_owned())
                .filter(|name| !name.is_empty())
                .into_iter()
                .collect(),
        }
    }

    type Case = (Role, &'static str, Verb, Kind, Option<&'static str>, bool);

    const CASES: &[Case] = &[
        (Role::Admin, "", Verb::Delete, Kind::Cluster, None, true),
        (Role::Admin, "", Verb::Apply, Kind::ApiToken, None, true),
        (
            Role::Editor,
            "shop",
            Verb::Apply,
            Kind::Application,
            Some("shop"),
            true,
        ),
        (
            Role::Editor,
            "shop",
            Verb::Act,
            Kind::Rollout,
            Some("shop"),
            true,
        ),
        (
            Role::Editor,
            "shop",
            Verb::Apply,
            Kind::Application,
            Some("bank"),
            false,
        ),
        (
            Role::Editor,
            "*",
            Verb::Apply,
            Kind::Application,
            Some("bank"),
            true,
        ),
        (Role::Editor, "*", Verb::Apply, Kind::Fleet, None, false),
        (Role::Editor, "*", Verb::Delete, Kind::Cluster, None, false),
        (Role::Editor, "*", Verb::Apply, Kind::JoinToken, None, false),
        (Role::Editor, "*", Verb::List, Kind::ApiToken, None, false),
        (
            Role::Viewer,
            "shop",
            Verb::Get,
            Kind::Application,
            Some("shop"),
            true,
        ),
        (
            Role::Viewer,
            "shop",
            Verb::List,
            Kind::Application,
            None,
            false,
        ),
        (Role::Viewer, "*", Verb::List, Kind::Application, None, true),
        (Role::Viewer, "shop", Verb::List, Kind::Cluster, None, true),
        (
            Role::Viewer,
            "shop",
            Verb::Act,
            Kind::Rollout,
            Some("shop"),
            false,
        ),
        (
            Role::Viewer,
            "",
            Verb::Get,
            Kind::Application,
            Some("shop"),
            false,
        ),
        (Role::Viewer, "", Verb::Get, Kind::Event, None, false),
        (
            Role::Viewer,
            "shop",
            Verb::Apply,
            Kind::Secret,
            Some("shop"),
            false,
        ),
        (
            Role::Editor,
            "shop",
            Verb::Apply,
            Kind::Secret,
            Some("shop"),
            true,
        ),
        (
            Role::Editor,
            "shop",
            Verb::List,
            Kind::Secret,
            Some("bank"),
            false,
        ),
    ];

    #[test]
    fn roles_and_namespaces_bound_what_is_allowed() {
        for (role, namespaces, verb, kind, namespace, allowed) in CASES {
            let who = principal(*role, namespaces);
            assert_eq!(
                authorize(&who, *verb, *kind, *namespace).is_ok(),
                *allowed,
                "{role:?} {namespaces:?} {verb:?} {kind:?} {namespace:?}"
            );
        }
    }

    #[test]
    fn refusal_names_who_and_what() {
        let who = principal(Role::Viewer, "shop");
        let denied = authorize(&who, Verb::Act, Kind::Rollout, Some("shop"));
        assert_eq!(
            denied.map_err(|denied| denied.to_string()),
            Err("ana is Viewer and may not act on rollouts".to_owned())
        );
    }
}
