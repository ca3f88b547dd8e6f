use serde_json::{Map, Value, json};

use super::{
    Fields, GROUP, Problems, Scene, label_of, put,
    routes::Routes,
    steps::{self, Manner},
    text,
    workload::Workload,
};
use crate::{API_VERSION, document::FieldPath, number::IntOrPercent};

/// Translates one record; `None` = it is switched off, or everything about it is in `problems`.
pub(super) fn translate(record: &Value, scene: &Scene<'_>, problems: &Problems) -> Option<Value> {
    let fields = Fields::of(problems, FieldPath::default(), Some(record));
    for known in ["apiVersion", "kind", "metadata", "status"] {
        fields.get(known);
    }
    let version = text(record, "/apiVersion");
    let version = version.split_once('/').map_or("", |(_, version)| version);
    if !["v1alpha1", "v1beta1"].contains(&version) {
        fields.refuse("apiVersion", "v1alpha1 and v1beta1 are read");
        return None;
    }
    let is_alpha = version == "v1alpha1";
    let partition = annotations(record, problems, is_alpha);
    let Some(spec) = fields.object("spec") else {
        fields.refuse("spec", "a Rollout has one");
        return None;
    };
    fields.done();
    if spec.flag("disabled") {
        let plainly = "nothing governs the workload, which takes every version plainly";
        spec.note("disabled", plainly);
        return None;
    }
    let reader = Reader {
        scene,
        namespace: text(record, "/metadata/namespace"),
        is_alpha,
        partition,
    };
    let plan = reader.plan(&spec);
    spec.done();
    Some(json!({
        "apiVersion": API_VERSION,
        "kind": "Rollout",
        "metadata": {"name": label_of(text(record, "/metadata/name"))},
        "spec": plan?,
    }))
}

/// Reads the annotations that steer Kruise; returns whether one says that a Deployment's own pods
/// change.
fn annotations(record: &Value, problems: &Problems, is_alpha: bool) -> bool {
    let all = record.pointer("/metadata/annotations");
    let mut partition = false;
    for (name, value) in all.and_then(Value::as_object).into_iter().flatten() {
        let Some(own) = name.strip_prefix(&format!("{GROUP}/")) else {
            continue;
        };
        let path = FieldPath::default().key("metadata").key("annotations");
        let path = path.key(name).to_string();
        let value = value.as_str().unwrap_or_default();
        match own {
            "rolling-style" if is_alpha && value.eq_ignore_ascii_case("partition") => {
                partition = true;
            }
            "rolling-style" if is_alpha && value.eq_ignore_ascii_case("canary") => {}
            "rolling-style" if !is_alpha => {
                problems.note(path, "v1beta1 says it by enableExtraWorkloadForCanary");
            }
            "rollback-in-batch" => {
                problems.note(
                    path,
                    "a version of before goes through the steps like any other",
                );
            }
            _ => problems.add(path, "it has no counterpart"),
        }
    }
    partition
}

/// What the parts of a record need to know of each other.
struct Reader<'a> {
    scene: &'a Scene<'a>,
    /// The record's namespace; empty = the release's.
    namespace: &'a str,
    is_alpha: bool,
    /// Whether an annotation says that a Deployment's own pods change.
    partition: bool,
}

