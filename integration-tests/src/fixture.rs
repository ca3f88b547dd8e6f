//! One hub, the lab's clusters registered with it, and the demo application's namespaces.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bellwether_api::view::{ClusterView, RunPhase, RunView};

use crate::{
    cli::Cli,
    cluster::Member,
    hub::Hub,
    lab::{Lab, LabCluster},
    manifests::FLEET,
    process::workspace_binary,
    wait::until,
};

const AGENT_NAMESPACE: &str = "bellwether-system";
const AGENT_LABELS: &str = "app.kubernetes.io/name=bellwether-agent";

/// The agent's image in the lab.
pub const AGENT_IMAGE: &str = "bellwether.local/agent:dev";

/// The cluster, from 0, whose API server does not ask the agent before it takes writes.
pub const WITHOUT_WEBHOOK: usize = 2;

/// A hub with registered clusters.
#[derive(Debug)]
pub struct Fixture {
    /// The lab.
    pub lab: Lab,
    /// The hub; tests that end it take the lock.
    pub hub: Mutex<Hub>,
    /// The command line, pointed at the hub.
    pub cli: Cli,
    /// Where logs and traffic counts go.
    pub directory: PathBuf,
    namespaces: Vec<String>,
}

impl Fixture {
    /// Brings up the lab and a hub, and registers every real cluster with rights on `namespaces`.
    /// The first cluster has the label `tier=canary`, the others `tier=rest`.
    ///
    /// # Errors
    /// When any of it does not come up.
    pub fn start(lab_name: &str, directory: &Path, namespaces: &[&str]) -> Result<Self> {
        let mut fixture = Self::around(
            Lab::up_with(lab_name, 3, 0, &["--crds", "keda"])?,
            directory,
        )?;
        fixture.namespaces = namespaces.iter().map(|one| (*one).to_owned()).collect();
        for (index, cluster) in fixture.lab.real().into_iter().enumerate() {
            let member = Member::connect(&cluster.kubeconfig)?;
            for namespace in namespaces {
                member.create_namespace(namespace)?;
            }
            fixture.register_again(index)?;
        }
        fixture.cli.apply(FLEET)?;
        Ok(fixture)
    }

    /// Starts a hub beside a lab that is up and gives real clusters the agent's image. Nothing is
    /// registered.
    ///
    /// # Errors
    /// When any of it does not come up.
    pub fn around(lab: Lab, directory: &Path) -> Result<Self> {
        Self::around_with(lab, directory, &[])
    }

