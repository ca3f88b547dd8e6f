//! What a test has at hand.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    status::Phase,
    view::{ClusterPhase, RunPhase, RunView},
};
use bellwether_integration_tests::{
    cluster::Member,
    fixture::{Fixture, cluster_view},
    manifests::Shop,
    suite::Stage,
    traffic::{Traffic, full_rate},
    wait::until,
};
use serde_json::Value;

/// Longest time that a run of a test may take.
pub const RUN_LIMIT: Duration = Duration::from_secs(240);

/// The hub and clusters, and the name that the test may use.
#[derive(Clone)]
pub struct Scene {
    fixture: Arc<Fixture>,
    /// The test's own application and namespace.
    pub name: String,
}

impl std::ops::Deref for Scene {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.fixture
    }
}

impl Stage for Scene {
    fn case(&self, name: &'static str, test: fn(&Self) -> Result<()>) -> Result<()> {
        self.run_case(name, test)
    }
}

impl Scene {
    pub fn new(fixture: Fixture) -> Self {
        Self {
            fixture: Arc::new(fixture),
            name: String::new(),
        }
    }

    /// Runs one test under its own name and takes its application away afterwards.
    pub fn run_case(&self, name: &str, test: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let scene = Self {
            fixture: Arc::clone(&self.fixture),
            name: name.to_owned(),
        };
        let result = test(&scene);
        let documents = scene
            .cli
            .call(&["events", &format!("rollout/{name}")], None);
        let gone = scene.cli.call(&["delete", "application", name, "-y"], None);
        result.with_context(|| {
            format!(
                "events: {}\nwarnings of the clusters: {:#?}",
                documents.map(|answer| answer.stdout).unwrap_or_default(),
                scene.warnings()
            )
        })?;
        let gone = gone?;
        ensure!(
            gone.code == 0 || gone.stderr.contains("there is no application"),
            "the application could not be deleted: {}{}",
            gone.stdout,
            gone.stderr
        );
        self.no_agent_crashed()
    }

    /// What the clusters warn of in the test's namespace, such as a probe that failed, oldest first.
    fn warnings(&self) -> Vec<String> {
        let members = (0..self.lab.real().len()).filter_map(|index| self.member(index).ok());
        let warning = |event: &Value| {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
            let line = [
                "/lastTimestamp",
                "/reason",
                "/involvedObject/name",
                "/message",
            ]
            .map(|pointer| text(pointer).unwrap_or("-"))
            .join(" ");
            (text("/type") == Some("Warning")).then_some(line)
        };
        let mut all: Vec<String> = members
            .flat_map(|member| member.list("v1", "Event", &self.name).unwrap_or_default())
            .filter_map(|event| warning(&event))
            .collect();
        all.sort();
        all
    }

    /// The demo application under the test's name.
    pub fn shop(&self) -> Shop {
        Shop::new(&self.name)
    }

    /// The demo application on the first cluster alone, checked by readiness every second.
    pub fn small_shop(&self) -> Shop {
        Shop {
            destination: "{clusters: [c1]}".into(),
            waves: String::new(),
            analysis: "{interval: 1s}".into(),
            replicas: 3,
            pre_stop_seconds: 0,
            ..self.shop()
        }
    }

    /// Installs a first version and waits until it runs.
    pub fn install(&self, shop: &Shop) -> Result<RunView> {
        self.cli.apply(&shop.documents())?;
        self.ended(1, RunPhase::Succeeded)
    }

    /// Waits until the run of a revision has ended as expected.
    pub fn ended(&self, revision: u64, phase: RunPhase) -> Result<RunView> {
        self.wait_ended(&self.name, revision, phase, RUN_LIMIT)
    }

    /// Waits until the run of `revision` in cluster `c1` carries `weight` on its route.
    pub fn at_weight(&self, revision: u64, weight: u8) -> Result<RunView> {
        let what = format!("c1 to carry {weight} %");
        self.wait_run(&self.name, revision, RUN_LIMIT, &what, |view| {
            cluster_view(view, "c1").is_ok_and(|cluster| {
                cluster
                    .tracks
                    .iter()
                    .any(|track| track.observed_weight.percent() == weight)
            })
        })
    }

