//! The real agent, as a process with the rights that `register cluster` gave its ServiceAccount.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bellwether_integration_tests::{
    cli::Cli,
    hub::{free_port, http_status},
    lab::LabCluster,
    process::{OwnedProcess, workspace_binary},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Secret, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use crate::api::Api as HubApi;

/// The agent's namespace in every cluster.
const SYSTEM: &str = "bellwether-system";
/// The agent's Deployment and ServiceAccount.
const AGENT: &str = "bellwether-agent";
/// Where applications of this program live.
pub const NAMESPACE: &str = "bench";
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A cluster with an agent process beside it.
pub struct Member {
    /// The cluster as its administrator sees it.
    pub client: Client,
    name: String,
    arguments: Vec<String>,
    log: PathBuf,
    health: String,
    process: Option<OwnedProcess>,
}

/// Connects as the administrator.
///
/// # Errors
/// When the kubeconfig is of no use.
pub async fn administrator(cluster: &LabCluster) -> Result<Client> {
    let file = Kubeconfig::read_from(&cluster.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

impl Member {
    /// Registers a control-plane cluster, whose pods are only played, and starts the agent as a
    /// process in place of the pod.
    ///
    /// # Errors
    /// When the cluster or the hub refuses, or the agent does not connect.
    pub async fn register(
        cli: &Cli,
        hub: &HubApi,
        cluster: &LabCluster,
        folder: &Path,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let client = administrator(cluster).await?;
        let kubeconfig = cluster.kubeconfig.to_str().context("paths are UTF-8")?;
        // Nobody beats from a pod that is only played: the command gives up waiting, with
        // everything installed.
        let arguments = [
            "register",
            "cluster",
            &cluster.name,
            "--kubeconfig",
            kubeconfig,
            "--namespaces",
            NAMESPACE,
            "--agent-image",
            "bellwether.local/agent:bench",
            "--timeout",
            "1s",
        ];
        let answer = tokio::task::block_in_place(|| cli.call(&arguments, None))?;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), SYSTEM);
        let none = json!({"spec": {"replicas": 0}});
        let deployment = deployments
            .patch(AGENT, &PatchParams::default(), &Patch::Merge(&none))
            .await
            .with_context(|| format!("register cluster: {}{}", answer.stdout, answer.stderr))?;
        let file = write_kubeconfig(&client, cluster, folder).await?;
        let token = write_join_token(&client, folder).await?;
        let health = format!("127.0.0.1:{}", free_port()?);
        let mut arguments: Vec<String> = [
            "--kubeconfig",
            &file,
            "--token-file",
            &token,
            "--health-listen",
            &health,
        ]
        .map(str::to_owned)
        .into();
        for (flag, name) in [
            ("--hub-address", "BELLWETHER_HUB_ADDRESS"),
            ("--hub-ca-hash", "BELLWETHER_HUB_CA_HASH"),
        ] {
            arguments.extend([flag.to_owned(), environment(&deployment, name)?]);
        }
        let mut member = Self {
            client,
            name: cluster.name.clone(),
            arguments,
            log: folder.join("agent.log"),
            health,
            process: None,
        };
        member.start()?;
        member.wait_connected(hub).await?;
        Ok(member)
    }

    /// Starts the agent; gives when it was started.
    ///
    /// # Errors
    /// When it was not built.
    pub fn start(&mut self) -> Result<Instant> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(workspace_binary("bellwether-agent")?);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let began = Instant::now();
        self.process = Some(OwnedProcess::start("the agent", &mut command)?);
        Ok(began)
    }

    /// Stops the agent as its pod would be stopped.
    ///
    /// # Errors
    /// When it has to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.stop(Duration::from_secs(20)))
    }

    /// Tells whether the agent says that it is ready.
    pub fn is_ready(&self) -> bool {
        http_status(&format!("http://{}/readyz", self.health)) == Some(200)
    }

    /// The agent's process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self
            .process
            .as_ref()
            .context("the agent does not run")?
            .id())
    }

    /// Waits until the hub counts the cluster as Ready.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub async fn wait_connected(&mut self, hub: &HubApi) -> Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        let path = format!("/api/v1/clusters/{}", self.name);
        loop {
            let cluster = hub.get(&path).await?;
            if cluster["status"]["condition"] == "Ready" {
                return Ok(());
            }
            let runs = self
                .process
                .as_mut()
                .is_some_and(|process| process.is_running().unwrap_or_default());
            if !runs || Instant::now() > deadline {
                bail!(
                    "the agent of {} does not connect ({}); see {}",
                    self.name,
                    cluster["status"],
                    self.log.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn environment(deployment: &Deployment, name: &str) -> Result<String> {
    let value = serde_json::to_value(deployment)?;
    value["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|variable| variable["name"] == name)
        .and_then(|variable| variable["value"].as_str().map(str::to_owned))
        .with_context(|| format!("the agent's Deployment sets no {name}"))
}

async fn write_kubeconfig(client: &Client, cluster: &LabCluster, folder: &Path) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), SYSTEM);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(86_400),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(AGENT, &PostParams::default(), &request)
        .await?;
    let token = answer.status.context("a token")?.token;
    let own = Kubeconfig::read_from(&cluster.kubeconfig)?;
    let server = own
        .clusters
        .first()
        .and_then(|named| named.cluster.clone())
        .context("the kubeconfig names a cluster")?;
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "agent",
        "clusters": [{"name": "agent", "cluster": server}],
        "users": [{"name": "agent", "user": {"token": token}}],
        "contexts": [{"name": "agent", "context": {"cluster": "agent", "user": "agent"}}],
    });
    write_private(&folder.join("kubeconfig"), text.to_string().as_bytes())
}

async fn write_join_token(client: &Client, folder: &Path) -> Result<String> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    let secret = secrets.get("bellwether-agent-join").await?;
    let token = secret
        .data
        .unwrap_or_default()
        .remove("token")
        .context("the join token")?;
    write_private(&folder.join("join-token"), &token.0)
}

fn write_private(path: &Path, content: &[u8]) -> Result<String> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut file = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    path.to_str().map(str::to_owned).context("paths are UTF-8")
}
