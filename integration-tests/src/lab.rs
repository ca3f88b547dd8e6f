//! The lab of real Kubernetes clusters (`integration-tests/lab`).

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process::repository;

/// A running lab.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lab {
    /// Its name; it decides the addresses.
    pub name: String,
    /// The host's address as pods reach it.
    pub bridge_address: String,
    /// Its clusters, real ones first.
    pub clusters: Vec<LabCluster>,
}

/// One cluster of a lab.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabCluster {
    /// `c1`… for real ones, `k1`… for those with simulated nodes.
    pub name: String,
    /// `real` or `control-plane`.
    pub kind: String,
    /// An administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The node's address.
    pub node_address: String,
    /// Where the gateway answers; empty without one.
    #[serde(default)]
    pub gateway_url: String,
    /// Where Prometheus answers; empty without one.
    #[serde(default)]
    pub prometheus_url: String,
    /// Where nginx answers; empty where the lab runs none.
    #[serde(default)]
    pub nginx_url: String,
    /// Where Contour's Envoy answers once there is an HTTPProxy; empty where the lab runs none.
    #[serde(default)]
    pub contour_url: String,
}

/// Who made one request to an API server.
#[derive(Clone, Debug)]
pub struct AuditedRequest {
    /// What the client calls itself.
    pub user_agent: String,
    /// As whom the API server took it.
    pub user: String,
    /// The groups of that user.
    pub groups: Vec<String>,
    /// In whose name it was made; absent = in the user's own.
    pub in_name_of: Option<String>,
    /// What was done, such as `get` or `patch`.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// The plural of the kind; empty = no object was asked for.
    pub resource: String,
    /// The object's namespace; empty = none.
    pub namespace: String,
    /// The object's name; empty = several, or one that has none yet.
    pub object: String,
}

impl AuditedRequest {
    /// Tells whether it changed what the API server keeps, or would have.
    #[must_use]
    pub fn is_write(&self) -> bool {
        let reads = ["get", "list", "watch"].contains(&self.verb.as_str());
        // Questions that are asked by creating them are kept nowhere.
        let asks = self.resource.ends_with("reviews") || self.uri.contains("dryRun=");
        !reads && !asks
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditLine {
    #[serde(default)]
    user_agent: String,
    user: AuditUser,
    #[serde(default)]
    impersonated_user: Option<AuditUser>,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    #[serde(default)]
    object_ref: AuditObject,
}

#[derive(Default, Deserialize)]
struct AuditObject {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct AuditUser {
    username: String,
    #[serde(default)]
    groups: Vec<String>,
}

impl From<AuditLine> for AuditedRequest {
    fn from(line: AuditLine) -> Self {
        Self {
            user_agent: line.user_agent,
            user: line.user.username,
            groups: line.user.groups,
            in_name_of: line.impersonated_user.map(|user| user.username),
            verb: line.verb,
            uri: line.request_uri,
            resource: line.object_ref.resource,
            namespace: line.object_ref.namespace,
            object: line.object_ref.name,
        }
    }
}

/// Builds the command `lab.sh` with its arguments.
#[must_use]
pub fn lab_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(repository().join("integration-tests/lab/lab.sh"));
    command.args(arguments);
    command
}

impl Lab {
    /// Brings the lab up, or finds it up already.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn up(name: &str, real: usize, control_plane: usize) -> Result<Self> {
        Self::up_with(name, real, control_plane, &[])
    }

    /// Brings a lab up with further flags of `lab up`.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn up_with(name: &str, real: usize, control_plane: usize, flags: &[&str]) -> Result<Self> {
        let (real, control_plane) = (real.to_string(), control_plane.to_string());
        let mut arguments = vec![
            "up",
            "--name",
            name,
            "--real",
            &real,
            "--control-plane",
            &control_plane,
        ];
        arguments.extend(flags);
        let status = lab_command(&arguments)
            .stdout(std::io::stderr())
            .status()
            .context("failed to run the lab")?;
        if !status.success() {
            bail!("the lab {name} did not come up: {status}");
        }
        let path = PathBuf::from("/var/lib/bellwether-lab")
            .join(name)
            .join("lab.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("failed to read {}", path.display()))
    }

    /// Stops every cluster.
    ///
    /// # Errors
    /// When something of it cannot be stopped.
    pub fn down(name: &str) -> Result<()> {
        run(&["down", "--name", name])
    }

    /// Cuts the cluster's link to the hub; its pods keep their API server.
    ///
    /// # Errors
    /// When the link cannot be set.
    pub fn cut(&self, cluster: &str) -> Result<()> {
        run(&["link", "cut", "--name", &self.name, cluster])
    }

    /// Heals what [`Self::cut`] cut.
    ///
    /// # Errors
    /// When the link cannot be set.
    pub fn heal(&self, cluster: &str) -> Result<()> {
        run(&["link", "heal", "--name", &self.name, cluster])
    }

    /// Makes an image of a binary and loads it into every real cluster.
    ///
    /// # Errors
    /// When the image cannot be made or loaded.
    pub fn load_image(&self, tag: &str, binary: &std::path::Path) -> Result<()> {
        let binary = binary.to_str().context("paths are UTF-8")?;
        run(&[
            "image", "--name", &self.name, "--tag", tag, "--binary", binary,
        ])
    }

    /// Reads the API server's audit log of a cluster, in the order in which requests were answered.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn audit(&self, cluster: &str) -> Result<Vec<AuditedRequest>> {
        self.audit_from(cluster, 0).map(|(requests, _)| requests)
    }

