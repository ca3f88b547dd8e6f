//! Batches of workloads that an autoscaler sizes while they are under way.

use bellwether_api::{
    command::Verb,
    rollout::{Autoscaler, AutoscalerKind},
    status::FailureReason,
};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Value, json};

use super::{
    super::{Overlay, Stage},
    in_place_model::{Crash, Workload, abort, at_gate},
};
use crate::{
    autoscaling::AutoscalerView,
    settled::TemplateVersion::{New, Old},
};

fn scaler(name: &str) -> AutoscalerView {
    AutoscalerView {
        kind: "HorizontalPodAutoscaler".into(),
        name: name.into(),
        min: 1,
        max: 40,
    }
}

fn scaled(mut workload: Workload) -> Workload {
    workload.extra.autoscalers = vec![scaler("web")];
    workload
}

fn both(steps: &Value, replicas: usize) -> [Workload; 2] {
    [
        scaled(Workload::new(steps, replicas)),
        scaled(Workload::of_clones(steps, replicas)),
    ]
}

fn ticks(workload: &mut Workload, count: usize) {
    for _ in 0..count {
        workload.tick(5);
    }
}

/// The reason for which a run has failed.
fn refused(workload: &mut Workload) -> String {
    workload.finish();
    assert_eq!(workload.count(New), 0);
    match &workload.state.stage {
        Stage::Failed { failure } => {
            assert_eq!(failure.reason, FailureReason::Refused);
            failure.message.clone()
        }
        other => panic!("it was not refused: {other:?}"),
    }
}

/// What a run writes never names a size.
fn assert_no_size(workload: &Workload) {
    for decision in &workload.decisions {
        let overlay = Overlay::of(&decision.next);
        assert_eq!((overlay.replicas, overlay.least_replicas), (None, None));
    }
}

#[test]
fn shares_are_of_the_pods_that_the_autoscaler_gives() {
    let steps = json!([{"replicas": "20%"}, {"replicas": "50%"}, {"replicas": "100%"}]);
    for mut workload in both(&steps, 10) {
        let kind = workload.grant.plan.workload.kind.clone();
        workload.until(at_gate(0));
        assert_eq!(workload.count(New), 2, "{kind}");
        workload.scale_at_once(10 + 5);
        // Nothing kept those back that came before the partition rose; they stay.
        assert_eq!(workload.count(New), 7, "{kind}");
        ticks(&mut workload, 20);
        assert_eq!(workload.count(New), 7, "{kind}: nothing more is let go");
        workload.queue(1, Verb::Approve);
        workload.until(at_gate(1));
        assert_eq!(workload.count(New), 8, "{kind}: half of fifteen");
        workload.scale(6);
        workload.until(|state| state.in_place.as_ref().is_some_and(|run| run.total == 6));
        ticks(&mut workload, 20);
        assert_eq!(workload.count(New), 3, "{kind}: half of six");
        workload.queue(2, Verb::Approve);
        workload.until(at_gate(2));
        workload.queue(3, Verb::Approve);
        assert_eq!(workload.finish(), &Stage::Succeeded, "{kind}");
        workload.assert_clean(New);
        assert_eq!(workload.size(), 6);
        assert_no_size(&workload);
    }
}

#[test]
fn pods_that_come_once_the_partition_has_risen_are_of_the_old_version() {
    for mut workload in both(&json!([{"replicas": "20%"}, {"replicas": "100%"}]), 10) {
        workload.until(at_gate(0));
        // However often it grows, its share is of what there is.
        for size in 11..=20 {
            workload.scale(size);
            ticks(&mut workload, 10);
        }
        assert_eq!(workload.count(New), 4, "a fifth of twenty");
        abort(&mut workload);
        workload.finish();
        workload.assert_clean(Old);
        assert_eq!(workload.size(), 20, "its size is the autoscaler's");
    }
}

#[test]
fn growth_takes_no_updated_pod_back_and_lets_none_go_beyond_its_share() {
    let steps = json!([{"replicas": 2}, {"replicas": "100%"}]);
    for mut workload in both(&steps, 6) {
        workload.until(at_gate(0));
        let before = workload.new_pods();
        workload.scale(12);
        ticks(&mut workload, 20);
        let after = workload.new_pods();
        let kept = before.iter().zip(&after).all(|(was, is)| !was || *is);
        assert!(kept, "{before:?} became {after:?}");
        assert_eq!(workload.count(New), 2, "two of twelve, as the step says");
    }
}

#[test]
fn a_workload_that_shrank_to_its_batch_grows_by_what_its_controller_can_hold_back() {
    let [ordered, clones] = both(&json!([{"replicas": 1}, {"replicas": "100%"}]), 6);
    // A StatefulSet whose only pod is new counts its update as complete.
    for (mut workload, new) in [(ordered, 6), (clones, 1)] {
        workload.until(at_gate(0));
        workload.scale(1);
        ticks(&mut workload, 20);
        assert_eq!(workload.new_pods(), [true]);
        workload.scale(6);
        ticks(&mut workload, 20);
        assert_eq!(workload.count(New), new, "{:?}", workload.new_pods());
        workload.queue(1, Verb::Approve);
        workload.until(at_gate(1));
        // From here on the version before has no pod.
        workload.scale(8);
        ticks(&mut workload, 2);
        assert_eq!(workload.count(New), 8);
    }
}

#[test]
fn a_batch_that_is_not_ready_lets_nothing_go_however_many_come() {
    for mut workload in both(&json!([{"replicas": "50%"}, {"replicas": "100%"}]), 4) {
        workload.until(at_gate(0));
        workload.new_works = false;
        for pod in 0..workload.size() {
            if workload.new_pods()[pod] {
                workload.kill(pod);
            }
        }
        workload.scale(8);
        let new = workload.count(New);
        ticks(&mut workload, 20);
        assert_eq!(workload.count(New), new);
        workload.new_works = true;
        ticks(&mut workload, 20);
        assert!(workload.count(New) >= 4, "half of eight");
    }
}