    /// Waits until the run of `revision` in cluster `c1` is in `phase`.
    pub fn in_phase(&self, revision: u64, phase: Phase) -> Result<RunView> {
        self.wait_run(
            &self.name,
            revision,
            RUN_LIMIT,
            &format!("c1 to be {phase:?}"),
            |view| {
                cluster_view(view, "c1")
                    .is_ok_and(|cluster| cluster.tracks.iter().any(|track| track.phase == phase))
            },
        )
    }

    /// Waits until cluster `c1` is in `state`.
    pub fn cluster_state(&self, revision: u64, state: ClusterPhase) -> Result<RunView> {
        self.wait_run(
            &self.name,
            revision,
            RUN_LIMIT,
            &format!("c1 to be {state:?}"),
            |view| cluster_view(view, "c1").is_ok_and(|cluster| cluster.state == state),
        )
    }

    /// Starts traffic to the test's application, as much as clusters of a test get.
    pub fn traffic(&self, clusters: &[&str]) -> Result<Traffic> {
        let rate = full_rate(clusters.len());
        let file = self.directory.join(format!("traffic-{}.jsonl", self.name));
        Traffic::start(&self.lab, clusters, &self.shop().host(), rate, &file)
    }

    /// Ends the agent of a cluster as a crash would. Another test may have done so just now: then there is
    /// another one in a moment.
    pub fn kill_agent(&self, member: &Member) -> Result<()> {
        until(Duration::from_secs(60), "an agent to end", || {
            let ended = member.kill_pods(
                "bellwether-system",
                "app.kubernetes.io/name=bellwether-agent",
            )?;
            Ok((ended > 0).then_some(()))
        })
    }

    /// Waits until a cluster's agent is ready.
    pub fn agent_is_ready(&self, member: &Member) -> Result<()> {
        until(Duration::from_secs(60), "the agent to be ready", || {
            let pods = member.list("v1", "Pod", "bellwether-system")?;
            let is_ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
            Ok(pods.iter().any(is_ready).then_some(()))
        })
    }

    /// What was told of a run, oldest first.
    pub fn events_of(&self, run: &RunView) -> Result<Vec<Value>> {
        let rollout = format!("rollout/{}", run.application.name);
        let told = self.cli.json(&["events", &rollout, "--limit", "500"])?;
        let items = told["items"].as_array().context("events")?;
        let own = items.iter().filter(|one| one["run"] == run.run.to_string());
        Ok(own.cloned().collect())
    }

    /// The weights that came in force in a cluster during a run, in order. Of a view only the newest is kept,
    /// and a weight may pass between two; no event is lost.
    pub fn weights_told(&self, run: &RunView, cluster: &str) -> Result<Vec<u8>> {
        let events = self.events_of(run)?;
        let in_force = events
            .iter()
            .filter(|one| one["cluster"] == cluster && one["reason"] == "WeightInForce");
        in_force
            .map(|one| {
                let message = one["message"].as_str().context("a message")?;
                let weight = message.split(' ').find_map(|word| word.parse::<u8>().ok());
                weight.with_context(|| message.to_owned())
            })
            .collect()
    }

    /// Reads an object of the test's namespace.
    pub fn object(&self, member: &Member, kind: &str, name: &str) -> Result<Option<Value>> {
        member.get(api_version(kind), kind, &self.name, name)
    }

    /// Waits until no object of a run is left, and fails when the user's objects differ from what
    /// the user wrote.
    pub fn assert_restored(&self, member: &Member, shop: &Shop) -> Result<()> {
        until(
            Duration::from_secs(60),
            "the run's own objects to be gone",
            || {
                let none = self.object(member, "Deployment", "web-canary")?.is_none()
                    && self.object(member, "Service", "web-canary")?.is_none()
                    && member
                        .list("bellwether.dev/v1alpha1", "RolloutTrack", &self.name)?
                        .is_empty();
                Ok(none.then_some(()))
            },
        )?;
        for written in shop.manifests() {
            let kind = written["kind"].as_str().context("kind")?;
            let name = written["metadata"]["name"].as_str().context("name")?;
            let live = self
                .object(member, kind, name)?
                .with_context(|| format!("{kind} {name}"))?;
            self.assert_equals_fresh(member, &written, &live)?;
        }
        Ok(())
    }

