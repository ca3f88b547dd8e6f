mod contents;

use std::{collections::BTreeMap, sync::Arc};

use bellwether_api::{
    alert_provider, fleet::FleetDefaults, reference::NamespacedName, status::RunEvent,
};
use bellwether_hub_core::{
    bundle::{BundleInput, build},
    plan::PlannedCluster,
    release::Release,
    run::{
        ActionKind, ActionOutcome, AnsweredAction, ClusterSeen, Decision, Input, PendingAction,
        Reading, Supersession, Unrendered, decide,
    },
    view,
};
use bellwether_store::{
    Digest, Tx,
    actions::{self, Action, ActionType},
    blobs::{self, Secrecy},
    desired::{self, ClusterChange, Deletions, UnitChange},
    events, renderings,
    runs::{self, RunCluster, SaveRun},
};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::rendering::Renderings;

use super::{
    LoopError,
    application::Look,
    loaded::Loaded,
    size,
    start::{number, secrecy},
    world::World,
};

pub(super) use contents::Contents;

/// Everything that one decision on one run is made from.
pub(super) struct Turn<'a> {
    pub now: Timestamp,
    pub renderings: Option<&'a Renderings>,
    pub application: &'a NamespacedName,
    pub world: &'a World,
    pub fleet: FleetDefaults,
    pub loaded: Loaded,
    pub clusters: Arc<[ClusterSeen]>,
    pub joiners: Vec<PlannedCluster>,
    pub suspended_by_spec: bool,
    /// Rollouts that were deleted and want the run finished.
    pub completes: Vec<String>,
    /// What was answered to gates that wait.
    pub readings: Vec<Reading>,
}

impl Turn<'_> {
    pub fn decide(
        &self,
        supersession: Option<Supersession>,
        actions: &[PendingAction],
    ) -> Decision {
        decide(&Input {
            supersession,
            actions,
            ..self.input()
        })
    }

    /// Leaves out the cluster that an error is about, if it joins, or would get too much; tells whether
    /// there was one.
    pub fn leaves_out(&mut self, error: &LoopError) -> bool {
        let before = self.joiners.len();
        if let LoopError::Override { cluster, .. } | LoopError::TooLarge { cluster, .. } = error {
            self.joiners.retain(|joiner| joiner.id != *cluster);
        }
        self.joiners.len() < before || self.holds_back(error)
    }

    /// Takes clusters of the run as ones that wait for somebody's word; gives what the first waits for.
    pub fn hold(&mut self, losing: BTreeMap<Uuid, LoopError>) -> Option<LoopError> {
        let mut clusters = self.clusters.to_vec();
        for seen in &mut clusters {
            if let Some(error) = losing.get(&seen.id) {
                seen.unrendered = Some(Unrendered::Held(error.chain()));
            }
        }
        self.clusters = clusters.into();
        losing.into_values().next()
    }

    /// Takes a cluster of the run that would get too much as one that the release cannot be rendered for.
    fn holds_back(&mut self, error: &LoopError) -> bool {
        let LoopError::TooLarge { cluster, .. } = error else {
            return false;
        };
        let mut clusters = self.clusters.to_vec();
        let mut open = clusters.iter_mut();
        let Some(seen) = open.find(|seen| seen.id == *cluster && seen.unrendered.is_none()) else {
            return false;
        };
        seen.unrendered = Some(Unrendered::Failed(error.chain()));
        self.clusters = clusters.into();
        true
    }

    pub fn input(&self) -> Input<'_> {
        Input {
            now: self.now,
            run: self.loaded.facts(),
            plan: &self.loaded.plan,
            state: &self.loaded.state,
            clusters: &self.clusters,
            joiners: &self.joiners,
            actions: &[],
            // A rollback ends what was suspended.
            suspended_by_spec: self.suspended_by_spec && !self.loaded.plan.rollback,
            completes: &self.completes,
            readings: &self.readings,
            supersession: None,
        }
    }
}

/// Unanswered actions as decisions take them.
pub(super) fn pending(actions: &[Action]) -> Vec<PendingAction> {
    actions
        .iter()
        .map(|action| PendingAction {
            id: action.said.id,
            kind: match action.said.action {
                ActionType::Approve => ActionKind::Approve,
                ActionType::Promote => ActionKind::Promote,
                ActionType::Suspend => ActionKind::Suspend,
                ActionType::Resume => ActionKind::Resume,
                ActionType::Skip => ActionKind::Skip,
                ActionType::Abort => ActionKind::Abort,
                ActionType::Retry => ActionKind::Retry,
                ActionType::SetWeight => ActionKind::SetWeight,
                ActionType::Rollback => ActionKind::Rollback,
                ActionType::Finish => ActionKind::Finish,
            },
            wave: action.said.wave.clone(),
            cluster: action.said.cluster,
            step: action.said.step,
            expected_revision: action.said.expected_revision,
            set: action.said.set,
            to: None,
            by: action.said.by.clone(),
            reason: action.said.reason.clone(),
        })
        .collect()
}

