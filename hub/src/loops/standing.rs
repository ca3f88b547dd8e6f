//! Grants of Rollouts whose workloads the hub does not deliver: one unit in each cluster of their
//! destinations, a tombstone where they are not wanted any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bellwether_api::{
    application::Destination, reference::NamespacedName, rollout::RolloutSpec,
    standing_grant::StandingGrant, status::UnitStatus,
};
use bellwether_hub_core::{
    placement::Removal,
    standing::{GrantInput, Parting, grant, part},
};
use bellwether_store::{
    Digest, Tx,
    blobs::{self, Secrecy},
    changes::RecordTailer,
    desired::{self, ClusterChange, Deletions, UnitChange},
    records::{self, RecordKey, RecordKind},
    standing, status,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    LoopError, LoopState,
    facts::read,
    removal::{removal_allowance, removal_by, spend},
    world::World,
};
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
                    let sweep = grant_all(&app).await;
                    // What ends a run is reported, and no record changes with it.
                    due = !sweep.errors.is_empty() || sweep.completes;
                    swept = Instant::now();
                    (format!("looked at {} rollouts", sweep.count), sweep.errors)
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

/// What one look at every such Rollout came to.
#[derive(Default)]
struct Sweep {
    /// How many there are.
    count: usize,
    /// Whether runs go on although their Rollouts were deleted.
    completes: bool,
    /// What is wrong with some.
    errors: Vec<String>,
}

/// Looks at every such Rollout.
async fn grant_all(app: &App) -> Sweep {
    let mut sweep = Sweep::default();
    let names = match standing::names(&app.store).await {
        Ok(names) if names.is_empty() => return sweep,
        Ok(names) => names,
        Err(error) => {
            sweep.errors.push(LoopError::from(error).chain());
            return sweep;
        }
    };
    let world = match World::load(&app.store, None).await {
        Ok(world) => world,
        Err(error) => {
            sweep.errors.push(LoopError::from(error).chain());
            return sweep;
        }
    };
    sweep.count = names.len();
    for name in &names {
        match grant_one(app, &world, name).await {
            Ok(completes) => sweep.completes |= completes,
            Err(error) => sweep.errors.push(error.chain()),
        }
    }
    sweep
}

/// Looks at one; tells whether runs go on although it was deleted.
async fn grant_one(app: &App, world: &World, name: &NamespacedName) -> Result<bool, LoopError> {
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
    let (mut held, mut completes) = (None, false);
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
        let allowance = removal_allowance(&mut tx, record).await?;
        let holding: BTreeSet<Uuid> = holders.keys().copied().collect();
        let (found, word) = removal_by(&holding, &placed, &allowance);
        match found {
            Removal::Allowed(leaving) => changes.extend(leaving.iter().map(|id| gone(*id, &unit))),
            Removal::Held { leaving, holding } => {
                held = Some(LoopError::RemovalHeld {
                    application: name.clone(),
                    leaving,
                    holding,
                    ask: Box::new(allowance.ask(leaving)),
                });
            }
        }
        if let Some(word) = word {
            spend(&mut tx, &key, &word, app.clock.now()).await?;
        }
        Deletions::Braked
    } else {
        if record.is_none() {
            completes = take_away(app, &mut tx, name, &holders, &mut changes).await?;
        } else {
            // An application delivers its workload from now on: nothing is brought in beside that.
            changes.extend(holders.keys().map(|id| gone(*id, &unit)));
        }
        Deletions::Allowed
    };
    write(&mut tx, name, &changes, deletions).await?;
    tx.commit().await?;
    if !changes.is_empty() {
        app.pokes.deliver.notify_one();
    }
    held.map_or(Ok(completes), Err)
}

/// Adds what takes a deleted Rollout away from its clusters, or has their runs end first; tells whether
/// some do.
async fn take_away(
    app: &App,
    tx: &mut Tx,
    name: &NamespacedName,
    holders: &BTreeMap<Uuid, Digest>,
    changes: &mut Vec<ClusterChange>,
) -> Result<bool, LoopError> {
    let unit = format!("rollout/{name}");
    let reports = status::list_for_unit(&app.store, &unit).await?;
    let statuses: BTreeMap<Uuid, UnitStatus> = reports
        .into_iter()
        .filter_map(|row| Some((row.cluster, serde_json::from_value(row.detail).ok()?)))
        .collect();
    let mut completes = false;
    for (id, digest) in holders {
        let bytes = blobs::get(&app.store, *digest).await?;
        let held: Option<StandingGrant> =
            bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let parting = held.map_or(Parting::TakeAway, |held| part(&held, statuses.get(id)));
        match parting {
            Parting::TakeAway => changes.push(gone(*id, &unit)),
            Parting::Complete(next) => {
                changes.push(granting(tx, app, *id, &next).await?);
                completes = true;
            }
            Parting::Completes => completes = true,
        }
    }
    Ok(completes)
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
