//! Connections to the hub: TLS with the identity of the moment, HTTP/2 with limits.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bellwether_proto::{
    HUB_SERVER_NAME,
    limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_MESSAGE_BYTES},
    wire::{identity_client::IdentityClient, link_client::LinkClient},
};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::error::{LinkError, sort};
use crate::identity::{Trust, client_config, explain};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Bounds what of one stream may wait in memory unread.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// Remembers why TLS failed: of a certificate that the hub refuses after its own handshake, gRPC
/// only says that the call was cancelled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    failure: Arc<Mutex<Option<String>>>,
}

impl Watch {
    fn note(&self, error: &io::Error) {
        if let Some(sentence) = explain(error) {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert(sentence);
        }
    }

    fn take(&self) -> Option<LinkError> {
        let sentence = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        Some(LinkError::Tls { sentence })
    }

    /// What the end of a call means.
    pub(crate) fn error_of(&self, status: Status) -> LinkError {
        self.take().unwrap_or_else(|| sort(status))
    }
}

/// A client of the calls for identity.
pub(crate) struct IdentityCalls {
    pub(crate) call: IdentityClient<Channel>,
    pub(crate) watch: Watch,
}

/// A client of the streams.
pub(super) struct LinkCalls {
    pub(super) call: LinkClient<Channel>,
    pub(super) watch: Watch,
}

pub(crate) async fn identity_client(
    addresses: &[String],
    trust: Trust,
) -> Result<IdentityCalls, LinkError> {
    let (channel, watch) = connect(addresses, &trust).await?;
    Ok(IdentityCalls {
        call: IdentityClient::new(channel),
        watch,
    })
}

pub(super) async fn link_client(
    addresses: &[String],
    trust: Trust,
) -> Result<LinkCalls, LinkError> {
    let (channel, watch) = connect(addresses, &trust).await?;
    let call = LinkClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Ok(LinkCalls { call, watch })
}

/// Connects to the first address that answers.
async fn connect(addresses: &[String], trust: &Trust) -> Result<(Channel, Watch), LinkError> {
    let mut last = LinkError::NoAddress;
    for address in addresses {
        match connect_to(address, trust).await {
            Ok(connected) => return Ok(connected),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_to(address: &str, trust: &Trust) -> Result<(Channel, Watch), LinkError> {
    let watch = Watch::default();
    // One handshake here, before gRPC: its failure is known in full.
    let stream = dial(address, trust, &watch).await?;
    let first = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_: http::Uri| {
        let stream = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A channel is one connection: a broken one ends the session, and the next has its own.
        std::future::ready(stream.map(TokioIo::new).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotConnected,
                "the connection to the hub ended",
            )
        }))
    });
    let channel = Endpoint::from_static("http://hub")
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .connect_with_connector(connector)
        .await
        .map_err(|error| watch.take().unwrap_or(LinkError::Transport(error)))?;
    Ok((channel, watch))
}

async fn dial(address: &str, trust: &Trust, watch: &Watch) -> Result<Watched, LinkError> {
    let failed = |source: io::Error| LinkError::Connect {
        address: address.to_owned(),
        source,
    };
    let config = client_config(trust).map_err(|error| LinkError::Tls {
        sentence: format!("the agent's own key or certificate cannot be used: {error}"),
    })?;
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let tcp = timeout(CONNECT_LIMIT, TcpStream::connect(address))
        .await
        .map_err(|_| failed(late()))?
        .map_err(failed)?;
    // Small frames must not wait for each other. Failing to say so costs time only.
    let _ = tcp.set_nodelay(true);
    let name = ServerName::try_from(HUB_SERVER_NAME).map_err(|error| LinkError::Protocol {
        detail: error.to_string(),
    })?;
    let tls = timeout(
        CONNECT_LIMIT,
        TlsConnector::from(Arc::new(config)).connect(name, tcp),
    )
    .await
    .map_err(|_| failed(late()))?
    .map_err(|error| match explain(&error) {
        Some(sentence) => LinkError::Tls { sentence },
        None => failed(error),
    })?;
    Ok(Watched {
        tls,
        watch: watch.clone(),
    })
}

/// A connection that notes why it failed.
struct Watched {
    tls: TlsStream<TcpStream>,
    watch: Watch,
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.tls).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &polled {
            this.watch.note(error);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_shutdown(cx)
    }
}
