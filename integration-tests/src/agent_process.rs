//! The agent as a process, with the rights that `register cluster` gave its ServiceAccount: for
//! clusters whose pods are only played.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
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

use crate::{
    cli::Cli,
    hub::{free_port, http_status},
    lab::LabCluster,
    process::{OwnedProcess, workspace_binary},
};

/// The agent's namespace in every cluster.
pub const SYSTEM: &str = "bellwether-system";
/// The agent's Deployment and ServiceAccount.
pub const AGENT: &str = "bellwether-agent";
/// How long the agent may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// An agent beside its cluster.
#[derive(Debug)]
pub struct AgentProcess {
    /// The cluster.
    pub cluster: String,
    /// Its log.
    pub log: PathBuf,
    folder: PathBuf,
    arguments: Vec<String>,
    health: String,
    process: Option<OwnedProcess>,
}

/// Connects as the cluster's administrator.
///
/// # Errors
/// When the kubeconfig is of no use.
pub async fn administrator(cluster: &LabCluster) -> Result<Client> {
    let file = Kubeconfig::read_from(&cluster.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

impl AgentProcess {
    /// Registers a control-plane cluster and starts the agent as a process in place of the pod.
    /// `labels` are `key=value` pairs separated by commas; empty = none. `folder` gets the agent's
    /// kubeconfig, token and log.
    ///
    /// # Errors
    /// When the cluster or the hub refuses. Whether the agent connects is for the caller to wait for.
    pub async fn register(
        cli: &Cli,
        cluster: &LabCluster,
        labels: &str,
        namespaces: &[&str],
        folder: &Path,
    ) -> Result<Self> {
        let mut agent = Self::prepare(cli, cluster, labels, namespaces, folder).await?;
        agent.start()?;
        Ok(agent)
    }

    /// Registers a cluster, takes the agent's pod away, and starts nothing in its place yet.
    ///
    /// # Errors
    /// As [`Self::register`].
    pub async fn prepare(
        cli: &Cli,
        cluster: &LabCluster,
        labels: &str,
        namespaces: &[&str],
        folder: &Path,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let client = administrator(cluster).await?;
        let kubeconfig = cluster.kubeconfig.to_str().context("paths are UTF-8")?;
        let namespaces = namespaces.join(",");
        let mut arguments = vec![
            "register",
            "cluster",
            &cluster.name,
            "--kubeconfig",
            kubeconfig,
            "--namespaces",
            &namespaces,
            "--agent-image",
            "bellwether.local/agent:played",
            "--policy-reports",
            // Nobody beats from a pod that is only played: the command gives up waiting, with
            // everything installed.
            "--timeout",
            "1s",
        ];
        if !labels.is_empty() {
            arguments.extend(["-l", labels]);
        }
        let answer = tokio::task::block_in_place(|| cli.call(&arguments, None))?;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), SYSTEM);
        let none = json!({"spec": {"replicas": 0}});
        let deployment = deployments
            .patch(AGENT, &PatchParams::default(), &Patch::Merge(&none))
            .await
            .with_context(|| format!("register cluster: {}{}", answer.stdout, answer.stderr))?;
        let file = folder.join("kubeconfig");
        let file = write_kubeconfig(&client, cluster, (SYSTEM, AGENT), &file).await?;
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
        Ok(Self {
            cluster: cluster.name.clone(),
            log: folder.join("agent.log"),
            folder: folder.to_owned(),
            arguments,
            health,
            process: None,
        })
    }

    /// Prepares a second agent of the same cluster, as a node that is cut off leaves one behind.
    ///
    /// # Errors
    /// When no port is free, or its folder cannot be made.
    pub fn twin(&self, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut twin = Self {
            cluster: self.cluster.clone(),
            log: folder.join("agent.log"),
            folder: folder.to_owned(),
            arguments: self.arguments.clone(),
            health: format!("127.0.0.1:{}", free_port()?),
            process: None,
        };
        let health = twin.health.clone();
        twin.set("--health-listen", &health)?;
        Ok(twin)
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
        let process = OwnedProcess::start("the agent", &mut command)?;
        // For whoever clears up after a program that was killed.
        std::fs::write(self.folder.join("agent.pid"), process.id().to_string())?;
        self.process = Some(process);
        Ok(began)
    }

    /// Stops the agent as its pod would be stopped.
    ///
    /// # Errors
    /// When it has to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.stop(STOP_LIMIT))
    }

    /// Ends the agent at once, as a crash would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.kill())
    }

    /// Tells whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| process.is_running().unwrap_or_default())
    }

    /// Tells whether the agent says that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        http_status(&format!("http://{}/readyz", self.health)) == Some(200)
    }

    /// Where the agent tells its figures, in the Prometheus text format.
    #[must_use]
    pub fn figures_url(&self) -> String {
        format!("http://{}/metrics", self.health)
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

    /// Gives a flag another value from the next start on; gives the former one.
    ///
    /// # Errors
    /// When the agent is started without that flag.
    pub fn set(&mut self, flag: &str, value: &str) -> Result<String> {
        let at = self.arguments.iter().position(|one| one == flag);
        let at = at.with_context(|| format!("the agent has no {flag}"))? + 1;
        Ok(std::mem::replace(&mut self.arguments[at], value.to_owned()))
    }

    /// What the agent has logged so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn logged(&self) -> Result<String> {
        std::fs::read_to_string(&self.log).context("failed to read the agent's log")
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

/// Writes a kubeconfig that speaks as a ServiceAccount, and for a day; gives its path.
///
/// # Errors
/// When there is no such ServiceAccount, or the file cannot be written.
pub async fn write_kubeconfig(
    client: &Client,
    cluster: &LabCluster,
    (namespace, account): (&str, &str),
    file: &Path,
) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(86_400),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &request)
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
        "current-context": account,
        "clusters": [{"name": account, "cluster": server}],
        "users": [{"name": account, "user": {"token": token}}],
        "contexts": [{"name": account, "context": {"cluster": account, "user": account}}],
    });
    write_private(file, text.to_string().as_bytes())
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
