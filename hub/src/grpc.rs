//! The agents' side of the hub: TLS, enrolment, sessions, and what they carry.
//!
//! Data flow: [`listener`] accepts and tells who speaks → `identity` enrols and renews, `link`
//! opens sessions → `session` is one cluster's stream: it polls what the agent says and sends what
//! [`tailer`] and the fetcher give → [`ingest`] writes statuses and acknowledgements in batches.
//! A session costs no task, no channel and no database write while nothing changes.
//! Entry point: [`spawn`].

pub(crate) mod clock;
mod clones;
mod compliance;
pub(crate) mod drift;
pub mod enrol;
mod fetch;
mod identity;
mod ingest;
mod link;
mod listener;
mod metrics;
mod peer;
mod properties;
mod refusal;
pub(crate) mod renewals;
mod samples;
mod session;
mod sessions;
mod slot;
mod tailer;

use std::sync::Arc;

use bellwether_proto::{
    limits::MAX_MESSAGE_BYTES,
    wire::{identity_server::IdentityServer, link_server::LinkServer},
};
use tokio::net::TcpListener;
use tonic::service::Routes;

pub use samples::{SampleRing, Samples};
pub use sessions::{Liveness, Sessions};

use crate::app::App;

/// Starts to serve agents on `listener`, and the loops behind it; all end on the app's shutdown.
pub fn spawn(app: &Arc<App>, listener: TcpListener) {
    let ingest = Arc::new(ingest::Ingest::default());
    let fetcher = fetch::Fetcher::spawn(app);
    let link = link::LinkService::new(Arc::clone(app), Arc::clone(&ingest), fetcher);
    let identity = identity::IdentityService::new(Arc::clone(app));
    let routes = Routes::new(
        IdentityServer::new(identity)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES),
    )
    .add_service(
        LinkServer::new(link)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES),
    )
    .prepare();
    app.tasks
        .spawn(listener::serve(Arc::clone(app), listener, routes));
    app.tasks.spawn(ingest::run(Arc::clone(app), ingest));
    app.tasks.spawn(tailer::run(Arc::clone(app)));
    app.tasks.spawn(renewals::run(Arc::clone(app)));
    app.tasks.spawn(sessions::sweep(Arc::clone(app)));
}