    /// Applies `written` to a namespace of its own and compares what the API server made of it.
    pub fn assert_equals_fresh(
        &self,
        member: &Member,
        written: &Value,
        live: &Value,
    ) -> Result<()> {
        let fresh_namespace = format!("{}-fresh", self.name);
        member.create_namespace(&fresh_namespace)?;
        let mut copy = written.clone();
        copy["metadata"]["namespace"] = fresh_namespace.clone().into();
        let text = |pointer: &str| {
            let found = written.pointer(pointer).and_then(Value::as_str);
            found.with_context(|| format!("no {pointer}: {written}"))
        };
        let (api_version, kind) = (text("/apiVersion")?, text("/kind")?);
        let name = text("/metadata/name")?;
        let runs_pods = matches!(kind, "Deployment" | "StatefulSet");
        if runs_pods {
            // The comparison is of what is written down; no pods are needed for it.
            copy["spec"]["replicas"] = 0.into();
        }
        // A second route of the host, to a Service that is not there, would take its requests. Kinds of
        // routes have groups of their own, workloads and Services have none.
        let fresh = if api_version.contains('.') {
            member.apply_dry(&copy)?
        } else {
            member.create(&copy)?;
            let fresh = member
                .get(api_version, kind, &fresh_namespace, name)?
                .context("it was just created")?;
            member.delete(api_version, kind, &fresh_namespace, name)?;
            fresh
        };
        let (mut fresh, live_plain) = (plain(&fresh), plain(live));
        if runs_pods {
            fresh["spec"]["replicas"] = written["spec"]["replicas"].clone();
        }
        ensure!(
            fresh == live_plain,
            "{kind} {name} is not what the user wrote:\nfresh {fresh}\nlive  {live_plain}"
        );
        let managers = live["metadata"]["managedFields"].to_string();
        ensure!(
            !managers.contains("bellwether-rollout"),
            "{kind} {name}: {managers}"
        );
        Ok(())
    }
}

/// Fails unless there are events of these reasons, whose messages have these parts, in this order; others may lie
/// between them.
pub fn are_told_in_order(events: &[Value], expected: &[(&str, &str)]) -> Result<()> {
    let mut rest = events.iter();
    for (reason, part) in expected {
        let found = rest.find(|one| {
            one["reason"] == *reason
                && one["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(part))
        });
        ensure!(
            found.is_some(),
            "no {reason} {part:?} in its place: {events:#?}"
        );
    }
    Ok(())
}

/// Returns the group and version of the kinds that tests use.
pub fn api_version(kind: &str) -> &'static str {
    match kind {
        "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet" => "apps/v1",
        "HTTPRoute" => "gateway.networking.k8s.io/v1",
        "Ingress" => "networking.k8s.io/v1",
        "HTTPProxy" => "projectcontour.io/v1",
        "IngressRoute" | "IngressRouteTCP" | "TraefikService" => "traefik.io/v1alpha1",
        "RolloutTrack" | "SyncRecord" => "bellwether.dev/v1alpha1",
        "HorizontalPodAutoscaler" => "autoscaling/v2",
        "ScaledObject" => "keda.sh/v1alpha1",
        "PodDisruptionBudget" => "policy/v1",
        _ => "v1",
    }
}

/// Cuts away what the API server allocates, and the Deployment controller's own annotation.
fn plain(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|key, _| matches!(key.as_str(), "name" | "labels" | "annotations"));
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.retain(|key, _| !key.starts_with("deployment.kubernetes.io/"));
        }
        if metadata
            .get("annotations")
            .is_some_and(|all| all.as_object().is_some_and(|m| m.is_empty()))
        {
            metadata.remove("annotations");
        }
    }
    // The one thing that a governed template has beside what its user wrote.
    if let Some(stamped) = object
        .pointer_mut("/spec/template/metadata")
        .and_then(Value::as_object_mut)
        && let Some(Value::Object(mut annotations)) = stamped.remove("annotations")
    {
        annotations.remove("bellwether.dev/config-digest");
        if !annotations.is_empty() {
            stamped.insert("annotations".to_owned(), annotations.into());
        }
    }
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    object
}
