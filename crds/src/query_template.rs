//! Filling the placeholders of a metric's query.

mod selectors;

use std::{collections::BTreeMap, fmt::Write as _};

use minijinja::{Environment, UndefinedBehavior, Value};

use crate::{document::closest, metric_template::MetricSourceKind};

pub use selectors::{Selector, selectors};

/// Steps that filling in one query may take; an ordinary one takes a few dozen.
const FUEL: u64 = 10_000;
/// The longest query that is sent, in bytes.
const MAX_QUERY_BYTES: usize = 16 * 1024;
/// The placeholders that every query may use.
const NAMES: [&str; 6] = [
    "namespace",
    "target",
    "service",
    "ingress",
    "route",
    "interval",
];
/// What a variable may stand for where its value is not known yet: a number, a word, a duration.
const STAND_INS: [&str; 3] = ["1", "value", "1m"];
/// Variables of one template up to which every combination of stand-ins is tried.
const MAX_COMBINED: u32 = 5;

/// What the placeholders of a query stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placeholders {
    /// The workload's namespace.
    pub namespace: String,
    /// The Deployment whose pods are measured: the canary's, or the user's own.
    pub target: String,
    /// The Service that sends requests to those pods; empty = there is none.
    pub service: String,
    /// The route that splits traffic: an Ingress; empty = there is none.
    pub ingress: String,
    /// The route that splits traffic; empty = there is none.
    pub route: String,
    /// The window, as PromQL writes durations (`30s`, `1500ms`).
    pub interval: String,
    /// The metric's own variables.
    pub variables: BTreeMap<String, String>,
}

/// Why a query cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum QueryError {
    /// It has a placeholder that nothing fills.
    #[error("failed to fill in the query: {}", unknown(name))]
    Unknown {
        /// The placeholder.
        name: String,
        /// What was probably meant; absent = nothing is near.
        meant: Option<String>,
    },
    /// It is no template.
    #[error("failed to fill in the query: {0}")]
    Template(String),
    /// What is filled in would change the query's meaning.
    #[error("failed to fill in the query: {value:?} cannot stand in a query of {kind:?}")]
    Unsafe {
        /// What should be filled in.
        value: String,
        /// Whose query it is.
        kind: MetricSourceKind,
    },
    /// It is longer than is sent.
    #[error("failed to fill in the query: it has more than {MAX_QUERY_BYTES} bytes")]
    TooLong,
    /// It is no query of its source.
    #[error("failed to read the query: {0}")]
    Syntax(String),
}

fn unknown(name: &str) -> String {
    match name.strip_prefix("variables.") {
        Some(variable) => format!("variables.{variable} is not set under the metric's variables"),
        None => format!(
            "there is no placeholder {name:?}; there are {} and variables.NAME",
            NAMES.join(", ")
        ),
    }
}

/// Fills in a query. Every value is escaped for the language of `kind`, so that none can end the
/// text that it stands in.
///
/// # Errors
/// A placeholder is unknown, or a value cannot stand in such a query.
pub fn fill(
    kind: MetricSourceKind,
    query: &str,
    values: &Placeholders,
) -> Result<String, QueryError> {
    let mut environment = environment(kind);
    environment
        .add_template("query", query)
        .map_err(|error| told(&error))?;
    let template = environment
        .get_template("query")
        .map_err(|error| told(&error))?;
    refuse_unknown(template.undeclared_variables(true), &values.variables)?;
    let variables = values.variables.iter();
    let variables = variables.map(|(name, value)| (name.clone(), value.clone()));
    let context = [
        ("namespace", Value::from(values.namespace.as_str())),
        ("target", Value::from(values.target.as_str())),
        ("service", Value::from(values.service.as_str())),
        ("ingress", Value::from(values.ingress.as_str())),
        ("route", Value::from(values.route.as_str())),
        ("interval", Value::from(values.interval.as_str())),
        ("variables", Value::from_pairs(variables)),
    ];
    let text = template
        .render(Value::from_pairs(context))
        .map_err(|error| told(&error))?;
    if text.len() > MAX_QUERY_BYTES {
        return Err(QueryError::TooLong);
    }
    Ok(text)
}

