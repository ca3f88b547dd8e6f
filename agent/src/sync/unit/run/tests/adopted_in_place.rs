//! Workloads in place that somebody else delivers, where nobody asks before they are changed.

use std::sync::Arc;

use bellwether_agent_core::adopted::{HELD_ANNOTATION, PARTITION_ANNOTATION};
use bellwether_api::{
    bundle::{Bundle, UnitKey},
    duration::Dur,
    sync_record::SyncUnit,
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

/// A kind, and what its owner writes of how its pods change.
#[derive(Clone, Copy, Debug)]
struct Kind {
    kind: &'static str,
    plural: &'static str,
    strategy: &'static str,
    held: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        kind: "StatefulSet",
        plural: "statefulsets",
        strategy: r#"{"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}"#,
        held: r#"{"type": "RollingUpdate", "rollingUpdate": {"partition": 2147483647}}"#,
    },
    Kind {
        kind: "DaemonSet",
        plural: "daemonsets",
        strategy: r#"{"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}"#,
        held: r#"{"type": "OnDelete", "rollingUpdate": {"maxUnavailable": 1}}"#,
    },
];

impl Kind {
    fn json(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    fn workload(self, image: &str, generation: i64) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": self.kind,
            "metadata": {"name": "web", "namespace": "shop", "generation": generation},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                "template": template(image), "updateStrategy": Self::json(self.strategy)},
            "status": {"observedGeneration": 1, "updateRevision": "web-v1", "replicas": 2,
                "desiredNumberScheduled": 2},
        })
    }

    fn owner(self) -> Value {
        json!([{"apiVersion": "apps/v1", "kind": self.kind, "name": "web", "controller": true,
            "uid": format!("uid-{}/web", self.plural)}])
    }

    fn revision(self, image: &str, number: i64) -> Value {
        let mut template = template(image);
        template["$patch"] = json!("replace");
        json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": {"name": format!("web-{image}"), "namespace": "shop",
                "labels": {"controller-revision-hash": image}, "ownerReferences": self.owner()},
            "revision": number, "data": {"spec": {"template": template}},
        })
    }

    fn pod(self, number: u32, image: &str) -> Value {
        let hash = match self.kind {
            "DaemonSet" => image.to_owned(),
            _ => format!("web-{image}"),
        };
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("web-{number}"), "namespace": "shop",
                "labels": {"app": "web", "controller-revision-hash": hash},
                "ownerReferences": self.owner()},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        })
    }
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": image}]}})
}

struct House {
    unit: Unit,
    server: Server,
    record: SyncUnit,
    kind: Kind,
}

impl House {
    async fn new(kind: Kind) -> Self {
        // Fails only where another test was here before: the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = Server::default();
        server.put(kind.plural, kind.workload("v1", 1));
        server.put("controllerrevisions", kind.revision("v1", 1));
        for number in 0..2 {
            server.put("pods", kind.pod(number, "v1"));
        }
        let client = server.client();
        let clock = Clock::begin(None);
        let desired = Desired::load(client.clone(), "bellwether-system")
            .await
            .expect("nothing is held");
        let secrets = Arc::new(KubeSecrets(client.clone()));
        let shell = Shell::new(
            client,
            desired,
            Reports::default(),
            Meter::new(secrets, "bellwether-system", clock).expect("a meter"),
            clock,
            Figures::default(),
            Dur::from_secs(0),
        );
        let key: UnitKey = "rollout/default/shop-web".parse().expect("a key");
        let mut unit = Unit::new(shell, key, Arc::<Poke>::default());
        let workload = json!({"apiVersion": "apps/v1", "kind": kind.kind, "namespace": "shop",
            "name": "web"});
        let grant = json!({
            "rollout": {"namespace": "default", "name": "shop-web"}, "metrics": null,
            "spec": {"workload": workload, "strategy": {"batch": {"steps": [{"replicas": 1}]}}},
        });
        let grant = serde_json::from_value(grant).expect("a grant");
        unit.adopted = Some(Adopted::granted("grant", grant));
        let record = serde_json::from_value(json!({
            "key": "rollout/default/shop-web", "generation": 1, "digest": "grant",
            "outcome": "Succeeded", "objects": [workload],
        }))
        .expect("a unit");
        Self {
            unit,
            server,
            record,
            kind,
        }
    }

    /// Gives how many writes a pass made.
    async fn pass(&mut self) -> usize {
        self.server.take_asked();
        self.unit.pass_adopted(&self.record).await.expect("a pass");
        let asked = self.server.take_asked();
        asked.iter().filter(|one| !one.starts_with("GET")).count()
    }

    fn live(&self) -> Value {
        self.server.get(self.kind.plural, "web")
    }

    /// What its owner applies: whatever it does not name stays.
    fn apply(&self, image: &str) {
        let mut live = self.live();
        live["spec"]["template"] = template(image);
        live["metadata"]["generation"] = json!(2);
        self.server.put(self.kind.plural, live);
    }
}

