//! The CA's files and its signature.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::identity::Names;

const CA_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// Why the certificate authority could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file of the authority could not be read or written.
    #[error("failed to access {path:?}; it must be readable and writable by the hub alone")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of the authority holds something else.
    #[error("failed to read {path:?} as a PEM file of the certificate authority; restore it")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The certificate is there but its key is not.
    #[error("failed to find the key {path:?} of the certificate authority; restore it")]
    KeyMissing {
        /// The key's file.
        path: PathBuf,
    },
    /// No CA was prepared.
    #[error("failed to find {path:?}; prepare the next certificate authority first")]
    NotPrepared {
        /// The certificate's file.
        path: PathBuf,
    },
    /// The request is malformed or not signed by its own key.
    #[error("failed to read the certificate request")]
    Request(#[source] rcgen::Error),
    /// The request's key is of another kind.
    #[error("failed to accept the certificate request's key: only P-256 keys are signed")]
    KeyKind,
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Sign(#[source] rcgen::Error),
    /// TLS refused what the authority made.
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
    /// The CAs cannot serve to verify clients.
    #[error("failed to set up the verification of client certificates")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

/// A certificate that was signed for a cluster.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, then the CA, DER.
    pub chain_der: Vec<Vec<u8>>,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// When it ends.
    pub not_after: Timestamp,
}

/// The CA that signs and those that are trusted.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// DER; the one that signs comes first.
    trusted: Vec<Vec<u8>>,
}

/// Reads a request and checks that it is signed by its own key.
fn read_request(csr: &[u8]) -> Result<CertificateSigningRequestParams, PkiError> {
    let request =
        CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))
            .map_err(PkiError::Request)?;
    if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err(PkiError::KeyKind);
    }
    Ok(request)
}

pub(super) fn key_of(csr: &[u8]) -> Result<[u8; 32], PkiError> {
    let request = read_request(csr)?;
    Ok(Sha256::digest(request.public_key.der_bytes()).into())
}

impl Authority {
    pub(super) fn open(dir: &Path, now: Timestamp) -> Result<Self, PkiError> {
        let _lock = lock(dir)?;
        let (certificate, key) = (dir.join("ca.pem"), dir.join("ca.key"));
        finish_promotion(dir)?;
        if !certificate.exists() {
            create(&certificate, &key, now)?;
        }
        if !key.exists() {
            return Err(PkiError::KeyMissing { path: key });
        }
        let pem = read(&certificate)?;
        let key_pair = KeyPair::from_pem(&read(&key)?)
            .map_err(|_| PkiError::Malformed { path: key.clone() })?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key_pair).map_err(|_| PkiError::Malformed {
            path: certificate.clone(),
        })?;
        let mut trusted = vec![der(&certificate, &pem)?];
        for name in ["ca-next.pem", "ca-old.pem"] {
            let path = dir.join(name);
            if path.exists() {
                trusted.push(der(&path, &read(&path)?)?);
            }
        }
        Ok(Self {
            issuer,
            pem,
            trusted,
        })
    }

    pub(super) fn trusted(&self) -> &[Vec<u8>] {
        &self.trusted
    }

    /// The CA that signs, DER.
    pub(super) fn signer(&self) -> &Vec<u8> {
        &self.trusted[0]
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn hash(&self) -> String {
        hex::encode(Sha256::digest(&self.trusted[0]))
    }

    pub(super) fn issue(
        &self,
        csr: &[u8],
        names: &Names<'_>,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Issued, PkiError> {
        let mut request = read_request(csr)?;
        let serial = new_serial();
        // A request is a stranger's text: everything in it but the key is replaced.
        request.params = leaf(names.common_name(), not_before, not_after, &serial);
        request.params.subject_alt_names = vec![SanType::URI(
            names.uri().as_str().try_into().map_err(PkiError::Sign)?,
        )];
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = request.signed_by(&self.issuer).map_err(PkiError::Sign)?;
        Ok(Issued {
            chain_der: vec![certificate.der().to_vec(), self.trusted[0].clone()],
            serial: hex::encode(&serial),
            not_after,
        })
    }

    /// Signs a certificate that serves `names`; gives the chain and the key, DER.
    pub(super) fn issue_server(
        &self,
        names: &[String],
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<(Vec<Vec<u8>>, Vec<u8>), PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PkiError::Sign)?;
        let mut params = leaf(
            "bellwether-hub".to_owned(),
            not_before,
            not_after,
            &new_serial(),
        );
        params.subject_alt_names = CertificateParams::new(names.to_vec())
            .map_err(PkiError::Sign)?
            .subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(PkiError::Sign)?;
        Ok((
            vec![certificate.der().to_vec(), self.trusted[0].clone()],
            key.serialize_der(),
        ))
    }
}