/// Checks a query before any of it is sent: `variables` are the metric's own.
///
/// # Errors
/// It cannot be filled in, or what comes of it is no query of its source.
pub fn check(
    kind: MetricSourceKind,
    query: &str,
    variables: &BTreeMap<String, String>,
) -> Result<(), QueryError> {
    let word = |word: &str| word.to_owned();
    let values = Placeholders {
        namespace: word("namespace"),
        target: word("target"),
        service: word("service"),
        ingress: word("ingress"),
        route: word("route"),
        interval: word("1m"),
        variables: variables.clone(),
    };
    parse(kind, &fill(kind, query, &values)?)
}

/// Checks a query whose variables are not known yet: it is right if some values make it so.
///
/// # Errors
/// As for [`check`], and what the last attempt said.
pub fn check_open(kind: MetricSourceKind, query: &str) -> Result<(), QueryError> {
    let names = variables_of(kind, query)?;
    let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let choices = STAND_INS.len();
    let combinations = if count <= MAX_COMBINED {
        choices.pow(count)
    } else {
        choices
    };
    let mut last = Ok(());
    for combination in 0..combinations {
        let mut rest = combination;
        let variables = names
            .iter()
            .map(|name| {
                let choice = STAND_INS[rest % choices];
                if count <= MAX_COMBINED {
                    rest /= choices;
                }
                (name.clone(), choice.to_owned())
            })
            .collect();
        last = check(kind, query, &variables);
        if last.is_ok() {
            return last;
        }
    }
    last
}

/// Returns the names of the variables that a query uses.
///
/// # Errors
/// It is no template, or has another placeholder that nothing fills.
pub fn variables_of(kind: MetricSourceKind, query: &str) -> Result<Vec<String>, QueryError> {
    let mut environment = environment(kind);
    environment
        .add_template("query", query)
        .map_err(|error| told(&error))?;
    let template = environment
        .get_template("query")
        .map_err(|error| told(&error))?;
    let mut names = Vec::new();
    for name in template.undeclared_variables(true) {
        match name.strip_prefix("variables.") {
            Some(variable) => names.push(variable.to_owned()),
            None => refuse_unknown([name], &BTreeMap::new())?,
        }
    }
    names.sort();
    Ok(names)
}

fn refuse_unknown(
    names: impl IntoIterator<Item = String>,
    variables: &BTreeMap<String, String>,
) -> Result<(), QueryError> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    for name in names {
        let known = match name.strip_prefix("variables.") {
            Some(variable) => variables.contains_key(variable),
            None => name == "variables" || NAMES.contains(&name.as_str()),
        };
        if !known {
            let meant = match name.strip_prefix("variables.") {
                Some(variable) => closest(variable, variables.keys().map(String::as_str))
                    .map(|near| format!("variables.{near}")),
                None => closest(&name, NAMES).map(str::to_owned),
            };
            return Err(QueryError::Unknown { name, meant });
        }
    }
    Ok(())
}

/// Nothing but placeholders and one filter: no functions, no includes, no loader.
fn environment<'a>(kind: MetricSourceKind) -> Environment<'a> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("regex", |value: String| regex_literal(&value));
    environment.set_formatter(move |out, _state, value| {
        let value = value.to_string();
        let escaped = escape(kind, &value).ok_or_else(|| {
            minijinja::Error::new(
                minijinja::ErrorKind::InvalidOperation,
                format!("{value:?} cannot stand in a query of {kind:?}"),
            )
        })?;
        out.write_str(&escaped)?;
        Ok(())
    });
    environment
}

fn told(error: &minijinja::Error) -> QueryError {
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    QueryError::Template(match error.line() {
        Some(line) => format!("line {line}: {detail}"),
        None => detail,
    })
}

