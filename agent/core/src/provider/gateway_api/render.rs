//! The user's route with the split in it.

use bellwether_api::{matching::Match, number::Weight};
use serde_json::{Value, json};

use super::{Dialect, conditions::path_in};
use crate::provider::{
    Affinity, Names, RenderError, Split,
    arms::{Arm, Version},
    backends::{Backends, agreed},
    overtaking::{self, Path},
    tree::{items, items_mut, namespace_of, push, remove, text},
};

/// The largest weight that the Gateway API takes.
const MAX_BACKEND_WEIGHT: u64 = 1_000_000;

/// Splits every rule that has the apex Service as a backend. Before each stand the rules of the
/// split's arms: the rule's own conditions and the arm's at once, so that they win by specificity
/// or, where that is equal, by coming first.
pub(super) fn render(
    route: &Value,
    names: &Names,
    split: &Split,
    dialect: Dialect,
) -> Result<Value, RenderError> {
    let namespace = namespace_of(route).to_owned();
    with_backends(&namespace, names, |backends| {
        let mut out = Vec::new();
        let mut found = Vec::new();
        for (index, rule) in items(route, "/spec/rules").iter().enumerate() {
            let name = rule.get("name").and_then(Value::as_str);
            let own = items(rule, "/backendRefs");
            if !backends.has_apex(own) || !names.selects(index, name) {
                out.push(rule.clone());
                continue;
            }
            found.push((index, name.map(str::to_owned)));
            let others = paths_of_others(route, index, |index, rule| {
                let name = rule.get("name").and_then(Value::as_str);
                backends.has_apex(items(rule, "/backendRefs")) && names.selects(index, name)
            });
            for arm in split.arms() {
                out.extend(arm_rule(rule, &arm, &others, split, backends, dialect)?);
            }
            out.push(split_rule(rule, split, backends));
        }
        names.all_found(&found)?;
        within_limits(&out, dialect)?;
        let mut route = route.clone();
        if let Some(rules) = items_mut(&mut route, "/spec/rules") {
            *rules = out;
        }
        Ok(route)
    })
}

/// Reads the canary's share back.
pub(super) fn observed_weight(route: &Value, names: &Names) -> Option<Weight> {
    with_backends(namespace_of(route), names, |backends| {
        let shares = items(route, "/spec/rules")
            .iter()
            .filter_map(|rule| backends.share(items(rule, "/backendRefs")));
        agreed(shares, !names.rules.is_empty())
    })
}

fn with_backends<T>(namespace: &str, names: &Names, then: impl FnOnce(&Backends<'_>) -> T) -> T {
    let is = |backend: &Value, name: &str| {
        let own = backend.get("namespace").and_then(Value::as_str);
        text(backend, "name") == name
            && matches!(text(backend, "kind"), "" | "Service")
            && matches!(text(backend, "group"), "" | "core")
            && own.unwrap_or(namespace) == names.namespace
    };
    then(&Backends {
        is_apex: &|backend| is(backend, &names.apex),
        is_canary: &|backend| is(backend, &names.canary),
        rename: &|backend| backend["name"] = json!(names.canary),
        default_weight: 1,
        max_weight: MAX_BACKEND_WEIGHT,
    })
}

/// Paths of the rules that are not split.
fn paths_of_others(
    route: &Value,
    own: usize,
    is_split: impl Fn(usize, &Value) -> bool,
) -> Vec<Path<'_>> {
    let rules = items(route, "/spec/rules").iter().enumerate();
    rules
        .filter(|(index, rule)| *index != own && !is_split(*index, rule))
        .flat_map(|(_, rule)| match items(rule, "/matches") {
            [] => vec![Path::Prefix("/")],
            matches => matches.iter().map(path_in).collect(),
        })
        .collect()
}

/// The rule of one arm; `None` when no request can fulfil both its conditions and the rule's.
fn arm_rule(
    rule: &Value,
    arm: &Arm,
    others: &[Path<'_>],
    split: &Split,
    backends: &Backends<'_>,
    dialect: Dialect,
) -> Result<Option<Value>, RenderError> {
    let join = |base: &Value, item: &Match| -> Result<Option<Value>, RenderError> {
        let joined = (dialect.join)(base, item)?;
        if let Some(joined) = &joined {
            overtaking::refuse(path_in(base), path_in(joined), others.iter().copied())?;
        }
        Ok(joined)
    };
    let Some(matches) = arm.joined(items(rule, "/matches"), join)? else {
        return Ok(None);
    };
    let refs = items(rule, "/backendRefs");
    let mut out = rule.clone();
    // Names are unique within a route.
    remove(&mut out, "name");
    out["matches"] = json!(matches);
    out["backendRefs"] = json!(arm.backends(backends, refs));
    if arm.to == Version::Stable {
        mirror(&mut out, split.mirror, refs, backends);
    }
    Ok(Some(out))
}

/// The user's own rule, by weight.
fn split_rule(rule: &Value, split: &Split, backends: &Backends<'_>) -> Value {
    let refs = items(rule, "/backendRefs").to_vec();
    let mut out = rule.clone();
    if split.weight > Weight::ZERO || split.announced {
        let mut shares = backends.split(&refs, split.weight);
        if let Some(affinity) = split.drawn() {
            remember(&mut shares, affinity, backends);
        }
        out["backendRefs"] = json!(shares);
    }
    mirror(&mut out, split.mirrored(), &refs, backends);
    out
}

/// Lets each version's answers say which version it was.
fn remember(refs: &mut [Value], affinity: &Affinity, backends: &Backends<'_>) {
    for backend in refs {
        let version = if (backends.is_apex)(backend) {
            Version::Stable
        } else if (backends.is_canary)(backend) {
            Version::Canary
        } else {
            continue;
        };
        let cookie = json!({"name": "Set-Cookie", "value": affinity.set_cookie(version)});
        let filter = json!({
            "type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [cookie]},
        });
        push(backend, "filters", filter);
    }
}

/// Sends a copy of requests to the canary.
fn mirror(rule: &mut Value, share: Weight, refs: &[Value], backends: &Backends<'_>) {
    let Some(apex) = refs.iter().find(|backend| (backends.is_apex)(backend)) else {
        return;
    };
    if share == Weight::ZERO {
        return;
    }
    let mut target = apex.clone();
    for key in ["weight", "filters"] {
        remove(&mut target, key);
    }
    (backends.rename)(&mut target);
    let mut filter = json!({"backendRef": target});
    if share < Weight::FULL {
        filter["percent"] = json!(share.percent());
    }
    let filter = json!({"type": "RequestMirror", "requestMirror": filter});
    push(rule, "filters", filter);
}

/// The limits of the Gateway API's own schema, which would refuse the whole route.
fn within_limits(rules: &[Value], dialect: Dialect) -> Result<(), RenderError> {
    let counts: Vec<usize> = rules
        .iter()
        .map(|rule| items(rule, "/matches").len())
        .collect();
    let checks = [
        ("rules", rules.len(), dialect.max_rules),
        (
            "matches in one rule",
            counts.iter().copied().max().unwrap_or(0),
            dialect.max_matches,
        ),
        (
            "matches in all",
            counts.iter().sum(),
            dialect.max_matches_in_all,
        ),
    ];
    for (what, count, limit) in checks {
        if count > limit {
            return Err(RenderError::TooMany { what, count, limit });
        }
    }
    Ok(())
}
