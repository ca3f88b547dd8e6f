//! Which series a PromQL query reads.

use std::time::{Duration, SystemTime};

use promql_parser::parser::{
    self, AtModifier, Expr, MatrixSelector, Offset, SubqueryExpr, VectorSelector, value::ValueType,
};

use super::{QueryError, promql_literal};
use crate::duration::Dur;

/// Functions whose author says by them how old a sample may be, or asks whether there is any.
const ASK_FOR_AGE: [&str; 6] = [
    "absent",
    "absent_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "timestamp",
];
/// Functions that tell how a series changes: of one sample they know nothing, or that it did not.
const ASK_FOR_CHANGE: [&str; 11] = [
    "changes",
    "delta",
    "deriv",
    "double_exponential_smoothing",
    "holt_winters",
    "idelta",
    "increase",
    "irate",
    "predict_linear",
    "rate",
    "resets",
];

/// One selector of a PromQL query, and how the query looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name, for people; empty = it is selected by other labels alone.
    pub name: String,
    /// The selector itself, without a range, `offset` or `@`.
    pub text: String,
    /// Seconds since 1970 of the one moment that it looks at (`@`), as PromQL writes them; absent =
    /// the moment at which the query is answered.
    pub at: Option<String>,
    /// How far before that moment it looks, in milliseconds; below 0 = after it.
    pub offset_ms: i64,
    /// How far back it looks from there, all subqueries around it included; absent = it takes the
    /// newest sample alone.
    pub range: Option<Dur>,
    /// Whether the query asks how the series changes, for which it needs two samples.
    pub is_change: bool,
}

/// Returns the selectors of a query that is filled in, each once. What stands in a function that asks
/// whether there is a sample, or how old it is, is left out: `absent(x)`, `last_over_time(x[1h])`.
///
/// # Errors
/// It is no PromQL.
pub fn selectors(query: &str) -> Result<Vec<Selector>, QueryError> {
    let expression = parser::parse(query).map_err(QueryError::Syntax)?;
    let mut found = Vec::new();
    walk(&expression, &Look::default(), &mut found);
    Ok(found)
}

/// How an expression is looked at by what stands around it.
#[derive(Clone, Debug, Default)]
struct Look {
    at: Option<String>,
    offset_ms: i64,
    range: Duration,
    is_change: bool,
}

impl Look {
    /// As seen through an `offset` and an `@`: the latter is a moment of its own, whatever stands
    /// around it.
    fn through(&self, offset: Option<&Offset>, at: Option<&AtModifier>) -> Self {
        let offset_ms = offset.map_or(0, milliseconds);
        match at {
            None => Self {
                offset_ms: self.offset_ms.saturating_add(offset_ms),
                ..self.clone()
            },
            Some(at) => Self {
                at: seconds(at),
                offset_ms,
                range: Duration::ZERO,
                is_change: self.is_change,
            },
        }
    }

    fn over(self, range: Duration) -> Self {
        Self {
            range: self.range.saturating_add(range),
            ..self
        }
    }
}

