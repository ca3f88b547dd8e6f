//! New versions over an old one that is not available.

use bellwether_api::{
    command::{AbortCause, CommandOutcome, Verb},
    duration::Dur,
    number::Weight,
    status::{FailureReason, Phase, Verdict},
    strategy::SessionAffinity,
};
use jiff::SignedDuration;
use serde_json::json;

use super::{
    super::{Overlay, PromotionPart, RunState, Stage},
    by_revision_model::Workload,
    in_place_model,
    model::{Cluster, abort, failure, linear, plan},
};
use crate::{provider::Split, settled::TemplateVersion};

/// A cluster whose old version has had `ready` of five pods left for long enough, and gets no more.
fn broken(ready: u32) -> Cluster {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.old_works = false;
    cluster.kill_stable(ready);
    for _ in 0..16 {
        cluster.tick(5);
    }
    cluster
}

fn never_replaced(cluster: &Cluster) -> bool {
    cluster.decisions.iter().all(|one| !replaces(&one.next))
}

fn replaces(state: &RunState) -> bool {
    matches!(
        state.stage,
        Stage::Promoting {
            part: PromotionPart::Replacing { .. }
        }
    )
}

/// Nothing beside the workload was ever wanted.
fn assert_plain(cluster: &Cluster) {
    for decision in &cluster.decisions {
        let template = decision.overlay.template;
        assert_eq!(decision.overlay, Overlay::none(template));
    }
}

#[test]
fn a_promotion_takes_the_new_version_in_over_an_old_one_that_is_not_available() {
    for ready in [0, 2] {
        let mut cluster = broken(ready);
        let message = cluster.tick(5).waiting_on[0].message.clone();
        assert!(
            message.contains("`bellwether rollout promote shop`"),
            "{message}"
        );
        cluster.tick(5);
        assert_eq!(cluster.state.stage, Stage::Initializing);
        cluster.queue(1, Verb::Promote, None);
        cluster.tick(5);
        assert!(replaces(&cluster.state), "{:?}", cluster.state.stage);
        assert_eq!(cluster.last().summary.phase, Phase::Promoting);
        assert_eq!(cluster.last().executed[0].outcome, CommandOutcome::Executed);
        let mut least = ready;
        while !cluster.tick(5).next.is_terminal() {
            least = least.min(cluster.pods("old").1 + cluster.pods("new").1);
        }
        assert_eq!(cluster.state.stage, Stage::Succeeded);
        assert_eq!(least, ready, "pods that were ready stay until others are");
        assert_plain(&cluster);
        let verdicts = &cluster.state.verdicts;
        assert_eq!(verdicts.len(), 5);
        let all_by_ann =
            |one: &super::super::StepVerdict| one.verdict == Verdict::Overridden && one.by == "ann";
        assert!(verdicts.iter().all(all_by_ann), "{verdicts:?}");
        cluster.assert_clean("new");
    }
}

#[test]
fn an_old_version_that_breaks_while_it_is_paused_can_be_promoted_over_too() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.until(|state| state.stage == Stage::Pausing);
    cluster.old_works = false;
    cluster.kill_stable(1);
    cluster.queue(1, Verb::Promote, None);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert!(cluster.decisions.iter().any(|one| replaces(&one.next)));
    cluster.assert_clean("new");
}

#[test]
fn nobody_is_promoted_over_an_old_version_that_is_there() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.queue(1, Verb::Promote, None);
    cluster.finish();
    assert_eq!(cluster.state.stage, Stage::Succeeded);
    assert!(never_replaced(&cluster));
    let mut pinned = cluster.decisions.iter();
    assert!(
        pinned.any(|one| !one.overlay.pins.is_empty()),
        "the preparations that keep traffic safe are made"
    );
}

