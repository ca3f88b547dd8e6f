//! Hooks: when each is called, and what its answer does.

use bellwether_api::{
    command::{AbortCause, Verb},
    hooks::Hook,
    rollout::{AnalysisFailure, RolloutSpec},
    status::{FailureReason, Phase, Severity, Verdict},
};
use serde_json::{Value, json};

use super::{
    super::{RunState, Stage, StepPart},
    model::{Cluster, abort, failure, in_step, manual, plan, plan_of},
};

fn hook(kind: &str, name: &str) -> Value {
    json!({"type": kind, "name": name, "url": "http://tester/"})
}

/// Every kind, by these names.
pub(super) fn one_of_each() -> Vec<Hook> {
    let all = json!([
        hook("ConfirmRollout", "confirm"),
        hook("PreRollout", "accept"),
        hook("Rollout", "load"),
        hook("ConfirmTrafficIncrease", "rise"),
        hook("ConfirmPromotion", "promote"),
        hook("PostRollout", "done"),
        hook("Rollback", "emergency"),
        hook("Event", "told"),
    ]);
    serde_json::from_value(all).expect("hooks")
}

/// Steps of 10, 20 and 30 % with these hooks, judged by a metric as well.
fn hooked(hooks: Value) -> RolloutSpec {
    let mut spec = plan(json!({"stepWeight": 10, "maxWeight": 30}));
    spec.hooks = serde_json::from_value(hooks).expect("hooks");
    spec
}

fn cluster(kind: &str, status: impl Into<Option<u16>>) -> Cluster {
    let mut cluster = Cluster::new(hooked(json!([hook(kind, "h")])));
    cluster.hooks.insert("h", status.into());
    cluster
}

fn tick_for(cluster: &mut Cluster, seconds: i64) {
    for _ in 0..seconds / 5 {
        cluster.tick(5);
    }
}

/// Ticks until a hook is asked.
fn until_asked(cluster: &mut Cluster) {
    for _ in 0..400 {
        if !cluster.tick(5).hooks.is_empty() {
            return;
        }
    }
    panic!("nothing is asked: {:?}", cluster.state);
}

fn waits_on(cluster: &Cluster) -> Vec<(String, String)> {
    let waits = cluster.last().waiting_on.iter();
    waits
        .filter_map(|wait| Some((wait.reason.clone(), wait.on.clone()?)))
        .collect()
}

/// The events of a reason, with how bad they are.
fn said(cluster: &Cluster, reason: &str) -> Vec<(Severity, String)> {
    let events = cluster.decisions.iter().flat_map(|one| &one.events);
    events
        .filter(|event| event.reason == reason)
        .map(|event| (event.severity, event.message.clone()))
        .collect()
}

#[test]
fn confirm_rollout_keeps_the_canary_from_being_made() {
    let mut cluster = cluster("ConfirmRollout", 403);
    tick_for(&mut cluster, 1_200);
    let last = cluster.last();
    assert_eq!(last.summary.phase, Phase::Waiting);
    assert_eq!((last.overlay.canary, last.overlay.paused), (None, false));
    assert_eq!(
        cluster.state.stage,
        Stage::Initializing,
        "no deadline either"
    );
    assert_eq!(cluster.state.failed_checks, 0);
    let wait = ("HookNotPassed".to_owned(), "hook/h".to_owned());
    assert_eq!(waits_on(&cluster), [wait]);
    let message = "hook h: it answered 403".to_owned();
    assert_eq!(said(&cluster, "HookFailed"), [(Severity::Warn, message)]);
    // Each interval of 20 s, and not more often.
    let calls = cluster.calls_of("h");
    assert!((40..=60).contains(&calls), "{calls}");
    assert!(
        cluster
            .called
            .iter()
            .all(|(_, phase)| *phase == Phase::Waiting)
    );

    cluster.hooks.insert("h", Some(200));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(said(&cluster, "HookPassed").len(), 1);
    assert_eq!(cluster.weights(), [0, 10, 20, 30, 0]);
    assert!(
        cluster.calls_of("h") <= calls + 1,
        "once it passed it is asked no more"
    );
}

