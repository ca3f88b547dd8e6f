//! The user's HTTPRoute with the split in it.

use bellwether_api::number::Weight;
use serde_json::{Value, json};

/// The largest weight that the Gateway API takes.
const MAX_BACKEND_WEIGHT: u64 = 1_000_000;

/// Splits every backendRef to the Service `apex` into that one and `canary`, which gets `weight`
/// percent of what `apex` had. Ports, filters and everything that is not such a backendRef stay as
/// they are. Weight 0 returns the route unchanged.
#[must_use]
pub fn render(route: &Value, apex: &str, canary: &str, weight: Weight) -> Value {
    let mut route = route.clone();
    if weight == Weight::ZERO {
        return route;
    }
    let namespace = route
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let rules = route
        .pointer_mut("/spec/rules")
        .and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        if let Some(backends) = rule.get_mut("backendRefs").and_then(Value::as_array_mut) {
            split(backends, namespace.as_deref(), apex, canary, weight);
        }
    }
    route
}

fn split(
    backends: &mut Vec<Value>,
    namespace: Option<&str>,
    apex: &str,
    canary: &str,
    weight: Weight,
) {
    if !backends
        .iter()
        .any(|backend| is_service(backend, namespace, apex))
    {
        return;
    }
    // Alone, a backend's weight means nothing; beside others it is a share that is split further.
    let alone = backends.len() == 1;
    let mut out = Vec::with_capacity(backends.len() + 1);
    let mut weights = Vec::with_capacity(backends.len() + 1);
    for backend in backends.drain(..) {
        let own = if alone { 1 } else { backend_weight(&backend) };
        if is_service(&backend, namespace, apex) {
            let mut copy = backend.clone();
            copy["name"] = json!(canary);
            weights.push(own * u64::from(weight.rest().percent()));
            weights.push(own * u64::from(weight.percent()));
            out.extend([backend, copy]);
        } else {
            weights.push(own * 100);
            out.push(backend);
        }
    }
    scale_down(&mut weights);
    for (backend, weight) in out.iter_mut().zip(weights) {
        backend["weight"] = json!(weight);
    }
    *backends = out;
}

fn scale_down(weights: &mut [u64]) {
    let largest = weights.iter().copied().max().unwrap_or(0);
    if largest > MAX_BACKEND_WEIGHT {
        let divisor = largest.div_ceil(MAX_BACKEND_WEIGHT);
        for weight in weights.iter_mut().filter(|weight| **weight > 0) {
            *weight = (*weight / divisor).max(1);
        }
    }
}

fn backend_weight(backend: &Value) -> u64 {
    backend.get("weight").and_then(Value::as_u64).unwrap_or(1)
}

/// Tells whether a backendRef of a route in `namespace` names the Service `name` of the same
/// namespace.
pub(super) fn is_service(backend: &Value, namespace: Option<&str>, name: &str) -> bool {
    let text = |key| backend.get(key).and_then(Value::as_str);
    text("name") == Some(name)
        && text("kind").unwrap_or("Service") == "Service"
        && text("group").unwrap_or("").is_empty()
        && (backend.get("namespace").is_none_or(Value::is_null) || text("namespace") == namespace)
}

/// Returns the canary's share of one rule; `None` when the rule has neither Service.
pub(super) fn share_of(
    rule: &Value,
    namespace: Option<&str>,
    apex: &str,
    canary: &str,
) -> Option<Weight> {
    let backends = rule.get("backendRefs").and_then(Value::as_array)?;
    let sum = |name| -> Option<u64> {
        let mut of = backends
            .iter()
            .filter(|backend| is_service(backend, namespace, name))
            .peekable();
        of.peek()?;
        Some(of.map(backend_weight).sum())
    };
    let (apex, canary) = (sum(apex), sum(canary));
    if apex.is_none() && canary.is_none() {
        return None;
    }
    let (apex, canary) = (apex.unwrap_or(0), canary.unwrap_or(0));
    if canary == 0 {
        return Some(Weight::ZERO);
    }
    let percent = (canary * 200 + apex + canary) / (2 * (apex + canary));
    Some(Weight::clamped(u32::try_from(percent).unwrap_or(100)))
}
