//! A workload that somebody else delivers, and the Rollout that governs it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use bellwether_api::view::{RunPhase, RunView};
use bellwether_integration_tests::{
    cluster::Member, fixture::cluster_view, manifests::Shop, wait::until,
};
use serde_json::{Value, json};

use crate::scene::{RUN_LIMIT, Scene, api_version};

/// The field manager of whoever delivers the objects.
pub const APPLIER: &str = "kustomize-controller";
/// The annotation of a Deployment that its Rollout holds.
pub const HELD: &str = "bellwether.dev/held-by";

/// The demo application in one cluster, delivered by somebody else.
pub struct Foreign<'a> {
    pub scene: &'a Scene,
    pub shop: Shop,
    pub member: Member,
    cluster: String,
}

impl<'a> Foreign<'a> {
    /// Has somebody else install a first version in a cluster (from 0), which nothing governs yet.
    pub fn install(scene: &'a Scene, shop: Shop, index: usize) -> Result<Self> {
        let foreign = Self {
            scene,
            member: scene.member(index)?,
            cluster: scene.lab.real()[index].name.clone(),
            shop,
        };
        foreign.apply("v1")?;
        foreign.stands("v1", foreign.shop.replicas)?;
        Ok(foreign)
    }

    /// Has somebody else install a first version, and a Rollout govern it.
    pub fn adopt(scene: &'a Scene, shop: Shop, index: usize) -> Result<Self> {
        let foreign = Self::install(scene, shop, index)?;
        foreign.govern()?;
        Ok(foreign)
    }

    /// Has a small one governed whose canary waits for a human at half of the traffic, changes it, and
    /// waits until it does.
    pub fn changed(scene: &'a Scene, index: usize) -> Result<Self> {
        let foreign = Self::adopt(scene, by_hand(scene), index)?;
        foreign.apply("v2")?;
        foreign.waits_for_a_human()?;
        Ok(foreign)
    }

    /// The Rollout's name.
    pub fn rollout(&self) -> String {
        format!("{}-web", self.scene.name)
    }

    /// Applies the Rollout, and waits until it stands.
    pub fn govern(&self) -> Result<()> {
        let document = self.shop.rollout().replace(
            &format!("  application: {}\n", self.shop.name),
            &format!("  destination: {{clusters: [{}]}}\n", self.cluster),
        );
        self.scene.cli.apply(&document)?;
        self.in_state(RunPhase::Succeeded)?;
        Ok(())
    }

    /// Applies a version as its owner does.
    pub fn apply(&self, version: &str) -> Result<()> {
        self.apply_all(&self.shop.version(version))
    }

    pub fn apply_all(&self, shop: &Shop) -> Result<()> {
        shop.manifests()
            .iter()
            .try_for_each(|object| self.member.apply(APPLIER, object))
    }

    /// Says something to the run.
    pub fn say(&self, words: &[&str]) -> Result<String> {
        let name = self.rollout();
        let (verb, flags) = words.split_first().context("a verb")?;
        let arguments = [&["rollout", verb, &name], flags].concat();
        self.scene.cli.run(&arguments)
    }

    /// What happened to the Rollout.
    pub fn events(&self) -> Result<String> {
        let name = format!("rollout/{}", self.rollout());
        self.scene.cli.run(&["events", &name])
    }

    /// Takes the Rollout away.
    pub fn release(&self) -> Result<()> {
        self.scene
            .cli
            .run(&["delete", "rollout", &self.rollout(), "-y"])?;
        Ok(())
    }

    /// Takes everything away again.
    pub fn part(&self) -> Result<()> {
        self.release()?;
        self.uninstall()
    }

    /// Takes the objects away.
    pub fn uninstall(&self) -> Result<()> {
        for (kind, name) in [
            ("HTTPRoute", "web"),
            ("Service", "web"),
            ("Deployment", "web"),
        ] {
            self.member
                .delete(api_version(kind), kind, &self.scene.name, name)?;
        }
        Ok(())
    }

    pub fn object(&self, kind: &str, name: &str) -> Result<Value> {
        let found = self.scene.object(&self.member, kind, name)?;
        found.with_context(|| format!("there is no {kind} {name}"))
    }

