//! Hooks that the agent calls: answers come late, not at all, or another one than before.

use std::collections::BTreeMap;

use bellwether_agent_core::{
    hooks::{HookOutcome, outcome},
    machine::{Decision, HookAnswer},
};
use bellwether_api::{hooks::HookKind, track::RolloutTrackSpec};
use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use uuid::Uuid;

use super::process::Agent;
use crate::{count::Counts, invariant::Broken};

/// Calls under way, by hook and number: when each is answered, and what.
pub(super) type Calls = BTreeMap<(String, u64), (Timestamp, HookOutcome)>;

/// How long a call may take.
const TIMEOUT_S: i64 = 10;

impl Agent {
    /// Calls what is asked for, forgets what is not, and tells those who only want to know.
    pub(super) fn call(
        &mut self,
        spec: &RolloutTrackSpec,
        decision: &Decision,
        truth: Timestamp,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let asked = |hook: &String, call: u64| {
            let mut requests = decision.hooks.iter();
            requests.any(|request| request.hook == *hook && request.call == call)
        };
        self.volatile
            .calls
            .retain(|(hook, call), _| asked(hook, *call));
        for request in &decision.hooks {
            let key = (request.hook.clone(), request.call);
            if !self.volatile.calls.contains_key(&key) {
                let answer = self.answer(spec, &key, truth, counts);
                self.volatile.calls.insert(key, answer);
            }
        }
        for hook in &decision.after {
            counts.one("hook/told");
            let of = (spec.run, spec.attempt, hook.clone());
            if !self.told.insert(of) {
                let detail = format!("{} told {hook} twice", self.cluster);
                return Err(Broken::new("hook-once", detail));
            }
        }
        Ok(())
    }

    fn answer(
        &mut self,
        spec: &RolloutTrackSpec,
        key: &(String, u64),
        truth: Timestamp,
        counts: &mut Counts,
    ) -> (Timestamp, HookOutcome) {
        let mut hooks = spec.plan.hooks.iter();
        let asks_back = hooks.any(|hook| hook.name == key.0 && hook.kind == HookKind::Rollback);
        let (status, seconds) = match self.rng.random_range(0..100) {
            _ if self.calm => (Some(if asks_back { 403 } else { 200 }), 0),
            0..6 => (None, TIMEOUT_S),
            6..16 => (Some(503), self.rng.random_range(0..4)),
            16..18 => (Some(200), self.rng.random_range(4..TIMEOUT_S)),
            _ if asks_back => (Some(403), self.rng.random_range(0..4)),
            _ => (Some(200), self.rng.random_range(0..3)),
        };
        if status.is_none() {
            counts.one("fault/hook-lost");
        } else if seconds >= 4 {
            counts.one("fault/hook-late");
        }
        let passes = status == Some(200);
        let of = (spec.run, spec.attempt, key.0.clone(), key.1);
        if let Some(before) = self.answered.insert(of, passes) {
            counts.one("fault/hook-asked-again");
            if before != passes {
                counts.one("fault/hook-contradicts");
            }
        }
        let at = truth + SignedDuration::from_secs(seconds);
        (at, outcome(status, "no answer in time"))
    }

    /// The answers that have come.
    pub(super) fn answers(&mut self, of: (Uuid, u32), truth: Timestamp) -> Vec<HookAnswer> {
        let come = self
            .volatile
            .calls
            .iter()
            .filter(|(_, (at, _))| *at <= truth);
        let come: Vec<HookAnswer> = come
            .map(|((hook, call), (_, outcome))| HookAnswer {
                hook: hook.clone(),
                call: *call,
                outcome: outcome.clone(),
            })
            .collect();
        let passed = come
            .iter()
            .filter(|answer| answer.outcome == HookOutcome::Passed);
        let passed = passed.map(|answer| (of.0, of.1, answer.hook.clone()));
        self.passed.extend(passed);
        come
    }
}
