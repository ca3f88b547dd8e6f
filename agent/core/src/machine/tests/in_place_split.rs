//! Updates in place whose steps say where requests go.

use bellwether_api::{command::Verb, number::Weight, status::FailureReason};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Value, json};

use super::{
    super::{Overlay, ServiceView, Stage},
    in_place_model::{Crash, Workload, abort, at_gate},
};
use crate::settled::TemplateVersion::{New, Old};

fn employees() -> Value {
    json!([{"headers": [{"name": "x-employee", "exact": "true"}]}])
}

/// Thirty pods: ten for employees, half for half, all.
fn by_count() -> Workload {
    let steps = json!([
        {"replicas": 10, "match": employees()},
        {"replicas": "50%", "weight": 50},
        {"replicas": "100%"},
    ]);
    Workload::behind_a_route(&steps, 30)
}

fn failure(workload: &Workload) -> (FailureReason, String) {
    match &workload.state.stage {
        Stage::RollingBack { failure, .. } | Stage::Failed { failure } => {
            (failure.reason, failure.message.clone())
        }
        other => panic!("no failure: {other:?}"),
    }
}

fn percent(weight: u8) -> Weight {
    Weight::new(weight).expect("a weight")
}

/// Pods of the new version, the pin, whether anything matches, and the weight.
type Standing<'a> = (u32, Option<&'a str>, bool, u8);

#[track_caller]
fn stands(workload: &Workload, (new, pin, matches, weight): Standing<'_>) {
    assert_eq!(workload.count(New), new);
    assert_eq!(workload.net.pin.as_deref(), pin);
    assert_eq!(!workload.net.route.matches.is_empty(), matches);
    assert_eq!(workload.net.route.weight, percent(weight));
    let own = workload.net.own.as_deref();
    assert_eq!(own, Some("web-New"), "the new version has a Service");
}

#[test]
fn each_step_sends_what_it_says_to_pods_that_are_ready() {
    let mut workload = by_count();
    let table: [Standing<'_>; 3] = [
        (10, Some("web-Old"), true, 0),
        (15, Some("web-Old"), false, 50),
        // Nothing is left to choose: the route keeps what it had, and both lead to new pods.
        (30, None, false, 50),
    ];
    for (index, expected) in (0..).zip(table) {
        workload.until(at_gate(index));
        stands(&workload, expected);
        workload.queue(u64::from(index) + 1, Verb::Approve);
    }
    assert_eq!(workload.finish(), &Stage::Succeeded);
    workload.assert_clean(New);
}

#[test]
fn no_request_is_sent_before_every_pod_of_the_step_is_ready() {
    let mut workload = by_count();
    let mut sent_with = Vec::new();
    for _ in 0..400 {
        let before = workload.net.route.clone();
        workload.tick(5);
        if workload.net.route != before {
            sent_with.push(workload.behind(Some("web-New")).len());
        }
        if at_gate(0)(&workload.state) {
            break;
        }
        if workload.count(New) > 0 {
            assert_eq!(
                workload.net.pin.as_deref(),
                Some("web-Old"),
                "the pin is first"
            );
        }
    }
    assert_eq!(sent_with, [10]);
}

#[test]
fn a_small_batch_may_have_half_of_the_requests() {
    let steps = json!([{"replicas": 10, "weight": 50}]);
    let mut workload = Workload::behind_a_route(&steps, 30);
    workload.until(at_gate(0));
    stands(&workload, (10, Some("web-Old"), false, 50));
    workload.queue(1, Verb::Approve);
    assert_eq!(workload.finish(), &Stage::Succeeded);
    workload.assert_clean(New);
}

