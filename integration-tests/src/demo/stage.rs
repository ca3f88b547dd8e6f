//! What the demo does, step by step, through the command line.

use std::{
    fs::File,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bellwether_api::view::{ClusterPhase, RunPhase, RunView};

use crate::{
    cli::Cli,
    demo::{heading, teardown},
    fixture::AGENT_IMAGE,
    hub::http_status,
    lab::Lab,
    process::{repository, workspace_binary},
    wait::until,
    weights::{Look, RunWatch},
};

/// The running demo.
#[derive(Debug)]
pub struct Stage {
    /// Its clusters.
    pub lab: Lab,
    /// Its folder.
    pub directory: PathBuf,
    cli: Cli,
}

/// What was seen of one release.
#[derive(Debug)]
pub struct Release {
    /// The version.
    pub version: String,
    /// Every look at the run.
    pub looks: Vec<Look>,
    /// How the run ended.
    pub view: RunView,
    /// How long it took.
    pub took: Duration,
}

impl Stage {
    /// Starts the clusters and the hub.
    ///
    /// # Errors
    /// When either does not come up.
    pub fn build() -> Result<Self> {
        let directory = teardown::directory();
        std::fs::create_dir_all(&directory)?;
        heading("three Kubernetes clusters, each with a gateway and a Prometheus of its own");
        let began = Instant::now();
        let lab = Lab::up(teardown::LAB, 3, 0)?;
        lab.load_image(AGENT_IMAGE, &workspace_binary("bellwether-agent")?)?;
        println!("  up after {:.1} s", began.elapsed().as_secs_f32());
        heading("a hub with its own Postgres");
        let cli = start_hub(&lab, &directory)?;
        Ok(Self {
            lab,
            directory,
            cli,
        })
    }

    /// Registers every cluster: one command each.
    ///
    /// # Errors
    /// When one does not report in.
    pub fn register_clusters(&self) -> Result<()> {
        heading("register the clusters: one command each, which installs the agent as a pod");
        for (cluster, tier) in self.lab.real().into_iter().zip(["canary", "rest", "rest"]) {
            let kubeconfig = cluster.kubeconfig.to_str().context("paths are UTF-8")?;
            let labels = format!("fleet=quickstart,tier={tier}");
            self.show(&[
                "register",
                "cluster",
                &cluster.name,
                "--kubeconfig",
                kubeconfig,
                "-l",
                &labels,
                "--namespaces",
                "shop",
                "--metrics-address",
                &cluster.prometheus_url,
                "--agent-image",
                AGENT_IMAGE,
            ])?;
        }
        self.show(&["get", "clusters"])
    }

    /// Installs the first version everywhere.
    ///
    /// # Errors
    /// When it is refused or does not become healthy.
    pub fn install(&self, version: &str) -> Result<()> {
        heading(
            "apply a Fleet, an Application and a Rollout; the first release is a plain install",
        );
        self.apply(version)?;
        self.wait(1, RunPhase::Succeeded, Duration::from_secs(90))?;
        self.show(&["get", "rollout", "shop"])
    }

    /// Releases a version and shows the live tree until the run ends.
    ///
    /// # Errors
    /// When the run does not end in `expected`.
    pub fn release(&self, version: &str, revision: u64, expected: RunPhase) -> Result<Release> {
        let began = Instant::now();
        self.apply(version)?;
        let watch = RunWatch::start(&self.cli, "default", "shop")?;
        println!("$ bellwether get rollout shop -w");
        // Exits by itself when the run has ended; its exit code tells how.
        let _code = self
            .cli
            .command(&["get", "rollout", "shop", "-w"])
            .status()?;
        let view = self.wait(revision, expected, Duration::from_secs(180))?;
        Ok(Release {
            version: version.to_owned(),
            looks: watch.stop(),
            view,
            took: began.elapsed(),
        })
    }

    /// Says what to look at next.
    pub fn farewell(&self, took: Duration) {
        let bellwether = self.directory.join("bellwether");
        println!(
            "\n== done in {:.0} s; everything is still up. Try:",
            took.as_secs_f32()
        );
        for arguments in [
            "get clusters",
            "get rollout shop",
            "tree application/shop",
            "events rollout/shop",
            "why rollout/shop",
            "rollout history shop",
        ] {
            println!("  {} {arguments}", bellwether.display());
        }
        println!("  integration-tests/lab/lab.sh kubectl --name demo c1 -n shop get pods");
        println!("and when you are done: make demo-down");
    }

    fn apply(&self, version: &str) -> Result<()> {
        let path = repository().join("integration-tests/demo/quickstart.yaml");
        let text = std::fs::read_to_string(&path)?;
        let text = text.replace(
            "bellwether.local/demo:v1",
            &format!("bellwether.local/demo:{version}"),
        );
        println!("$ bellwether apply -f -     # quickstart.yaml with image demo:{version}");
        print!("{}", indent(&self.cli.apply(&text)?));
        Ok(())
    }

    fn wait(&self, revision: u64, expected: RunPhase, limit: Duration) -> Result<RunView> {
        until(
            limit,
            &format!("revision {revision} to be {expected:?}"),
            || {
                let Ok(value) = self.cli.json(&["get", "rollout", "shop"]) else {
                    return Ok(None);
                };
                let view: RunView = serde_json::from_value(value)?;
                if view.revision != revision {
                    return Ok(None);
                }
                if view.state.is_terminal() && view.state != expected {
                    bail!(
                        "revision {revision} ended {:?}: {}",
                        view.state,
                        view.message
                    );
                }
                // A run halts at the first failed check; the cluster is back a little later.
                let back = view
                    .waves
                    .iter()
                    .flat_map(|wave| &wave.clusters)
                    .all(|cluster| {
                        !matches!(
                            cluster.state,
                            ClusterPhase::RollingBack | ClusterPhase::Progressing
                        )
                    });
                Ok((view.state == expected && back).then_some(view))
            },
        )
    }

    fn show(&self, arguments: &[&str]) -> Result<()> {
        println!("$ bellwether {}", arguments.join(" "));
        let answer = self.cli.call(arguments, None)?;
        print!("{}{}", indent(&answer.stderr), indent(&answer.stdout));
        if answer.code != 0 {
            bail!(
                "bellwether {} exited with {}",
                arguments.join(" "),
                answer.code
            );
        }
        Ok(())
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Starts `bellwether hub dev` in a session of its own, since it outlives the demo.
fn start_hub(lab: &Lab, directory: &std::path::Path) -> Result<Cli> {
    let data = directory.join("hub");
    std::fs::create_dir_all(&data)?;
    let log = File::create(directory.join("hub.log"))?;
    let agent_address = format!("{}:7701", lab.bridge_address);
    println!(
        "$ bellwether hub dev --data-dir {} --agent-address {agent_address}",
        data.display()
    );
    let child = Command::new("setsid")
        .arg(workspace_binary("bellwether")?)
        .args(["hub", "dev", "--data-dir"])
        .arg(&data)
        .args(["--agent-address", &agent_address])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("failed to start the hub")?;
    std::fs::write(directory.join("hub.pid"), format!("{}\n", child.id()))?;
    until(Duration::from_secs(60), "the hub to be ready", || {
        Ok(http_status("http://127.0.0.1:7700/readyz").filter(|status| *status == 200))
    })
    .with_context(|| format!("see {}", directory.join("hub.log").display()))?;
    write_wrapper(directory, &data)?;
    let socket = data.join("hub.sock");
    Ok(Cli::at(workspace_binary("bellwether")?, socket))
}

/// Writes a `bellwether` that knows this hub, for the user's own shell.
fn write_wrapper(directory: &std::path::Path, data: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join("bellwether");
    let binary = workspace_binary("bellwether")?.canonicalize()?;
    let text = format!(
        "#!/bin/sh\nexec {} --socket {} \"$@\"\n",
        binary.display(),
        data.join("hub.sock").display()
    );
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
