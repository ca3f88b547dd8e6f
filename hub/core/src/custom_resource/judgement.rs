//! Whether what a record says holds, in the words of kstatus.

use bellwether_api::{
    call::{ADDONS_HEALTHY, ApplicationStatus, Condition},
    document::Kind,
    status::Health,
    view::RunPhase,
};
use serde_json::Value;

use crate::promoted::PROMOTED;

/// Where a custom resource stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// What it says holds.
    Ready(Words),
    /// It is on its way there.
    Reconciling(Words),
    /// It does not get there by itself.
    Stalled(Words),
}

/// A CamelCase word, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The word.
    pub reason: String,
    /// The sentence; empty = there is no more to say.
    pub message: String,
}

impl Words {
    /// Makes them.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// Judges a record by the status that the API shows of it. `pending` = what it says is no release yet,
/// and the status speaks of the one before.
#[must_use]
pub fn judge(kind: Kind, status: &Value, pending: bool) -> Judgement {
    match kind {
        Kind::Application | Kind::Rollout => {
            match serde_json::from_value::<ApplicationStatus>(status.clone()) {
                Ok(status) => application(&status, pending),
                Err(_) => stored(),
            }
        }
        Kind::Fleet => addons(&conditions(status)),
        Kind::Repository => repository(&conditions(status)),
        Kind::MetricTemplate | Kind::AlertProvider | Kind::Cluster => stored(),
    }
}

fn stored() -> Judgement {
    Judgement::Ready(Words::new("Stored", "the hub has it"))
}

fn conditions(status: &Value) -> Vec<Condition> {
    let found = status.get("conditions").cloned().unwrap_or_default();
    serde_json::from_value(found).unwrap_or_default()
}

fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|one| one.kind == kind)
}

fn words(condition: &Condition) -> Words {
    Words::new(condition.reason.clone(), condition.message.clone())
}

fn addons(conditions: &[Condition]) -> Judgement {
    match find(conditions, ADDONS_HEALTHY) {
        Some(condition) if condition.status != "True" => {
            Judgement::Reconciling(Words::new("AddonsNotHealthy", condition.message.clone()))
        }
        _ => stored(),
    }
}

fn repository(conditions: &[Condition]) -> Judgement {
    match find(conditions, "Synced") {
        Some(condition) if condition.status == "True" => Judgement::Ready(words(condition)),
        Some(condition) if condition.status == "False" => Judgement::Stalled(words(condition)),
        Some(condition) => Judgement::Reconciling(words(condition)),
        None => Judgement::Reconciling(Words::new("Looking", "the hub has not looked yet")),
    }
}

