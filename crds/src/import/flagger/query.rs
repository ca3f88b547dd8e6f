//! Placeholders of Flagger's queries, which name its own copies.

use super::canary::Canary;

/// Returns the query with our placeholders: what Flagger calls the target is its canary, and so is
/// ours; what it calls the service, ingress and route are the user's own, which ours are not.
///
/// # Errors
/// Why it means something that is not there.
pub(super) fn translate(canary: &Canary<'_>, query: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = query;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((inner, after)) = after.split_once("}}") else {
            return Err("a placeholder does not end".to_owned());
        };
        rest = placeholder(canary, inner.trim(), after, &mut out)?;
    }
    out.push_str(rest);
    Ok(out)
}

/// Writes one placeholder, and returns what follows it.
fn placeholder<'a>(
    canary: &Canary<'_>,
    name: &str,
    after: &'a str,
    out: &mut String,
) -> Result<&'a str, String> {
    let stable = |suffix: &str| {
        format!(
            "{{{{ {name} }}}}{suffix} names an object that Flagger makes and that is not made here"
        )
    };
    match name {
        "target" => {
            for suffix in ["-primary", "-canary"] {
                if after.starts_with(suffix) {
                    return Err(format!(
                        "{}; the built-in templates {}, {} count the canary's requests for any \
                         provider: leave this MetricTemplate out to use one of their names",
                        stable(suffix),
                        crate::analysis::NOT_FOUND_PERCENTAGE,
                        crate::analysis::CLIENT_ERROR_PERCENTAGE
                    ));
                }
            }
            out.push_str("{{ target }}");
        }
        "service" if after.starts_with("-primary") => return Err(stable("-primary")),
        "service" => {
            if let Some(after) = after.strip_prefix("-canary") {
                out.push_str("{{ service }}");
                return Ok(after);
            }
            out.push_str(canary.apex);
        }
        "ingress" => out.push_str(canary.ingress.unwrap_or(canary.target)),
        "route" => out.push_str(canary.route.unwrap_or(canary.target)),
        "name" => out.push_str(canary.name),
        other => {
            out.push_str("{{ ");
            out.push_str(other);
            out.push_str(" }}");
        }
    }
    Ok(after)
}
