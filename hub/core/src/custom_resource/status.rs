//! The status of a custom resource.

use serde_json::{Map, Value, json};

use super::{Judgement, judgement::Words};

/// Fields of a record's status that change although nothing does, or grow with the fleet.
const LEFT_OUT: [&str; 3] = ["members", "lookedAt", "conditions"];
/// Characters of a condition's message at most, as Kubernetes has it.
const MAX_MESSAGE: usize = 32_768;

/// Makes the status of a custom resource at `generation`: where it stands, then what the API shows of its
/// record (null = nothing). Absent = it says that already, but for the time.
#[must_use]
pub fn status(
    judgement: &Judgement,
    generation: i64,
    shown: &Value,
    before: &Value,
    now: &str,
) -> Option<Value> {
    let mut made: Map<String, Value> = shown.as_object().cloned().unwrap_or_default();
    for field in LEFT_OUT {
        made.remove(field);
    }
    made.insert("observedGeneration".to_owned(), Value::from(generation));
    let mut conditions = standing(judgement);
    let of_record = shown.get("conditions").and_then(Value::as_array);
    for one in of_record.into_iter().flatten() {
        if conditions.iter().all(|known| known["type"] != one["type"]) {
            conditions.push(one.clone());
        }
    }
    for condition in &mut conditions {
        let same = before["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|one| one["type"] == condition["type"] && one["status"] == condition["status"]);
        let since = same.and_then(|one| one["lastTransitionTime"].as_str());
        condition["lastTransitionTime"] = Value::from(since.unwrap_or(now));
        if condition["reason"] == "" {
            // Kubernetes takes no empty one.
            condition["reason"] = condition["type"].clone();
        }
    }
    made.insert("conditions".to_owned(), Value::Array(conditions));
    let made = Value::Object(made);
    (made != *before).then_some(made)
}

/// Tells whether `now` knows less than `before` for no other reason than that clusters are not heard: their
/// agents may be about to come back to a hub that has just started.
#[must_use]
pub fn hears_less(before: &Value, now: &Value) -> bool {
    let is_known = |status: &Value| {
        let health = status["health"].as_str();
        health.is_some_and(|health| health != "Unknown")
    };
    let unknown = |status: &Value| status["unknown"].as_u64();
    let is_lost = is_known(before) && now["health"] == "Unknown";
    let more = matches!((unknown(before), unknown(now)), (Some(before), Some(now)) if now > before);
    is_lost || more
}

fn standing(judgement: &Judgement) -> Vec<Value> {
    let (Judgement::Ready(words) | Judgement::Reconciling(words) | Judgement::Stalled(words)) =
        judgement;
    let is_true = [
        ("Ready", matches!(judgement, Judgement::Ready(_))),
        (
            "Reconciling",
            matches!(judgement, Judgement::Reconciling(_)),
        ),
        ("Stalled", matches!(judgement, Judgement::Stalled(_))),
    ];
    is_true
        .into_iter()
        .map(|(kind, is_true)| condition(kind, is_true, words))
        .collect()
}

fn condition(kind: &str, is_true: bool, words: &Words) -> Value {
    let message: String = words.message.chars().take(MAX_MESSAGE).collect();
    // What does not hold is told by the one that does; Ready alone says why it is not.
    let message = match is_true || kind == "Ready" {
        true => message,
        false => String::new(),
    };
    json!({
        "type": kind, "status": if is_true { "True" } else { "False" },
        "reason": words.reason, "message": message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-02T00:00:00Z";

    fn of<'a>(status: &'a Value, kind: &str) -> &'a Value {
        let conditions = status["conditions"].as_array().expect("a list");
        conditions
            .iter()
            .find(|one| one["type"] == kind)
            .expect(kind)
    }

    #[test]
    fn conditions_are_those_that_kstatus_reads() {
        let words = || Words::new("Word", "a sentence");
        for (judgement, wanted) in [
            (Judgement::Ready(words()), ["True", "False", "False"]),
            (Judgement::Reconciling(words()), ["False", "True", "False"]),
            (Judgement::Stalled(words()), ["False", "False", "True"]),
        ] {
            let made =
                status(&judgement, 3, &Value::Null, &Value::Null, NOW).expect("it is another");
            let found =
                ["Ready", "Reconciling", "Stalled"].map(|kind| of(&made, kind)["status"].clone());
            assert_eq!(found, wanted);
            assert_eq!(made["observedGeneration"], 3);
            assert_eq!(of(&made, "Ready")["message"], "a sentence");
        }
    }

    #[test]
    fn what_is_said_already_is_not_written() {
        let shown = json!({
            "clusters": 2, "ready": 1,
            "members": [{"name": "c1", "lastSeen": "2026-01-01T00:00:00Z"}],
            "conditions": [{"type": "AddonsHealthy", "status": "False", "reason": "", "message": "m"}],
        });
        let judgement = Judgement::Ready(Words::new("Stored", ""));
        let first = status(&judgement, 1, &shown, &Value::Null, NOW).expect("nothing was said");
        assert_eq!(first["clusters"], 2);
        assert!(first.get("members").is_none(), "they change by themselves");
        assert_eq!(of(&first, "AddonsHealthy")["reason"], "AddonsHealthy");
        let later = "2026-01-03T00:00:00Z";
        let mut beats = shown.clone();
        beats["members"][0]["lastSeen"] = json!(later);
        assert_eq!(status(&judgement, 1, &beats, &first, later), None);
        // A condition that stays what it is keeps its time; one that turns gets a new one.
        let stalled = Judgement::Stalled(Words::new("Invalid", "spec.x: no"));
        let next = status(&stalled, 2, &shown, &first, later).expect("it is another");
        assert_eq!(of(&next, "Ready")["lastTransitionTime"], later);
        assert_eq!(of(&next, "Reconciling")["lastTransitionTime"], NOW);
        assert_eq!(of(&next, "AddonsHealthy")["lastTransitionTime"], NOW);
    }

    #[test]
    fn a_cluster_that_is_not_heard_any_more_is_told_from_one_that_never_was() {
        let health = |word: &str| json!({"health": word});
        assert!(hears_less(&health("Healthy"), &health("Unknown")));
        assert!(!hears_less(&health("Unknown"), &health("Unknown")));
        assert!(
            !hears_less(&Value::Null, &health("Unknown")),
            "refused before"
        );
        assert!(!hears_less(&health("Unknown"), &health("Healthy")));
        let fleet = |unknown: u32| json!({"unknown": unknown});
        assert!(hears_less(&fleet(1), &fleet(5)));
        assert!(!hears_less(&fleet(5), &fleet(1)) && !hears_less(&Value::Null, &fleet(5)));
    }

    #[test]
    fn a_condition_of_the_record_does_not_stand_twice() {
        let shown = json!({"conditions": [
            {"type": "Stalled", "status": "True", "reason": "Stalled", "message": "held"},
        ]});
        let judgement = Judgement::Stalled(Words::new("Stalled", "held"));
        let made = status(&judgement, 1, &shown, &Value::Null, NOW).expect("it is another");
        assert_eq!(made["conditions"].as_array().map(Vec::len), Some(3));
    }
}