#[test]
fn pre_rollout_runs_once_before_the_first_weight() {
    let mut cluster = cluster("PreRollout", 200);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.called, [("h".to_owned(), Phase::Progressing)]);
}

#[test]
fn failing_pre_rollout_counts_until_the_run_goes_back_without_traffic() {
    let mut cluster = cluster("PreRollout", 500);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::FailedChecks);
    assert_eq!(cluster.weights(), [0]);
    assert_eq!(cluster.state.failed_checks, 2);
    assert_eq!(cluster.calls_of("h"), 2);
    let messages: Vec<_> = said(&cluster, "CheckFailed");
    assert_eq!(
        messages[0].1,
        "failed check 1 of 2: hook h: it answered 500"
    );
    assert_eq!(
        said(&cluster, "HookFailed").len(),
        1,
        "once, not at every call"
    );
    let shown = &cluster.state.checks[0];
    assert_eq!(
        (shown.metric.as_str(), shown.verdict),
        ("hook/h", Verdict::Fail)
    );
}

#[test]
fn pre_rollout_that_recovers_goes_on_with_its_failures_kept() {
    let mut cluster = cluster("PreRollout", 500);
    cluster.until(|state| state.failed_checks == 1);
    cluster.hooks.insert("h", Some(202));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.state.failed_checks, 1);
}

#[test]
fn rollout_hooks_come_before_metrics_at_every_check() {
    let mut cluster = cluster("Rollout", 200);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.calls_of("h"), 3, "one a step");
    for decision in &cluster.decisions {
        let both = !decision.hooks.is_empty() && decision.sample.is_some();
        let answered = decision.next.hooks.answers.contains_key("h");
        assert!(
            !both || answered,
            "a metric was measured before the hook answered"
        );
    }
    let metrics: Vec<_> = cluster
        .state
        .checks
        .iter()
        .map(|check| check.metric.as_str())
        .collect();
    assert_eq!(metrics, ["hook/h", "request-success-rate"]);
}

#[test]
fn failing_rollout_hook_holds_the_weight_and_takes_the_run_back() {
    let mut cluster = cluster("Rollout", 200);
    cluster.until(in_step(1));
    cluster.hooks.insert("h", Some(500));
    cluster.until(|state| state.failed_checks == 1);
    assert_eq!(cluster.state.weight.percent(), 20, "held, not lowered");
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::FailedChecks);
    assert_eq!(cluster.weights(), [0, 10, 20, 0]);
    cluster.assert_clean("old");
}

#[test]
fn hook_that_hangs_blocks_neither_an_abort_nor_the_weight() {
    let mut aborted = cluster("Rollout", None);
    aborted.until(in_step(0));
    tick_for(&mut aborted, 60);
    let wait = ("HookCalled".to_owned(), "hook/h".to_owned());
    assert!(
        waits_on(&aborted).contains(&wait),
        "{:?}",
        waits_on(&aborted)
    );
    abort(&mut aborted, AbortCause::Manual);
    aborted.tick(5);
    assert_eq!(aborted.state.weight.percent(), 0);
    aborted.finish();
    aborted.assert_clean("old");

    let mut lost = cluster("Rollout", None);
    lost.until(in_step(0));
    lost.canary_works = false;
    lost.kill_canary();
    lost.tick(5);
    assert_eq!(lost.state.weight.percent(), 0);

    let mut forever = cluster("Rollout", None);
    forever.finish();
    assert_eq!(failure(&forever), FailureReason::DeadlineExceeded);
}

