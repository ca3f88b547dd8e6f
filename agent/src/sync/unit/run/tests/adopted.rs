//! Runs of a Deployment that somebody else delivers, whose Rollout is deleted.

use std::{sync::Arc, time::Duration};

use bellwether_agent_core::{
    adopted::HELD_ANNOTATION,
    machine::{RunState, Stage, StepPart},
    names::run_label,
    settled::Settled,
};
use bellwether_api::{
    bundle::{Bundle, UnitKey},
    duration::Dur,
    number::Weight,
    standing_grant::StandingGrant,
    status::{UnitOutcome, Verdict},
    sync_record::SyncUnit,
    track::RolloutTrackSpec,
};
use serde_json::{Value, json};

use super::server::Server;
use crate::{
    clock::Clock,
    desired::Desired,
    metrics::{KubeSecrets, Meter},
    report::Reports,
    sync::{
        Shell,
        unit::{Unit, adopted::Adopted},
        watch::Poke,
    },
    telemetry::Figures,
};

/// Passes that no run needs which waits for nothing.
const TOO_MANY: usize = 50;

fn plan() -> Value {
    json!({
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop",
            "name": "web"},
        "service": {"name": "web", "port": 80},
        "traffic": [{"gatewayApi": {"httpRoutes": ["web"]}}],
        "strategy": {"canary": {"steps": [{"weight": 50, "advance": "Manual"}]}},
        "progressDeadline": "1h", "drain": "0s",
    })
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": image}]}})
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": template(image)},
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

fn route() -> Value {
    let parent = json!({"name": "gateway", "namespace": "shop"});
    let condition = |kind: &str| json!({"type": kind, "status": "True", "observedGeneration": 1});
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "shop", "generation": 1},
        "spec": {"parentRefs": [parent],
            "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
        "status": {"parents": [{"parentRef": parent,
            "conditions": [condition("Accepted"), condition("ResolvedRefs")]}]},
    })
}

fn bundle(image: &str, plan: &Value) -> Bundle {
    serde_json::from_value(json!({
        "application": {"namespace": "default", "name": "shop-web"},
        "release": image, "revision": 2, "run": uuid::Uuid::nil(), "attempt": 1,
        "mode": "Rollout", "targetNamespace": "shop", "createNamespace": false,
        "components": [{"name": "live", "objects": [deployment(image), service(), route()]}],
        "rollouts": [{"name": "shop-web", "spec": plan}],
        "sync": {}, "metrics": null,
    }))
    .expect("a bundle")
}

/// A run whose canary has half of the traffic and waits for a human.
fn track(clock: Clock, plan: &Value) -> Value {
    let workload = json!({"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop",
        "name": "web"});
    let spec = json!({
        "application": {"namespace": "default", "name": "shop-web"},
        "release": "v2", "revision": 2, "run": uuid::Uuid::nil(), "attempt": 1,
        "generation": 1, "mode": "Rollout", "workload": workload, "plan": plan,
        "command": {"run": uuid::Uuid::nil(), "attempt": 1},
    });
    let grant: RolloutTrackSpec = serde_json::from_value(spec.clone()).expect("a spec");
    let now = clock.now();
    let mut state = RunState::new(&grant, now);
    state.stage = Stage::Step {
        index: 0,
        part: StepPart::Gate {
            since: now,
            passed_at: now,
            next_check_at: now + Duration::from_secs(3_600),
            verdict: Verdict::Pass,
        },
    };
    state.weight = Weight::clamped(50);
    state.routed = true;
    state.pinned = vec!["web".to_owned()];
    (state.canary_pods, state.serving_pods) = (1, 1);
    state.stable = Some(Settled {
        hash: "old".to_owned(),
        replica_set: "web-old".to_owned(),
        replicas: 2,
    });
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "RolloutTrack",
        "metadata": {"name": "shop-web", "namespace": "shop"},
        "spec": spec,
        "status": {"state": state.to_value(), "executed": [], "events": [], "summary": {
            "name": "shop-web", "phase": "Paused", "steps": 1, "weight": 50, "observedWeight": 0,
            "workload": workload, "stable": {"ready": 2, "desired": 2},
            "canary": {"ready": 1, "desired": 1}, "failedChecks": 0, "failureThreshold": 1,
            "checks": [], "waitingOn": [],
        }},
    })
}

