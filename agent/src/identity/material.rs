//! Key, certificate and trusted CAs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_proto::wire;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why key or certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// No key could be made or read.
    #[error("failed to make or read the agent's key")]
    Key(#[source] rcgen::Error),
    /// The hub's answer carries no certificate.
    #[error("failed to find a certificate in the hub's answer")]
    NoCertificate,
    /// A certificate cannot be read.
    #[error("failed to read the agent's certificate")]
    Malformed,
}

/// This cluster's key and certificate, and the CAs that it trusts.
#[derive(Clone)]
pub struct Identity {
    key_pem: String,
    chain_der: Vec<Vec<u8>>,
    trusted_ca_der: Vec<Vec<u8>>,
    /// The cluster's id.
    pub cluster_id: String,
    /// The cluster's name at the hub.
    pub cluster_name: String,
    /// When the certificate was received, by this cluster's clock.
    pub obtained_at: Timestamp,
    /// When the certificate ends.
    pub not_after: Timestamp,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("cluster_id", &self.cluster_id)
            .field("cluster_name", &self.cluster_name)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A new key and the request for its certificate.
pub(super) struct Request {
    key: KeyPair,
    pub(super) csr_der: Vec<u8>,
}

impl Request {
    pub(super) fn new() -> Result<Self, MaterialError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(MaterialError::Key)?;
        Self::with_key(key)
    }

    /// Asks again with a key that was made before.
    pub(super) fn again(key_pem: &str) -> Result<Self, MaterialError> {
        Self::with_key(KeyPair::from_pem(key_pem).map_err(MaterialError::Key)?)
    }

    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    fn with_key(key: KeyPair) -> Result<Self, MaterialError> {
        let mut params = CertificateParams::default();
        // The hub writes every name; a request that asks for none cannot be misread.
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key).map_err(MaterialError::Key)?;
        Ok(Self {
            key,
            csr_der: csr.der().to_vec(),
        })
    }

    /// Joins the key with the hub's answer.
    pub(super) fn complete(
        &self,
        answer: wire::Certificate,
        now: Timestamp,
    ) -> Result<Identity, MaterialError> {
        let vectors = |list: Vec<bytes::Bytes>| list.iter().map(|item| item.to_vec()).collect();
        Identity::new(
            self.key.serialize_pem(),
            vectors(answer.chain_der),
            vectors(answer.trusted_ca_der),
            (answer.cluster_id, answer.cluster_name),
            now,
        )
    }
}

impl Identity {
    pub(super) fn new(
        key_pem: String,
        chain_der: Vec<Vec<u8>>,
        trusted_ca_der: Vec<Vec<u8>>,
        (cluster_id, cluster_name): (String, String),
        obtained_at: Timestamp,
    ) -> Result<Self, MaterialError> {
        let leaf = chain_der.first().ok_or(MaterialError::NoCertificate)?;
        if trusted_ca_der.is_empty() {
            return Err(MaterialError::NoCertificate);
        }
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| MaterialError::Malformed)?;
        let not_after = Timestamp::from_second(leaf.validity().not_after.timestamp())
            .map_err(|_| MaterialError::Malformed)?;
        Ok(Self {
            key_pem,
            chain_der,
            trusted_ca_der,
            cluster_id,
            cluster_name,
            obtained_at,
            not_after,
        })
    }

    /// Tells whether the certificate has ended.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after <= now
    }

    /// When to renew: at half of the time that was left when it was received, moved by up to a
    /// tenth of it. `spread` lies in 0..1, one value a process.
    #[must_use]
    pub fn renew_at(&self, spread: f64) -> Timestamp {
        let life = self
            .not_after
            .duration_since(self.obtained_at)
            .max(SignedDuration::ZERO);
        let share = 0.45 + 0.1 * spread.clamp(0.0, 1.0);
        self.obtained_at + SignedDuration::from_secs_f64(life.as_secs_f64() * share)
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, MaterialError> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(|_| MaterialError::Malformed)
    }

    pub(super) fn key_pem(&self) -> &str {
        &self.key_pem
    }

    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain_der
            .iter()
            .cloned()
            .map(CertificateDer::from)
            .collect()
    }

    pub(super) fn trusted(&self) -> Vec<CertificateDer<'static>> {
        self.trusted_ca_der
            .iter()
            .cloned()
            .map(CertificateDer::from)
            .collect()
    }

    pub(super) fn chain_pem(&self) -> String {
        self.chain_der.iter().map(|der| pem(der)).collect()
    }

    pub(super) fn trusted_pem(&self) -> String {
        self.trusted_ca_der.iter().map(|der| pem(der)).collect()
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut block = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        block.extend(line.iter().map(|byte| char::from(*byte)));
        block.push('\n');
    }
    block.push_str("-----END CERTIFICATE-----\n");
    block
}

/// Certificates of a PEM text, DER, in order.
pub(super) fn read_pem(text: &str) -> Result<Vec<Vec<u8>>, MaterialError> {
    CertificateDer::pem_slice_iter(text.as_bytes())
        .map(|item| {
            item.map(|der| der.to_vec())
                .map_err(|_| MaterialError::Malformed)
        })
        .collect()
}
