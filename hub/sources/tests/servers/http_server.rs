//! HTTP servers on this machine, plain and with TLS, which end with their test.

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

pub struct HttpServer {
    pub address: SocketAddr,
    /// The authority of the certificate, as PEM; empty without TLS.
    pub ca: String,
    task: JoinHandle<()>,
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpServer {
    pub async fn plain(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
        Self {
            address,
            ca: String::new(),
            task,
        }
    }

    /// Serves `https://localhost`.
    pub async fn tls(app: Router) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = Authority::new();
        let acceptor = authority.acceptor(None);
        Self::serving(app, authority.pem, acceptor).await
    }

    /// Serves `https://localhost` to whoever shows a certificate of its authority; with one, and its key.
    pub async fn mutual(app: Router) -> (Self, String, String) {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = Authority::new();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der.clone()).expect("an authority");
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .expect("a verifier");
        let acceptor = authority.acceptor(Some(verifier));
        let (certificate, key) = authority.signed("hub");
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        let server = Self::serving(app, authority.pem, acceptor).await;
        (server, certificate, key)
    }

    async fn serving(app: Router, ca: String, acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, app) = (acceptor.clone(), app.clone());
                tokio::spawn(async move {
                    // A client that does not trust this server ends here.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = TowerToHyperService::new(app);
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, ca, task }
    }

    pub fn url(&self, path: &str) -> String {
        if self.ca.is_empty() {
            return format!("http://{}{path}", self.address);
        }
        format!("https://localhost:{}{path}", self.address.port())
    }
}

struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("an authority");
        Self {
            pem: own.pem(),
            der: own.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn signed(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(vec![name.to_owned()])
            .expect("parameters")
            .signed_by(&key, &self.issuer)
            .expect("a certificate");
        (certificate, key)
    }

    /// Accepts on `localhost`, from those alone that the verifier lets through.
    fn acceptor(&self, clients: Option<Arc<dyn ClientCertVerifier>>) -> TlsAcceptor {
        let (leaf, key) = self.signed("localhost");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let builder = rustls::ServerConfig::builder();
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients),
            None => builder.with_no_client_auth(),
        };
        let config = builder
            .with_single_cert(vec![leaf.der().clone()], key)
            .expect("a configuration");
        TlsAcceptor::from(Arc::new(config))
    }
}