#[test]
fn confirm_traffic_increase_is_asked_before_every_rise() {
    let mut cluster = cluster("ConfirmTrafficIncrease", 403);
    tick_for(&mut cluster, 900);
    assert_eq!(
        (cluster.weights(), cluster.last().summary.phase),
        (vec![0], Phase::Waiting)
    );
    cluster.hooks.insert("h", Some(200));
    cluster.until(in_step(0));
    cluster.hooks.insert("h", Some(403));
    tick_for(&mut cluster, 900);
    assert_eq!(cluster.state.weight.percent(), 10);
    assert_eq!(cluster.last().summary.phase, Phase::Paused);
    assert_eq!(cluster.state.failed_checks, 0);
    let before = cluster.state.check;
    tick_for(&mut cluster, 100);
    assert!(
        cluster.state.check > before,
        "checks go on while the gate is closed"
    );
    cluster.hooks.insert("h", Some(200));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0, 10, 20, 30, 0]);
}

#[test]
fn confirm_promotion_waits_at_the_last_weight_while_checks_go_on() {
    let mut cluster = cluster("ConfirmPromotion", 403);
    tick_for(&mut cluster, 1_500);
    let last = cluster.last();
    assert_eq!(last.summary.phase, Phase::WaitingPromotion);
    assert_eq!(cluster.state.weight.percent(), 30);
    let wait = ("HookNotPassed".to_owned(), "hook/h".to_owned());
    assert_eq!(waits_on(&cluster), [wait]);
    // A metric that fails meanwhile counts.
    cluster.metric = Some(1.0);
    cluster.until(|state| state.failed_checks == 1);
    cluster.metric = Some(100.0);
    cluster.until(|state| {
        matches!(
            state.stage,
            Stage::Step {
                part: StepPart::Gate { .. },
                ..
            }
        )
    });
    cluster.hooks.insert("h", Some(201));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

#[test]
fn a_gate_of_a_human_and_one_of_a_hook_both_open() {
    let mut spec = plan(manual(&[10]));
    spec.hooks = serde_json::from_value(json!([hook("ConfirmPromotion", "h")])).expect("hooks");
    let mut cluster = Cluster::new(spec);
    cluster.hooks.insert("h", Some(403));
    let at_gate = |state: &RunState| {
        matches!(
            state.stage,
            Stage::Step {
                part: StepPart::Gate { .. },
                ..
            }
        )
    };
    cluster.until(at_gate);
    tick_for(&mut cluster, 60);
    assert_eq!(cluster.calls_of("h"), 0, "the human comes first");
    cluster.queue(1, Verb::Approve, None);
    tick_for(&mut cluster, 60);
    assert!(at_gate(&cluster.state) && cluster.calls_of("h") > 0);
    cluster.queue(2, Verb::Approve, None);
    cluster.tick(5);
    assert!(
        said(&cluster, "CommandStale")[0]
            .1
            .contains("waits for a hook")
    );
    cluster.hooks.insert("h", Some(200));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.state.verdicts[0].by, "ann");
}

#[test]
fn promote_and_skip_go_on_without_the_hooks() {
    let mut cluster = cluster("ConfirmPromotion", 403);
    cluster.until(|state| {
        matches!(
            state.stage,
            Stage::Step {
                index: 2,
                part: StepPart::Gate { .. }
            }
        )
    });
    cluster.queue(1, Verb::Skip, None);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.state.verdicts[2].verdict, Verdict::Overridden);
}

#[test]
fn rollback_hook_takes_the_run_back_from_every_phase() {
    let gates = json!([
        hook("ConfirmRollout", "confirm"),
        hook("ConfirmPromotion", "promote"),
        hook("Rollback", "h")
    ]);
    for (confirm, promote, phase) in [
        (403, 403, Phase::Waiting),
        (200, 200, Phase::Progressing),
        (200, 403, Phase::WaitingPromotion),
    ] {
        let mut cluster = Cluster::new(hooked(gates.clone()));
        cluster.hooks = [
            ("confirm", Some(confirm)),
            ("promote", Some(promote)),
            ("h", Some(403)),
        ]
        .into();
        for _ in 0..400 {
            if cluster.tick(5).summary.phase == phase {
                break;
            }
        }
        assert_eq!(cluster.last().summary.phase, phase);
        cluster.hooks.insert("h", Some(200));
        tick_for(&mut cluster, 30);
        assert_eq!(failure(&cluster), FailureReason::HookRollback, "{phase:?}");
        assert_eq!(cluster.state.weight.percent(), 0);
        cluster.finish();
        cluster.assert_clean("old");
    }
}

