//! The examples of the strategies' pages, run as they stand there.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{
    status::{Phase, TrackSummary},
    view::RunPhase,
};
use bellwether_integration_tests::{
    fixture::cluster_view, process::repository, prometheus::Prometheus, suite::Case,
};
use serde_json::Value;

use crate::{
    provider_controllers::programs,
    scene::api_version,
    stage::{LIMIT, Members},
};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_examples_of_the_strategies_pages_succeed_and_leave_what_was_written",
    "pages",
    examples,
)];

/// A complete example of a page, and what is seen of it.
struct Page {
    name: &'static str,
    /// Which of the page's complete examples, from 0.
    place: usize,
    /// Tells that a run does what the example says first.
    begun: fn(&TrackSummary) -> bool,
    /// Whether the run is aborted then, and tried again.
    goes_back: bool,
    /// The steps at which a human approves.
    approved: &'static [u32],
    /// The weights that came in force, in their order.
    weights: &'static [u8],
}

const PAGES: [Page; 6] = [
    Page {
        name: "canary",
        place: 0,
        begun: |track| track.observed_weight.percent() >= 10 && track.current.matched,
        goes_back: false,
        approved: &[],
        weights: &[10, 20, 30, 40, 50, 55],
    },
    Page {
        name: "canary",
        place: 1,
        begun: |track| track.current.matched && track.canary.ready == 1,
        goes_back: true,
        approved: &[0, 1],
        weights: &[0, 5, 50, 90],
    },
    Page {
        name: "ab-test",
        place: 0,
        begun: |track| track.current.matched && track.canary.ready == 4,
        goes_back: false,
        approved: &[],
        weights: &[0],
    },
    Page {
        name: "blue-green",
        place: 0,
        begun: |track| track.observed_weight.percent() == 100 && track.canary.ready == 4,
        goes_back: false,
        approved: &[],
        weights: &[100],
    },
    Page {
        name: "session-affinity",
        place: 0,
        begun: |track| track.observed_weight.percent() >= 10,
        goes_back: false,
        approved: &[],
        weights: &[10, 30, 60],
    },
    Page {
        name: "batch",
        place: 0,
        begun: |track| track.canary.ready == 10,
        goes_back: true,
        approved: &[0],
        weights: &[],
    },
];

/// Kinds of what the examples write, and of what their runs make.
const KINDS: [&str; 5] = [
    "Deployment",
    "HTTPRoute",
    "RolloutTrack",
    "Service",
    "StatefulSet",
];

/// An example under a name of its own, on a cluster of its own.
struct Example {
    application: String,
    cluster: String,
    /// Its documents as they stand on the page, but for names, times and where metrics are read.
    documents: String,
    page: Page,
}

impl Example {
    /// The version before: what the page's is released over.
    fn before(&self) -> String {
        self.documents.replace(":2\"", ":1\"")
    }
}

/// The examples of a page that bring an application with its Rollout.
fn complete(page: &str) -> Result<Vec<String>> {
    let path = repository().join(format!("docs/strategies/{page}.md"));
    let text = std::fs::read_to_string(path)?;
    let blocks = text.split("```yaml\n").skip(1);
    let examples = blocks.filter_map(|rest| rest.split("```").next());
    Ok(examples
        .filter(|example| example.contains("kind: Application"))
        .map(str::to_owned)
        .collect())
}

/// Minutes of a page, as seconds here.
const TIMES: [(&str, &str); 3] = [
    ("interval: 60s", "interval: 1s"),
    ("after: 30m", "after: 2s"),
    ("standby: 10m", "standby: 2s"),
];

fn prepared(members: &Members, prometheus: &Prometheus) -> Result<Vec<Example>> {
    let mut found = 0;
    for page in std::fs::read_dir(repository().join("docs/strategies"))? {
        let page = page?.path();
        let name = page.file_stem().unwrap_or_default().to_string_lossy();
        found += complete(&name)?.len();
    }
    ensure!(found == PAGES.len(), "the pages have {found} examples");
    let source = format!(
        "source: {{type: Prometheus, address: \"{}\"}}",
        prometheus.url()
    );
    let clusters = members.names();
    let prepare = |(index, page): (usize, Page)| {
        let examples = complete(page.name)?;
        let example = examples.get(page.place).context(page.name)?;
        let application = format!("{}-{index}", members.name);
        let cluster = clusters.get(index).context("a cluster for each")?;
        let mut documents = example
            .replace("{name: shop", &format!("{{name: {application}"))
            .replace("application: shop", &format!("application: {application}"))
            .replace("amespace: shop", &format!("amespace: {}", members.name))
            .replace("{fleet: quickstart}", &format!("{{clusters: [{cluster}]}}"))
            .replace("{name: request-", &format!("{{{source}, name: request-"))
            .replace(
                "- name: errors\n",
                &format!("- name: errors\n      {source}\n"),
            );
        for (from, to) in TIMES {
            documents = documents.replace(from, to);
        }
        let (name, place) = (page.name, page.place);
        ensure!(
            !documents.contains("shop") && documents.contains(&source),
            "{name} {place}: {documents}"
        );
        anyhow::Ok(Example {
            application,
            cluster: (*cluster).to_owned(),
            documents,
            page,
        })
    };
    PAGES.into_iter().enumerate().map(prepare).collect()
}

