//! Regular expressions for what a kind cannot say otherwise, in the syntax that RE2, Go and PCRE
//! share. They are anchored, since some data planes search and others match the whole value.

use bellwether_api::matching::{NamedMatch, ValueMatch};

use super::RenderError;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test<'a> {
    /// It is this.
    Exact(&'a str),
    /// It begins so.
    Prefix(&'a str),
    /// The whole of it matches this.
    Regex(&'a str),
}

impl<'a> Test<'a> {
    /// Reads a named value; one that says nothing (which validation refuses) matches anything.
    pub(super) fn of_named(one: &'a NamedMatch) -> Self {
        Self::of(&one.exact, &one.prefix, &one.regex)
    }

    /// Reads a value.
    pub(super) fn of_value(one: &'a ValueMatch) -> Self {
        Self::of(&one.exact, &one.prefix, &one.regex)
    }

    fn of(
        exact: &'a Option<String>,
        prefix: &'a Option<String>,
        regex: &'a Option<String>,
    ) -> Self {
        match (exact, prefix, regex) {
            (Some(exact), _, _) => Self::Exact(exact),
            (None, Some(prefix), _) => Self::Prefix(prefix),
            (None, None, Some(regex)) => Self::Regex(regex),
            (None, None, None) => Self::Regex(".*"),
        }
    }

    /// An expression that the whole value matches, anchored.
    pub(super) fn whole(self) -> String {
        match self {
            Self::Exact(value) => format!("^{}$", escape(value)),
            Self::Prefix(value) => format!("^{}.*$", escape(value)),
            Self::Regex(regex) => format!("^(?:{regex})$"),
        }
    }

    /// An expression for one path; a prefix ends where a segment does, as in routes.
    pub(super) fn path(self) -> String {
        match self {
            Self::Prefix(value) => {
                format!("^{}(?:/.*)?$", escape(value.trim_end_matches('/')))
            }
            other => other.whole(),
        }
    }
}

/// Writes a text so that it stands for itself.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// More cookies than this make too many orders in which they may come.
const MAX_COOKIES: usize = 3;

/// An expression for the header `Cookie` that holds when every cookie is among those of the
/// request, in whatever order they come.
///
/// # Errors
/// A regular expression that cannot be confined to one cookie, or too many cookies.
pub(super) fn cookies(cookies: &[NamedMatch]) -> Result<String, RenderError> {
    if cookies.len() > MAX_COOKIES {
        return Err(RenderError::TooMany {
            what: "cookies in one match",
            count: cookies.len(),
            limit: MAX_COOKIES,
        });
    }
    let pairs = cookies.iter().map(pair).collect::<Result<Vec<_>, _>>()?;
    let orders: Vec<String> = permutations(&pairs)
        .into_iter()
        .map(|order| order.join(r"\s*;(?:.*;)?\s*"))
        .collect();
    let body = match orders.as_slice() {
        [one] => one.clone(),
        several => format!("(?:{})", several.join("|")),
    };
    Ok(format!(r"^(?:.*;)?\s*{body}\s*(?:;.*)?$"))
}

fn pair(cookie: &NamedMatch) -> Result<String, RenderError> {
    let value = match Test::of_named(cookie) {
        Test::Exact(value) => escape(value),
        Test::Prefix(value) => format!("{}[^;]*", escape(value)),
        Test::Regex(regex) => format!("(?:{})", confined(regex)?),
    };
    Ok(format!("{}={value}", escape(&cookie.name)))
}

fn permutations(items: &[String]) -> Vec<Vec<String>> {
    if items.len() <= 1 {
        return vec![items.to_vec()];
    }
    let mut all = Vec::new();
    for (index, first) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(index);
        for mut order in permutations(&rest) {
            order.insert(0, first.clone());
            all.push(order);
        }
    }
    all
}

/// Rewrites an expression so that it cannot match beyond the end of its cookie: whatever would
/// take any character takes any but `;`.
///
/// # Errors
/// Constructs that cannot be rewritten.
pub(super) fn confined(regex: &str) -> Result<String, RenderError> {
    let fail = |why| RenderError::Regex {
        regex: regex.to_owned(),
        why,
    };
    let body = regex.strip_prefix('^').unwrap_or(regex);
    let body = match body.strip_suffix('$') {
        Some(inner) if !ends_escaped(inner) => inner,
        _ => body,
    };
    let mut out = String::with_capacity(body.len() + 16);
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('S') => out.push_str(r"[^\s;]"),
                Some('D') => out.push_str(r"[^\d;]"),
                Some('W') => out.push_str(r"[^\w;]"),
                Some(c) if "PQCXRNKAzZG".contains(c) => {
                    return Err(fail("an escape in it may match a ';'"));
                }
                Some(c) => out.extend(['\\', c]),
                None => return Err(fail("it ends in a backslash")),
            },
            '.' => out.push_str("[^;]"),
            '[' => class(&mut chars, &mut out).map_err(fail)?,
            '^' | '$' => {
                return Err(fail("leave ^ and $ out: it matches the whole value anyhow"));
            }
            '(' => {
                out.push('(');
                if chars.peek() == Some(&'?') {
                    let ahead: String = chars.clone().take(2).collect();
                    if matches!(ahead.as_str(), "?=" | "?!" | "?<" | "?P") {
                        return Err(fail("it looks around or names groups"));
                    }
                }
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn ends_escaped(text: &str) -> bool {
    text.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

/// Copies a class after its `[`; one that names what it excludes excludes `;` too.
fn class(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    out: &mut String,
) -> Result<(), &'static str> {
    out.push('[');
    let negated = chars.next_if_eq(&'^').is_some();
    if negated {
        out.push_str("^;");
    }
    if chars.next_if_eq(&']').is_some() {
        out.push_str(r"\]");
    }
    let mut before = None;
    while let Some(c) = chars.next() {
        match c {
            ']' => {
                out.push(']');
                return Ok(());
            }
            ';' if !negated => return Err("a class in it has a ';'"),
            '-' if !negated && spans(before, chars.peek()) => {
                return Err("a range in it has a ';' in the middle");
            }
            '\\' => match chars.next() {
                Some('S' | 'D' | 'W' | 'P') if !negated => {
                    return Err("an escape in a class may match a ';'");
                }
                Some(c) => out.extend(['\\', c]),
                None => return Err("it ends in a backslash"),
            },
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            c => out.push(c),
        }
        before = Some(c);
    }
    Err("a class in it has no end")
}

/// Tells whether a range from `first` to `last` has a `;` in it.
fn spans(first: Option<char>, last: Option<&char>) -> bool {
    matches!((first, last), (Some(first), Some(last)) if *last != ']' && first < ';' && *last > ';')
}
