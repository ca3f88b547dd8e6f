//! Connections of a load.

use bellwether_api::hooks::LoadProtocol;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{failing::LoadError, tls};

/// One open connection.
pub(super) enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Connection {
    pub(super) async fn is_open(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}

/// Opens the connections of one load.
pub(super) struct Dialer {
    /// As `host:port`.
    pub(super) address: String,
    protocol: LoadProtocol,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Dialer {
    /// Connections to `address`, with `tls` to who is named there.
    pub(super) const fn new(
        address: String,
        protocol: LoadProtocol,
        tls: Option<(TlsConnector, ServerName<'static>)>,
    ) -> Self {
        Self {
            address,
            protocol,
            tls,
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Nobody answers, or not who should, or not in the load's protocol.
    pub(super) async fn connect(&self) -> Result<Connection, LoadError> {
        let stream = TcpStream::connect(&self.address).await;
        let stream = stream.map_err(|source| LoadError::Connect {
            address: self.address.clone(),
            source,
        })?;
        match &self.tls {
            None => self.over(stream).await,
            Some((connector, name)) => {
                let wanted = (self.address.as_str(), self.protocol);
                let stream = tls::wrap(connector, name, stream, wanted).await?;
                self.over(stream).await
            }
        }
    }

    /// What a connection that broke means.
    pub(super) fn broken(&self, source: hyper::Error) -> LoadError {
        LoadError::Broken {
            address: self.address.clone(),
            source,
        }
    }

    async fn over<S>(&self, stream: S) -> Result<Connection, LoadError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let broken = |source| self.broken(source);
        // The driver ends with its connection.
        match self.protocol {
            LoadProtocol::Http1 => {
                let (sender, driver) = http1::handshake(io).await.map_err(broken)?;
                tokio::spawn(driver);
                Ok(Connection::Http1(sender))
            }
            LoadProtocol::Http2 => {
                let handshake = http2::handshake(TokioExecutor::new(), io);
                let (sender, driver) = handshake.await.map_err(broken)?;
                tokio::spawn(driver);
                Ok(Connection::Http2(sender))
            }
        }
    }
}