/// Shows what the examples measure: requests of both versions that succeed at once, and no errors.
fn measured(members: &Members) -> Result<Prometheus> {
    let prometheus = Prometheus::start(&members.lab.bridge_address)?;
    let namespace = &members.name;
    for service in ["web", "web-canary"] {
        let of = format!("service=\"{namespace}-{service}-http-80@kubernetesgateway\"");
        let requests = format!("traefik_service_requests_total{{{of},code=\"200\"}}");
        prometheus.raise(&requests, 5.0);
        for bound in ["0.1", "+Inf"] {
            let histogram = "traefik_service_request_duration_seconds_bucket";
            prometheus.raise(&format!("{histogram}{{{of},le=\"{bound}\"}}"), 5.0);
        }
    }
    let errors = format!("db_errors_total{{namespace=\"{namespace}\"}}");
    prometheus.show(&errors, 0.0);
    Ok(prometheus)
}

fn examples(members: &Members) -> Result<()> {
    let prometheus = measured(members)?;
    let examples = prepared(members, &prometheus)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let gateway = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for example in &examples {
                    programs(members.cluster(&example.cluster)?, &members.name)?;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            anyhow::Ok(())
        });
        let runs: Vec<_> = examples
            .iter()
            .map(|example| scope.spawn(|| succeeds(members, example)))
            .collect();
        let outcomes: Vec<Result<()>> = runs
            .into_iter()
            .map(|run| run.join().expect("an example does not panic"))
            .collect();
        over.store(true, Ordering::Relaxed);
        let played = gateway.join().expect("the gateway does not panic");
        outcomes.into_iter().fold(played, Result::and)
    })
}

/// Releases the version before, then the page's, which comes to its end.
fn succeeds(members: &Members, example: &Example) -> Result<()> {
    let (name, page) = (&example.application, &example.page);
    members.cli.apply(&example.before())?;
    members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;
    let before = manifests(members, name)?;
    members.cli.apply(&example.documents)?;
    wait_track(members, example, "to begin", page.begun)?;
    if page.goes_back {
        let abort = ["rollout", "abort", name, "--reason", "seen"];
        members.cli.run(&abort)?;
        members.wait_ended(name, 2, RunPhase::Aborted, LIMIT)?;
        is_as_written(members, example, &before)?;
        members.cli.run(&["rollout", "retry", name])?;
    }
    for step in page.approved {
        let what = format!("to wait for a human at step {step}");
        wait_track(members, example, &what, |track| {
            track.step == Some(*step) && track.phase == Phase::Paused
        })?;
        members.cli.run(&["rollout", "approve", name])?;
    }
    let run = members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    let weights = members.weights_told(&run, &example.cluster)?;
    println!("{name} ({}): {weights:?}", page.name);
    ensure!(weights == page.weights, "{name}: {weights:?}");
    is_as_written(members, example, &manifests(members, name)?)?;
    members.cli.run(&["delete", "application", name, "-y"])?;
    Ok(())
}

/// What the application's document says now.
fn manifests(members: &Members, application: &str) -> Result<Vec<Value>> {
    let shown = members.cli.json(&["get", "application", application])?;
    let manifests = shown["spec"]["components"][0]["manifests"].as_array();
    manifests.cloned().context("manifests")
}

/// The objects are those of the documents, and nothing of a run is beside them.
fn is_as_written(members: &Members, example: &Example, manifests: &[Value]) -> Result<()> {
    let kinds: BTreeSet<(String, String)> = KINDS
        .iter()
        .map(|kind| (api_version(kind).to_owned(), (*kind).to_owned()))
        .collect();
    members.wait_nothing_else(&example.cluster, &kinds, manifests)?;
    members.assert_as_written(&example.cluster, manifests)
}

fn wait_track(
    members: &Members,
    example: &Example,
    what: &str,
    holds: impl Fn(&TrackSummary) -> bool,
) -> Result<()> {
    let what = format!("{} {what}", example.application);
    members.wait_run(&example.application, 2, LIMIT, &what, |view| {
        cluster_view(view, &example.cluster).is_ok_and(|cluster| cluster.tracks.iter().any(&holds))
    })?;
    Ok(())
}
