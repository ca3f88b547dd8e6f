//! What a pass over many runs asks of the API server.

mod adopted;
mod adopted_in_place;
mod conversion;
mod namespace_goes;
mod order;
mod own_policy;
mod plain_way_back;
mod routes_first;
mod server;
mod timeout;

use std::{collections::BTreeSet, time::Duration};

use bellwether_agent_core::{
    machine::{RunState, Stage, StepPart},
    names::run_label,
    settled::Settled,
};
use bellwether_api::{
    bundle::{Bundle, UnitKey},
    number::Weight,
    status::Verdict,
    sync_record::SyncUnit,
    track::RolloutTrackSpec,
};
use serde_json::{Value, json};

use self::server::{Server, answering};
use super::*;
use crate::{
    clock::Clock,
    desired::Desired,
    metrics::{KubeSecrets, Meter},
    report::Reports,
    sync::{
        Shell,
        watch::{Change, Poke, WatchKey},
    },
    telemetry::Figures,
};

const RUNS: usize = 10;
/// Longer than any test takes.
const LATER: Duration = Duration::from_secs(3_600);

fn name(index: usize) -> String {
    format!("web-{index}")
}

fn plan(index: usize, source: &str) -> Value {
    json!({
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name(index)},
        "strategy": {"canary": {"steps": [{"weight": 50, "advance": "Manual"}]}},
        "analysis": {"interval": "10s", "failureThreshold": 1, "metrics": [{
            "name": "errors", "query": "/errors#/percent", "range": {"max": "5"},
            "source": {"type": "Http", "address": source},
        }]},
    })
}

fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    })
}

fn bundle(image: &str, source: &str) -> Bundle {
    let component = |index| {
        let name = name(index);
        json!({"name": name, "objects": [deployment(&name, image)]})
    };
    serde_json::from_value(json!({
        "application": {"namespace": "default", "name": "shop"},
        "release": image, "revision": 2, "run": uuid::Uuid::nil(), "attempt": 1,
        "mode": "Rollout", "targetNamespace": "shop", "createNamespace": false,
        "components": (0..RUNS).map(component).collect::<Vec<_>>(),
        "rollouts": (0..RUNS)
            .map(|index| json!({"name": name(index), "spec": plan(index, source)}))
            .collect::<Vec<_>>(),
        "sync": {}, "metrics": null,
    }))
    .expect("a bundle")
}

/// A track of a run whose only step waits for a human, and whose next check is due in `due`.
fn track(index: usize, source: &str, clock: Clock, due: Duration) -> Value {
    let workload = json!({"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop",
        "name": name(index)});
    let spec = json!({
        "application": {"namespace": "default", "name": "shop"},
        "release": "v2", "revision": 2, "run": uuid::Uuid::nil(), "attempt": 1,
        "generation": 1, "mode": "Rollout", "workload": workload,
        "plan": plan(index, source), "command": {"run": uuid::Uuid::nil(), "attempt": 1},
    });
    let grant: RolloutTrackSpec = serde_json::from_value(spec.clone()).expect("a spec");
    let now = clock.now();
    let mut state = RunState::new(&grant, now);
    state.stage = Stage::Step {
        index: 0,
        part: StepPart::Gate {
            since: now,
            passed_at: now,
            next_check_at: now + due,
            verdict: Verdict::Pass,
        },
    };
    state.weight = Weight::clamped(50);
    (state.canary_pods, state.serving_pods) = (1, 1);
    state.stable = Some(Settled {
        hash: "old".to_owned(),
        replica_set: format!("{}-old", name(index)),
        replicas: 2,
    });
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "RolloutTrack",
        "metadata": {"name": name(index), "namespace": "shop"},
        "spec": spec,
        "status": {"state": state.to_value(), "executed": [], "events": [], "summary": {
            "name": name(index), "phase": "Paused", "steps": 1, "weight": 50, "observedWeight": 0,
            "workload": workload, "stable": {"ready": 2, "desired": 2},
            "canary": {"ready": 1, "desired": 1}, "failedChecks": 0, "failureThreshold": 1,
            "checks": [], "waitingOn": [],
        }},
    })
}

fn replica_set(index: usize) -> Value {
    let owner = name(index);
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("{owner}-old"), "namespace": "shop",
            "labels": {"app": owner, "pod-template-hash": "old"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": owner,
                "uid": format!("uid-deployments/{owner}"), "controller": true}]},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": owner}}}},
        "status": {"replicas": 2, "readyReplicas": 2},
    })
}

/// A unit whose runs all wait at a gate with their pods ready, right after its agent was started.
struct House {
    unit: Unit,
    server: Server,
    record: SyncUnit,
}

