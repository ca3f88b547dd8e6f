//! Runs whose Rollout was deleted and wants them finished.

use bellwether_api::{
    command::AbortCause,
    rollout::OnDeletion,
    status::{FailureReason, Verdict},
};

use super::{
    super::{Stage, StepPart},
    model::{Cluster, abort, failure, in_step, manual, plan},
};

#[test]
fn a_completed_run_passes_no_check_by() {
    let completing = || {
        let mut spec = plan(manual(&[20, 60]));
        spec.on_deletion = OnDeletion::Complete;
        let mut cluster = Cluster::new(spec);
        cluster.grant.command.complete = vec!["web".into()];
        cluster
    };
    let mut cluster = completing();
    assert_eq!(
        cluster.finish(),
        &Stage::Succeeded,
        "told before it began, it begins all the same"
    );
    let weights: Vec<u32> = cluster.state.verdicts.iter().map(|one| one.step).collect();
    assert_eq!(weights, [0, 1], "in the plan's order");
    assert!(
        cluster
            .state
            .verdicts
            .iter()
            .all(|one| one.by == "onDeletion: Complete" && one.verdict == Verdict::Pass)
    );
    cluster.assert_clean("new");

    let mut cluster = completing();
    cluster.until(in_step(1));
    cluster.metric = Some(10.0);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::FailedChecks);
    cluster.assert_clean("old");

    let mut cluster = completing();
    cluster.until(in_step(1));
    abort(&mut cluster, AbortCause::Deleted);
    cluster.finish();
    assert_eq!(failure(&cluster), FailureReason::Deleted, "an abort is one");

    // Without `onDeletion: Complete` the command says nothing.
    let mut cluster = Cluster::new(plan(manual(&[20, 60])));
    cluster.grant.command.complete = vec!["web".into()];
    cluster.until(|state| {
        matches!(
            &state.stage,
            Stage::Step {
                part: StepPart::Gate { .. },
                ..
            }
        )
    });
    cluster.tick(5);
    assert_eq!(cluster.last().waiting_on[0].reason, "Approval");
}
