//! Keys, certificates and connections of simulated agents.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use bellwether_api::call::JoinMaterial;
use bellwether_proto::{
    HUB_SERVER_NAME,
    wire::{EnrolRequest, identity_client::IdentityClient},
};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject as _,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// What the hub that is measured is known by.
#[derive(Clone, Debug)]
pub struct Hub {
    address: SocketAddr,
    roots: Arc<RootCertStore>,
}

impl Hub {
    /// Reads the hub's CA from its data folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(address: SocketAddr, data: &Path) -> Result<Self> {
        let ca = CertificateDer::from_pem_file(data.join("pki/ca.pem")).context("the hub's CA")?;
        let mut roots = RootCertStore::empty();
        roots.add(ca)?;
        Ok(Self {
            address,
            roots: Arc::new(roots),
        })
    }

    /// Opens a connection of its own, TLS 1.3; without credentials only Enrol works on it.
    ///
    /// # Errors
    /// When TCP, TLS or HTTP/2 fails.
    pub async fn connect(&self, credentials: Option<&Credentials>) -> Result<Channel> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match credentials {
            None => builder.with_no_client_auth(),
            Some(credentials) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(credentials.key.clone()));
                builder.with_client_auth_cert(credentials.chain.clone(), key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Every connection is a full handshake, as after a restart of the agent.
        config.resumption = rustls::client::Resumption::disabled();
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(HUB_SERVER_NAME)?;
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await?;
        let mut stream = Some(TokioIo::new(tls));
        let connector = tower::service_fn(move |_: http::Uri| {
            let stream = stream.take();
            async move { stream.ok_or_else(|| std::io::Error::other("the connection ended")) }
        });
        Ok(Endpoint::from_static("http://hub")
            .connect_with_connector(connector)
            .await?)
    }

    /// Enrols with a token: makes a key, sends a CSR, gets a certificate.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn enrol(&self, join: &JoinMaterial, cluster_uid: &str) -> Result<Credentials> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let csr = CertificateParams::default()
            .serialize_request(&key)?
            .der()
            .to_vec();
        let channel = self.connect(None).await?;
        let answer = IdentityClient::new(channel)
            .enrol(EnrolRequest {
                token: join.token.clone(),
                csr_der: csr.into(),
                cluster_uid: cluster_uid.to_owned(),
                agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            })
            .await?
            .into_inner();
        let chain = answer
            .chain_der
            .iter()
            .map(|der| CertificateDer::from(der.to_vec()))
            .collect();
        Ok(Credentials {
            key: key.serialize_der(),
            chain,
        })
    }
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Credentials {
    key: Vec<u8>,
    chain: Vec<CertificateDer<'static>>,
}
