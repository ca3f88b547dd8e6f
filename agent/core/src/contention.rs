//! Two who write the same field, each over the other.
//!
//! Whoever changes a field that a release writes has it written back. Where that comes again and again,
//! writing back is of no use: the agent leaves the object for a while, and for longer every time.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::{
    live_state::join,
    ownership::{entries, manager_of},
};

/// Corrections of one field within [`WINDOW_MS`] after which the object is left for a while.
pub const MAX_CORRECTIONS: usize = 5;
/// How far back corrections count.
pub const WINDOW_MS: u64 = 10 * 60 * 1000;
/// How long the object is left the first time.
pub const FIRST_PAUSE_MS: u64 = 60 * 1000;
/// How long it is left at most.
pub const MAX_PAUSE_MS: u64 = 60 * 60 * 1000;
/// Fields of one object that are told apart; more are taken for one.
const MAX_FIELDS: usize = 32;
/// The field of an object that was deleted.
const WHOLE: &str = "the object";

/// A field that somebody changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The field, such as `spec.replicas`.
    pub field: String,
    /// The field manager that has it; empty = not known.
    pub manager: String,
}

/// Somebody writes a field over and over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fight {
    /// What is written, and by whom.
    pub change: Change,
    /// Until when the object is left, in the caller's milliseconds.
    pub until_ms: u64,
}

/// What is known of those who write one object.
#[derive(Clone, Debug, Default)]
pub struct Contention {
    tugs: BTreeMap<Change, Tug>,
    fight: Option<Fight>,
    is_told: bool,
}

#[derive(Clone, Debug, Default)]
struct Tug {
    corrected_ms: VecDeque<u64>,
    pause_ms: u64,
}

impl Contention {
    /// The fight because of which the object is left now; `None` = it is written back.
    #[must_use]
    pub fn fight(&self, now_ms: u64) -> Option<&Fight> {
        self.fight.as_ref().filter(|fight| now_ms < fight.until_ms)
    }

    /// Tells whether a pause is over since the object was last looked at.
    #[must_use]
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.fight
            .as_ref()
            .is_some_and(|fight| now_ms >= fight.until_ms)
    }

    /// Somebody was seen to fight on during a pause. Gives the fight, once a pause.
    pub fn seen(&mut self, now_ms: u64) -> Option<Fight> {
        let fight = self.fight(now_ms)?.clone();
        (!std::mem::replace(&mut self.is_told, true)).then_some(fight)
    }

    /// Takes note that these changes were written back.
    pub fn corrected(&mut self, changes: &[Change], now_ms: u64) {
        self.resume(now_ms);
        for change in changes {
            let is_known = self.tugs.contains_key(change);
            let change = if is_known || self.tugs.len() < MAX_FIELDS {
                change.clone()
            } else {
                Change {
                    field: WHOLE.to_owned(),
                    manager: change.manager.clone(),
                }
            };
            let tug = self.tugs.entry(change.clone()).or_default();
            tug.corrected_ms.push_back(now_ms);
            // Whoever was left once gets one more word, not five.
            let most = if tug.pause_ms == 0 {
                MAX_CORRECTIONS
            } else {
                1
            };
            if tug.corrected_ms.len() < most {
                continue;
            }
            tug.corrected_ms.clear();
            tug.corrected_ms.push_back(now_ms);
            tug.pause_ms = (tug.pause_ms * 2).clamp(FIRST_PAUSE_MS, MAX_PAUSE_MS);
            let until_ms = now_ms + tug.pause_ms;
            if self
                .fight
                .as_ref()
                .is_none_or(|fight| fight.until_ms < until_ms)
            {
                self.fight = Some(Fight { change, until_ms });
                self.is_told = false;
            }
        }
    }

    /// A pause is over: what has been quiet for long is forgotten.
    pub fn resume(&mut self, now_ms: u64) {
        if self.is_due(now_ms) {
            self.fight = None;
        }
        self.tugs.retain(|_, tug| {
            let far = WINDOW_MS.max(2 * tug.pause_ms);
            while tug
                .corrected_ms
                .front()
                .is_some_and(|at| at + far <= now_ms)
            {
                tug.corrected_ms.pop_front();
            }
            !tug.corrected_ms.is_empty()
        });
    }
}

/// Finds what writing back changed, and who had written it: `live` as it was, `None` = it did not exist;
/// `applied` as it came out; `own` begins the names of our field managers.
#[must_use]
pub fn changes(live: Option<&Value>, applied: &Value, own: &str) -> Vec<Change> {
    let Some(live) = live else {
        return vec![Change {
            field: WHOLE.to_owned(),
            manager: String::new(),
        }];
    };
    let mut fields = Vec::new();
    for (key, value) in applied.as_object().into_iter().flatten() {
        if matches!(key.as_str(), "apiVersion" | "kind" | "status") {
            continue;
        }
        let (was, is) = (live.get(key).unwrap_or(&Value::Null), value);
        if key == "metadata" {
            for part in ["labels", "annotations"] {
                let of = |metadata: &Value| metadata.get(part).cloned().unwrap_or(Value::Null);
                let path = vec!["metadata".to_owned(), part.to_owned()];
                differing(&of(was), &of(is), path, &mut fields);
            }
        } else {
            differing(was, is, vec![key.clone()], &mut fields);
        }
    }
    fields
        .into_iter()
        .map(|path| Change {
            manager: writer(live, &path, own),
            field: path.join("."),
        })
        .collect()
}

