use bellwether_api::{
    application::{OnFailure, UnreachablePolicy},
    bundle::BundleMode,
    status::{Health, PRUNING, Phase, UnitOutcome},
};

use super::model::{Fleet, RUN, Will, approval, id, plan, planned, soak, status, track, wave};
use crate::run::{
    ActionKind, ActionOutcome, ClusterPhase, GrantRelease, RunStatus, Supersession, WavePhase,
    tests::model::Member,
};

fn two_waves() -> Fleet {
    let rest = crate::plan::PlannedWave {
        max_concurrent: 2,
        ..wave("rest", 2..5)
    };
    Fleet::new(plan(vec![wave("canary", 1..2), rest]))
}

#[test]
fn waves_go_in_order_within_their_limits() {
    let mut fleet = two_waves();
    let first = fleet.decide();
    assert_eq!(fleet.granted(), [1]);
    assert_eq!(first.grants[0].mode, BundleMode::Rollout);
    assert_eq!(first.grants[0].attempt, 1);
    fleet.agents();
    fleet.decide();
    assert_eq!(fleet.granted(), [1, 2, 3], "two of three at once");
    fleet.agents();
    fleet.decide();
    assert_eq!(fleet.granted(), [1, 2, 3, 4]);
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
}

#[test]
fn an_install_ignores_waves_and_is_plain() {
    let all = crate::plan::PlannedWave {
        max_concurrent: 3,
        unreachable: UnreachablePolicy::SkipAndCatchUp,
        ..wave("install", 1..4)
    };
    let mut fleet = Fleet::new(crate::plan::Plan {
        install: true,
        on_failure: OnFailure::Continue,
        ..plan(vec![all])
    });
    let decision = fleet.decide();
    assert_eq!(decision.grants.len(), 3);
    assert!(
        decision
            .grants
            .iter()
            .all(|grant| grant.mode == BundleMode::Plain)
    );
}

#[test]
fn a_failure_halts_and_the_next_wave_never_starts() {
    let mut fleet = two_waves();
    fleet.member(1).will = Will::Fail;
    fleet.settle();
    assert!(matches!(
        fleet.state.status,
        RunStatus::Halted { wave: 0, .. }
    ));
    assert_eq!(fleet.granted(), [1]);
    let decision = fleet.decide();
    assert_eq!(decision.waiting_on[0].reason, "Halted");
    assert_eq!(decision.wake_at, None, "only a human moves it on");
}

#[test]
fn a_bundle_that_the_agent_cannot_read_fails_its_cluster() {
    let mut fleet = two_waves();
    fleet.member(1).will = Will::Hang;
    fleet.settle();
    let digest = fleet.member(1).status.clone().expect("a status").digest;
    let unread =
        |digest: &str, outcome| Some(status(uuid::Uuid::nil(), 0, digest, outcome, Some("old")));
    // Whatever else names no run proves nothing, and neither does a refusal of something else.
    for (digest, outcome) in [
        (digest.as_str(), UnitOutcome::Succeeded),
        (digest.as_str(), UnitOutcome::Failed),
        ("another", UnitOutcome::Refused),
    ] {
        fleet.member(1).status = unread(digest, outcome);
        fleet.decide();
        assert!(matches!(
            fleet.state.clusters[&id(1)].phase,
            ClusterPhase::Running { .. }
        ));
    }
    fleet.member(1).status = unread(&digest, UnitOutcome::Refused);
    fleet.decide();
    assert!(matches!(
        fleet.state.clusters[&id(1)].phase,
        ClusterPhase::Failed { .. }
    ));
    assert!(matches!(
        fleet.state.status,
        RunStatus::Halted { wave: 0, .. }
    ));
}

#[test]
fn a_cluster_going_back_counts_at_once() {
    let mut fleet = Fleet::new(plan(vec![crate::plan::PlannedWave {
        max_concurrent: 1,
        ..wave("all", 1..4)
    }]));
    fleet.member(1).will = Will::Hang;
    fleet.settle();
    let digest = fleet.member(1).status.clone().expect("a status").digest;
    fleet.member(1).status = Some(status(
        RUN,
        1,
        &digest,
        UnitOutcome::RollingBack,
        Some("old"),
    ));
    fleet.decide();
    assert!(matches!(fleet.phase(1), ClusterPhase::Returning { .. }));
    assert!(matches!(fleet.state.status, RunStatus::Halted { .. }));
    assert_eq!(fleet.granted(), [1]);
}

