//! The listeners: TCP for whoever has a token, a Unix socket for the machine's own administrator.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{Router, extract::connect_info::Connected, serve::IncomingStream};
use tokio::net::{TcpListener, UnixListener};

use super::{auth::Peer, routes};
use crate::app::App;

/// Why the HTTP API did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error(
        "failed to listen on {address} for the HTTP API; free the port or name another by --listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The Unix socket cannot be made.
    #[error("failed to listen on the Unix socket {path:?}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another hub answers on the Unix socket.
    #[error(
        "another hub runs with the same data folder: {path:?} answers; stop it, or name another folder by --data-dir"
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The local administrator's token cannot be kept.
    #[error("failed to keep the local administrator's token")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Serves the API on TCP and on the Unix socket until the hub stops. Returns the TCP address once
/// both are bound.
///
/// # Errors
/// When one of them cannot be bound, or the local token cannot be written.
pub async fn serve(app: Arc<App>) -> Result<SocketAddr, ServeError> {
    let address = app.config.listen;
    let fail = |source| ServeError::Listen { address, source };
    let tcp = TcpListener::bind(address).await.map_err(fail)?;
    let bound = tcp.local_addr().map_err(fail)?;
    let path = app.config.socket_path();
    let socket = bind_socket(&path).await?;
    super::auth::keep_local_token(&app)
        .await
        .map_err(|error| ServeError::Token(error.into()))?;
    let router = routes::router(Arc::clone(&app));
    spawn_tcp(&app, tcp, router.clone());
    spawn_socket(&app, socket, router, path);
    super::webhooks::spawn(&app);
    tracing::info!(address = %bound, "the HTTP API is up");
    Ok(bound)
}

fn spawn_tcp(app: &Arc<App>, listener: TcpListener, router: Router) {
    let shutdown = app.shutdown.clone();
    app.tasks.spawn(async move {
        let service = router.into_make_service_with_connect_info::<Peer>();
        let served = axum::serve(listener, service)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await;
        if let Err(error) = served {
            tracing::error!(error = %error, "the HTTP API ended");
        }
    });
}

fn spawn_socket(app: &Arc<App>, listener: UnixListener, router: Router, path: PathBuf) {
    let shutdown = app.shutdown.clone();
    app.tasks.spawn(async move {
        let service = router.into_make_service_with_connect_info::<Peer>();
        let served = axum::serve(listener, service)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await;
        if let Err(error) = served {
            tracing::error!(error = %error, "the HTTP API on the Unix socket ended");
        }
        // The next hub makes its own; a stale file would only look like a running one.
        let _ = std::fs::remove_file(path);
    });
}

async fn bind_socket(path: &Path) -> Result<UnixListener, ServeError> {
    let fail = |source| ServeError::Socket {
        path: path.to_owned(),
        source,
    };
    if path.exists() {
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(ServeError::InUse {
                path: path.to_owned(),
            });
        }
        std::fs::remove_file(path).map_err(fail)?;
    }
    let listener = UnixListener::bind(path).map_err(fail)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    Ok(listener)
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(_: IncomingStream<'_, TcpListener>) -> Self {
        Self::Network
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        match stream.io().peer_cred() {
            Ok(credentials) => Self::Local {
                uid: credentials.uid(),
            },
            Err(_) => Self::Network,
        }
    }
}
