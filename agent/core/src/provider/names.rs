//! The names that every provider renders with.

use bellwether_api::traffic::RuleRef;
use serde_json::Value;

use super::RenderError;

/// The two Services and the rules that may be split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The namespace of both Services.
    pub namespace: String,
    /// The Service that clients use.
    pub apex: String,
    /// The Service of the canary's pods.
    pub canary: String,
    /// The rules that may be split; empty = every rule whose backend is the apex.
    pub rules: Vec<RuleRef>,
    /// The user's object of the apex of which the run makes the like for the canary, as it was
    /// written; absent = the provider needs none, or none is named.
    pub copied: Option<Value>,
}

impl Names {
    /// Tells whether a rule may be split.
    pub(super) fn selects(&self, index: usize, name: Option<&str>) -> bool {
        self.rules.is_empty()
            || self.rules.iter().any(|rule| match rule {
                RuleRef::Index(wanted) => usize::try_from(*wanted) == Ok(index),
                RuleRef::Name(wanted) => name == Some(wanted),
            })
    }

    /// Checks that every rule which is named was split, and that any was.
    ///
    /// # Errors
    /// The first that was not.
    pub(super) fn all_found(&self, split: &[(usize, Option<String>)]) -> Result<(), RenderError> {
        for rule in &self.rules {
            let found = split.iter().any(|(index, name)| match rule {
                RuleRef::Index(wanted) => usize::try_from(*wanted) == Ok(*index),
                RuleRef::Name(wanted) => name.as_ref() == Some(wanted),
            });
            if !found {
                return Err(RenderError::UnknownRule {
                    rule: rule.clone(),
                    service: self.apex.clone(),
                });
            }
        }
        if split.is_empty() {
            return Err(RenderError::NoBackend {
                service: self.apex.clone(),
            });
        }
        Ok(())
    }
}
