use bellwether_api::{
    application::{Gate, OnFailure},
    status::{Phase, TrackSummary},
};
use serde_json::json;

use super::model::{Fleet, Will, approval, plan, track, wave};
use crate::{
    plan::PlannedWave,
    run::{
        ActionKind, ClusterPhase, Decision, Reading, ReadingOutcome, RunStatus, WavePhase, asked,
    },
};

fn gate(value: serde_json::Value) -> Gate {
    serde_json::from_value(value).expect("a gate")
}

/// A finished Rollout with the verdicts of its metrics; of one in brackets nothing depends.
fn judged(verdicts: &[&str]) -> TrackSummary {
    let checks: Vec<serde_json::Value> = verdicts
        .iter()
        .map(|verdict| {
            let ignored = verdict.starts_with('(');
            json!({"metric": "m", "value": null, "limit": "", "ignored": ignored,
                "verdict": verdict.trim_matches(['(', ')']), "at": "2026-01-01T00:00:00Z"})
        })
        .collect();
    TrackSummary {
        checks: serde_json::from_value(json!(checks)).expect("checks"),
        ..track("web", Phase::Succeeded, "")
    }
}

#[test]
fn a_window_holds_the_wave_until_it_opens() {
    // The fleet's clock begins at midnight of a Thursday.
    let window = gate(json!({"window": {"schedule": "0 9 * * MON-FRI", "duration": "8h"}}));
    let mut fleet = Fleet::new(plan(vec![PlannedWave {
        before: vec![window],
        ..wave("prod", 1..2)
    }]));
    let decision = fleet.decide();
    assert_eq!(fleet.granted(), [] as [u128; 0]);
    assert_eq!(decision.waiting_on[0].reason, "Window");
    let opens = "2026-01-01T09:00:00Z".parse().expect("a time");
    assert_eq!(decision.wake_at, Some(opens));
    fleet.pass(9 * 3600 - 1);
    assert_eq!(fleet.granted(), [] as [u128; 0], "a second early");
    fleet.pass(1);
    assert_eq!(fleet.granted(), [1]);
}

#[test]
fn a_human_may_promote_past_a_window() {
    let window = gate(json!({"window": {"schedule": "0 9 * * *", "duration": "1h"}}));
    let mut fleet = Fleet::new(plan(vec![PlannedWave {
        before: vec![window],
        ..wave("prod", 1..2)
    }]));
    fleet.decide();
    let action = fleet.act(ActionKind::Promote, "sre");
    fleet.answer(action);
    assert_eq!(fleet.granted(), [1]);
    assert!(fleet.state.waves[0].before[0].overridden.is_some());
}

fn quorum(percent: u8, clusters: u128) -> Fleet {
    let after = vec![gate(json!({"verdicts": {"percent": percent}}))];
    Fleet::new(plan(vec![
        PlannedWave {
            after,
            max_concurrent: 9,
            ..wave("canary", 1..clusters + 1)
        },
        wave("rest", clusters + 1..clusters + 2),
    ]))
}

#[test]
fn only_checks_that_passed_make_a_quorum() {
    for (tracks, holds) in [
        (vec![judged(&["Pass"])], true),
        (vec![judged(&["Pass", "(Fail)"])], true),
        (vec![judged(&["Pass", "Unknown"])], false),
        (vec![judged(&["Overridden"])], false),
        (vec![judged(&["NothingConfigured"])], false),
        (vec![judged(&["(Pass)"])], false),
        (vec![judged(&["Pass"]), judged(&[])], false),
        (vec![], false),
    ] {
        let mut fleet = quorum(100, 1);
        fleet.decide();
        fleet.agents();
        fleet.shows(1, tracks.clone());
        let decision = fleet.decide();
        assert_eq!(fleet.granted() == [1, 2], holds, "{tracks:?}");
        let waits = decision
            .waiting_on
            .iter()
            .any(|one| one.reason == "Verdicts");
        assert_eq!(waits, !holds, "{tracks:?}");
    }
}

#[test]
fn a_share_of_the_clusters_is_enough_and_rounded_up() {
    for (percent, passed, holds) in [(50, 1, false), (50, 2, true), (67, 2, false), (67, 3, true)] {
        let mut fleet = quorum(percent, 3);
        fleet.decide();
        fleet.agents();
        for number in 1..=3 {
            let verdict = if number <= passed { "Pass" } else { "Unknown" };
            fleet.shows(number, vec![judged(&[verdict])]);
        }
        fleet.decide();
        assert_eq!(
            fleet.granted().contains(&4),
            holds,
            "{passed} of 3 at {percent} %"
        );
    }
}

fn with_deadline(on_failure: OnFailure) -> Fleet {
    let first = PlannedWave {
        progress_deadline: Some("10m".parse().expect("a duration")),
        ..wave("first", 1..3)
    };
    let mut plan = plan(vec![first, wave("rest", 3..4)]);
    plan.on_failure = on_failure;
    let mut fleet = Fleet::new(plan);
    fleet.member(2).will = Will::Hang;
    fleet
}

