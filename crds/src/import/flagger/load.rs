//! Commands of a load tester, as loads that the agent makes. Nothing of them is ever run.

use serde_json::{Map, Value, json};

use super::{Fields, put};

/// Connections of `hey` where it is not told how many.
const HEYS_WORKERS: u64 = 50;

/// Reads the command of a webhook without address; absent = it has none, or it is refused.
pub(super) fn translate(webhook: &Fields<'_>) -> Option<Value> {
    let metadata = webhook.object("metadata")?;
    let tester = metadata.text("type").unwrap_or("cmd");
    if !["cmd", "bash"].contains(&tester) {
        metadata.refuse(
            "type",
            "only a load tester's command is read, and nothing is run",
        );
    }
    metadata.get("logCmdOutput");
    let command = metadata.text("cmd");
    let found = command.and_then(|command| match hey(command) {
        Ok(load) => Some(Value::Object(load)),
        Err(why) => {
            metadata.refuse("cmd", why);
            None
        }
    });
    metadata.done();
    found
}

fn hey(command: &str) -> Result<Map<String, Value>, String> {
    let words = words(command)?;
    let mut words = words.into_iter();
    if words.next().as_deref() != Some("hey") {
        return Err(
            "only a command of hey is read, which becomes a load; for any other name the load \
             tester's url"
                .to_owned(),
        );
    }
    let (mut load, mut headers) = (Map::new(), Map::new());
    let (mut workers, mut rate) = (HEYS_WORKERS, None);
    while let Some(word) = words.next() {
        let mut value = || {
            let value = words.next();
            value.ok_or_else(|| format!("{word} has no value"))
        };
        match word.as_str() {
            "-z" => put(&mut load, "duration", Some(value()?)),
            "-c" => workers = count(&word, &value()?)?,
            "-q" => rate = Some(count(&word, &value()?)?),
            "-m" => put(&mut load, "method", Some(value()?)),
            "-h2" => put(&mut load, "protocol", Some("HTTP2")),
            "-host" => put(&mut headers, "Host", Some(value()?)),
            "-H" => {
                let header = value()?;
                let (name, value) = header
                    .split_once(':')
                    .ok_or_else(|| format!("{header:?} is no header"))?;
                headers.insert(name.trim().to_owned(), json!(value.trim()));
            }
            url if !url.starts_with('-') => put(&mut load, "url", Some(url)),
            other => return Err(format!("{other} of hey has no counterpart")),
        }
    }
    let Some(rate) = rate else {
        return Err("a load has a rate: say -q, the requests a second of each worker".to_owned());
    };
    if !load.contains_key("duration") {
        return Err("a load lasts for a time: say -z, not a number of requests".to_owned());
    }
    load.insert("concurrency".to_owned(), json!(workers));
    load.insert("rate".to_owned(), json!(rate.saturating_mul(workers)));
    put(
        &mut load,
        "headers",
        (!headers.is_empty()).then_some(headers),
    );
    Ok(load)
}

fn count(flag: &str, value: &str) -> Result<u64, String> {
    value
        .parse()
        .map_err(|_| format!("{flag} {value:?} is no whole number"))
}

/// Splits a command into words, with quotes around some; anything else of a shell is refused.
fn words(command: &str) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    let mut current: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => current.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(current.take()),
            (None, '|' | ';' | '&' | '$' | '`' | '<' | '>' | '(' | ')' | '\\') => {
                return Err(format!("{c:?} is for a shell, and no shell is run"));
            }
            (None, c) => current.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote does not end".to_owned());
    }
    words.extend(current.take());
    Ok(words)
}