fn application(status: &ApplicationStatus, pending: bool) -> Judgement {
    let remark = |kind| find(&status.conditions, kind).filter(|one| one.status == "True");
    if let Some(condition) = remark("Stalled") {
        return Judgement::Stalled(words(condition));
    }
    if let Some(condition) = remark("Rendering") {
        return Judgement::Reconciling(words(condition));
    }
    // That one says what the state says.
    let remarks = status.conditions.iter().filter(|one| one.kind != PROMOTED);
    let remarks: Vec<&str> = remarks.map(|one| one.message.as_str()).collect();
    if pending {
        let mut said = vec!["it is no release yet"];
        said.extend(remarks);
        return Judgement::Reconciling(Words::new("Pending", said.join("; ")));
    }
    let Some(state) = status.state else {
        return Judgement::Reconciling(Words::new("Pending", remarks.join("; ")));
    };
    let mut message = format!("{} of {} clusters", status.done, status.total);
    if status.revision > 0 {
        message = format!("revision {}: {message}", status.revision);
    }
    for remark in remarks {
        message.push_str("; ");
        message.push_str(remark);
    }
    let words = |reason: String| Words::new(reason, message.clone());
    match state {
        RunPhase::Succeeded => match status.health {
            Health::Healthy => Judgement::Ready(words(format!("{state:?}"))),
            Health::Degraded => Judgement::Stalled(words(format!("{:?}", status.health))),
            Health::Progressing | Health::Missing | Health::Unknown => {
                Judgement::Reconciling(words(format!("Health{:?}", status.health)))
            }
        },
        RunPhase::Halted | RunPhase::Failed | RunPhase::Aborted => {
            Judgement::Stalled(words(format!("{state:?}")))
        }
        RunPhase::Pending
        | RunPhase::Progressing
        | RunPhase::Soaking
        | RunPhase::WaitingApproval
        | RunPhase::Suspended
        | RunPhase::RollingBack
        | RunPhase::Superseded => Judgement::Reconciling(words(format!("{state:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn application(state: Value, health: &str, conditions: Value) -> Value {
        json!({
            "state": state, "health": health, "revision": 2, "version": "v2", "done": 1, "total": 2,
            "clusters": 2, "conditions": conditions,
        })
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "a sentence"})
    }

    /// Ready, Reconciling or Stalled, and the reason.
    fn said(judgement: &Judgement) -> (&'static str, &str) {
        match judgement {
            Judgement::Ready(words) => ("Ready", &words.reason),
            Judgement::Reconciling(words) => ("Reconciling", &words.reason),
            Judgement::Stalled(words) => ("Stalled", &words.reason),
        }
    }

    #[test]
    fn an_application_is_ready_when_its_newest_release_runs_well_everywhere() {
        let cases = [
            ("Succeeded", "Healthy", ("Ready", "Succeeded")),
            (
                "Succeeded",
                "Progressing",
                ("Reconciling", "HealthProgressing"),
            ),
            ("Succeeded", "Unknown", ("Reconciling", "HealthUnknown")),
            ("Succeeded", "Degraded", ("Stalled", "Degraded")),
            ("Progressing", "Healthy", ("Reconciling", "Progressing")),
            ("Soaking", "Healthy", ("Reconciling", "Soaking")),
            (
                "WaitingApproval",
                "Healthy",
                ("Reconciling", "WaitingApproval"),
            ),
            ("Suspended", "Healthy", ("Reconciling", "Suspended")),
            ("RollingBack", "Healthy", ("Reconciling", "RollingBack")),
            ("Halted", "Healthy", ("Stalled", "Halted")),
            ("Failed", "Healthy", ("Stalled", "Failed")),
            ("Aborted", "Healthy", ("Stalled", "Aborted")),
        ];
        for (state, health, wanted) in cases {
            for kind in [Kind::Application, Kind::Rollout] {
                let status = application(json!(state), health, json!([]));
                let judged = judge(kind, &status, false);
                assert_eq!(said(&judged), wanted, "{state} {health}");
            }
        }
    }

    #[test]
    fn what_the_state_says_already_is_not_said_twice() {
        let plain = application(json!("Succeeded"), "Healthy", json!([]));
        let promoted = json!([condition(PROMOTED, "True", "Succeeded")]);
        let told = application(json!("Succeeded"), "Healthy", promoted);
        assert_eq!(
            judge(Kind::Rollout, &told, false),
            judge(Kind::Rollout, &plain, false)
        );
    }

    #[test]
    fn the_release_before_says_nothing_of_what_was_just_written() {
        let before = application(json!("Succeeded"), "Healthy", json!([]));
        let judged = judge(Kind::Application, &before, true);
        assert_eq!(said(&judged), ("Reconciling", "Pending"));
        let none = application(
            Value::Null,
            "Unknown",
            json!([condition("NoClusters", "True", "NoClusters")]),
        );
        let judged = judge(Kind::Application, &none, false);
        assert_eq!(said(&judged), ("Reconciling", "Pending"));
        let Judgement::Reconciling(words) = judged else {
            panic!("it is on its way")
        };
        assert_eq!(words.message, "a sentence");
    }

    #[test]
    fn a_brake_stalls_whatever_the_run_says() {
        let held = application(
            json!("Succeeded"),
            "Healthy",
            json!([condition("Stalled", "True", "Stalled")]),
        );
        assert_eq!(
            said(&judge(Kind::Application, &held, true)),
            ("Stalled", "Stalled")
        );
        let rendering = application(
            json!("Succeeded"),
            "Healthy",
            json!([condition("Rendering", "True", "Rendering")]),
        );
        assert_eq!(
            said(&judge(Kind::Application, &rendering, false)),
            ("Reconciling", "Rendering")
        );
    }

    #[test]
    fn what_is_no_application_is_judged_by_its_own_condition() {
        let of = |kind, conditions: Value| {
            let judged = judge(kind, &json!({"conditions": conditions}), false);
            let (word, reason) = said(&judged);
            (word, reason.to_owned())
        };
        let stored = ("Ready", "Stored".to_owned());
        assert_eq!(of(Kind::Fleet, json!([])), stored);
        assert_eq!(of(Kind::MetricTemplate, json!([])), stored);
        let unwell = json!([condition("AddonsHealthy", "False", "NotHealthy")]);
        assert_eq!(
            of(Kind::Fleet, unwell),
            ("Reconciling", "AddonsNotHealthy".to_owned())
        );
        for (status, reason, word) in [
            ("True", "Synced", "Ready"),
            ("False", "Conflict", "Stalled"),
            ("Unknown", "Looking", "Reconciling"),
        ] {
            let synced = json!([condition("Synced", status, reason)]);
            assert_eq!(of(Kind::Repository, synced), (word, reason.to_owned()));
        }
    }
}
