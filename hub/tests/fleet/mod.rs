//! One database, some clusters whose agents do as they are told, and hubs that plan.

use std::{collections::BTreeMap, time::Duration};

use bellwether_api::{
    bundle::Bundle,
    command::Command,
    reference::NamespacedName,
    status::{Health, UnitOutcome, UnitStatus, WaitReason},
    strategy::Manual,
    view::RunView,
};
use bellwether_hub::{
    loops::{LoopError, plan_once, run_view},
    rendering::Renderings,
};
use bellwether_store::{
    Digest, Store,
    actions::{self, ActionType, NewAction},
    blobs::{self, Secrecy},
    clusters,
    desired::{self, ClusterChange, Deletions, UnitChange},
    leases,
    records::{self, NewRecord, RecordKey, RecordKind},
    runs,
    sessions::{self, OpenSession},
    status::{self, StatusReport},
    testing::TestDatabase,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

pub struct Fleet {
    pub database: TestDatabase,
    pub store: Store,
    pub hub: Uuid,
    pub clusters: BTreeMap<String, Cluster>,
    sequence: u64,
    /// The release that ran last as a whole in each cluster.
    applied: BTreeMap<String, String>,
    /// How far the hubs' clocks are ahead of the machine's: time that the test lets pass.
    pub ahead: SignedDuration,
}

pub struct Cluster {
    pub id: Uuid,
    pub epoch: u64,
}

pub fn shop() -> NamespacedName {
    NamespacedName {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
    }
}

impl Fleet {
    /// Clusters `canary-1`, `prod-1`, `prod-2`… with label `tier`, connected; a fleet of all.
    pub async fn new(prods: usize) -> Self {
        let database = TestDatabase::create().await;
        let store = database.store().await;
        let mut fleet = Self {
            database,
            store,
            hub: Uuid::now_v7(),
            clusters: BTreeMap::new(),
            sequence: 0,
            applied: BTreeMap::new(),
            ahead: SignedDuration::ZERO,
        };
        fleet.be_alive(fleet.hub).await;
        fleet.join("canary-1", "canary").await;
        for number in 1..=prods {
            fleet.join(&format!("prod-{number}"), "prod").await;
        }
        fleet
            .record(
                RecordKind::Fleet,
                "",
                "quickstart",
                json!({"selector": {}}),
                &[],
            )
            .await;
        fleet
    }

    pub async fn be_alive(&self, hub: Uuid) {
        let ttl = Duration::from_secs(60);
        leases::renew_replica(&self.store, hub, self.now(), ttl)
            .await
            .expect("a lease");
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.ahead).expect("a time")
    }

    /// Lets time pass for the hubs, which stay alive.
    pub async fn wait(&mut self, seconds: i64) {
        self.ahead += SignedDuration::from_secs(seconds);
        self.be_alive(self.hub).await;
    }

    pub async fn join(&mut self, name: &str, tier: &str) {
        let id = Uuid::now_v7();
        let now = Timestamp::now();
        let mut tx = self.store.begin().await.expect("a transaction");
        let new = clusters::NewCluster {
            id,
            name: name.to_owned(),
            labels: BTreeMap::from([("tier".to_owned(), tier.to_owned())]),
            annotations: BTreeMap::new(),
            spec: json!({}),
            by: "test".to_owned(),
        };
        clusters::create(&mut tx, &new, now)
            .await
            .expect("a cluster");
        tx.commit().await.expect("a commit");
        self.clusters
            .insert(name.to_owned(), Cluster { id, epoch: 0 });
        self.connect(name).await;
    }

    pub async fn connect(&mut self, name: &str) {
        self.connect_as(name, "1.33", &[]).await;
    }

    /// Connects an agent whose cluster is of that version and serves that.
    pub async fn connect_as(&mut self, name: &str, version: &str, serves: &[&str]) {
        let cluster = self.clusters.get_mut(name).expect("a cluster");
        let open = OpenSession {
            cluster: cluster.id,
            seen_epoch: cluster.epoch,
            agent_version: "1".to_owned(),
            kubernetes_version: version.to_owned(),
            capabilities: serves.iter().map(|one| (*one).to_owned()).collect(),
        };
        let session = sessions::open(&self.store, &open, self.hub, Timestamp::now())
            .await
            .expect("an answer")
            .expect("a session");
        cluster.epoch = session.epoch;
    }

    pub async fn lose(&mut self, name: &str) {
        let cluster = &self.clusters[name];
        sessions::close(&self.store, cluster.id, cluster.epoch, self.now())
            .await
            .expect("closed");
    }

    pub async fn record(
        &self,
        kind: RecordKind,
        namespace: &str,
        name: &str,
        spec: Value,
        annotations: &[(&str, &str)],
    ) {
        let mut tx = self.store.begin().await.expect("a transaction");
        let new = NewRecord {
            key: RecordKey {
                kind,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            uid: Uuid::now_v7(),
            labels: BTreeMap::new(),
            annotations: annotations
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            spec,
            secrecy: Secrecy::Plain,
            by: "ana".to_owned(),
            reason: String::new(),
        };
        records::apply(&mut tx, &new, None, Timestamp::now())
            .await
            .expect("a record");
        tx.commit().await.expect("a commit");
    }

    /// Applies the application with waves canary and rest.
    pub async fn apply(&self, image: &str) {
        self.apply_to(image, json!({"fleet": "quickstart"}), &[])
            .await;
    }

    pub async fn apply_to(&self, image: &str, destination: Value, annotations: &[(&str, &str)]) {
        let spec = json!({
            "destination": destination,
            "components": [{"name": "web", "manifests": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                "spec": {"template": {"spec": {"containers": [
                    {"name": "web", "image": format!("shop:{image}")},
                ]}}},
            }]}],
            "waves": [
                {"name": "canary", "selector": {"matchLabels": {"tier": "canary"}}},
                {"name": "rest", "maxConcurrent": 1},
            ],
        });
        self.record(
            RecordKind::Application,
            "default",
            "shop",
            spec,
            annotations,
        )
        .await;
    }

    /// Applies an application of that many ConfigMaps in one wave.
    pub async fn apply_named(
        &self,
        name: &str,
        destination: Value,
        objects: usize,
        annotations: &[(&str, &str)],
    ) {
        let object = |number: usize| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                   "metadata": {"name": format!("item-{number}")}})
        };
        let manifests: Vec<Value> = (0..objects).map(object).collect();
        let spec = json!({
            "destination": destination,
            "components": [{"name": "items", "manifests": manifests}],
            "waves": [{"name": "all", "maxConcurrent": "100%"}],
        });
        self.record(RecordKind::Application, "default", name, spec, annotations)
            .await;
    }

    /// Names of the clusters that shall hold the application, sorted.
    pub async fn holders(&self, application: &str) -> Vec<String> {
        let key = format!("application/default/{application}");
        let holders = desired::holders(&self.store, &key).await.expect("holders");
        self.clusters
            .iter()
            .filter(|(_, cluster)| holders.contains_key(&cluster.id))
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub async fn delete(&self) {
        self.delete_record(RecordKind::Application, "shop").await;
    }

    pub async fn delete_record(&self, kind: RecordKind, name: &str) {
        let mut tx = self.store.begin().await.expect("a transaction");
        let key = RecordKey {
            kind,
            namespace: "default".to_owned(),
            name: name.to_owned(),
        };
        records::delete(&mut tx, &key, None).await.expect("deleted");
        if kind == RecordKind::Rollout {
            records::note_removal(&mut tx, &shop(), "eve", "no longer needed")
                .await
                .expect("noted");
        }
        tx.commit().await.expect("a commit");
    }

    pub async fn plan(&self) -> Result<(), LoopError> {
        self.plan_as(&self.store, self.hub).await
    }

    /// Looks at everything once.
    pub async fn look(&self) -> Result<(), LoopError> {
        plan_once(&self.store, self.hub, self.now()).await
    }

    /// Plans as a hub does: until nothing changes.
    pub async fn plan_as(&self, store: &Store, hub: Uuid) -> Result<(), LoopError> {
        for _ in 0..4 {
            plan_once(store, hub, self.now()).await?;
        }
        Ok(())
    }

    pub async fn bundle(&self, name: &str) -> Option<(Digest, Bundle)> {
        self.bundle_of(&shop(), name).await
    }

    pub async fn bundle_of(
        &self,
        application: &NamespacedName,
        name: &str,
    ) -> Option<(Digest, Bundle)> {
        let digest = self
            .digest(&format!("application/{application}"), name)
            .await?;
        let bytes = blobs::get(&self.store, digest)
            .await
            .expect("a blob")
            .expect("a blob");
        Some((digest, serde_json::from_slice(&bytes).expect("a bundle")))
    }

    pub async fn command(&self, name: &str) -> Option<Command> {
        let digest = self.digest(&format!("command/{}", shop()), name).await?;
        let bytes = blobs::get(&self.store, digest)
            .await
            .expect("a blob")
            .expect("a blob");
        Some(serde_json::from_slice(&bytes).expect("a command"))
    }

    async fn digest(&self, key: &str, name: &str) -> Option<Digest> {
        let holders = desired::holders(&self.store, key).await.expect("holders");
        holders.get(&self.clusters[name].id).copied()
    }

    /// Names of the clusters that were granted that revision, sorted.
    pub async fn granted(&self, revision: u64) -> Vec<String> {
        let mut names = Vec::new();
        for name in self.clusters.keys() {
            if self
                .bundle(name)
                .await
                .is_some_and(|(_, bundle)| bundle.revision == revision)
            {
                names.push(name.clone());
            }
        }
        names
    }

    /// Reports, as the agent of a cluster, what became of the bundle that it holds.
    pub async fn report(&mut self, name: &str, outcome: UnitOutcome) {
        self.report_of(&shop(), name, outcome).await;
    }

    /// Reports, as the agent of a cluster, what became of an application's bundle.
    pub async fn report_of(
        &mut self,
        application: &NamespacedName,
        name: &str,
        outcome: UnitOutcome,
    ) {
        let (digest, bundle) = self.bundle_of(application, name).await.expect("a bundle");
        let waiting = WaitReason {
            reason: "PodsNotReady".to_owned(),
            message: "2 of 5 pods are ready".to_owned(),
            on: None,
            since: None,
            by_itself: None,
        };
        if outcome == UnitOutcome::Succeeded {
            self.applied.insert(name.to_owned(), bundle.release.clone());
        }
        let unfinished = matches!(outcome, UnitOutcome::Progressing | UnitOutcome::RollingBack);
        let status = UnitStatus {
            application: application.clone(),
            digest: digest.to_string(),
            generation: 1,
            run: bundle.run,
            attempt: bundle.attempt,
            release: bundle.release.clone(),
            outcome,
            reason: String::new(),
            applied_release: self.applied.get(name).cloned(),
            health: if unfinished {
                Health::Progressing
            } else {
                Health::Healthy
            },
            objects: Vec::new(),
            object_count: 1,
            rollouts: Vec::new(),
            waiting_on: if unfinished {
                vec![waiting]
            } else {
                Vec::new()
            },
            events: Vec::new(),
            executed: Vec::new(),
            orphans: Vec::new(),
            warnings: Vec::new(),
        };
        self.sequence += 1;
        let report = StatusReport {
            cluster: self.clusters[name].id,
            key: format!("application/{application}"),
            epoch: self.clusters[name].epoch,
            sequence: self.sequence,
            detail: serde_json::to_value(&status).expect("a status"),
            events: Vec::new(),
        };
        let ingested = status::ingest(&self.store, &[report], Timestamp::now())
            .await
            .expect("ingested");
        assert!(
            ingested.fenced.is_empty(),
            "{name} speaks in an old session"
        );
    }

    pub async fn succeed_all(&mut self) {
        let names: Vec<String> = self.clusters.keys().cloned().collect();
        for name in names {
            if self.bundle(&name).await.is_some() {
                self.report(&name, UnitOutcome::Succeeded).await;
            }
        }
    }

    /// Installs revision 1 everywhere.
    pub async fn install(&mut self) {
        self.apply("1").await;
        self.plan().await.expect("planned");
        self.succeed_all().await;
        self.plan().await.expect("planned");
    }

    pub async fn act(&self, action: ActionType) -> Uuid {
        self.say(action, None, None, None).await
    }

    /// Says something to one cluster alone.
    pub async fn act_on(&self, action: ActionType, cluster: &str) -> Uuid {
        let id = self.clusters[cluster].id;
        self.say(action, None, Some(id), None).await
    }

    /// Asks for that revision again; absent = the last one that succeeded.
    pub async fn roll_back(&self, to_revision: Option<u64>) -> Uuid {
        self.say(ActionType::Rollback, None, None, to_revision)
            .await
    }

    /// Asks for that revision in one cluster alone.
    pub async fn roll_back_on(&self, cluster: &str, to_revision: u64) -> Uuid {
        let id = self.clusters[cluster].id;
        self.say(ActionType::Rollback, None, Some(id), Some(to_revision))
            .await
    }

    /// What became of an action: outcome and message.
    pub async fn answer(&self, action: Uuid) -> (String, String) {
        let answered = actions::get(&self.store, action)
            .await
            .expect("an action")
            .expect("an action");
        let result = answered.result.expect("an answer");
        let text = |field: &str| result[field].as_str().unwrap_or_default().to_owned();
        (text("outcome"), text("message"))
    }

    pub async fn set_weight(&self, set: Manual) -> Uuid {
        self.say(ActionType::SetWeight, Some(set), None, None).await
    }

    async fn say(
        &self,
        action: ActionType,
        set: Option<Manual>,
        cluster: Option<Uuid>,
        to_revision: Option<u64>,
    ) -> Uuid {
        let run = runs::latest(&self.store, &shop())
            .await
            .expect("a run")
            .expect("a run");
        let id = Uuid::now_v7();
        let new = NewAction {
            id,
            application: shop(),
            run: run.id,
            action,
            wave: None,
            cluster,
            step: None,
            expected_revision: None,
            set,
            to_revision,
            reason: "because".to_owned(),
            by: "ana".to_owned(),
            idempotency_key: id.to_string(),
        };
        let mut tx = self.store.begin().await.expect("a transaction");
        actions::record(&mut tx, &new, Timestamp::now())
            .await
            .expect("recorded");
        tx.commit().await.expect("a commit");
        id
    }

    pub async fn view(&self) -> RunView {
        self.view_of(None).await
    }

    /// The view as a hub that renders shows it.
    pub async fn view_with(&self, renderings: &Renderings) -> RunView {
        self.view_of(Some(renderings)).await
    }

    async fn view_of(&self, renderings: Option<&Renderings>) -> RunView {
        run_view(&self.store, renderings, &shop(), None, self.now())
            .await
            .expect("an answer")
            .expect("a view")
    }

    /// Has what a cluster holds of the shop be something that nobody can read.
    pub async fn garble(&self, cluster: &str) {
        let mut tx = self.store.begin().await.expect("a transaction");
        let written = b"{\"of\": \"a hub of another version\"}";
        let digest = blobs::put(&mut tx, written, Secrecy::Plain, self.now())
            .await
            .expect("a blob");
        let change = ClusterChange {
            cluster: self.clusters[cluster].id,
            changes: vec![UnitChange {
                key: "application/default/shop".to_owned(),
                digest: Some(digest),
                origin: "test".to_owned(),
            }],
        };
        desired::write(&mut tx, &[change], Deletions::Braked)
            .await
            .expect("written");
        tx.commit().await.expect("a commit");
    }
}