/// Escapes a value for the text that it stands in; `None` = the language has no way to.
fn escape(kind: MetricSourceKind, value: &str) -> Option<String> {
    match kind {
        MetricSourceKind::Prometheus | MetricSourceKind::Probe => Some(promql_literal(value)),
        MetricSourceKind::CloudWatch => {
            let quoted = serde_json::to_string(value).ok()?;
            Some(quoted[1..quoted.len() - 1].to_owned())
        }
        MetricSourceKind::Http => Some(percent_encoded(value)),
        // Datadog's language has no escapes: what could end a scope is refused.
        MetricSourceKind::Datadog => value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/'))
            .then(|| value.to_owned()),
    }
}

/// Escapes a value for a PromQL string in any kind of quotes.
#[must_use]
pub fn promql_literal(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            // By number: in a text in the other kind of quotes, \" and \' are no escapes.
            '"' => out.push_str("\\x22"),
            '\'' => out.push_str("\\x27"),
            '\n' => out.push_str("\\n"),
            // No escape helps inside backticks.
            '`' => out.push_str("\\x60"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Escapes what RE2 would read as anything but itself.
#[must_use]
pub fn regex_literal(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(
            c,
            '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$'
        ) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn percent_encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn parse(kind: MetricSourceKind, query: &str) -> Result<(), QueryError> {
    let fail = |message: String| Err(QueryError::Syntax(message));
    match kind {
        MetricSourceKind::Prometheus => match read(query) {
            Ok(expression) => one_instant_value(&expression),
            Err(message) => fail(message),
        },
        MetricSourceKind::Probe => fail("a Probe takes no query".to_owned()),
        MetricSourceKind::Datadog if query.trim().is_empty() => fail("it is empty".to_owned()),
        MetricSourceKind::Datadog => Ok(()),
        MetricSourceKind::CloudWatch => cloud_watch(query),
        MetricSourceKind::Http => http(query),
    }
}

/// Reads PromQL. Of some numbers, such as a range of `1e20`, the parser panics.
fn read(query: &str) -> Result<promql_parser::parser::Expr, String> {
    std::panic::catch_unwind(|| promql_parser::parser::parse(query))
        .unwrap_or_else(|_| Err("it has a number that is no time".to_owned()))
}

/// A range vector or a text is no value to compare with a limit.
fn one_instant_value(expression: &promql_parser::parser::Expr) -> Result<(), QueryError> {
    use promql_parser::parser::value::ValueType;
    match expression.value_type() {
        ValueType::Vector | ValueType::Scalar => Ok(()),
        ValueType::Matrix => Err(QueryError::Syntax(
            "it gives a range of values; aggregate it to one, such as by sum(rate(…))".to_owned(),
        )),
        ValueType::String => Err(QueryError::Syntax("it gives a text".to_owned())),
    }
}

fn cloud_watch(query: &str) -> Result<(), QueryError> {
    let fail = |message: &str| Err(QueryError::Syntax(message.to_owned()));
    let queries: Vec<serde_json::Value> = match serde_json::from_str(query) {
        Ok(queries) => queries,
        Err(error) => {
            return Err(QueryError::Syntax(format!(
                "it is no JSON list of MetricDataQueries: {error}"
            )));
        }
    };
    let returns = |query: &&serde_json::Value| {
        query.get("ReturnData").and_then(serde_json::Value::as_bool) != Some(false)
    };
    if queries.iter().any(|query| query["Id"].as_str().is_none()) {
        return fail("every MetricDataQuery has an Id");
    }
    match queries.iter().filter(returns).count() {
        1 => Ok(()),
        0 => fail("none of its MetricDataQueries returns data"),
        _ => fail(
            "exactly one MetricDataQuery returns data; set \"ReturnData\": false on the others",
        ),
    }
}

fn http(query: &str) -> Result<(), QueryError> {
    let fail = |message: &str| Err(QueryError::Syntax(message.to_owned()));
    let Some((path, pointer)) = query.split_once('#') else {
        return fail("it names no value: end the path with a JSON pointer, such as #/data/value");
    };
    if !path.starts_with('/') || path.contains(char::is_whitespace) {
        return fail("the path starts with / and holds no spaces");
    }
    if !(pointer.is_empty() || pointer.starts_with('/')) {
        return fail("a JSON pointer is empty or starts with /");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
