//! The shape that KubeFleet measured itself by in its report of the first quarter of 2026: 1,000
//! members, 1,000 placements of 100 clusters each, 100 rollouts of three stages at once.
//!
//! Its figures stand beside ours as what they are: of two nodes of 16 cores for the hub's cluster, with
//! members that are clusters of their own.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bellwether_integration_tests::process_figures::{peak_rss_kib, rss_kib};
use serde_json::json;
use tokio::task::JoinSet;

use super::{hub, rollouts};
use crate::{api::Api, hub::Hub, latency::Latencies, plan::Plan, report::Report, simulated::Fleet};

/// Stages of a rollout, told apart by a label.
const STAGES: usize = 3;
/// How long everything that one step waits for may take.
const LIMIT: Duration = Duration::from_secs(1_800);

/// What KubeFleet needed for the same.
const KUBE_FLEET_MEMORY: &str = "KubeFleet: 11 GB of its agent, 47 GB of its API server";

/// What is measured on.
pub(super) struct Scene<'a> {
    pub plan: &'a Plan,
    pub api: Api,
    pub fleet: Fleet,
    /// Clusters of one placement.
    pub each: usize,
    /// Groups of clusters that placements name.
    groups: usize,
}

/// Measures placements, rollouts, a restart, and what the hub needs for them.
///
/// # Errors
/// When something is not delivered in time.
pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let each = plan.placement_clusters.clamp(1, plan.agents);
    let mut hub = hub(plan, "kubefleet", Vec::new())?;
    let mut fleet = Fleet::enrol(&hub, plan.agents, each).await?;
    fleet.connect().await?;
    let mut scene = Scene {
        plan,
        api: hub.api()?,
        fleet,
        each,
        groups: plan.agents / each,
    };
    deliver_all(&mut scene, &hub, report).await?;
    rollouts::measure(&mut scene, &hub, report).await?;
    memory_under(&hub, report)?;
    restart(&mut scene, &mut hub, report).await?;
    size(&hub, report)?;
    scene.fleet.check_connected()?;
    scene.fleet.disconnect().await;
    hub.stop()
}

impl Scene<'_> {
    /// A revision of one placement.
    pub fn document(&self, placement: usize, revision: u64) -> String {
        let waves: Vec<_> = (0..STAGES)
            .map(|stage| {
                json!({"name": format!("stage-{stage}"), "maxConcurrent": "50%",
                    "selector": {"matchLabels": {"stage": stage.to_string()}}})
            })
            .collect();
        let group = placement % self.groups.max(1);
        json!({
            "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
            "metadata": {"name": name(placement), "namespace": "default"},
            "spec": {
                "destination": {"selector": {"matchLabels": {"group": group.to_string()}}},
                "waves": waves,
                "components": [{"name": "settings", "manifests": [{
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": name(placement), "namespace": "default"},
                    "data": {"revision": revision.to_string()},
                }]}],
            },
        })
        .to_string()
    }

    /// Waits until each of these placements, in this revision, is acknowledged by all of its clusters;
    /// gives when the last of each did.
    pub async fn delivered(
        &mut self,
        placements: &BTreeMap<String, u64>,
    ) -> Result<BTreeMap<String, Instant>> {
        let deadline = tokio::time::Instant::now() + LIMIT;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut whole = BTreeMap::new();
        while whole.len() < placements.len() {
            let heard = tokio::time::timeout_at(deadline, self.fleet.acknowledged.recv()).await;
            let heard = heard
                .with_context(|| format!("{} of {} are whole", whole.len(), placements.len()))?
                .context("the agents are gone")?;
            if placements.get(&heard.application) != Some(&heard.revision) {
                continue;
            }
            let count = counts.entry(heard.application.clone()).or_default();
            *count += 1;
            if *count == self.each {
                whole.insert(heard.application, heard.at);
            }
        }
        Ok(whole)
    }
}

/// The name of a placement.
pub(super) fn name(placement: usize) -> String {
    format!("placement-{placement:04}")
}

