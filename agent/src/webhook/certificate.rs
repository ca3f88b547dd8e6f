//! The webhook's certificate and the authority that signs it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bellwether_agent_core::admission::{
    AUTHORITY_LIFETIME, CERTIFICATE_LIFETIME, Step, Validity, is_expired, step,
};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::{
    RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Clocks of the API server may be behind by this much.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    /// It could not be made.
    #[error("failed to make the webhook's certificate")]
    Make(#[source] rcgen::Error),
    /// TLS does not take it.
    #[error("failed to set up TLS for the webhook")]
    Tls(#[source] rustls::Error),
    /// What was stored is none.
    #[error("failed to read the webhook's certificate")]
    Malformed,
}

/// Authority, certificate and keys, as they are stored.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material {
    /// The certificates that the API server is to trust, PEM; the one that signs comes first.
    trusted_pem: String,
    authority_key_pem: String,
    certificate_pem: String,
    key_pem: String,
}

impl Material {
    /// Takes what the Secret holds.
    pub(super) fn read(data: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key: &str| data.get(key).cloned();
        Some(Self {
            trusted_pem: text("ca.crt")?,
            authority_key_pem: text("ca.key")?,
            certificate_pem: text("tls.crt")?,
            key_pem: text("tls.key")?,
        })
    }

    /// What the Secret is to hold.
    pub(super) fn data(&self) -> BTreeMap<String, String> {
        [
            ("ca.crt", &self.trusted_pem),
            ("ca.key", &self.authority_key_pem),
            ("tls.crt", &self.certificate_pem),
            ("tls.key", &self.key_pem),
        ]
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .into()
    }

    /// The certificates that the API server is to trust.
    pub(super) fn trusted_pem(&self) -> &str {
        &self.trusted_pem
    }

    /// What is to be made of what is stored.
    pub(super) fn due(held: Option<&Self>, name: &str, now: Timestamp) -> Step {
        let authority = held.and_then(Self::authority);
        let certificate = held.filter(|held| held.is_trusted(name, now));
        step(now, authority, certificate.and_then(Self::validity))
    }

    /// Makes what `step` says for a server called `name`, from what there was before.
    ///
    /// # Errors
    /// Keys or certificates cannot be made.
    pub(super) fn made(
        step: Step,
        before: Option<&Self>,
        name: &str,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        let (trusted_pem, authority_key_pem) = match before {
            Some(before) if step != Step::NewAuthority => {
                (before.trusted_pem.clone(), before.authority_key_pem.clone())
            }
            _ => new_authority(before, now)?,
        };
        let key = KeyPair::from_pem(&authority_key_pem).map_err(CertificateError::Make)?;
        let issuer = Issuer::from_ca_cert_pem(&trusted_pem, key).map_err(CertificateError::Make)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CertificateError::Make)?;
        let names = vec![name.to_owned()];
        let mut params = CertificateParams::new(names).map_err(CertificateError::Make)?;
        params.distinguished_name = called("bellwether-agent webhook");
        set_validity(&mut params, now, CERTIFICATE_LIFETIME);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(&key, &issuer);
        Ok(Self {
            trusted_pem,
            authority_key_pem,
            certificate_pem: signed.map_err(CertificateError::Make)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// When the certificate is valid; absent = it cannot be read.
    pub(super) fn validity(&self) -> Option<Validity> {
        validity(&certificates(&self.certificate_pem).into_iter().next()?)
    }

    fn authority(&self) -> Option<Validity> {
        let key = KeyPair::from_pem(&self.authority_key_pem).ok()?;
        Issuer::from_ca_cert_pem(&self.trusted_pem, key).ok()?;
        validity(&certificates(&self.trusted_pem).into_iter().next()?)
    }

    /// Tells whether the certificate has ended, or has not begun.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.validity().is_some_and(|one| is_expired(now, one))
    }

    /// Tells whether the API server would take it for a server called `name`.
    fn is_trusted(&self, name: &str, now: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.trusted_pem) {
            if roots.add(certificate).is_err() {
                return false;
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let (Ok(verifier), Ok(name)) = (builder.build(), ServerName::try_from(name.to_owned()))
        else {
            return false;
        };
        let since_epoch = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
        let now = UnixTime::since_unix_epoch(since_epoch);
        let is_signed = certificates(&self.certificate_pem)
            .first()
            .is_some_and(|one| {
                verifier
                    .verify_server_cert(one, &[], &name, &[], now)
                    .is_ok()
            });
        is_signed && self.tls().is_ok()
    }

    /// The settings to serve with.
    ///
    /// # Errors
    /// Key and certificate do not fit together.
    pub(super) fn tls(&self) -> Result<ServerConfig, CertificateError> {
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .map_err(|_| CertificateError::Malformed)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(CertificateError::Tls)?
            .with_no_client_auth()
            .with_single_cert(certificates(&self.certificate_pem), key)
            .map_err(CertificateError::Tls)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn new_authority(
    before: Option<&Material>,
    now: Timestamp,
) -> Result<(String, String), CertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CertificateError::Make)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = called(&format!("Bellwether webhook CA {}", now.as_second()));
    set_validity(&mut params, now, AUTHORITY_LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let made = params.self_signed(&key).map_err(CertificateError::Make)?;
    // What the one before has signed is served for a moment longer.
    let outgoing = before.filter(|before| {
        let valid = before.authority().is_some_and(|one| !is_expired(now, one));
        valid && !before.is_expired(now)
    });
    let outgoing = outgoing.and_then(|before| first_block(&before.trusted_pem));
    let trusted_pem = made.pem() + outgoing.unwrap_or_default();
    Ok((trusted_pem, key.serialize_pem()))
}

fn first_block(pem: &str) -> Option<&str> {
    const END: &str = "-----END CERTIFICATE-----";
    let end = pem.find(END)? + END.len();
    Some(&pem[..end])
}

fn called(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Certificates count whole seconds.
fn set_validity(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) {
    let since_epoch =
        |time: Timestamp| Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(now - BACKDATE);
    // An authority that just fits one of its certificates must fit the next, too.
    params.not_after = epoch + since_epoch(now + life);
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .filter_map(Result::ok)
        .collect()
}

fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let at = |time: i64| Timestamp::from_second(time).ok();
    Some(Validity {
        not_before: at(parsed.validity().not_before.timestamp())?,
        not_after: at(parsed.validity().not_after.timestamp())?,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const NAME: &str = "bellwether-agent-webhook.bellwether-system.svc";

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn days(days: i64) -> SignedDuration {
        SignedDuration::from_hours(24 * days)
    }

    fn after(before: &Material, now: Timestamp) -> Material {
        let step = Material::due(Some(before), NAME, now);
        Material::made(step, Some(before), NAME, now).unwrap()
    }

    #[test]
    fn what_is_made_is_trusted_and_reads_back() {
        assert_eq!(Material::due(None, NAME, now()), Step::NewAuthority);
        let first = Material::made(Step::NewAuthority, None, NAME, now()).unwrap();
        assert!(Material::read(&first.data()) == Some(first.clone()));
        assert_eq!(Material::due(Some(&first), NAME, now()), Step::Keep);
        assert!(first.tls().is_ok());
        assert!(!first.is_trusted("elsewhere.svc", now()));
        assert!(first.is_expired(now() + days(90)));
    }

    #[test]
    fn a_certificate_is_replaced_in_time_and_the_authority_stays() {
        let first = Material::made(Step::NewAuthority, None, NAME, now()).unwrap();
        let later = now() + days(61);
        assert_eq!(Material::due(Some(&first), NAME, later), Step::Issue);
        let second = after(&first, later);
        assert_eq!(second.trusted_pem, first.trusted_pem);
        assert!(second.certificate_pem != first.certificate_pem);
        assert_eq!(Material::due(Some(&second), NAME, later), Step::Keep);
        // Nobody was there to replace it.
        let ended = now() + days(200);
        assert!(first.is_expired(ended) && !after(&first, ended).is_expired(ended));
    }

    #[test]
    fn the_outgoing_authority_is_trusted_until_its_certificates_are_gone() {
        let first = Material::made(Step::NewAuthority, None, NAME, now()).unwrap();
        let late = now() + AUTHORITY_LIFETIME - days(80);
        let mut serving = first.clone();
        serving.certificate_pem = {
            let reissued =
                Material::made(Step::Issue, Some(&first), NAME, late - days(10)).unwrap();
            serving.key_pem = reissued.key_pem;
            reissued.certificate_pem
        };
        assert_eq!(
            Material::due(Some(&serving), NAME, late),
            Step::NewAuthority
        );
        let next = after(&serving, late);
        assert_eq!(certificates(&next.trusted_pem).len(), 2);
        assert!(next.is_trusted(NAME, late));
        let outgoing = Material {
            trusted_pem: next.trusted_pem.clone(),
            ..serving
        };
        assert!(outgoing.is_trusted(NAME, late), "what is still served");
        // Of an authority that nothing valid is served of, nothing is kept.
        let much_later = late + AUTHORITY_LIFETIME;
        assert_eq!(certificates(&after(&next, much_later).trusted_pem).len(), 1);
    }

    #[test]
    fn what_somebody_made_of_it_is_made_anew() {
        let first = Material::made(Step::NewAuthority, None, NAME, now()).unwrap();
        let other = Material::made(Step::NewAuthority, None, NAME, now()).unwrap();
        let broken = Material {
            authority_key_pem: "no key".into(),
            ..first.clone()
        };
        assert_eq!(
            Material::due(Some(&broken), NAME, now()),
            Step::NewAuthority
        );
        let foreign = Material {
            certificate_pem: other.certificate_pem,
            ..first.clone()
        };
        assert_eq!(Material::due(Some(&foreign), NAME, now()), Step::Issue);
        let keyless = Material {
            key_pem: other.key_pem,
            ..first
        };
        assert_eq!(Material::due(Some(&keyless), NAME, now()), Step::Issue);
    }
}
