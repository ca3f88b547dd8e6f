//! Accepts connections of agents: TLS, who speaks, HTTP/2 with limits.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bellwether_proto::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use hyper::{body::Incoming, server::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::AlertDescription;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::service::Routes;
use tower::Service;

use super::{
    peer::{Peer, SharedPeer},
    sessions::Cut,
};
use crate::{
    app::App,
    pki::{ClusterIdentity, IdentityError},
};

/// How long TLS may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Handshakes at once; more wait in the kernel's queue.
const MAX_HANDSHAKES: usize = 1024;
/// Streams of one connection; an agent uses three.
const MAX_STREAMS: u32 = 16;
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// How long a connection may take to end once the hub stops.
const GOODBYE_LIMIT: Duration = Duration::from_secs(3);
/// Pause after a failed accept, so that running out of files does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until shutdown.
pub(super) async fn serve(app: Arc<App>, listener: TcpListener, routes: Routes) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&handshakes).acquire_owned() => permit,
            () = app.shutdown.cancelled() => return,
        };
        let Ok(permit) = permit else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.shutdown.cancelled() => return,
        };
        match accepted {
            Ok((tcp, address)) => {
                let task = connection(Arc::clone(&app), tcp, address, routes.clone(), permit);
                app.tasks.spawn(task);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    app: Arc<App>,
    tcp: TcpStream,
    address: SocketAddr,
    routes: Routes,
    permit: OwnedSemaphorePermit,
) {
    // Boxed: what only the handshake needs must not be kept for as long as the agent stays.
    let greeted = Box::pin(greet(&app, tcp, address, permit)).await;
    let Some((tls, identity)) = greeted else {
        return;
    };
    app.metrics.connections.inc();
    let cut = app.sessions.connected(identity.as_ref());
    let peer = Arc::new(Peer {
        address,
        connection: cut.connection(),
        identity,
    });
    converse(&app, open(tls, peer, routes), cut).await;
    app.metrics.connections.dec();
}

/// One sentence about a failed handshake, with the way out where it is known.
fn refused_because(error: &std::io::Error) -> &'static str {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        // Of the hub's certificate, which is renewed long before it ends.
        Some(rustls::Error::AlertReceived(AlertDescription::CertificateExpired)) => {
            "handshake refused: by the agent's clock this hub's certificate is not valid now, so \
             the clocks differ; set both by NTP"
        }
        _ => "handshake refused",
    }
}

/// Shakes hands; absent = whoever it is may not speak.
async fn greet(
    app: &App,
    tcp: TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
) -> Option<(TlsStream<TcpStream>, Option<ClusterIdentity>)> {
    // Small frames must not wait for each other. Failing to say so costs time only.
    let _ = tcp.set_nodelay(true);
    let acceptor = TlsAcceptor::from(app.pki.server_config());
    let tls = match timeout(HANDSHAKE_LIMIT, acceptor.accept(tcp)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            app.metrics.refused_handshakes.inc();
            tracing::warn!(peer.address = %address, %error, "{}", refused_because(&error));
            return None;
        }
        Err(_) => {
            app.metrics.refused_handshakes.inc();
            tracing::warn!(peer.address = %address, "handshake took too long");
            return None;
        }
    };
    drop(permit);
    let identity = identify(app, &tls, address).ok()?;
    Some((tls, identity))
}

/// Whose certificate was shown; absent = none was.
fn identify(
    app: &App,
    tls: &TlsStream<TcpStream>,
    address: SocketAddr,
) -> Result<Option<ClusterIdentity>, IdentityError> {
    let certificates = tls.get_ref().1.peer_certificates();
    let Some(certificate) = certificates.and_then(<[_]>::first) else {
        return Ok(None);
    };
    app.pki
        .identify(certificate)
        .map(Some)
        .inspect_err(|error| {
            app.metrics.refused_handshakes.inc();
            tracing::warn!(peer.address = %address, %error, "client certificate refused");
        })
}

/// Hands requests of one connection to the services, with whose they are.
struct AgentService {
    routes: Routes,
    peer: SharedPeer,
}

impl hyper::service::Service<http::Request<Incoming>> for AgentService {
    type Response = <Routes as Service<http::Request<Incoming>>>::Response;
    type Error = <Routes as Service<http::Request<Incoming>>>::Error;
    type Future = <Routes as Service<http::Request<Incoming>>>::Future;

    fn call(&self, mut request: http::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(Arc::clone(&self.peer));
        self.routes.clone().call(request)
    }
}

type Conversation = http2::Connection<TokioIo<TlsStream<TcpStream>>, AgentService, TokioExecutor>;

/// Begins HTTP/2. Boxed once: a future that holds a connection by value holds it once for every
/// place that it passed through.
fn open(tls: TlsStream<TcpStream>, peer: SharedPeer, routes: Routes) -> Pin<Box<Conversation>> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    Box::pin(builder.serve_connection(TokioIo::new(tls), AgentService { routes, peer }))
}

async fn converse(app: &App, mut connection: Pin<Box<Conversation>>, mut cut: Cut) {
    tokio::select! {
        // How a connection ended says nothing that its streams did not say already.
        _ = connection.as_mut() => return,
        () = cut.wait() => return,
        () = app.shutdown.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GOODBYE_LIMIT, connection).await;
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn agent_whose_clock_is_wrong_is_told_from_the_others() {
        let failed = |alert| {
            let error = rustls::Error::AlertReceived(alert);
            refused_because(&io::Error::new(io::ErrorKind::InvalidData, error))
        };
        assert!(failed(AlertDescription::CertificateExpired).contains("set both by NTP"));
        assert_eq!(failed(AlertDescription::UnknownCA), "handshake refused");
        let cut = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(refused_because(&cut), "handshake refused");
    }
}
