//! Verification of client certificates: an ended one may still knock, to be renewed.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long after its end a certificate still opens a connection that may renew and nothing else.
pub const RENEWAL_GRACE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Verifies chains as rustls does, and forgives an end that is not long ago. Whether it has ended
/// is read again from the certificate, on every call.
#[derive(Debug)]
pub(super) struct LenientVerifier {
    pub(super) inner: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for LenientVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Agents have one certificate: hints would only cost bytes in every handshake.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .inner
            .verify_client_cert(end_entity, intermediates, now);
        let Err(Error::InvalidCertificate(error)) = &verified else {
            return verified;
        };
        if !matches!(
            error,
            CertificateError::Expired | CertificateError::ExpiredContext { .. }
        ) {
            return verified;
        }
        let Some(end) = not_after(end_entity) else {
            return verified;
        };
        if now.as_secs().saturating_sub(end.as_secs()) > RENEWAL_GRACE.as_secs() {
            return verified;
        }
        // The same checks as at the last moment of its life: chain, signature, purpose.
        self.inner
            .verify_client_cert(end_entity, intermediates, end)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let end = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
    let seconds = u64::try_from(end.as_second()).ok()?;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}