/// A node is drained, and soon another one: each time its pods are elsewhere after a minute.
#[test]
fn pods_that_are_away_for_a_minute_are_no_broken_version() {
    for skips in [false, true] {
        let mut plan = plan(linear());
        plan.analysis.skip = skips;
        let mut cluster = Cluster::new(plan);
        if !skips {
            cluster.queue(1, Verb::Promote, None);
        }
        for _ in 0..2 {
            cluster.old_works = false;
            cluster.kill_stable(3);
            for _ in 0..12 {
                cluster.tick(5);
                assert_eq!(cluster.state.stage, Stage::Initializing);
            }
            cluster.old_works = true;
            cluster.until(|state| state.stage == Stage::Pausing);
        }
        assert_eq!(cluster.finish(), &Stage::Succeeded);
        assert!(never_replaced(&cluster));
        cluster.assert_clean("new");
    }
}

#[test]
fn how_long_it_has_to_last_is_said_and_looked_at_then() {
    let mut cluster = Cluster::new(plan(linear()));
    cluster.old_works = false;
    cluster.kill_stable(3);
    let from = cluster.now + SignedDuration::from_secs(75);
    cluster.tick(5);
    let message = &cluster.last().waiting_on[0].message;
    assert!(
        message.contains(&format!("should it stay so until {from}")),
        "{message}"
    );
    assert_eq!(cluster.last().wake_at, Some(from));
    cluster.queue(1, Verb::Promote, None);
    cluster.until(replaces);
    let began = cluster.state.entered_at.duration_since(from).as_secs();
    assert!((0..5).contains(&began), "{began} s");
}

/// Nobody has looked meanwhile: it may have been there.
#[test]
fn another_process_counts_anew_how_long_it_lasts() {
    let mut cluster = broken(3);
    let deadline = cluster.grant.plan.progress_deadline;
    cluster.state = cluster.state.clone().taken_up(deadline, cluster.now);
    cluster.queue(1, Verb::Promote, None);
    let again = cluster.now;
    cluster.until(replaces);
    let took = cluster.state.entered_at.duration_since(again).as_secs();
    assert!((75..90).contains(&took), "{took} s");
}

#[test]
fn a_promotion_waits_while_it_is_not_known_to_be_safe() {
    type Change = fn(&mut super::super::Observations);
    let cases: [(&str, Change); 5] = [
        ("a route that somebody split", |seen| {
            seen.routes[0].weight = Weight::new(20);
        }),
        ("a Service that is missing", |seen| seen.services.clear()),
        ("a controller that has not seen the template", |seen| {
            if let Some(workload) = &mut seen.workload {
                workload.generation += 1;
            }
        }),
        ("a pause of its user", |seen| {
            if let Some(workload) = &mut seen.workload {
                workload.paused = true;
            }
        }),
        ("a template that somebody changed", |seen| {
            if let Some(workload) = &mut seen.workload {
                workload.template = TemplateVersion::Other;
            }
        }),
    ];
    for (what, change) in cases {
        let mut cluster = broken(0);
        cluster.queue(1, Verb::Promote, None);
        let mut seen = cluster.observe();
        change(&mut seen);
        let decision = super::super::decide(cluster.now, &cluster.grant, &cluster.state, &seen);
        assert_eq!(decision.next.stage, Stage::Initializing, "{what}");
        assert!(decision.executed.is_empty(), "{what}");
    }
}

#[test]
fn a_suspended_run_is_not_promoted_and_an_aborted_one_neither() {
    let mut cluster = broken(0);
    cluster.grant.command.suspend = true;
    cluster.queue(1, Verb::Promote, None);
    cluster.tick(5);
    assert_eq!(cluster.state.stage, Stage::Initializing);
    abort(&mut cluster, AbortCause::Manual);
    cluster.grant.command.suspend = false;
    cluster.tick(5);
    assert_eq!(failure(&cluster), FailureReason::Manual);
    assert_plain(&cluster);
}

