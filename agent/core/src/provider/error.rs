//! Why an object cannot carry a split.

use bellwether_api::traffic::RuleRef;

/// Why an object cannot carry a split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The provider cannot do it, whatever the object.
    #[error("failed to split by {provider}: it cannot {what}")]
    Lacking {
        /// Where it stands in `traffic[]`.
        provider: &'static str,
        /// What it cannot do.
        what: String,
    },
    /// No rule that may be split has the apex Service as a backend.
    #[error("failed to find a rule whose backend is Service {service}")]
    NoBackend {
        /// The apex Service.
        service: String,
    },
    /// `traffic[].rules` names a rule that is not there, or that does not lead to the apex.
    #[error("failed to find rule {rule} with Service {service} as a backend")]
    UnknownRule {
        /// The rule.
        rule: RuleRef,
        /// The apex Service.
        service: String,
    },
    /// A match looks at what the user's own rule looks at already, and the kind has no way to say
    /// both.
    #[error("failed to join a match with the rule's own condition on {subject}")]
    Collision {
        /// What both look at, such as `header x-user`.
        subject: String,
    },
    /// A match would win over another rule, whose backend is not the run's.
    #[error(
        "failed to split: a match on the path {path} would take requests that the rule for {other} \
         has; match by a header or cookie instead, or split the rule for {other}"
    )]
    Overtaking {
        /// The path of the match, joined with its rule's own.
        path: String,
        /// The path of the other rule.
        other: String,
    },
    /// The object would have more of something than its API allows.
    #[error("failed to split: the object would have {count} {what}, and {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The object has something that cannot be split.
    #[error("failed to split {what}: {why}")]
    Unsplittable {
        /// What.
        what: String,
        /// Why, and what to do instead.
        why: &'static str,
    },
    /// A regular expression that cannot be confined to one cookie.
    #[error("failed to match a cookie by {regex:?}: {why}")]
    Regex {
        /// The expression.
        regex: String,
        /// What stands in the way.
        why: &'static str,
    },
}