#[test]
fn a_weight_alone_takes_its_share_of_pods_and_the_rest_follows_the_approval() {
    for (replicas, step, pods) in [
        (20, json!({"weight": 5}), 1),
        (5, json!({"weight": 5, "replicas": "20%"}), 1),
        (10, json!({"weight": 33}), 4),
    ] {
        let weight = step["weight"].as_u64().expect("a weight");
        let mut workload = Workload::behind_a_route(&json!([step]), replicas);
        workload.until(at_gate(0));
        let weight = u8::try_from(weight).expect("a percentage");
        stands(&workload, (pods, Some("web-Old"), false, weight));
        workload.queue(1, Verb::Approve);
        assert_eq!(workload.finish(), &Stage::Succeeded);
        workload.assert_clean(New);
    }
}

#[test]
fn new_pods_may_get_nothing_at_all() {
    let mut workload = Workload::behind_a_route(&json!([{"replicas": 2, "weight": 0}]), 4);
    workload.until(at_gate(0));
    stands(&workload, (2, Some("web-Old"), false, 0));
    abort(&mut workload);
    workload.finish();
    workload.assert_clean(Old);
}

#[test]
fn an_abort_gives_requests_back_as_old_pods_can_take_them() {
    // The weights that stay while old pods come back one by one, all but one being enough.
    for (step, expected) in [
        (0, &[0][..]),
        (
            1,
            &[50, 49, 45, 42, 38, 35, 32, 28, 25, 21, 18, 14, 11, 7, 4, 0][..],
        ),
    ] {
        let mut workload = by_count();
        workload.until(at_gate(0));
        if step == 1 {
            workload.queue(1, Verb::Approve);
            workload.until(at_gate(1));
        }
        abort(&mut workload);
        let mut weights = vec![workload.net.route.weight.percent()];
        while !workload.state.is_terminal() {
            workload.tick(5);
            let weight = workload.net.route.weight.percent();
            if weights.last() != Some(&weight) {
                weights.push(weight);
            }
            let new = workload.behind(Some("web-New")).len();
            assert!(weight == 0 || new > 0, "the last new pod went first");
        }
        assert_eq!(weights, expected);
        assert_eq!(failure(&workload).0, FailureReason::Manual);
        workload.assert_clean(Old);
    }
}

#[test]
fn an_abort_when_every_pod_is_new_shares_requests_by_pods() {
    let mut workload = by_count();
    for index in 0..2 {
        workload.until(at_gate(index));
        workload.queue(u64::from(index) + 1, Verb::Approve);
    }
    workload.until(at_gate(2));
    abort(&mut workload);
    workload.tick(5);
    assert!(
        workload.net.route.is_none(),
        "the user's Service has every pod"
    );
    workload.finish();
    workload.assert_clean(Old);
}

#[test]
fn an_abort_while_pods_change_leaves_one_that_answers() {
    for by_count_of_pods in [false, true] {
        for ticks in 0..60 {
            let mut workload = by_count();
            if by_count_of_pods {
                let kind = "apps.kruise.io/v1alpha1";
                kind.clone_into(&mut workload.grant.plan.workload.api_version);
                "CloneSet".clone_into(&mut workload.grant.plan.workload.kind);
                workload.by_count = true;
            }
            workload.until(at_gate(0));
            workload.queue(1, Verb::Approve);
            workload.queue(2, Verb::Approve);
            for _ in 0..ticks {
                workload.tick(3);
            }
            abort(&mut workload);
            workload.finish();
            workload.assert_clean(Old);
        }
    }
}

#[test]
fn requests_leave_a_version_whose_pods_are_lost() {
    let mut workload = by_count();
    workload.net.strict = false;
    workload.until(at_gate(0));
    workload.queue(1, Verb::Approve);
    workload.until(at_gate(1));
    workload.new_works = false;
    for pod in 0..30 {
        if workload.new_pods()[pod] {
            workload.kill(pod);
        }
    }
    workload.tick(1);
    assert!(workload.net.route.is_none());
    workload.new_works = true;
    workload.until(at_gate(1));
    assert_eq!(workload.net.route.weight, percent(50));
    abort(&mut workload);
    workload.finish();
    workload.assert_clean(Old);
}

#[test]
fn failed_checks_take_requests_and_pods_back() {
    let mut workload = by_count();
    workload.metric = Some(3.0);
    workload.finish();
    assert_eq!(failure(&workload).0, FailureReason::FailedChecks);
    workload.assert_clean(Old);
}