#[tokio::test]
async fn other_kinds_are_held_as_soon_as_they_are_seen_and_given_back() {
    for kind in KINDS {
        let mut house = House::new(kind).await;
        assert_eq!(house.pass().await, 0, "{kind:?} is touched at rest");
        house.apply("v2");
        assert_eq!(house.pass().await, 1, "{kind:?}");
        let live = house.live();
        let annotations = &live["metadata"]["annotations"];
        assert_eq!(annotations[HELD_ANNOTATION], json!("shop-web"), "{kind:?}");
        assert_eq!(
            live["spec"]["updateStrategy"],
            Kind::json(kind.held),
            "{kind:?}"
        );
        assert_eq!(live["spec"]["template"], template("v2"), "{kind:?}");
        // Until its controller has seen that, no run begins, and nothing is written again.
        assert_eq!(house.pass().await, 0, "{kind:?}");
        // Its owner thinks better of it.
        house.apply("v1");
        assert_eq!(house.pass().await, 1, "{kind:?}");
        let live = house.live();
        assert_eq!(live["spec"], kind.workload("v1", 1)["spec"], "{kind:?}");
        let left = live["metadata"]["annotations"].get(PARTITION_ANNOTATION);
        assert_eq!(left, None, "{kind:?}");
        assert_eq!(house.pass().await, 0, "{kind:?}");
    }
}

#[tokio::test]
async fn a_new_pod_that_is_not_ready_is_taken_back_where_its_kind_can() {
    let mut house = House::new(KINDS[0]).await;
    house.apply("v2");
    let mut late = house.kind.pod(1, "v2");
    late["status"]["conditions"][0]["status"] = json!("False");
    house
        .server
        .put("controllerrevisions", house.kind.revision("v2", 2));
    house.server.put("pods", late);
    assert_eq!(house.pass().await, 1, "it is held first");
    assert_eq!(house.pass().await, 1, "then the pod goes");
    assert_eq!(house.server.get("pods", "web-1"), Value::Null);
    assert_ne!(house.server.get("pods", "web-0"), Value::Null);
}

/// What ran before is known by a stored content alone where no controller records it.
#[tokio::test]
async fn a_held_update_is_not_let_go_because_a_stored_content_was_not_given() {
    let mut house = House::new(KINDS[0]).await;
    house.apply("v2");
    assert_eq!(house.pass().await, 1, "it is held");
    let held = house.live();
    house.server.remove("controllerrevisions", "web-v1");
    house.record.applied_digest = Some("ab".repeat(32));
    // Nor because tracks that were left are looked for by it.
    house.unit.tracks_removed = true;
    house.server.contents_fail(true);
    for _ in 0..3 {
        let failed = house.unit.pass_adopted(&house.record).await;
        assert!(failed.is_err(), "nobody knows what ran before: {failed:?}");
        assert_eq!(house.live(), held);
    }
}

/// A process that died, or an API server that did not answer, right after a run was remembered as over.
#[tokio::test]
async fn a_track_that_was_left_of_a_run_that_is_over_is_removed() {
    let mut house = House::new(KINDS[0]).await;
    let plan = json!({"workload": {"apiVersion": "apps/v1", "kind": house.kind.kind, "namespace": "shop",
        "name": "web"}, "strategy": {"batch": {"steps": [{"replicas": 1}]}}});
    let last: Bundle = serde_json::from_value(json!({
        "application": {"namespace": "default", "name": "shop-web"}, "release": "v1", "revision": 1,
        "run": uuid::Uuid::nil(), "attempt": 1, "mode": "Rollout", "targetNamespace": "shop",
        "createNamespace": false, "components": [], "sync": {}, "metrics": null,
        "rollouts": [{"name": "shop-web", "spec": plan}],
    }))
    .expect("a bundle");
    house.unit.bundles.insert("last".to_owned(), Arc::new(last));
    house.record.applied_digest = Some("last".to_owned());
    let track = |application: &str| {
        json!({
            "apiVersion": "bellwether.dev/v1alpha1", "kind": "RolloutTrack",
            "metadata": {"name": "shop-web", "namespace": "shop"},
            "spec": {"application": {"namespace": "default", "name": application},
                "release": "v1", "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
                "generation": 1, "mode": "Rollout", "workload": plan["workload"], "plan": plan,
                "command": {"run": uuid::Uuid::nil(), "attempt": 1}},
        })
    };
    house.server.put("rollouttracks", track("shop-web"));
    house.pass().await;
    assert_eq!(house.server.get("rollouttracks", "shop-web"), Value::Null);
    // It is looked for once in the life of a process.
    house.server.put("rollouttracks", track("shop-web"));
    house.pass().await;
    assert_ne!(house.server.get("rollouttracks", "shop-web"), Value::Null);
}
