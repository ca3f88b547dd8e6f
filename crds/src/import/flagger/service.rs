use serde_json::{Map, Value, json};

use super::{Fields, canary::Canary, put, text};

/// Containers whose ports are none of the application's.
const SIDECARS: [&str; 3] = ["istio-proxy", "envoy", "linkerd-proxy"];

/// The Service that clients use.
pub(super) struct Apex {
    /// As a Rollout names it.
    pub named: Value,
    /// The object that Flagger would make; absent = somebody wrote it.
    pub made: Option<Value>,
}

/// Reads which Service clients use, and makes the one that nobody wrote.
pub(super) fn apex(canary: &Canary<'_>, fields: &Fields<'_>) -> Apex {
    let port = fields.count("port");
    if port.is_none() {
        fields.refuse("port", "name the Service's port by its number");
    }
    let port = port.unwrap_or_default();
    let wanted = Wanted {
        port,
        target: fields.port("targetPort").unwrap_or_else(|| json!(port)),
        name: fields.text("portName"),
        protocol: fields.text("appProtocol"),
        discovers: fields.flag("portDiscovery"),
    };
    fields.without(
        &["primary"],
        "no Service is made for the stable version: the apex leads to it",
    );
    fields.without(&["headless"], "a Service without an address is not split");
    let workload = canary
        .scene
        .find("apps", "Deployment", canary.namespace, canary.target);
    let written = canary
        .scene
        .find("", "Service", canary.namespace, canary.apex);
    let made = match (written, workload) {
        (Some(service), _) => {
            fields.without(
                &["apex"],
                "the Service is written already: write its labels and annotations there",
            );
            wanted.differs(service, workload, fields);
            None
        }
        (None, Some(workload)) => Some(wanted.made(canary, fields, workload)),
        (None, None) => {
            fields.without(
                &["apex"],
                "there is no workload whose Service could be made",
            );
            let message = format!(
                "neither Service {} nor Deployment {} is rendered beside the Canary",
                canary.apex, canary.target
            );
            fields.refuse_all(message);
            None
        }
    };
    let mut named = Map::new();
    named.insert("name".to_owned(), json!(canary.apex));
    named.insert("port".to_owned(), json!(port));
    if let Some(words) = fields.object("canary") {
        let mut own = Map::new();
        for key in ["labels", "annotations"] {
            let texts = words.text_map(key);
            put(&mut own, key, (!texts.is_empty()).then_some(texts));
        }
        words.done();
        put(&mut named, "canary", (!own.is_empty()).then_some(own));
    }
    Apex {
        named: Value::Object(named),
        made,
    }
}

/// What the Canary says of the Service's port.
struct Wanted<'a> {
    port: u64,
    target: Value,
    name: Option<&'a str>,
    protocol: Option<&'a str>,
    discovers: bool,
}

impl Wanted<'_> {
    /// Refuses what Flagger would change in a Service that is written.
    fn differs(&self, service: &Value, workload: Option<&Value>, fields: &Fields<'_>) {
        let ports = service.pointer("/spec/ports").and_then(Value::as_array);
        let own = ports
            .into_iter()
            .flatten()
            .find(|one| one["port"].as_u64() == Some(self.port));
        let Some(own) = own else {
            let message = format!(
                "Service {} has no such port",
                text(service, "/metadata/name")
            );
            fields.refuse("port", message);
            return;
        };
        let target = own.get("targetPort").filter(|value| !value.is_null());
        let target = target.cloned().unwrap_or_else(|| json!(self.port));
        if number(&target, workload) != number(&self.target, workload) {
            let message = format!(
                "Service {} leads to port {target}, and is left as it is written",
                text(service, "/metadata/name")
            );
            fields.refuse("targetPort", message);
        }
        for (key, wanted, field) in [
            ("portName", self.name, "name"),
            ("appProtocol", self.protocol, "appProtocol"),
        ] {
            let written = own.get(field).and_then(Value::as_str);
            if wanted.is_some() && wanted != written {
                let message = format!(
                    "the Service's port has {field} {:?}, and is left as it is written",
                    written.unwrap_or_default()
                );
                fields.refuse(key, message);
            }
        }
    }

    fn made(&self, canary: &Canary<'_>, fields: &Fields<'_>, workload: &Value) -> Value {
        let mut metadata = Map::new();
        metadata.insert("name".to_owned(), json!(canary.apex));
        if !canary.namespace.is_empty() {
            metadata.insert("namespace".to_owned(), json!(canary.namespace));
        }
        if let Some(apex) = fields.object("apex") {
            for key in ["labels", "annotations"] {
                let texts = apex.text_map(key);
                put(&mut metadata, key, (!texts.is_empty()).then_some(texts));
            }
            apex.done();
        }
        let mut main = Map::new();
        main.insert("name".to_owned(), json!(self.name.unwrap_or("http")));
        main.insert("port".to_owned(), json!(self.port));
        main.insert("targetPort".to_owned(), self.target.clone());
        main.insert("protocol".to_owned(), json!("TCP"));
        put(&mut main, "appProtocol", self.protocol);
        let mut ports = vec![Value::Object(main)];
        if self.discovers {
            ports.extend(self.others(workload));
        }
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {
                "type": "ClusterIP",
                "selector": workload.pointer("/spec/selector/matchLabels"),
                "ports": ports,
            },
        })
    }

    /// The ports of the workload's containers beside the one that is named.
    fn others(&self, workload: &Value) -> Vec<Value> {
        let mut ports = Vec::new();
        for container in containers(Some(workload)) {
            let name = text(container, "/name");
            if SIDECARS.contains(&name) {
                continue;
            }
            let own = container["ports"].as_array();
            for (index, port) in own.into_iter().flatten().enumerate() {
                let Some(number) = port["containerPort"].as_u64() else {
                    continue;
                };
                let port_name = text(port, "/name");
                let is_main = self.port == number
                    || self.target == json!(number)
                    || self.target == json!(port_name);
                if is_main {
                    continue;
                }
                let called = match port_name {
                    "" => format!("tcp-{name}-{index}"),
                    named => named.to_owned(),
                };
                ports.push(json!({
                    "name": called, "port": number, "targetPort": number, "protocol": "TCP",
                }));
            }
        }
        ports
    }
}

fn containers(workload: Option<&Value>) -> impl Iterator<Item = &Value> {
    let containers = workload.and_then(|one| one.pointer("/spec/template/spec/containers"));
    containers.and_then(Value::as_array).into_iter().flatten()
}

/// The number of a port, which the workload knows by its name.
fn number(port: &Value, workload: Option<&Value>) -> Value {
    let Some(name) = port.as_str() else {
        return port.clone();
    };
    if let Ok(number) = name.parse::<u64>() {
        return json!(number);
    }
    let ports = containers(workload).flat_map(|one| one["ports"].as_array().into_iter().flatten());
    let mut found = ports.filter(|one| text(one, "/name") == name);
    let number = found.next().map(|one| one["containerPort"].clone());
    number.unwrap_or_else(|| port.clone())
}
