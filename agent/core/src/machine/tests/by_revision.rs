//! Workloads that keep revisions: shares between them, and every way back.

use bellwether_api::{command::Verb, number::Weight, status::FailureReason};
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use serde_json::json;

use super::{
    super::{RunState, Stage, StepPart},
    by_revision_model::{Workload, name},
};
use crate::settled::TemplateVersion::{New, Old};

fn failure(workload: &Workload) -> FailureReason {
    match &workload.state.stage {
        Stage::RollingBack { failure, .. } | Stage::Failed { failure } => failure.reason,
        other => panic!("no failure: {other:?}"),
    }
}

fn at_gate(state: &RunState) -> bool {
    matches!(
        &state.stage,
        Stage::Step {
            part: StepPart::Gate { .. },
            ..
        }
    )
}

#[test]
fn shares_rise_step_by_step_and_the_end_is_the_users() {
    let mut workload = Workload::new(&json!({"weights": [10, 40]}));
    let mut shares = vec![0];
    while !workload.state.is_terminal() {
        workload.tick(5);
        shares.push(workload.share());
    }
    shares.dedup();
    assert_eq!(shares, [0, 10, 40, 100]);
    assert_eq!(workload.state.stage, Stage::Succeeded);
    workload.assert_clean(New);
    assert_eq!(workload.revisions, [Old, New], "one revision was made");
}

#[test]
fn no_request_comes_to_a_revision_before_it_is_ready() {
    let mut workload = Workload::new(&json!({"weights": [50]}));
    workload.new_works = false;
    for _ in 0..20 {
        workload.tick(5);
        assert_eq!(workload.share(), 0);
    }
    let waits = &workload.decisions.last().expect("a decision").waiting_on;
    assert!(waits[0].message.contains("it crashes"), "{waits:?}");
    workload.new_works = true;
    assert_eq!(workload.finish(), &Stage::Succeeded);
}

#[test]
fn a_revision_that_never_becomes_ready_goes_back_at_the_deadline() {
    let mut workload = Workload::new(&json!({"weights": [50]}));
    workload.new_works = false;
    workload.finish();
    assert_eq!(failure(&workload), FailureReason::DeadlineExceeded);
    workload.assert_clean(Old);
}

#[test]
fn failed_checks_give_every_request_back_before_the_template_returns() {
    let mut workload = Workload::new(&json!({"weights": [20, 60]}));
    workload.until(|state| state.weight == Weight::clamped(60));
    workload.metric = Some(50.0);
    workload.until(|state| matches!(state.stage, Stage::RollingBack { .. }));
    while workload.share() > 0 {
        assert_eq!(workload.template, New);
        workload.tick(1);
    }
    workload.finish();
    assert_eq!(failure(&workload), FailureReason::FailedChecks);
    workload.assert_clean(Old);
    assert_eq!(workload.revisions, [Old, New, Old]);
}

#[test]
fn the_old_revision_serves_until_one_of_the_old_template_can() {
    let mut workload = Workload::new(&json!({"weights": [20], "advance": "Manual"}));
    workload.until(at_gate);
    workload.old_works = false;
    workload.abort();
    for _ in 0..200 {
        workload.tick(5);
    }
    assert!(
        !workload.state.is_terminal(),
        "the newest revision would be the new version's"
    );
    assert_eq!(workload.in_force, [(name(1), 100)]);
    workload.old_works = true;
    workload.finish();
    workload.assert_clean(Old);
}

#[test]
fn an_abort_while_promoting_gives_every_request_back() {
    let mut workload = Workload::new(&json!({"weights": [20]}));
    workload.until(|state| matches!(state.stage, Stage::Promoting { .. }));
    workload.abort();
    workload.finish();
    assert_eq!(failure(&workload), FailureReason::Manual);
    workload.assert_clean(Old);
}

#[test]
fn an_abort_before_anything_was_shared_takes_no_detour() {
    let mut workload = Workload::new(&json!({"weights": [20]}));
    workload.until(|state| matches!(state.stage, Stage::Step { .. }));
    workload.abort();
    workload.finish();
    assert!(
        workload
            .decisions
            .iter()
            .all(|one| one.next.weight == Weight::ZERO)
    );
    workload.assert_clean(Old);
}

