use serde_json::{Map, Value, json};

use super::{Fields, Problems, Scene, Translated, analysis, label_of, put, service, text, traffic};
use crate::{API_VERSION, document::FieldPath};

/// What the parts of a Canary need to know of each other.
pub(super) struct Canary<'a> {
    pub scene: &'a Scene<'a>,
    /// The record's name.
    pub name: &'a str,
    /// Its namespace; empty = the release's.
    pub namespace: &'a str,
    /// The workload's name.
    pub target: &'a str,
    /// The Service that clients use: its own name, else the workload's.
    pub apex: &'a str,
    /// The name of its Ingress; absent = it names none.
    pub ingress: Option<&'a str>,
    /// The name of its route; absent = it names none.
    pub route: Option<&'a str>,
    /// Where Flagger asks for metrics; absent = where it is told to.
    pub metrics_server: Option<&'a str>,
    /// What splits traffic, without its version; absent = Flagger's own default.
    pub provider: Option<&'a str>,
}

/// Translates one Canary.
pub(super) fn translate(
    record: &Value,
    scene: &Scene<'_>,
    problems: &Problems,
    translated: &mut Translated,
) {
    let fields = Fields::of(problems, FieldPath::default(), Some(record));
    for known in ["apiVersion", "kind", "metadata", "status"] {
        fields.get(known);
    }
    let Some(spec) = fields.object("spec") else {
        fields.refuse("spec", "a Canary has one");
        return;
    };
    let target = target(&spec);
    let service = spec.object("service");
    let canary = Canary::read(record, scene, &spec, target.as_ref(), service.as_ref());
    let plan = plan(&canary, &spec, target, service, translated);
    spec.done();
    fields.done();
    translated.rollouts.push(json!({
        "apiVersion": API_VERSION,
        "kind": "Rollout",
        "metadata": {"name": label_of(canary.name)},
        "spec": plan,
    }));
}

impl<'a> Canary<'a> {
    fn read(
        record: &'a Value,
        scene: &'a Scene<'a>,
        spec: &Fields<'a>,
        target: Option<&(Value, &'a str)>,
        service: Option<&Fields<'a>>,
    ) -> Self {
        let target = target.map_or("", |(_, name)| *name);
        let named = service.and_then(|fields| fields.text("name"));
        Self {
            scene,
            name: text(record, "/metadata/name"),
            namespace: text(record, "/metadata/namespace"),
            target,
            apex: named.unwrap_or(target),
            ingress: reference(spec, "ingressRef"),
            route: reference(spec, "routeRef"),
            metrics_server: spec.text("metricsServer"),
            provider: spec
                .text("provider")
                .map(|provider| provider.split(':').next().unwrap_or_default()),
        }
    }
}

/// The spec of the Rollout; Services that it needs go into `translated`.
fn plan(
    canary: &Canary<'_>,
    spec: &Fields<'_>,
    target: Option<(Value, &str)>,
    service: Option<Fields<'_>>,
    translated: &mut Translated,
) -> Map<String, Value> {
    let mut plan = Map::new();
    if let Some((mut workload, _)) = target {
        if !canary.namespace.is_empty() {
            workload["namespace"] = json!(canary.namespace);
        }
        plan.insert("workload".to_owned(), workload);
    }
    match service {
        Some(fields) => {
            let apex = service::apex(canary, &fields);
            translated.services.extend(apex.made);
            plan.insert("service".to_owned(), apex.named);
            let split = traffic::split(canary, spec, &fields);
            put(&mut plan, "traffic", split.map(|one| json!([one])));
            fields.done();
        }
        None => spec.refuse("service", "name the Service's port"),
    }
    times(spec, &mut plan);
    analysis::translate(canary, spec, &mut plan);
    autoscaler(spec, &mut plan);
    plan
}

/// The workload, and its name.
fn target<'a>(spec: &Fields<'a>) -> Option<(Value, &'a str)> {
    let Some(fields) = spec.object("targetRef") else {
        spec.refuse("targetRef", "name the workload");
        return None;
    };
    let version = fields.text("apiVersion").unwrap_or("apps/v1");
    let kind = fields.text("kind").unwrap_or("Deployment");
    let name = fields.text("name").unwrap_or_default();
    if (version, kind) != ("apps/v1", "Deployment") {
        let message = format!(
            "a copy of a {kind} of {version} is not made; write a Rollout with strategy.batch, \
             which updates some kinds in place"
        );
        fields.refuse("kind", message);
    }
    if name.is_empty() {
        fields.refuse("name", "name the workload");
    }
    fields.done();
    let workload = json!({"apiVersion": version, "kind": kind, "name": name});
    Some((workload, name))
}

fn reference<'a>(spec: &Fields<'a>, key: &'static str) -> Option<&'a str> {
    let fields = spec.object(key)?;
    fields.get("apiVersion");
    fields.get("kind");
    let name = fields.text("name");
    if name.is_none() {
        fields.refuse("name", "it is empty");
    }
    fields.done();
    name
}

fn times(spec: &Fields<'_>, plan: &mut Map<String, Value>) {
    let deadline = spec.count("progressDeadlineSeconds");
    let deadline = deadline.map(|seconds| format!("{seconds}s"));
    put(plan, "progressDeadline", deadline);
    put(plan, "suspend", spec.flag("suspend").then_some(true));
    // Either way a run that is cut short goes back, and what a Rollout leaves is as it was written.
    spec.flag("revertOnDeletion");
}

fn autoscaler(spec: &Fields<'_>, plan: &mut Map<String, Value>) {
    let Some(fields) = spec.object("autoscalerRef") else {
        return;
    };
    fields.get("apiVersion");
    fields.without(
        &["primaryScalerQueries", "primaryScalerReplicas"],
        "no second autoscaler is made: the workload keeps its own",
    );
    let kind = fields.text("kind").unwrap_or("HorizontalPodAutoscaler");
    let name = fields.text("name").unwrap_or_default();
    let autoscaler = json!({"autoscaler": {"kind": kind, "name": name}});
    plan.insert("instances".to_owned(), autoscaler);
    fields.done();
}
