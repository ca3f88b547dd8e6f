//! What the answer of a hook means.

use bellwether_api::hooks::{Hook, HookKind, HookWhen};
use serde::{Deserialize, Serialize};

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum HookOutcome {
    /// It was answered 200, 201 or 202.
    Passed,
    /// It was not, and why.
    Failed {
        /// For people, such as `it answered 403`.
        why: String,
    },
}

/// What is to become of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It goes on.
    GoOn,
    /// It stays where it is and asks again; nothing counts as failed.
    Wait {
        /// What is waited for.
        why: String,
    },
    /// A check has failed.
    CountFailure {
        /// Why.
        why: String,
    },
    /// It goes back.
    RollBack,
    /// It goes on; a failure is noted.
    Note {
        /// What failed.
        why: String,
    },
}

/// Judges an answer; `None` = there was none, and `why` says so. Redirects are not followed: their
/// statuses are no pass.
#[must_use]
pub fn outcome(status: Option<u16>, why: &str) -> HookOutcome {
    match status {
        Some(200..=202) => HookOutcome::Passed,
        Some(status @ 300..=399) => HookOutcome::Failed {
            why: format!("it answered {status}, and redirects are not followed"),
        },
        Some(status) => HookOutcome::Failed {
            why: format!("it answered {status}"),
        },
        None => HookOutcome::Failed {
            why: why.to_owned(),
        },
    }
}

/// Says what a hook's answer does to the run.
#[must_use]
pub fn effect(hook: &Hook, outcome: &HookOutcome) -> Effect {
    let why = match outcome {
        HookOutcome::Passed if hook.kind == HookKind::Rollback => return Effect::RollBack,
        HookOutcome::Passed => return Effect::GoOn,
        HookOutcome::Failed { why } => format!("hook {}: {why}", hook.name),
    };
    match hook.kind {
        HookKind::ConfirmRollout
        | HookKind::ConfirmTrafficIncrease
        | HookKind::ConfirmPromotion => Effect::Wait { why },
        HookKind::PreRollout | HookKind::Rollout => Effect::CountFailure { why },
        // Nobody asks for a rollback: that is how it is most of the time.
        HookKind::Rollback => Effect::GoOn,
        HookKind::PostRollout | HookKind::Event => Effect::Note { why },
    }
}

/// Lists the hooks of a kind that are to be called, in the plan's order. `succeeded` is how the run
/// ended; it matters to PostRollout alone.
pub fn due(hooks: &[Hook], kind: HookKind, succeeded: bool) -> impl Iterator<Item = &Hook> {
    hooks.iter().filter(move |hook| {
        let wanted = match hook.when {
            HookWhen::Always => true,
            HookWhen::Succeeded => succeeded,
            HookWhen::Failed => !succeeded,
        };
        hook.kind == kind && (wanted || kind != HookKind::PostRollout)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(kind: HookKind, name: &str, when: HookWhen) -> Hook {
        Hook {
            kind,
            when,
            ..serde_json::from_value(serde_json::json!({"name": name, "url": "http://tester"}))
                .expect("a hook")
        }
    }

    #[test]
    fn three_statuses_pass_and_nothing_else() {
        for status in [200, 201, 202] {
            assert_eq!(outcome(Some(status), ""), HookOutcome::Passed);
        }
        for status in [100, 203, 204, 301, 302, 400, 403, 404, 500, 503] {
            let HookOutcome::Failed { why } = outcome(Some(status), "") else {
                panic!("{status} passed");
            };
            assert!(why.contains(&status.to_string()), "{why}");
            assert_eq!(why.contains("redirects"), (300..400).contains(&status));
        }
        assert_eq!(
            outcome(None, "no answer in 10s"),
            HookOutcome::Failed {
                why: "no answer in 10s".into()
            }
        );
    }

    #[test]
    fn each_kind_takes_its_answer_in_its_own_way() {
        use HookKind::{
            ConfirmPromotion, ConfirmRollout, ConfirmTrafficIncrease, Event, PostRollout,
            PreRollout, Rollback, Rollout,
        };
        let failed = outcome(Some(500), "");
        let why = || "hook h: it answered 500".to_owned();
        let cases = [
            (ConfirmRollout, Effect::GoOn, Effect::Wait { why: why() }),
            (
                PreRollout,
                Effect::GoOn,
                Effect::CountFailure { why: why() },
            ),
            (Rollout, Effect::GoOn, Effect::CountFailure { why: why() }),
            (
                ConfirmTrafficIncrease,
                Effect::GoOn,
                Effect::Wait { why: why() },
            ),
            (ConfirmPromotion, Effect::GoOn, Effect::Wait { why: why() }),
            (PostRollout, Effect::GoOn, Effect::Note { why: why() }),
            (Rollback, Effect::RollBack, Effect::GoOn),
            (Event, Effect::GoOn, Effect::Note { why: why() }),
        ];
        for (kind, on_pass, on_failure) in cases {
            let hook = hook(kind, "h", HookWhen::Always);
            assert_eq!(effect(&hook, &HookOutcome::Passed), on_pass, "{kind:?}");
            assert_eq!(effect(&hook, &failed), on_failure, "{kind:?}");
        }
    }

    #[test]
    fn hooks_after_the_run_choose_its_end() {
        let hooks = [
            hook(HookKind::PostRollout, "always", HookWhen::Always),
            hook(HookKind::PostRollout, "good", HookWhen::Succeeded),
            hook(HookKind::PostRollout, "bad", HookWhen::Failed),
            hook(HookKind::Rollout, "check", HookWhen::Always),
        ];
        let names = |kind, succeeded| -> Vec<&str> {
            due(&hooks, kind, succeeded)
                .map(|hook| hook.name.as_str())
                .collect()
        };
        assert_eq!(names(HookKind::PostRollout, true), ["always", "good"]);
        assert_eq!(names(HookKind::PostRollout, false), ["always", "bad"]);
        assert_eq!(names(HookKind::Rollout, false), ["check"]);
        assert!(names(HookKind::Rollback, true).is_empty());
    }
}
