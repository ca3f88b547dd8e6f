//! An agent that was just started, and what the hub grants it.

use std::sync::Arc;

use bellwether_api::{bundle::UnitKey, root::Root, status::UnitOutcome, sync_record::SyncUnit};
use serde_json::{Value, json};

use super::server::Server;
use crate::{
    clock::Clock,
    desired::{Change, Commit, CommitBlob, Desired, digest_of, pack},
    metrics::{KubeSecrets, Meter},
    report::Reports,
    sync::{Shell, unit::Unit, watch::Poke},
    telemetry::Figures,
};

pub(in crate::sync::unit) const KEY: &str = "application/default/shop";
pub(in crate::sync::unit) const COMMAND: &str = "command/default/shop";

/// A hook of these moments.
pub(in crate::sync::unit) fn job(name: &str, moments: &[&str], delete: &[&str]) -> Value {
    json!({"object": {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}},
        "moments": moments, "delete": delete})
}

pub(in crate::sync::unit) fn config_map(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"},
        "data": {"of": data}})
}

/// A bundle of one ConfigMap whose content is its revision.
pub(in crate::sync::unit) fn bundle(revision: u64, attempt: u32, hooks: &[Value]) -> Vec<u8> {
    let objects = [config_map("web", &revision.to_string())];
    bundle_of(revision, attempt, hooks, &objects)
}

pub(in crate::sync::unit) fn bundle_of(
    revision: u64,
    attempt: u32,
    hooks: &[Value],
    objects: &[Value],
) -> Vec<u8> {
    let bundle = json!({
        "application": {"namespace": "default", "name": "shop"},
        "release": format!("release-{revision}"), "revision": revision,
        "run": uuid::Uuid::from_u128(u128::from(revision)), "attempt": attempt,
        "mode": "Rollout", "targetNamespace": "shop", "createNamespace": false,
        "components": [{"name": "web", "hookedObjects": objects, "hooks": hooks}],
        "rollouts": [], "sync": {}, "metrics": null,
    });
    serde_json::to_vec(&bundle).expect("JSON")
}

pub(in crate::sync::unit) fn migration() -> Value {
    job("migrate", &["pre-install", "pre-upgrade"], &[])
}

/// An agent that was just started.
pub(in crate::sync::unit) struct House {
    pub(in crate::sync::unit) unit: Unit,
    server: Server,
    generation: u64,
}

impl House {
    pub(in crate::sync::unit) async fn on(server: &Server) -> Self {
        Self::try_on(server).await.expect("the server answers")
    }

    /// Fails where the server dies.
    pub(in crate::sync::unit) async fn try_on(server: &Server) -> Option<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (client, clock) = (server.client(), Clock::begin(None));
        let desired = Desired::load(client.clone(), "bellwether-system")
            .await
            .ok()?;
        let generation = desired.held().generation;
        let secrets = Arc::new(KubeSecrets(client.clone()));
        let meter = Meter::new(secrets, "bellwether-system", clock).ok()?;
        let settle = bellwether_agent_core::provider::SETTLE;
        let reports = Reports::default();
        let shell = Shell::new(
            client,
            desired,
            reports,
            meter,
            clock,
            Figures::default(),
            settle,
        );
        let key: UnitKey = KEY.parse().expect("a key");
        Some(Self {
            unit: Unit::new(shell, key, Arc::<Poke>::default()),
            server: server.clone(),
            generation,
        })
    }

    /// The hub grants these contents, and nothing else.
    pub(in crate::sync::unit) async fn grant(&mut self, live: &[(&str, &[u8])], gone: &[&str]) {
        self.generation += 1;
        let generation = self.generation;
        let change = |key: &str, digest| Change {
            key: key.to_owned(),
            generation,
            digest,
            deletion: None,
        };
        let digests: Vec<(&str, [u8; 32])> = live
            .iter()
            .map(|(key, content)| (*key, digest_of(content)))
            .collect();
        let changes = digests
            .iter()
            .map(|(key, digest)| change(key, Some(*digest)));
        let changes = changes
            .chain(gone.iter().map(|key| change(key, None)))
            .collect();
        let blobs = live.iter().map(|(_, content)| CommitBlob {
            digest: digest_of(content),
            zstd: pack(content).expect("packed"),
        });
        let root = Root::of(digests.iter().map(|(key, digest)| (*key, digest)));
        let commit = Commit {
            incarnation: 1,
            epoch: 1,
            to: generation,
            changes,
            blobs: blobs.collect(),
            snapshot: false,
            root: *root.as_bytes(),
        };
        let done = self
            .unit
            .shell
            .desired
            .commit(commit)
            .await
            .expect("committed");
        assert_eq!(done.nacks, []);
    }

    pub(in crate::sync::unit) async fn install(&mut self, content: &[u8]) {
        self.grant(&[(KEY, content)], &[]).await;
    }

    pub(in crate::sync::unit) async fn remove(&mut self) {
        self.grant(&[], &[KEY]).await;
    }

    /// Passes until nothing is to be done at once; gives what is waited for, or that the server died.
    pub(in crate::sync::unit) async fn work(&mut self) -> Result<Vec<String>, ()> {
        for _ in 0..60 {
            let pass = self.unit.pass().await.map_err(|_| ())?;
            if !pass.again {
                return Ok(pass
                    .waiting_on
                    .into_iter()
                    .map(|wait| wait.message)
                    .collect());
            }
        }
        panic!("it is never done: {:#?}", self.record());
    }

    pub(in crate::sync::unit) fn record(&self) -> SyncUnit {
        self.unit.shell.desired.unit(KEY).expect("a unit")
    }

    pub(in crate::sync::unit) fn outcome(&self) -> (Option<UnitOutcome>, String) {
        let record = self.record();
        (record.outcome, record.reason)
    }

    pub(in crate::sync::unit) fn events(&self, reason: &str) -> Vec<String> {
        let events = self.record().events.into_iter();
        let of = events.filter(|event| event.reason == reason);
        of.map(|event| event.message).collect()
    }

    pub(in crate::sync::unit) fn data(&self) -> Option<Value> {
        let map = self.server.get("shop/configmaps/web")?;
        Some(map["data"]["of"].clone())
    }

    pub(in crate::sync::unit) fn made(&self) -> Vec<String> {
        let kept = self.server.lock();
        kept.made.iter().map(|(_, mark)| mark.clone()).collect()
    }
}
