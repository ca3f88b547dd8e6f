//! What a simulated agent holds; outlives its sessions.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{
    bundle::Bundle,
    root::Root,
    status::{Health, UnitOutcome, UnitStatus},
};
use bellwether_proto::{
    limits::PROTOCOL,
    wire::{Hello, UnitChange, Welcome},
};
use bytes::Bytes;

/// A contents' limit when unpacked: those of this program are tiny.
const MAX_BUNDLE_BYTES: usize = 1024 * 1024;

/// Everything by generation and digest.
#[derive(Clone, Debug, Default)]
pub struct Held {
    cluster_uid: String,
    incarnation: u64,
    /// The generation up to which everything is held.
    pub generation: u64,
    epoch: u64,
    root: Root,
    units: BTreeMap<String, (u64, Option<[u8; 32]>)>,
}

impl Held {
    /// Holds nothing.
    pub fn new(cluster_uid: String) -> Self {
        Self {
            cluster_uid,
            ..Self::default()
        }
    }

    /// The first message of a session.
    pub fn hello(&self) -> Hello {
        Hello {
            protocol_min: PROTOCOL,
            protocol_max: PROTOCOL,
            incarnation: self.incarnation,
            generation: self.generation,
            root: self.root_bytes(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            kubernetes_version: "v1.33.0".to_owned(),
            cluster_uid: self.cluster_uid.clone(),
            api_kinds: Vec::new(),
            nodes: None,
            capabilities: ["apps/v1", "gateway.networking.k8s.io/v1", "v1"]
                .map(str::to_owned)
                .into(),
            epoch: self.epoch,
            agent_time_ms: 0,
            instance: Bytes::new(),
            missing_rights: Vec::new(),
        }
    }

    /// The root digest as it travels.
    pub fn root_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.root.as_bytes())
    }

    /// Takes a whole batch: its units, its generation, and that its root comes out.
    ///
    /// # Errors
    /// When the root does not come out.
    pub fn take(
        &mut self,
        units: &[UnitChange],
        generation: u64,
        root: &[u8],
        welcome: &Welcome,
    ) -> Result<()> {
        for unit in units {
            self.take_unit(unit);
        }
        ensure!(
            self.root.as_bytes() == root,
            "the root of generation {generation} differs"
        );
        self.generation = self.generation.max(generation);
        self.incarnation = welcome.incarnation;
        self.epoch = welcome.epoch;
        Ok(())
    }

    fn take_unit(&mut self, unit: &UnitChange) {
        let before = self.units.get(&unit.key);
        if before.is_some_and(|(generation, _)| unit.generation <= *generation) {
            return;
        }
        if let Some((_, Some(digest))) = before {
            self.root.remove(&unit.key, digest);
        }
        let digest: Option<[u8; 32]> = unit.digest.as_ref().try_into().ok();
        if let Some(digest) = &digest {
            self.root.add(&unit.key, digest);
        }
        self.units
            .insert(unit.key.clone(), (unit.generation, digest));
    }
}

/// Unpacks a bundle that travelled inside its change; absent = the unit is another, or is deleted.
///
/// # Errors
/// When the content is no bundle, or did not travel inside.
pub fn bundle_of(unit: &UnitChange) -> Result<Option<Bundle>> {
    if unit.digest.is_empty() || !unit.key.starts_with("application/") {
        return Ok(None);
    }
    ensure!(
        !unit.inline_blob.is_empty(),
        "{} is too large to travel inside",
        unit.key
    );
    let json = zstd::bulk::decompress(&unit.inline_blob, MAX_BUNDLE_BYTES)?;
    Ok(Some(serde_json::from_slice(&json).context("a bundle")?))
}

/// What an agent reports once everything of `bundle` runs.
pub fn succeeded(unit: &UnitChange, bundle: &Bundle) -> UnitStatus {
    UnitStatus {
        application: bundle.application.clone(),
        digest: hex::encode(&unit.digest),
        generation: unit.generation,
        run: bundle.run,
        attempt: bundle.attempt,
        release: bundle.release.clone(),
        outcome: UnitOutcome::Succeeded,
        reason: String::new(),
        applied_release: Some(bundle.release.clone()),
        health: Health::Healthy,
        objects: Vec::new(),
        object_count: 1,
        rollouts: Vec::new(),
        waiting_on: Vec::new(),
        events: Vec::new(),
        executed: Vec::new(),
        orphans: Vec::new(),
        warnings: Vec::new(),
    }
}
