//! The HTTP API: what users and the command line see of the hub.
//!
//! A request passes [`server`] (listeners), [`routes`] (limits, timeouts) and [`auth`] (who is it),
//! then a handler that asks `authorize()` before it reads or writes anything. Errors are
//! problem+json ([`problem`]). Contents of Secrets never leave ([`redact`]).

mod actions;
mod alert_defaults;
mod alert_providers;
mod apply;
mod auth;
mod checks;
mod cluster_traffic;
mod clusters;
mod compliance;
mod deletion;
mod dependencies;
mod diff;
mod division;
mod events;
mod extract;
mod feed;
mod health;
mod hook_conditions;
mod items;
mod keeping;
mod metric_templates;
mod mirrored;
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

pub(crate) use ::http::StatusCode;
pub(crate) use apply::{Scope, record_key, write_documents};
pub(crate) use auth::Caller;
pub use auth::Peer;
pub(crate) use deletion::{refuse_in_use, remove};
pub use feed::Feed;
pub(crate) use feed::{Followed, Reader};
pub(crate) use items::{Scene, holders};
pub(crate) use mirrored::{check_document, show_mirrored, unreadable};
pub use openapi::document as openapi_document;
pub(crate) use ownership::said;
pub(crate) use problem::{ApiError, ApiResult};
pub use routes::router;
pub use server::{ServeError, serve};
pub use webhooks::Webhooks;
pub use why::why;