#[test]
fn max_failures_lets_a_wave_pass() {
    let tolerant = crate::plan::PlannedWave {
        max_failures: 1,
        ..wave("all", 1..4)
    };
    let mut fleet = Fleet::new(plan(vec![tolerant, wave("next", 4..5)]));
    fleet.member(2).will = Will::Fail;
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    assert_eq!(fleet.granted(), [1, 2, 3, 4]);
}

#[test]
fn continue_starts_later_waves_and_ends_failed() {
    let mut fleet = two_waves();
    fleet.plan.on_failure = OnFailure::Continue;
    fleet.member(1).will = Will::Fail;
    fleet.settle();
    assert_eq!(fleet.granted(), [1, 2, 3, 4]);
    assert!(
        matches!(&fleet.state.status, RunStatus::Failed { message, .. } if message == "failed on c1")
    );
}

/// A wave of clusters that nobody hears fails by its policy: they are named, and a retry takes them once they
/// are heard.
#[test]
fn a_wave_that_was_never_reached_is_named_and_tried_again() {
    let silent = crate::plan::PlannedWave {
        max_concurrent: 2,
        unreachable: UnreachablePolicy::Fail,
        ..wave("silent", 2..4)
    };
    let waves = vec![wave("first", 1..2), silent, wave("last", 4..5)];
    let mut fleet = Fleet::new(crate::plan::Plan {
        on_failure: OnFailure::Continue,
        ..plan(waves)
    });
    for number in [2, 3] {
        fleet.lose(number);
    }
    fleet.pass(46);
    fleet.settle();
    let said = "failed on c2, c3, never reached";
    assert!(
        matches!(&fleet.state.status, RunStatus::Failed { message, .. } if message == said),
        "{:?}",
        fleet.state.status
    );
    assert_eq!(fleet.granted(), [1, 4]);
    for number in [2, 3] {
        fleet.member(number).connected = true;
    }
    let retry = fleet.act(ActionKind::Retry, "ana");
    assert_eq!(fleet.answer(retry).0, ActionOutcome::Executed);
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    let attempts = [1, 2, 3, 4].map(|number| fleet.state.clusters[&id(number)].attempt);
    assert_eq!(attempts, [1; 4]);
}

#[test]
fn rollback_all_goes_newest_wave_first_within_the_limits() {
    let rest = crate::plan::PlannedWave {
        max_concurrent: 1,
        ..wave("rest", 3..6)
    };
    let mut fleet = Fleet::new(crate::plan::Plan {
        on_failure: OnFailure::RollbackAll,
        ..plan(vec![wave("canary", 1..3), rest])
    });
    fleet.member(5).will = Will::Fail;
    let mut order = Vec::new();
    for _ in 0..40 {
        let decision = fleet.decide();
        for grant in &decision.grants {
            let goes_back = matches!(grant.release, GrantRelease::Digest(_));
            assert_eq!(decision.is_return(grant), goes_back);
            if let GrantRelease::Digest(digest) = &grant.release {
                assert_eq!((digest.as_str(), grant.mode), ("old", BundleMode::Plain));
                order.push(grant.cluster.as_u128());
            }
        }
        fleet.agents();
    }
    assert_eq!(order, [3, 4, 1, 2]);
    assert!(matches!(fleet.state.status, RunStatus::Failed { .. }));
    assert!(
        fleet
            .members
            .values()
            .all(|member| member.applied.as_deref() == Some("old"))
    );
}

