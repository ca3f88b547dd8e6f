//! Pages and label selectors of lists.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bellwether_api::selector::{Operator, Requirement, Selector};
use serde::Deserialize;

use super::problem::{ApiError, ApiResult};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 500;

/// What a list request asks for.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Objects at most: 1 to 500, 100 unless given.
    pub limit: Option<u32>,
    /// `metadata.continue` of the page before.
    #[serde(rename = "continue")]
    #[param(rename = "continue")]
    pub continue_: Option<String>,
    /// Labels, such as `tier=canary,region in (eu,us),!old`.
    pub label_selector: Option<String>,
}

impl ListQuery {
    /// Returns how many objects a page has.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT)
    }

    /// Returns the namespace and name behind which the page starts.
    ///
    /// # Errors
    /// 410 when the cursor is none of this hub's.
    pub fn after(&self) -> ApiResult<Option<(String, String)>> {
        let Some(cursor) = &self.continue_ else {
            return Ok(None);
        };
        let expired = || {
            ApiError::new(
                axum::http::StatusCode::GONE,
                "Expired",
                "`continue` is no longer good; list again without it",
            )
        };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| expired())?;
        let text = String::from_utf8(bytes).map_err(|_| expired())?;
        let (namespace, name) = text.split_once('/').ok_or_else(expired)?;
        Ok(Some((namespace.to_owned(), name.to_owned())))
    }

    /// Returns the label selector; absent = everything matches.
    ///
    /// # Errors
    /// 400 when it cannot be read.
    pub fn selector(&self) -> ApiResult<Selector> {
        parse_selector(self.label_selector.as_deref().unwrap_or_default())
    }
}

/// Makes the cursor of a page that ends with this object.
pub fn cursor(namespace: &str, name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{namespace}/{name}"))
}

/// Reads a selector in Kubernetes' query grammar.
///
/// # Errors
/// 400 that names the part that cannot be read.
pub fn parse_selector(text: &str) -> ApiResult<Selector> {
    let mut selector = Selector {
        match_labels: BTreeMap::new(),
        match_expressions: Vec::new(),
    };
    for part in split_outside_parentheses(text) {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let fail = || ApiError::bad_request(format!("failed to read {part:?} as a label selector"));
        if let Some((key, values)) = part
            .split_once(" in ")
            .or_else(|| part.split_once(" notin "))
        {
            let operator = if part.contains(" notin ") {
                Operator::NotIn
            } else {
                Operator::In
            };
            let inner = values
                .trim()
                .strip_prefix('(')
                .and_then(|text| text.strip_suffix(')'));
            let values = inner
                .ok_or_else(fail)?
                .split(',')
                .map(|value| value.trim().to_owned())
                .collect();
            push(&mut selector, key, operator, values);
        } else if let Some((key, value)) = part.split_once("!=") {
            push(
                &mut selector,
                key,
                Operator::NotIn,
                vec![value.trim().to_owned()],
            );
        } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            push(
                &mut selector,
                key,
                Operator::In,
                vec![value.trim().to_owned()],
            );
        } else if let Some(key) = part.strip_prefix('!') {
            push(&mut selector, key, Operator::DoesNotExist, Vec::new());
        } else if part.contains(char::is_whitespace) {
            return Err(fail());
        } else {
            push(&mut selector, part, Operator::Exists, Vec::new());
        }
    }
    Ok(selector)
}

fn push(selector: &mut Selector, key: &str, operator: Operator, values: Vec<String>) {
    let key = key.trim().to_owned();
    selector.match_expressions.push(Requirement {
        key,
        operator,
        values,
    });
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, char) in text.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{ListQuery, cursor, parse_selector};

    #[test]
    fn selectors_read_as_kubernetes_does() {
        let labels: BTreeMap<String, String> = [("tier", "canary"), ("region", "eu")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        for (text, matches) in [
            ("", true),
            ("tier=canary", true),
            ("tier==canary,region=eu", true),
            ("tier!=canary", false),
            ("region in (us, eu)", true),
            ("region notin (us,eu)", false),
            ("tier", true),
            ("!tier", false),
            ("!old", true),
        ] {
            let selector = parse_selector(text).expect("a selector");
            assert_eq!(selector.matches(&labels), matches, "{text}");
        }
        assert!(parse_selector("a b").is_err());
        assert!(parse_selector("a in b").is_err());
    }

    #[test]
    fn cursors_are_read_back() {
        let query = ListQuery {
            continue_: Some(cursor("shop", "web")),
            ..ListQuery::default()
        };
        assert_eq!(
            query.after().expect("a cursor"),
            Some(("shop".into(), "web".into()))
        );
        let query = ListQuery {
            continue_: Some("§".into()),
            ..ListQuery::default()
        };
        assert_eq!(query.after().expect_err("no cursor").status().as_u16(), 410);
    }
}
