//! Gateway API: HTTPRoute, GRPCRoute, TCPRoute, and Linkerd's HTTPRoute, which is alike.

mod conditions;
mod implementation;
mod observe;
mod render;

use bellwether_api::{matching::Match, number::Weight, traffic::Demand};
use serde_json::Value;

pub use observe::observe;

pub(super) use conditions::http as http_condition;

use super::{Names, RenderError, Renderer, RouteObservation, Split};

/// One kind of route.
#[derive(Clone, Copy)]
pub struct Route {
    dialect: Dialect,
}

/// HTTPRoute, of the Gateway API and of Linkerd's policy API.
pub const HTTP: Route = Route {
    dialect: Dialect {
        join: conditions::http,
        max_rules: 16,
        max_matches: 64,
        max_matches_in_all: 128,
        takes_no_share: true,
    },
};

/// GRPCRoute.
pub const GRPC: Route = Route {
    dialect: Dialect {
        join: conditions::grpc,
        ..HTTP.dialect
    },
};

/// TCPRoute: connections have nothing to match, and Envoy takes no destination of them without a share.
pub const TCP: Route = Route {
    dialect: Dialect {
        takes_no_share: false,
        ..HTTP.dialect
    },
};

/// Joins one condition of a rule with one item of a match; `None` = no request can fulfil both.
type Join = fn(&Value, &Match) -> Result<Option<Value>, RenderError>;

/// What differs between the kinds.
#[derive(Clone, Copy)]
struct Dialect {
    /// How conditions are joined.
    join: Join,
    /// The most rules that a route may have.
    max_rules: usize,
    /// The most matches that a rule may have.
    max_matches: usize,
    /// The most matches that a route may have.
    max_matches_in_all: usize,
    /// Whether gateways take a backend that gets nothing.
    takes_no_share: bool,
}

impl Renderer for Route {
    fn render(&self, object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        render::render(object, names, split, self.dialect)
    }

    fn can_announce(&self) -> bool {
        self.dialect.takes_no_share
    }

    fn announces(&self, live: &Value) -> bool {
        self.dialect.takes_no_share && implementation::announces(live)
    }

    fn observe(&self, object: &Value) -> RouteObservation {
        observe(object)
    }

    fn lacking(&self, object: &Value, demand: &Demand) -> Option<String> {
        implementation::lacking(object, demand)
    }

    fn observed_weight(&self, object: &Value, _own: &[&Value], names: &Names) -> Option<Weight> {
        render::observed_weight(object, names)
    }
}

#[cfg(test)]
mod kinds;
#[cfg(test)]
mod tests;
