//! A rule that was broken.

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct Broken {
    /// The rule's short name.
    pub rule: &'static str,
    /// What broke it.
    pub detail: String,
}

impl Broken {
    /// Names a rule and what broke it.
    #[must_use]
    pub const fn new(rule: &'static str, detail: String) -> Self {
        Self { rule, detail }
    }
}