fn leaf(
    common_name: String,
    not_before: Timestamp,
    not_after: Timestamp,
    serial: &[u8],
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    set_validity(&mut params, not_before, not_after);
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Certificates count whole seconds.
fn set_validity(params: &mut CertificateParams, not_before: Timestamp, not_after: Timestamp) {
    let since_epoch =
        |time: Timestamp| Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(not_before);
    params.not_after = epoch + since_epoch(not_after);
}

/// Writes a CA and its key. The key goes first: a certificate without its key would never heal.
fn create(certificate: &Path, key: &Path, now: Timestamp) -> Result<(), PkiError> {
    let key_pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PkiError::Sign)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(
        DnType::CommonName,
        format!(
            "Bellwether CA {}",
            &Uuid::new_v4().simple().to_string()[..8]
        ),
    );
    set_validity(&mut params, now - super::BACKDATE, now + CA_LIFETIME);
    params.serial_number = Some(SerialNumber::from_slice(&new_serial()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let made = params.self_signed(&key_pair).map_err(PkiError::Sign)?;
    write(key, key_pair.serialize_pem().as_bytes(), 0o600)?;
    write(certificate, made.pem().as_bytes(), 0o644)
}

pub(super) fn prepare_rotation(dir: &Path, now: Timestamp) -> Result<(), PkiError> {
    let _lock = lock(dir)?;
    let (certificate, key) = (dir.join("ca-next.pem"), dir.join("ca-next.key"));
    if certificate.exists() {
        Ok(())
    } else {
        create(&certificate, &key, now)
    }
}

pub(super) fn promote_rotation(dir: &Path) -> Result<(), PkiError> {
    let _lock = lock(dir)?;
    let next = dir.join("ca-next.pem");
    if !next.exists() {
        return Err(PkiError::NotPrepared { path: next });
    }
    let old = read(&dir.join("ca.pem"))?;
    write(&dir.join("ca-old.pem"), old.as_bytes(), 0o644)?;
    rename(dir, "ca-next.key", "ca.key")?;
    rename(dir, "ca-next.pem", "ca.pem")
}

/// A promotion that was cut off has moved the key and not yet the certificate.
fn finish_promotion(dir: &Path) -> Result<(), PkiError> {
    if dir.join("ca-next.pem").exists() && !dir.join("ca-next.key").exists() {
        rename(dir, "ca-next.pem", "ca.pem")?;
    }
    Ok(())
}

fn rename(dir: &Path, from: &str, to: &str) -> Result<(), PkiError> {
    let path = dir.join(from);
    fs::rename(&path, dir.join(to)).map_err(|source| PkiError::File { path, source })
}

/// Keeps two hubs that share the folder from making two authorities.
fn lock(dir: &Path) -> Result<fs::File, PkiError> {
    let fail = |source| PkiError::File {
        path: dir.to_owned(),
        source,
    };
    fs::create_dir_all(dir).map_err(fail)?;
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(dir.join(".lock"))
        .map_err(fail)?;
    file.lock().map_err(fail)?;
    Ok(file)
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::File {
        path: path.to_owned(),
        source,
    })
}

/// Writes a whole file or nothing.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    let fail = |source| PkiError::File {
        path: path.to_owned(),
        source,
    };
    let partial = path.with_extension("partial");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(mode)
        .open(&partial)
        .map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    fs::rename(&partial, path).map_err(fail)
}

fn der(path: &Path, pem: &str) -> Result<Vec<u8>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map(|der| der.to_vec())
        .map_err(|_| PkiError::Malformed {
            path: path.to_owned(),
        })
}

/// 127 random bits; positive and without a leading zero byte, so that every reader prints it alike.
fn new_serial() -> Vec<u8> {
    let mut serial = Uuid::new_v4().into_bytes();
    serial[0] = (serial[0] & 0x3f) | 0x40;
    serial.to_vec()
}
