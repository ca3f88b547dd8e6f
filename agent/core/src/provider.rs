//! Traffic providers: an object and a weight in, the object with the split out.

pub mod gateway_api;
mod split;

use bellwether_api::duration::Dur;

pub use split::{Affinity, Split};

/// How long a data plane may need after its controller said that a route is programmed. Traefik
/// writes the status first and then throttles reloads by two seconds.
pub const SETTLE: Dur = Dur::from_millis(2_500);

/// What a provider can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Shares of traffic by weight.
    pub weights: bool,
    /// Matches on headers.
    pub header_match: bool,
    /// Matches on cookies.
    pub cookie_match: bool,
    /// Mirrored requests.
    pub mirror: bool,
}

/// What a route's status says about its present generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteObservation {
    /// Every parent carries it.
    Programmed,
    /// Some parent has not said so yet.
    NotYet {
        /// Which, and what is missing.
        why: String,
    },
    /// Some parent refused it.
    Rejected {
        /// Which, and its own words.
        why: String,
    },
}
