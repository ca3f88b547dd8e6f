//! Services of Knative: shares of revisions, in the workload itself.

use bellwether_api::number::Weight;
use serde_json::{Value, json};

use super::{Names, RenderError, Renderer, RouteObservation, Split, tree::items};

/// Service of `serving.knative.dev`. Its apex and canary are revisions.
#[derive(Clone, Copy, Debug)]
pub struct Service;

/// The targets of requests, as the user wrote them and as Knative keeps them.
const TARGETS: &str = "/spec/traffic";
/// The same, as they are in force.
const IN_FORCE: &str = "/status/traffic";

impl Renderer for Service {
    fn render(&self, object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        Ok(held(object, names, split.weight))
    }

    fn observe(&self, object: &Value) -> RouteObservation {
        let not_yet = |why: String| RouteObservation::NotYet { why };
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let (seen, is) = (
            number("/status/observedGeneration"),
            number("/metadata/generation"),
        );
        if seen < is {
            return not_yet(format!("Knative has seen generation {seen} of {is}"));
        }
        match condition(object, "RoutesReady") {
            Some(("True", _)) => {}
            Some((_, "")) | None => return not_yet("RoutesReady is not True".to_owned()),
            Some((_, why)) => return not_yet(why.to_owned()),
        }
        let mut wanted = shares(items(object, TARGETS));
        if wanted.is_empty() {
            // What is not said goes to the newest.
            wanted.push(("", 100));
        }
        if wanted != shares(items(object, IN_FORCE)) {
            return not_yet("its status.traffic is not its spec.traffic yet".to_owned());
        }
        RouteObservation::Programmed
    }

    fn observed_weight(&self, object: &Value, _own: &[&Value], names: &Names) -> Option<Weight> {
        let targets = items(object, TARGETS);
        let of = |revision: &str| -> u64 {
            let own = targets
                .iter()
                .filter(|target| names_revision(target, revision));
            own.map(percent).sum()
        };
        let canary = of(&names.canary);
        let all: u64 = targets.iter().map(percent).sum();
        // What others have is nobody's share; without targets everything goes to the newest.
        let known =
            targets.iter().all(|target| !names_any(target)) || canary + of(&names.apex) == all;
        known.then(|| Weight::clamped(u32::try_from(canary).unwrap_or(u32::MAX)))
    }
}

/// The user's object with every request on the revision that is `names.apex`, but for a share of
/// `weight` that `names.canary` gets. Targets that only give a revision an address stay.
#[must_use]
pub fn held(object: &Value, names: &Names, weight: Weight) -> Value {
    let target = |revision: &str, weight: Weight| json!({"revisionName": revision, "latestRevision": false, "percent": weight.percent()});
    let mut targets = Vec::new();
    if weight < Weight::FULL {
        targets.push(target(&names.apex, weight.rest()));
    }
    if weight > Weight::ZERO {
        targets.push(target(&names.canary, weight));
    }
    for own in items(object, TARGETS) {
        if own.get("tag").is_some() {
            let mut tagged = own.clone();
            super::tree::remove(&mut tagged, "percent");
            targets.push(tagged);
        }
    }
    let mut out = object.clone();
    out["spec"]["traffic"] = json!(targets);
    out
}

/// The status and the sentence of a condition; `None` = there is none.
#[must_use]
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<(&'a str, &'a str)> {
    let text = |one: &'a Value, key: &str| one.get(key).and_then(Value::as_str).unwrap_or("");
    let found = items(object, "/status/conditions")
        .iter()
        .find(|one| text(one, "type") == kind)?;
    Some((text(found, "status"), text(found, "message")))
}

fn percent(target: &Value) -> u64 {
    target.get("percent").and_then(Value::as_u64).unwrap_or(0)
}

fn names_any(target: &Value) -> bool {
    percent(target) > 0 && target.get("latestRevision") != Some(&Value::Bool(true))
}

fn names_revision(target: &Value, revision: &str) -> bool {
    !revision.is_empty() && target.get("revisionName").and_then(Value::as_str) == Some(revision)
}

/// What each revision has, sorted; the newest has no name where it is meant as such.
fn shares(targets: &[Value]) -> Vec<(&str, u64)> {
    let name = |target: &'_ Value| target.get("latestRevision") == Some(&Value::Bool(true));
    let mut shares: Vec<(&str, u64)> = targets
        .iter()
        .filter(|target| percent(target) > 0)
        .map(|target| {
            let revision = target.get("revisionName").and_then(Value::as_str);
            let revision = if name(target) { None } else { revision };
            (revision.unwrap_or(""), percent(target))
        })
        .collect();
    shares.sort_unstable();
    shares
}

#[cfg(test)]
mod tests;
