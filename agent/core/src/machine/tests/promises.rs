//! What users of such systems ask for most, beyond that a run ends well.

use bellwether_api::{
    command::{AbortCause, Verb},
    status::FailureReason,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    super::{RunState, Stage, StepPart},
    model::{Cluster, abort, failure, in_step, linear, manual, plan},
};

fn at_gate(state: &RunState) -> bool {
    matches!(
        state.stage,
        Stage::Step {
            part: StepPart::Gate { .. },
            ..
        }
    )
}

fn said(cluster: &Cluster) -> Vec<&'static str> {
    let events = cluster.decisions.iter().flat_map(|one| &one.events);
    events.map(|event| event.reason).collect()
}

/// Ticks only when the run asks to be woken or, as controllers would have it, a second after
/// something changed. Returns how many decisions were made until the run was over.
fn sleep_through(cluster: &mut Cluster) -> usize {
    let before = cluster.decisions.len();
    let mut last = None;
    while !cluster.state.is_terminal() {
        let now = cluster.now;
        let decision = cluster.tick(0);
        let changed = last.replace(decision.overlay.clone()).as_ref() != Some(&decision.overlay)
            || decision.sample.is_some();
        let pause = |at: Timestamp| at.duration_since(now);
        let pause = match decision.wake_at {
            _ if changed || decision.next.is_terminal() => SignedDuration::from_secs(1),
            Some(at) => pause(at),
            None => panic!("nothing would wake it: {:?}", decision.waiting_on),
        };
        cluster.now = now + pause;
        assert!(
            cluster.decisions.len() - before < 500,
            "a hot loop: {:?}",
            cluster.last().waiting_on
        );
    }
    cluster.decisions.len() - before
}

#[test]
fn waiting_for_a_human_is_said_once() {
    let mut cluster = Cluster::new(plan(manual(&[20])));
    cluster.until(at_gate);
    let reached = said(&cluster);
    assert_eq!(reached.last(), Some(&"GateReached"));
    let checks = cluster.state.check;
    for _ in 0..500 {
        cluster.tick(5);
    }
    assert!(cluster.state.check > checks + 50, "checks go on meanwhile");
    assert_eq!(said(&cluster), reached, "and say nothing while they pass");
}

#[test]
fn unknown_checks_are_said_once_while_they_last() {
    let mut cluster = Cluster::new(plan(manual(&[20])));
    cluster.until(at_gate);
    cluster.metric = None;
    for _ in 0..50 {
        cluster.tick(5);
    }
    let unknown = said(&cluster).into_iter();
    assert_eq!(unknown.filter(|one| *one == "CheckUnknown").count(), 1);
}

#[test]
fn an_approval_is_obeyed_without_another_check() {
    let mut cluster = Cluster::new(plan(manual(&[20, 60])));
    cluster.until(at_gate);
    cluster.tick(1);
    let checks = cluster.state.check;
    cluster.queue(1, Verb::Approve, Some(0));
    cluster.tick(1);
    assert_eq!(cluster.state.step(), Some(1), "{:?}", cluster.state.stage);
    assert_eq!(cluster.state.check, checks, "nothing was measured for it");
}

/// Whoever waits sleeps until something is due: neither a run that nothing happens to nor one that
/// was aborted decides over and over again.
#[test]
fn a_run_that_nothing_happens_to_decides_seldom() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.canary_works = false;
    let decisions = sleep_through(&mut cluster);
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
    assert!(decisions < 40, "{decisions} decisions in five minutes");

    let mut cluster = Cluster::new(plan(linear()));
    cluster.metric = None;
    let decisions = sleep_through(&mut cluster);
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
    assert!(decisions < 100, "{decisions} decisions for fifteen checks");

    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(1));
    abort(&mut cluster, AbortCause::Manual);
    let decisions = sleep_through(&mut cluster);
    assert_eq!(failure(&cluster), FailureReason::Manual);
    assert!(decisions < 40, "{decisions} decisions to go back");
}

