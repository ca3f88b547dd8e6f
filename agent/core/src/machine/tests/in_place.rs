//! Updates in place: batches, their gates, and every way back.

use bellwether_api::{
    command::Verb,
    number::IntOrPercent,
    status::{FailureReason, Phase, Verdict},
};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use serde_json::json;

use super::{
    super::Stage,
    in_place_model::{Crash, Workload, abort, at_gate},
};
use crate::settled::TemplateVersion::{New, Old};

fn failure(workload: &Workload) -> FailureReason {
    match &workload.state.stage {
        Stage::RollingBack { failure, .. } | Stage::Failed { failure } => failure.reason,
        other => panic!("no failure: {other:?}"),
    }
}

#[test]
fn each_step_updates_its_pods_from_the_last_and_waits_for_a_human() {
    let steps = json!([{"replicas": 4}, {"replicas": "50%"}, {"replicas": "100%"}]);
    let mut workload = Workload::new(&steps, 12);
    for (index, new) in [(0, 4), (1, 6), (2, 12)] {
        workload.until(at_gate(index));
        for _ in 0..20 {
            workload.tick(60);
        }
        assert_eq!(workload.count(New), new, "step {index}");
        assert!(workload.new_pods().is_sorted(), "from the last on");
        let summary = &workload.decisions.last().expect("a decision").summary;
        assert_eq!((summary.canary.ready, summary.canary.desired), (new, new));
        assert_eq!(
            (summary.stable.ready, summary.stable.desired),
            (12 - new, 12 - new)
        );
        let phase = if index == 2 {
            Phase::WaitingPromotion
        } else {
            Phase::Paused
        };
        assert_eq!(summary.phase, phase);
        workload.queue(u64::from(index) + 1, Verb::Approve);
    }
    assert_eq!(workload.finish(), &Stage::Succeeded);
    workload.assert_clean(New);
    assert!(
        workload
            .state
            .verdicts
            .iter()
            .all(|one| one.verdict == Verdict::Pass)
    );
}

#[test]
fn the_last_step_need_not_be_everything() {
    let mut workload = Workload::new(&json!([{"replicas": 1, "advance": "Auto"}]), 3);
    assert_eq!(workload.finish(), &Stage::Succeeded);
    workload.assert_clean(New);
}

#[test]
fn an_abort_takes_only_the_new_pods_back() {
    let steps = json!([{"replicas": 2, "advance": "Auto"}, {"replicas": 4}, {"replicas": 6}]);
    let mut workload = Workload::new(&steps, 6);
    workload.until(at_gate(1));
    abort(&mut workload);
    let mut before = workload.count(New);
    while !workload.state.is_terminal() {
        workload.tick(5);
        let now = workload.count(New);
        assert!(now <= before, "nothing more becomes new");
        before = now;
    }
    assert_eq!(failure(&workload), FailureReason::Manual);
    workload.assert_clean(Old);
}

#[test]
fn a_batch_that_never_becomes_ready_goes_back_at_the_deadline() {
    let mut workload = Workload::new(&json!([{"replicas": 2}, {"replicas": "100%"}]), 4);
    workload.new_works = false;
    workload.until(|state| matches!(state.stage, Stage::RollingBack { .. }));
    assert_eq!(failure(&workload), FailureReason::DeadlineExceeded);
    assert_eq!(workload.count(New), 1, "the controller waits for the first");
    workload.finish();
    workload.assert_clean(Old);
}

#[test]
fn nobody_passes_a_batch_that_is_not_ready() {
    for verb in [Verb::Skip, Verb::Promote] {
        let mut workload = Workload::new(&json!([{"replicas": 1}, {"replicas": 3}]), 5);
        workload.new_works = false;
        workload.until(|state| matches!(state.stage, Stage::Step { .. }));
        workload.queue(1, verb);
        for _ in 0..20 {
            workload.tick(5);
        }
        assert_eq!(workload.count(New), 1, "{verb:?}");
        workload.new_works = true;
        workload.until(|state| state.in_place.as_ref().is_some_and(|run| run.granted >= 3));
    }
}

#[test]
fn a_threshold_lets_a_batch_count_before_its_last_pod_is_ready() {
    let mut workload = Workload::new(&json!([{"replicas": 4}, {"replicas": 5}]), 5);
    workload.grant.plan.instances.ready_threshold = Some(IntOrPercent::Percent(75));
    workload.until(at_gate(0));
    workload.new_works = false;
    workload.kill(4);
    workload.queue(1, Verb::Approve);
    workload.tick(5);
    let granted = |workload: &Workload| workload.state.in_place.as_ref().map(|run| run.granted);
    assert_eq!(granted(&workload), Some(5), "three of four are enough");

    let mut workload = Workload::new(&json!([{"replicas": 4}, {"replicas": 5}]), 5);
    workload.grant.plan.instances.ready_threshold = Some(IntOrPercent::Percent(76));
    workload.until(at_gate(0));
    workload.new_works = false;
    workload.kill(4);
    workload.queue(1, Verb::Approve);
    workload.tick(5);
    assert_eq!(granted(&workload), Some(4));
}

