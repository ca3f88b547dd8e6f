//! One chart for many clusters: how many programs render it, and how long all of it takes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bellwether_integration_tests::{chart_repository::ChartRepository, process::workspace_binary};
use serde_json::{Value, json};

use super::hub;
use crate::{api::Api, plan::Plan, report::Report, simulated::Fleet};

const CHART: &str = "app";
/// How long all clusters together may take.
const LIMIT: Duration = Duration::from_secs(900);

/// A renderer that notes that it is started.
struct Counted {
    program: PathBuf,
    starts: PathBuf,
}

impl Counted {
    fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let real = workspace_binary("bellwether-renderer").context("run `make renderer` first")?;
        let (program, starts) = (folder.join("renderer"), folder.join("starts"));
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> '{}'\nexec '{}' \"$@\"\n",
            starts.display(),
            real.display()
        );
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        fs::write(&starts, "")?;
        Ok(Self { program, starts })
    }

    /// Renderings that were begun so far.
    fn renderings(&self) -> Result<usize> {
        let text = fs::read_to_string(&self.starts)?;
        Ok(text
            .lines()
            .filter(|line| line.contains("memory-mib"))
            .count())
    }
}

/// Renders a chart for all clusters alike, then one whose values name each cluster.
///
/// # Errors
/// When something does not start, or is not delivered everywhere.
pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut charts = ChartRepository::start()?;
    charts.publish(CHART, "1.0.0", &[])?;
    let counted = Counted::new(&plan.directory.join("renderer"))?;
    let program = counted.program.display().to_string();
    let words = [
        "--renderer",
        &program,
        "--source-networks",
        "127.0.0.0/8",
        "--source-plain-http-hosts",
        "127.0.0.1",
    ];
    let mut hub = hub(plan, "render", words.map(str::to_owned).to_vec())?;
    let mut fleet = Fleet::enrol(&hub, plan.render_clusters, plan.render_clusters).await?;
    fleet.connect().await?;
    let api = hub.api()?;
    for (name, what, per_cluster) in [
        ("alike", "the same values everywhere", false),
        ("own", "a value of its own for each cluster", true),
    ] {
        let before = (counted.renderings()?, hub.cpu()?);
        let took = delivered(
            &api,
            &mut fleet,
            &application(name, &charts.url(), per_cluster),
        )
        .await?;
        let started = counted.renderings()? - before.0;
        let [own, postgres, _] = hub.cpu()?.cores_since(&before.1);
        let each = took.as_secs_f64() * 1_000.0 / f64::from(u32::try_from(started.max(1))?);
        report.add(
            &format!("one chart for {} clusters, {what}", fleet.len()),
            &format!("{:.1} s, {started} renderers, {each:.1} ms each", took.as_secs_f64()),
            "",
            &format!(
                "from `POST /api/v1/apply` to the last cluster's Ack: chart fetched, rendered by the \
                 real renderer, a process per rendering, 4 at once, sent; agents report Succeeded; \
                 each = all of it by the number of renderers; cores: hub and renderers {own:.2}, \
                 Postgres {postgres:.2}"
            ),
        );
    }
    fleet.check_connected()?;
    fleet.disconnect().await;
    hub.stop()
}

fn application(name: &str, repository: &str, per_cluster: bool) -> Value {
    let mut spec = json!({
        "destination": {"selector": {}},
        "targetNamespace": name,
        "components": [{"name": "web", "helm": {
            "repository": repository, "chart": CHART, "version": "1.0.0", "releaseName": "web"}}],
    });
    if per_cluster {
        spec["overrides"] = json!([{"name": "own", "values": {"image": {
            "repository": "bellwether.local/{{ cluster.name }}"}}}]);
    }
    json!({"apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

/// Applies it and waits until every agent has it.
async fn delivered(api: &Api, fleet: &mut Fleet, application: &Value) -> Result<Duration> {
    let name = application["metadata"]["name"].as_str().unwrap_or_default();
    let began = Instant::now();
    api.apply(application.to_string()).await?;
    let deadline = tokio::time::Instant::now() + LIMIT;
    let mut acknowledged = 0;
    while acknowledged < fleet.len() {
        let heard = tokio::time::timeout_at(deadline, fleet.acknowledged.recv()).await;
        let heard = heard.with_context(|| {
            format!(
                "{name}: only {acknowledged} clusters had it in {} s",
                LIMIT.as_secs()
            )
        })?;
        let heard = heard.context("the agents are gone")?;
        acknowledged += usize::from(heard.application == name);
    }
    ensure!(acknowledged > 0, "there are no clusters");
    Ok(began.elapsed())
}
