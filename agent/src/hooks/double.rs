//! A server for tests of hooks and loads: HTTP/1.1 and HTTP/2, plain or over TLS.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// What was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) version: http::Version,
    pub(super) method: String,
    pub(super) path: String,
    /// As the protocol names it: in the URI, or by its header.
    pub(super) host: Option<String>,
    /// The header `x-load`.
    pub(super) header: Option<String>,
    /// The name that TLS asked for; absent = none, or there is no TLS.
    pub(super) server_name: Option<String>,
}

impl Request {
    fn of(request: &http::Request<Incoming>, server_name: Option<String>) -> Self {
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            Some(value.to_str().expect("a text").to_owned())
        };
        Self {
            version: request.version(),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            host: request
                .uri()
                .host()
                .map(str::to_owned)
                .or_else(|| header("host")),
            header: header("x-load"),
            server_name,
        }
    }
}

/// Answers 200 to everything, and notes what was requested.
pub(super) struct Double {
    /// Where it listens, as `127.0.0.1:port`.
    pub(super) address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Double {
    pub(super) async fn plain() -> Self {
        Self::start(None).await
    }

    pub(super) async fn over_tls(config: ServerConfig) -> Self {
        Self::start(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    /// What was requested, oldest first.
    pub(super) fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no test panics here").clone()
    }

    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let notes = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, notes) = (tls.clone(), Arc::clone(&notes));
                tokio::spawn(async move {
                    let Some(tls) = tls else {
                        return serve(stream, None, notes).await;
                    };
                    let Ok(stream) = tls.accept(stream).await else {
                        return;
                    };
                    let server_name = stream.get_ref().1.server_name().map(str::to_owned);
                    serve(stream, server_name, notes).await;
                });
            }
        });
        Self { address, seen }
    }
}

async fn serve<S>(stream: S, server_name: Option<String>, notes: Arc<Mutex<Vec<Request>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: http::Request<Incoming>| {
        let noted = Request::of(&request, server_name.clone());
        notes.lock().expect("no test panics here").push(noted);
        async { Ok::<_, Infallible>(http::Response::new("hello".to_owned())) }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

/// Somebody who signs certificates of servers.
pub(super) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "the authority of a test");
        Self {
            pem: params.self_signed(&key).expect("a certificate").pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its own certificate.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// A server that is `name`, and knows these protocols by ALPN; none = it does not know ALPN.
    pub(super) fn server(&self, name: &str, protocols: &[&str]) -> ServerConfig {
        self.signed(CertificateParams::new([name.to_owned()]), protocols)
    }

    /// A server that was `name` in 2020.
    pub(super) fn expired_server(&self, name: &str) -> ServerConfig {
        let params = CertificateParams::new([name.to_owned()]).map(|mut params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 12, 31);
            params
        });
        self.signed(params, &[])
    }

    fn signed(
        &self,
        params: Result<CertificateParams, rcgen::Error>,
        protocols: &[&str],
    ) -> ServerConfig {
        let key = KeyPair::generate().expect("a key");
        let params = params.expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS has versions");
        let mut config = builder
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("a server's certificate");
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        config
    }
}