fn replica_set() -> Value {
    let mut old = template("v1");
    old["metadata"]["labels"]["pod-template-hash"] = json!("old");
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "web-old", "namespace": "shop",
            "labels": {"app": "web", "pod-template-hash": "old"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
                "uid": "uid-deployments/web", "controller": true}]},
        "spec": {"replicas": 2, "template": old},
        "status": {"replicas": 2, "readyReplicas": 2},
    })
}

/// An agent in the middle of a run whose Rollout was just deleted.
struct House {
    unit: Unit,
    server: Server,
    record: SyncUnit,
}

impl House {
    async fn new() -> Self {
        Self::by(&plan()).await
    }

    /// One whose run began by such a plan.
    async fn by(plan: &Value) -> Self {
        // Fails only where another test was here before: the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = Server::default();
        let client = server.client();
        let clock = Clock::begin(None);
        let own = json!({"bellwether.dev/run": run_label(uuid::Uuid::nil(), 1)});
        let mut held = deployment("v2");
        held["metadata"]["annotations"] = json!({HELD_ANNOTATION: "shop-web"});
        held["spec"]["paused"] = json!(true);
        let mut pinned = service();
        pinned["spec"]["selector"]["pod-template-hash"] = json!("old");
        let mut canary = deployment("v2");
        canary["metadata"]["name"] = json!("web-canary");
        canary["metadata"]["labels"] = own.clone();
        canary["spec"]["replicas"] = json!(1);
        let mut canary_service = service();
        canary_service["metadata"]["name"] = json!("web-canary");
        canary_service["metadata"]["labels"] = own;
        for (plural, object) in [
            ("rollouttracks", track(clock, plan)),
            ("replicasets", replica_set()),
            ("deployments", held),
            ("deployments", canary),
            ("services", pinned),
            ("services", canary_service),
            ("httproutes", route()),
        ] {
            server.put(plural, object);
        }
        let desired = Desired::load(client.clone(), "bellwether-system")
            .await
            .expect("nothing is held");
        let secrets = Arc::new(KubeSecrets(client.clone()));
        let meter = Meter::new(secrets, "bellwether-system", clock).expect("a meter");
        let shell = Shell::new(
            client,
            desired,
            Reports::default(),
            meter,
            clock,
            Figures::default(),
            Dur::from_secs(0),
        );
        let key: UnitKey = "rollout/default/shop-web".parse().expect("a key");
        let mut unit = Unit::new(shell, key, Arc::<Poke>::default());
        for (digest, image) in [("new", "v2"), ("old", "v1")] {
            unit.bundles
                .insert(digest.to_owned(), Arc::new(bundle(image, plan)));
        }
        let record = serde_json::from_value(json!({
            "key": "rollout/default/shop-web", "generation": 2, "digest": null,
            "runningDigest": "new", "appliedDigest": "old",
        }))
        .expect("a unit");
        Self {
            unit,
            server,
            record,
        }
    }

    /// Its Rollout is deleted, and the run under way is told to end by itself.
    fn completes(&mut self) {
        let mut plan = plan();
        plan["onDeletion"] = json!("Complete");
        let grant: StandingGrant = serde_json::from_value(json!({
            "rollout": {"namespace": "default", "name": "shop-web"}, "spec": plan,
            "metrics": null,
            "command": {"run": uuid::Uuid::nil(), "attempt": 1, "complete": ["shop-web"]},
        }))
        .expect("a grant");
        self.unit.adopted = Some(Adopted::granted("grant", grant));
        self.record.digest = Some("grant".to_owned());
    }

    async fn pass(&mut self) {
        self.unit.pass_adopted(&self.record).await.expect("a pass");
    }

    fn is_over(&self) -> bool {
        self.server.get("rollouttracks", "shop-web").is_null()
    }

    fn stands(&self) -> String {
        let track = self.server.get("rollouttracks", "shop-web");
        track["status"]["summary"].to_string()
    }
}

