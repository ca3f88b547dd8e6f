//! Applications near what an agent takes, and beyond.
//!
//! `BELLWETHER_MANY_OBJECTS=10000` has the case `many` bring that many objects in the place of 1,100. It says what
//! they took.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{
    bundle::MAX_BUNDLE_OBJECTS,
    view::{RunPhase, RunView},
};
use bellwether_integration_tests::{
    git_server::GitServer,
    process_figures::{mib, peak_rss_kib},
    suite::Case,
    wait::until,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    parcel::Parcel,
    stage::{LIMIT, Members},
};

pub const CASES: &[Case<Members>] = &[
    (
        "more_than_an_agent_takes_is_said_beside_an_application_that_comes_in",
        "large",
        too_large,
    ),
    (
        "control_plane_eleven_hundred_objects_come_one_changes_alone_and_all_go",
        "many",
        many,
    ),
];

fn too_large(members: &Members) -> Result<()> {
    let names = members.names();
    let large = Parcel {
        items: 19,
        ..Parcel::new(&members.name, &members.name)
    };
    // 19 objects of 900,000 bytes, in one of the clusters.
    let overrides = format!(
        "  overrides:\n  - name: large\n    clusters: [{}]\n    patches:\n    \
         - {{target: {{kind: ConfigMap}}, merge: {{data: {{text: {}}}}}}}\n  components:\n",
        names[1],
        "a".repeat(900_000)
    );
    let documents = large.documents().replacen("  components:\n", &overrides, 1);
    members.cli.apply(&documents)?;
    let small = Parcel::new(&format!("{}-small", members.name), &members.name);
    members.cli.apply(&small.documents())?;
    members.wait_ended(&small.name, 1, RunPhase::Succeeded, LIMIT)?;
    let said = members.stalled(&large.name)?;
    ensure!(
        said.contains("TooLarge: 17")
            && said.contains(names[1])
            && said.contains("16777216")
            && said.contains("divide it into two applications"),
        "{said}"
    );
    members.assert_items(&names, &large.name, 0)?;
    members.cli.apply(&large.documents())?;
    members.wait_ended(&large.name, 1, RunPhase::Succeeded, LIMIT)?;
    members.assert_items(&names, &large.name, large.items)
}

/// Objects of a release that are more than are remembered by name.
const MANY: usize = 1_100;
/// Another number of them, from that on to what an agent holds of one application.
const MANY_OBJECTS: &str = "BELLWETHER_MANY_OBJECTS";

/// One application of many ConfigMaps in one cluster.
struct Many<'a> {
    members: &'a Members,
    cluster: &'a str,
    git: GitServer,
    objects: usize,
    /// How long all of them may take.
    limit: Duration,
}

impl<'a> Many<'a> {
    fn new(members: &'a Members) -> Result<Self> {
        let objects = match std::env::var(MANY_OBJECTS) {
            Ok(text) => text
                .parse()
                .with_context(|| format!("{MANY_OBJECTS}={text}"))?,
            Err(_) => MANY,
        };
        ensure!(
            (MANY..=MAX_BUNDLE_OBJECTS).contains(&objects),
            "{MANY_OBJECTS} is from {MANY} to {MAX_BUNDLE_OBJECTS}"
        );
        Ok(Self {
            members,
            cluster: members.names()[2],
            git: GitServer::start()?,
            objects,
            limit: LIMIT * u32::try_from(objects.div_ceil(MANY))?,
        })
    }