#[test]
fn rollback_hook_that_says_no_or_hangs_changes_nothing() {
    for status in [Some(403), None] {
        let mut cluster = cluster("Rollback", status);
        assert_eq!(cluster.finish(), &Stage::Succeeded);
        assert_eq!(cluster.weights(), [0, 10, 20, 30, 0]);
        assert!(said(&cluster, "HookFailed").len() <= 1);
    }
}

#[test]
fn hooks_after_the_end_are_called_once_by_how_it_ended() {
    let mut hooks: Vec<Value> = vec![hook("PostRollout", "always")];
    for (name, when) in [("good", "Succeeded"), ("bad", "Failed")] {
        let mut one = hook("PostRollout", name);
        one["when"] = when.into();
        hooks.push(one);
    }
    for (metric, called, phase) in [
        (100.0, ["always", "good"], Phase::Succeeded),
        (1.0, ["always", "bad"], Phase::Failed),
    ] {
        let mut cluster = Cluster::new(hooked(json!(hooks)));
        cluster.metric = Some(metric);
        cluster.finish();
        cluster.restart();
        tick_for(&mut cluster, 30);
        let expected = called.map(|name| (name.to_owned(), phase));
        assert_eq!(cluster.called, expected);
    }
}

/// The decision that ends a run names whoever is told of it, and is saved first.
#[test]
fn whoever_dies_before_telling_of_the_end_tells_nobody() {
    let mut cluster = Cluster::new(hooked(json!([hook("PostRollout", "always")])));
    for _ in 0..2_000 {
        let seen = cluster.observe();
        let decision = super::super::decide(cluster.now, &cluster.grant, &cluster.state, &seen);
        if decision.next.is_terminal() {
            assert_eq!(decision.after, ["always"]);
            cluster.state = decision.next;
            cluster.restart();
            tick_for(&mut cluster, 30);
            assert!(cluster.called.is_empty(), "{:?}", cluster.called);
            return;
        }
        cluster.tick(5);
    }
    panic!("it never ended");
}

#[test]
fn suspended_runs_ignore_hooks() {
    for kind in ["ConfirmRollout", "PreRollout", "Rollout", "Rollback"] {
        let mut cluster = cluster(kind, None);
        until_asked(&mut cluster);
        cluster.grant.command.suspend = true;
        let status = if kind == "Rollback" { 200 } else { 500 };
        cluster.hooks.insert("h", Some(status));
        let before = cluster.called.len();
        tick_for(&mut cluster, 120);
        assert_eq!(cluster.called.len(), before, "{kind}");
        assert_eq!(cluster.state.failed_checks, 0, "{kind}");
        assert!(cluster.last().hooks.is_empty(), "{kind}");
        assert_eq!(cluster.last().summary.phase, Phase::Suspended);
    }
}

#[test]
fn an_agent_that_dies_between_question_and_answer_asks_again() {
    for kind in [
        "ConfirmRollout",
        "PreRollout",
        "Rollout",
        "ConfirmTrafficIncrease",
        "ConfirmPromotion",
    ] {
        let mut cluster = cluster(kind, None);
        until_asked(&mut cluster);
        let asked = cluster.last().hooks.clone();
        cluster.restart();
        cluster.tick(5);
        assert_eq!(cluster.last().hooks, asked, "{kind}: the same question");
        assert_eq!(cluster.calls_of("h"), 2, "{kind}");
        cluster.hooks.insert("h", Some(200));
        assert_eq!(cluster.finish(), &Stage::Succeeded, "{kind}");
        assert_eq!(cluster.state.failed_checks, 0, "{kind}");
    }
}

