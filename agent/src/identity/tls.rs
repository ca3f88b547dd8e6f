//! TLS towards the hub, and what its failures mean in one sentence.

use std::{error::Error as StdError, sync::Arc};

use bellwether_proto::limits::CLOCK_TOLERANCE;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest, Sha256};

use super::material::Identity;

/// By what the agent knows the hub.
#[derive(Clone, Debug)]
pub enum Trust {
    /// By the hash (SHA-256 of the DER) of its CA: before enrolment, without a certificate.
    CaHash([u8; 32]),
    /// By the CAs that it gave at enrolment, and with a certificate.
    Enrolled(Arc<Identity>),
}

/// The TLS settings for one connection.
///
/// # Errors
/// When key or certificates cannot be used.
pub fn client_config(trust: &Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = match trust {
        Trust::CaHash(hash) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinnedCa {
                hash: *hash,
                provider,
            }))
            .with_no_client_auth(),
        Trust::Enrolled(identity) => {
            let mut roots = RootCertStore::empty();
            for ca in identity.trusted() {
                roots.add(ca)?;
            }
            let key = identity
                .key()
                .map_err(|error| Error::Other(OtherError(Arc::new(error))))?;
            builder
                .with_root_certificates(roots)
                .with_client_auth_cert(identity.chain(), key)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Every connection shows the certificate that is current.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Trusts the one CA with the pinned hash, which the hub sends along.
#[derive(Debug)]
struct PinnedCa {
    hash: [u8; 32],
    provider: Arc<CryptoProvider>,
}

/// The hub is not the one that the join token came from.
#[derive(Debug, thiserror::Error)]
#[error(
    "the hub's certificate is not signed by the CA whose hash is in the join token: it may be \
     another hub; register the cluster again to trust it"
)]
struct OtherCa;

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let other_ca = || Error::Other(OtherError(Arc::new(OtherCa)));
        let pinned = intermediates
            .iter()
            .find(|ca| Sha256::digest(ca).as_slice() == self.hash)
            .ok_or_else(other_ca)?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|_| other_ca())?;
        match verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => Err(other_ca()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What a failure of TLS means and what to do; absent = it is no failure of TLS.
#[must_use]
pub fn explain(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<Error>() {
            return Some(sentence(error));
        }
        next = match error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn sentence(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => {
            let by = not_before.as_secs().saturating_sub(time.as_secs());
            clocks_differ(by + CLOCK_TOLERANCE.as_secs(), "behind")
        }
        Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            let by = time.as_secs().saturating_sub(not_after.as_secs());
            format!(
                "{}, or the hub's certificate was not renewed",
                clocks_differ(by, "ahead of")
            )
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the hub's certificate is not signed by a CA that this cluster trusts: it may be \
             another hub; register the cluster again to trust it"
                .to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server at the hub's address is not a Bellwether hub".to_owned(),
        Error::AlertReceived(alert) => refused(*alert),
        Error::Other(OtherError(inner)) => inner.to_string(),
        other => format!("TLS with the hub failed: {other}"),
    }
}

fn refused(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::CertificateExpired => {
            "it ended too long ago to be renewed; register the cluster again"
        }
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it was not signed by this hub's CA; register the cluster again"
        }
        AlertDescription::ProtocolVersion => "the two speak no common version of TLS",
        _ => "see the hub's log",
    };
    format!("the hub refused this cluster's certificate ({alert:?}): {why}")
}

/// One sentence about clocks that differ, and the way out.
#[must_use]
pub(crate) fn clocks_differ(seconds: u64, where_: &str) -> String {
    let by = if seconds >= 120 {
        format!("{} minutes", seconds / 60)
    } else {
        format!("{seconds} s")
    };
    format!("the clocks differ: this cluster's is about {by} {where_} the hub's; set both by NTP")
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    /// As the connection gives it: the failure of TLS inside one of IO.
    fn told(error: Error) -> String {
        explain(&io::Error::new(io::ErrorKind::InvalidData, error)).unwrap_or_default()
    }

    #[test]
    fn clocks_that_differ_are_named_with_the_difference() {
        // The hub's certificate starts five minutes before it was made.
        let early = CertificateError::NotValidYetContext {
            time: at(1_000),
            not_before: at(4_300),
        };
        assert_eq!(
            told(Error::InvalidCertificate(early)),
            "the clocks differ: this cluster's is about 60 minutes behind the hub's; set both by \
             NTP"
        );
        let late = CertificateError::ExpiredContext {
            time: at(8_000),
            not_after: at(4_400),
        };
        let late = told(Error::InvalidCertificate(late));
        assert!(late.contains("60 minutes ahead of the hub's"), "{late}");
    }

    #[test]
    fn another_hub_and_a_refused_certificate_are_told_apart() {
        let other = told(Error::Other(OtherError(Arc::new(OtherCa))));
        assert!(
            other.contains("not signed by the CA whose hash is in the join token"),
            "{other}"
        );
        let unknown = told(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(unknown.contains("another hub"), "{unknown}");
        let ended = told(Error::AlertReceived(AlertDescription::CertificateExpired));
        assert!(ended.contains("ended too long ago"), "{ended}");
        assert_eq!(
            explain(&io::Error::from(io::ErrorKind::ConnectionReset)),
            None
        );
    }
}
