//! Whether a hook's object has ended.

use serde_json::Value;

/// Longest reason that is passed on, in characters.
const MAX_WHY: usize = 200;

/// How far a hook's object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookOutcome {
    /// It has not ended.
    Running,
    /// It has ended well.
    Passed,
    /// It has failed, and why. What its containers said is not read: it may hold secrets.
    Failed(String),
}

/// Tells whether an object of this group's version and kind has an end; any other has done its part
/// as soon as it is there.
#[must_use]
pub fn is_awaited(api_version: &str, kind: &str) -> bool {
    matches!(
        (api_version, kind),
        ("batch/v1" | "batch/v1beta1", "Job") | ("v1", "Pod")
    )
}

/// Tells how far a hook's object is.
#[must_use]
pub fn outcome_of(live: &Value) -> HookOutcome {
    let (api_version, kind) = (text(live, "/apiVersion"), text(live, "/kind"));
    if !is_awaited(api_version, kind) {
        return HookOutcome::Passed;
    }
    if kind == "Pod" { pod(live) } else { job(live) }
}

fn job(live: &Value) -> HookOutcome {
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .filter(|condition| text(condition, "/status") == "True")
        .find_map(|condition| match text(condition, "/type") {
            "Complete" => Some(HookOutcome::Passed),
            "Failed" => Some(failed(&[
                text(condition, "/reason"),
                text(condition, "/message"),
            ])),
            _ => None,
        })
        .unwrap_or(HookOutcome::Running)
}

fn pod(live: &Value) -> HookOutcome {
    match text(live, "/status/phase") {
        "Succeeded" => HookOutcome::Passed,
        "Failed" => failed(&[text(live, "/status/reason")]),
        _ => HookOutcome::Running,
    }
}

fn failed(said: &[&str]) -> HookOutcome {
    let said: Vec<&str> = said.iter().copied().filter(|one| !one.is_empty()).collect();
    let why = if said.is_empty() {
        "its container failed".to_owned()
    } else {
        said.join(": ")
    };
    HookOutcome::Failed(why.chars().take(MAX_WHY).collect())
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failed(why: &str) -> HookOutcome {
        HookOutcome::Failed(why.to_owned())
    }

    #[test]
    fn a_job_ends_by_its_conditions() {
        let job = |kind: &str, status: &str| {
            json!({"apiVersion": "batch/v1", "kind": "Job", "status": {"failed": 1, "conditions": [
                {"type": "Suspended", "status": "False"},
                {"type": kind, "status": status, "reason": "BackoffLimitExceeded", "message": "too often"},
            ]}})
        };
        for (live, outcome) in [
            (job("Complete", "True"), HookOutcome::Passed),
            (job("Complete", "False"), HookOutcome::Running),
            (job("SuccessCriteriaMet", "True"), HookOutcome::Running),
            (job("FailureTarget", "True"), HookOutcome::Running),
            (
                job("Failed", "True"),
                failed("BackoffLimitExceeded: too often"),
            ),
            (
                json!({"apiVersion": "batch/v1", "kind": "Job"}),
                HookOutcome::Running,
            ),
        ] {
            assert_eq!(outcome_of(&live), outcome, "{live}");
        }
    }

    #[test]
    fn a_pod_ends_by_its_phase() {
        let pod = |status: Value| json!({"apiVersion": "v1", "kind": "Pod", "status": status});
        for (status, outcome) in [
            (json!({"phase": "Succeeded"}), HookOutcome::Passed),
            (json!({"phase": "Running"}), HookOutcome::Running),
            (json!({"phase": "Unknown"}), HookOutcome::Running),
            (json!({}), HookOutcome::Running),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "x"}),
                failed("Evicted"),
            ),
            (json!({"phase": "Failed"}), failed("its container failed")),
        ] {
            assert_eq!(outcome_of(&pod(status)), outcome);
        }
    }

    #[test]
    fn anything_else_has_done_its_part_when_it_is_there() {
        for kind in ["ServiceAccount", "Secret", "Job"] {
            let object = json!({"apiVersion": "example.com/v1", "kind": kind});
            assert_eq!(outcome_of(&object), HookOutcome::Passed);
        }
    }
}
