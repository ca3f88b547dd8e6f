//! Instant queries against a Prometheus.

use std::collections::BTreeMap;

use bellwether_api::prometheus_answer::{Answer, AnswerError};
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{
    credentials::Credentials,
    exchange::{Exchange, short, url},
    source::{MetricProvider, QueryError, Question, Reading},
};
use crate::clock::wall;

/// Asks Prometheus servers.
#[derive(Clone, Debug)]
pub(super) struct Prometheus(pub Exchange);

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
        let values = parsed(&body)?.values_by(label);
        values.map_err(|error| said(error, question.credentials))
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

fn parsed(body: &[u8]) -> Result<Answer, QueryError> {
    serde_json::from_slice(body).map_err(QueryError::Malformed)
}

fn refuses(body: &[u8]) -> bool {
    parsed(body).is_ok_and(|answer| answer.is_refusal())
}

fn said(error: AnswerError, credentials: &Credentials) -> QueryError {
    match error {
        AnswerError::Refused(words) => QueryError::Refused(short(&words, credentials)),
        AnswerError::Several(many) => QueryError::Ambiguous(many),
        other => QueryError::Refused(other.to_string()),
    }
}

fn read(body: &[u8], credentials: &Credentials, now: Timestamp) -> Result<Reading, QueryError> {
    let instant = parsed(body)?.instant();
    let instant = instant.map_err(|error| said(error, credentials))?;
    Ok(instant.map_or_else(Reading::default, |instant| Reading {
        value: Some(instant.value),
        age_ms: None,
        skew_ms: Some(instant.at_ms.saturating_sub(now.as_millisecond())),
    }))
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
