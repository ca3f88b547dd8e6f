//! Gateway API: HTTPRoute.

mod observe;
mod render;

pub use observe::{observe, observed_weight};
pub use render::render;

use super::Capabilities;

/// What HTTPRoutes can do. Cookies cannot be matched but by a regex on a header, which is left to
/// implementations.
pub const CAPABILITIES: Capabilities = Capabilities {
    weights: true,
    header_match: true,
    cookie_match: false,
    mirror: true,
};

#[cfg(test)]
mod tests;