#[test]
fn a_revision_that_breaks_under_traffic_loses_it_at_once() {
    let mut workload = Workload::new(&json!({"weights": [30], "advance": "Manual"}));
    workload.until(at_gate);
    assert_eq!(workload.share(), 30);
    workload.new_works = false;
    workload.tick(1);
    workload.tick(1);
    assert_eq!(workload.share(), 0);
}

#[test]
fn blue_green_switches_at_once_and_weights_are_set_by_hand() {
    let mut workload = Workload::of(&json!({"blueGreen": {"iterations": 2}}));
    let mut shares = vec![0];
    while !workload.state.is_terminal() {
        workload.tick(5);
        shares.push(workload.share());
    }
    shares.dedup();
    assert_eq!(shares, [0, 100]);
    workload.assert_clean(New);

    let mut workload = Workload::new(&json!({"manual": {"weight": 5}}));
    workload.until(at_gate);
    assert_eq!(workload.share(), 5);
    let set = |weight, replicas: Option<u32>| {
        let manual = json!({"weight": weight, "replicas": replicas});
        Some(serde_json::from_value(manual).expect("a weight"))
    };
    workload.queue(1, Verb::SetWeight, set(35, None));
    workload.tick(5);
    workload.until(at_gate);
    assert_eq!(workload.share(), 35);
    workload.queue(2, Verb::SetWeight, set(50, Some(2)));
    workload.tick(5);
    workload.tick(5);
    assert_eq!(workload.share(), 35, "pods are nobody's to set");
    workload.queue(3, Verb::Promote, None);
    assert_eq!(workload.finish(), &Stage::Succeeded);
    workload.assert_clean(New);
}

#[test]
fn what_revisions_cannot_do_is_refused() {
    let matched = json!({"weights": [20], "match": [{"headers": [{"name": "a", "exact": "b"}]}]});
    let mut workload = Workload::new(&matched);
    workload.finish();
    assert_eq!(failure(&workload), FailureReason::Refused);
    assert_eq!(workload.revisions, [Old]);
}

#[derive(Clone, Copy, Debug)]
enum Disturbance {
    Crash,
    Abort,
    NewBreaks,
    NewWorks,
    OldBreaks,
    OldWorks,
    BadMetric,
    NoMetric,
    Approve,
    Promote,
}

fn disturbances() -> impl Strategy<Value = Vec<(u8, Disturbance)>> {
    use Disturbance::*;
    let one = prop_oneof![
        Just(Crash),
        Just(Abort),
        Just(NewBreaks),
        Just(NewWorks),
        Just(OldBreaks),
        Just(OldWorks),
        Just(BadMetric),
        Just(NoMetric),
        Just(Approve),
        Just(Promote),
    ];
    proptest::collection::vec((0_u8..40, one), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever happens, no more requests come to the new version than the run has decided on, an
    /// end is the user's own, and every run ends once nothing is broken any more.
    #[test]
    fn every_history_ends_as_the_user_wrote(history in disturbances()) {
        let mut workload = Workload::new(&json!({"steps": [
            {"weight": 10, "advance": "Auto"}, {"weight": 50}, {"weight": 80, "advance": "Auto"},
        ]}));
        let mut most = 0;
        let mut check = |workload: &mut Workload| {
            workload.tick(3);
            let promoted = workload
                .decisions
                .iter()
                .any(|one| matches!(one.next.stage, Stage::Promoting { .. }));
            most = most.max(workload.state.weight.percent());
            assert!(promoted || workload.share() <= most, "{:?}", workload.state);
        };
        for (index, (ticks, disturbance)) in history.into_iter().enumerate() {
            for _ in 0..ticks {
                check(&mut workload);
            }
            let id = index as u64 + 1;
            match disturbance {
                Disturbance::Crash => workload.crash = true,
                Disturbance::Abort => workload.abort(),
                Disturbance::NewBreaks => workload.new_works = false,
                Disturbance::NewWorks => workload.new_works = true,
                Disturbance::OldBreaks => workload.old_works = false,
                Disturbance::OldWorks => workload.old_works = true,
                Disturbance::BadMetric => workload.metric = Some(1.0),
                Disturbance::NoMetric => workload.metric = None,
                Disturbance::Approve => workload.queue(id, Verb::Approve, None),
                Disturbance::Promote => workload.queue(id, Verb::Promote, None),
            }
        }
        workload.old_works = true;
        workload.abort();
        workload.finish();
        let version = if workload.state.stage == Stage::Succeeded { New } else { Old };
        workload.new_works |= version == New;
        workload.assert_clean(version);
    }
}
