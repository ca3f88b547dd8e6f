//! The kinds as a user names them on the command line.

use crate::{args::Global, failure::Failure};

/// A kind that the hub keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A registered cluster.
    Cluster,
    /// A set of clusters.
    Fleet,
    /// What runs where.
    Application,
    /// How a workload changes.
    Rollout,
    /// A query that many rollouts use.
    MetricTemplate,
    /// A Git repository of records.
    Repository,
    /// Where people are told of runs.
    AlertProvider,
    /// What happened.
    Event,
}

/// Every kind with the words that name it.
const WORDS: [(Kind, &[&str]); 8] = [
    (Kind::Cluster, &["cluster", "clusters", "bwcl"]),
    (Kind::Fleet, &["fleet", "fleets", "bwfleet"]),
    (
        Kind::Application,
        &["application", "applications", "app", "apps", "bwapp"],
    ),
    (Kind::Rollout, &["rollout", "rollouts", "ro", "bwro"]),
    (
        Kind::MetricTemplate,
        &["metrictemplate", "metrictemplates", "bwmt"],
    ),
    (
        Kind::Repository,
        &["repository", "repositories", "repo", "repos", "bwrepo"],
    ),
    (
        Kind::AlertProvider,
        &["alertprovider", "alertproviders", "bwalert"],
    ),
    (Kind::Event, &["event", "events", "ev"]),
];

impl Kind {
    /// Reads a kind's word.
    ///
    /// # Errors
    /// [`Failure::Usage`] that names the kinds.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wanted = text.to_lowercase();
        let wanted = wanted.split('.').next().unwrap_or_default();
        WORDS
            .iter()
            .find(|(_, words)| words.contains(&wanted))
            .map(|(kind, _)| *kind)
            .ok_or_else(|| {
                Failure::Usage(format!(
                    "{text:?} is no kind; there are clusters, fleets, applications, rollouts, \
                     metrictemplates, alertproviders, repositories and events"
                ))
            })
    }

    /// Returns the kind as documents name it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Fleet => "Fleet",
            Self::Application => "Application",
            Self::Rollout => "Rollout",
            Self::MetricTemplate => "MetricTemplate",
            Self::Repository => "Repository",
            Self::AlertProvider => "AlertProvider",
            Self::Event => "Event",
        }
    }

    const fn plural(self) -> &'static str {
        match self {
            Self::Cluster => "clusters",
            Self::Fleet => "fleets",
            Self::Application => "applications",
            Self::Rollout => "rollouts",
            Self::MetricTemplate => "metrictemplates",
            Self::Repository => "repositories",
            Self::AlertProvider => "alertproviders",
            Self::Event => "events",
        }
    }

    /// Tells whether objects of the kind lie in namespaces that a path names.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        matches!(
            self,
            Self::Application | Self::Rollout | Self::MetricTemplate | Self::AlertProvider
        )
    }

    /// Returns the path of the kind's list.
    #[must_use]
    pub fn list_path(self, namespace: Option<&str>) -> String {
        match (self, namespace) {
            (kind, Some(namespace)) if kind.is_namespaced() => {
                format!(
                    "/api/v1/namespaces/{}/{}",
                    segment(namespace),
                    self.plural()
                )
            }
            _ => format!("/api/v1/{}", self.plural()),
        }
    }

    /// Returns the path of one object.
    #[must_use]
    pub fn path(self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.list_path(Some(namespace)), segment(name))
    }
}

/// Splits `TYPE/NAME` or takes `TYPE NAME`.
///
/// # Errors
/// [`Failure::Usage`] when the kind is none or both forms are mixed.
pub fn target(kind: &str, name: Option<&str>) -> Result<(Kind, Option<String>), Failure> {
    match (kind.split_once('/'), name) {
        (Some((kind, name)), None) => Ok((Kind::parse(kind)?, Some(name.to_owned()))),
        (Some(_), Some(extra)) => Err(Failure::Usage(format!(
            "{kind:?} names the object already; what is {extra:?}?"
        ))),
        (None, name) => Ok((Kind::parse(kind)?, name.map(str::to_owned))),
    }
}

/// As [`target`], and the name must be there.
///
/// # Errors
/// [`Failure::Usage`] when it is not.
pub fn one_target(kind: &str, name: Option<&str>) -> Result<(Kind, String), Failure> {
    match target(kind, name)? {
        (kind, Some(name)) => Ok((kind, name)),
        (kind, None) => Err(Failure::Usage(format!(
            "which {}? give its name",
            kind.word().to_lowercase()
        ))),
    }
}

/// Takes `NAME`, `rollout/NAME` or `application/NAME` as an application's name.
#[must_use]
pub fn run_name(text: &str) -> &str {
    match text.split_once('/') {
        Some((kind, name)) if Kind::parse(kind).is_ok() => name,
        _ => text,
    }
}

/// Returns the path of something about an application's run.
#[must_use]
pub fn run_path(global: &Global, name: &str, what: &str) -> String {
    format!(
        "/api/v1/rollouts/{}/{}/{what}",
        segment(&global.namespace),
        segment(run_name(name))
    )
}

/// Escapes a text for a path or a query.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Kind, run_name, segment, target};

    #[test]
    fn both_forms_name_an_object() {
        for (kind, name) in [("rollout/web", None), ("ro", Some("web"))] {
            let (kind, name) = target(kind, name).expect("a target");
            assert_eq!((kind, name.as_deref()), (Kind::Rollout, Some("web")));
        }
        assert!(target("rollout/web", Some("web")).is_err());
        assert!(target("rolout", None).is_err());
        assert_eq!(run_name("rollout/web"), "web");
        assert_eq!(run_name("web"), "web");
    }

    #[test]
    fn paths_are_escaped() {
        assert_eq!(
            Kind::Cluster.path("ns", "a/../b"),
            "/api/v1/clusters/a%2F..%2Fb"
        );
        assert_eq!(segment("k=v,ü"), "k%3Dv%2C%C3%BC");
    }
}
