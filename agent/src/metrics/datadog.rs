//! The metrics API of Datadog.

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    credentials::Credentials,
    exchange::{Exchange, short, url},
    source::{MetricProvider, QueryError, Question, Reading},
};
use crate::clock::wall;

/// Asks Datadog.
#[derive(Clone, Debug)]
pub(super) struct Datadog(pub Exchange);

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    status: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    series: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    /// Moments in milliseconds and values; a value is null where nothing was measured.
    pointlist: Vec<(f64, Option<f64>)>,
}

impl MetricProvider for Datadog {
    fn read<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Result<Reading, QueryError>> {
        Box::pin(async move {
            let credentials = question.credentials;
            let now = wall();
            let from = now - question.window.as_signed();
            let mut url = url(question.address, "/api/v1/query")?;
            url.query_pairs_mut()
                .append_pair("from", &from.as_second().to_string())
                .append_pair("to", &now.as_second().to_string())
                .append_pair("query", question.query);
            let request = self
                .0
                .client(credentials)?
                .get(url)
                .header("dd-api-key", credentials.need("api-key")?)
                .header("dd-application-key", credentials.need("application-key")?);
            let answer = self.0.send(request).await?;
            read(&answer.body(credentials)?, credentials, wall())
        })
    }
}

fn read(body: &[u8], credentials: &Credentials, now: Timestamp) -> Result<Reading, QueryError> {
    let answer: Answer = serde_json::from_slice(body).map_err(QueryError::Malformed)?;
    let error = answer.error.filter(|error| !error.is_empty());
    if let Some(error) = error {
        return Err(QueryError::Refused(short(&error, credentials)));
    }
    if answer.status != "ok" {
        return Err(QueryError::Refused(format!(
            "it answered the status {:?}",
            short(&answer.status, credentials)
        )));
    }
    let points = match answer.series.as_slice() {
        [] => return Ok(Reading::default()),
        [one] => &one.pointlist,
        many => return Err(QueryError::Ambiguous(many.len())),
    };
    let newest = points
        .iter()
        .filter_map(|(at, value)| Some((*at, (*value)?)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Ok(newest.map_or_else(Reading::default, |(at, value)| {
        Reading::of_moment(value, whole(at), now)
    }))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, which a time that is no time may do"
)]
fn whole(milliseconds: f64) -> i64 {
    milliseconds.round() as i64
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn answer(text: &str) -> Result<Reading, QueryError> {
        let now = Timestamp::from_millisecond(1_700_000_060_000).unwrap();
        read(text.as_bytes(), &Credentials::default(), now)
    }

    /// The form of the API's own example answers.
    #[test]
    fn the_newest_point_is_the_value() {
        let text = r#"{"status":"ok","res_type":"time_series","from_date":1700000000000,
            "series":[{"metric":"trace.http.errors","display_name":"trace.http.errors",
            "pointlist":[[1700000040000.0,2.0],[1700000020000.0,9.0],[1700000050000.0,null]],
            "length":3,"interval":20,"scope":"service:web"}],"query":"sum:trace.http.errors{*}"}"#;
        let reading = answer(text).unwrap();
        assert_eq!((reading.value, reading.age_ms), (Some(2.0), Some(20_000)));
    }

    #[test]
    fn nothing_measured_is_no_data() {
        assert_eq!(
            answer(r#"{"status":"ok","series":[]}"#).unwrap(),
            Reading::default()
        );
        let nulls = r#"{"status":"ok","series":[{"pointlist":[[1700000040000.0,null]]}]}"#;
        assert_eq!(answer(nulls).unwrap(), Reading::default());
    }

    #[test]
    fn what_is_no_single_series_is_no_value() {
        let one = r#"{"pointlist":[[1.0,1.0]]}"#;
        assert!(matches!(
            answer(&format!(r#"{{"status":"ok","series":[{one},{one}]}}"#)),
            Err(QueryError::Ambiguous(2))
        ));
        let error = answer(r#"{"status":"error","error":"Error parsing query"}"#).unwrap_err();
        assert!(
            error.to_string().ends_with("Error parsing query"),
            "{error}"
        );
        assert!(answer(r#"{"series":[]}"#).is_err(), "no status");
    }
}