impl House {
    /// `due` = when the check of the first run is due; those of the others are much later.
    async fn new(source: &str, due: Duration) -> Self {
        // Fails only where another test was here before: the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = Server::default();
        let client = server.client();
        let clock = Clock::begin(None);
        for index in 0..RUNS {
            let due = if index == 0 { due } else { LATER };
            server.put("rollouttracks", track(index, source, clock, due));
            server.put("replicasets", replica_set(index));
            let mut canary = deployment(&format!("{}-canary", name(index)), "v2");
            canary["metadata"]["labels"] =
                json!({"bellwether.dev/run": run_label(uuid::Uuid::nil(), 1)});
            canary["spec"]["replicas"] = json!(1);
            for object in [canary, deployment(&name(index), "v1")] {
                server.put("deployments", object);
            }
        }
        let desired = Desired::load(client.clone(), "bellwether-system")
            .await
            .expect("nothing is held");
        let secrets = std::sync::Arc::new(KubeSecrets(client.clone()));
        let meter = Meter::new(secrets, "bellwether-system", clock).expect("a meter");
        let shell = Shell::new(
            client,
            desired,
            Reports::default(),
            meter,
            clock,
            Figures::default(),
            bellwether_agent_core::provider::SETTLE,
        );
        let key: UnitKey = "application/default/shop".parse().expect("a key");
        let mut unit = Unit::new(shell, key, std::sync::Arc::<Poke>::default());
        for (digest, image) in [("new", "v2"), ("old", "v1")] {
            let bundle = std::sync::Arc::new(bundle(image, source));
            unit.bundles.insert(digest.to_owned(), bundle);
        }
        let record = serde_json::from_value(json!({
            "key": "application/default/shop", "generation": 1, "digest": "new",
            "runningDigest": "new", "appliedDigest": "old",
        }))
        .expect("a unit");
        Self {
            unit,
            server,
            record,
        }
    }

    /// One pass; gives what it asked of the API server, as method and what the path ends with.
    async fn pass(&mut self) -> Vec<String> {
        self.server.take_asked();
        self.try_pass().await.expect("a pass");
        self.server.take_asked()
    }

    async fn try_pass(&mut self) -> Result<Pass, PassError> {
        let fresh = self.unit.poke.take();
        self.unit.dirty.add(fresh);
        self.unit.drive(&self.record, "new", "old", None).await
    }

    fn state(&self, index: usize) -> Value {
        self.server.get("rollouttracks", &name(index))["status"]["state"].clone()
    }
}

fn lists<'a>(asked: &'a [String], plural: &str) -> Vec<&'a String> {
    let of = format!("GET {plural}");
    asked.iter().filter(|one| **one == of).collect()
}

