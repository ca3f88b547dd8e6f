//! Components that wait for others, as a bundle comes in at once and by rollouts.

use std::sync::Arc;

use bellwether_agent_core::config_stamp::AsFound;
use bellwether_api::{bundle::BundleComponent, command::AbortCause};

use super::*;

fn database(healthy: bool) -> Value {
    let ready = u64::from(healthy);
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "shop", "generation": 1},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "replicas": 1, "readyReplicas": ready,
            "availableReplicas": ready, "currentReplicas": 1, "updatedReplicas": 1,
            "currentRevision": "a", "updateRevision": "a"},
    })
}

fn database_component(version: &str) -> BundleComponent {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "shop", "annotations": {"version": version}},
        "spec": {"replicas": 1},
    });
    serde_json::from_value(json!({"name": "db", "objects": [object]})).expect("a component")
}

/// The component that comes first.
pub(super) const FIRST: &str = "db";

/// The first of the components waits for a database.
pub(super) fn ordered(image: &str) -> Arc<Bundle> {
    let mut bundle = bundle(image, "http://127.0.0.1:9");
    bundle.components[0].depends_on = vec!["db".to_owned()];
    bundle.components.push(database_component(image));
    for rollout in &mut bundle.rollouts {
        rollout.spec.component = Some(rollout.name.clone());
    }
    Arc::new(bundle)
}

impl House {
    pub(super) async fn ordered() -> Self {
        let mut house = Self::new("http://127.0.0.1:9", LATER).await;
        house.have(&["new", "old"]);
        house
    }

    fn have(&mut self, digests: &[&str]) {
        for digest in digests {
            let image = if *digest == "old" { "v1" } else { "v2" };
            let bundles = &mut self.unit.bundles;
            bundles.insert((*digest).to_owned(), ordered(image));
        }
    }

    /// An agent that knows nothing but what is in the cluster and what was remembered.
    fn restart(&mut self) {
        let key: UnitKey = "application/default/shop".parse().expect("a key");
        let shell = Arc::clone(&self.unit.shell);
        self.unit = Unit::new(shell, key, Arc::<Poke>::default());
        self.have(&["new", "old"]);
    }

    pub(super) fn set_database(&self, healthy: bool) {
        let live = self.server.get("statefulsets", "db");
        let mut object = database(healthy);
        object["metadata"]["annotations"] = live["metadata"]["annotations"].clone();
        self.server.put("statefulsets", object);
        let target = bellwether_api::reference::ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: "StatefulSet".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "db".to_owned(),
        };
        self.unit.poke.touch(target, None);
    }

    /// Passes of a bundle that comes in at once, until one waits; gives what was asked and what it
    /// waits for.
    async fn apply(&mut self) -> (Vec<String>, Vec<String>) {
        self.server.take_asked();
        loop {
            let fresh = self.unit.poke.take();
            self.unit.dirty.add(fresh);
            let pass = self.unit.apply(&self.record, "new").await.expect("a pass");
            // Without a record of the unit nothing remembers that it is applied.
            if !pass.again || self.unit.is_whole(&ordered("v2")) {
                let waits = pass.waiting_on.into_iter().map(|wait| wait.message);
                return (self.server.take_asked(), waits.collect());
            }
        }
    }
}

fn asks(asked: &[String], what: &str) -> bool {
    asked.iter().any(|one| one == what)
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_at_once_comes_in_order() {
    let mut house = House::ordered().await;
    house.set_database(false);
    let (asked, waits) = house.apply().await;
    assert!(asks(&asked, "PATCH statefulsets/db"), "{asked:?}");
    assert!(asks(&asked, "PATCH deployments/web-1"), "{asked:?}");
    assert!(!asks(&asked, "PATCH deployments/web-0"), "{asked:?}");
    assert!(
        waits.contains(&"component web-0 waits for db".to_owned()),
        "{waits:?}"
    );
    // Killed in between, and killed again once it is healthy.
    house.restart();
    let (asked, _) = house.apply().await;
    assert!(!asks(&asked, "PATCH deployments/web-0"), "{asked:?}");
    house.set_database(true);
    house.restart();
    let (asked, waits) = house.apply().await;
    assert!(waits.is_empty(), "{waits:?}");
    // What opens it is applied first, by a process that has seen nothing.
    let at = |what: &str| asked.iter().position(|one| one == what);
    let first = at("PATCH statefulsets/db").expect("it is applied");
    assert!(!asked[..first].contains(&"PATCH deployments/web-0".to_owned()));
    let (asked, _) = house.apply().await;
    assert!(asks(&asked, "PATCH deployments/web-0"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_begins_once_what_comes_first_is_healthy() {
    let mut house = House::ordered().await;
    house.set_database(false);
    let asked = house.pass().await;
    assert!(asks(&asked, "PATCH statefulsets/db"), "{asked:?}");
    assert!(asks(&asked, "GET rollouttracks/web-1"), "{asked:?}");
    let concerns = |asked: &[String]| {
        let own = asked.iter().filter(|one| one.contains("web-0"));
        own.cloned().collect::<Vec<_>>()
    };
    assert_eq!(concerns(&asked), [""; 0], "nothing is done about it");
    let waits = house.unit.waiting_on_order();
    assert_eq!(waits, ["component web-0 waits for db"]);

    house.set_database(true);
    let asked = house.pass().await;
    assert!(asks(&asked, "GET rollouttracks/web-0"), "{asked:?}");
    assert!(house.unit.runs.contains_key("web-0"));

    // It goes on, whatever becomes of the database, also with another agent.
    house.record.opened = Some(bellwether_api::sync_record::OpenedComponents {
        digest: "new".to_owned(),
        components: vec!["web-0".to_owned()],
    });
    house.set_database(false);
    house.restart();
    let asked = house.pass().await;
    assert!(asks(&asked, "GET rollouttracks/web-0"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn an_abort_waits_for_nobody() {
    let mut house = House::ordered().await;
    house.set_database(false);
    house.pass().await;
    assert!(!house.unit.runs.contains_key("web-0"));
    assert!(!house.server.get("rollouttracks", "web-0").is_null());
    let fresh = house.unit.poke.take();
    house.unit.dirty.add(fresh);
    let abort = Some(AbortCause::Manual);
    let pass = house.unit.drive(&house.record, "new", "old", abort).await;
    pass.expect("a pass");
    let mut tracks = (0..RUNS).map(|index| house.server.get("rollouttracks", &name(index)));
    assert!(tracks.all(|track| track.is_null()), "each is over");
}

impl Unit {
    fn waiting_on_order(&self) -> Vec<String> {
        let versions = Versions {
            new: Arc::clone(&self.bundles["new"]),
            old: Arc::clone(&self.bundles["old"]),
            found: AsFound::default(),
        };
        let waits = self.runs_wait_in_order(&versions).into_iter();
        waits.map(|wait| wait.message).collect()
    }
}
