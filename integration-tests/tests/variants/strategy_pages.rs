//! The examples of the strategies' pages, run as they stand there.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{status::Phase, view::RunPhase};
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

/// A complete example of a page, and what is told of its run.
struct Page {
    name: &'static str,
    /// Which of the page's complete examples, from 0.
    place: usize,
    /// The steps at which a human approves. Where there are any, the run is aborted first, and tried again.
    approved: &'static [u32],
    /// What its events say of shares, pods and checks, in their order.
    told: &'static [&'static str],
}

/// Of these events messages are compared.
const COMPARED: [&str; 4] = [
    "BatchReady",
    "IterationPassed",
    "WeightInForce",
    "WeightReturns",
];

const PAGES: [Page; 7] = [
    Page {
        name: "canary",
        place: 0,
        approved: &[],
        told: &[
            "the canary has 10 % of the traffic and every request that matches",
            "the canary has 20 % of the traffic and every request that matches",
            "the canary has 30 % of the traffic and every request that matches",
            "the canary has 40 % of the traffic and every request that matches",
            "the canary has 50 % of the traffic and every request that matches",
            "the canary has 55 % of the traffic and every request that matches",
            "the canary still has 35 % of the traffic",
            "the canary still has 15 % of the traffic",
        ],
    },
    Page {
        name: "canary",
        place: 1,
        approved: &[0, 1],
        told: &[
            "the canary has every request that matches",
            "the canary has every request that matches",
            "the canary has 5 % of the traffic",
            "the canary has 50 % of the traffic and a mirror of 10 % of the requests",
            "the canary has 90 % of the traffic",
        ],
    },
    Page {
        name: "ab-test",
        place: 0,
        approved: &[],
        told: &[
            "the canary has every request that matches",
            "check 1 of 3 passed",
            "check 2 of 3 passed",
        ],
    },
    Page {
        name: "blue-green",
        place: 0,
        approved: &[],
        told: &[
            "the canary has 100 % of the traffic",
            "check 1 of 3 passed",
            "check 2 of 3 passed",
        ],
    },
    Page {
        name: "mirror",
        place: 0,
        approved: &[],
        told: &[
            "the canary has a mirror of 20 % of the requests",
            "the canary has 20 % of the traffic",
            "the canary has 50 % of the traffic",
        ],
    },
    Page {
        name: "session-affinity",
        place: 0,
        approved: &[],
        told: &[
            "the canary has 10 % of the traffic",
            "the canary has 30 % of the traffic",
            "the canary has 60 % of the traffic",
        ],
    },
    Page {
        name: "batch",
        place: 0,
        approved: &[0],
        told: &[
            "10 of 30 pods run the new version and are ready",
            "10 of 30 pods run the new version and are ready",
            "15 of 30 pods run the new version and are ready",
            "30 of 30 pods run the new version and are ready",
        ],
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
        let outcome = succeed(members, &examples);
        over.store(true, Ordering::Relaxed);
        let played = gateway.join().expect("the gateway does not panic");
        played.and(outcome)
    })
}

/// Releases the versions before, then the pages', which come to their end.
fn succeed(members: &Members, examples: &[Example]) -> Result<()> {
    let apply = |documents: Vec<String>| members.cli.apply(&documents.join("\n---\n"));
    apply(examples.iter().map(Example::before).collect())?;
    for example in examples {
        members.wait_ended(&example.application, 1, RunPhase::Succeeded, LIMIT)?;
    }
    let by_humans = || examples.iter().filter(|one| !one.page.approved.is_empty());
    let mut before = Vec::new();
    for example in by_humans() {
        before.push(manifests(members, example)?);
    }
    apply(examples.iter().map(|one| one.documents.clone()).collect())?;
    for example in by_humans() {
        wait_human(members, example, 0)?;
        let abort = ["rollout", "abort", &example.application, "--reason", "seen"];
        members.cli.run(&abort)?;
    }
    for (example, before) in by_humans().zip(&before) {
        let name = &example.application;
        members.wait_ended(name, 2, RunPhase::Aborted, LIMIT)?;
        is_as_written(members, example, before)?;
        members.cli.run(&["rollout", "retry", name])?;
    }
    for example in by_humans() {
        for step in example.page.approved {
            wait_human(members, example, *step)?;
            let approve = ["rollout", "approve", &example.application];
            members.cli.run(&approve)?;
        }
    }
    examples
        .iter()
        .try_for_each(|example| succeeded(members, example))
}

/// The run of the page's version has told what the page says, and leaves what it wrote.
fn succeeded(members: &Members, example: &Example) -> Result<()> {
    let (name, page) = (&example.application, &example.page);
    let run = members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    let events = members.events_of(&run)?;
    let compared = events.iter().filter(|event| {
        let reason = event["reason"].as_str();
        reason.is_some_and(|reason| COMPARED.contains(&reason))
    });
    let told: Vec<&str> = compared
        .filter_map(|event| event["message"].as_str())
        .collect();
    ensure!(told == page.told, "{} {}: {told:#?}", page.name, page.place);
    is_as_written(members, example, &manifests(members, example)?)?;
    members.cli.run(&["delete", "application", name, "-y"])?;
    Ok(())
}

/// What the application's document says now.
fn manifests(members: &Members, example: &Example) -> Result<Vec<Value>> {
    let get = ["get", "application", &example.application];
    let shown = members.cli.json(&get)?;
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

/// Waits until a step of the page's version has passed its checks and waits for a human.
fn wait_human(members: &Members, example: &Example, step: u32) -> Result<()> {
    let what = format!("step {step} of {} to wait", example.application);
    members.wait_run(&example.application, 2, LIMIT, &what, |view| {
        cluster_view(view, &example.cluster).is_ok_and(|cluster| {
            let mut tracks = cluster.tracks.iter();
            tracks.any(|track| track.step == Some(step) && track.phase == Phase::Paused)
        })
    })?;
    Ok(())
}