#[test]
fn what_requests_cannot_be_split_by_is_refused_by_name() {
    type Change = fn(&mut Workload);
    let cases: [(Change, &str); 4] = [
        (
            |workload| workload.grant.plan.traffic.clear(),
            "needs a Service and a route",
        ),
        (
            |workload| {
                workload.grant.plan.traffic =
                    serde_json::from_value(json!([{"none": {}}])).expect("traffic");
            },
            "needs a Service and a route",
        ),
        (
            |workload| workload.extra.foreign_objects = vec!["Service/web-canary".into()],
            "Service/web-canary exists and is not of this run",
        ),
        (
            |workload| {
                workload.extra.services = vec![ServiceView {
                    unpinnable: "it is headless".into(),
                    ..ServiceView::default()
                }];
            },
            "Service/web cannot keep to the old version: it is headless",
        ),
    ];
    for (change, says) in cases {
        let mut workload = by_count();
        change(&mut workload);
        workload.finish();
        let (reason, message) = failure(&workload);
        assert_eq!(reason, FailureReason::Refused);
        assert!(message.contains(says), "{message}");
        assert_eq!(workload.count(New), 0);
    }
}

#[test]
fn a_plan_that_splits_nothing_touches_neither_service_nor_route() {
    let steps = json!([{"replicas": 2}, {"replicas": "100%"}]);
    let mut workload = Workload::behind_a_route(&steps, 4);
    for index in 0..2 {
        workload.until(at_gate(index));
        let overlay = Overlay::of(&workload.state);
        assert_eq!((overlay.pins, overlay.new_pods), (Vec::new(), None));
        assert!(overlay.split.is_none());
        workload.queue(u64::from(index) + 1, Verb::Approve);
    }
    assert_eq!(workload.finish(), &Stage::Succeeded);
}

#[derive(Clone, Debug)]
enum Event {
    Tick(i64),
    Crash(Crash),
    Metric(Option<f64>),
    Suspend(bool),
    Edited(bool),
    Say(Verb),
    Abort,
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => (1i64..40).prop_map(Event::Tick),
        6 => prop_oneof![Just(Crash::BeforeSave), Just(Crash::AfterSave)].prop_map(Event::Crash),
        2 => prop_oneof![Just(None), Just(Some(100.0)), Just(Some(1.0))].prop_map(Event::Metric),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => any::<bool>().prop_map(Event::Edited),
        5 => prop_oneof![Just(Verb::Approve), Just(Verb::Skip), Just(Verb::Promote)]
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
        Event::Suspend(suspend) => workload.grant.command.suspend = *suspend,
        Event::Edited(edited) => {
            workload.extra.foreign_edits = if *edited {
                vec!["Service/web: changed by somebody else".into()]
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

    /// Wherever a run is stopped, skipped, aborted or its agent killed, every request finds a ready
    /// pod of the version that it is meant for, and everything ends as the user wrote it.
    #[test]
    fn whatever_happens_every_request_is_answered(
        history in prop::collection::vec(events(), 1..120),
        first in 1u32..8,
        weight in 0u8..=100,
        advance in prop_oneof![Just("Auto"), Just("Manual")],
        by_count in any::<bool>(),
    ) {
        let steps = json!([
            {"replicas": first, "advance": advance, "match": employees()},
            {"replicas": "80%", "advance": advance, "weight": weight},
            {"replicas": "100%", "advance": "Auto"},
        ]);
        let mut workload = Workload::behind_a_route(&steps, 8);
        if by_count {
            "apps.kruise.io/v1alpha1".clone_into(&mut workload.grant.plan.workload.api_version);
            "CloneSet".clone_into(&mut workload.grant.plan.workload.kind);
            workload.by_count = true;
        }
        for (id, event) in (1u64..).zip(&history) {
            apply(&mut workload, event, id);
        }
        workload.metric = Some(100.0);
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
