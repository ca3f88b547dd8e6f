use bellwether_api::{
    application::{OnFailure, UnreachablePolicy},
    strategy::Manual,
};
use proptest::prelude::*;

use super::model::{Fleet, Will, approval, by_hand, id, plan, planned, soak, wave};
use crate::{
    plan::{Plan, PlannedWave},
    run::{ActionKind, NamedRelease, PendingAction, RunStatus, Supersession, tests::model::Member},
};

/// What may happen between two decisions.
#[derive(Clone, Debug)]
enum Event {
    Agents,
    Time(i64),
    Lose(u128),
    Find(u128),
    Await(u128, bool),
    Will(u128, Will),
    Act(ActionKind, Option<u128>, Option<usize>, bool),
    Leave(u128),
    Join,
    Supersede,
}

fn event() -> impl Strategy<Value = Event> {
    let cluster = 1_u128..10;
    prop_oneof![
        6 => Just(Event::Agents),
        4 => (1_i64..120).prop_map(Event::Time),
        2 => cluster.clone().prop_map(Event::Lose),
        3 => cluster.clone().prop_map(Event::Find),
        2 => (cluster.clone(), any::<bool>())
            .prop_map(|(cluster, waits)| Event::Await(cluster, waits)),
        2 => (cluster.clone(), prop_oneof![Just(Will::Succeed), Just(Will::Fail), Just(Will::Hang)])
            .prop_map(|(cluster, will)| Event::Will(cluster, will)),
        4 => (
            prop::sample::select(ActionKind::ALL.to_vec()),
            prop::option::of(cluster.clone()),
            prop::option::of(0_usize..3),
            any::<bool>(),
        )
            .prop_map(|(kind, cluster, wave, step)| Event::Act(kind, cluster, wave, step)),
        1 => cluster.prop_map(Event::Leave),
        1 => Just(Event::Join),
        1 => Just(Event::Supersede),
    ]
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let limits = (
        1_u32..4,
        0_u32..3,
        prop::sample::select(vec![
            UnreachablePolicy::Wait,
            UnreachablePolicy::SkipAndCatchUp,
            UnreachablePolicy::Fail,
        ]),
        any::<(bool, bool, bool)>(),
    );
    let on_failure = prop::sample::select(vec![
        OnFailure::Halt,
        OnFailure::Continue,
        OnFailure::RollbackAll,
    ]);
    (prop::collection::vec(limits, 3), on_failure, any::<bool>()).prop_map(
        |(limits, on_failure, install)| {
            let waves = limits
                .into_iter()
                .zip([1_u128..3, 3..6, 6..10])
                .enumerate()
                .map(
                    |(index, ((max_concurrent, max_failures, unreachable, gates), clusters))| {
                        let mut after = Vec::new();
                        if gates.0 {
                            after.push(soak("60s"));
                        }
                        if gates.1 {
                            after.push(approval(1, &[]));
                        }
                        PlannedWave {
                            max_concurrent,
                            max_failures,
                            unreachable,
                            before: if gates.2 {
                                vec![approval(1, &[])]
                            } else {
                                Vec::new()
                            },
                            after,
                            ..wave(&format!("w{index}"), clusters)
                        }
                    },
                );
            Plan {
                on_failure,
                install,
                by_hand: vec![by_hand("web", false)],
                ..plan(waves.collect())
            }
        },
    )
}

fn happen(fleet: &mut Fleet, event: &Event) {
    match event {
        Event::Agents => fleet.agents(),
        Event::Time(seconds) => fleet.pass(*seconds),
        Event::Lose(cluster) => fleet.lose(*cluster),
        Event::Find(cluster) => fleet.member(*cluster).connected = true,
        Event::Await(cluster, waits) => fleet.member(*cluster).wait_for("db", *waits),
        Event::Will(cluster, will) => fleet.member(*cluster).will = *will,
        Event::Act(kind, cluster, wave, step) => {
            let action = PendingAction {
                cluster: cluster.map(id),
                wave: wave
                    .filter(|_| cluster.is_none())
                    .map(|wave| format!("w{wave}")),
                step: step.then_some(0),
                set: (*kind == ActionKind::SetWeight).then(Manual::default),
                to: (*kind == ActionKind::Rollback && *step).then(|| NamedRelease::Found {
                    revision: 3,
                    digest: "older".to_owned(),
                }),
                ..fleet.act(*kind, "ana")
            };
            fleet.actions.push(action);
        }
        Event::Leave(cluster) => fleet.member(*cluster).gone = true,
        Event::Join => {
            fleet.joiners = vec![planned(20)];
            let now = fleet.now;
            fleet
                .members
                .entry(id(20))
                .or_insert_with(|| Member::new(now));
        }
        Event::Supersede => fleet.supersession = Some(Supersession::Release { revision: 8 }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens: order, budgets, proofs, gates and answers hold at every decision, and
    /// deciding again changes nothing (both are checked inside `decide`).
    #[test]
    fn every_rule_holds_at_every_decision(
        plan in any_plan(),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut fleet = Fleet::new(plan);
        fleet.decide();
        for event in &events {
            happen(&mut fleet, event);
            fleet.decide();
        }
    }

    /// Once nothing goes wrong any more and humans say yes to everything, every run ends.
    #[test]
    fn every_run_ends_when_faults_do(
        plan in any_plan(),
        events in prop::collection::vec(event(), 0..40),
    ) {
        let mut fleet = Fleet::new(plan);
        for event in &events {
            happen(&mut fleet, event);
            fleet.decide();
        }
        for member in fleet.members.values_mut() {
            member.connected = true;
            member.awaits.clear();
            member.will = Will::Succeed;
        }
        for round in 0..200 {
            if fleet.state.status.is_finished() {
                break;
            }
            for wave in [None, Some("w0"), Some("w1"), Some("w2")] {
                let resume = PendingAction {
                    wave: wave.map(str::to_owned),
                    ..fleet.act(ActionKind::Resume, "ana")
                };
                let approve = PendingAction {
                    wave: wave.map(str::to_owned),
                    ..fleet.act(ActionKind::Approve, "ana")
                };
                fleet.actions.extend([resume, approve]);
            }
            for cluster in 1..10 {
                let resume = fleet.act(ActionKind::Resume, "ana");
                fleet.actions.push(PendingAction { cluster: Some(id(cluster)), ..resume });
            }
            if matches!(fleet.state.status, RunStatus::Halted { .. }) {
                let retry = fleet.act(ActionKind::Retry, "ana");
                fleet.actions.push(retry);
            }
            fleet.decide();
            fleet.agents();
            fleet.pass(61);
            prop_assert!(round < 199, "never ends: {:#?}", fleet.state);
        }
    }
}