#[test]
fn a_soak_starts_at_the_last_success_and_worse_restarts_it() {
    let canary = crate::plan::PlannedWave {
        after: vec![soak("10m")],
        ..wave("canary", 1..2)
    };
    let mut fleet = Fleet::new(plan(vec![canary, wave("rest", 2..3)]));
    fleet.settle();
    assert!(matches!(
        fleet.state.waves[0].phase,
        WavePhase::Settling { .. }
    ));
    fleet.pass(400);
    let wake = fleet.decide().wake_at.expect("a time");
    assert_eq!(wake.duration_since(fleet.now).as_secs(), 200);
    fleet.member(1).status.as_mut().expect("a status").health = Health::Degraded;
    fleet.decide();
    assert_eq!(fleet.decide().waiting_on[0].reason, "SoakStopped");
    fleet.pass(1);
    fleet.member(1).status.as_mut().expect("a status").health = Health::Healthy;
    fleet.decide();
    fleet.pass(599);
    assert_eq!(fleet.granted(), [1], "the clock started anew");
    fleet.pass(1);
    assert_eq!(fleet.granted(), [1, 2]);
}

#[test]
fn a_silent_cluster_keeps_the_soak_shut_and_in_the_end_restarts_it() {
    let canary = crate::plan::PlannedWave {
        after: vec![soak("1m")],
        ..wave("canary", 1..2)
    };
    let mut fleet = Fleet::new(plan(vec![canary, wave("rest", 2..3)]));
    fleet.settle();
    fleet.pass(50);
    fleet.lose(1);
    fleet.pass(15);
    assert_eq!(
        fleet.granted(),
        [1],
        "nothing passes on what was heard before"
    );
    fleet.member(1).connected = true;
    fleet.decide();
    assert_eq!(
        fleet.granted(),
        [1, 2],
        "a short cut does not start the clock anew"
    );
}

#[test]
fn a_soak_starts_anew_where_the_run_had_ended_meanwhile() {
    let canary = crate::plan::PlannedWave {
        after: vec![soak("1m")],
        ..wave("canary", 1..2)
    };
    let mut fleet = Fleet::new(plan(vec![canary, wave("rest", 2..3)]));
    fleet.settle();
    fleet.pass(5);
    let abort = fleet.act(ActionKind::Abort, "ana");
    fleet.answer(abort);
    // Whether it stayed well nobody looked.
    fleet.pass(100);
    let retry = fleet.act(ActionKind::Retry, "ana");
    fleet.answer(retry);
    fleet.pass(59);
    assert_eq!(fleet.granted(), [1]);
    fleet.pass(1);
    assert_eq!(fleet.granted(), [1, 2]);
}

#[test]
fn a_failure_during_the_soak_counts() {
    let canary = crate::plan::PlannedWave {
        after: vec![soak("10m")],
        ..wave("canary", 1..2)
    };
    let mut fleet = Fleet::new(plan(vec![canary, wave("rest", 2..3)]));
    fleet.settle();
    fleet.member(1).status.as_mut().expect("a status").outcome = UnitOutcome::Failed;
    fleet.decide();
    assert!(matches!(fleet.state.status, RunStatus::Halted { .. }));
}

#[test]
fn an_unreachable_cluster_without_a_grant_takes_no_slot() {
    let cases = [
        // policy, maxFailures, does the wave pass, does the run halt
        (UnreachablePolicy::Wait, 0, false, false),
        (UnreachablePolicy::Wait, 1, true, false),
        (UnreachablePolicy::SkipAndCatchUp, 0, true, false),
        (UnreachablePolicy::Fail, 0, false, true),
        (UnreachablePolicy::Fail, 1, true, false),
    ];
    for (unreachable, max_failures, passes, halts) in cases {
        let first = crate::plan::PlannedWave {
            unreachable,
            max_failures,
            ..wave("first", 1..4)
        };
        let mut fleet = Fleet::new(plan(vec![first, wave("next", 4..5)]));
        fleet.lose(1);
        fleet.pass(46);
        fleet.settle();
        let label = format!("{unreachable:?} {max_failures}");
        let granted: Vec<u128> = match (passes, halts) {
            (true, _) => vec![2, 3, 4],
            (false, true) => vec![],
            (false, false) => vec![2, 3],
        };
        assert_eq!(fleet.granted(), granted, "{label}");
        assert_eq!(
            matches!(fleet.state.status, RunStatus::Halted { .. }),
            halts,
            "{label}"
        );
        assert_eq!(
            matches!(fleet.state.status, RunStatus::Succeeded { .. }),
            passes,
            "{label}"
        );
    }
}

