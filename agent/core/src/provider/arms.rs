//! The rules that a split puts before the user's own: what goes to one version whatever the weight.

use bellwether_api::{
    matching::{Match, NamedMatch},
    number::Weight,
};

use serde_json::{Value, json};

use super::{Affinity, RenderError, Split, backends::Backends};

/// Requests that go to one version whatever the weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arm {
    /// Which requests: any item suffices.
    pub(super) when: Vec<Match>,
    /// Where they go.
    pub(super) to: Version,
}

/// One of the two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The one that served before.
    Stable,
    /// The one under test.
    Canary,
}

impl Arm {
    /// Joins each of a rule's own conditions, any of which suffices, with each of the arm's; a rule
    /// without any takes every request. `None` = no request can fulfil both.
    ///
    /// # Errors
    /// What `join` says of a condition that cannot be joined.
    pub(super) fn joined(
        &self,
        own: &[Value],
        join: impl Fn(&Value, &Match) -> Result<Option<Value>, RenderError>,
    ) -> Result<Option<Vec<Value>>, RenderError> {
        let any = [json!({})];
        let own = if own.is_empty() { any.as_slice() } else { own };
        let mut matches = Vec::new();
        for base in own {
            for item in &self.when {
                matches.extend(join(base, item)?);
            }
        }
        Ok((!matches.is_empty()).then_some(matches))
    }

    /// A rule's backends, of which the arm's version alone gets requests.
    pub(super) fn backends(&self, backends: &Backends<'_>, own: &[Value]) -> Vec<Value> {
        match self.to {
            Version::Canary => backends.canary_only(own),
            Version::Stable => backends.stable_only(own),
        }
    }
}

impl Split {
    /// The rules that stand before the user's own, in the order in which they are tried: who
    /// matches, then who has been answered by a version before.
    pub(super) fn arms(&self) -> Vec<Arm> {
        let mut arms = Vec::new();
        if !self.matches.is_empty() {
            arms.push(Arm {
                when: self.matches.clone(),
                to: Version::Canary,
            });
        }
        if let Some(affinity) = self.drawn() {
            for to in [Version::Canary, Version::Stable] {
                let (name, value) = affinity.cookie(to);
                arms.push(Arm {
                    when: vec![Match {
                        cookies: vec![NamedMatch {
                            name,
                            exact: Some(value),
                            ..NamedMatch::default()
                        }],
                        ..Match::default()
                    }],
                    to,
                });
            }
        }
        arms
    }

    /// The affinity of a split by which users are drawn: not where one version answers them all.
    pub(super) fn drawn(&self) -> Option<&Affinity> {
        self.affinity
            .as_ref()
            .filter(|_| self.weight > Weight::ZERO && self.weight < Weight::FULL)
    }

    /// The mirrored share of all requests: of those that the stable version answers.
    pub(super) fn mirrored(&self) -> Weight {
        if self.mirror == Weight::ZERO || self.weight == Weight::FULL {
            return Weight::ZERO;
        }
        let (share, rest) = (self.mirror.percent(), self.weight.rest().percent());
        let product = u32::from(share) * u32::from(rest);
        Weight::clamped((product + 50) / 100).max(Weight::clamped(1))
    }
}

impl Affinity {
    /// Name and value of the cookie of a version's users.
    pub(super) fn cookie(&self, version: Version) -> (String, String) {
        match version {
            Version::Canary => (self.cookie_name.clone(), format!("{}-canary", self.token)),
            Version::Stable => (
                self.stable_cookie_name
                    .clone()
                    .unwrap_or_else(|| self.cookie_name.clone()),
                format!("{}-stable", self.token),
            ),
        }
    }

    /// The `Set-Cookie` header of a version's answers.
    pub(super) fn set_cookie(&self, version: Version) -> String {
        let (name, value) = self.cookie(version);
        format!(
            "{name}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax",
            self.max_age_s
        )
    }
}