    /// As [`Self::around`], with further flags of the hub.
    ///
    /// # Errors
    /// When any of it does not come up.
    pub fn around_with(lab: Lab, directory: &Path, flags: &[String]) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        lab.load_image(AGENT_IMAGE, &workspace_binary("bellwether-agent")?)?;
        // Tests serve their sources on this machine.
        let mut all = vec![
            "--source-networks",
            "127.0.0.0/8",
            "--source-plain-http-hosts",
            "127.0.0.1",
        ];
        all.extend(flags.iter().map(String::as_str));
        let hub = Hub::start(&directory.join("hub"), &lab.bridge_address, &all)?;
        let cli = Cli::new(&hub)?;
        Ok(Self {
            lab,
            hub: Mutex::new(hub),
            cli,
            directory: directory.to_owned(),
            namespaces: Vec::new(),
        })
    }

    /// Registers a real cluster, from 0, as [`Self::start`] does.
    ///
    /// # Errors
    /// When it does not report in.
    pub fn register_again(&self, index: usize) -> Result<String> {
        let clusters = self.lab.real();
        let cluster = clusters
            .get(index)
            .context("the lab has three real clusters")?;
        let tier = if index == 0 { "canary" } else { "rest" };
        let flags: &[&str] = match index {
            WITHOUT_WEBHOOK => &["--admission-webhook", "off"],
            _ => &[],
        };
        let namespaces: Vec<&str> = self.namespaces.iter().map(String::as_str).collect();
        self.register_with(cluster, tier, &namespaces, flags)
    }

    /// Registers one cluster as a user would, and returns what the command printed.
    ///
    /// # Errors
    /// When it does not report in.
    pub fn register(
        &self,
        cluster: &LabCluster,
        tier: &str,
        namespaces: &[&str],
    ) -> Result<String> {
        self.register_with(cluster, tier, namespaces, &[])
    }

    /// Registers one cluster with further flags of `register cluster`.
    ///
    /// # Errors
    /// When it does not report in.
    pub fn register_with(
        &self,
        cluster: &LabCluster,
        tier: &str,
        namespaces: &[&str],
        flags: &[&str],
    ) -> Result<String> {
        let kubeconfig = cluster.kubeconfig.to_str().context("paths are UTF-8")?;
        let labels = format!("fleet=quickstart,tier={tier}");
        let namespaces = namespaces.join(",");
        let mut arguments = vec![
            "register",
            "cluster",
            &cluster.name,
            "--kubeconfig",
            kubeconfig,
            "-l",
            &labels,
            "--namespaces",
            &namespaces,
            "--metrics-address",
            &cluster.prometheus_url,
            "--agent-image",
            AGENT_IMAGE,
        ];
        arguments.extend(flags);
        self.cli.run(&arguments)
    }

    /// Connects to a real cluster as its administrator; from 0.
    ///
    /// # Errors
    /// When there is no such cluster.
    pub fn member(&self, index: usize) -> Result<Member> {
        let clusters = self.lab.real();
        let cluster = clusters
            .get(index)
            .context("the lab has three real clusters")?;
        Member::connect(&cluster.kubeconfig)
    }

    /// Returns the application's latest run.
    ///
    /// # Errors
    /// When there is none.
    pub fn run(&self, application: &str) -> Result<RunView> {
        let value = self.cli.json(&["get", "rollout", application])?;
        serde_json::from_value(value).context("the view of a run")
    }

    /// Fails when an agent's container was started again: it crashed, which Kubernetes would hide for as long
    /// as its pauses are short. Pods that tests took away are new ones.
    ///
    /// # Errors
    /// When one was, with how it ended.
    pub fn no_agent_crashed(&self) -> Result<()> {
        for cluster in self.lab.real() {
            for pod in Member::connect(&cluster.kubeconfig)?.pods(AGENT_NAMESPACE, AGENT_LABELS)? {
                let containers = pod.status.and_then(|status| status.container_statuses);
                for container in containers.into_iter().flatten() {
                    ensure!(
                        container.restart_count == 0,
                        "the agent of {} crashed {} times: {:?}",
                        cluster.name,
                        container.restart_count,
                        container.last_state
                    );
                }
            }
        }
        Ok(())
    }

    /// Waits until the latest run is of `revision` and `condition` holds of it.
    ///
    /// # Errors
    /// When it does not come to hold within `limit`; the error carries the last view.
    pub fn wait_run(
        &self,
        application: &str,
        revision: u64,
        limit: Duration,
        what: &str,
        condition: impl Fn(&RunView) -> bool,
    ) -> Result<RunView> {
        let mut last = None;
        until(limit, what, || {
            let Ok(view) = self.run(application) else {
                return Ok(None);
            };
            let holds = view.revision == revision && condition(&view);
            last = Some(view.clone());
            Ok(holds.then_some(view))
        })
        .with_context(|| {
            let text = self.cli.call(&["get", "rollout", application], None);
            format!(
                "last seen: {}",
                text.map(|answer| answer.stdout).unwrap_or_default()
            )
        })
    }

    /// Waits until the run of `revision` has ended in `phase`.
    ///
    /// # Errors
    /// When it ends otherwise or not in time.
    pub fn wait_ended(
        &self,
        application: &str,
        revision: u64,
        phase: RunPhase,
        limit: Duration,
    ) -> Result<RunView> {
        self.wait_run(
            application,
            revision,
            limit,
            &format!("{application} to be {phase:?}"),
            |view| view.state == phase,
        )
    }
}

/// Returns the view of one cluster of a run.
///
/// # Errors
/// When the run has no such cluster.
pub fn cluster_view<'a>(view: &'a RunView, name: &str) -> Result<&'a ClusterView> {
    view.waves
        .iter()
        .flat_map(|wave| &wave.clusters)
        .find(|cluster| cluster.name == name)
        .with_context(|| format!("the run has no cluster {name}"))
}
