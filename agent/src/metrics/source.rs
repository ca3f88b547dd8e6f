//! What every source of metrics has in common.

use bellwether_api::duration::Dur;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::credentials::Credentials;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The address is no URL.
    #[error("failed to read the metrics address {address:?} as a URL")]
    Address {
        /// The address as it was given.
        address: String,
    },
    /// TLS cannot be set up with the authority that the Secret holds.
    #[error("failed to set up TLS for the metrics source")]
    Tls(#[source] reqwest::Error),
    /// No connection, or none in time.
    #[error("failed to reach the metrics source")]
    Unreachable(#[source] reqwest::Error),
    /// The source answered with another status than success.
    #[error(
        "failed to query the metrics source: it answered {status}{}",
        said(words)
    )]
    Status {
        /// The HTTP status.
        status: u16,
        /// The source's own words; empty = none.
        words: String,
    },
    /// The source sent the query elsewhere.
    #[error("failed to query the metrics source: it answered {0}, and redirects are not followed")]
    Redirected(u16),
    /// The answer is larger than is read.
    #[error(
        "failed to read an answer of the metrics source: it is larger than {limit_bytes} bytes"
    )]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// It is no answer of such a source.
    #[error("failed to read an answer of the metrics source")]
    Malformed(#[source] serde_json::Error),
    /// The source refused the query, or the query gives nothing that could be compared.
    #[error("failed to query the metrics source: {0}")]
    Refused(String),
    /// More series than one came back.
    #[error("failed to take one value from {0} series")]
    Ambiguous(usize),
    /// The Secret lacks what the source needs.
    #[error("failed to ask the metrics source: its Secret has no key {key:?}")]
    NoCredential {
        /// The key.
        key: &'static str,
    },
}

fn said(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    }
}

/// One query to one source.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Base URL of the source.
    pub address: &'a str,
    /// The query in the source's own language, filled in.
    pub query: &'a str,
    /// How far back it looks, for sources whose queries do not say so themselves.
    pub window: Dur,
    /// What tells the source who asks.
    pub credentials: &'a Credentials,
}

/// What a source answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// The value; absent = there is none. It may be NaN or infinite.
    pub value: Option<f64>,
    /// How long ago the value was measured, in milliseconds; below 0 = it lies ahead; absent = the
    /// source does not say.
    pub age_ms: Option<i64>,
    /// How far the source's clock is ahead of ours, in milliseconds; absent = it does not say.
    pub skew_ms: Option<i64>,
}

impl Reading {
    /// A value of a moment that the source gave.
    #[must_use]
    pub fn of_moment(value: f64, at_ms: i64, now: Timestamp) -> Self {
        Self {
            value: Some(value),
            age_ms: Some(now.as_millisecond().saturating_sub(at_ms)),
            skew_ms: None,
        }
    }
}

/// A kind of source that answers queries by HTTP.
pub trait MetricProvider: Send + Sync {
    /// Asks for one value now.
    ///
    /// # Errors
    /// There is no answer, none that can be read, or more than one series.
    fn read<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Result<Reading, QueryError>>;
}
