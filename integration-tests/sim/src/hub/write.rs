//! What the planning loop writes, each in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{bundle::BundleMode, fleet::FleetDefaults};
use bellwether_hub_core::{
    bundle::{BundleInput, build},
    release::Release,
    run::{AnsweredAction, Decision, Grant, GrantRelease, RunState},
};
use bellwether_store::{
    Digest,
    desired::{ClusterChange, Deletions, UnitChange},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::plan::Making;
use crate::{
    database::{Database, RunRow},
    invariant::Broken,
    scenario::{application, unit_key},
};

/// Makes a release and its run.
pub(super) fn start(
    database: &mut Database,
    making: Making,
    restores: Option<u64>,
    now: Timestamp,
) {
    let Making {
        content,
        plan,
        previous,
    } = making;
    database.made += 1;
    let revision = database.releases.len() as u64 + 1;
    let made = u128::from(database.made);
    let digest = content.digest();
    if let (Some(restores), Some(wanted)) = (restores, &database.application) {
        let instead_of = wanted.digest();
        database.restored.insert(revision, (restores, instead_of));
    }
    database.releases.push(Release {
        id: Uuid::from_u128(0x0EEE_0000 + made),
        revision,
        digest,
        content,
    });
    database.runs.push(RunRow {
        id: Uuid::from_u128(0x0AAA_0000 + made),
        revision,
        previous,
        state: RunState::new(&plan),
        plan,
        version: 1,
        made_at: now,
        saved_at: now,
    });
}

/// Takes the application away from clusters that left its destination.
pub(super) fn take_away(database: &mut Database, leaving: &[Uuid]) {
    let holding = database.holders(&unit_key()).len();
    database.taken.push((leaving.len(), holding));
    tombstones(database, leaving, Deletions::Braked);
}

/// Takes a deleted application away from everywhere and forgets its history.
pub(super) fn delete(database: &mut Database, holders: &BTreeSet<Uuid>) {
    let holders: Vec<Uuid> = holders.iter().copied().collect();
    tombstones(database, &holders, Deletions::Allowed);
    database.releases.clear();
    database.restored.clear();
    database.runs.clear();
    database.actions.clear();
}

fn tombstones(database: &mut Database, clusters: &[Uuid], deletions: Deletions) {
    let change = |kind: &str| UnitChange {
        key: format!("{kind}/{}", application()),
        digest: None,
        origin: unit_key(),
    };
    let changes: Vec<ClusterChange> = clusters
        .iter()
        .map(|cluster| ClusterChange {
            cluster: *cluster,
            changes: vec![change("application"), change("command")],
        })
        .collect();
    database
        .write(&changes, deletions)
        .expect("two units are within every budget");
}

/// Builds and stores the bundle of a grant; absent when its cluster is gone.
fn bundle(database: &mut Database, run: &RunRow, grant: &Grant) -> Result<Option<Digest>, Broken> {
    let releases = &database.releases;
    let release = match &grant.release {
        GrantRelease::This => releases.iter().find(|one| one.revision == run.revision),
        GrantRelease::LastSucceeded => releases
            .iter()
            .find(|one| Some(one.revision) == run.previous),
        GrantRelease::Digest(digest) => releases.iter().find(|one| one.digest == *digest),
    };
    let Some(release) = release else {
        let detail = format!("{:?} of {} is not kept", grant.release, grant.cluster);
        return Err(Broken::new("grant-release", detail));
    };
    let Some(cluster) = database.facts.get(&grant.cluster) else {
        return Ok(None);
    };
    let bundle = build(BundleInput {
        application: &application(),
        release,
        run: run.id,
        attempt: grant.attempt,
        mode: grant.mode,
        // No application here has a ServiceAccount.
        returns: false,
        cluster,
        fleets: &bellwether_hub_core::addons::Fleets::new(),
        fleet: &FleetDefaults::default(),
    })
    .expect("the scenario has no overrides");
    debug_assert!(grant.mode == BundleMode::Plain || grant.release == GrantRelease::This);
    let digest = database.put(&bundle.bytes);
    database
        .granted
        .insert((grant.cluster, run.id, grant.attempt, digest.0));
    Ok(Some(digest))
}

/// Answers an action.
pub(super) fn answer(database: &mut Database, answer: &AnsweredAction) {
    let rows = database.actions.iter_mut();
    for row in rows.filter(|row| row.action.id == answer.id) {
        row.answer = Some(answer.clone());
    }
}

/// Writes what a decision wants of the clusters.
///
/// # Errors
/// It grants what is not there.
pub(super) fn send(
    database: &mut Database,
    run: &RunRow,
    decision: &Decision,
) -> Result<(), Broken> {
    let mut changes: BTreeMap<Uuid, Vec<UnitChange>> = BTreeMap::new();
    let unit = |kind: &str, digest| UnitChange {
        key: format!("{kind}/{}", application()),
        digest: Some(digest),
        origin: format!("run/{}", run.id),
    };
    for grant in &decision.grants {
        let Some(digest) = bundle(database, run, grant)? else {
            continue;
        };
        changes
            .entry(grant.cluster)
            .or_default()
            .push(unit("application", digest));
    }
    for change in &decision.commands {
        let bytes = serde_json::to_vec(&change.command).expect("a command serialises");
        let digest = database.put(&bytes);
        changes
            .entry(change.cluster)
            .or_default()
            .push(unit("command", digest));
    }
    let changes: Vec<ClusterChange> = changes
        .into_iter()
        .map(|(cluster, changes)| ClusterChange { cluster, changes })
        .collect();
    database
        .write(&changes, Deletions::Braked)
        .expect("nothing is taken away");
    Ok(())
}

/// Saves a decision with everything that follows from it.
///
/// # Errors
/// It grants what is not there.
pub(super) fn save(
    database: &mut Database,
    run: &RunRow,
    decision: &Decision,
    now: Timestamp,
) -> Result<(), Broken> {
    send(database, run, decision)?;
    for answered in &decision.answered {
        answer(database, answered);
    }
    if let Some(row) = database.runs.iter_mut().find(|row| row.id == run.id) {
        row.state = decision.next.clone();
        row.version += 1;
        row.saved_at = now;
    }
    Ok(())
}