#[test]
fn what_an_autoscaler_adds_while_pods_go_back_is_of_the_old_version() {
    for mut workload in both(&json!([{"replicas": "50%"}, {"replicas": "100%"}]), 6) {
        workload.until(at_gate(0));
        abort(&mut workload);
        workload.tick(5);
        workload.scale(9);
        ticks(&mut workload, 2);
        workload.scale(3);
        workload.finish();
        workload.assert_clean(Old);
        assert_eq!(workload.size(), 3);
    }
}

#[test]
fn a_workload_that_is_scaled_to_nothing_waits_and_says_so() {
    let mut workload = scaled(Workload::new(&json!([{"replicas": 1}, {"replicas": 4}]), 4));
    workload.until(at_gate(0));
    workload.queue(1, Verb::Approve);
    workload.scale(0);
    ticks(&mut workload, 3);
    let last = workload.decisions.last().expect("a decision");
    let waits = last
        .waiting_on
        .iter()
        .any(|one| one.reason == "ScaledToZero");
    assert!(waits, "{:?}", last.waiting_on);
    workload.scale(3);
    workload.until(at_gate(1));
    assert_eq!(workload.count(New), 3, "four of three are all");
}

#[test]
fn autoscalers_that_cannot_be_driven_beside_refuse_a_batch_by_name() {
    let steps = json!([{"replicas": 1}, {"replicas": 4}]);
    let mut workload = scaled(Workload::new(&steps, 4));
    workload.extra.autoscalers.push(scaler("other"));
    let message = refused(&mut workload);
    assert!(
        message.contains("HorizontalPodAutoscaler/other"),
        "{message}"
    );

    let mut workload = scaled(Workload::new(&steps, 4));
    workload.grant.plan.instances.autoscaler = Some(Autoscaler {
        kind: AutoscalerKind::ScaledObject,
        name: "web".into(),
    });
    let message = refused(&mut workload);
    assert!(message.contains("ScaledObject/web"), "{message}");

    let message = refused(&mut scaled(Workload::by_node(&steps, 4)));
    assert!(message.contains("on each node"), "{message}");

    let mut workload = scaled(Workload::new(&steps, 4));
    let adapter = json!({"partition": "/spec/held", "replicas": "/spec/size"});
    workload.grant.plan.workload.adapter = serde_json::from_value(adapter).expect("an adapter");
    let message = refused(&mut workload);
    assert!(message.contains("/spec/size"), "{message}");

    let split = json!([{"replicas": 1, "weight": 20}, {"replicas": 4}]);
    let message = refused(&mut scaled(Workload::behind_a_route(&split, 4)));
    assert!(message.contains("replicas alone"), "{message}");
}

#[test]
fn an_autoscaler_that_nobody_can_tell_from_another_holds_a_run_that_is_under_way() {
    let mut workload = scaled(Workload::new(&json!([{"replicas": 1}, {"replicas": 4}]), 4));
    workload.until(at_gate(0));
    workload.extra.autoscalers.push(scaler("other"));
    workload.queue(1, Verb::Approve);
    ticks(&mut workload, 10);
    assert_eq!(workload.count(New), 1, "two set the size");
    let last = workload.decisions.last().expect("a decision");
    assert!(last.waiting_on.iter().any(|one| one.reason == "Autoscaler"));
    workload.extra.autoscalers.pop();
    workload.until(at_gate(1));
}

#[derive(Clone, Debug)]
enum Event {
    Tick(i64),
    Crash(Crash),
    Scale(usize),
    ScaleAtOnce(usize),
    NewWorks(bool),
    Kill(usize),
    Approve,
    Abort,
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => (1i64..30).prop_map(Event::Tick),
        4 => prop_oneof![Just(Crash::BeforeSave), Just(Crash::AfterSave)].prop_map(Event::Crash),
        4 => (0usize..14).prop_map(Event::Scale),
        3 => (0usize..14).prop_map(Event::ScaleAtOnce),
        1 => any::<bool>().prop_map(Event::NewWorks),
        1 => (0usize..9).prop_map(Event::Kill),
        4 => Just(Event::Approve),
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
        Event::Scale(pods) => workload.scale(*pods),
        Event::ScaleAtOnce(pods) => workload.scale_at_once(*pods),
        Event::NewWorks(works) => workload.new_works = *works,
        Event::Kill(pod) if workload.size() > 0 => workload.kill(*pod),
        Event::Kill(_) => {}
        Event::Approve => workload.queue(id, Verb::Approve),
        Event::Abort => abort(workload),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The model and its checks hold every decision to the rules.
    #[test]
    fn whatever_an_autoscaler_does_a_batch_keeps_the_rules_and_ends(
        history in prop::collection::vec(events(), 1..120),
        of_clones in any::<bool>(),
    ) {
        let steps = json!([{"replicas": 1}, {"replicas": "40%"}, {"replicas": "100%", "advance": "Auto"}]);
        let [ordered, clones] = both(&steps, 7);
        let mut workload = if of_clones { clones } else { ordered };
        for (id, event) in (1u64..).zip(&history) {
            apply(&mut workload, event, id);
        }
        workload.new_works = true;
        let size = workload.size().max(1);
        workload.scale(size);
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
        // Pods may have come when it was over already.
        ticks(&mut workload, 20);
        let version = if workload.state.stage == Stage::Succeeded { New } else { Old };
        workload.assert_clean(version);
        assert_eq!(workload.size(), size, "its size is the autoscaler's");
        assert_no_size(&workload);
    }
}