#[test]
fn a_gate_before_the_run_holds_a_promotion_too() {
    let mut plan = plan(linear());
    plan.hooks = serde_json::from_value(
        json!([{"name": "confirm", "type": "ConfirmRollout", "url": "http://h"}]),
    )
    .expect("a hook");
    let mut cluster = Cluster::new(plan);
    cluster.old_works = false;
    cluster.kill_stable(0);
    cluster.hooks.insert("confirm", Some(403));
    cluster.queue(1, Verb::Promote, None);
    for _ in 0..200 {
        cluster.tick(5);
    }
    assert_eq!(cluster.last().summary.phase, Phase::Waiting);
    cluster.hooks.insert("confirm", Some(200));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

/// With nothing to go back to, the old template comes back and the run is over: the next release can come
/// in whatever becomes of the old version.
#[test]
fn one_that_never_becomes_ready_fails_by_the_deadline_and_takes_no_ready_pod() {
    let mut cluster = broken(2);
    cluster.new_works = false;
    cluster.queue(1, Verb::Promote, None);
    cluster.until(replaces);
    let began = cluster.now;
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
    let took = cluster.now.duration_since(began).as_secs();
    assert!((300..400).contains(&took), "{took} s");
    assert_eq!(cluster.last().overlay, Overlay::none(TemplateVersion::Old));
    assert_eq!(cluster.pods("old").1, 2);
    assert_plain(&cluster);
}

/// Two pods of the new version become ready, the others never do.
fn half_new(update_takes: u32) -> Cluster {
    let mut cluster = broken(0);
    cluster.update_takes = update_takes;
    cluster.queue(1, Verb::Promote, None);
    cluster.until(replaces);
    while cluster.pods("new").1 < 2 {
        cluster.tick(5);
    }
    cluster.new_works = false;
    cluster
}

#[test]
fn going_back_by_itself_takes_no_ready_pod_of_the_new_version() {
    // Its own update stops nothing that is ready: it fails, and what is ready goes on serving.
    let mut cluster = half_new(0);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::DeadlineExceeded);
    assert_eq!(cluster.pods("new").1, 2);

    // With Recreate everything that serves would be stopped.
    let mut cluster = half_new(5);
    for _ in 0..200 {
        cluster.tick(5);
    }
    assert!(replaces(&cluster.state), "{:?}", cluster.state.stage);
    let waits = &cluster.last().waiting_on;
    let held = waits.iter().find(|wait| wait.reason == "KeepsReadyPods");
    assert!(held.is_some(), "{waits:?}");
    // A human may.
    abort(&mut cluster, AbortCause::Superseded);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::Superseded);

    let mut cluster = half_new(5);
    for _ in 0..200 {
        cluster.tick(5);
    }
    cluster.new_works = true;
    assert_eq!(cluster.finish(), &Stage::Succeeded, "or it heals");
}

/// The new template was refused, and the old version is back meanwhile.
#[test]
fn the_old_version_counts_for_no_new_one() {
    let mut cluster = broken(0);
    cluster.queue(1, Verb::Promote, None);
    cluster.tick(5);
    let mut healed = Cluster::new(plan(linear())).observe();
    if let Some(workload) = &mut healed.workload {
        workload.template = TemplateVersion::New;
    }
    let decision = super::super::decide(cluster.now, &cluster.grant, &cluster.state, &healed);
    assert!(replaces(&decision.next), "{:?}", decision.next.stage);
    assert_eq!(decision.waiting_on[0].reason, "NotUpdated");
}

#[test]
fn a_workload_that_is_deleted_meanwhile_ends_the_run() {
    let mut cluster = broken(0);
    cluster.new_works = false;
    cluster.queue(1, Verb::Promote, None);
    cluster.until(replaces);
    cluster.tick(5);
    cluster.workload_exists = false;
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::TargetGone);
}

