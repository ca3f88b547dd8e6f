//! Grants of Rollouts whose workloads the hub does not deliver: one unit in each cluster of their
//! destinations, a tombstone where they are not wanted any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bellwether_api::{
    application::Destination, reference::NamespacedName, rollout::RolloutSpec,
    standing_grant::StandingGrant,
};
use bellwether_hub_core::{
    placement::{Removal, removal},
    standing::{GrantInput, grant},
};
use bellwether_store::{
    Digest, Tx,
    blobs::{self, Secrecy},
    changes::RecordTailer,
    desired::{self, ClusterChange, Deletions, UnitChange},
    records::{self, RecordKey, RecordKind},
    standing,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{LoopError, LoopState, facts::read, removal::ALLOW_REMOVAL, world::World};
use crate::app::App;

/// The name of this loop in `/readyz`.
const NAME: &str = "standing";
/// How often it looks for changes of records.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often it looks at everything, whatever changed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Keeps grants as the records want them, until the hub stops.
pub(super) async fn run(app: Arc<App>) {
    let mut tailer = RecordTailer::new(app.store.clone());
    let (mut due, mut swept) = (true, Instant::now());
    loop {
        let (did, errors) = match tailer.poll().await {
            Err(error) => (String::new(), vec![LoopError::from(error).chain()]),
            Ok(look) => {
                let matters = |kind: &str| !matches!(kind, "Application" | "Secret" | "Push");
                due |= look.complete || look.changes.keys().any(|(kind, ..)| matters(kind));
                if due || swept.elapsed() >= SWEEP_EVERY {
                    let (count, errors) = grant_all(&app).await;
                    due = !errors.is_empty();
                    swept = Instant::now();
                    (format!("looked at {count} rollouts"), errors)
                } else {
                    ("nothing changed".to_owned(), Vec::new())
                }
            }
        };
        let at = app.clock.now();
        app.loops.set(NAME, LoopState { at, did, errors });
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Looks at every such Rollout; gives their number, and what is wrong with some.
async fn grant_all(app: &App) -> (usize, Vec<String>) {
    let names = match standing::names(&app.store).await {
        Ok(names) if names.is_empty() => return (0, Vec::new()),
        Ok(names) => names,
        Err(error) => return (0, vec![LoopError::from(error).chain()]),
    };
    let world = match World::load(&app.store, None).await {
        Ok(world) => world,
        Err(error) => return (0, vec![LoopError::from(error).chain()]),
    };
    let mut errors = Vec::new();
    for name in &names {
        if let Err(error) = grant_one(app, &world, name).await {
            errors.push(error.chain());
        }
    }
    (names.len(), errors)
}

async fn grant_one(app: &App, world: &World, name: &NamespacedName) -> Result<(), LoopError> {
    let key = RecordKey {
        kind: RecordKind::Rollout,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    };
    let unit = format!("rollout/{name}");
    let mut tx = app.store.begin().await?;
    // Whoever commands its runs holds the same lock: no word is lost.
    let record = records::lock(&mut tx, &key).await?;
    let holders = desired::holders(&app.store, &unit).await?;
    let mut changes: Vec<ClusterChange> = Vec::new();
    let mut held = None;
    let wanted = match &record {
        Some(record) => {
            let spec: RolloutSpec = read("rollout", name, record.spec.clone())?;
            let destination = spec
                .destination
                .clone()
                .filter(|_| spec.application.is_none());
            destination.map(|destination| (record, spec, destination))
        }
        None => None,
    };
    let deletions = if let Some((record, spec, destination)) = wanted {
        let granted = Granting {
            app,
            world,
            name,
            spec: &spec,
            destination: &destination,
        };
        let placed = granted.grants(&mut tx, &holders, &mut changes).await?;
        let allowance = record.annotations.get(ALLOW_REMOVAL);
        let allowance = allowance.and_then(|count| count.trim().parse().ok());
        let holding: BTreeSet<Uuid> = holders.keys().copied().collect();
        match removal(&holding, &placed, allowance) {
            Removal::Allowed(leaving) => changes.extend(leaving.iter().map(|id| gone(*id, &unit))),
            Removal::Held { leaving, holding } => {
                held = Some(LoopError::RemovalHeld {
                    application: name.clone(),
                    leaving,
                    holding,
                });
            }
        }
        Deletions::Braked
    } else {
        changes.extend(holders.keys().map(|id| gone(*id, &unit)));
        Deletions::Allowed
    };
    write(&mut tx, name, &changes, deletions).await?;
    tx.commit().await?;
    if !changes.is_empty() {
        app.pokes.deliver.notify_one();
    }
    held.map_or(Ok(()), Err)
}

/// One Rollout and where it goes.
struct Granting<'a> {
    app: &'a App,
    world: &'a World,
    name: &'a NamespacedName,
    spec: &'a RolloutSpec,
    destination: &'a Destination,
}

impl Granting<'_> {
    /// Adds what clusters are granted that is not so yet; gives all that shall hold it.
    async fn grants(
        &self,
        tx: &mut Tx,
        holders: &BTreeMap<Uuid, Digest>,
        changes: &mut Vec<ClusterChange>,
    ) -> Result<BTreeSet<Uuid>, LoopError> {
        let placement =
            self.world
                .place_at(self.destination)
                .map_err(|source| LoopError::Place {
                    application: self.name.clone(),
                    source,
                })?;
        let fleet = self.world.defaults_at(self.destination);
        let mut placed = BTreeSet::new();
        for cluster in &placement.clusters {
            placed.insert(cluster.id);
            let held = holders.get(&cluster.id).copied();
            let before = match held {
                Some(digest) => blobs::get(&self.app.store, digest).await?,
                None => None,
            };
            let before: Option<StandingGrant> =
                before.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let granted = grant(GrantInput {
                rollout: self.name,
                spec: self.spec,
                cluster,
                fleet: &fleet,
                templates: self.world.templates(),
                before: before.as_ref(),
            })
            .map_err(|source| LoopError::Template {
                rollout: self.name.clone(),
                source: Box::new(source),
            })?;
            if before.as_ref() != Some(&granted) {
                let change = granting(tx, self.app, cluster.id, &granted).await?;
                changes.push(change);
            }
        }
        Ok(placed)
    }
}

/// Stores a grant and gives the change that grants it.
pub(crate) async fn granting(
    tx: &mut Tx,
    app: &App,
    cluster: Uuid,
    granted: &StandingGrant,
) -> Result<ClusterChange, LoopError> {
    let bytes = serde_json::to_vec(granted).map_err(|source| LoopError::Corrupt {
        what: "grant",
        application: granted.rollout.clone(),
        source,
    })?;
    let digest = blobs::put(tx, &bytes, Secrecy::Plain, app.clock.now()).await?;
    Ok(ClusterChange {
        cluster,
        changes: vec![UnitChange {
            key: format!("rollout/{}", granted.rollout),
            digest: Some(digest),
            origin: format!("rollout/{}", granted.rollout),
        }],
    })
}

fn gone(cluster: Uuid, unit: &str) -> ClusterChange {
    ClusterChange {
        cluster,
        changes: vec![UnitChange {
            key: unit.to_owned(),
            digest: None,
            origin: unit.to_owned(),
        }],
    }
}

/// Writes changes of grants in the caller's transaction.
pub(crate) async fn write(
    tx: &mut Tx,
    name: &NamespacedName,
    changes: &[ClusterChange],
    deletions: Deletions,
) -> Result<(), LoopError> {
    for batch in changes.chunks(desired::BATCH) {
        desired::write(tx, batch, deletions)
            .await
            .map_err(|source| LoopError::Desired {
                application: name.clone(),
                source,
            })?;
    }
    Ok(())
}
