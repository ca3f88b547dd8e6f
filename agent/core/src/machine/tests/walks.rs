//! Random histories: whatever happens, every decision keeps the rules, and once the faults stop
//! the run ends.

use bellwether_api::command::{Abort, AbortCause, Verb};
use proptest::prelude::*;
use serde_json::json;

use super::{
    super::Stage,
    model::{Cluster, manual, plan},
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
        Event::Scale(replicas) => cluster.replicas = *replicas,
        Event::Say(verb, step) => cluster.queue(id, *verb, *step),
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_rules_and_ends(
        form in 0usize..3,
        history in prop::collection::vec(events(), 0..250),
    ) {
        let form = [
            json!({"stepWeight": 20, "maxWeight": 50}),
            json!({"weights": [5, 100], "stepWeightPromotion": 30}),
            manual(&[10, 50, 90]),
        ][form].clone();
        let mut cluster = Cluster::new(plan(form));
        for (id, event) in (1..).zip(&history) {
            apply(&mut cluster, event, id);
        }
        cluster.fresh = true;
        cluster.grant.command.suspend = false;
        cluster.extra.foreign_edits.clear();
        cluster.metric = Some(100.0);
        (cluster.canary_works, cluster.new_works, cluster.old_works) = (true, true, true);
        cluster.route_works = true;
        for id in 1_000..1_003 {
            for _ in 0..120 {
                cluster.tick(5);
            }
            cluster.queue(id, Verb::Approve, None);
        }
        let version = match cluster.finish() {
            Stage::Succeeded => "new",
            _ => "old",
        };
        for _ in 0..20 {
            cluster.tick(5);
        }
        cluster.assert_clean(version);
    }
}
