//! Instant queries against a Prometheus.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    credentials::Credentials,
    exchange::{Exchange, short, url},
    source::{MetricProvider, QueryError, Question, Reading},
};
use crate::clock::wall;

/// Asks Prometheus servers.
#[derive(Clone, Debug)]
pub(super) struct Prometheus(pub Exchange);

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
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl MetricProvider for Prometheus {
    fn read<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Result<Reading, QueryError>> {
        Box::pin(async move {
            let body = self.ask(question).await?;
            read(&body, question.credentials, wall())
        })
    }
}

impl Prometheus {
    /// Asks a query whose answer is several series, and returns their values by their label `label`;
    /// a series without it is left out.
    ///
    /// # Errors
    /// There is no answer, or none that can be read.
    pub async fn read_by(
        &self,
        question: Question<'_>,
        label: &str,
    ) -> Result<BTreeMap<String, f64>, QueryError> {
        let body = self.ask(question).await?;
        match data(&body, question.credentials)? {
            Some(Data::Vector(series)) => series
                .into_iter()
                .filter_map(|mut series| {
                    let name = series.metric.remove(label)?;
                    Some(number(&series.value.1).map(|value| (name, value)))
                })
                .collect(),
            _ => Err(QueryError::Refused("the query gives no series".to_owned())),
        }
    }

    async fn ask(&self, question: Question<'_>) -> Result<Vec<u8>, QueryError> {
        let credentials = question.credentials;
        let request = self
            .0
            .client(credentials)?
            .post(url(question.address, "/api/v1/query")?)
            .form(&[("query", question.query)]);
        let answer = self.0.send(credentials.authorize(request)?).await?;
        // Prometheus says what is wrong with a query in a body of its own form. Whatever else comes
        // with such a status is no answer, though it may read like one.
        if answer.status >= 400 && refuses(&answer.body) {
            return Ok(answer.body);
        }
        answer.body(credentials)
    }
}

fn refuses(body: &[u8]) -> bool {
    serde_json::from_slice::<Answer>(body).is_ok_and(|answer| answer.status == "error")
}

fn data(body: &[u8], credentials: &Credentials) -> Result<Option<Data>, QueryError> {
    let answer: Answer = serde_json::from_slice(body).map_err(QueryError::Malformed)?;
    if answer.status != "success" {
        return Err(QueryError::Refused(short(&answer.error, credentials)));
    }
    Ok(answer.data)
}

fn number(text: &str) -> Result<f64, QueryError> {
    text.parse()
        .map_err(|_| QueryError::Refused("the query's value is no number".to_owned()))
}

fn read(body: &[u8], credentials: &Credentials, now: Timestamp) -> Result<Reading, QueryError> {
    let (at, text) = match data(body, credentials)? {
        Some(Data::Vector(mut series)) => match series.len() {
            0 => return Ok(Reading::default()),
            1 => series.remove(0).value,
            many => return Err(QueryError::Ambiguous(many)),
        },
        Some(Data::Scalar(value)) => value,
        Some(Data::Matrix(_) | Data::String(_)) | None => {
            return Err(QueryError::Refused(
                "the query gives no instant value".to_owned(),
            ));
        }
    };
    Ok(Reading {
        value: Some(number(&text)?),
        age_ms: None,
        skew_ms: Some(milliseconds(at).saturating_sub(now.as_millisecond())),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, which a time that is no time may do"
)]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn answer(text: &str) -> Result<Reading, QueryError> {
        read(
            text.as_bytes(),
            &Credentials::default(),
            Timestamp::from_second(100).unwrap(),
        )
    }

    fn vector(results: &str) -> Result<Reading, QueryError> {
        answer(&format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{results}]}}}}"#
        ))
    }

    #[test]
    fn one_series_is_the_value_and_none_is_no_data() {
        let reading = vector(r#"{"metric":{},"value":[99.5,"98.5"]}"#).unwrap();
        assert_eq!(reading.value, Some(98.5));
        assert_eq!(
            reading.skew_ms,
            Some(-500),
            "the answer's own time against ours"
        );
        assert_eq!(vector("").unwrap(), Reading::default());
        let scalar =
            answer(r#"{"status":"success","data":{"resultType":"scalar","result":[100,"7"]}}"#);
        assert_eq!(scalar.unwrap().value, Some(7.0));
    }

    #[test]
    fn special_values_come_through_as_they_are() {
        let of = |value| vector(&format!(r#"{{"metric":{{}},"value":[1,"{value}"]}}"#)).unwrap();
        assert!(of("NaN").value.unwrap().is_nan());
        assert_eq!(of("+Inf").value, Some(f64::INFINITY));
        assert_eq!(of("-Inf").value, Some(f64::NEG_INFINITY));
    }

    #[test]
    fn what_is_no_single_number_is_no_value() {
        let one = r#"{"metric":{},"value":[1,"1"]}"#;
        assert!(matches!(
            vector(&format!("{one},{one}")),
            Err(QueryError::Ambiguous(2))
        ));
        for value in [r#"[1,null]"#, r#"[1,2]"#, "null", r#"["1","1"]"#] {
            let error = vector(&format!(r#"{{"metric":{{}},"value":{value}}}"#));
            assert!(matches!(error, Err(QueryError::Malformed(_))), "{value}");
        }
        assert!(matches!(
            vector(r#"{"metric":{},"value":[1,"many"]}"#),
            Err(QueryError::Refused(_))
        ));
        for (kind, result) in [("matrix", "[]"), ("string", r#"[1,"x"]"#)] {
            let text = format!(
                r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#
            );
            assert!(
                matches!(answer(&text), Err(QueryError::Refused(_))),
                "{kind}"
            );
        }
        assert!(matches!(
            answer(r#"{"status":"success"}"#),
            Err(QueryError::Refused(_))
        ));
    }

    #[test]
    fn refusal_carries_the_servers_words() {
        let error = answer(r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#);
        assert_eq!(
            error.unwrap_err().to_string(),
            "failed to query the metrics source: parse error"
        );
        assert!(matches!(answer("<html>"), Err(QueryError::Malformed(_))));
    }
}