#[test]
fn failed_checks_take_a_batch_back() {
    let mut workload = Workload::new(&json!([{"replicas": 2}, {"replicas": 4}]), 4);
    workload.metric = Some(3.0);
    workload.finish();
    assert_eq!(failure(&workload), FailureReason::FailedChecks);
    workload.assert_clean(Old);
}

#[test]
fn no_data_passes_no_batch() {
    let mut workload = Workload::new(
        &json!([{"replicas": 2, "advance": "Auto"}, {"replicas": 4}]),
        4,
    );
    workload.metric = None;
    workload.until(|state| matches!(state.stage, Stage::RollingBack { .. }));
    assert_eq!(failure(&workload), FailureReason::DeadlineExceeded);
    let granted = workload.state.in_place.as_ref().map(|run| run.granted);
    assert_eq!(granted, Some(2));
}

#[test]
fn a_suspended_run_grants_nothing_more() {
    let steps = json!([{"replicas": 1, "advance": "Auto"}, {"replicas": 4, "advance": "Auto"}]);
    let mut workload = Workload::new(&steps, 4);
    workload.until(|state| matches!(state.stage, Stage::Step { .. }));
    workload.grant.command.suspend = true;
    for _ in 0..200 {
        workload.tick(60);
    }
    assert_eq!(workload.count(New), 1);
    workload.grant.command.suspend = false;
    assert_eq!(workload.finish(), &Stage::Succeeded);
}

#[test]
fn skipped_analysis_updates_every_pod() {
    let mut workload = Workload::new(&json!([{"replicas": 1}]), 3);
    workload.grant.plan.analysis.skip = true;
    assert_eq!(workload.finish(), &Stage::Succeeded);
    workload.assert_clean(New);
}

#[derive(Clone, Debug)]
enum Event {
    Tick(i64),
    Crash(Crash),
    Metric(Option<f64>),
    NewWorks(bool),
    Kill(usize),
    Suspend(bool),
    Edited(bool),
    Say(Verb),
    Abort,
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => (1i64..40).prop_map(Event::Tick),
        6 => prop_oneof![Just(Crash::BeforeSave), Just(Crash::AfterSave)].prop_map(Event::Crash),
        2 => prop_oneof![Just(None), Just(Some(100.0)), Just(Some(100.0)), Just(Some(1.0))]
            .prop_map(Event::Metric),
        1 => any::<bool>().prop_map(Event::NewWorks),
        1 => (0usize..9).prop_map(Event::Kill),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => any::<bool>().prop_map(Event::Edited),
        3 => prop_oneof![Just(Verb::Approve), Just(Verb::Skip), Just(Verb::Promote)]
            .prop_map(Event::Say),
        1 => Just(Event::Abort),
    ]
}

fn apply(workload: &mut Workload, event: &Event, id: u64) {
    match event {
        Event::Tick(seconds) => workload.tick(*seconds),
        Event::Crash(crash) => {
            workload.crash = Some(*crash);
            workload.tick(1);
        }
        Event::Metric(metric) => workload.metric = *metric,
        Event::NewWorks(works) => workload.new_works = *works,
        Event::Kill(pod) => workload.kill(*pod),
        Event::Suspend(suspend) => workload.grant.command.suspend = *suspend,
        Event::Edited(edited) => {
            workload.extra.foreign_edits = if *edited {
                vec!["StatefulSet/web: changed by somebody else".into()]
            } else {
                Vec::new()
            };
        }
        Event::Say(verb) => workload.queue(id, *verb),
        Event::Abort => abort(workload),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The model and its checks hold every decision to the rules.
    #[test]
    fn whatever_happens_a_batch_keeps_the_rules_and_ends(
        history in prop::collection::vec(events(), 1..120),
        first in 1u32..9,
        advance in prop_oneof![Just("Auto"), Just("Manual")],
    ) {
        let steps = json!([
            {"replicas": first, "advance": advance}, {"replicas": "50%", "advance": advance},
            {"replicas": "100%", "advance": "Auto"},
        ]);
        let mut workload = Workload::new(&steps, 7);
        for (id, event) in (1u64..).zip(&history) {
            apply(&mut workload, event, id);
        }
        workload.metric = Some(100.0);
        workload.new_works = true;
        workload.grant.command.suspend = false;
        workload.extra.foreign_edits.clear();
        for id in 1_000..1_010 {
            if workload.state.is_terminal() {
                break;
            }
            for _ in 0..60 {
                workload.tick(20);
            }
            workload.queue(id, Verb::Approve);
        }
        workload.finish();
        let version = if workload.state.stage == Stage::Succeeded { New } else { Old };
        workload.assert_clean(version);
    }
}

#[test]
fn configuration_that_another_rollout_tests_is_not_changed_in_place() {
    let mut workload = Workload::new(&json!([{"replicas": 1}, {"replicas": 4}]), 4);
    workload.extra.config_held_by = vec!["shop-web".into()];
    workload.finish();
    assert_eq!(failure(&workload), FailureReason::Refused);
    assert_eq!(workload.count(New), 0);
}