/// Saves a decision whole: the state by compare-and-set first, then everything that follows from
/// it. The caller commits.
pub(super) async fn save(
    tx: &mut Tx,
    turn: &Turn<'_>,
    contents: &Contents,
    decision: &Decision,
    now: Timestamp,
) -> Result<(), LoopError> {
    let run = &turn.loaded.run;
    let after = Input {
        state: &decision.next,
        ..turn.input()
    };
    let state = serde_json::to_value(&decision.next).map_err(|source| LoopError::Corrupt {
        what: "run",
        application: turn.application.clone(),
        source,
    })?;
    let save = SaveRun {
        id: run.id,
        expected_version: run.version,
        status: view::phase_of(&after),
        state: &state,
    };
    runs::save(tx, &save, now).await?;
    for answer in &decision.answered {
        let result = serde_json::to_value(answer).unwrap_or(Value::Null);
        if !actions::answer(tx, answer.id, &result, now).await? {
            return Err(LoopError::Conflict);
        }
    }
    let generations = write_desired(tx, turn, contents, decision, now).await?;
    runs::save_clusters(tx, run.id, &clusters(turn, &after, &generations), now).await?;
    if !decision.events.is_empty() {
        let key = format!("application/{}", turn.application);
        // What the hub itself says is of no cluster.
        let nobody = Uuid::nil();
        let highest = events::highest(tx, nobody, &key).await?;
        let told = told(turn, decision, highest, now);
        events::insert(tx, nobody, &key, &told, now).await?;
    }
    log(turn, decision);
    Ok(())
}

/// Answers what was said to runs that have ended since: it is stale, and whoever said it waits.
pub(super) async fn answer_older(
    look: Look<'_>,
    turn: &Turn<'_>,
    stale: &[Action],
) -> Result<(), LoopError> {
    if stale.is_empty() {
        return Ok(());
    }
    let now = look.fence.now();
    let mut tx = look.fence.begin(look.store, now).await?;
    for action in stale {
        let answer = AnsweredAction {
            id: action.said.id,
            outcome: ActionOutcome::Stale,
            message: format!("revision {} took its place", turn.loaded.release.revision),
            clusters: Vec::new(),
        };
        let result = serde_json::to_value(&answer).unwrap_or(Value::Null);
        actions::answer(&mut tx, answer.id, &result, now).await?;
    }
    Ok(tx.commit().await?)
}

/// Saves the word that people see when a report changed it and nothing was decided: a step that
/// waits for a human, say.
pub(super) async fn keep_phase(
    look: Look<'_>,
    turn: &Turn<'_>,
    decision: &Decision,
) -> Result<(), LoopError> {
    if view::phase_of(&turn.input()) == turn.loaded.run.status {
        return Ok(());
    }
    let now = look.fence.now();
    let mut tx = look.fence.begin(look.store, now).await?;
    save(&mut tx, turn, &Contents::default(), decision, now).await?;
    Ok(tx.commit().await?)
}