#[test]
fn answers_to_other_questions_say_nothing() {
    let mut cluster = cluster("Rollout", None);
    cluster.until(in_step(0));
    tick_for(&mut cluster, 40);
    let request = cluster.last().hooks[0].clone();
    let stale = super::super::HookAnswer {
        hook: request.hook,
        call: request.call - 1,
        outcome: crate::hooks::HookOutcome::Passed,
    };
    let mut seen = cluster.observe();
    seen.hooks = vec![stale];
    let decision = super::super::decide(cluster.now, &cluster.grant, &cluster.state, &seen);
    assert_eq!(decision.next.check, cluster.state.check);
}

#[test]
fn all_hooks_of_a_kind_must_pass() {
    let mut cluster = Cluster::new(hooked(json!([
        hook("ConfirmPromotion", "a"),
        hook("ConfirmPromotion", "b")
    ])));
    cluster.hooks = [("a", Some(200)), ("b", Some(403))].into();
    tick_for(&mut cluster, 1_000);
    assert_eq!(
        waits_on(&cluster),
        [("HookNotPassed".to_owned(), "hook/b".to_owned())]
    );
    cluster.hooks.insert("b", Some(200));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

#[test]
fn hooks_alone_are_configured() {
    for (hooks, verdict) in [
        (json!([hook("Rollout", "h")]), Verdict::Pass),
        (json!([hook("PreRollout", "h")]), Verdict::Pass),
        (json!([{"name": "load"}]), Verdict::NothingConfigured),
        (
            json!([hook("PostRollout", "h"), hook("Event", "e")]),
            Verdict::NothingConfigured,
        ),
    ] {
        let mut spec = hooked(hooks);
        spec.analysis.metrics.clear();
        let mut cluster = Cluster::new(spec);
        assert_eq!(cluster.finish(), &Stage::Succeeded);
        assert_eq!(cluster.state.verdicts[0].verdict, verdict);
        assert_eq!(
            said(&cluster, "NothingConfigured").is_empty(),
            verdict == Verdict::Pass
        );
    }
}

#[test]
fn muted_hooks_alarm_nobody() {
    let mut one = hook("ConfirmRollout", "h");
    one["muteAlert"] = true.into();
    let mut cluster = Cluster::new(hooked(json!([one])));
    cluster.hooks.insert("h", Some(403));
    tick_for(&mut cluster, 60);
    assert_eq!(said(&cluster, "HookFailed")[0].0, Severity::Info);
}

#[test]
fn failing_hook_pauses_the_run_where_the_plan_says_so() {
    let mut spec = hooked(json!([hook("Rollout", "h")]));
    spec.analysis.on_failure = AnalysisFailure::Pause;
    let mut cluster = Cluster::new(spec);
    cluster.hooks.insert("h", Some(500));
    cluster.until(|state| {
        matches!(
            state.stage,
            Stage::Step {
                part: StepPart::Held { .. },
                ..
            }
        )
    });
    assert_eq!(cluster.state.weight.percent(), 10);
}

#[test]
fn every_strategy_asks_before_it_gives_traffic() {
    let matches = json!([{"headers": [{"name": "x-employee", "exact": "true"}]}]);
    for strategy in [
        json!({"abTest": {"iterations": 2, "match": matches}}),
        json!({"blueGreen": {"iterations": 2}}),
        json!({"blueGreen": {"iterations": 2, "analysisTraffic": "None", "standby": "30s"}}),
    ] {
        let mut spec = plan_of(strategy.clone());
        spec.hooks = one_of_each();
        let mut cluster = Cluster::new(spec);
        cluster.hooks = [("rise", Some(403)), ("emergency", Some(403))].into();
        tick_for(&mut cluster, 600);
        assert!(cluster.state.split().is_none(), "{strategy}");
        cluster.hooks.insert("rise", Some(200));
        assert_eq!(cluster.finish(), &Stage::Succeeded, "{strategy}");
        assert_eq!(cluster.calls_of("done"), 1, "{strategy}");
    }
}
