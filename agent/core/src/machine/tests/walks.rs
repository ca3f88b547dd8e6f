//! Random histories: whatever happens, every decision keeps the rules, and once the faults stop
//! the run ends.

use bellwether_api::{
    command::{Abort, AbortCause, Verb},
    number::{IntOrPercent, Weight},
    rollout::{AnalysisFailure, RolloutSpec},
    strategy::{InstancesMode, Manual},
};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Value, json};

use super::{
    super::Stage,
    model::{Cluster, manual, plan_of},
};

#[derive(Clone, Debug)]
enum Event {
    Tick(i64),
    Metric(Option<f64>),
    KillCanary,
    CanaryWorks(bool),
    NewWorks(bool),
    KillStable(u32),
    OldWorks(bool),
    RouteWorks(bool),
    Fresh(bool),
    Suspend(bool),
    Edited(bool),
    Scale(u32),
    Say(Verb, Option<u32>),
    Set(u8, Option<u32>),
    Hook(&'static str, Option<u16>),
    Restart,
    Abort,
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => (1i64..40).prop_map(Event::Tick),
        3 => prop_oneof![Just(None), Just(Some(100.0)), Just(Some(100.0)), Just(Some(1.0))]
            .prop_map(Event::Metric),
        1 => Just(Event::KillCanary),
        1 => any::<bool>().prop_map(Event::CanaryWorks),
        1 => any::<bool>().prop_map(Event::NewWorks),
        1 => (0u32..5).prop_map(Event::KillStable),
        1 => any::<bool>().prop_map(Event::OldWorks),
        1 => any::<bool>().prop_map(Event::RouteWorks),
        1 => any::<bool>().prop_map(Event::Fresh),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => any::<bool>().prop_map(Event::Edited),
        1 => (1u32..9).prop_map(Event::Scale),
        2 => (
            prop_oneof![Just(Verb::Approve), Just(Verb::Skip), Just(Verb::Promote)],
            prop_oneof![Just(None), (0u32..3).prop_map(Some)]
        )
            .prop_map(|(verb, step)| Event::Say(verb, step)),
        1 => (0u8..=100, prop_oneof![Just(None), (0u32..5).prop_map(Some)])
            .prop_map(|(weight, pods)| Event::Set(weight, pods)),
        3 => (
            prop_oneof![
                Just("confirm"), Just("accept"), Just("load"), Just("rise"), Just("promote"),
                Just("emergency")
            ],
            prop_oneof![Just(None), Just(Some(200)), Just(Some(200)), Just(Some(403))]
        )
            .prop_map(|(hook, status)| Event::Hook(hook, status)),
        1 => Just(Event::Restart),
        1 => Just(Event::Abort),
    ]
}

fn apply(cluster: &mut Cluster, event: &Event, id: u64) {
    match event {
        Event::Tick(seconds) => {
            cluster.tick(*seconds);
        }
        Event::Metric(metric) => cluster.metric = *metric,
        Event::KillCanary => cluster.kill_canary(),
        Event::CanaryWorks(works) => cluster.canary_works = *works,
        Event::NewWorks(works) => cluster.new_works = *works,
        Event::KillStable(left) => cluster.kill_stable(*left),
        Event::OldWorks(works) => cluster.old_works = *works,
        Event::RouteWorks(works) => cluster.route_works = *works,
        Event::Fresh(fresh) => cluster.fresh = *fresh,
        Event::Suspend(suspend) => cluster.grant.command.suspend = *suspend,
        Event::Edited(edited) => {
            cluster.extra.foreign_edits = if *edited {
                vec!["HTTPRoute/web: weights".into()]
            } else {
                Vec::new()
            };
        }
        // With a fixed total the size is written down, and drift from it is corrected.
        Event::Scale(replicas) => {
            if cluster.grant.plan.instances.mode == InstancesMode::Surge {
                cluster.replicas = *replicas;
            }
        }
        Event::Set(weight, pods) => {
            let set = Manual {
                weight: Weight::clamped(u32::from(*weight)),
                replicas: pods.map(IntOrPercent::Int),
            };
            cluster.set_weight(id, set);
        }
        Event::Say(verb, step) => cluster.queue(id, *verb, *step),
        Event::Hook(hook, status) => {
            cluster.hooks.insert(hook, *status);
        }
        Event::Restart => cluster.restart(),
        Event::Abort => {
            let abort = Abort {
                cause: AbortCause::Manual,
                by: "ann".into(),
                reason: String::new(),
            };
            cluster.grant.command.abort = Some(abort);
        }
    }
}