#[tokio::test(start_paused = true)]
async fn a_pass_reads_what_it_must_once_and_nothing_while_nothing_happens() {
    let mut house = House::new("http://127.0.0.1:9", LATER).await;
    let first = house.pass().await;
    for plural in ["services", "namespaces/shop"] {
        assert_eq!(lists(&first, plural).len(), 1, "{plural} of all: {first:?}");
    }
    // Once for all looks, and before each first write to a workload, which may be an autoscaler's.
    let autoscalers = lists(&first, "horizontalpodautoscalers").len();
    assert_eq!(autoscalers, RUNS + 1, "{first:?}");
    for plural in ["deployments", "replicasets", "pods", "endpointslices"] {
        assert_eq!(
            lists(&first, plural).len(),
            0,
            "{plural} without names or labels: {first:?}"
        );
    }
    // Of each: its track and its objects, a look, and what makes them what they are to be.
    assert!(first.len() <= RUNS * 12 + 10, "{}: {first:?}", first.len());

    assert_eq!(house.pass().await, Vec::<String>::new());
    house.unit.poke.wake();
    assert_eq!(house.pass().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_change_is_looked_at_by_the_run_that_it_concerns() {
    let mut house = House::new("http://127.0.0.1:9", LATER).await;
    house.pass().await;
    let changed = |kind: &str, name: &str, of: Option<&str>| {
        let target = bellwether_api::reference::ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: kind.to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        };
        let change = Change {
            version: Some("1000".to_owned()),
            of: of.map(str::to_owned),
        };
        (target, Some(change))
    };
    let shared = BTreeSet::from([
        "GET services",
        "GET horizontalpodautoscalers",
        "GET namespaces/shop",
    ]);
    for (target, change) in [
        changed("Deployment", "web-3", None),
        changed("Deployment", "web-3-canary", None),
        changed("ReplicaSet", "web-3-old", Some("web-3")),
    ] {
        house.unit.poke.touch(target, change);
        // Shared reads of the pass before are not for this one.
        let asked = house.pass().await;
        let reads = |one: &&String| !shared.contains(one.as_str());
        let own: Vec<&String> = asked.iter().filter(reads).collect();
        assert!(own.iter().any(|one| one.contains("web-3")), "{asked:?}");
        assert!(own.iter().all(|one| one.contains("web-3")), "{asked:?}");
    }
    // Of others, and of nobody.
    for (target, change) in [
        changed("ReplicaSet", "other-1", Some("other")),
        changed("Deployment", "other", None),
    ] {
        house.unit.poke.touch(target, change);
        assert_eq!(house.pass().await, Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_watch_may_have_told_is_looked_at() {
    let mut house = House::new("http://127.0.0.1:9", LATER).await;
    house.pass().await;
    house.unit.poke.touch_kind(WatchKey {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("shop".to_owned()),
        name: None,
    });
    let asked = house.pass().await;
    for index in 0..RUNS {
        let look = format!("GET deployments/{}", name(index));
        assert!(asked.contains(&look), "{look}: {asked:?}");
    }
}

#[tokio::test]
async fn a_check_begins_by_itself_and_costs_one_write() {
    let source = answering(json!({"percent": 0})).await;
    let due = Duration::from_millis(300);
    let mut house = House::new(&source, due).await;
    house.pass().await;
    let check = house.state(0)["check"].as_u64();
    // No pass is made: its answer wakes the unit all the same.
    house.unit.poke.woken().await;
    while !house.unit.runs["web-0"].is_due(&[], house.unit.shell.clock.now()) {
        house.unit.poke.woken().await;
    }
    assert_eq!(house.pass().await, ["PUT rollouttracks/web-0/status"]);
    let state = house.state(0);
    assert_eq!(state["checks"][0]["verdict"], "Pass");
    assert_eq!(state["check"].as_u64(), check.map(|check| check + 1));
}

#[tokio::test(start_paused = true)]
async fn what_another_process_saved_is_held() {
    let mut house = House::new("http://127.0.0.1:9", LATER).await;
    house.pass().await;
    let mut track = house.server.get("rollouttracks", "web-3");
    track["status"]["state"]["canaryPods"] = json!(2);
    house.server.put("rollouttracks", track);
    let changed = Change {
        version: Some("1000".to_owned()),
        of: None,
    };
    let target = bellwether_api::reference::ObjectRef {
        api_version: "bellwether.dev/v1alpha1".to_owned(),
        kind: "RolloutTrack".to_owned(),
        namespace: Some("shop".to_owned()),
        name: name(3),
    };
    house.unit.poke.touch(target, Some(changed));
    let asked = house.pass().await;
    let at = |what: &str| asked.iter().position(|one| one == what);
    let read = at("GET rollouttracks/web-3").expect("it is read");
    let held = at("PATCH deployments/web-3-canary").expect("the canary is sized by it");
    // The size is another than the plan's, so that the decision on it takes it back.
    let saved = at("PUT rollouttracks/web-3/status").expect("it is decided on");
    assert!(read < held && held < saved, "{asked:?}");
}

#[tokio::test]
async fn a_save_whose_answer_was_lost_is_not_made_again() {
    let source = answering(json!({"percent": 0})).await;
    let mut house = House::new(&source, Duration::from_millis(300)).await;
    house.pass().await;
    let check = house.state(0)["check"].as_u64();
    while !house.unit.runs["web-0"].is_due(&[], house.unit.shell.clock.now()) {
        house.unit.poke.woken().await;
    }
    house.server.lose_answer();
    assert!(
        house.try_pass().await.is_err(),
        "nobody knows that it is saved"
    );
    let asked = house.pass().await;
    assert_eq!(asked[0], "GET rollouttracks/web-0", "{asked:?}");
    let state = house.state(0);
    assert_eq!(state["check"].as_u64(), check.map(|check| check + 1));
    assert_eq!(state["checks"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_moves_a_run_is_decided_on_what_is_live() {
    let source = answering(json!({"percent": 50})).await;
    let mut house = House::new(&source, Duration::from_millis(300)).await;
    house.pass().await;
    while !house.unit.runs["web-0"].is_due(&[], house.unit.shell.clock.now()) {
        house.unit.poke.woken().await;
    }
    let asked = house.pass().await;
    let at = |what: &str| asked.iter().position(|one| one == what);
    let look = at("GET deployments/web-0").expect("it is read");
    let save = at("PUT rollouttracks/web-0/status").expect("it is saved");
    assert!(look < save, "{asked:?}");
    let ends = at("DELETE rollouttracks/web-0").expect("it goes back, to the end");
    assert!(save < ends, "{asked:?}");
}