#[test]
fn a_wave_without_progress_fails_at_its_deadline() {
    let mut fleet = with_deadline(OnFailure::Halt);
    fleet.decide();
    fleet.pass(500);
    fleet.agents();
    // The first is done: the clock begins again.
    let decision = fleet.decide();
    let ends = fleet
        .now
        .saturating_add(jiff::SignedDuration::from_mins(10));
    assert!(decision.wake_at <= ends.ok(), "{:?}", decision.wake_at);
    fleet.agents();
    fleet.pass(599);
    assert_eq!(fleet.state.status, RunStatus::Progressing);
    fleet.pass(1);
    assert!(matches!(
        fleet.state.status,
        RunStatus::Halted { wave: 0, .. }
    ));
    assert!(
        matches!(fleet.phase(2), ClusterPhase::Running { .. }),
        "it goes on by its own deadline"
    );
}

#[test]
fn a_human_who_is_awaited_stops_the_clock() {
    let mut fleet = with_deadline(OnFailure::Halt);
    fleet.decide();
    fleet.agents();
    fleet.decide();
    fleet.agents();
    fleet.shows(2, vec![track("web", Phase::Paused, "Approval")]);
    fleet.pass(3600);
    assert_eq!(fleet.state.status, RunStatus::Progressing);
    fleet.shows(2, vec![track("web", Phase::Progressing, "PodsNotReady")]);
    fleet.pass(1);
    fleet.pass(599);
    assert_eq!(fleet.state.status, RunStatus::Progressing);
    fleet.pass(1);
    assert!(matches!(fleet.state.status, RunStatus::Halted { .. }));
}

#[test]
fn with_continue_the_next_wave_starts_at_the_deadline() {
    let mut fleet = with_deadline(OnFailure::Continue);
    fleet.decide();
    fleet.agents();
    fleet.decide();
    fleet.agents();
    fleet.decide();
    fleet.pass(600);
    assert!(matches!(
        fleet.state.waves[0].phase,
        WavePhase::Failed { .. }
    ));
    assert_eq!(fleet.granted(), [1, 2, 3]);
}

#[test]
fn an_answer_opens_its_gate_while_it_is_fresh() {
    let external = gate(json!({"external": {"url": "http://freeze.example"}}));
    let mut fleet = Fleet::new(plan(vec![PlannedWave {
        before: vec![external],
        ..wave("prod", 1..2)
    }]));
    let reading = |fleet: &Fleet, outcome: ReadingOutcome| Reading {
        wave: 0,
        after: false,
        index: 0,
        at: fleet.now,
        outcome,
    };
    let decision = fleet.decide();
    assert_eq!(decision.waiting_on[0].reason, "Answer");
    assert!(decision.wake_at.is_some(), "it is looked at again");
    assert_eq!(asked(&fleet.plan, &fleet.state).len(), 1);
    for outcome in [
        ReadingOutcome::Failed {
            why: "it answered 503".to_owned(),
        },
        ReadingOutcome::Unknown {
            why: "it cannot be reached".to_owned(),
        },
    ] {
        fleet.readings = vec![reading(&fleet, outcome)];
        fleet.pass(10);
        assert_eq!(fleet.granted(), [] as [u128; 0]);
    }
    let passed = ReadingOutcome::Passed {
        value: "200".to_owned(),
    };
    // One of long ago opens nothing.
    fleet.readings = vec![reading(&fleet, passed.clone())];
    fleet.now = fleet
        .now
        .saturating_add(jiff::SignedDuration::from_secs(91))
        .expect("a time");
    fleet.decide();
    assert_eq!(fleet.granted(), [] as [u128; 0]);
    fleet.readings = vec![reading(&fleet, passed)];
    fleet.decide();
    assert_eq!(fleet.granted(), [1]);
    assert_eq!(
        asked(&fleet.plan, &fleet.state).len(),
        0,
        "nobody is asked any more"
    );
}

#[test]
fn that_a_gate_waits_for_a_human_is_told_once() {
    let mut fleet = Fleet::new(plan(vec![PlannedWave {
        before: vec![approval(2, &[])],
        after: vec![approval(1, &[])],
        ..wave("prod", 1..2)
    }]));
    let told = |decision: &Decision| -> Vec<String> {
        let events = decision.events.iter();
        let told = events.filter(|one| one.reason == "WaitsForHuman");
        told.map(|one| one.message.clone()).collect()
    };
    let first = fleet.decide();
    assert_eq!(
        told(&first),
        ["a gate before wave prod waits for an approval, 0 of 2 given"]
    );
    assert!(told(&fleet.decide()).is_empty(), "it was told");
    let action = fleet.act(ActionKind::Approve, "ana");
    fleet.answer(action);
    assert!(told(&fleet.decide()).is_empty());
    let action = fleet.act(ActionKind::Approve, "bob");
    fleet.answer(action);
    assert_eq!(fleet.granted(), [1]);
    fleet.agents();
    assert_eq!(
        told(&fleet.decide()),
        ["a gate after wave prod waits for an approval, 0 of 1 given"]
    );
    assert!(told(&fleet.decide()).is_empty());
}
