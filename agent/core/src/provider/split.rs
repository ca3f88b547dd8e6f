//! What a run wants of the routes.

use bellwether_api::{matching::Match, number::Weight};

/// How requests are split between the apex Service and the canary Service. Every provider renders
/// the same split, or is refused for what it cannot do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// The canary's share of the requests that no match takes.
    pub weight: Weight,
    /// Requests that go to the canary whatever the weight; any item suffices. Empty = none.
    pub matches: Vec<Match>,
    /// The share of the requests answered by the stable version that is also sent to the canary,
    /// whose answer nobody sees; 0 = none.
    pub mirror: Weight,
    /// Keeps a user on the version that answered first; absent = every request is drawn anew.
    pub affinity: Option<Affinity>,
    /// Whether a route that gives the canary nothing names its Service all the same, where the provider's
    /// gateways have to know it before and after ([`super::Renderer::announces`]).
    pub announced: bool,
}

/// Keeps a user on the version that answered first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// The cookie that says so.
    pub cookie_name: String,
    /// The cookie of users of the stable version; absent = the same cookie with another value.
    pub stable_cookie_name: Option<String>,
    /// How long the cookie lives, in seconds.
    pub max_age_s: u64,
    /// Names the run and weight: users are drawn anew when it changes.
    pub token: String,
}

impl Split {
    /// A split by weight alone.
    #[must_use]
    pub fn by_weight(weight: Weight) -> Self {
        Self {
            weight,
            ..Self::default()
        }
    }

    /// Tells whether the canary gets nothing. The routes are then as the user wrote them, but for a
    /// name where it is announced.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.weight == Weight::ZERO && self.matches.is_empty() && self.mirror == Weight::ZERO
    }
}
