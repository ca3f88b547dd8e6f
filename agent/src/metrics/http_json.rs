//! Any server that answers JSON: a path, and a JSON pointer to one number.

use futures::future::BoxFuture;
use serde_json::Value;

use super::{
    exchange::{Exchange, url},
    source::{MetricProvider, QueryError, Question, Reading},
};

/// Asks servers for JSON.
#[derive(Clone, Debug)]
pub(super) struct HttpJson(pub Exchange);

impl MetricProvider for HttpJson {
    fn read<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Result<Reading, QueryError>> {
        Box::pin(async move {
            let (path, pointer) = question.query.split_once('#').ok_or_else(|| {
                QueryError::Refused("the query names no value by a JSON pointer".to_owned())
            })?;
            let credentials = question.credentials;
            let request = self
                .0
                .client(credentials)?
                .get(url(question.address, path)?)
                .header("accept", "application/json");
            let answer = self.0.send(credentials.authorize(request)?).await?;
            read(&answer.body(credentials)?, pointer)
        })
    }
}

fn read(body: &[u8], pointer: &str) -> Result<Reading, QueryError> {
    let answer: Value = serde_json::from_slice(body).map_err(QueryError::Malformed)?;
    let value = match answer.pointer(pointer) {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => Some(text.trim().parse().map_err(|_| no_number(pointer))?),
        Some(_) => return Err(no_number(pointer)),
    };
    Ok(Reading {
        value,
        ..Reading::default()
    })
}

fn no_number(pointer: &str) -> QueryError {
    QueryError::Refused(format!("the value at {pointer:?} is no number"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_pointer_finds_one_number() {
        let body =
            br#"{"data":[{"value":1.5,"text":" 99.5 ","none":null,"word":"many","list":[]}]}"#;
        let at = |pointer| read(body, pointer);
        assert_eq!(at("/data/0/value").unwrap().value, Some(1.5));
        assert_eq!(at("/data/0/text").unwrap().value, Some(99.5));
        assert_eq!(at("/data/0/none").unwrap().value, None);
        assert_eq!(at("/data/1/value").unwrap().value, None);
        assert!(at("/data/0/word").is_err());
        assert!(at("/data/0/list").is_err());
        assert_eq!(read(b"7", "").unwrap().value, Some(7.0));
        assert!(matches!(read(b"<html>", ""), Err(QueryError::Malformed(_))));
    }
}