#[test]
fn one_that_was_passed_over_catches_up_when_it_returns() {
    let first = crate::plan::PlannedWave {
        unreachable: UnreachablePolicy::SkipAndCatchUp,
        ..wave("first", 1..3)
    };
    let mut fleet = Fleet::new(plan(vec![first]));
    fleet.lose(1);
    fleet.pass(46);
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    fleet.member(1).connected = true;
    fleet.settle();
    assert_eq!(fleet.granted(), [1, 2]);
    assert!(matches!(fleet.phase(1), ClusterPhase::Succeeded { .. }));
}

#[test]
fn nothing_passes_where_nobody_could_prove_it() {
    let first = crate::plan::PlannedWave {
        unreachable: UnreachablePolicy::SkipAndCatchUp,
        ..wave("first", 1..2)
    };
    let mut fleet = Fleet::new(plan(vec![first, wave("next", 2..3)]));
    fleet.lose(1);
    fleet.pass(46);
    fleet.settle();
    assert_eq!(fleet.granted(), [] as [u128; 0]);
    assert_eq!(fleet.decide().waiting_on[0].reason, "ClusterUnreachable");
}

#[test]
fn one_lost_after_its_grant_keeps_its_slot() {
    let mut fleet = Fleet::new(plan(vec![crate::plan::PlannedWave {
        max_failures: 2,
        ..wave("all", 1..4)
    }]));
    fleet.member(1).will = Will::Hang;
    fleet.settle();
    fleet.lose(1);
    fleet.pass(1000);
    fleet.settle();
    assert_eq!(fleet.granted(), [1]);
    assert_eq!(fleet.decide().waiting_on[0].reason, "ClusterUnreachable");
    fleet.member(1).connected = true;
    fleet.member(1).will = Will::Succeed;
    fleet.settle();
    assert_eq!(fleet.granted(), [1, 2, 3]);
}

#[test]
fn an_old_success_proves_nothing() {
    let mut fleet = two_waves();
    fleet.decide();
    for stale in [
        status(
            RUN,
            1,
            "another-bundle",
            UnitOutcome::Succeeded,
            Some("new"),
        ),
        status(
            RUN,
            2,
            "another-attempt",
            UnitOutcome::Succeeded,
            Some("new"),
        ),
        status(
            id(99),
            1,
            "another-run",
            UnitOutcome::Succeeded,
            Some("new"),
        ),
    ] {
        fleet.member(1).status = Some(stale);
        fleet.decide();
        assert!(matches!(fleet.phase(1), ClusterPhase::Running { .. }));
    }
    fleet.agents();
    fleet.lose(1);
    fleet.pass(60);
    assert!(
        matches!(fleet.phase(1), ClusterPhase::Running { .. }),
        "the report is not fresh"
    );
}

#[test]
fn superseding_sends_back_what_is_under_way_and_ends_at_once() {
    let mut fleet = two_waves();
    fleet.member(1).will = Will::Hang;
    fleet.settle();
    fleet.supersession = Some(Supersession::Release { revision: 8 });
    let decision = fleet.decide();
    assert!(matches!(
        fleet.state.status,
        RunStatus::Superseded { revision: 8, .. }
    ));
    assert_eq!(decision.commands.len(), 1);
    assert!(decision.commands[0].command.abort.is_some());
    fleet.agents();
    fleet.settle();
    assert_eq!(fleet.granted(), [1], "nothing starts in its name any more");
}

#[test]
fn a_cluster_between_two_versions_is_left_until_it_is_back() {
    let mut fleet = two_waves();
    let mut busy = status(id(77), 1, "other", UnitOutcome::RollingBack, Some("old"));
    fleet.member(1).status = Some(busy.clone());
    let decision = fleet.decide();
    assert!(decision.grants.is_empty());
    assert_eq!(decision.waiting_on[0].reason, "ReturningToStable");
    busy.outcome = UnitOutcome::Failed;
    fleet.member(1).status = Some(busy);
    fleet.decide();
    assert_eq!(fleet.granted(), [1]);
}

