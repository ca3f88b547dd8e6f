//! Checks of rollouts that run a copy of a DaemonSet beside it.

use super::{finding::Findings, manifests::Manifest};
use crate::{
    document::FieldPath,
    node_copy::unfit,
    rollout::RolloutSpec,
    strategy::{Instances, InstancesMode},
};

const NO_COUNT: &str = "a DaemonSet has a pod on each node, and its copy too; leave replicas out";

/// Checks what a plan asks for that goes by numbers of pods, which a DaemonSet does not have.
pub(super) fn check(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    if !rollout.copies_daemon_set() {
        return;
    }
    if rollout.destination.is_some() {
        findings.error(
            &path.key("workload"),
            "a copy beside a DaemonSet that the hub does not deliver is not supported by this version \
             of Bellwether; use strategy.batch, which updates it in place",
        );
    }
    let strategy = path.key("strategy");
    if let Some(canary) = &rollout.strategy.canary {
        let at = strategy.key("canary");
        for (index, step) in canary.steps.iter().enumerate() {
            if step.replicas.is_some() {
                findings.error(&at.key("steps").index(index).key("replicas"), NO_COUNT);
            }
        }
        if canary
            .manual
            .is_some_and(|manual| manual.replicas.is_some())
        {
            findings.error(&at.key("manual").key("replicas"), NO_COUNT);
        }
    }
    let green = rollout.strategy.blue_green.as_ref();
    if green.is_some_and(|green| green.replicas.is_some()) {
        findings.error(&strategy.key("blueGreen").key("replicas"), NO_COUNT);
    }
    instances(findings, &path.key("instances"), &rollout.instances);
}

fn instances(findings: &mut Findings, path: &FieldPath, instances: &Instances) {
    if instances.mode == InstancesMode::FixedTotal {
        findings.error(
            &path.key("mode"),
            "a DaemonSet has a pod on each node, and no number of them to share; use Surge",
        );
    }
    if instances.min_replicas != Instances::default().min_replicas {
        findings.error(
            &path.key("minReplicas"),
            "the copy of a DaemonSet has a pod on each node; leave minReplicas out",
        );
    }
    if instances.autoscaler.is_some() {
        findings.error(
            &path.key("autoscaler"),
            "nothing scales a DaemonSet; leave autoscaler out",
        );
    }
}

/// Checks that a second pod may stand beside the first on each node.
pub(super) fn governed(
    findings: &mut Findings,
    path: &FieldPath,
    rollout: &RolloutSpec,
    workload: &Manifest<'_>,
) {
    if !rollout.copies_daemon_set() {
        return;
    }
    if let Some(why) = unfit(workload.object) {
        findings.error(path, format!("{} {}: {why}", workload.kind, workload.name));
    }
}