#[test]
fn whatever_ends_a_run_that_goes_back_changes_nothing() {
    let ends: [fn(&mut Cluster); 4] = [
        |cluster| abort(cluster, AbortCause::Superseded),
        |cluster| cluster.extra.deleted = true,
        |cluster| cluster.metric = Some(1.0),
        |cluster| cluster.queue(1, Verb::Promote, None),
    ];
    for end in ends {
        let mut cluster = Cluster::new(plan(json!({"weights": [50, 100]})));
        cluster.until(in_step(1));
        assert_eq!(cluster.state.weight.percent(), 100);
        abort(&mut cluster, AbortCause::Manual);
        cluster.tick(5);
        assert!(matches!(cluster.state.stage, Stage::RollingBack { .. }));
        end(&mut cluster);
        cluster.finish();
        assert_eq!(failure(&cluster), FailureReason::Manual, "the first cause");
        let went_back = said(&cluster).into_iter();
        assert_eq!(went_back.filter(|one| *one == "RollingBack").count(), 1);
        cluster.assert_clean("old");
    }
}

#[test]
fn no_weight_rises_while_the_old_version_lacks_pods() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(in_step(0));
    cluster.old_works = false;
    cluster.kill_stable(3);
    for _ in 0..20 {
        cluster.tick(5);
        assert_eq!(cluster.state.weight.percent(), 10);
    }
    let waits = &cluster.last().waiting_on;
    assert!(
        waits.iter().any(|wait| wait.reason == "StableNotReady"),
        "three of five cannot carry 80 %: {waits:?}"
    );
    cluster.old_works = true;
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

/// A run goes back with the failed check that is as many as the threshold, and not one check later
/// as Flagger does; successes in between take none away (a cumulative counter, as there).
#[test]
fn failed_checks_are_counted_up_to_the_threshold_and_no_further() {
    for threshold in [1_u32, 2, 5] {
        for healthy_between in [false, true] {
            let mut spec = plan(manual(&[20]));
            spec.analysis.failure_threshold = threshold;
            let mut cluster = Cluster::new(spec);
            cluster.until(at_gate);
            for failed in 1..=threshold {
                cluster.metric = Some(1.0);
                cluster.until(|state| state.failed_checks == failed);
                assert_eq!(
                    matches!(cluster.state.stage, Stage::Step { .. }),
                    failed < threshold,
                    "{failed} of {threshold}"
                );
                let measured = cluster.state.check;
                if healthy_between && failed < threshold {
                    cluster.metric = Some(100.0);
                    cluster.until(|state| state.check > measured + 1);
                    assert_eq!(cluster.state.failed_checks, failed, "a success takes none");
                }
            }
            cluster.finish();
            assert_eq!(failure(&cluster), FailureReason::FailedChecks);
            assert_eq!(cluster.state.failed_checks, threshold);
        }
    }
}

#[test]
fn what_a_run_paused_it_resumes_over_whoever_paused_it_too() {
    let mut promoted = Cluster::new(plan(linear()));
    promoted.finish();
    let mut aborted = Cluster::new(plan(linear()));
    aborted.until(in_step(1));
    abort(&mut aborted, AbortCause::Manual);
    aborted.finish();
    for cluster in [promoted, aborted] {
        let under_way = cluster
            .decisions
            .iter()
            .filter(|one| !one.next.is_terminal());
        let overlays: Vec<_> = under_way.map(|one| &one.overlay).collect();
        let begun = overlays.iter().position(|one| one.paused);
        let (before, after) = overlays.split_at(begun.expect("it pauses"));
        assert!(before.iter().all(|one| !one.resumed), "its user's pause");
        assert!(after.iter().all(|one| one.paused != one.resumed));
        assert!(after.iter().any(|one| one.resumed));
        assert!(!cluster.last().overlay.resumed, "nothing of it stays");
    }
}
