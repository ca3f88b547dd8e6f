//! What humans and the hub say.

use bellwether_api::{
    command::{Abort, AbortCause, Command, CommandOutcome, CommandSource, QueuedCommand, Verb},
    rollout::Advance,
    status::{FailureReason, Phase, Verdict},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    super::{RunState, Stage, StepPart},
    model::{Cluster, REVISION, advance, manual, plan},
};

fn at_gate(index: u32) -> impl Fn(&RunState) -> bool {
    move |state| matches!(&state.stage, Stage::Step { index: at, part: StepPart::Gate { .. } } if *at == index)
}

fn outcomes(cluster: &Cluster) -> Vec<(u64, CommandOutcome)> {
    cluster
        .state
        .executed
        .iter()
        .map(|one| (one.id, one.outcome))
        .collect()
}

#[test]
fn gates_wait_for_a_human_as_long_as_it_takes() {
    let mut cluster = Cluster::new(plan(manual(&[20, 60])));
    cluster.until(at_gate(0));
    for _ in 0..500 {
        cluster.tick(5);
    }
    assert!(
        at_gate(0)(&cluster.state),
        "the deadline stands still: {:?}",
        cluster.state
    );
    assert_eq!(cluster.last().waiting_on[0].reason, "Approval");
    assert_eq!(cluster.last().summary.phase, Phase::Paused);
    cluster.queue(1, Verb::Approve, Some(0));
    cluster.until(at_gate(1));
    assert_eq!(cluster.last().summary.phase, Phase::WaitingPromotion);
    cluster.tick(5);
    assert_eq!(
        outcomes(&cluster),
        [(1, CommandOutcome::Executed)],
        "once, and for its own step"
    );
    cluster.queue(2, Verb::Approve, None);
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.state.verdicts[0].by, "ann");
    assert_eq!(cluster.state.verdicts[0].verdict, Verdict::Pass);
}

#[test]
fn a_failing_metric_counts_while_a_human_is_awaited() {
    let mut cluster = Cluster::new(plan(manual(&[20, 60])));
    cluster.until(at_gate(0));
    cluster.metric = Some(10.0);
    cluster.finish();
    assert!(
        matches!(&cluster.state.stage, Stage::Failed { failure } if failure.reason == FailureReason::FailedChecks)
    );
}

#[test]
fn an_approval_does_not_stand_for_a_check() {
    let mut cluster = Cluster::new(plan(manual(&[20, 60])));
    cluster.until(at_gate(0));
    cluster.metric = None;
    cluster.until(|state| {
        matches!(
            &state.stage,
            Stage::Step {
                part: StepPart::Gate {
                    verdict: Verdict::Unknown,
                    ..
                },
                ..
            }
        )
    });
    cluster.queue(1, Verb::Approve, Some(0));
    cluster.tick(5);
    assert_eq!(cluster.last().waiting_on[0].reason, "ChecksUnknown");
    assert!(outcomes(&cluster).is_empty());
    cluster.metric = Some(100.0);
    cluster.until(at_gate(1));
    assert_eq!(outcomes(&cluster), [(1, CommandOutcome::Executed)]);
}

#[test]
fn what_is_meant_for_another_step_revision_or_moment_is_stale() {
    let mut cluster = Cluster::new(plan(manual(&[20, 60])));
    cluster.until(|state| {
        matches!(
            state.stage,
            Stage::Step {
                part: StepPart::Scaling,
                ..
            }
        )
    });
    cluster.queue(1, Verb::Approve, Some(0));
    cluster.queue(2, Verb::Skip, Some(1));
    cluster.queue(3, Verb::Promote, None);
    cluster.grant.command.queue[2].revision = REVISION - 1;
    cluster.tick(5);
    let stale = CommandOutcome::Stale;
    assert_eq!(outcomes(&cluster), [(1, stale), (2, stale), (3, stale)]);
    assert!(
        cluster
            .state
            .executed
            .iter()
            .all(|one| !one.message.is_empty())
    );
    cluster.until(at_gate(0));
    cluster.queue(4, Verb::Promote, Some(0));
    cluster.finish();
    cluster.queue(5, Verb::Skip, None);
    cluster.tick(5);
    assert_eq!(
        outcomes(&cluster)[3..],
        [(4, CommandOutcome::Executed), (5, stale)]
    );
}

