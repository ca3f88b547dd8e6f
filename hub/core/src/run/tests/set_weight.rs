use bellwether_api::{
    command::{CommandOutcome, CommandSource, ExecutedCommand, Verb},
    number::{IntOrPercent, Weight},
    strategy::Manual,
};

use super::model::{Fleet, Will, by_hand, id, plan, wave};
use crate::{
    plan::{DrivenByHand, Plan, PlannedWave},
    run::{
        ActionKind,
        ActionOutcome::{self, Conflict, Executed, Refused, Stale},
        PendingAction,
    },
};

fn manual(weight: u32, pods: Option<u32>) -> Manual {
    Manual {
        weight: Weight::clamped(weight),
        replicas: pods.map(IntOrPercent::Int),
    }
}

/// Two clusters under way in wave `all`, one that waits in wave `next`.
fn under_way(by_hand: Vec<DrivenByHand>, install: bool) -> Fleet {
    let all = PlannedWave {
        max_concurrent: 2,
        ..wave("all", 1..3)
    };
    let mut fleet = Fleet::new(Plan {
        by_hand,
        install,
        ..plan(vec![all, wave("next", 3..4)])
    });
    for number in 1..4 {
        fleet.member(number).will = Will::Hang;
    }
    fleet.settle();
    fleet
}

fn say(fleet: &mut Fleet, set: Option<Manual>) -> PendingAction {
    PendingAction {
        set,
        ..fleet.act(ActionKind::SetWeight, "ana")
    }
}

fn sent(fleet: &Fleet, number: u128) -> Vec<Manual> {
    fleet.state.clusters[&id(number)]
        .queue
        .iter()
        .inspect(|queued| assert_eq!(queued.verb, Verb::SetWeight))
        .filter_map(|queued| queued.set)
        .collect()
}

#[test]
fn a_weight_is_sent_to_every_reached_cluster_in_scope() {
    for (place, reached, answer) in [
        ("", &[1, 2][..], "30 %, 2 pods, sent to c1, c2"),
        ("wave all", &[1, 2], "30 %, 2 pods, sent to c1, c2"),
        ("c2", &[2], "30 %, 2 pods, sent to c2"),
    ] {
        let mut fleet = under_way(vec![by_hand("web", false)], false);
        let action = PendingAction {
            wave: place.strip_prefix("wave ").map(str::to_owned),
            cluster: (place == "c2").then(|| id(2)),
            ..say(&mut fleet, Some(manual(30, Some(2))))
        };
        assert_eq!(
            fleet.answer(action),
            (Executed, answer.to_owned()),
            "{place}"
        );
        for number in 1..4 {
            let expected = if reached.contains(&number) {
                vec![manual(30, Some(2))]
            } else {
                Vec::new()
            };
            assert_eq!(sent(&fleet, number), expected, "{place}: c{number}");
        }
    }
}

#[test]
fn weights_are_queued_in_the_order_in_which_they_were_said() {
    let mut fleet = under_way(vec![by_hand("web", false)], false);
    for weight in [30, 60] {
        let action = say(&mut fleet, Some(manual(weight, None)));
        assert_eq!(fleet.answer(action).0, Executed);
    }
    assert_eq!(sent(&fleet, 1), [manual(30, None), manual(60, None)]);
    let command = fleet.member(1).command.clone().expect("a command");
    assert_eq!(command.queue[1].set, Some(manual(60, None)));
}

#[test]
fn what_cannot_be_set_is_refused_and_says_why() {
    type Case = (
        &'static str,
        Vec<DrivenByHand>,
        bool,
        Option<Manual>,
        ActionOutcome,
        &'static str,
    );
    let driven = || vec![by_hand("web", false)];
    let cases: [Case; 6] = [
        (
            "no canary.manual",
            Vec::new(),
            false,
            Some(manual(30, None)),
            Refused,
            "no Rollout of revision 7 has strategy.canary.manual",
        ),
        (
            "the first release",
            Vec::new(),
            true,
            Some(manual(30, None)),
            Refused,
            "installs without a canary",
        ),
        (
            "no weight",
            driven(),
            false,
            None,
            Refused,
            "weight: set-weight needs",
        ),
        (
            "pods of a fixed total",
            vec![by_hand("web", true)],
            false,
            Some(manual(30, Some(2))),
            Refused,
            "replicas: rollout web has instances.mode FixedTotal",
        ),
        (
            "the weight of a fixed total",
            vec![by_hand("web", true)],
            false,
            Some(manual(30, None)),
            Executed,
            "30 %, sent to c1, c2",
        ),
        (
            "pods where one Rollout takes them",
            vec![by_hand("api", true), by_hand("web", false)],
            false,
            Some(manual(30, Some(2))),
            Executed,
            "30 %, 2 pods",
        ),
    ];
    for (name, by_hand, install, set, outcome, word) in cases {
        let mut fleet = under_way(by_hand, install);
        let action = say(&mut fleet, set);
        let (answered, message) = fleet.answer(action);
        assert_eq!(answered, outcome, "{name}: {message}");
        assert!(message.contains(word), "{name}: {message}");
        assert_eq!(sent(&fleet, 1).is_empty(), outcome != Executed, "{name}");
    }
}

#[test]
fn a_weight_for_another_revision_or_where_nothing_is_under_way_does_nothing() {
    let mut fleet = under_way(vec![by_hand("web", false)], false);
    let old = PendingAction {
        expected_revision: Some(6),
        ..say(&mut fleet, Some(manual(30, None)))
    };
    assert_eq!(
        fleet.answer(old),
        (Conflict, "you saw revision 6, it is now 7".to_owned())
    );
    let waiting = PendingAction {
        wave: Some("next".to_owned()),
        ..say(&mut fleet, Some(manual(30, None)))
    };
    assert_eq!(
        fleet.answer(waiting),
        (Stale, "nothing is under way".to_owned())
    );
    assert_eq!(sent(&fleet, 1), []);
}

#[test]
fn events_say_which_weight_took_effect_where_one_rollout_took_it() {
    let mut fleet = under_way(vec![by_hand("web", false)], false);
    let action = say(&mut fleet, Some(manual(30, None)));
    fleet.actions = vec![PendingAction {
        reason: "slowly".to_owned(),
        ..action
    }];
    let said = fleet.decide().events;
    assert_eq!(
        said[0].message,
        "set-weight by ana (slowly): 30 %, sent to c1, c2"
    );
    let command = fleet.state.clusters[&id(1)].queue[0].id;
    let answer = |outcome| ExecutedCommand {
        source: CommandSource::Hub,
        id: command,
        outcome,
        message: "the plan sets the weights".to_owned(),
        rollout: String::new(),
    };
    let status = fleet.member(1).status.as_mut().expect("a status");
    status.executed = vec![
        answer(CommandOutcome::Stale),
        answer(CommandOutcome::Executed),
    ];
    let events = fleet.decide().events;
    assert_eq!(
        (events[0].reason.as_str(), events[0].message.as_str()),
        ("CommandExecuted", "SetWeight to 30 % by ana took effect")
    );
    assert_eq!(sent(&fleet, 1), []);
}
