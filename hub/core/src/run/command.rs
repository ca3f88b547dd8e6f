use bellwether_api::command::Command;

use super::{
    cluster::{ClusterPhase, ClusterRun},
    decide::Turn,
    decision::CommandChange,
};

/// Returns the command units that differ from what was written last, and remembers them.
pub(super) fn changes(turn: &mut Turn<'_>) -> Vec<CommandChange> {
    let run = turn.input.run.id;
    let everything_stopped = turn.is_suspended();
    let waves = turn.next.waves.clone();
    let completing = turn
        .next
        .completing
        .as_ref()
        .map(|completing| completing.rollouts.clone())
        .unwrap_or_default();
    let mut changes = Vec::new();
    for (&id, cluster) in &mut turn.next.clusters {
        let reached = match cluster.phase {
            ClusterPhase::Running { .. } | ClusterPhase::Returning { .. } => true,
            ClusterPhase::Superseded { .. } => cluster.abort.is_some(),
            _ => false,
        };
        if !reached {
            continue;
        }
        let wave_stopped = cluster
            .wave
            .and_then(|wave| waves.get(wave))
            .is_some_and(|wave| wave.suspended.is_some());
        let stopped = everything_stopped || wave_stopped || cluster.suspended.is_some();
        let wanted = Command {
            run,
            attempt: cluster.attempt,
            // Going back is never stopped.
            suspend: stopped && cluster.abort.is_none(),
            abort: cluster.abort.clone(),
            complete: if cluster.abort.is_none() {
                completing.clone()
            } else {
                Vec::new()
            },
            queue: cluster.queue.clone(),
        };
        if is_said(cluster, &wanted) {
            continue;
        }
        cluster.written = Some(wanted.clone());
        changes.push(CommandChange {
            cluster: id,
            command: wanted,
        });
    }
    changes
}

/// A command for an earlier attempt is stale at the agent, so saying nothing is the same as
/// having said nothing.
fn is_said(cluster: &ClusterRun, wanted: &Command) -> bool {
    let silent = Command {
        run: wanted.run,
        attempt: wanted.attempt,
        ..Command::default()
    };
    match &cluster.written {
        Some(written) if written.attempt == wanted.attempt => written == wanted,
        _ => *wanted == silent,
    }
}
