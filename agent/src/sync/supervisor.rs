//! One task per application, and per Rollout of a workload that somebody else delivers, woken when what
//! is wanted of it changes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bellwether_api::{bundle::UnitKey, command::Command, status::UnitOutcome};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{shell::Shell, unit::Unit, watch::Poke};

/// What of a unit the hub decides; a change of it wakes the task.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wish {
    generation: u64,
    digest: Option<String>,
    orphan: bool,
    /// One that could not be read is read once more by a newer agent, and is the same otherwise.
    refused: bool,
    command: Option<Command>,
}

/// How long an application rests after its task died.
const REST: Duration = Duration::from_secs(5);

struct Running {
    task: Id,
    poke: Arc<Poke>,
    wish: Wish,
}

/// Works on all applications until `shutdown`, and returns when every task has stopped.
pub async fn run(shell: Arc<Shell>, shutdown: CancellationToken) {
    let mut changes = shell.desired.subscribe();
    let mut running: BTreeMap<UnitKey, Running> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        changes.mark_unchanged();
        for (key, wish) in wishes(&shell) {
            match running.get_mut(&key) {
                Some(unit) if unit.wish == wish => {}
                Some(unit) => {
                    unit.wish = wish;
                    unit.poke.wake();
                }
                None => {
                    let poke = Arc::new(Poke::default());
                    let unit = Unit::new(Arc::clone(&shell), key.clone(), Arc::clone(&poke));
                    let task = tasks.spawn(unit.work(shutdown.clone())).id();
                    running.insert(key, Running { task, poke, wish });
                }
            }
        }
        shell
            .figures
            .units
            .set(i64::try_from(running.len()).unwrap_or(i64::MAX));
        tokio::select! {
            () = shutdown.cancelled() => break,
            changed = changes.changed() => if changed.is_err() { break },
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Err(error) = ended {
                    // A panic stays within its application, which starts anew after a rest.
                    tracing::error!(%error, "an application's task ended");
                    tokio::time::sleep(REST).await;
                    running.retain(|_, unit| unit.task != error.id());
                }
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

fn wishes(shell: &Shell) -> BTreeMap<UnitKey, Wish> {
    shell
        .desired
        .units()
        .into_iter()
        .filter_map(|(key, unit)| {
            let key: UnitKey = key.parse().ok()?;
            let command = match &key {
                UnitKey::Application(application) => shell.desired.command(application),
                // Its commands come with the grant itself.
                UnitKey::Rollout(_) => None,
                UnitKey::Command(_) => return None,
            };
            let wish = Wish {
                generation: unit.generation,
                digest: unit.digest,
                orphan: unit.orphan,
                refused: unit.outcome == Some(UnitOutcome::Refused),
                command,
            };
            Some((key, wish))
        })
        .collect()
}
