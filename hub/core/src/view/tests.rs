use bellwether_api::{
    application::OnFailure,
    reference::NamespacedName,
    status::{Health, UnitOutcome},
    view::{ClusterPhase, RunPhase, RunView, WavePhase},
};
use serde_json::json;
use uuid::Uuid;

use super::{ViewInput, build, version};
use crate::{
    release::{Release, content},
    run::{
        ActionKind, Input, RunFacts,
        tests::model::{Fleet, RUN, Will, approval, plan, soak, status, wave},
    },
};

fn release(image: &str) -> Release {
    let spec = serde_json::from_value(json!({
        "destination": {"fleet": "f"},
        "components": [{"name": "web", "manifests": [{
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}},
        }]}],
    }))
    .expect("an application");
    let content = content("shop", &spec, &[]).expect("content");
    Release {
        id: Uuid::nil(),
        revision: 7,
        digest: content.digest(),
        content,
    }
}

fn view(fleet: &Fleet) -> RunView {
    let seen = fleet.seen();
    let input = Input {
        now: fleet.now,
        run: RunFacts {
            id: RUN,
            revision: 7,
            has_previous: true,
        },
        plan: &fleet.plan,
        state: &fleet.state,
        clusters: &seen,
        joiners: &fleet.joiners,
        actions: &[],
        suspended_by_spec: false,
        completes: &[],
        readings: &[],
        supersession: None,
    };
    let application = NamespacedName {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
    };
    build(&ViewInput {
        restores: None,
        application: &application,
        release: &release("registry:5000/shop:2.4.1"),
        from: Some(&Release {
            revision: 6,
            ..release("shop:2.4.0")
        }),
        run: input,
        by: "ana",
        reason: "",
        created_at: fleet.now,
        sequence: 3,
    })
}

fn gated() -> Fleet {
    let canary = crate::plan::PlannedWave {
        after: vec![soak("10m"), approval(1, &["sre"])],
        ..wave("canary", 1..2)
    };
    Fleet::new(plan(vec![canary, wave("rest", 2..4)]))
}

#[test]
fn versions_are_image_tags() {
    for (image, tag) in [
        ("registry:5000/shop:2.4.1", "2.4.1"),
        ("shop:v2@sha256:00", "v2"),
        ("registry:5000/shop", ""),
        ("shop", ""),
    ] {
        assert_eq!(version(&release(image).content), tag, "{image}");
    }
}

#[test]
fn a_run_is_shown_from_its_first_grant_to_its_end() {
    let mut fleet = gated();
    assert_eq!(view(&fleet).state, RunPhase::Pending);
    fleet.decide();
    let granted = view(&fleet);
    assert_eq!(
        (granted.state, granted.done, granted.total),
        (RunPhase::Progressing, 0, 3)
    );
    assert_eq!(granted.waves[0].clusters[0].state, ClusterPhase::Granted);
    assert_eq!(granted.waves[1].clusters[0].state, ClusterPhase::Queued);
    assert_eq!(
        granted.waves[1].note,
        "after canary + soak 10m + approval by sre"
    );
    assert_eq!(
        (granted.from_revision, granted.from_version.as_str()),
        (Some(6), "2.4.0")
    );
    fleet.agents();
    fleet.decide();
    fleet.pass(60);
    let soaking = view(&fleet);
    assert_eq!((soaking.state, soaking.percent), (RunPhase::Soaking, 33));
    assert_eq!(soaking.waves[0].state, WavePhase::Soaking);
    assert_eq!(soaking.waves[0].gates[0].detail, "soak 10m, 9m left");
    assert_eq!(soaking.waves[0].gates[1].detail, "approval by sre, 0 of 1");
    fleet.pass(540);
    let asking = view(&fleet);
    assert_eq!(asking.state, RunPhase::WaitingApproval);
    assert!(asking.waves[0].gates[0].passed && !asking.waves[0].gates[1].passed);
    let approve = fleet.act(ActionKind::Approve, "sre");
    fleet.answer(approve);
    fleet.settle();
    let ended = view(&fleet);
    assert_eq!((ended.state, ended.percent), (RunPhase::Succeeded, 100));
    assert!(ended.waiting_on.is_empty() && ended.finished_at.is_some());
    assert!(ended.waves[0].gates.iter().all(|gate| gate.passed));
}

