//! Records as custom resources of the cluster that hosts the hub (docs/gitops.md).
//!
//! Data flow: [`host`] watches them → [`cache`] knows them → [`mirror`] asks the pure
//! `bellwether_hub_core::custom_resource` what each calls for → [`mod@write`] makes records of them and
//! [`leave`] takes records away, as the API would → [`tell`] writes their status back. Beside that,
//! [`server`] answers the API server what it may take, by [`review`], and [`configuration`] has it ask.

mod cache;
mod configuration;
mod host;
mod leave;
mod mirror;
mod pauses;
mod review;
mod server;
mod session;
mod tell;
mod write;

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use crate::{app::App, config::CustomResourceConfig};
use host::{Host, HostError};

/// Why custom resources cannot be mirrored.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The cluster that hosts the hub cannot be used.
    #[error("failed to use the cluster that hosts the hub")]
    Host(#[from] HostError),
    /// The webhook's port is not free.
    #[error(
        "failed to listen on {address} for the API server; free the port or name another by \
         --admission-listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What mirroring needs.
pub struct Prepared {
    host: Host,
    listener: Option<TcpListener>,
}

/// Prepares mirroring; absent = the operator did not ask for it. Nothing is dialled yet.
///
/// # Errors
/// There is no way to the cluster, or the webhook's port is not free.
pub async fn prepare(config: &CustomResourceConfig) -> Result<Option<Prepared>, PrepareError> {
    if !config.custom_resources {
        return Ok(None);
    }
    // Fails only when a provider is installed already: the same one, by the rule of this workspace.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let host = Host::connect(config.kubeconfig.as_deref()).await?;
    let listener = match config.admission_listen {
        None => None,
        Some(address) => {
            let fail = |source| PrepareError::Listen { address, source };
            Some(TcpListener::bind(address).await.map_err(fail)?)
        }
    };
    Ok(Some(Prepared { host, listener }))
}

/// Mirrors, and answers the API server, until the hub stops.
pub fn spawn(app: &Arc<App>, prepared: Prepared) {
    if let Some(listener) = prepared.listener {
        app.tasks.spawn(server::serve(Arc::clone(app), listener));
    }
    app.tasks.spawn(mirror::run(Arc::clone(app), prepared.host));
}
