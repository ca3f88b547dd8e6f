use bellwether_api::{
    call::ActionVerb,
    command::{CommandOutcome, CommandSource, ExecutedCommand},
    fleet::FleetDefaults,
    reference::NamespacedName,
    rollout::{OnDeletion, RolloutSpec},
    standing_grant::StandingGrant,
    status::{TrackSummary, UnitOutcome, UnitStatus},
    view::{ClusterPhase, RunPhase},
};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::placement::ClusterFacts;

fn spec() -> RolloutSpec {
    serde_json::from_value(json!({
        "destination": {"clusters": ["c1"]},
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
        "service": {"name": "web", "port": 80},
        "strategy": {"canary": {"stepWeight": 50}},
    }))
    .expect("a plan")
}

fn name() -> NamespacedName {
    NamespacedName {
        namespace: "default".into(),
        name: "shop-web".into(),
    }
}

fn granted(before: Option<&StandingGrant>) -> StandingGrant {
    granted_with(json!([]), before)
}

/// A grant for a cluster with that default traffic.
fn granted_with(traffic: serde_json::Value, before: Option<&StandingGrant>) -> StandingGrant {
    let cluster = ClusterFacts {
        id: Uuid::nil(),
        name: "c1".into(),
        labels: std::collections::BTreeMap::new(),
        metrics: None,
        traffic: serde_json::from_value(traffic).expect("traffic"),
        scheduling: std::sync::Arc::default(),
    };
    let fleet: FleetDefaults = serde_json::from_value(json!({
        "traffic": [{"gatewayApi": {"httpRoutes": ["web"]}}],
        "metrics": {"address": "http://prometheus:9090"},
    }))
    .expect("defaults");
    grant(GrantInput {
        rollout: &name(),
        spec: &spec(),
        cluster: &cluster,
        fleet: &fleet,
        templates: &crate::release::Templates::new(),
        before,
    })
    .expect("it uses no template")
}

fn status(outcome: UnitOutcome, run: u128) -> UnitStatus {
    serde_json::from_value(json!({
        "application": {"namespace": "default", "name": "shop-web"},
        "digest": "d", "generation": 1, "run": Uuid::from_u128(run), "attempt": 1, "release": "r",
        "outcome": outcome, "appliedRelease": null, "health": "Healthy", "objects": [],
        "objectCount": 0, "rollouts": [], "waitingOn": [],
    }))
    .expect("a status")
}

fn at_step(step: u32) -> TrackSummary {
    serde_json::from_value(json!({
        "name": "shop-web", "phase": "Paused", "step": step, "steps": 2, "weight": 50,
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
        "observedWeight": 50, "stable": {"ready": 5, "desired": 5}, "canary": {"ready": 3, "desired": 3},
        "failedChecks": 0, "failureThreshold": 1, "checks": [], "waitingOn": [],
    }))
    .expect("a summary")
}

fn say(verb: ActionVerb) -> Said<'static> {
    Said {
        verb,
        step: None,
        set: None,
        by: "ana",
        reason: "",
    }
}

#[test]
fn a_grant_is_the_plan_with_its_defaults_and_keeps_what_was_commanded() {
    let first = granted(None);
    assert_eq!(first.spec.destination, None);
    assert_eq!(first.spec.traffic.len(), 1, "the fleet's");
    assert_eq!(
        first.metrics.as_ref().map(|one| one.address.as_str()),
        Some("http://prometheus:9090")
    );
    let running = status(UnitOutcome::Progressing, 7);
    let said = act(&first, Some(&running), say(ActionVerb::Suspend)).expect("it runs");
    assert_eq!(granted(Some(&said)), said);
}

#[test]
fn a_clusters_own_default_comes_before_the_fleets_and_a_change_of_it_keeps_what_was_commanded() {
    let nginx = json!([{"nginx": {"ingress": "web"}}]);
    let first = granted_with(nginx, None);
    assert!(first.spec.traffic[0].nginx.is_some());
    let running = status(UnitOutcome::Progressing, 7);
    let said = act(&first, Some(&running), say(ActionVerb::Suspend)).expect("it runs");
    let without = granted(Some(&said));
    assert!(without.spec.traffic[0].gateway_api.is_some());
    assert_eq!(without.command, said.command);
}

