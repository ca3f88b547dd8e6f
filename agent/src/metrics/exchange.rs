//! One bounded request to a source of metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use sha2::{Digest, Sha256};

use super::{credentials::Credentials, source::QueryError};

/// How long one query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// How much of a source's own words is passed on, in characters.
const MAX_WORDS: usize = 200;
/// Clients with authorities of their own that are kept.
const MAX_CLIENTS: usize = 32;

type OwnClients = Arc<Mutex<BTreeMap<[u8; 32], reqwest::Client>>>;

/// Sends requests to sources of metrics; clones share connections.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    client: reqwest::Client,
    /// Clients that trust authorities of a Secret alone, by the digest of these.
    own: OwnClients,
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .timeout(QUERY_TIMEOUT)
        .connect_timeout(Duration::from_secs(2))
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(1)
        .no_proxy()
}

impl Exchange {
    /// Makes a client; connections are kept only briefly.
    pub fn new() -> Result<Self, reqwest::Error> {
        Ok(Self {
            client: super::http_client(builder)?,
            own: OwnClients::default(),
        })
    }

    /// Returns the client that trusts whom the credentials say.
    pub fn client(&self, credentials: &Credentials) -> Result<reqwest::Client, QueryError> {
        let Some(pem) = credentials.authorities() else {
            return Ok(self.client.clone());
        };
        let key: [u8; 32] = Sha256::digest(pem).into();
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = own.get(&key) {
            return Ok(client.clone());
        }
        let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(QueryError::Tls)?;
        let client = builder()
            .tls_certs_only(authorities)
            .build()
            .map_err(QueryError::Tls)?;
        if own.len() >= MAX_CLIENTS {
            own.clear();
        }
        own.insert(key, client.clone());
        Ok(client)
    }

    /// Sends a request and reads a bounded answer, whatever its status but a redirect.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, QueryError> {
        let response = request.send().await.map_err(QueryError::Unreachable)?;
        let status = response.status().as_u16();
        if (300..400).contains(&status) {
            return Err(QueryError::Redirected(status));
        }
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk.map_err(QueryError::Unreachable)?);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(QueryError::TooLarge {
                    limit_bytes: MAX_ANSWER_BYTES,
                });
            }
        }
        Ok(Answer { status, body })
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the body of a successful answer.
    pub fn body(self, credentials: &Credentials) -> Result<Vec<u8>, QueryError> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let words = String::from_utf8_lossy(&self.body);
        Err(QueryError::Status {
            status: self.status,
            words: short(&words, credentials),
        })
    }
}

/// Cuts a source's own words, and takes out of them what it was told.
pub(super) fn short(words: &str, credentials: &Credentials) -> String {
    credentials
        .hide(words.trim())
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_WORDS)
        .collect()
}

/// Joins a base URL and a path with its query.
pub(super) fn url(address: &str, path: &str) -> Result<reqwest::Url, QueryError> {
    let text = format!("{}{path}", address.trim_end_matches('/'));
    reqwest::Url::parse(&text).map_err(|_| QueryError::Address {
        address: address.to_owned(),
    })
}