/// What somebody deletes beside the Deployment.
#[derive(Clone, Copy, Debug)]
enum Deleted {
    Workload,
    Everything,
}

async fn ends(after: usize, deleted: Deleted) {
    let mut house = House::new().await;
    for pass in 0..TOO_MANY {
        if pass == after {
            house.server.remove("deployments", "web");
            house.server.remove("replicasets", "web-old");
            if matches!(deleted, Deleted::Everything) {
                house.server.remove("services", "web");
                house.server.remove("httproutes", "web");
            }
        }
        house.pass().await;
        if house.is_over() {
            for (plural, name) in [("deployments", "web-canary"), ("services", "web-canary")] {
                assert_eq!(house.server.get(plural, name), Value::Null, "{plural}");
            }
            return;
        }
    }
    panic!("after {after} passes {deleted:?}: {}", house.stands());
}

#[tokio::test]
async fn a_workload_whose_rollout_and_itself_are_deleted_is_let_go() {
    for deleted in [Deleted::Workload, Deleted::Everything] {
        for after in 0..8 {
            ends(after, deleted).await;
        }
    }
}

#[tokio::test]
async fn a_deleted_rollout_has_its_run_go_on_where_the_plan_of_the_run_says_so() {
    let mut complete = plan();
    complete["onDeletion"] = json!("Complete");
    for (plan, goes_on) in [(complete, true), (plan(), false)] {
        let mut house = House::by(&plan).await;
        house.completes();
        let mut went_back = false;
        for _ in 0..5 {
            house.pass().await;
            let track = house.server.get("rollouttracks", "shop-web");
            went_back |= track["status"]["summary"]["failure"] == "Deleted";
        }
        assert_eq!(went_back, !goes_on, "{}", house.stands());
        if goes_on {
            let track = house.server.get("rollouttracks", "shop-web");
            let told = &track["spec"]["command"]["complete"];
            assert_eq!(*told, json!(["shop-web"]), "it waits for nobody");
        }
    }
}

#[tokio::test]
async fn nothing_begins_once_the_run_of_a_deleted_rollout_is_over() {
    let mut house = House::new().await;
    house.completes();
    house.record.running_digest = None;
    house.record.applied_digest = None;
    house.record.outcome = Some(UnitOutcome::Succeeded);
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop",
        "name": "web", "uid": null});
    house.record.objects = vec![serde_json::from_value(web).expect("an object")];
    // Somebody changes it, and nothing holds the change.
    house.server.put("deployments", deployment("v3"));
    house.server.remove("deployments", "web-canary");
    for _ in 0..3 {
        house.completes();
        house.pass().await;
        let live = house.server.get("deployments", "web");
        assert_ne!(live["spec"]["paused"], true, "{live}");
        let image = &live["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(image, "v3");
    }
}

/// Half of its requests had left it, and its autoscaler took a pod.
#[tokio::test]
async fn a_workload_that_its_autoscaler_shrank_has_its_pods_before_its_requests() {
    let mut house = House::new().await;
    house.server.put(
        "horizontalpodautoscalers",
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef":
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
        }),
    );
    let mut track = house.server.get("rollouttracks", "shop-web");
    track["status"]["state"]["scaled"] = json!({"base": 2, "whole": 2, "least": 1});
    house.server.put("rollouttracks", track);
    let mut shrunk = house.server.get("deployments", "web");
    shrunk["spec"]["replicas"] = json!(1);
    house.server.put("deployments", shrunk);
    let mut was_split = false;
    for _ in 0..TOO_MANY {
        house.pass().await;
        let route = house.server.get("httproutes", "web");
        let is_split = route.to_string().contains("web-canary");
        let size = house.server.get("deployments", "web")["spec"]["replicas"].clone();
        assert!(!was_split || is_split || size == 2, "{size} pods for all");
        was_split |= is_split;
        if house.is_over() {
            assert!(was_split, "its canary had requests");
            assert_eq!(size, 2, "nobody writes another count");
            return;
        }
    }
    panic!("{}", house.stands());
}