impl Reader<'_> {
    /// The spec of the Rollout; `None` = what is wrong was said.
    fn plan(&self, spec: &Fields<'_>) -> Option<Map<String, Value>> {
        let workload = Workload::read(spec, self.is_alpha);
        let Some(strategy) = spec.object("strategy") else {
            spec.refuse("strategy", "say how the new version is brought in");
            return None;
        };
        let paused = strategy.flag("paused");
        let way = self.way(&strategy);
        strategy.done();
        let ((fields, is_blue_green), workload) = (way?, workload?);
        let mut plan = Map::new();
        plan.insert("workload".to_owned(), workload.reference(self.namespace));
        put(&mut plan, "suspend", paused.then_some(true));
        self.brought_in(&fields, &workload, is_blue_green, &mut plan);
        fields.done();
        // Whatever goes wrong, Kruise stays where it is and waits for a human.
        plan.insert("analysis".to_owned(), json!({"onFailure": "Pause"}));
        Some(plan)
    }

    /// The fields of the strategy that is set, and whether it is blueGreen.
    fn way<'f>(&self, strategy: &Fields<'f>) -> Option<(Fields<'f>, bool)> {
        if self.is_alpha && strategy.text("type").is_some_and(|kind| kind != "canary") {
            strategy.refuse("type", "v1alpha1 knows canary alone");
        }
        match (strategy.object("canary"), strategy.object("blueGreen")) {
            (Some(fields), None) => Some((fields, false)),
            (None, Some(fields)) => Some((fields, true)),
            (None, None) => {
                strategy.refuse("canary", "say how the new version is brought in");
                None
            }
            (Some(_), Some(_)) => {
                strategy.refuse("blueGreen", "canary says it already; leave one");
                None
            }
        }
    }

    fn brought_in(
        &self,
        fields: &Fields<'_>,
        workload: &Workload<'_>,
        is_blue_green: bool,
        plan: &mut Map<String, Value>,
    ) {
        let in_place = !workload.is_deployment();
        self.copied(fields, workload, is_blue_green);
        without_counterpart(fields);
        let routed = fields.is_set("trafficRoutings");
        let routes = Routes::read(fields, self.scene, self.namespace);
        if !routed && !in_place {
            fields.refuse(
                "trafficRoutings",
                "without a route requests go by pods: name one, or write a Rollout with `traffic: \
                 [{none: {}}]` and its Service",
            );
        }
        let manner = Manner {
            in_place,
            ends_by_hand: is_blue_green,
            routed,
            by_nginx: routes.as_ref().is_some_and(|routes| routes.by_nginx),
            is_alpha: self.is_alpha,
        };
        let steps = steps::translate(fields, manner);
        let says = |step: &Value| step.get("weight").is_some() || step.get("match").is_some();
        if let Some(routes) = routes {
            if steps.iter().any(says) {
                routes.into_plan(plan);
            } else {
                fields.note("trafficRoutings", "no step says where requests go: by pods");
            }
        }
        let strategy = if in_place { "batch" } else { "canary" };
        plan.insert("strategy".to_owned(), json!({strategy: {"steps": steps}}));
        if let Some(share) = ready_threshold(fields, in_place) {
            plan.insert("instances".to_owned(), json!({"readyThreshold": share}));
        }
    }

    /// Reads whether a copy is made, which is a matter of the kind here.
    fn copied(&self, fields: &Fields<'_>, workload: &Workload<'_>, is_blue_green: bool) {
        if is_blue_green {
            if !workload.is_deployment() {
                let message = format!(
                    "no copy of a {} is made: write canary, by which it is updated in place",
                    workload.kind
                );
                fields.refuse_all(message);
            }
            return;
        }
        let copied = if self.is_alpha {
            !self.partition
        } else {
            fields.flag("enableExtraWorkloadForCanary")
        };
        if workload.is_deployment() && !copied {
            fields.note(
                "enableExtraWorkloadForCanary",
                "a Deployment holds no pods back: a copy beside it runs the new version, and its own \
                 pods stay until the promotion",
            );
        }
    }
}

/// Refuses what a plan of ours does not say.
fn without_counterpart(fields: &Fields<'_>) {
    fields.without(
        &["trafficRoutingRef"],
        "objects of Kruise are not read: write trafficRoutings",
    );
    fields.without(
        &["patchPodTemplateMetadata"],
        "pods of the new version carry what their template says",
    );
    fields.without(
        &["disableGenerateCanaryService"],
        "requests are split between two Services, of which the run makes one",
    );
}

/// Reads how many new pods may be broken, as the share that must be ready.
fn ready_threshold(fields: &Fields<'_>, in_place: bool) -> Option<IntOrPercent> {
    match fields.pods("failureThreshold")? {
        IntOrPercent::Int(0) | IntOrPercent::Percent(0) => None,
        IntOrPercent::Percent(share @ 1..100) if in_place => {
            Some(IntOrPercent::Percent(100 - share))
        }
        _ if in_place => {
            fields.refuse("failureThreshold", "say it as a share below 100%");
            None
        }
        _ => {
            let message = "a copy counts once all of its pods are ready";
            fields.refuse("failureThreshold", message);
            None
        }
    }
}
