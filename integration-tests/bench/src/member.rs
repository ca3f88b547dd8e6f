//! The real agent beside a cluster whose pods are only played.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
pub use bellwether_integration_tests::agent_process::administrator;
use bellwether_integration_tests::{agent_process::AgentProcess, cli::Cli, lab::LabCluster};
use kube::Client;

use crate::api::Api as HubApi;

/// Where applications of this program live.
pub const NAMESPACE: &str = "bench";
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A cluster with an agent process beside it.
pub struct Member {
    /// The cluster as its administrator sees it.
    pub client: Client,
    agent: AgentProcess,
}

impl Member {
    /// Registers a control-plane cluster and starts the agent as a process in place of the pod.
    ///
    /// # Errors
    /// When the cluster or the hub refuses, or the agent does not connect.
    pub async fn register(
        cli: &Cli,
        hub: &HubApi,
        cluster: &LabCluster,
        folder: &Path,
    ) -> Result<Self> {
        let client = administrator(cluster).await?;
        let agent = AgentProcess::register(cli, cluster, "", &[NAMESPACE], folder).await?;
        let mut member = Self { client, agent };
        member.wait_connected(hub).await?;
        Ok(member)
    }

    /// Starts the agent; gives when it was started.
    ///
    /// # Errors
    /// When it was not built.
    pub fn start(&mut self) -> Result<Instant> {
        self.agent.start()
    }

    /// Stops the agent as its pod would be stopped.
    ///
    /// # Errors
    /// When it has to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.agent.stop()
    }

    /// Tells whether the agent says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.agent.is_ready()
    }

    /// Where the agent tells its figures.
    pub fn figures_url(&self) -> String {
        self.agent.figures_url()
    }

    /// The agent's process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        self.agent.pid()
    }

    /// Waits until the hub counts the cluster as Ready.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub async fn wait_connected(&mut self, hub: &HubApi) -> Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        let path = format!("/api/v1/clusters/{}", self.agent.cluster);
        loop {
            let cluster = hub.get(&path).await?;
            if cluster["status"]["condition"] == "Ready" {
                return Ok(());
            }
            if !self.agent.is_running() || Instant::now() > deadline {
                bail!(
                    "the agent of {} does not connect ({}); see {}",
                    self.agent.cluster,
                    cluster["status"],
                    self.agent.log.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
