use bellwether_api::{
    call::Condition,
    reference::NamespacedName,
    status::{Health, PAUSED_AFTER_FAILURE, WEIGHT_BY_HAND, WaitReason},
    view::{ClusterPhase, ClusterView, RunPhase, RunView, WavePhase, WaveView},
};
use uuid::Uuid;

use super::{unmeasured, why};

fn wait(reason: &str, message: &str, on: &str) -> WaitReason {
    WaitReason {
        reason: reason.into(),
        message: message.into(),
        on: Some(on.into()),
        since: Some("2026-03-01T12:00:00Z".into()),
        by_itself: Some("2026-03-01T12:16:00Z aborts".into()),
    }
}

fn cluster(name: &str, state: ClusterPhase) -> ClusterView {
    ClusterView {
        name: name.into(),
        state,
        attempt: u32::from(state != ClusterPhase::Queued),
        reachable: state != ClusterPhase::Unreachable,
        last_seen: None,
        health: Health::Healthy,
        reason: String::new(),
        message: String::new(),
        tracks: Vec::new(),
        waiting_on: Vec::new(),
        since: None,
    }
}

fn view(state: RunPhase, clusters: Vec<ClusterView>) -> RunView {
    RunView {
        application: NamespacedName {
            namespace: "shop".into(),
            name: "web".into(),
        },
        run: Uuid::from_u128(1),
        revision: 7,
        release: String::new(),
        version: String::new(),
        restores: None,
        from_revision: Some(6),
        from_version: String::new(),
        state,
        message: String::new(),
        done: 0,
        total: 3,
        percent: 0,
        waves: vec![WaveView {
            index: 0,
            name: "all".into(),
            state: WavePhase::Running,
            done: 0,
            failed: 0,
            total: 3,
            max_concurrent: 1,
            max_failures: 0,
            gates: Vec::new(),
            clusters,
            started_at: None,
            finished_at: None,
            note: String::new(),
        }],
        waiting_on: Vec::new(),
        by: String::new(),
        reason: String::new(),
        created_at: String::new(),
        finished_at: None,
        observed_at: String::new(),
        sequence: 0,
    }
}

#[test]
fn lost_cluster_is_named_with_what_queues_behind_it_and_the_ways_out() {
    let mut lost = cluster("us-2", ClusterPhase::Unreachable);
    lost.waiting_on = vec![wait("ClusterUnreachable", "not heard since 12:00", "us-2")];
    let mut view = view(
        RunPhase::Progressing,
        vec![lost, cluster("us-3", ClusterPhase::Queued)],
    );
    view.waiting_on = vec![wait(
        "ClusterUnreachable",
        "us-2: not heard since 12:00",
        "cluster/us-2",
    )];
    let answer = why(&view);
    assert_eq!(answer.headline, "WAITS ClusterUnreachable at cluster/us-2");
    assert_eq!(answer.because.len(), 1, "said once: {:?}", answer.because);
    assert_eq!(answer.queued, 1);
    assert_eq!(answer.by_itself, ["2026-03-01T12:16:00Z aborts"]);
    let commands: Vec<&str> = answer
        .do_one_of
        .iter()
        .map(|one| one.command.as_str())
        .collect();
    assert_eq!(
        commands,
        [
            "bellwether rollout skip web -n shop --cluster us-2 --reason …",
            "bellwether rollout abort web -n shop --reason …",
        ]
    );
    assert_eq!(answer.do_one_of[1].effect, "1 clusters back to revision 6");
    assert!(!answer.not_this.iter().any(|text| text.contains("heard")));
}

#[test]
fn every_state_has_a_headline_and_a_waiting_one_a_way_out() {
    for state in [
        RunPhase::Pending,
        RunPhase::Progressing,
        RunPhase::Soaking,
        RunPhase::WaitingApproval,
        RunPhase::Suspended,
        RunPhase::Halted,
        RunPhase::RollingBack,
        RunPhase::Succeeded,
        RunPhase::Failed,
        RunPhase::Aborted,
        RunPhase::Superseded,
    ] {
        let answer = why(&view(state, vec![cluster("a", ClusterPhase::Progressing)]));
        assert!(!answer.headline.is_empty());
        if state.waits_for_human() {
            assert!(!answer.do_one_of.is_empty(), "{state:?}");
        }
    }
}

#[test]
fn release_that_is_not_made_has_no_run_to_abort() {
    let mut view = view(RunPhase::Pending, Vec::new());
    view.run = Uuid::nil();
    view.waiting_on = vec![wait("NoClusters", "nothing matches", "")];
    assert_eq!(why(&view).do_one_of, []);
}

#[test]
fn a_human_is_told_the_verbs_that_work_where_it_waits() {
    let cases = [
        ("Approval", &["approve", "abort"][..]),
        (PAUSED_AFTER_FAILURE, &["resume", "promote", "abort"]),
        (WEIGHT_BY_HAND, &["set-weight", "promote", "abort"]),
    ];
    for (reason, verbs) in cases {
        let mut asking = cluster("a", ClusterPhase::WaitingApproval);
        asking.waiting_on = vec![wait(reason, "a human decides", "a human")];
        for state in [RunPhase::WaitingApproval, RunPhase::Progressing] {
            let answer = why(&view(state, vec![asking.clone()]));
            let said: Vec<&str> = answer
                .do_one_of
                .iter()
                .filter_map(|one| one.command.split(' ').nth(2))
                .collect();
            let gate = state == RunPhase::Progressing && reason == "Approval";
            let expected = if gate { &verbs[1..] } else { verbs };
            assert_eq!(said, expected, "{reason} {state:?}");
        }
    }
}

#[test]
fn a_cluster_whose_metrics_do_not_answer_is_named_while_the_run_is_under_way() {
    let silent = |name: &str| {
        (name != "c").then(|| Condition {
            kind: "MetricsReachable".to_owned(),
            status: "False".to_owned(),
            reason: "Unreachable".to_owned(),
            message: "http://nowhere: failed to reach the metrics source".to_owned(),
        })
    };
    let clusters = || {
        vec![
            cluster("a", ClusterPhase::Progressing),
            cluster("b", ClusterPhase::Succeeded),
            cluster("c", ClusterPhase::Progressing),
        ]
    };
    let found = unmeasured(&view(RunPhase::Progressing, clusters()), silent);
    let [wait] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (wait.reason.as_str(), wait.on.as_deref()),
        ("MetricsUnreachable", Some("a"))
    );
    assert!(wait.message.contains("http://nowhere"), "{wait:?}");
    assert!(unmeasured(&view(RunPhase::Succeeded, clusters()), silent).is_empty());
}
