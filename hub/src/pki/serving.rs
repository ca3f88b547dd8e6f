//! The hub's own certificate and its TLS settings.

use std::{sync::Arc, time::Duration};

use bellwether_proto::HUB_SERVER_NAME;
use jiff::Timestamp;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};

use super::{
    BACKDATE, PkiOptions,
    authority::{Authority, PkiError},
    verifier,
};

pub(super) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Clone)]
pub(super) struct Serving {
    config: Arc<ServerConfig>,
    webhook: Arc<ServerConfig>,
    renew_at: Timestamp,
}

impl Serving {
    pub(super) fn new(
        authority: &Authority,
        options: &PkiOptions,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        // Only hubs get this name: a cluster's certificate carries its URI and serves clients only.
        let mut names = vec![HUB_SERVER_NAME.to_owned(), "localhost".to_owned()];
        names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
        names.extend(options.server_names.iter().cloned());
        names.sort();
        names.dedup();
        let (chain, key) = authority.issue_server(&names, now - BACKDATE, now + LIFETIME)?;
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));

        let mut roots = RootCertStore::empty();
        for ca in authority.trusted() {
            roots
                .add(CertificateDer::from(ca.clone()))
                .map_err(PkiError::Tls)?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let webhook = webhook(chain.clone(), key.clone_key(), Arc::clone(&provider))?;
        let inner =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(PkiError::Verifier)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(PkiError::Tls)?
            .with_client_cert_verifier(Arc::new(verifier::LenientVerifier { inner }))
            .with_single_cert(chain, key)
            .map_err(PkiError::Tls)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would skip the verification of the client's certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Arc::new(config),
            webhook: Arc::new(webhook),
            renew_at: now + LIFETIME / 2,
        })
    }

    pub(super) fn webhook_config(&self) -> &Arc<ServerConfig> {
        &self.webhook
    }

    pub(super) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    pub(super) fn renewal_is_due(&self, now: Timestamp) -> bool {
        self.renew_at <= now
    }
}

/// Who asks is not known: an answer tells whether a document is right, and changes nothing.
fn webhook(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, PkiError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(PkiError::Tls)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(PkiError::Tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