    /// Reads what a cluster's audit log has behind that many bytes, and gives how many bytes it has now: for
    /// whoever looks again and again. A line that is not whole yet is left for the next time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn audit_from(&self, cluster: &str, read_bytes: u64) -> Result<(Vec<AuditedRequest>, u64)> {
        let path = PathBuf::from("/var/lib/bellwether-lab")
            .join(&self.name)
            .join(cluster)
            .join("log/audit.log");
        let read = || -> std::io::Result<(u64, Vec<u8>)> {
            let mut file = File::open(&path)?;
            // The API server begins a new file once one is large.
            let from = if file.metadata()?.len() < read_bytes {
                0
            } else {
                read_bytes
            };
            file.seek(SeekFrom::Start(from))?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            Ok((from, text))
        };
        let (from, text) = read().with_context(|| format!("failed to read {}", path.display()))?;
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        let whole = whole.map_or(0, |end| end + 1);
        let requests = text[..whole]
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<AuditLine>(line).ok())
            .map(AuditedRequest::from)
            .collect();
        Ok((requests, from + u64::try_from(whole)?))
    }

    /// Runs kubectl inside the cluster's own network, where it works while the link is cut.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn kubectl(&self, cluster: &str, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["kubectl", "--name", &self.name, cluster];
        all.extend(arguments);
        let output = lab_command(&all)
            .output()
            .context("failed to run the lab")?;
        if !output.status.success() {
            bail!(
                "kubectl in {cluster} failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Returns the real clusters.
    #[must_use]
    pub fn real(&self) -> Vec<&LabCluster> {
        self.clusters
            .iter()
            .filter(|cluster| cluster.kind == "real")
            .collect()
    }

    /// Returns the clusters whose nodes are simulated.
    #[must_use]
    pub fn control_plane(&self) -> Vec<&LabCluster> {
        self.clusters
            .iter()
            .filter(|cluster| cluster.kind == "control-plane")
            .collect()
    }

    /// Returns one cluster by name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn cluster(&self, name: &str) -> Result<&LabCluster> {
        self.clusters
            .iter()
            .find(|cluster| cluster.name == name)
            .with_context(|| format!("the lab has no cluster {name}"))
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    let output = lab_command(arguments)
        .output()
        .context("failed to run the lab")?;
    if !output.status.success() {
        bail!(
            "lab {} failed: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
