//! TLS of a load: who is trusted, and what is spoken.

use std::{io, sync::Arc};

use bellwether_api::hooks::LoadProtocol;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::failing::LoadError;

/// Makes what speaks TLS, with those `authorities` (PEM) alone that are given, and those of the system
/// otherwise. It offers the load's protocol and no other.
///
/// # Errors
/// Nobody would be trusted.
pub(super) fn connector(
    authorities: Option<&[u8]>,
    protocol: LoadProtocol,
) -> Result<TlsConnector, LoadError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(LoadError::NoTls)?;
    let builder = match authorities {
        Some(pem) => builder.with_root_certificates(roots(pem)?),
        None => {
            let verifier = Verifier::new(provider).map_err(LoadError::NoAuthorities)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![alpn(protocol).as_bytes().to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(pem: &[u8]) -> Result<RootCertStore, LoadError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| LoadError::NoCertificates)?;
        roots
            .add(certificate)
            .map_err(|_| LoadError::NoCertificates)?;
    }
    if roots.is_empty() {
        return Err(LoadError::NoCertificates);
    }
    Ok(roots)
}

/// The name of a protocol in ALPN.
const fn alpn(protocol: LoadProtocol) -> &'static str {
    match protocol {
        LoadProtocol::Http1 => "http/1.1",
        LoadProtocol::Http2 => "h2",
    }
}

/// Speaks TLS with `name` over a connection to `address`.
///
/// # Errors
/// The server is not who it should be, or does not choose the load's protocol.
pub(super) async fn wrap(
    connector: &TlsConnector,
    name: &ServerName<'static>,
    stream: TcpStream,
    (address, protocol): (&str, LoadProtocol),
) -> Result<TlsStream<TcpStream>, LoadError> {
    let other_protocol = || LoadError::Protocol {
        name: name.to_str().into_owned(),
        wanted: alpn(protocol),
    };
    let stream = match connector.connect(name.clone(), stream).await {
        Ok(stream) => stream,
        Err(error) => {
            return Err(match of_tls(&error) {
                Some(
                    Error::NoApplicationProtocol
                    | Error::AlertReceived(AlertDescription::NoApplicationProtocol),
                ) => other_protocol(),
                Some(Error::InvalidCertificate(why)) => LoadError::Certificate {
                    name: name.to_str().into_owned(),
                    why: sentence(why),
                },
                Some(why) => LoadError::Tls {
                    name: name.to_str().into_owned(),
                    source: why.clone(),
                },
                None => LoadError::Connect {
                    address: address.to_owned(),
                    source: error,
                },
            });
        }
    };
    let chosen = stream.get_ref().1.alpn_protocol();
    let is_spoken = match protocol {
        // Who does not know ALPN speaks HTTP/1.1.
        LoadProtocol::Http1 => chosen.is_none_or(|chosen| chosen == alpn(protocol).as_bytes()),
        LoadProtocol::Http2 => chosen == Some(alpn(protocol).as_bytes()),
    };
    if is_spoken {
        Ok(stream)
    } else {
        Err(other_protocol())
    }
}

/// The word of TLS in an error of a connection; absent = it is none of TLS.
fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn sentence(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        // Somebody who only has the name of one who is trusted makes the latter.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "nobody who is trusted has signed it".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".to_owned()
        }
        other => other.to_string(),
    }
}