/// Writes grants and commands as desired state; gives the new generations.
async fn write_desired(
    tx: &mut Tx,
    turn: &Turn<'_>,
    contents: &Contents,
    decision: &Decision,
    now: Timestamp,
) -> Result<BTreeMap<Uuid, u64>, LoopError> {
    let mut changes: BTreeMap<Uuid, Vec<UnitChange>> = BTreeMap::new();
    let origin = format!("run/{}", turn.loaded.run.id);
    for grant in &decision.grants {
        let Some(cluster) = turn.world.cluster(grant.cluster) else {
            // It went away since it was seen; the next turn sees that.
            return Err(LoopError::Conflict);
        };
        let release = contents
            .of(&grant.release)
            .ok_or_else(|| LoopError::NoSuchRelease {
                application: turn.application.clone(),
                release: format!("{:?}", grant.release),
            })?;
        let sent = contents.sent.get(&grant.cluster);
        let rendered = sent.map(|sent| Release {
            content: (*sent.content).clone(),
            ..release.clone()
        });
        if let Some(sent) = sent {
            let facts = BTreeMap::from([(grant.cluster, sent.facts.clone())]);
            renderings::note_facts(tx, release.id, &facts).await?;
        }
        let release = rendered.as_ref().unwrap_or(release);
        let bundle = build(BundleInput {
            application: turn.application,
            release,
            run: turn.loaded.run.id,
            attempt: grant.attempt,
            mode: grant.mode,
            returns: decision.is_return(grant),
            cluster,
            fleet: &turn.fleet,
            fleets: turn.world.fleets(),
        })
        .map_err(|source| LoopError::Override {
            application: turn.application.clone(),
            cluster: grant.cluster,
            name: cluster.name.clone(),
            source: Box::new(source),
        })?;
        size::check(&bundle)?.map_err(|source| LoopError::TooLarge {
            application: turn.application.clone(),
            cluster: grant.cluster,
            name: cluster.name.clone(),
            source,
        })?;
        let digest = blobs::put(tx, &bundle.bytes, secrecy(bundle.has_secret), now).await?;
        changes.entry(grant.cluster).or_default().push(UnitChange {
            key: format!("application/{}", turn.application),
            digest: Some(digest),
            origin: origin.clone(),
        });
    }
    for change in &decision.commands {
        let bytes = serde_json::to_vec(&change.command).map_err(|source| LoopError::Corrupt {
            what: "command",
            application: turn.application.clone(),
            source,
        })?;
        let digest: Digest = blobs::put(tx, &bytes, Secrecy::Plain, now).await?;
        changes.entry(change.cluster).or_default().push(UnitChange {
            key: format!("command/{}", turn.application),
            digest: Some(digest),
            origin: origin.clone(),
        });
    }
    let changes: Vec<ClusterChange> = changes
        .into_iter()
        .map(|(cluster, changes)| ClusterChange { cluster, changes })
        .collect();
    let mut generations = BTreeMap::new();
    for batch in changes.chunks(desired::BATCH) {
        let written = desired::write(tx, batch, Deletions::Braked)
            .await
            .map_err(|source| LoopError::Desired {
                application: turn.application.clone(),
                source,
            })?;
        generations.extend(written.into_iter().map(|one| (one.cluster, one.generation)));
    }
    Ok(generations)
}

/// The run's clusters as rows for lists and queries; the run's own state is what decisions read.
fn clusters(
    turn: &Turn<'_>,
    after: &Input<'_>,
    generations: &BTreeMap<Uuid, u64>,
) -> Vec<RunCluster> {
    let mut list = Vec::new();
    for (index, wave) in view::waves(after).iter().enumerate() {
        for (position, shown) in wave.clusters.iter().enumerate() {
            let found = after
                .state
                .clusters
                .iter()
                .find(|(_, cluster)| cluster.name == shown.name);
            let Some((id, _)) = found else { continue };
            let changed = generations.contains_key(id)
                || after.state.clusters.get(id) != turn.loaded.state.clusters.get(id);
            if !changed {
                continue;
            }
            list.push(RunCluster {
                cluster: *id,
                cluster_name: shown.name.clone(),
                wave: number(index),
                position: number(position),
                status: shown.state,
                attempt: shown.attempt,
                state: Value::Null,
                granted_generation: generations.get(id).copied(),
                updated_at: turn.now,
            });
        }
    }
    list
}

/// What the decision tells; `highest` is the number of the last event that was told before.
fn told(turn: &Turn<'_>, decision: &Decision, highest: u64, now: Timestamp) -> Vec<RunEvent> {
    // Numbers of one application's events rise over all of its runs, and over those of a deleted
    // application of that name, whose revisions began at 1 as well.
    let own = (turn.loaded.release.revision << 24) | turn.loaded.state.next_event;
    let first = own.max(highest + 1);
    decision
        .events
        .iter()
        .zip(first..)
        .map(|(event, seq)| {
            let name = event
                .cluster
                .and_then(|id| decision.next.clusters.get(&id))
                .map(|cluster| cluster.name.as_str());
            let attempt = event
                .cluster
                .and_then(|id| decision.next.clusters.get(&id))
                .map_or(0, |cluster| cluster.attempt);
            RunEvent {
                notify: alert_provider::told(&turn.fleet.alerts, event.severity),
                seq,
                at: now.to_string(),
                run: turn.loaded.run.id,
                attempt,
                severity: event.severity,
                reason: event.reason.clone(),
                object: None,
                message: name.map_or_else(
                    || event.message.clone(),
                    |name| format!("{name}: {}", event.message),
                ),
            }
        })
        .collect()
}

fn log(turn: &Turn<'_>, decision: &Decision) {
    for event in &decision.events {
        let cluster = event
            .cluster
            .and_then(|id| decision.next.clusters.get(&id))
            .map_or("", |cluster| cluster.name.as_str());
        tracing::info!(
            application = %turn.application,
            rollout.id = %turn.loaded.run.id,
            cluster.name = cluster,
            reason = event.reason,
            "{}",
            event.message
        );
    }
}
