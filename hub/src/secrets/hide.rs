use std::{collections::BTreeSet, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

/// What stands where a value was.
const REDACTED: &str = "***";
/// Shorter values are common words: they are hidden where they stand by themselves.
const COMMON_BYTES: usize = 4;

/// Texts that no message may show: what a chart says of its values may hold them.
#[derive(Clone, Default)]
pub struct Hidden(Vec<String>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hidden({} texts)", self.0.len())
    }
}

impl Hidden {
    /// Hides every text and number in these values, also as JSON and base64 spell it.
    #[must_use]
    pub fn of(values: &[Map<String, Value>]) -> Self {
        let mut found = BTreeSet::new();
        for value in values.iter().flat_map(Map::values) {
            collect(value, &mut found);
        }
        let mut texts: Vec<String> = found.into_iter().collect();
        // One may be a part of another.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(texts)
    }

    /// Takes them out of a text.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, hidden| {
            if hidden.len() >= COMMON_BYTES {
                text.replace(hidden, REDACTED)
            } else {
                hide_words(&text, hidden)
            }
        })
    }
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if !text.trim().is_empty() => {
            // What a message shows of a long text is often one line of it.
            for part in text.lines().chain([text.as_str()]) {
                let part = part.trim();
                if part.is_empty() {
                    continue;
                }
                found.insert(part.to_owned());
                let quoted = Value::from(part).to_string();
                found.insert(quoted[1..quoted.len() - 1].to_owned());
            }
            found.insert(STANDARD.encode(text));
        }
        Value::Number(number) => {
            found.insert(number.to_string());
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        Value::String(_) | Value::Bool(_) | Value::Null => {}
    }
}

/// Replaces a short text where no letter or digit stands beside it.
fn hide_words(text: &str, hidden: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(hidden) {
        let (before, after) = (&rest[..at], &rest[at + hidden.len()..]);
        let last = before
            .chars()
            .next_back()
            .or_else(|| kept.chars().next_back());
        let is_inside = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
        kept.push_str(before);
        if is_inside(last) || is_inside(after.chars().next()) {
            kept.push_str(hidden);
        } else {
            kept.push_str(REDACTED);
        }
        rest = after;
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Hidden;

    #[test]
    fn values_are_hidden_however_a_message_spells_them() {
        let values = json!({"db": {"password": "hunter2 \"x\"", "port": 5432, "tls": true, "pin": "7"},
            "key": "-----BEGIN\nMIIabcdef\n", "list": ["correct-horse"]});
        let hidden = Hidden::of(&[values.as_object().expect("a map").clone()]);
        for (text, shown) in [
            (r#"got hunter2 "x" here"#, "got *** here"),
            (r#"got "hunter2 \"x\"" here"#, r#"got "***" here"#),
            ("aHVudGVyMiAieCI=", "***"),
            ("port 5432 is taken", "port *** is taken"),
            ("line MIIabcdef of it", "line *** of it"),
            ("correct-horse", "***"),
            ("templates/a.yaml:17: pin 7", "templates/a.yaml:17: pin ***"),
            ("true and nothing else", "true and nothing else"),
        ] {
            assert_eq!(hidden.hide(text), shown);
        }
        assert!(!format!("{hidden:?}").contains("hunter2"));
        assert_eq!(Hidden::default().hide("all of it"), "all of it");
    }
}
