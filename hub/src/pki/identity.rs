//! Who a certificate speaks for.

use jiff::Timestamp;
use uuid::Uuid;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Who the holder of a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// The cluster.
    pub cluster: Uuid,
    /// Serial number of the certificate, lower-case hex.
    pub serial: String,
    /// When the certificate ends.
    pub not_after: Timestamp,
}

/// Why a certificate speaks for no cluster.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdentityError {
    /// It is no certificate.
    #[error("failed to read the client certificate")]
    Malformed,
    /// It has no URI of the form `spiffe://<trust domain>/cluster/<uuid>`, or several.
    #[error(
        "failed to find one identity of trust domain {trust_domain:?} in the client certificate"
    )]
    NoIdentity {
        /// The trust domain that was looked for.
        trust_domain: String,
    },
}

impl ClusterIdentity {
    /// Reads the identity from a certificate whose signature was verified already.
    ///
    /// # Errors
    /// When it is malformed or does not carry exactly one identity of this trust domain.
    pub fn parse(certificate_der: &[u8], trust_domain: &str) -> Result<Self, IdentityError> {
        let (_, certificate) =
            X509Certificate::from_der(certificate_der).map_err(|_| IdentityError::Malformed)?;
        let none = || IdentityError::NoIdentity {
            trust_domain: trust_domain.to_owned(),
        };
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| IdentityError::Malformed)?
            .ok_or_else(none)?;
        let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
            return Err(none());
        };
        let cluster = uri
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.strip_prefix(trust_domain))
            .and_then(|rest| rest.strip_prefix("/cluster/"))
            .and_then(|id| Uuid::parse_str(id).ok())
            .ok_or_else(none)?;
        let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp())
            .map_err(|_| IdentityError::Malformed)?;
        Ok(Self {
            cluster,
            serial: hex::encode(certificate.raw_serial()),
            not_after,
        })
    }

    /// Tells whether the certificate has ended.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after <= now
    }
}

/// The names that the hub writes into a cluster's certificate.
pub(super) struct Names<'a> {
    pub(super) trust_domain: &'a str,
    pub(super) cluster: Uuid,
}

impl Names<'_> {
    pub(super) fn uri(&self) -> String {
        format!("spiffe://{}/cluster/{}", self.trust_domain, self.cluster)
    }

    pub(super) fn common_name(&self) -> String {
        self.cluster.to_string()
    }
}
