//! The examples of the strategies' pages, run as they stand there.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{status::TrackSummary, view::RunPhase};
use bellwether_integration_tests::{
    cluster::Member, fixture::cluster_view, process::repository, suite::Case,
};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_examples_of_the_strategies_pages_begin_and_go_back",
    "pages",
    examples,
)];

/// Tells that a run has done what its example says first.
type Begun = fn(&TrackSummary) -> bool;

/// The complete examples: their page, which of the page's they are, and what is seen of them first.
const EXAMPLES: [(&str, usize, Begun); 6] = [
    ("canary", 0, |track| track.observed_weight.percent() == 10),
    ("canary", 1, |track| {
        track.current.matched && track.canary.ready == 1
    }),
    ("ab-test", 0, |track| {
        track.current.matched && track.canary.ready == 4
    }),
    ("blue-green", 0, |track| {
        track.observed_weight.percent() == 100 && track.canary.ready == 4
    }),
    ("session-affinity", 0, |track| {
        track.observed_weight.percent() == 10
    }),
    ("batch", 0, |track| track.canary.ready == 10),
];

/// An example under a name of its own, on a cluster of its own.
struct Example {
    application: String,
    cluster: String,
    /// Its documents as they stand on the page, but for names.
    documents: String,
    begun: Begun,
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

fn prepared(members: &Members) -> Result<Vec<Example>> {
    let mut found = 0;
    for page in std::fs::read_dir(repository().join("docs/strategies"))? {
        let page = page?.path();
        let name = page.file_stem().unwrap_or_default().to_string_lossy();
        found += complete(&name)?.len();
    }
    ensure!(found == EXAMPLES.len(), "the pages have {found} examples");
    let clusters = members.names();
    let prepare = |(index, (page, place, begun)): (usize, (&'static str, usize, Begun))| {
        let examples = complete(page)?;
        let example = examples.get(place).context(page)?;
        let application = format!("{}-{index}", members.name);
        let cluster = clusters.get(index).context("a cluster for each")?;
        let documents = example
            .replace("{name: shop", &format!("{{name: {application}"))
            .replace("application: shop", &format!("application: {application}"))
            .replace("amespace: shop", &format!("amespace: {}", members.name))
            .replace("{fleet: quickstart}", &format!("{{clusters: [{cluster}]}}"));
        ensure!(!documents.contains("shop"), "{page}: {documents}");
        anyhow::Ok(Example {
            application,
            cluster: (*cluster).to_owned(),
            documents,
            begun,
        })
    };
    EXAMPLES.into_iter().enumerate().map(prepare).collect()
}

fn examples(members: &Members) -> Result<()> {
    let examples = prepared(members)?;
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
        let outcome = begin_and_go_back(members, &examples);
        over.store(true, Ordering::Relaxed);
        let played = gateway.join().expect("the gateway does not panic");
        played.and(outcome)
    })
}

fn begin_and_go_back(members: &Members, examples: &[Example]) -> Result<()> {
    for example in examples {
        members.cli.apply(&example.before())?;
    }
    let mut written = Vec::new();
    for example in examples {
        members.wait_ended(&example.application, 1, RunPhase::Succeeded, LIMIT)?;
        let shown = members
            .cli
            .json(&["get", "application", &example.application])?;
        let manifests = shown["spec"]["components"][0]["manifests"].as_array();
        written.push(manifests.context("manifests")?.clone());
    }
    for example in examples {
        members.cli.apply(&example.documents)?;
    }
    for example in examples {
        let what = format!("{} to begin", example.application);
        members.wait_run(&example.application, 2, LIMIT, &what, |view| {
            cluster_view(view, &example.cluster)
                .is_ok_and(|cluster| cluster.tracks.iter().any(example.begun))
        })?;
        members
            .cli
            .run(&["rollout", "abort", &example.application, "--reason", "seen"])?;
    }
    for (example, manifests) in examples.iter().zip(&written) {
        members.wait_ended(&example.application, 2, RunPhase::Aborted, LIMIT)?;
        let member = members.cluster(&example.cluster)?;
        for manifest in manifests {
            let text = |pointer: &str| {
                let found = manifest.pointer(pointer).and_then(Value::as_str);
                found.with_context(|| format!("no {pointer}: {manifest}"))
            };
            let (kind, name) = (text("/kind")?, text("/metadata/name")?);
            let live = members.read(&example.cluster, kind, name)?;
            let live = live.with_context(|| format!("{kind} {name}"))?;
            members.assert_equals_fresh(member, manifest, &live)?;
        }
        members
            .cli
            .run(&["delete", "application", &example.application, "-y"])?;
    }
    Ok(())
}

/// Takes over every HTTPRoute of a namespace, as a gateway's controller would.
pub fn programs(member: &Member, namespace: &str) -> Result<()> {
    const API_VERSION: &str = "gateway.networking.k8s.io/v1";
    for route in member.list(API_VERSION, "HTTPRoute", namespace)? {
        let generation = &route["metadata"]["generation"];
        let told = route.pointer("/status/parents/0/conditions/0/observedGeneration");
        if told == Some(generation) {
            continue;
        }
        let condition = |kind: &str| {
            json!({"type": kind, "status": "True", "reason": kind, "message": "",
                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let status = json!({"status": {"parents": [{
            "parentRef": route["spec"]["parentRefs"][0],
            "controllerName": "bellwether.local/pages",
            "conditions": [condition("Accepted"), condition("ResolvedRefs")],
        }]}});
        let name = route["metadata"]["name"].as_str().unwrap_or_default();
        let written = member.patch_status(API_VERSION, "HTTPRoute", namespace, name, &status);
        // It may be gone since it was listed.
        if member
            .get(API_VERSION, "HTTPRoute", namespace, name)?
            .is_some()
        {
            written?;
        }
    }
    Ok(())
}
