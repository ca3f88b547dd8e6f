//! HTTP as sources speak it: bounded, to allowed addresses, with credentials for their own host alone.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::{
    StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION},
};
use sha2::{Digest, Sha256};

use crate::{AddressPolicy, Secret, SourceError, credentials::Tls};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may stand still.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How many redirects are followed, one after the other.
const MAX_REDIRECTS: usize = 5;
/// Clients with authorities or certificates of their own that are kept.
const MAX_CLIENTS: usize = 32;

/// Gets things; clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    policy: Arc<AddressPolicy>,
    usual: reqwest::Client,
    /// Clients that trust authorities of a source alone, or have a certificate for it, by the digest of
    /// both.
    own: Arc<Mutex<BTreeMap<[u8; 32], reqwest::Client>>>,
}

/// What to get.
#[derive(Clone, Debug)]
pub(crate) struct Get<'a> {
    pub url: Url,
    /// The value of `Accept`.
    pub accept: Option<&'a str>,
    /// The value of `Authorization`. It is not sent on to another host, scheme or port.
    pub authorization: Option<&'a Secret>,
    /// Whom it trusts and how it is known. Its certificate is not shown to another host, scheme or port.
    pub tls: Tls<'a>,
    /// Largest body that is read, in bytes.
    pub limit_bytes: u64,
    /// What it is, for errors.
    pub what: &'a str,
}

/// An answer, of whatever status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Who answered, with its port where it is not the usual one.
    pub host: String,
}

impl Answer {
    /// Returns the body of a successful answer.
    pub fn success(self, what: &str) -> Result<Bytes, SourceError> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        Err(self.failure(what))
    }

    /// Returns what an answer without success means.
    pub fn failure(&self, what: &str) -> SourceError {
        let host = self.host.clone();
        let what = what.to_owned();
        match self.status.as_u16() {
            401 | 403 => SourceError::Unauthorised {
                host,
                what,
                why: format!("it answered {}", self.status.as_u16()),
            },
            404 | 410 => SourceError::NotFound {
                what: format!("{what} at {host}"),
            },
            status => SourceError::Unavailable { host, status, what },
        }
    }
}

impl Http {
    pub fn new(policy: Arc<AddressPolicy>) -> Result<Self, SourceError> {
        let build = |builder: reqwest::ClientBuilder| builder.build();
        let usual = build(builder(&policy))
            // A machine without authorities can still ask plain hosts and those with authorities of their own.
            .or_else(|_| build(builder(&policy).tls_certs_only([])))
            .map_err(|error| SourceError::Local {
                doing: "prepare TLS",
                source: std::io::Error::other(error),
            })?;
        Ok(Self {
            policy,
            usual,
            own: Arc::default(),
        })
    }

    /// Tells whether a host is asked over plain HTTP.
    pub fn is_plain(&self, host: &str, port: u16) -> bool {
        self.policy.is_plain(host, port)
    }