#[test]
fn skip_leaves_one_step_and_promote_all() {
    let mut cluster = Cluster::new(plan(manual(&[20, 40, 60])));
    cluster.until(at_gate(0));
    cluster.queue(1, Verb::Skip, Some(0));
    cluster.until(at_gate(1));
    assert_eq!(cluster.state.weight.percent(), 40);
    cluster.queue(2, Verb::Promote, Some(1));
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    let verdicts: Vec<_> = cluster
        .state
        .verdicts
        .iter()
        .map(|one| (one.step, one.verdict))
        .collect();
    let overridden = Verdict::Overridden;
    assert_eq!(
        verdicts,
        [(0, overridden), (1, overridden), (2, overridden)]
    );
    assert_eq!(cluster.weights(), [0, 20, 40, 0]);
    cluster.assert_clean("new");
}

#[test]
fn an_early_promote_waits_until_traffic_is_safe() {
    let mut cluster = Cluster::new(plan(manual(&[20])));
    cluster.queue(1, Verb::Promote, None);
    cluster.tick(5);
    assert!(outcomes(&cluster).is_empty());
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    assert_eq!(cluster.weights(), [0]);
    assert_eq!(outcomes(&cluster), [(1, CommandOutcome::Executed)]);
}

#[test]
fn advance_of_the_canary_overrides_its_form() {
    let mut spec = plan(manual(&[20, 60]));
    advance(&mut spec, Advance::Auto);
    assert_eq!(Cluster::new(spec).finish(), &Stage::Succeeded);
    let mut spec = plan(json!({"stepWeight": 50}));
    advance(&mut spec, Advance::Manual);
    Cluster::new(spec).until(at_gate(1 - 1));
}

#[test]
fn a_suspended_run_keeps_its_weight_and_its_deadline() {
    let mut cluster = Cluster::new(plan(json!({"stepWeight": 10, "maxWeight": 50})));
    cluster.until(|state| state.weight.percent() == 20);
    cluster.grant.command.suspend = true;
    cluster.metric = Some(1.0);
    for _ in 0..500 {
        cluster.tick(5);
        assert_eq!(cluster.last().summary.phase, Phase::Suspended);
        assert_eq!(cluster.last().wake_at, None, "timers are ignored");
    }
    assert_eq!(
        (cluster.state.weight.percent(), cluster.state.failed_checks),
        (20, 0)
    );
    cluster.kill_canary();
    cluster.tick(5);
    assert_eq!(
        cluster.state.weight.percent(),
        0,
        "traffic to nobody is not kept"
    );
    cluster.metric = Some(100.0);
    cluster.grant.command.suspend = false;
    assert_eq!(cluster.finish(), &Stage::Succeeded);
}

#[test]
fn commands_of_another_run_say_nothing() {
    let mut cluster = Cluster::new(plan(manual(&[20])));
    cluster.grant.command.attempt = 9;
    cluster.grant.command.suspend = true;
    cluster.grant.command.abort = Some(Abort {
        cause: AbortCause::Manual,
        by: "ann".into(),
        reason: String::new(),
    });
    cluster.queue(1, Verb::Promote, None);
    cluster.until(at_gate(0));
    assert!(outcomes(&cluster).is_empty());
}

#[test]
fn a_human_in_the_cluster_needs_no_hub() {
    let mut cluster = Cluster::new(plan(manual(&[20])));
    cluster.until(at_gate(0));
    let approve = QueuedCommand {
        id: 1,
        verb: Verb::Approve,
        step: None,
        revision: 0,
        by: "bob".into(),
        reason: "looks good".into(),
        set: None,
    };
    cluster.grant.local = Some(Command {
        queue: vec![approve],
        ..Command::default()
    });
    cluster.tick(5);
    assert_eq!(cluster.state.executed[0].source, CommandSource::Local);
    assert_eq!(cluster.state.verdicts[0].by, "bob: looks good");
    // The hub's command of the same id is another one.
    cluster.queue(1, Verb::Approve, None);
    cluster.tick(5);
    assert_eq!(cluster.state.executed[1].outcome, CommandOutcome::Stale);
    let abort = Abort {
        cause: AbortCause::Manual,
        by: "bob".into(),
        reason: String::new(),
    };
    cluster.grant.local = Some(Command {
        run: Uuid::nil(),
        abort: Some(abort),
        ..Command::default()
    });
    cluster.finish();
    assert!(
        matches!(&cluster.state.stage, Stage::Failed { failure } if failure.reason == FailureReason::Manual)
    );
}
