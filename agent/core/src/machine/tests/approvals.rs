//! Gates that humans open by approvals, at the hooks that want them.

use bellwether_api::{
    command::{CommandOutcome, QueuedCommand, Verb},
    rollout::RolloutSpec,
    status::Phase,
};
use serde_json::{Value, json};

use super::{
    super::Stage,
    model::{Cluster, REVISION, plan},
};

fn approved(kind: &str, approval: &Value) -> RolloutSpec {
    let mut spec = plan(json!({"stepWeight": 10, "maxWeight": 20}));
    let hook = json!({"type": kind, "name": "gate", "approval": approval});
    spec.hooks = serde_json::from_value(json!([hook])).expect("hooks");
    spec
}

fn approve(cluster: &mut Cluster, id: u64, by: &str) {
    cluster.grant.command.queue.push(QueuedCommand {
        id,
        verb: Verb::Approve,
        step: None,
        revision: REVISION,
        by: by.to_owned(),
        reason: String::new(),
        set: None,
    });
    cluster.tick(5);
}

fn answer(cluster: &Cluster, id: u64) -> (CommandOutcome, String) {
    let executed = cluster.state.executed.iter();
    let answer = executed
        .rev()
        .find(|one| one.id == id)
        .expect("it is answered");
    (answer.outcome, answer.message.clone())
}

#[test]
fn each_gate_waits_for_its_approval_and_nobody_is_called() {
    for (kind, phase, weights) in [
        ("ConfirmRollout", Phase::Waiting, &[0][..]),
        ("ConfirmTrafficIncrease", Phase::Waiting, &[0]),
        ("ConfirmPromotion", Phase::WaitingPromotion, &[0, 10, 20]),
    ] {
        let mut cluster = Cluster::new(approved(kind, &json!({})));
        for _ in 0..300 {
            cluster.tick(5);
        }
        assert_eq!(cluster.last().summary.phase, phase, "{kind}");
        assert_eq!(cluster.weights(), weights, "{kind}");
        let wait = &cluster.last().waiting_on[0];
        assert_eq!(
            (
                wait.reason.as_str(),
                wait.on.as_deref(),
                wait.message.as_str()
            ),
            (
                "Approval",
                Some("hook/gate"),
                "hook gate: it has 0 of 1 approvals"
            ),
            "{kind}"
        );
        assert!(cluster.called.is_empty(), "{kind}");
        for id in 1..=3 {
            approve(&mut cluster, id, "ann");
            for _ in 0..60 {
                cluster.tick(5);
            }
        }
        assert_eq!(cluster.finish(), &Stage::Succeeded, "{kind}");
        assert_eq!(answer(&cluster, 1).0, CommandOutcome::Executed, "{kind}");
    }
}

#[test]
fn an_approval_takes_effect_at_once() {
    let mut cluster = Cluster::new(approved("ConfirmRollout", &json!({})));
    cluster.tick(1);
    cluster.tick(1);
    assert_eq!(cluster.state.stage, Stage::Initializing);
    approve(&mut cluster, 1, "ann");
    assert_ne!(cluster.state.stage, Stage::Initializing);
}

#[test]
fn those_who_are_named_approve_each_once() {
    let named = json!({"by": ["ann", "bob", "eve"], "count": 2});
    let mut cluster = Cluster::new(approved("ConfirmRollout", &named));
    cluster.tick(5);
    approve(&mut cluster, 1, "mallory");
    let stale = (
        CommandOutcome::Stale,
        "only ann, bob, eve may approve gate".to_owned(),
    );
    assert_eq!(answer(&cluster, 1), stale);
    approve(&mut cluster, 2, "ann");
    assert_eq!(answer(&cluster, 2).0, CommandOutcome::Executed);
    approve(&mut cluster, 3, "ann");
    let stale = (
        CommandOutcome::Stale,
        "ann approved gate already".to_owned(),
    );
    assert_eq!(answer(&cluster, 3), stale);
    assert_eq!(cluster.state.stage, Stage::Initializing);
    assert!(
        cluster.last().waiting_on[0]
            .message
            .contains("1 of 2 approvals of ann, bob, eve")
    );
    approve(&mut cluster, 4, "eve");
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

#[test]
fn every_rise_wants_its_own_approval() {
    let mut cluster = Cluster::new(approved("ConfirmTrafficIncrease", &json!({})));
    for _ in 0..20 {
        cluster.tick(5);
    }
    approve(&mut cluster, 1, "ann");
    for _ in 0..200 {
        cluster.tick(5);
    }
    assert_eq!(cluster.weights(), [0, 10]);
    assert_eq!(cluster.last().summary.phase, Phase::Paused);
    approve(&mut cluster, 2, "ann");
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0, 10, 20, 0]);
}

#[test]
fn one_word_opens_the_steps_own_gate_too() {
    let mut spec = approved("ConfirmPromotion", &json!({"by": ["ann"]}));
    if let Some(canary) = &mut spec.strategy.canary {
        canary.advance = Some(bellwether_api::rollout::Advance::Manual);
    }
    let mut cluster = Cluster::new(spec);
    for id in 1..=2 {
        for _ in 0..60 {
            cluster.tick(5);
        }
        approve(&mut cluster, id, "ann");
    }
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}
