//! Traffic providers: the user's object and a split in, the object with the split out.
//!
//! A provider is one [`Renderer`] and its row in [`bellwether_api::traffic::Provider`];
//! docs/adding-a-provider.md walks through one.

pub mod alb;
pub mod apisix;
pub mod app_mesh;
mod arms;
mod backends;
pub mod contour;
mod error;
pub mod gateway_api;
pub mod gloo;
pub mod istio;
pub mod knative;
pub mod kuma;
mod names;
pub mod nginx;
mod overtaking;
mod pattern;
pub mod skipper;
pub mod smi;
mod split;
pub mod traefik;
mod tree;

use bellwether_api::{
    duration::Dur,
    number::Weight,
    reference::ObjectRef,
    traffic::{Demand, Provider},
};
use serde_json::Value;

pub use error::RenderError;
pub use names::Names;
pub use split::{Affinity, Split};

/// How long a data plane may need after its controller said that a route is programmed. Traefik
/// writes the status first and then throttles reloads by two seconds.
pub const SETTLE: Dur = Dur::from_millis(2_500);

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

/// Turns one kind of object. Every function is pure.
pub trait Renderer: Sync {
    /// Returns the user's object with the split in it; whatever it does not know stays as it is.
    /// Called for a split that is none only where it is announced and the provider can do so.
    ///
    /// # Errors
    /// The object cannot carry the split. Then nothing of it may be written.
    fn render(&self, object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError>;

    /// Names the objects that it needs beside the user's, which is `target`. They are the run's:
    /// created before the user's object mentions them, removed after it does not any more.
    fn own_targets(&self, _target: &ObjectRef, _names: &Names) -> Vec<ObjectRef> {
        Vec::new()
    }

    /// Tells whether the user's object names the objects beside it, so that they stay until it is in
    /// force without them. Otherwise they act by themselves, and go as soon as they are not needed.
    fn names_own(&self) -> bool {
        false
    }

    /// Tells whether the user's object can name the canary and give it nothing ([`Split::announced`]).
    fn can_announce(&self) -> bool {
        false
    }

    /// Tells whether gateways learn of a route and of the Services in it apart and in no order, so that a
    /// route which gives the canary its first share fails requests until they know its Service. Such a
    /// route names it without a share first, and last. `live` is the user's live object, whose status may say
    /// who serves it; null = what holds whoever does. Goes with [`Self::can_announce`].
    fn announces(&self, _live: &Value) -> bool {
        false
    }

    /// Returns those objects for a split that is not none, in the order of
    /// [`Self::own_targets`]; an object that this split does not need is left out.
    ///
    /// # Errors
    /// The object cannot carry the split.
    fn own(
        &self,
        _object: &Value,
        _names: &Names,
        _split: &Split,
    ) -> Result<Vec<Value>, RenderError> {
        Ok(Vec::new())
    }

    /// Tells whether the user's live object is in force. A kind whose controllers report nothing
    /// is in force as soon as it is written; the settle time covers the rest.
    fn observe(&self, _object: &Value) -> RouteObservation {
        RouteObservation::Programmed
    }

    /// Names what serves the user's live object and lacks something that a plan asks of it, and what;
    /// `None` = nothing is known to be lacking. The provider's kind as such has it.
    fn lacking(&self, _object: &Value, _demand: &Demand) -> Option<String> {
        None
    }

    /// Returns the canary's share in the live objects; `None` when rules disagree, or when no rule
    /// names either Service. `own` are the live ones of [`Self::own_targets`].
    fn observed_weight(&self, object: &Value, own: &[&Value], names: &Names) -> Option<Weight>;
}

/// Finds what renders for a provider; absent = this version does not have it.
#[must_use]
pub fn renderer(provider: Provider) -> Option<&'static dyn Renderer> {
    Some(match provider {
        Provider::HttpRoute | Provider::LinkerdHttpRoute => &gateway_api::HTTP,
        Provider::GrpcRoute => &gateway_api::GRPC,
        Provider::TcpRoute => &gateway_api::TCP,
        Provider::Nginx => &nginx::Nginx,
        Provider::VirtualService => &istio::VirtualService,
        Provider::ApisixRoute => &apisix::ApisixRoute,
        Provider::IngressRoute => &traefik::Traefik::IngressRoute,
        Provider::IngressRouteTcp => &traefik::Traefik::IngressRouteTcp,
        Provider::TraefikService => &traefik::Traefik::TraefikService,
        Provider::HttpProxy => &contour::HttpProxy,
        Provider::TrafficSplit => &smi::TrafficSplit,
        Provider::Kuma => &kuma::MeshService,
        Provider::Alb => &alb::Alb,
        Provider::Skipper => &skipper::Skipper,
        Provider::GlooRouteTable => &gloo::Gloo::RouteTable,
        Provider::GlooVirtualService => &gloo::Gloo::VirtualService,
        Provider::AppMesh => &app_mesh::VirtualRouter,
        Provider::Knative => &knative::Service,
        Provider::None => return None,
    })
}

/// Tells whether routes of a provider name the canary before it gets anything, whoever serves them
/// ([`Renderer::announces`]).
#[must_use]
pub fn announces(provider: Provider) -> bool {
    renderer(provider).is_some_and(|one| one.announces(&Value::Null))
}

/// Tells whether routes of a provider can name a canary that gets nothing.
fn can_announce(provider: Provider) -> bool {
    renderer(provider).is_some_and(Renderer::can_announce)
}

/// Returns the user's object with the split in it. No split at all returns it unchanged, but for the
/// canary's name where it is announced and the provider can do so.
///
/// # Errors
/// The object cannot carry the split.
pub fn render(
    provider: Provider,
    object: &Value,
    names: &Names,
    split: &Split,
) -> Result<Value, RenderError> {
    if split.is_none() && !(split.announced && can_announce(provider)) {
        return Ok(object.clone());
    }
    checked(provider, split)?.render(object, names, split)
}

/// Returns the objects that the provider needs beside the user's; empty without a split.
///
/// # Errors
/// The object cannot carry the split.
pub fn own(
    provider: Provider,
    object: &Value,
    names: &Names,
    split: &Split,
) -> Result<Vec<Value>, RenderError> {
    if split.is_none() {
        return Ok(Vec::new());
    }
    checked(provider, split)?.own(object, names, split)
}

/// The hub has refused before what a provider lacks; what slipped past is not rendered in part.
fn checked(provider: Provider, split: &Split) -> Result<&'static dyn Renderer, RenderError> {
    let lacks = |what: String| RenderError::Lacking {
        provider: provider.field(),
        what,
    };
    let renderer = renderer(provider)
        .ok_or_else(|| lacks("split in this version of Bellwether".to_owned()))?;
    let mut demand = Demand::default();
    if split.weight > Weight::ZERO {
        demand.weights();
    }
    demand.matches(&split.matches);
    demand.mirror(split.mirror, split.weight);
    if split.affinity.is_some() {
        demand.affinity();
    }
    match demand.lacks(provider).first() {
        Some(lack) => Err(lacks(lack.capability.to_string())),
        None => Ok(renderer),
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
