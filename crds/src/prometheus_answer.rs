//! What Prometheus answers to an instant query.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::number::milliseconds_of;

/// An answer, whether or not it has a result.
#[derive(Debug, Deserialize)]
pub struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// The one number that a query gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instant {
    /// The number; NaN and the infinities as they are.
    pub value: f64,
    /// Of when it is by the server's clock, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Why an answer is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The server refused the query, in its own words.
    #[error("the query is refused: {0}")]
    Refused(String),
    /// More series than one came back.
    #[error("the query gives {0} values, not one")]
    Several(usize),
    /// The query gives no number of one moment.
    #[error("the query gives no instant value")]
    NotInstant,
    /// The query gives no series.
    #[error("the query gives no series")]
    NotSeries,
    /// A value is not one.
    #[error("the query's value is no number")]
    NotNumber,
}

impl Answer {
    /// Tells whether the server says itself that it refuses the query.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.status == "error"
    }

    /// The one number that a query gives; `None` = it gives no series.
    ///
    /// # Errors
    /// It gives something else.
    pub fn instant(self) -> Result<Option<Instant>, AnswerError> {
        let (at, text) = match self.data()? {
            Data::Scalar(value) => value,
            Data::Vector(mut series) => match series.len() {
                0 => return Ok(None),
                1 => series.remove(0).value,
                many => return Err(AnswerError::Several(many)),
            },
            Data::Matrix(_) | Data::String(_) => return Err(AnswerError::NotInstant),
        };
        Ok(Some(Instant {
            value: number(&text)?,
            at_ms: milliseconds_of(at),
        }))
    }

    /// The values of several series by their label `label`; a series without it is left out.
    ///
    /// # Errors
    /// It gives no series, or one whose value is no number.
    pub fn values_by(self, label: &str) -> Result<BTreeMap<String, f64>, AnswerError> {
        let Data::Vector(series) = self.data()? else {
            return Err(AnswerError::NotSeries);
        };
        let named = series.into_iter().filter_map(|mut series| {
            let name = series.metric.remove(label)?;
            Some(number(&series.value.1).map(|value| (name, value)))
        });
        named.collect()
    }

    fn data(self) -> Result<Data, AnswerError> {
        if self.status != "success" {
            return Err(AnswerError::Refused(self.error));
        }
        self.data.ok_or(AnswerError::NotInstant)
    }
}

fn number(text: &str) -> Result<f64, AnswerError> {
    text.parse().map_err(|_| AnswerError::NotNumber)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        serde_json::from_str(text).unwrap()
    }

    fn result(kind: &str, result: &str) -> Answer {
        answer(&format!(
            r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#
        ))
    }

    #[test]
    fn values_are_told_apart_by_a_label_and_those_without_it_are_left_out() {
        let two = r#"[{"metric":{"part":"a"},"value":[1,"2"]},{"metric":{},"value":[1,"3"]}]"#;
        let values = result("vector", two).values_by("part");
        assert_eq!(values.unwrap(), BTreeMap::from([("a".to_owned(), 2.0)]));
        let scalar = result("scalar", r#"[1,"2"]"#).values_by("part");
        assert_eq!(scalar, Err(AnswerError::NotSeries));
        let text = r#"[{"metric":{"part":"a"},"value":[1,"many"]}]"#;
        let values = result("vector", text).values_by("part");
        assert_eq!(values, Err(AnswerError::NotNumber));
    }

    #[test]
    fn a_refusal_says_why_and_gives_nothing() {
        let refused = || answer(r#"{"status":"error","error":"parse error"}"#);
        assert!(refused().is_refusal());
        let why = AnswerError::Refused("parse error".to_owned());
        assert_eq!(refused().instant(), Err(why.clone()));
        assert_eq!(refused().values_by("part"), Err(why));
        assert!(!result("vector", "[]").is_refusal());
    }
}