fn walk(expression: &Expr, look: &Look, found: &mut Vec<Selector>) {
    match expression {
        Expr::Aggregate(aggregate) => {
            walk(&aggregate.expr, look, found);
            if let Some(parameter) = &aggregate.param {
                walk(parameter, look, found);
            }
        }
        Expr::Unary(unary) => walk(&unary.expr, look, found),
        Expr::Binary(binary) => {
            walk(&binary.lhs, look, found);
            walk(&binary.rhs, look, found);
        }
        Expr::Paren(paren) => walk(&paren.expr, look, found),
        Expr::Subquery(SubqueryExpr {
            expr,
            offset,
            at,
            range,
            ..
        }) => {
            let inside = look.through(offset.as_ref(), at.as_ref()).over(*range);
            walk(expr, &inside, found);
        }
        Expr::VectorSelector(selector) => note(selector, Duration::ZERO, look, found),
        Expr::MatrixSelector(MatrixSelector { vs, range }) => note(vs, *range, look, found),
        Expr::Call(call) if ASK_FOR_AGE.contains(&call.func.name) => {}
        Expr::Call(call) => {
            let is_change = ASK_FOR_CHANGE.contains(&call.func.name);
            for argument in &call.args.args {
                let over_time = argument.value_type() == ValueType::Matrix;
                let inside = Look {
                    is_change: if over_time { is_change } else { look.is_change },
                    ..look.clone()
                };
                walk(argument, &inside, found);
            }
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

fn note(selector: &VectorSelector, range: Duration, look: &Look, found: &mut Vec<Selector>) {
    let look = look
        .through(selector.offset.as_ref(), selector.at.as_ref())
        .over(range);
    let named = |name: &String| format!("__name__=\"{}\"", promql_literal(name));
    let matchers = selector.matchers.to_string();
    let all: Vec<String> = selector
        .name
        .iter()
        .map(named)
        .chain((!matchers.is_empty()).then_some(matchers))
        .collect();
    let ranges = !look.range.is_zero();
    let selector = Selector {
        name: selector.name.clone().unwrap_or_default(),
        text: format!("{{{}}}", all.join(",")),
        at: look.at,
        offset_ms: look.offset_ms,
        range: ranges.then(|| Dur::from(look.range)),
        is_change: ranges && look.is_change,
    };
    if !found.contains(&selector) {
        found.push(selector);
    }
}

fn milliseconds(offset: &Offset) -> i64 {
    let of = |duration: &Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match offset {
        Offset::Pos(duration) => of(duration),
        Offset::Neg(duration) => -of(duration),
    }
}

/// The moment of an `@`; `None` = the one at which the query is answered, which is where a query of
/// one moment starts and ends.
fn seconds(at: &AtModifier) -> Option<String> {
    let AtModifier::At(at) = at else {
        return None;
    };
    Some(match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => format!("{:.3}", since.as_secs_f64()),
        Err(before) => format!("-{:.3}", before.duration().as_secs_f64()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text [range ms] @at offset ms`, with `+` in front where a change is asked for.
    fn shown(query: &str) -> Vec<String> {
        let found = selectors(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        for selector in &found {
            parser::parse(&selector.text).unwrap_or_else(|why| panic!("{}: {why}", selector.text));
        }
        let shown = |one: Selector| {
            let change = if one.is_change { "+" } else { "" };
            let range = one.range.map(|range| format!("[{range}]"));
            let at = one.at.map(|at| format!("@{at}"));
            let offset = (one.offset_ms != 0).then(|| format!("offset {}", one.offset_ms));
            [Some(format!("{change}{}", one.text)), range, at, offset]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" ")
        };
        found.into_iter().map(shown).collect()
    }

    #[test]
    fn every_selector_is_found_with_how_it_is_looked_at() {
        for (query, expected) in [
            ("vector(1) + time()", &[][..]),
            (
                "max(queue{ns=\"shop\"})",
                &["{__name__=\"queue\",ns=\"shop\"}"],
            ),
            ("-queue", &["{__name__=\"queue\"}"]),
            (
                "100 * sum(rate(bad{a!~\"x.*\"}[1m])) / sum(rate(all[1m])) or vector(0)",
                &[
                    "+{__name__=\"bad\",a!~\"x.*\"} [1m]",
                    "+{__name__=\"all\"} [1m]",
                ],
            ),
            // The same twice is read once.
            ("x - x", &["{__name__=\"x\"}"]),
            (
                "x - x offset 1h",
                &["{__name__=\"x\"}", "{__name__=\"x\"} offset 3600000"],
            ),
            ("x offset -5m", &["{__name__=\"x\"} offset -300000"]),
            ("x @ 1609746000", &["{__name__=\"x\"} @1609746000.000"]),
            ("x @ end()", &["{__name__=\"x\"}"]),
            (
                "avg_over_time(x[5m] @ 100 offset 1m)",
                &["{__name__=\"x\"} [5m] @100.000 offset 60000"],
            ),
            // Ranges and offsets add up; what a selector says itself of the moment wins.
            (
                "max_over_time(rate(x[1m] offset 1m)[10m:30s] offset 2m)",
                &["+{__name__=\"x\"} [11m] offset 180000"],
            ),
            (
                "rate((x + y @ 7)[5m:1m])",
                // One moment has one sample, however often it is looked at.
                &["+{__name__=\"x\"} [5m]", "{__name__=\"y\"} @7.000"],
            ),
            ("max_over_time(abs(x)[5m:1m])", &["{__name__=\"x\"} [5m]"]),
            // Who asks for absence or age wants to know it.
            ("absent(x) or y", &["{__name__=\"y\"}"]),
            ("absent_over_time(x[5m])", &[]),
            ("time() - timestamp(x)", &[]),
            ("sum(last_over_time(x[1h]))", &[]),
            (
                "topk(scalar(n), x)",
                &["{__name__=\"x\"}", "{__name__=\"n\"}"],
            ),
            (
                "histogram_quantile(0.9, sum by (le) (rate(b_bucket[30s])))",
                &["+{__name__=\"b_bucket\"} [30s]"],
            ),
            (
                "{__name__=~\"a|b\", job=\"j\"}",
                &["{__name__=~\"a|b\",job=\"j\"}"],
            ),
            (
                "x{a=\"q\\\"\\\\d\\n\"}",
                &["{__name__=\"x\",a=\"q\\\"\\\\d\\n\"}"],
            ),
        ] {
            assert_eq!(shown(query), expected, "{query}");
        }
    }

    #[test]
    fn what_is_no_query_has_no_selectors() {
        assert!(matches!(selectors("sum("), Err(QueryError::Syntax(_))));
    }
}
