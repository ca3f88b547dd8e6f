//! The HTTP API: what users and the command line see of the hub.
//!
//! A request passes [`server`] (listeners), [`routes`] (limits, timeouts) and [`auth`] (who is it),
//! then a handler that asks `authorize()` before it reads or writes anything. Errors are
//! problem+json ([`problem`]). Contents of Secrets never leave ([`redact`]).

mod actions;
mod apply;
mod auth;
mod clusters;
mod deletion;
mod dependencies;
mod diff;
mod events;
mod extract;
mod feed;
mod health;
mod items;
mod metric_templates;
mod objects;
mod openapi;
mod ownership;
mod paging;
mod placement;
mod plan;
mod plugins;
mod problem;
mod reason;
mod redact;
mod references;
mod rendered;
mod routes;
mod runs;
mod secrets;
mod server;
mod standing;
mod standing_check;
mod stream;
mod tokens;
mod unreleased;
mod watch;
mod webhooks;
mod why;

pub(crate) use apply::{Scope, record_key, write_documents};
pub(crate) use auth::Caller;
pub use auth::Peer;
pub(crate) use deletion::{refuse_in_use, remove};
pub use feed::Feed;
pub use openapi::document as openapi_document;
pub(crate) use ownership::said;
pub use routes::router;
pub use server::{ServeError, serve};
pub use webhooks::Webhooks;
pub use why::why;