#[test]
fn a_silent_cluster_is_never_shown_as_it_was_last() {
    let mut fleet = gated();
    fleet.settle();
    assert_eq!(
        view(&fleet).waves[0].clusters[0].state,
        ClusterPhase::Succeeded
    );
    fleet.lose(1);
    fleet.pass(60);
    let cluster = view(&fleet).waves[0].clusters[0].clone();
    assert_eq!(
        (cluster.state, cluster.health),
        (ClusterPhase::Unreachable, Health::Unknown)
    );
    assert!(!cluster.reachable && cluster.last_seen.is_some());
    assert!(!cluster.waiting_on.is_empty());
}

#[test]
fn failures_say_why_and_what_did_not_start() {
    let mut fleet = gated();
    fleet.member(1).will = Will::Fail;
    fleet.settle();
    let halted = view(&fleet);
    assert_eq!(
        (halted.state, halted.waves[0].state),
        (RunPhase::Halted, WavePhase::Failed)
    );
    let cluster = &halted.waves[0].clusters[0];
    assert_eq!(
        (cluster.state, cluster.reason.as_str()),
        (ClusterPhase::Failed, "FailedChecks")
    );
    assert_eq!(halted.waves[1].state, WavePhase::Waiting);
    assert!(halted.waves[1].clusters.iter().all(|one| one.attempt == 0));
    fleet.plan.on_failure = OnFailure::Halt;
    let abort = fleet.act(ActionKind::Abort, "ana");
    fleet.answer(abort);
    fleet.settle();
    let aborted = view(&fleet);
    assert_eq!(
        (aborted.state, aborted.message.as_str()),
        (RunPhase::Aborted, "ended by ana")
    );
    assert_eq!(aborted.waves[1].state, WavePhase::Skipped);
}

#[test]
fn everything_unfinished_says_what_it_waits_for() {
    let mut fleet = gated();
    fleet.member(1).will = Will::Hang;
    fleet.settle();
    let shown = view(&fleet);
    assert_eq!(
        shown.waves[0].clusters[0].waiting_on[0].reason,
        "PodsNotReady"
    );
    assert_eq!(shown.waiting_on[0].message, "c1: 2 of 5 pods are ready");
    let digest = fleet.member(1).status.clone().expect("a status").digest;
    fleet.member(1).status = Some(status(RUN, 1, &digest, UnitOutcome::RollingBack, None));
    fleet.decide();
    assert_eq!(
        view(&fleet).waves[0].clusters[0].state,
        ClusterPhase::RollingBack
    );
    for wave in &view(&fleet).waves {
        assert!(
            wave.clusters
                .iter()
                .all(|cluster| !cluster.waiting_on.is_empty())
        );
    }
}

#[test]
fn a_word_is_asked_for_in_a_cluster_that_waits_for_nothing_else() {
    let mut fleet = Fleet::new(plan(vec![wave("all", 1..2)]));
    fleet.member(1).held = Some("6 of its 6 objects would go".to_owned());
    fleet.decide();
    // Whoever only looks does not judge what it would lose.
    fleet.member(1).held = None;
    let shown = |fleet: &Fleet| {
        view(fleet).waves[0].clusters[0].waiting_on[0]
            .reason
            .clone()
    };
    assert_eq!(shown(&fleet), "PruneHeld");
    fleet.member(1).wait_for("db", true);
    assert_eq!(shown(&fleet), "DependsOn");
    fleet.member(1).wait_for("db", false);
    let status = fleet.member(1).status.as_mut();
    status.expect("a status").outcome = UnitOutcome::RollingBack;
    assert_eq!(shown(&fleet), "Queued");
}
