//! Calls of hooks that a run's decisions ask for.

use std::collections::BTreeMap;

use bellwether_agent_core::{
    hooks::{HookEvent, HookOutcome, HookScene},
    machine::{Decision, HookAnswer, HookRequest},
};
use bellwether_api::hooks::{Hook, HookKind};

use super::{asking::Asking, jobs::TestJob, objects::template_digest, observe::Seen, run::Run};
use crate::clock::wall;

/// Calls whose answers a decision awaits. Those that no decision asks for any more are broken off.
#[derive(Default)]
pub(super) struct Calls {
    under_way: BTreeMap<HookRequest, Asking<HookOutcome>>,
    answers: Vec<HookAnswer>,
}

impl Calls {
    /// Takes in the answers that came.
    pub(super) fn collect(&mut self) {
        let ended: Vec<HookRequest> = self
            .under_way
            .iter()
            .filter(|(_, call)| call.has_ended())
            .map(|(request, _)| request.clone())
            .collect();
        for request in ended {
            let Some(call) = self.under_way.remove(&request) else {
                continue;
            };
            let outcome = call.take().unwrap_or_else(|error| {
                tracing::error!(hook = request.hook, %error, "a call died");
                HookOutcome::Failed {
                    why: "the call broke off".to_owned(),
                }
            });
            self.answers.push(HookAnswer {
                hook: request.hook,
                call: request.call,
                outcome,
            });
        }
    }

    /// Tells whether an answer came that was not taken in.
    pub(super) fn any_ended(&self) -> bool {
        self.under_way.values().any(Asking::has_ended)
    }

    /// The answers that are asked for.
    pub(super) fn answers(&self) -> Vec<HookAnswer> {
        self.answers.clone()
    }

    /// Makes what is asked for, each call once, and forgets the rest.
    fn ask(
        &mut self,
        requests: &[HookRequest],
        start: impl Fn(&HookRequest) -> Option<Asking<HookOutcome>>,
    ) {
        let answers_to = |answer: &HookAnswer, request: &HookRequest| {
            (&answer.hook, answer.call) == (&request.hook, request.call)
        };
        self.answers
            .retain(|answer| requests.iter().any(|request| answers_to(answer, request)));
        self.under_way
            .retain(|request, _| requests.contains(request));
        for request in requests {
            let answered = self
                .answers
                .iter()
                .any(|answer| answers_to(answer, request));
            if answered || self.under_way.contains_key(request) {
                continue;
            }
            if let Some(call) = start(request) {
                self.under_way.insert(request.clone(), call);
            }
        }
    }
}

impl Run {
    /// Makes the calls that a decision asks for. Call it once the decision is saved.
    pub(super) fn follow(&mut self, decision: &Decision, seen: &Seen<'_>) {
        let hooks = self.track.spec.plan.hooks.clone();
        if hooks.is_empty() {
            return;
        }
        let scene = HookScene {
            name: self.rollout.name.clone(),
            namespace: self.scene.namespace.clone(),
            phase: decision.summary.phase,
            checksum: template_digest(seen.bundle, &self.rollout).unwrap_or_default(),
            cluster: String::new(),
            application: seen.bundle.application.to_string(),
            revision: seen.bundle.revision,
        };
        let component = self.rollout.spec.component.as_deref();
        let account = component.and_then(|name| seen.bundle.account_of(name));
        let named = |name: &str| hooks.iter().find(|hook| hook.name == name).cloned();
        self.calls.ask(&decision.hooks, |request| {
            let (hook, scene) = (named(&request.hook)?, scene.clone());
            let caller = seen.hooks.clone();
            let job = TestJob::of(&hook, request, &self.scene, &self.track);
            let cluster = seen.cluster.acting_as(account);
            Some(Asking::start(seen.poke, async move {
                match job {
                    Some(job) => job.run(&cluster).await,
                    None => caller.call(&hook, scene, None).await,
                }
            }))
        });
        let told: Vec<Hook> = of_kind(&hooks, HookKind::Event);
        for happening in decision.events.iter().filter(|_| !told.is_empty()) {
            let event = HookEvent {
                severity: happening.severity,
                message: happening.message.clone(),
                at: wall(),
            };
            self.telling
                .event(&told, &scene, event, (seen.hooks, seen.notes, self.of));
        }
        for hook in decision.after.iter().filter_map(|name| named(name)) {
            self.telling
                .after(hook, scene.clone(), (seen.hooks, seen.notes, self.of));
        }
    }
}

fn of_kind(hooks: &[Hook], kind: HookKind) -> Vec<Hook> {
    hooks
        .iter()
        .filter(|hook| hook.kind == kind)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::sync::watch::Poke;

    fn request(hook: &str, call: u64) -> HookRequest {
        HookRequest {
            hook: hook.to_owned(),
            call,
        }
    }

    #[tokio::test]
    async fn a_call_is_made_once_and_its_answer_kept_while_it_is_asked_for() {
        let (started, poke) = (AtomicUsize::new(0), Arc::<Poke>::default());
        let start = |_: &HookRequest| {
            started.fetch_add(1, Ordering::Relaxed);
            Some(Asking::start(&poke, async { HookOutcome::Passed }))
        };
        let mut calls = Calls::default();
        let asked = [request("a", 1), request("b", 1)];
        calls.ask(&asked, start);
        while calls.answers().len() < 2 {
            tokio::task::yield_now().await;
            calls.collect();
            calls.ask(&asked, start);
        }
        assert_eq!(started.load(Ordering::Relaxed), 2);
        calls.ask(&[request("a", 2)], start);
        assert!(calls.answers().is_empty());
        assert_eq!(started.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_call_that_nobody_asks_for_any_more_is_broken_off() {
        struct Ends(Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for Ends {
            fn drop(&mut self) {
                if let Some(ended) = self.0.take() {
                    let _ = ended.send(());
                }
            }
        }
        let mut calls = Calls::default();
        let poke = Arc::<Poke>::default();
        let (sender, ended) = tokio::sync::oneshot::channel();
        let sender = std::cell::RefCell::new(Some(Ends(Some(sender))));
        calls.ask(&[request("a", 1)], |_| {
            let held = sender.borrow_mut().take();
            Some(Asking::start(&poke, async move {
                let _held = held;
                std::future::pending().await
            }))
        });
        calls.ask(&[], |_| None);
        ended.await.expect("the call is dropped");
    }
}