    pub fn deployment(&self) -> Result<Value> {
        self.object("Deployment", "web")
    }

    /// Waits until the Deployment has `replicas` pods of a version and no other.
    pub fn stands(&self, version: &str, replicas: u32) -> Result<()> {
        until(RUN_LIMIT, &format!("{replicas} pods of {version}"), || {
            let live = self.deployment()?;
            let count = |field: &str| live["status"][field].as_u64().unwrap_or(0);
            let observed = live["status"]["observedGeneration"] == live["metadata"]["generation"];
            let all = ["replicas", "updatedReplicas", "availableReplicas"]
                .iter()
                .all(|field| count(field) == u64::from(replicas));
            Ok((observed && all && image(&live) == image_of(version)).then_some(()))
        })
    }

    pub fn wait_for(&self, what: &str, condition: impl Fn(&RunView) -> bool) -> Result<RunView> {
        self.scene
            .wait_run(&self.rollout(), 0, RUN_LIMIT, what, condition)
    }

    pub fn in_state(&self, state: RunPhase) -> Result<RunView> {
        self.wait_for(&format!("the rollout to be {state:?}"), |view| {
            view.state == state
        })
    }

    /// Waits until half of the traffic goes to the canary and a human is asked.
    pub fn waits_for_a_human(&self) -> Result<RunView> {
        self.wait_for("the step to wait for a human", |view| {
            view.state == RunPhase::WaitingApproval && self.carries(view, 50)
        })
    }

    /// Waits until the canary carries a weight.
    pub fn at_weight(&self, weight: u8) -> Result<RunView> {
        self.wait_for(&format!("{weight} % on the canary"), |view| {
            view.state == RunPhase::Progressing && self.carries(view, weight)
        })
    }

    fn carries(&self, view: &RunView, weight: u8) -> bool {
        cluster_view(view, &self.cluster).is_ok_and(|cluster| {
            let mut tracks = cluster.tracks.iter();
            tracks.any(|track| track.observed_weight.percent() == weight)
        })
    }

    /// Pods of the workload itself, by version: those of the canary carry the run's label.
    pub fn own_pods(&self, version: &str) -> Result<BTreeSet<String>> {
        let pods = self
            .member
            .pods(&self.scene.name, "app=web,!bellwether.dev/run")?;
        let runs = |pod: &k8s_openapi::api::core::v1::Pod| {
            let spec = pod.spec.as_ref();
            spec.is_some_and(|spec| spec.containers[0].image.as_deref() == Some(&image_of(version)))
        };
        let live = pods
            .iter()
            .filter(|pod| runs(pod) && pod.metadata.deletion_timestamp.is_none());
        Ok(live.filter_map(|pod| pod.metadata.uid.clone()).collect())
    }

    pub fn assert_held(&self, version: &str) -> Result<()> {
        let live = self.deployment()?;
        ensure!(
            image(&live) == image_of(version)
                && live["spec"]["paused"] == json!(true)
                && live["metadata"]["annotations"][HELD] == json!(self.rollout()),
            "it is not held: {live}"
        );
        Ok(())
    }

    /// Waits until nothing of the Deployment is held any more.
    pub fn is_let_go(&self) -> Result<()> {
        until(RUN_LIMIT, "the workload to be its owner's", || {
            let live = self.deployment()?;
            let free =
                live["spec"]["paused"].is_null() && live["metadata"]["annotations"][HELD].is_null();
            // Its fields are handed back once they are as they were.
            let ours = live["metadata"]["managedFields"].to_string();
            Ok((free && !ours.contains("bellwether")).then_some(()))
        })
    }

    /// Fails unless every object is as its owner wrote it in `version`.
    pub fn assert_restored(&self, version: &str) -> Result<()> {
        self.scene
            .assert_restored(&self.member, &self.shop.version(version))
    }
}

/// A small application whose canary waits for a human at half of the traffic.
pub fn by_hand(scene: &Scene) -> Shop {
    Shop {
        strategy: "{canary: {steps: [{weight: 50}]}}".into(),
        ..scene.small_shop()
    }
}

/// The image of an object's pods.
pub fn image(workload: &Value) -> String {
    workload["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

pub fn image_of(version: &str) -> String {
    format!("bellwether.local/demo:{version}")
}