#[test]
fn a_word_reaches_the_run_that_is_under_way_and_no_other() {
    let grant = granted(None);
    let approve = say(ActionVerb::Approve);
    assert_eq!(act(&grant, None, approve), Err(Refusal::NoRun));
    let at_rest = status(UnitOutcome::Succeeded, 7);
    assert_eq!(act(&grant, Some(&at_rest), approve), Err(Refusal::NoRun));
    let mut running = status(UnitOutcome::Progressing, 7);
    running.rollouts = vec![at_step(0)];
    let first = act(&grant, Some(&running), approve).expect("it runs");
    let second = act(&first, Some(&running), approve).expect("it runs");
    let ids = |grant: &StandingGrant| -> Vec<u64> {
        let queue = &grant.command.as_ref().expect("a command").queue;
        queue.iter().map(|one| one.id).collect()
    };
    assert_eq!(ids(&second), [1, 2]);
    let queue = &second.command.as_ref().expect("a command").queue;
    let stands_at = running.rollouts.first().and_then(|track| track.step);
    assert!(
        stands_at.is_some() && queue.iter().all(|one| one.step == stands_at),
        "said twice, it opens one gate: {queue:?}"
    );
    running.executed = (1..=2)
        .map(|id| ExecutedCommand {
            source: CommandSource::Hub,
            id,
            outcome: CommandOutcome::Executed,
            message: String::new(),
            rollout: String::new(),
        })
        .collect();
    let third = act(&second, Some(&running), approve).expect("it runs");
    assert_eq!(
        ids(&third),
        [3],
        "what was answered goes, and no number comes twice"
    );
    // Another change is another run: what was said to the one before is nothing to it.
    let next = status(UnitOutcome::Progressing, 8);
    let fourth = act(&third, Some(&next), approve).expect("it runs");
    assert_eq!(ids(&fourth), [1]);
    assert_eq!(fourth.command.map(|one| one.run), Some(Uuid::from_u128(8)));
}

#[test]
fn suspend_and_resume_are_a_state_and_a_resume_after_a_failure_is_a_word() {
    let running = status(UnitOutcome::Progressing, 7);
    let grant = granted(None);
    let stopped = act(&grant, Some(&running), say(ActionVerb::Suspend)).expect("it runs");
    assert!(stopped.command.as_ref().is_some_and(|one| one.suspend));
    let goes = act(&stopped, Some(&running), say(ActionVerb::Resume)).expect("it runs");
    let command = goes.command.as_ref().expect("a command");
    assert!(!command.suspend && command.queue.is_empty());
    let again = act(&goes, Some(&running), say(ActionVerb::Resume)).expect("it runs");
    assert_eq!(again.command.expect("a command").queue.len(), 1);
}

#[test]
fn only_what_failed_is_retried() {
    let grant = granted(None);
    let retry = say(ActionVerb::Retry);
    let running = status(UnitOutcome::Progressing, 7);
    assert_eq!(
        act(&grant, Some(&running), retry),
        Err(Refusal::NothingFailed)
    );
    let failed = status(UnitOutcome::Failed, 7);
    let next = act(&grant, Some(&failed), retry).expect("it failed");
    assert_eq!(next.retries, grant.retries + 1);
}

#[test]
fn what_is_shown_is_what_clusters_say_now() {
    let cluster = |name: &str, reachable: bool, status: Option<UnitStatus>| StandingCluster {
        name: name.into(),
        reachable,
        last_heard: None,
        status,
    };
    let shown = |clusters: &[StandingCluster]| {
        let now = Timestamp::UNIX_EPOCH;
        let view = view(&name(), "ana", now, clusters, None, now);
        let phases = view.waves[0].clusters.iter().map(|one| one.state).collect();
        let unexplained = view.waves[0].clusters.iter().any(|one| {
            let done = matches!(one.state, ClusterPhase::Succeeded | ClusterPhase::Failed);
            !done && one.waiting_on.is_empty()
        });
        assert!(!unexplained, "whatever is unfinished says what it waits on");
        (view.state, phases)
    };
    let rest = cluster("a", true, Some(status(UnitOutcome::Succeeded, 1)));
    let failed = cluster("b", true, Some(status(UnitOutcome::Failed, 2)));
    let silent = cluster("c", false, Some(status(UnitOutcome::Succeeded, 3)));
    let runs = cluster("d", true, Some(status(UnitOutcome::Progressing, 4)));
    let fresh = cluster("e", true, None);
    use ClusterPhase as Phase;
    let cases = [
        (vec![], RunPhase::Pending, vec![]),
        (
            vec![rest.clone()],
            RunPhase::Succeeded,
            vec![Phase::Succeeded],
        ),
        (
            vec![rest.clone(), failed.clone()],
            RunPhase::Failed,
            vec![Phase::Succeeded, Phase::Failed],
        ),
        (
            vec![failed, runs],
            RunPhase::Progressing,
            vec![Phase::Failed, Phase::Progressing],
        ),
        (
            vec![rest.clone(), silent],
            RunPhase::Progressing,
            vec![Phase::Succeeded, Phase::Unreachable],
        ),
        (
            vec![rest, fresh],
            RunPhase::Progressing,
            vec![Phase::Succeeded, Phase::Granted],
        ),
    ];
    for (clusters, state, phases) in cases {
        assert_eq!(shown(&clusters), (state, phases));
    }
}