#[test]
fn a_first_install_that_hangs_gives_way_to_the_next_release() {
    let mut fleet = two_waves();
    let hanging = status(id(77), 1, "other", UnitOutcome::Progressing, None);
    assert!(
        hanging
            .rollouts
            .iter()
            .all(|track| track.phase != Phase::Progressing)
    );
    fleet.member(1).status = Some(hanging);
    fleet.decide();
    assert_eq!(
        fleet.granted(),
        [1],
        "no workload is between two versions there"
    );
}

#[test]
fn a_release_that_cannot_delete_what_it_leaves_out_gives_way_to_the_next_one() {
    let mut fleet = two_waves();
    let mut other = status(id(77), 1, "other", UnitOutcome::Progressing, Some("new"));
    fleet.member(1).status = Some(other.clone());
    assert!(fleet.decide().grants.is_empty(), "it may be between two");
    other.waiting_on[0].reason = PRUNING.to_owned();
    fleet.member(1).status = Some(other.clone());
    fleet.decide();
    assert_eq!(fleet.granted(), [1]);
    // A workload that is still on its way counts all the same.
    let mut fleet = two_waves();
    other.rollouts = vec![track("web", Phase::Progressing, "Checks")];
    fleet.member(1).status = Some(other);
    assert!(fleet.decide().grants.is_empty());
}

#[test]
fn one_that_left_counts_for_nothing() {
    let mut fleet = two_waves();
    fleet.member(1).gone = true;
    fleet.settle();
    assert!(matches!(fleet.phase(1), ClusterPhase::Gone { .. }));
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
}

#[test]
fn a_joiner_gets_what_was_proven() {
    let rest = crate::plan::PlannedWave {
        after: vec![soak("1h")],
        ..wave("rest", 2..3)
    };
    let mut fleet = Fleet::new(plan(vec![wave("canary", 1..2), rest]));
    fleet.member(1).will = Will::Hang;
    fleet.decide();
    fleet.joiners = vec![planned(9)];
    fleet.members.insert(
        id(9),
        Member {
            status: None,
            ..Member::new(fleet.now)
        },
    );
    let decision = fleet.decide();
    let joined = decision
        .grants
        .iter()
        .find(|grant| grant.cluster == id(9))
        .expect("a grant");
    assert_eq!(
        (&joined.release, joined.mode),
        (&GrantRelease::LastSucceeded, BundleMode::Plain)
    );
    fleet.member(1).will = Will::Succeed;
    fleet.settle();
    assert_eq!(
        fleet.member(9).granted.clone().expect("a grant").release,
        GrantRelease::This
    );
    assert!(matches!(fleet.phase(9), ClusterPhase::Succeeded { .. }));
}

#[test]
fn who_joins_as_a_run_fails_gets_what_succeeded_last() {
    let mut fleet = two_waves();
    fleet.plan.on_failure = OnFailure::Continue;
    fleet.member(4).will = Will::Hang;
    fleet.settle();
    fleet.member(4).will = Will::Fail;
    fleet.agents();
    fleet.joiners = vec![planned(9)];
    fleet.members.insert(
        id(9),
        Member {
            status: None,
            ..Member::new(fleet.now)
        },
    );
    // The failure that ends the run and the one who joins are seen in one decision.
    let decision = fleet.decide();
    assert!(matches!(fleet.state.status, RunStatus::Failed { .. }));
    let releases: Vec<_> = decision.grants.iter().map(|grant| &grant.release).collect();
    assert_eq!(releases, [&GrantRelease::LastSucceeded]);
}

#[test]
fn gates_before_a_wave_hold_it() {
    let rest = crate::plan::PlannedWave {
        before: vec![approval(1, &[])],
        ..wave("rest", 2..3)
    };
    let mut fleet = Fleet::new(plan(vec![wave("canary", 1..2), rest]));
    fleet.settle();
    assert_eq!(fleet.granted(), [1]);
    assert_eq!(fleet.decide().waiting_on[0].reason, "Approval");
}
