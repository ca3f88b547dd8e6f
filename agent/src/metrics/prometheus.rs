//! Instant queries against a Prometheus.

use std::time::Duration;

use futures::StreamExt;
use serde::Deserialize;

/// How long one query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The address is no URL.
    #[error("failed to read the metrics address {address:?} as a URL")]
    Address {
        /// The address as it was given.
        address: String,
    },
    /// No connection, or none in time.
    #[error("failed to reach Prometheus")]
    Unreachable(#[source] reqwest::Error),
    /// The answer is larger than is read.
    #[error("failed to read an answer of Prometheus: it is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// It is no answer of Prometheus.
    #[error("failed to read an answer of Prometheus")]
    Malformed(#[source] serde_json::Error),
    /// Prometheus refused the query.
    #[error("failed to query Prometheus: {0}")]
    Refused(String),
    /// More series than one came back.
    #[error("failed to take one value from {0} series")]
    Ambiguous(usize),
}

/// Asks Prometheus servers.
#[derive(Clone, Debug)]
pub struct Prometheus {
    client: reqwest::Client,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    value: (f64, String),
}

impl Prometheus {
    /// Makes a client; connections are kept only briefly.
    ///
    /// # Errors
    /// The TLS roots cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = super::http_client(|| {
            reqwest::Client::builder()
                .timeout(QUERY_TIMEOUT)
                .connect_timeout(Duration::from_secs(2))
                .redirect(reqwest::redirect::Policy::none())
                .pool_max_idle_per_host(1)
                .no_proxy()
        })?;
        Ok(Self { client })
    }

    /// Asks for one value now; absent = no series. It may be NaN or infinite.
    ///
    /// # Errors
    /// There is no answer, none that can be read, or more than one series.
    pub async fn instant(&self, address: &str, query: &str) -> Result<Option<f64>, QueryError> {
        let bad_address = || QueryError::Address {
            address: address.to_owned(),
        };
        let base = format!("{}/api/v1/query", address.trim_end_matches('/'));
        let url = reqwest::Url::parse(&base).map_err(|_| bad_address())?;
        let response = self
            .client
            .post(url)
            .form(&[("query", query)])
            .send()
            .await
            .map_err(QueryError::Unreachable)?;
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
        read(&body)
    }
}

fn read(body: &[u8]) -> Result<Option<f64>, QueryError> {
    let answer: Answer = serde_json::from_slice(body).map_err(QueryError::Malformed)?;
    if answer.status != "success" {
        return Err(QueryError::Refused(
            answer.error.chars().take(200).collect(),
        ));
    }
    let text = match answer.data {
        Some(Data::Vector(series)) => match series.as_slice() {
            [] => return Ok(None),
            [one] => one.value.1.clone(),
            many => return Err(QueryError::Ambiguous(many.len())),
        },
        Some(Data::Scalar((_, text))) => text,
        Some(Data::Matrix(_) | Data::String(_)) | None => {
            return Err(QueryError::Refused(
                "the query gives no instant value".to_owned(),
            ));
        }
    };
    text.parse()
        .map(Some)
        .map_err(|_| QueryError::Refused("the query's value is no number".to_owned()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn vector(results: &str) -> Result<Option<f64>, QueryError> {
        read(
            format!(
                r#"{{"status":"success","data":{{"resultType":"vector","result":[{results}]}}}}"#
            )
            .as_bytes(),
        )
    }

    #[test]
    fn one_series_is_the_value_and_none_is_no_data() {
        assert_eq!(
            vector(r#"{"metric":{},"value":[1.5,"99.5"]}"#).unwrap(),
            Some(99.5)
        );
        assert_eq!(vector("").unwrap(), None);
    }

    #[test]
    fn special_values_come_through_as_they_are() {
        assert!(
            vector(r#"{"metric":{},"value":[1,"NaN"]}"#)
                .unwrap()
                .unwrap()
                .is_nan()
        );
        assert_eq!(
            vector(r#"{"metric":{},"value":[1,"+Inf"]}"#).unwrap(),
            Some(f64::INFINITY)
        );
    }

    #[test]
    fn several_series_are_no_value() {
        let one = r#"{"metric":{},"value":[1,"1"]}"#;
        assert!(matches!(
            vector(&format!("{one},{one}")),
            Err(QueryError::Ambiguous(2))
        ));
    }

    #[test]
    fn refusal_carries_the_servers_words() {
        let error = read(br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#);
        assert_eq!(
            error.unwrap_err().to_string(),
            "failed to query Prometheus: parse error"
        );
        assert!(matches!(read(b"<html>"), Err(QueryError::Malformed(_))));
    }
}
