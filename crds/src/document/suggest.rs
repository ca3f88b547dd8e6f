//! What was probably meant.

/// Names that other projects use for what has another name here, with the field's path: below the
/// same object, or from `spec` on.
const IMPORTED: &[(&str, &str)] = &[
    ("analysisTimes", "iterations"),
    ("analysisTimes", "spec.strategy.abTest.iterations"),
    ("canaryReplicas", "replicas"),
    ("canaryReplicas", "spec.strategy.canary.manual.replicas"),
    ("canaryStrategy", "canary"),
    ("canaryStrategy", "strategy"),
    ("canaryWeight", "weight"),
    ("canaryWeight", "spec.strategy.canary.manual.weight"),
    ("checkFailedTimes", "failureThreshold"),
    ("checkIntervalSeconds", "interval"),
    ("correctDrift", "drift"),
    ("failureLimit", "failureThreshold"),
    ("gateway", "gatewayApi"),
    ("gracePeriodSeconds", "drain"),
    ("duration", "after"),
    ("httpRoute", "httpRoutes"),
    ("ingress", "nginx"),
    ("ingressRef", "nginx"),
    ("iterations", "spec.strategy.abTest.iterations"),
    ("intervalSeconds", "interval"),
    ("interval", "window"),
    ("kubernetes", "none"),
    ("maxUnavailable", "maxConcurrent"),
    ("maxWeight", "spec.strategy.canary.maxWeight"),
    ("meshProvider", "traffic"),
    ("objectRef", "workload"),
    ("matches", "match"),
    ("maxReplicas", "spec.instances.maxReplicas"),
    ("pause", "advance"),
    ("paused", "suspend"),
    ("primaryCookieName", "stableCookieName"),
    ("progressDeadlineSeconds", "progressDeadline"),
    ("provider", "traffic"),
    ("releaseMode", "mode"),
    ("revertOnDeletion", "onDeletion"),
    ("revisionHistoryLimit", "historyLimit"),
    ("rolloutTimeoutSeconds", "progressDeadline"),
    ("routeRef", "apisix"),
    ("routeRef", "traffic"),
    ("serviceName", "service"),
    ("setWeight", "weight"),
    ("skipAnalysis", "skip"),
    ("skipAnalysis", "spec.analysis.skip"),
    ("skipTrafficAnalysis", "spec.analysis.skip"),
    ("stepPartition", "advance"),
    ("stepReplicas", "replicas"),
    ("stepWeight", "spec.strategy.canary.stepWeight"),
    (
        "stepWeightPromotion",
        "spec.strategy.canary.stepWeightPromotion",
    ),
    ("stepWeights", "weights"),
    ("stepWeights", "spec.strategy.canary.weights"),
    ("syncPolicy", "sync"),
    ("smi", "linkerd"),
    ("targetRef", "workload"),
    ("threshold", "failureThreshold"),
    ("threshold", "range"),
    ("thresholdRange", "range"),
    ("traffic", "weight"),
    ("trafficRoutingProvider", "traffic"),
    ("trafficRoutings", "traffic"),
    ("virtualService", "virtualServices"),
    ("workloadRef", "workload"),
];

/// What an edit in a cluster is, and where one starts a run.
const EDITS: &str = "what the hub delivers is the release's, so that an edit in a cluster is drift and starts \
                     no run; say the change to the hub, or let a Rollout without application, which names \
                     its destination, govern a workload that others write";

/// Fields that are written elsewhere or nowhere, by the object in which they were looked for, with the
/// reason; an empty object = wherever.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("", "allowLocal", EDITS),
    ("", "allowLocalTrigger", EDITS),
    (
        "",
        "canaryQueries",
        "no autoscaler is copied, so that its queries mean the same pods before, during and after a run; \
         leave them out",
    ),
    (
        "analysis",
        "relative",
        "what the new version may differ from the old one by is a limit of each metric; write it below \
         analysis.metrics",
    ),
    (
        "spec",
        "hooks",
        "hooks of a run stand in its Rollout, those of what joins and leaves a fleet in the Fleet",
    ),
    (
        "service",
        "namespace",
        "a Service selects pods of its own namespace, so it lies where the workload does; set \
         workload.namespace",
    ),
    (
        "service",
        "stable",
        "no Service is made for the stable version: the one that is named leads to it; write labels and \
         annotations there",
    ),
    // Steps of a canary have it: those of a batch alone come here.
    (
        "steps",
        "mirror",
        "a batch changes the pods that users reach, with their volumes, so that a mirrored request would \
         be answered, and written, twice by one workload; use canary, whose copy stands apart",
    ),
];

/// Returns why a field of an object is not written there; `None` = nothing is known of it.
pub fn elsewhere(object: &str, field: &str) -> Option<&'static str> {
    let mut known = ELSEWHERE.iter();
    let found = known
        .find(|(within, name, _)| *name == field && (within.is_empty() || *within == object))?;
    Some(found.2)
}

/// Returns the candidate that `word` was probably meant to be; `None` when nothing is near.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words are no typing errors, and the distance grows with their square.
    const MAX_WORD_BYTES: usize = 64;
    const MAX_DISTANCE: usize = 2;
    const MIN_PREFIX_BYTES: usize = 3;
    if word.is_empty() || word.len() > MAX_WORD_BYTES {
        return None;
    }
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = candidate.to_lowercase();
            let distance = strsim::osa_distance(&lower, &other);
            let shorter = lower.len().min(other.len());
            let near = distance <= MAX_DISTANCE && distance < shorter;
            let prefix = shorter >= MIN_PREFIX_BYTES
                && (other.starts_with(&lower) || lower.starts_with(&other));
            (near || prefix).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Returns the field that an unknown `key` was probably meant to be: a sibling's name, or a path
/// from `spec` on that `exists` knows.
pub(super) fn field<'a>(
    key: &str,
    siblings: impl Iterator<Item = &'a str> + Clone,
    exists: impl Fn(&str) -> bool,
) -> Option<String> {
    let imported = IMPORTED
        .iter()
        .filter(|(old, _)| *old == key)
        .map(|(_, new)| *new);
    let imported = imported
        .into_iter()
        .find(|new| match new.strip_prefix("spec.") {
            Some(path) => exists(path),
            None => siblings.clone().any(|sibling| sibling == *new),
        });
    imported
        .or_else(|| closest(key, siblings))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn finds_what_is_near_and_nothing_else() {
        let names = ["maxConcurrent", "maxFailures", "name", "selector"];
        for (word, expected) in [
            ("maxConcurent", Some("maxConcurrent")),
            ("maxconcurrent", Some("maxConcurrent")),
            ("selectro", Some("selector")),
            ("sel", Some("selector")),
            ("nmae", Some("name")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(word, names), expected, "{word}");
        }
    }
}