const FORMS: usize = 12;

/// Every strategy, and what changes how it is driven.
fn form_of(form: usize) -> RolloutSpec {
    let matches = json!([{"headers": [{"name": "x-employee", "exact": "true"}]}]);
    let forms: [Value; FORMS] = [
        json!({"canary": {"stepWeight": 20, "maxWeight": 50}}),
        json!({"canary": {"weights": [5, 100], "stepWeightPromotion": 30}}),
        json!({"canary": manual(&[10, 50, 90])}),
        json!({"canary": {"stepWeight": 30, "mirror": true, "match": matches}}),
        json!({"canary": {"advance": "Auto", "steps": [
            {"weight": 0, "match": matches}, {"weight": 20, "replicas": 3},
            {"weight": 20, "mirror": 50, "replicas": "40%"}]}}),
        json!({"canary": {"manual": {"weight": 10}}}),
        json!({"abTest": {"iterations": 3, "match": matches}}),
        json!({"blueGreen": {"iterations": 2}}),
        json!({"blueGreen": {"iterations": 2, "analysisTraffic": "None", "standby": "3m"}}),
        json!({"blueGreen": {"iterations": 2, "analysisTraffic": "Mirror", "standby": "30s"}}),
        json!({"canary": {"stepWeight": 25}}),
        json!({"canary": {"weights": [1, 99]}}),
    ];
    let mut spec = plan_of(forms[form].clone());
    if form >= 10 {
        spec.instances.mode = InstancesMode::FixedTotal;
    }
    if form == 0 || form == 10 {
        spec.session_affinity = serde_json::from_value(json!({"cookieName": "release"})).ok();
    }
    spec
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_rules_and_ends(
        form in 0usize..FORMS,
        pauses in any::<bool>(),
        hooked in any::<bool>(),
        history in prop::collection::vec(events(), 0..250),
    ) {
        let mut spec = form_of(form);
        if pauses {
            spec.analysis.on_failure = AnalysisFailure::Pause;
        }
        if hooked {
            spec.hooks = super::hooks::one_of_each();
        }
        let mut cluster = Cluster::new(spec);
        cluster.hooks.insert("emergency", Some(403));
        for (id, event) in (1..).zip(&history) {
            apply(&mut cluster, event, id);
        }
        cluster.fresh = true;
        cluster.grant.command.suspend = false;
        cluster.extra.foreign_edits.clear();
        cluster.metric = Some(100.0);
        (cluster.canary_works, cluster.new_works, cluster.old_works) = (true, true, true);
        cluster.route_works = true;
        cluster.hooks.clear();
        cluster.hooks.insert("emergency", Some(403));
        for id in 1_000..1_003 {
            for _ in 0..120 {
                cluster.tick(5);
            }
            cluster.queue(id, Verb::Approve, None);
        }
        // What a human drives ends when a human says so.
        cluster.queue(2_000, Verb::Promote, None);
        let version = match cluster.finish() {
            Stage::Succeeded => "new",
            _ => "old",
        };
        for _ in 0..20 {
            cluster.tick(5);
        }
        cluster.assert_clean(version);
        assert!(cluster.calls_of("done") <= 1, "called twice after the end");
    }
}
