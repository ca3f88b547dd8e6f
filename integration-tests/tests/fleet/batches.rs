//! Updates in place: a StatefulSet whose pods change some at a time.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    status::{FailureReason, Phase, ReadyCount},
    view::RunPhase,
};
use bellwether_integration_tests::{cluster::Member, fixture::cluster_view, wait::until};
use serde_json::{Value, json};

use crate::{
    Case,
    autoscaling::{autoscaler_of, set_minimum},
    scene::{RUN_LIMIT, Scene},
};

pub const CASES: &[Case] = &[
    ("sc_r1_batches_by_count_in_place", "batches", by_count),
    ("sc_r4_bad_image_in_place_goes_back", "badbatch", bad_image),
    (
        "autoscaled_stateful_set_is_updated_by_shares_of_what_there_is",
        "scaledbatch",
        autoscaled,
    ),
];

/// What varies between the applications of these tests.
#[derive(Clone)]
struct Set {
    name: String,
    version: &'static str,
    replicas: u32,
    steps: &'static str,
    deadline: &'static str,
}

impl Set {
    fn version(&self, version: &'static str) -> Self {
        Self {
            version,
            ..self.clone()
        }
    }

    fn manifest(&self) -> Value {
        let labels = json!({"app": "web"});
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "web", "namespace": self.name, "labels": labels},
            "spec": {
                "replicas": self.replicas,
                "serviceName": "web",
                "selector": {"matchLabels": labels},
                "updateStrategy": {"type": "RollingUpdate"},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                        "name": "web",
                        "image": format!("bellwether.local/demo:{}", self.version),
                        "imagePullPolicy": "Never",
                        "ports": [{"name": "http", "containerPort": 8080}],
                        "readinessProbe":
                            {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 5},
                    }]},
                },
            },
        })
    }

    fn documents(&self) -> String {
        let Self {
            name,
            steps,
            deadline,
            ..
        } = self;
        format!(
            "apiVersion: bellwether.dev/v1alpha1\nkind: Application\n\
             metadata: {{name: {name}, namespace: default}}\nspec:\n  \
             destination: {{clusters: [c1]}}\n  targetNamespace: {name}\n  components:\n  \
             - name: web\n    manifests:\n    - {manifest}\n\
             ---\napiVersion: bellwether.dev/v1alpha1\nkind: Rollout\n\
             metadata: {{name: {name}-web, namespace: default}}\nspec:\n  application: {name}\n  \
             workload: {{apiVersion: apps/v1, kind: StatefulSet, namespace: {name}, name: web}}\n  \
             strategy: {{batch: {{steps: {steps}}}}}\n  progressDeadline: {deadline}\n  \
             analysis: {{interval: 1s}}\n",
            manifest = self.manifest(),
        )
    }
}

/// The image's tag and the UID of every pod, by name.
pub fn pods(scene: &Scene, member: &Member) -> Result<BTreeMap<String, (String, String)>> {
    let mut found = BTreeMap::new();
    for pod in member.pods(&scene.name, "app=web")? {
        let image = pod
            .spec
            .and_then(|spec| spec.containers.into_iter().next()?.image)
            .context("pods have images")?;
        let tag = image.rsplit(':').next().unwrap_or_default().to_owned();
        let (name, uid) = (pod.metadata.name, pod.metadata.uid);
        found.insert(name.context("a name")?, (tag, uid.context("a UID")?));
    }
    Ok(found)
}

/// Fails unless exactly the pods from ordinal `first_new` on are of `tag`, and all before are those
/// that stood there `before`.
pub fn only_from(
    now: &BTreeMap<String, (String, String)>,
    before: &BTreeMap<String, (String, String)>,
    first_new: u32,
    tag: &str,
) -> Result<()> {
    ensure!(now.len() == before.len(), "pods came or went: {now:?}");
    for (number, name) in (0..)
        .map(|number| (number, format!("web-{number}")))
        .take(now.len())
    {
        let pod = now
            .get(&name)
            .with_context(|| format!("{name} in {now:?}"))?;
        if number < first_new {
            ensure!(
                before.get(&name) == Some(pod),
                "{name} was touched: {pod:?}"
            );
        } else {
            ensure!(pod.0 == tag, "{name} runs {}, not {tag}", pod.0);
        }
    }
    Ok(())
}

/// Waits until step `step` waits for a human with `new` of `total` pods new and ready.
pub fn waits_at(scene: &Scene, step: u32, new: u32, total: u32) -> Result<()> {
    let ready = |pods: u32| ReadyCount {
        ready: pods,
        desired: pods,
    };
    let what = format!("step {step} to wait with {new} of {total} pods new");
    scene.wait_run(&scene.name, 2, RUN_LIMIT, &what, |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            cluster.tracks.iter().any(|track| {
                track.step == Some(step)
                    && matches!(track.phase, Phase::Paused | Phase::WaitingPromotion)
                    && track.canary == ready(new)
                    && track.stable == ready(total - new)
            })
        })
    })?;
    Ok(())
}

