use serde_json::{Map, Value, json};

use super::{Fields, Scene, put};

/// What splits requests.
pub(super) struct Routes {
    /// The Service that clients use, as a Rollout names it.
    service: Value,
    traffic: Value,
    drain: Option<String>,
    /// Whether an Ingress of ingress-nginx does, whose matches say more than they seem to.
    pub by_nginx: bool,
}

impl Routes {
    /// Reads what splits requests; `None` = nothing does, or it was refused.
    pub fn read(strategy: &Fields<'_>, scene: &Scene<'_>, namespace: &str) -> Option<Self> {
        let listed = strategy.items("trafficRoutings");
        if listed.len() > 1 {
            strategy.refuse("trafficRoutings", "one is read there as here");
        }
        let fields = listed.into_iter().next()?;
        let service = service(&fields, scene, namespace);
        let (ingress, gateway) = (ingress(&fields), gateway(&fields));
        fields.without(
            &["customNetworkRefs", "additionalParams"],
            "scripts of Kruise are not run here: write a Rollout whose traffic names the route",
        );
        let seconds = fields.count("gracePeriodSeconds");
        if !fields.is_set("ingress") && !fields.is_set("gateway") {
            fields.refuse("ingress", "name the Ingress or the HTTPRoute that is split");
        }
        fields.done();
        let by_nginx = ingress
            .as_ref()
            .is_some_and(|one| one.get("nginx").is_some());
        let traffic: Vec<Value> = ingress.into_iter().chain(gateway).collect();
        Some(Self {
            service: service?,
            traffic: json!(traffic),
            drain: seconds.map(|seconds| format!("{seconds}s")),
            by_nginx,
        })
    }

    /// Writes them into the plan.
    pub fn into_plan(self, plan: &mut Map<String, Value>) {
        plan.insert("service".to_owned(), self.service);
        plan.insert("traffic".to_owned(), self.traffic);
        put(plan, "drain", self.drain);
    }
}

/// The Service, whose port the record does not say.
fn service(fields: &Fields<'_>, scene: &Scene<'_>, namespace: &str) -> Option<Value> {
    let Some(name) = fields.text("service") else {
        fields.refuse("service", "name the Service that clients use");
        return None;
    };
    let Some(object) = scene.find("", "Service", namespace, name) else {
        let message = format!("Service {name} is not rendered beside the Rollout");
        fields.refuse("service", message);
        return None;
    };
    let ports = object.pointer("/spec/ports").and_then(Value::as_array);
    let ports = ports.map_or(&[][..], Vec::as_slice);
    let [port] = ports else {
        let message = format!(
            "Service {name} has {} ports, and a Rollout of Kruise does not say which of them the \
             route leads to: write a Rollout",
            ports.len()
        );
        fields.refuse("service", message);
        return None;
    };
    Some(json!({"name": name, "port": port["port"]}))
}

fn ingress(fields: &Fields<'_>) -> Option<Value> {
    // Its first version says beside the Ingress what later ones say in it.
    let beside = fields.text("type");
    let ingress = fields.object("ingress")?;
    let class = ingress.text("classType").or(beside).unwrap_or("nginx");
    let name = ingress.text("name");
    if name.is_none() {
        ingress.refuse("name", "name the Ingress that is split");
    }
    let provider = match class {
        "nginx" => Some("nginx"),
        "aws-alb" => Some("alb"),
        other => {
            let message = format!(
                "{other:?} has no counterpart; there are nginx and aws-alb, and what a Rollout's \
                 traffic names"
            );
            ingress.refuse("classType", message);
            None
        }
    };
    ingress.done();
    let (provider, name) = (provider?, name?);
    Some(json!({provider: {"ingress": name}}))
}

fn gateway(fields: &Fields<'_>) -> Option<Value> {
    let gateway = fields.object("gateway")?;
    let name = gateway.text("httpRouteName");
    if name.is_none() {
        gateway.refuse("httpRouteName", "name the HTTPRoute that is split");
    }
    gateway.done();
    let name = name?;
    Some(json!({"gatewayApi": {"httpRoutes": [name]}}))
}