    /// ConfigMaps of one line each; one document for each, as a file in Git.
    fn commit(&self, changed: Option<usize>) -> Result<()> {
        let name = &self.members.name;
        let document = |number: usize| {
            let version = if changed == Some(number) { "v2" } else { "v1" };
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\n\
                 metadata: {{name: {name}-{number}, labels: {{parcel: {name}}}}}\n\
                 data: {{version: {version}}}\n"
            )
        };
        let text: String = (0..self.objects).map(document).collect();
        self.git.write("many/all.yaml", &text)?;
        self.git
            .commit(if changed.is_some() { "v2" } else { "v1" })?;
        Ok(())
    }

    fn apply(&self) -> Result<()> {
        let name = &self.members.name;
        let application = json!({
            "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "destination": {"clusters": [self.cluster]}, "targetNamespace": name,
                "components": [{"name": "many", "sync": {"interval": "10s"},
                    "git": {"url": self.git.url(), "branch": "main", "path": "many"}}],
            },
        });
        self.members.cli.apply(&application.to_string())?;
        Ok(())
    }

    /// Waits until a revision came in; gives how long its run took.
    fn came_in(&self, revision: u64) -> Result<Duration> {
        let name = &self.members.name;
        let wanted = RunPhase::Succeeded;
        let run = self
            .members
            .wait_ended(name, revision, wanted, self.limit)?;
        lasted(&run)
    }

    /// The resource version of each ConfigMap.
    fn versions(&self) -> Result<BTreeMap<String, String>> {
        let name = self.members.name.as_str();
        let member = self.members.cluster(self.cluster)?;
        let listed = member.list("v1", "ConfigMap", name)?;
        let version = |object: &Value| {
            let metadata = &object["metadata"];
            let text = |field: &str| metadata[field].as_str().map(str::to_owned);
            (metadata["labels"]["parcel"] == name)
                .then(|| text("name").zip(text("resourceVersion")))
                .flatten()
        };
        Ok(listed.iter().filter_map(version).collect())
    }

    /// The most memory that the cluster's agent ever had.
    fn memory(&self) -> Result<String> {
        let agents = self.members.agents.lock().expect("no panic while held");
        let agent = agents.iter().find(|agent| agent.cluster == self.cluster);
        Ok(mib(peak_rss_kib(agent.context("its agent")?.pid()?)?))
    }
}

/// How long a run took that has ended.
fn lasted(run: &RunView) -> Result<Duration> {
    let finished: Timestamp = run
        .finished_at
        .as_deref()
        .context("it has ended")?
        .parse()?;
    let created: Timestamp = run.created_at.parse()?;
    Ok(finished.duration_since(created).unsigned_abs())
}

fn many(members: &Members) -> Result<()> {
    let name = members.name.as_str();
    let many = Many::new(members)?;
    let objects = many.objects;
    many.commit(None)?;
    many.apply()?;
    let came = many.came_in(1)?;
    let first = many.versions()?;
    ensure!(first.len() == objects, "{} of {objects} came", first.len());
    remembered(members, many.cluster)?;

    many.commit(Some(objects / 2))?;
    let changed = many.came_in(2)?;
    let second = many.versions()?;
    let written: Vec<&String> = second
        .iter()
        .filter(|(object, version)| first.get(*object) != Some(version))
        .map(|(object, _)| object)
        .collect();
    ensure!(
        second.len() == objects && written == [&format!("{name}-{}", objects / 2)],
        "{} are there, and written were {written:?}",
        second.len()
    );

    members
        .cli
        .run(&["delete", "application", name, "--clusters", "1"])?;
    let began = Instant::now();
    until(many.limit, "all of them to go", || {
        Ok(many.versions()?.is_empty().then_some(()))
    })?;
    let gone = began.elapsed();
    if std::env::var_os(MANY_OBJECTS).is_some() {
        println!(
            "{objects} objects: in within {came:.1?}, one changed within {changed:.1?}, all gone after \
             {gone:.1?}; at most {} of the agent's memory",
            many.memory()?
        );
    }
    Ok(())
}

/// Fails unless the cluster remembers the objects packed: by name they would not fit into one record.
fn remembered(members: &Members, cluster: &str) -> Result<()> {
    let records = members.cluster(cluster)?.list(
        "bellwether.dev/v1alpha1",
        "SyncRecord",
        "bellwether-system",
    )?;
    let key = format!("application/default/{}", members.name);
    let units = records
        .iter()
        .filter_map(|record| record["spec"]["units"].as_array());
    let unit = units.flatten().find(|unit| unit["key"] == key.as_str());
    ensure!(
        unit.is_some_and(|unit| unit["packedObjects"].is_string()),
        "{unit:?}"
    );
    Ok(())
}