/// Waits until the run's track is gone, and fails when the StatefulSet differs from what the user
/// wrote.
fn is_as_written(scene: &Scene, member: &Member, set: &Set) -> Result<()> {
    until(
        Duration::from_secs(60),
        "the run's track to be gone",
        || {
            let tracks = member.list("bellwether.dev/v1alpha1", "RolloutTrack", &scene.name)?;
            Ok(tracks.is_empty().then_some(()))
        },
    )?;
    let live = scene
        .object(member, "StatefulSet", "web")?
        .context("the StatefulSet")?;
    scene.assert_equals_fresh(member, &set.manifest(), &live)
}

fn by_count(scene: &Scene) -> Result<()> {
    let set = Set {
        name: scene.name.clone(),
        version: "v1",
        replicas: 10,
        steps: "[{replicas: 4}, {replicas: 60%}, {replicas: 100%}]",
        deadline: "120s",
    };
    scene.cli.apply(&set.documents())?;
    scene.ended(1, RunPhase::Succeeded)?;
    let member = scene.member(0)?;
    let before = pods(scene, &member)?;
    ensure!(before.len() == 10, "ten pods: {before:?}");

    let next = set.version("v2");
    scene.cli.apply(&next.documents())?;
    waits_at(scene, 0, 4, 10)?;
    only_from(&pods(scene, &member)?, &before, 6, "v2")?;
    let shown = scene.cli.run(&["get", "rollout", &scene.name])?;
    ensure!(shown.contains("4/4"), "new pods are not shown: {shown}");
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    waits_at(scene, 1, 6, 10)?;
    only_from(&pods(scene, &member)?, &before, 4, "v2")?;
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "enough"])?;
    scene.ended(2, RunPhase::Aborted)?;
    only_from(&pods(scene, &member)?, &before, 4, "v1")?;
    is_as_written(scene, &member, &set)?;

    let before = pods(scene, &member)?;
    scene.cli.run(&["rollout", "retry", &scene.name])?;
    for (step, new) in [(0, 4), (1, 6), (2, 10)] {
        waits_at(scene, step, new, 10)?;
        only_from(&pods(scene, &member)?, &before, 10 - new, "v2")?;
        scene.cli.run(&["rollout", "approve", &scene.name])?;
    }
    scene.ended(2, RunPhase::Succeeded)?;
    only_from(&pods(scene, &member)?, &before, 0, "v2")?;
    is_as_written(scene, &member, &next)
}

fn autoscaled(scene: &Scene) -> Result<()> {
    let set = Set {
        name: scene.name.clone(),
        version: "v1",
        replicas: 2,
        steps: "[{replicas: 50%}, {replicas: 100%}]",
        deadline: "120s",
    };
    scene.cli.apply(&set.documents())?;
    scene.ended(1, RunPhase::Succeeded)?;
    let member = scene.member(0)?;
    member.create(&autoscaler_of(scene, "StatefulSet", 4, 6))?;
    until(RUN_LIMIT, "four pods", || {
        let live = scene.object(&member, "StatefulSet", "web")?;
        let live = live.context("the StatefulSet")?;
        Ok((live["status"]["availableReplicas"] == 4).then_some(()))
    })?;
    let next = set.version("v2");
    scene.cli.apply(&next.documents())?;
    waits_at(scene, 0, 2, 4)?;
    let before = pods(scene, &member)?;
    set_minimum(scene, &member, 6)?;
    let what = "half of six pods to be new, or those too that came before the partition rose";
    scene.wait_run(&scene.name, 2, RUN_LIMIT, what, |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            cluster.tracks.iter().any(|track| {
                let (new, old) = (track.canary, track.stable);
                new.ready == new.desired && new.ready >= 3 && new.ready + old.ready == 6
            })
        })
    })?;
    let now = pods(scene, &member)?;
    for (name, pod) in &before {
        ensure!(now.get(name) == Some(pod), "{name} was touched: {now:?}");
    }
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    waits_at(scene, 1, 6, 6)?;
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    scene.ended(2, RunPhase::Succeeded)?;
    let sized = Set {
        replicas: 6,
        ..next
    };
    is_as_written(scene, &member, &sized)
}

/// The controller waits for the broken pod for ever; going back takes it away.
fn bad_image(scene: &Scene) -> Result<()> {
    let set = Set {
        name: scene.name.clone(),
        version: "v1",
        replicas: 3,
        steps: "[{replicas: 2}, {replicas: 100%}]",
        deadline: "12s",
    };
    scene.cli.apply(&set.documents())?;
    scene.ended(1, RunPhase::Succeeded)?;
    let member = scene.member(0)?;
    let before = pods(scene, &member)?;
    scene
        .cli
        .apply(&set.version("does-not-exist").documents())?;
    let view = scene.ended(2, RunPhase::Failed)?;
    let track = cluster_view(&view, "c1")?
        .tracks
        .first()
        .context("a track")?;
    ensure!(
        track.failure == Some(FailureReason::DeadlineExceeded)
            && track.message.contains("ErrImageNeverPull"),
        "{:?}: {}",
        track.failure,
        track.message
    );
    only_from(&pods(scene, &member)?, &before, 2, "v1")?;
    is_as_written(scene, &member, &set)
}