    /// Gets something, over redirects that stay with the scheme.
    pub async fn get(&self, get: Get<'_>) -> Result<Answer, SourceError> {
        let mut url = get.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let ours = url.origin() == get.url.origin();
            let client = self.client(if ours { get.tls } else { get.tls.for_others() })?;
            let response = self.send(&client, &url, &get).await?;
            let status = response.status();
            if !is_redirect(status) {
                return read(response, &url, &get).await;
            }
            url = next(&url, response.headers())?;
        }
        Err(redirected(&url, &url, "the last of too many redirects"))
    }

    async fn send(
        &self,
        client: &reqwest::Client,
        url: &Url,
        get: &Get<'_>,
    ) -> Result<reqwest::Response, SourceError> {
        self.check(url).await?;
        let mut request = client.get(url.clone());
        if let Some(accept) = get.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(authorization) = get.authorization
            && url.origin() == get.url.origin()
        {
            let mut value = HeaderValue::from_str(authorization.expose()).map_err(|_| {
                SourceError::Invalid {
                    field: "credentials",
                    why: "they have characters that no header may have".to_owned(),
                }
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.send().await.map_err(|error| failed(url, &error))
    }

    /// Refuses plain HTTP where it is not allowed, and addresses that are written out: those never come
    /// to the resolver.
    async fn check(&self, url: &Url) -> Result<(), SourceError> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        if url.scheme() == "http" && !self.policy.is_plain(host, port) {
            return Err(SourceError::Invalid {
                field: "url",
                why: format!(
                    "http:// is for hosts among the hub's plain HTTP hosts, and {} is none; use https://",
                    host_of(url)
                ),
            });
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<std::net::IpAddr>().is_ok() {
            self.policy.resolve(host, port).await?;
        }
        Ok(())
    }

    fn client(&self, tls: Tls<'_>) -> Result<reqwest::Client, SourceError> {
        if tls.ca.is_none() && tls.client.is_none() {
            return Ok(self.usual.clone());
        }
        let key = key_of(tls);
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = own.get(&key) {
            return Ok(client.clone());
        }
        let client = build(&self.policy, tls)?;
        if own.len() >= MAX_CLIENTS {
            own.clear();
        }
        own.insert(key, client.clone());
        Ok(client)
    }
}

fn key_of(tls: Tls<'_>) -> [u8; 32] {
    let client = tls.client;
    let parts = [
        tls.ca,
        client.map(|client| client.certificate.as_str()),
        client.map(|client| client.private_key.expose()),
    ];
    let mut hash = Sha256::new();
    for part in parts.map(Option::unwrap_or_default) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn build(policy: &Arc<AddressPolicy>, tls: Tls<'_>) -> Result<reqwest::Client, SourceError> {
    let not_valid = |field, why: &str| SourceError::Invalid {
        field,
        why: why.to_owned(),
    };
    let no_authority = || not_valid("ca.crt", "it holds no certificates in PEM");
    // The reader's own words could show a part of the key.
    let no_client = || {
        let why =
            "it and tls.key are no certificate in PEM and the key of it, without a passphrase";
        not_valid("tls.crt", why)
    };
    let mut builder = builder(policy);
    if let Some(pem) = tls.ca {
        let authorities =
            reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| no_authority())?;
        if authorities.is_empty() {
            return Err(no_authority());
        }
        builder = builder.tls_certs_only(authorities);
    }
    let Some(client) = tls.client else {
        return builder.build().map_err(|_| no_authority());
    };
    let pem = format!("{}\n{}", client.certificate, client.private_key.expose());
    let identity = reqwest::Identity::from_pem(pem.as_bytes()).map_err(|_| no_client())?;
    builder.identity(identity).build().map_err(|_| no_client())
}

fn builder(policy: &Arc<AddressPolicy>) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(1)
        .user_agent("bellwether")
        .no_proxy()
        .dns_resolver(Arc::new(Guard(Arc::clone(policy))))
}

/// Resolves names to allowed addresses alone: what was checked is what is connected to.
#[derive(Debug)]
struct Guard(Arc<AddressPolicy>);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            // The port is the caller's: 0 stands for the one in the URL.
            let found = policy.resolve(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

async fn read(
    response: reqwest::Response,
    url: &Url,
    get: &Get<'_>,
) -> Result<Answer, SourceError> {
    let too_large = || SourceError::TooLarge {
        what: format!("{} at {}", get.what, host_of(url)),
        limit: format!("{} bytes", get.limit_bytes),
    };
    if response
        .content_length()
        .is_some_and(|length| length > get.limit_bytes)
    {
        return Err(too_large());
    }
    let status = response.status();
    let headers = response.headers().clone();
    let mut body = BytesMut::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.map_err(|error| failed(url, &error))?);
        if body.len() as u64 > get.limit_bytes {
            return Err(too_large());
        }
    }
    Ok(Answer {
        status,
        headers,
        body: body.freeze(),
        host: host_of(url),
    })
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Returns where a redirect leads, if it may be followed.
fn next(from: &Url, headers: &HeaderMap) -> Result<Url, SourceError> {
    let to = headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|location| from.join(location).ok())
        .ok_or_else(|| SourceError::Malformed {
            what: format!("the redirect of {}", host_of(from)),
            why: "it does not say where to".to_owned(),
        })?;
    if to.scheme() != from.scheme() {
        return Err(redirected(
            from,
            &to,
            "and redirects to another scheme are not followed",
        ));
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(redirected(from, &to, "which has credentials in it"));
    }
    Ok(to)
}

fn redirected(from: &Url, to: &Url, why: &str) -> SourceError {
    SourceError::Redirected {
        host: host_of(from),
        to: shown(to),
        why: why.to_owned(),
    }
}

/// Returns what a request without an answer means.
fn failed(url: &Url, error: &reqwest::Error) -> SourceError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(error) = cause {
        if let Some(SourceError::AddressRefused { host, address, why }) = error.downcast_ref() {
            return SourceError::AddressRefused {
                host: host.clone(),
                address: address.clone(),
                why: why.clone(),
            };
        }
        last = error.to_string();
        cause = error.source();
    }
    let why = if error.is_timeout() {
        "it took too long to answer".to_owned()
    } else if last.contains("alert: CertificateRequired") {
        "it demands a client certificate: tls.crt and tls.key of the credentials".to_owned()
    } else {
        // The innermost cause knows no URL.
        last.chars().take(200).collect()
    };
    SourceError::Unreachable {
        host: host_of(url),
        why,
    }
}

/// Returns a host with its port where it is not the usual one.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Returns a URL without its query, which may be a signature.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Neither fails for a URL with a host, and one without has none to hide.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}
