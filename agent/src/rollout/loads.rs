//! Load on the canary while a weight is judged.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bellwether_agent_core::{
    hooks::HookOutcome,
    machine::{Decision, Stage, StepPart},
};
use bellwether_api::{hooks::Hook, status::Phase};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    observe::Seen,
    run::Run,
    scene::Live,
    telling::{Notes, noted},
};
use crate::{
    hooks::{LoadGenerator, LoadTarget},
    sync::events::RunOf,
};

/// Why the loads of one hook failed last; empty = none did.
type LastFailure = Arc<Mutex<String>>;

/// The loads that are made, by their hook. One whose time is over stays, so that it is not made anew
/// at the same weight.
#[derive(Default)]
pub(super) struct Loads {
    made: BTreeMap<String, Made>,
    /// By hook; over all weights of the run.
    failures: BTreeMap<String, LastFailure>,
}

struct Made {
    since: Timestamp,
    url: String,
    _generator: LoadGenerator,
}

/// Since when a weight is in force that is judged; absent = none is, or the run is stopped.
fn judged_since(decision: &Decision) -> Option<Timestamp> {
    if decision.summary.phase == Phase::Suspended || !decision.correct_drift {
        return None;
    }
    match &decision.next.stage {
        Stage::Step {
            part: StepPart::Analysing { since, .. } | StepPart::Gate { since, .. },
            ..
        } => Some(*since),
        _ => None,
    }
}

/// The address of the canary's Service with its port; absent = it has none.
pub(super) fn canary_address(live: &Live, port: Option<u16>) -> Option<String> {
    let service = live.canary_service.as_ref()?;
    let address = service.pointer("/spec/clusterIP").and_then(Value::as_str)?;
    let port = port?;
    match address {
        "" | "None" => None,
        six if six.contains(':') => Some(format!("http://[{six}]:{port}/")),
        four => Some(format!("http://{four}:{port}/")),
    }
}

/// Notes why a load fails, unless the load of the weight before failed for the same.
fn note_failure(
    hook: Hook,
    last: LastFailure,
    notes: Arc<Notes>,
    of: RunOf<'static>,
) -> impl Fn(&str) + Send + Sync {
    move |why| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != why {
            why.clone_into(&mut last);
            let why = why.to_owned();
            notes.push(of, noted(&hook, &HookOutcome::Failed { why }));
        }
    }
}

impl Run {
    /// Makes the loads that the plan wants now, and ends the others. Call it once the decision is
    /// saved.
    pub(super) fn load(
        &mut self,
        decision: &Decision,
        canary_address: Option<&str>,
        seen: &Seen<'_>,
        now: Timestamp,
    ) {
        let hooks = &self.track.spec.plan.hooks;
        let Some(since) = judged_since(decision) else {
            self.loads.made.clear();
            return;
        };
        for hook in hooks {
            let Some(load) = hook.load() else { continue };
            let url = load
                .url
                .clone()
                .or_else(|| canary_address.map(str::to_owned));
            let Some(url) = url else { continue };
            let made = self.loads.made.get(&hook.name);
            if made.is_some_and(|made| (made.since, &made.url) == (since, &url)) {
                continue;
            }
            let left = load.duration.map(|duration| {
                let spent = now.duration_since(since);
                Duration::try_from(duration.as_signed() - spent).unwrap_or_default()
            });
            let target = LoadTarget {
                url: url.clone(),
                timeout: Duration::from_millis(hook.timeout.as_millis().unsigned_abs()),
                lasts: left,
            };
            let last = self.loads.failures.entry(hook.name.clone()).or_default();
            let tell = note_failure(
                hook.clone(),
                Arc::clone(last),
                Arc::clone(seen.notes),
                self.of,
            );
            let namespace = &self.scene.namespace;
            let made = Made {
                since,
                url,
                _generator: seen.hooks.load(hook, load, target, namespace, tell),
            };
            self.loads.made.insert(hook.name.clone(), made);
        }
    }
}

#[cfg(test)]
mod tests {
    use bellwether_api::status::Severity;
    use serde_json::json;

    use super::*;
    use crate::sync::watch::Poke;

    #[test]
    fn a_failure_is_noted_once_until_it_is_another() {
        let hook: Hook = serde_json::from_value(json!({"name": "plain"})).expect("a hook");
        let (notes, last) = (Notes::new(Arc::<Poke>::default()), LastFailure::default());
        let of = RunOf {
            run: uuid::Uuid::nil(),
            attempt: 1,
            alerts: &[],
        };
        for why in ["refused", "refused", "late", "late"] {
            // Each is of another weight.
            let notes = Arc::clone(&notes);
            note_failure(hook.clone(), Arc::clone(&last), notes, of)(why);
        }
        let said: Vec<_> = std::iter::from_fn(|| notes.take())
            .map(|(_, news)| (news.severity, news.reason, news.message))
            .collect();
        let warning = |message: &str| (Severity::Warn, "HookFailed", message.to_owned());
        assert_eq!(
            said,
            [warning("hook plain: refused"), warning("hook plain: late")]
        );
    }

    #[test]
    fn the_canarys_service_is_asked_by_its_address() {
        let live = |address: Value| Live {
            canary_service: Some(json!({"spec": {"clusterIP": address}})),
            ..Live::default()
        };
        for (address, port, url) in [
            (json!("10.96.0.7"), Some(80), Some("http://10.96.0.7:80/")),
            (json!("fd00::7"), Some(8080), Some("http://[fd00::7]:8080/")),
            (json!("None"), Some(80), None),
            (json!("10.96.0.7"), None, None),
        ] {
            let found = canary_address(&live(address.clone()), port);
            assert_eq!(found.as_deref(), url, "{address}");
        }
    }
}
