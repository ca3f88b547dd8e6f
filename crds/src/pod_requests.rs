//! What a pod asks of the node that runs it.

use serde_json::Value;

use crate::{cluster::PodRequests, quantity::thousandths};

/// Returns what a pod with this `spec` asks for: its containers and sidecars together, or what one of
/// its init containers needs beside the sidecars before it, whichever is more, and its overhead. What
/// the pod asks for as a whole wins. A limit without a request is a request.
#[must_use]
pub fn pod_requests(spec: &Value) -> PodRequests {
    PodRequests {
        cpu_milli: clamped(asked(spec, "cpu")),
        // Bytes are whole; what is written finer is rounded up.
        memory_bytes: clamped(asked(spec, "memory").div_ceil(1_000)),
    }
}

fn asked(spec: &Value, resource: &str) -> u128 {
    let overhead = amount(spec.pointer("/overhead"), resource).unwrap_or_default();
    if let Some(whole) = wanted(spec, resource) {
        return whole.saturating_add(overhead);
    }
    let list = |field: &str| {
        spec.get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let containers = list("containers")
        .map(|one| wanted(one, resource).unwrap_or_default())
        .fold(0u128, u128::saturating_add);
    let (mut sidecars, mut starting) = (0u128, 0u128);
    for one in list("initContainers") {
        let own = wanted(one, resource).unwrap_or_default();
        starting = starting.max(sidecars.saturating_add(own));
        if one.get("restartPolicy").and_then(Value::as_str) == Some("Always") {
            sidecars = sidecars.saturating_add(own);
        }
    }
    let running = containers.saturating_add(sidecars);
    running.max(starting).saturating_add(overhead)
}

/// What a pod or a container asks for itself, in thousandths.
fn wanted(one: &Value, resource: &str) -> Option<u128> {
    amount(one.pointer("/resources/requests"), resource)
        .or_else(|| amount(one.pointer("/resources/limits"), resource))
}

fn amount(amounts: Option<&Value>, resource: &str) -> Option<u128> {
    let amount = match amounts?.get(resource)? {
        Value::String(text) => thousandths(text)?,
        Value::Number(number) => thousandths(&number.to_string())?,
        _ => return None,
    };
    u128::try_from(amount).ok()
}

fn clamped(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    fn requests(spec: &Value) -> (u64, u64) {
        let found = pod_requests(spec);
        (found.cpu_milli, found.memory_bytes >> 20)
    }

    #[test]
    fn a_pod_asks_for_what_kubernetes_counts() {
        let two = json!([container("250m", "64Mi"), container("1", "1Gi")]);
        assert_eq!(requests(&json!({"containers": two})), (1_250, 1_088));
        assert_eq!(requests(&json!({"containers": [{}]})), (0, 0));
        let limits = json!({"resources": {"limits": {"cpu": 2, "memory": "8Mi"}}});
        assert_eq!(requests(&json!({"containers": [limits]})), (2_000, 8));
        let init = json!({"initContainers": [container("3", "1Mi")], "containers": two,
            "overhead": {"cpu": "100m"}});
        assert_eq!(requests(&init), (3_100, 1_088));
        let mut sidecar = container("500m", "100Mi");
        sidecar["restartPolicy"] = json!("Always");
        let beside = json!({"initContainers": [sidecar, container("1", "1Mi")], "containers": two});
        assert_eq!(requests(&beside), (1_750, 1_188));
        let whole = json!({"resources": {"requests": {"cpu": "4"}}, "containers": two});
        assert_eq!(requests(&whole), (4_000, 1_088));
    }
}