/// The paths of what differs. Lists are told apart as wholes.
fn differing(was: &Value, is: &Value, path: Vec<String>, found: &mut Vec<Vec<String>>) {
    if was == is || found.len() >= MAX_FIELDS {
        return;
    }
    if let (Value::Object(was), Value::Object(is)) = (was, is) {
        let keys: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        for key in keys {
            let of = |fields: &serde_json::Map<String, Value>| {
                fields.get(key).cloned().unwrap_or(Value::Null)
            };
            let mut path = path.clone();
            path.push(key.clone());
            differing(&of(was), &of(is), path, found);
        }
    } else {
        found.push(path);
    }
}

/// The field manager, other than ours, that wrote a field last; empty = not known.
fn writer(live: &Value, path: &[String], own: &str) -> String {
    let mut last = ("", "");
    for entry in entries(live) {
        let manager = manager_of(entry);
        if manager.starts_with(own) || !owns(entry, path) {
            continue;
        }
        let at = entry
            .get("time")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if last.1.is_empty() || at >= last.0 {
            last = (at, manager);
        }
    }
    last.1.to_owned()
}

fn owns(entry: &Value, path: &[String]) -> bool {
    let Some(fields) = entry.get("fieldsV1").and_then(Value::as_object) else {
        return false;
    };
    let mut joined = serde_json::Map::new();
    join(&mut joined, fields);
    let mut at = Value::Object(joined);
    for key in path {
        match at.get(format!("f:{key}")) {
            Some(below) => at = below.clone(),
            // A map that is owned as a whole.
            None => return at.as_object().is_some_and(serde_json::Map::is_empty),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MINUTE_MS: u64 = 60_000;

    fn change(field: &str) -> Change {
        Change {
            field: field.to_owned(),
            manager: "kubectl-edit".to_owned(),
        }
    }

    #[test]
    fn whoever_changes_the_same_again_and_again_is_left_for_longer_and_longer() {
        let mut contention = Contention::default();
        let mut now = 0;
        for _ in 1..MAX_CORRECTIONS {
            contention.corrected(&[change("spec.replicas")], now);
            assert_eq!(contention.fight(now), None);
            now += 1_000;
        }
        contention.corrected(&[change("spec.replicas")], now);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let fight = contention.fight(now).expect("it is left").clone();
            assert_eq!(fight.change, change("spec.replicas"));
            assert!(contention.seen(now).is_some(), "it is told once a pause");
            assert!(contention.seen(now + 1).is_none());
            pauses.push((fight.until_ms - now) / MINUTE_MS);
            assert!(!contention.is_due(fight.until_ms - 1));
            now = fight.until_ms;
            assert!(contention.is_due(now) && contention.fight(now).is_none());
            contention.corrected(&[change("spec.replicas")], now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn now_and_then_is_no_fight() {
        let mut contention = Contention::default();
        for round in 0..50_u64 {
            let now = round * 3 * MINUTE_MS;
            contention.corrected(&[change("spec.replicas")], now);
            assert_eq!(contention.fight(now), None, "{round}");
        }
        // Each field counts for itself.
        let mut contention = Contention::default();
        for round in 0..4 {
            contention.corrected(&[change("spec.a")], round);
            contention.corrected(&[change("spec.b")], round);
        }
        assert_eq!(contention.fight(4), None);
    }

    #[test]
    fn a_fight_that_is_over_is_forgotten() {
        let mut contention = Contention::default();
        for now in 0..MAX_CORRECTIONS as u64 {
            contention.corrected(&[change("spec.replicas")], now);
        }
        let until = contention.fight(10).expect("it is left").until_ms;
        contention.resume(until);
        let later = until + WINDOW_MS;
        contention.corrected(&[change("spec.replicas")], later);
        assert_eq!(contention.fight(later), None, "it begins anew");
    }

    #[test]
    fn many_fields_are_bounded() {
        let mut contention = Contention::default();
        let many: Vec<Change> = (0..1_000).map(|n| change(&format!("data.{n}"))).collect();
        contention.corrected(&many, 0);
        assert!(contention.tugs.len() <= MAX_FIELDS + 1);
    }

    #[test]
    fn the_field_and_its_manager_are_named() {
        let live = json!({
            "metadata": {"labels": {"a": "1"}, "resourceVersion": "2", "managedFields": [
                {"manager": "bellwether-sync", "time": "2026-01-01T00:00:01Z",
                    "fieldsV1": {"f:spec": {"f:paused": {}, "f:replicas": {}}}},
                {"manager": "kubectl-edit", "time": "2026-01-01T00:00:02Z",
                    "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "old", "time": "2026-01-01T00:00:00Z",
                    "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "labeller", "time": "2026-01-01T00:00:00Z",
                    "fieldsV1": {"f:metadata": {"f:labels": {}}}},
            ]},
            "spec": {"replicas": 5, "paused": false, "list": [1]}, "status": {"replicas": 5},
        });
        let applied = json!({
            "metadata": {"labels": {"a": "2"}, "resourceVersion": "3"},
            "spec": {"replicas": 2, "paused": false, "list": [1, 2]},
        });
        let said: Vec<(String, String)> = changes(Some(&live), &applied, "bellwether-")
            .into_iter()
            .map(|change| (change.field, change.manager))
            .collect();
        let expected = [
            ("metadata.labels.a", "labeller"),
            ("spec.list", ""),
            ("spec.replicas", "kubectl-edit"),
        ];
        let expected: Vec<(String, String)> = expected
            .map(|(field, manager)| (field.to_owned(), manager.to_owned()))
            .to_vec();
        assert_eq!(said, expected);
        let gone = changes(None, &applied, "bellwether-");
        assert_eq!(gone[0].field, "the object");
    }
}