#[test]
fn a_plan_that_skips_its_steps_is_not_held_up_by_a_broken_old_version() {
    let mut plan = plan(linear());
    plan.analysis.skip = true;
    let mut cluster = Cluster::new(plan);
    cluster.old_works = false;
    cluster.kill_stable(1);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_plain(&cluster);
    assert_eq!(cluster.state.verdicts[0].by, "analysis.skip");
    cluster.assert_clean("new");
}

#[test]
fn configuration_that_others_test_is_waited_for_before_anything_is_written() {
    let mut cluster = broken(0);
    cluster.extra.config_held_by = vec!["other".into()];
    cluster.queue(1, Verb::Promote, None);
    for _ in 0..200 {
        cluster.tick(5);
    }
    assert!(
        replaces(&cluster.state),
        "the others see that it goes along"
    );
    assert_eq!(cluster.last().waiting_on[0].reason, "ConfigShared");
    assert_eq!(cluster.last().overlay, Overlay::none(TemplateVersion::Old));
    cluster.extra.config_held_by.clear();
    assert_eq!(cluster.finish(), &Stage::Succeeded);

    let mut cluster = broken(0);
    cluster.extra.config_held_by = vec!["other".into()];
    cluster.queue(1, Verb::Promote, None);
    cluster.tick(5);
    abort(&mut cluster, AbortCause::Manual);
    cluster.tick(5);
    assert_eq!(failure(&cluster), FailureReason::Manual);
}

#[test]
fn routes_stay_as_the_user_wrote_them() {
    let mut plan = plan(json!({"weights": [50]}));
    plan.session_affinity = Some(SessionAffinity {
        cookie_name: "canary".into(),
        max_age: Dur::from_secs(60),
        stable_cookie_name: None,
    });
    let mut cluster = Cluster::new(plan);
    cluster.old_works = false;
    cluster.kill_stable(0);
    cluster.queue(1, Verb::Promote, None);
    while !cluster.tick(5).next.is_terminal() {
        assert_eq!(cluster.route, Split::default());
    }
}

fn broken_revision() -> Workload {
    let mut workload = Workload::new(&json!({"weights": [10, 40]}));
    workload.old_works = false;
    workload
}

#[test]
fn a_revision_that_is_not_ready_is_replaced_by_a_promotion_too() {
    let mut workload = broken_revision();
    workload.tick(5);
    let waits = &workload.decisions[0].waiting_on;
    assert!(waits[0].message.contains("rollout promote"), "{waits:?}");
    workload.queue(1, Verb::Promote, None);
    assert_eq!(workload.finish(), &Stage::Succeeded);
    workload.assert_clean(TemplateVersion::New);
    let mut workload = broken_revision();
    workload.new_works = false;
    workload.queue(1, Verb::Promote, None);
    workload.finish();
    assert!(matches!(workload.state.stage, Stage::Failed { .. }));
}

#[test]
fn in_place_a_promotion_waits_for_the_old_version_and_says_so() {
    let mut workload = in_place_model::Workload::new(&json!([{"replicas": 1}]), 3);
    workload.kill(0);
    workload.queue(1, Verb::Promote);
    workload.tick(5);
    let message = &workload.decisions[0].waiting_on[0].message;
    assert!(message.contains("it is updated in place"), "{message}");
    assert_eq!(workload.state.stage, Stage::Initializing);
}

/// A pod that is not ready for a while sends a run back to where it began.
#[test]
fn what_a_run_begins_with_is_said_once() {
    let mut cluster = Cluster::new(plan(linear()));
    for _ in 0..3 {
        cluster.until(|state| state.stage == Stage::Pausing);
        cluster.old_works = false;
        cluster.kill_stable(4);
        cluster.until(|state| state.stage == Stage::Initializing);
        cluster.old_works = true;
    }
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    let events = cluster.decisions.iter().flat_map(|one| &one.events);
    let started = events.filter(|event| event.reason == "Started");
    assert_eq!(started.count(), 1);
}
