//! The connection to the member cluster's API server.

use std::{path::Path, time::Duration};

use http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use prometheus_client::metrics::counter::Counter;
use tower::util::MapRequestLayer;

/// How long the API server may say nothing. A watch says something at least every 50 s, when it ends: silence
/// beyond is a dead peer.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be read or used.
    #[error("failed to use the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Neither a service account nor a kubeconfig was found.
    #[error("failed to find a service account or a kubeconfig")]
    Infer(#[from] kube::config::InferConfigError),
    /// The client cannot be made.
    #[error("failed to make a Kubernetes client")]
    Client(#[from] kube::Error),
}

/// Connects with a kubeconfig, or with what the process finds: its service account in a pod.
/// `requests` counts what is sent.
///
/// # Errors
/// No way in is found, or the client cannot be made; nothing is dialled yet.
pub async fn client(kubeconfig: Option<&Path>, requests: Counter) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    };
    let name = HeaderValue::from_static(concat!("bellwether-agent/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, name));
    let config = bounded(config, READ_LIMIT);
    let count = MapRequestLayer::new(move |request| {
        requests.inc();
        request
    });
    Ok(ClientBuilder::try_from(config)?.with_layer(&count).build())
}

/// Bounds how long the API server is waited for.
fn bounded(mut config: Config, read_limit: Duration) -> Config {
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(read_limit);
    // The time that a connection lay idle is not the next answer's.
    config.reset_reader_on_write = true;
    config.write_timeout = Some(Duration::from_secs(30));
    config
}

#[cfg(test)]
pub(crate) mod tests;
