//! Control-plane clusters with their agents.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bellwether_integration_tests::{
    agent_process::{AGENT, AgentProcess, SYSTEM},
    cluster::Member,
    suite::Stage,
    wait::until,
};
use serde_json::{Value, json};

use crate::scene::Scene;

/// Longest time that anything on a control-plane cluster may take.
pub const LIMIT: Duration = Duration::from_secs(90);

/// The fleet of the control-plane clusters.
const BREADTH: &str = "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\n\
    metadata: {name: breadth}\nspec: {selector: {matchLabels: {fleet: breadth}}}\n";

/// Regions of the clusters, in their order: the label `region`.
pub const REGIONS: [&str; 8] = ["eu", "eu", "eu", "us", "us", "us", "ap", "ap"];

/// The control-plane clusters, registered, each with an agent process. The first has the label
/// `tier=canary`, the others `tier=rest`, and each that of its region; all are in the fleet `breadth`,
/// which no real cluster is in.
#[derive(Clone)]
pub struct Members {
    scene: Scene,
    /// The agents; tests that stop one take the lock.
    pub agents: Arc<Mutex<Vec<AgentProcess>>>,
    clusters: Arc<Vec<(String, Member)>>,
    namespaces: Arc<Vec<String>>,
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
        for (cluster, region) in scene.lab.control_plane().into_iter().zip(REGIONS) {
            let member = Member::connect(&cluster.kubeconfig)?;
            for namespace in namespaces {
                member.create_namespace(namespace)?;
            }
            let tier = if clusters.is_empty() {
                "canary"
            } else {
                "rest"
            };
            let labels = format!("fleet=breadth,tier={tier},region={region}");
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
            namespaces: Arc::new(namespaces.iter().map(|one| (*one).to_owned()).collect()),
        };
        for name in members.names() {
            members.wait_ready(name)?;
        }
        Ok(members)
    }

    /// Registers a cluster again, without a word of its labels, and starts its agent anew.
    pub fn register_again(&self, agent: &mut AgentProcess) -> Result<()> {
        agent.stop()?;
        let cluster = self.lab.cluster(&agent.cluster)?;
        let folder = self.directory.join(&cluster.name);
        let namespaces: Vec<&str> = self.namespaces.iter().map(String::as_str).collect();
        let runtime = tokio::runtime::Runtime::new()?;
        let registered = AgentProcess::register(&self.cli, cluster, "", &namespaces, &folder);
        *agent = runtime.block_on(registered)?;
        Ok(())
    }

    /// Names of the clusters of a region.
    pub fn region(&self, region: &str) -> Vec<&str> {
        let named = self.names().into_iter().zip(REGIONS);
        let found = named.filter(|(_, one)| *one == region);
        found.map(|(name, _)| name).collect()
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

    /// Waits until the application says with these words that it is held back, and returns what it says: what it
    /// said before may stand for a moment.
    pub fn stalled_by(&self, application: &str, words: &str) -> Result<String> {
        let mut said = None;
        until(LIMIT, &format!("{application} to say {words:?}"), || {
            said = self.condition(application, "Stalled")?;
            Ok(said.clone().filter(|said| said.contains(words)))
        })
        .with_context(|| format!("it says {said:?}"))
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

    /// Waits until an object of the test's namespace is in a cluster, and gives it.
    pub fn wait_object(&self, cluster: &str, kind: &str, name: &str) -> Result<Value> {
        let what = format!("{kind} {name} in {cluster}");
        until(LIMIT, &what, || self.read(cluster, kind, name))
    }

    /// Waits until an object of the test's namespace is gone from a cluster.
    pub fn wait_gone(&self, cluster: &str, kind: &str, name: &str) -> Result<()> {
        let what = format!("{kind} {name} to be gone from {cluster}");
        until(LIMIT, &what, || {
            let found = self.read(cluster, kind, name)?;
            Ok(found.is_none().then_some(()))
        })
    }

    /// Fails if one of `clusters` has an object of the test's namespace.
    pub fn assert_absent(&self, clusters: &[&str], kind: &str, name: &str) -> Result<()> {
        for cluster in clusters {
            let found = self.read(cluster, kind, name)?;
            ensure!(found.is_none(), "{cluster} has {kind} {name} already");
        }
        Ok(())
    }

    /// Gives a Service of the test's namespace the address of a load balancer: from then on it is healthy.
    pub fn give_address(&self, cluster: &str, name: &str) -> Result<()> {
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
        let member = self.cluster(cluster)?;
        member.patch_status("v1", "Service", &self.name, name, &status)
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

    /// Lets the agent of a cluster manage resources, by group and plural, in the test's namespace, as `--kinds` of
    /// `register cluster` would.
    pub fn allow(&self, member: &Member, resources: &[(String, String)]) -> Result<()> {
        let rules: Vec<Value> = resources
            .iter()
            .map(|(group, plural)| {
                json!({"apiGroups": [group], "resources": [plural], "verbs":
                    ["get", "list", "watch", "create", "update", "patch", "delete"]})
            })
            .collect();
        let meta = json!({"name": "more-kinds", "namespace": self.name});
        let group = "rbac.authorization.k8s.io";
        let api_version = format!("{group}/v1");
        member.create(&json!({
            "apiVersion": api_version, "kind": "Role", "metadata": meta, "rules": rules,
        }))?;
        member.create(&json!({
            "apiVersion": api_version, "kind": "RoleBinding", "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "more-kinds"},
            "subjects": [{"kind": "ServiceAccount", "name": AGENT, "namespace": SYSTEM}],
        }))
    }

    /// Fails unless these objects of the test's namespace are in a cluster as they were written.
    pub fn assert_as_written(&self, cluster: &str, manifests: &[Value]) -> Result<()> {
        let member = self.cluster(cluster)?;
        for written in manifests {
            let [api_version, kind, name] = identity(written)?;
            let live = member.get(api_version, kind, &self.name, name)?;
            let live = live.with_context(|| format!("{kind} {name} in {cluster}"))?;
            self.assert_equals_fresh(member, written, &live)?;
        }
        Ok(())
    }

    /// Waits until a cluster has no objects of these kinds, by group and version, in the test's namespace but those
    /// that were written.
    pub fn wait_nothing_else(
        &self,
        cluster: &str,
        kinds: &BTreeSet<(String, String)>,
        manifests: &[Value],
    ) -> Result<()> {
        let member = self.cluster(cluster)?;
        let written: Vec<[&str; 3]> = manifests.iter().map(identity).collect::<Result<_>>()?;
        let mut left = Vec::new();
        until(LIMIT, "what a run made to be gone", || {
            left.clear();
            for (api_version, kind) in kinds {
                for object in member.list(api_version, kind, &self.name)? {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    if !written.contains(&[api_version.as_str(), kind.as_str(), name]) {
                        left.push(format!("{kind} {name}"));
                    }
                }
            }
            Ok(left.is_empty().then_some(()))
        })
        .with_context(|| format!("{cluster} has {left:?}"))
    }

    /// Reads an object of the test's namespace in a cluster.
    pub fn read(&self, cluster: &str, kind: &str, name: &str) -> Result<Option<Value>> {
        self.scene.object(self.cluster(cluster)?, kind, name)
    }

    /// The image that a Deployment of the test's namespace has in a cluster.
    pub fn image(&self, cluster: &str, deployment: &str) -> Result<String> {
        let live = self.read(cluster, "Deployment", deployment)?;
        let live = live.with_context(|| format!("{cluster} has no Deployment {deployment}"))?;
        let image = live["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
        image.map(str::to_owned).context("an image")
    }
}

/// Group and version, kind and name of a manifest.
fn identity(manifest: &Value) -> Result<[&str; 3]> {
    let text = |pointer: &str| {
        let found = manifest.pointer(pointer).and_then(Value::as_str);
        found.with_context(|| format!("no {pointer}: {manifest}"))
    };
    Ok([
        text("/apiVersion")?,
        text("/kind")?,
        text("/metadata/name")?,
    ])
}

/// Lets the agent of a cluster manage resources, by group and plural, wherever they are, and whatever rights they
/// give: what `register cluster` gives no agent. `name` is that of the ClusterRole.
pub fn grant_everywhere(member: &Member, name: &str, resources: &[(&str, &str)]) -> Result<()> {
    let rules: Vec<Value> = resources
        .iter()
        .map(|(group, plural)| json!({"apiGroups": [group], "resources": [plural], "verbs": ["*"]}))
        .collect();
    let group = "rbac.authorization.k8s.io";
    let api_version = format!("{group}/v1");
    member.create_cluster_scoped(&json!({
        "apiVersion": api_version, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
    }))?;
    member.create_cluster_scoped(&json!({
        "apiVersion": api_version, "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": AGENT, "namespace": SYSTEM}],
    }))
}

/// Does something when a test ends, however it ends: what it changed of clusters, other tests would meet.
pub struct Afterwards<F: FnMut() -> Result<()>>(F);

impl<F: FnMut() -> Result<()>> Afterwards<F> {
    /// Does it when it is dropped.
    pub const fn of(done: F) -> Self {
        Self(done)
    }
}

impl<F: FnMut() -> Result<()>> Drop for Afterwards<F> {
    fn drop(&mut self) {
        if let Err(error) = (self.0)() {
            eprintln!("what a test changed stays so: {error:?}");
        }
    }
}

fn log_tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
