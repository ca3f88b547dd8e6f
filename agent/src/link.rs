//! The stream to the hub.
//!
//! Data flow: [`run`] connects with the current identity and says what is held → `session` takes
//! deltas and snapshots, fetches the blobs that are missing, commits them through
//! [`Desired`](crate::desired::Desired) and acknowledges what is durable → statuses of
//! [`Reports`](crate::report::Reports) go up until the hub confirms them. [`bulk`] carries metric
//! samples on a stream of its own. Whatever the hub says is state by generation: a repeated,
//! reordered or lost frame changes nothing in the end.

mod backoff;
pub mod bulk;
mod channel;
mod compliance;
mod error;
mod facts;
mod intake;
mod pods;
#[cfg(test)]
mod reconnects;
mod rights;
mod runner;
mod serve;
mod session;

pub use backoff::Backoff;
pub use error::LinkError;
pub use facts::Facts;
pub use runner::{Link, LinkStatus, run};
pub use serve::{Hub, ServeError, serve};

pub(crate) use channel::identity_client;
pub(crate) use error::{chain, warn_of_clocks};
