//! Amazon CloudWatch: GetMetricData in its JSON form, signed with signature version 4.

mod signature;

use bellwether_api::number::milliseconds_of;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    exchange::{Exchange, url},
    source::{MetricProvider, QueryError, Question, Reading},
};
use crate::clock::wall;
use signature::{Keys, Signed, sign};

const TARGET: &str = "GraniteServiceVersion20100801.GetMetricData";
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// Asks CloudWatch.
#[derive(Clone, Debug)]
pub(super) struct CloudWatch(pub Exchange);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    metric_data_results: Vec<Series>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Series {
    #[serde(default)]
    timestamps: Vec<f64>,
    #[serde(default)]
    values: Vec<f64>,
}

impl MetricProvider for CloudWatch {
    fn read<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Result<Reading, QueryError>> {
        Box::pin(async move {
            let credentials = question.credentials;
            let url = url(question.address, "/")?;
            let bad_address = || QueryError::Address {
                address: question.address.to_owned(),
            };
            let host = match (url.host_str(), url.port()) {
                (Some(host), Some(port)) => format!("{host}:{port}"),
                (Some(host), None) => host.to_owned(),
                (None, _) => return Err(bad_address()),
            };
            let region = credentials
                .text("region")
                .or_else(|| region_of(&host))
                .ok_or(QueryError::NoCredential { key: "region" })?;
            let now = wall();
            let queries: Value =
                serde_json::from_str(question.query).map_err(QueryError::Malformed)?;
            let body = json!({
                "MetricDataQueries": queries,
                "StartTime": (now - question.window.as_signed()).as_second(),
                "EndTime": now.as_second(),
                "ScanBy": "TimestampDescending",
            })
            .to_string();
            let token = credentials.text("session-token");
            let mut headers = vec![
                ("content-type", CONTENT_TYPE.to_owned()),
                ("host", host.clone()),
                ("x-amz-target", TARGET.to_owned()),
            ];
            headers.extend(token.map(|token| ("x-amz-security-token", token.to_owned())));
            let signed = sign(
                &Keys {
                    id: credentials.need("access-key-id")?,
                    secret: credentials.need("secret-access-key")?,
                    region,
                    service: "monitoring",
                },
                Signed {
                    method: "POST",
                    path: url.path(),
                    headers,
                    body: body.as_bytes(),
                },
                now,
            );
            let mut request = self.0.client(credentials)?.post(url).body(body);
            for (name, value) in signed {
                // hyper writes the host by itself, as it was signed.
                if name != "host" {
                    request = request.header(name, value);
                }
            }
            let answer = self.0.send(request).await?;
            read(&answer.body(credentials)?, wall())
        })
    }
}

/// `monitoring.eu-west-1.amazonaws.com` names its region.
fn region_of(host: &str) -> Option<&str> {
    let mut parts = host.split('.');
    (parts.next() == Some("monitoring") && host.contains(".amazonaws."))
        .then(|| parts.next())
        .flatten()
}

fn read(body: &[u8], now: Timestamp) -> Result<Reading, QueryError> {
    let answer: Answer = serde_json::from_slice(body).map_err(QueryError::Malformed)?;
    let series = match answer.metric_data_results.as_slice() {
        [] => return Ok(Reading::default()),
        [one] => one,
        many => return Err(QueryError::Ambiguous(many.len())),
    };
    let newest = series
        .timestamps
        .iter()
        .zip(&series.values)
        .max_by(|a, b| a.0.total_cmp(b.0));
    Ok(newest.map_or_else(Reading::default, |(at, value)| {
        Reading::of_moment(*value, milliseconds_of(*at), now)
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn answer(text: &str) -> Result<Reading, QueryError> {
        read(
            text.as_bytes(),
            Timestamp::from_second(1_700_000_100).unwrap(),
        )
    }

    #[test]
    fn the_newest_point_is_the_value() {
        let text = r#"{"MetricDataResults":[{"Id":"errors","Label":"errors","StatusCode":"Complete",
            "Timestamps":[1700000040.0,1700000000.0],"Values":[1.5,9.0]}],"Messages":[]}"#;
        let reading = answer(text).unwrap();
        assert_eq!((reading.value, reading.age_ms), (Some(1.5), Some(60_000)));
    }

    #[test]
    fn nothing_measured_is_no_data_and_two_results_are_no_value() {
        assert_eq!(
            answer(r#"{"MetricDataResults":[]}"#).unwrap(),
            Reading::default()
        );
        let empty = r#"{"MetricDataResults":[{"Timestamps":[],"Values":[]}]}"#;
        assert_eq!(answer(empty).unwrap(), Reading::default());
        assert!(matches!(
            answer(r#"{"MetricDataResults":[{},{}]}"#),
            Err(QueryError::Ambiguous(2))
        ));
    }

    #[test]
    fn the_endpoint_names_the_region() {
        assert_eq!(
            region_of("monitoring.eu-west-1.amazonaws.com"),
            Some("eu-west-1")
        );
        assert_eq!(
            region_of("monitoring.cn-north-1.amazonaws.com.cn"),
            Some("cn-north-1")
        );
        assert_eq!(region_of("127.0.0.1:8080"), None);
    }
}
