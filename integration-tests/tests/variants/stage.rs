//! Control-plane clusters with their agents.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bellwether_integration_tests::{
    agent_process::AgentProcess, cluster::Member, suite::Stage, wait::until,
};
use serde_json::Value;

use crate::scene::Scene;

/// Longest time that anything on a control-plane cluster may take.
pub const LIMIT: Duration = Duration::from_secs(90);

/// The fleet of the control-plane clusters.
const BREADTH: &str = "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\n\
    metadata: {name: breadth}\nspec: {selector: {matchLabels: {fleet: breadth}}}\n";

/// The control-plane clusters, registered, each with an agent process. The first has the label
/// `tier=canary`, the others `tier=rest`; all are in the fleet `breadth`, which no
/// real cluster is in.
#[derive(Clone)]
pub struct Members {
    scene: Scene,
    /// The agents; tests that stop one take the lock.
    pub agents: Arc<Mutex<Vec<AgentProcess>>>,
    clusters: Arc<Vec<(String, Member)>>,
}

impl std::ops::Deref for Members {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

impl Stage for Members {
    fn case(&self, name: &'static str, test: fn(&Self) -> Result<()>) -> Result<()> {
        self.scene.run_case(name, |scene| {
            test(&Self {
                scene: scene.clone(),
                ..self.clone()
            })
        })
    }
}

impl Members {
    /// Registers every control-plane cluster with rights on `namespaces`, and starts its agent.
    pub fn register(scene: &Scene, namespaces: &[&str]) -> Result<Self> {
        let runtime = tokio::runtime::Runtime::new()?;
        let mut agents = Vec::new();
        let mut clusters = Vec::new();
        for cluster in scene.lab.control_plane() {
            let member = Member::connect(&cluster.kubeconfig)?;
            for namespace in namespaces {
                member.create_namespace(namespace)?;
            }
            let tier = if clusters.is_empty() {
                "canary"
            } else {
                "rest"
            };
            let labels = format!("fleet=breadth,tier={tier}");
            let folder = scene.directory.join(&cluster.name);
            agents.push(runtime.block_on(AgentProcess::register(
                &scene.cli, cluster, &labels, namespaces, &folder,
            ))?);
            clusters.push((cluster.name.clone(), member));
        }
        scene.cli.apply(BREADTH)?;
        let members = Self {
            scene: scene.clone(),
            agents: Arc::new(Mutex::new(agents)),
            clusters: Arc::new(clusters),
        };
        for name in members.names() {
            members.wait_ready(name)?;
        }
        Ok(members)
    }

    /// Names of the clusters, the one of the first wave first.
    pub fn names(&self) -> Vec<&str> {
        self.clusters
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Every cluster with its name, as its administrator sees it.
    pub fn each(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.clusters
            .iter()
            .map(|(name, member)| (name.as_str(), member))
    }

    /// One cluster as its administrator sees it.
    pub fn cluster(&self, name: &str) -> Result<&Member> {
        self.each()
            .find(|(one, _)| *one == name)
            .map(|(_, member)| member)
            .with_context(|| format!("there is no cluster {name}"))
    }

    /// Waits until the hub counts the cluster as Ready.
    pub fn wait_ready(&self, cluster: &str) -> Result<()> {
        until(LIMIT, &format!("{cluster} to be Ready"), || {
            let shown = self.cli.json(&["get", "cluster", cluster])?;
            Ok((shown["status"]["condition"] == "Ready").then_some(()))
        })
        .with_context(|| log_tail(&self.directory.join(cluster).join("agent.log")))
    }

    /// The condition of that type of an application; absent = it has none.
    pub fn condition(&self, application: &str, kind: &str) -> Result<Option<String>> {
        let shown = self.cli.json(&["get", "application", application])?;
        let found = shown["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == kind);
        Ok(found.and_then(|condition| Some(condition["message"].as_str()?.to_owned())))
    }

    /// Waits until the application says that it is held back, and returns what it says.
    pub fn stalled(&self, application: &str) -> Result<String> {
        until(LIMIT, &format!("{application} to be held"), || {
            self.condition(application, "Stalled")
        })
    }

    /// Names of an application's ConfigMaps in a cluster, sorted.
    pub fn items(&self, cluster: &str, application: &str) -> Result<Vec<String>> {
        let listed = self.cluster(cluster)?.list("v1", "ConfigMap", &self.name)?;
        let mut names: Vec<String> = listed
            .iter()
            .filter(|object| object["metadata"]["labels"]["parcel"] == application)
            .filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Waits until the application has exactly `count` ConfigMaps in a cluster.
    pub fn wait_items(&self, cluster: &str, application: &str, count: usize) -> Result<()> {
        let what = format!("{count} objects of {application} in {cluster}");
        until(LIMIT, &what, || {
            Ok((self.items(cluster, application)?.len() == count).then_some(()))
        })
    }

    /// Fails unless the application has exactly `count` ConfigMaps in each of `clusters`.
    pub fn assert_items(&self, clusters: &[&str], application: &str, count: usize) -> Result<()> {
        for cluster in clusters {
            let found = self.items(cluster, application)?;
            ensure!(
                found.len() == count,
                "{cluster} has {found:?} of {application}, not {count} objects"
            );
        }
        Ok(())
    }

    /// Reads an object of the test's namespace in a cluster.
    pub fn read(&self, cluster: &str, kind: &str, name: &str) -> Result<Option<Value>> {
        self.scene.object(self.cluster(cluster)?, kind, name)
    }
}

fn log_tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