async fn deliver_all(scene: &mut Scene<'_>, hub: &Hub, report: &mut Report) -> Result<()> {
    let (count, rate) = (scene.plan.placements, scene.plan.placement_rate.max(1));
    let before = hub.cpu()?;
    let began = Instant::now();
    let intended = |index: usize| {
        began + Duration::from_secs(1) * u32::try_from(index).unwrap_or(u32::MAX) / rate
    };
    let mut requests = JoinSet::new();
    for placement in 0..count {
        tokio::time::sleep_until(intended(placement).into()).await;
        let (api, document) = (scene.api.clone(), scene.document(placement, 1));
        requests.spawn(async move { api.apply(document).await });
    }
    while let Some(done) = requests.join_next().await {
        done??;
    }
    let wanted = (0..count).map(|placement| (name(placement), 1)).collect();
    let whole = scene.delivered(&wanted).await?;
    let took = began.elapsed();
    let mut latencies = Latencies::new()?;
    for placement in 0..count {
        let at = whole.get(&name(placement)).context("it is whole")?;
        latencies.record(at.saturating_duration_since(intended(placement)));
    }
    let [own, postgres, generator] = hub.cpu()?.cores_since(&before);
    report.add(
        &format!("placement of {} clusters delivered", scene.each),
        &latencies.with_p90(),
        "KubeFleet: p90 20 s",
        &format!(
            "from the intended start of `POST /api/v1/apply` to the Ack of the last of its clusters; \
             {count} placements at {rate}/s over {} members, all delivered {:.0} s after the first \
             was asked for; one ConfigMap each; cores: hub {own:.2}, Postgres {postgres:.2}, \
             generator {generator:.2}; KubeFleet's hub had 2 nodes of 16 cores, and its members were \
             clusters of their own (its report of the first quarter of 2026)",
            scene.fleet.len(),
            took.as_secs_f64()
        ),
    );
    Ok(())
}

/// Restarts the hub while agents are connected, and waits until it serves all of them again.
async fn restart(scene: &mut Scene<'_>, hub: &mut Hub, report: &mut Report) -> Result<()> {
    hub.stop()?;
    scene.fleet.all_gone().await?;
    let began = Instant::now();
    let ready = hub.start_again()?;
    scene.fleet.all_connected().await?;
    let connected = began.elapsed();
    let mark = scene.plan.placements.saturating_sub(1);
    let revision = rollouts::last_revision(scene.plan, mark) + 1;
    let document = scene.document(mark, revision);
    scene.api.apply(document).await?;
    let wanted = BTreeMap::from([(name(mark), revision)]);
    let all = scene.delivered(&wanted).await?;
    ensure!(!all.is_empty(), "nothing was delivered after the restart");
    report.add(
        "hub restart → all members resynced",
        &format!("{:.1} s", connected.as_secs_f64()),
        "KubeFleet: p90 675 s",
        &format!(
            "from the start of the process to the welcome of the last of {} members, which hold what \
             they held, checked by its root digest; ready after {:.1} s; members whose session broke \
             try again every 0.5 s, 64 handshakes at once; a change of {} clusters was whole {:.1} s \
             after the start; one run",
            scene.fleet.len(),
            ready.as_secs_f64(),
            scene.each,
            began.elapsed().as_secs_f64()
        ),
    );
    Ok(())
}

/// What the hub needed while placements and rollouts were under way: its restart begins the account anew.
fn memory_under(hub: &Hub, report: &mut Report) -> Result<()> {
    let pid = hub.pid()?;
    report.add(
        "hub's RSS under all of it",
        &format!("{} MiB", peak_rss_kib(pid)? / 1_024),
        KUBE_FLEET_MEMORY,
        &format!(
            "the most that it ever had, from its start over all placements and rollouts to before its restart; \
             {} MiB when these were done",
            rss_kib(pid)? / 1_024
        ),
    );
    Ok(())
}

fn size(hub: &Hub, report: &mut Report) -> Result<()> {
    let (data, log) = database_bytes(hub.data());
    let mib = |bytes: u64| bytes >> 20;
    report.add(
        "database after all of it",
        &format!("{} MiB", mib(data)),
        "KubeFleet: 1.6 GB of etcd",
        &format!(
            "files of tables and indexes; beside them {} MiB of write-ahead log",
            mib(log)
        ),
    );
    let pid = hub.pid()?;
    report.add(
        "hub's RSS after all of it",
        &format!("{} MiB", rss_kib(pid)? / 1_024),
        KUBE_FLEET_MEMORY,
        &format!(
            "since the restart; {} MiB at most",
            peak_rss_kib(pid)? / 1_024
        ),
    );
    Ok(())
}

/// Bytes of the hub's Postgres: data, and write-ahead log.
fn database_bytes(hub_data: &Path) -> (u64, u64) {
    let (mut data, mut log) = (0, 0);
    let mut open = vec![(hub_data.join("postgres"), false)];
    while let Some((folder, is_log)) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            let in_log = is_log || entry.file_name() == "pg_wal";
            if meta.is_dir() {
                open.push((entry.path(), in_log));
            } else if in_log {
                log += meta.len();
            } else {
                data += meta.len();
            }
        }
    }
    (data, log)
}