#[test]
fn what_stalls_and_what_clusters_warn_of_are_conditions() {
    let warned = |name: &str, warnings: &[&str]| StandingCluster {
        name: name.into(),
        reachable: true,
        last_heard: None,
        status: Some(UnitStatus {
            warnings: warnings.iter().map(|one| (*one).to_owned()).collect(),
            ..status(UnitOutcome::Succeeded, 1)
        }),
    };
    let clusters = [
        warned(
            "a",
            &["WebhookOff: it is not told to", "a secret: of nobody"],
        ),
        warned("b", &["WebhookOff: it is not told to"]),
        warned("c", &[]),
    ];
    let found = conditions(&clusters, Some("2 clusters would lose it"));
    let said: Vec<String> = found
        .iter()
        .map(|one| format!("{} {} {}", one.kind, one.status, one.message))
        .collect();
    assert_eq!(
        said,
        [
            "Stalled True 2 clusters would lose it",
            "WebhookOff True a: it is not told to; b: it is not told to",
        ]
    );
    let now = Timestamp::UNIX_EPOCH;
    let view = view(&name(), "ana", now, &clusters, Some("a brake"), now);
    assert_eq!(view.waiting_on[0].reason, "Stalled");
    assert_eq!(conditions(&clusters[2..], None), []);
}

#[test]
fn a_retry_is_refused_while_what_failed_still_goes_back() {
    let grant = granted(None);
    let going = status(UnitOutcome::RollingBack, 7);
    let retry = say(ActionVerb::Retry);
    assert_eq!(act(&grant, Some(&going), retry), Err(Refusal::GoesBack));
}

fn completing(before: &StandingGrant, status: &UnitStatus) -> StandingGrant {
    match part(before, Some(status)) {
        Parting::Complete(next) => *next,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deleted_rollout_lets_its_run_end_where_its_plan_says_so() {
    let mut grant = granted(None);
    let running = status(UnitOutcome::Progressing, 7);
    assert_eq!(part(&grant, Some(&running)), Parting::TakeAway, "Rollback");
    grant.spec.on_deletion = OnDeletion::Complete;
    grant.spec.suspend = true;
    let suspended = act(&grant, Some(&running), say(ActionVerb::Suspend)).expect("it runs");
    let next = completing(&suspended, &running);
    let command = next.command.clone().expect("a command");
    assert_eq!(command.run, running.run);
    assert_eq!(command.complete, ["shop-web"]);
    assert!(
        !command.suspend && !next.spec.suspend,
        "it waits for nobody"
    );
    assert!(next.ends() && !suspended.ends());
    assert_eq!(part(&next, Some(&running)), Parting::Completes);
    for outcome in [
        UnitOutcome::Succeeded,
        UnitOutcome::Failed,
        UnitOutcome::RollingBack,
    ] {
        let ended = status(outcome, 7);
        assert_eq!(part(&next, Some(&ended)), Parting::TakeAway, "{outcome:?}");
    }
    let another = status(UnitOutcome::Progressing, 8);
    assert_eq!(part(&next, Some(&another)), Parting::TakeAway);
}

#[test]
fn nothing_is_waited_for_where_no_run_is_known_or_it_was_aborted() {
    let mut grant = granted(None);
    grant.spec.on_deletion = OnDeletion::Complete;
    assert_eq!(part(&grant, None), Parting::TakeAway);
    let at_rest = status(UnitOutcome::Succeeded, 7);
    assert_eq!(part(&grant, Some(&at_rest)), Parting::TakeAway);
    let mut nothing = status(UnitOutcome::Progressing, 0);
    nothing.run = Uuid::nil();
    assert_eq!(part(&grant, Some(&nothing)), Parting::TakeAway);
    let running = status(UnitOutcome::Progressing, 7);
    let aborted = act(&grant, Some(&running), say(ActionVerb::Abort)).expect("it runs");
    assert_eq!(part(&aborted, Some(&running)), Parting::TakeAway);
}

#[test]
fn a_rollout_that_is_there_again_waits_for_humans_again() {
    let mut grant = granted(None);
    grant.spec.on_deletion = OnDeletion::Complete;
    let running = status(UnitOutcome::Progressing, 7);
    let next = completing(&grant, &running);
    let again = granted(Some(&next));
    assert!(!again.ends(), "{again:?}");
}
