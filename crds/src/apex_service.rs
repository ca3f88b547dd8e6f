//! What a rollout says of the Service that clients use, beside its name: where its port leads, and what the
//! run's own Service beside it carries.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rollout::{PortRef, ServiceRef};

/// What a Service that a run makes carries beside Bellwether's own labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceMetadata {
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a rollout says of its Service's port and the Service says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misled {
    /// The field below `service`.
    pub field: &'static str,
    /// What the Service says, in one sentence.
    pub message: String,
}

impl ServiceRef {
    /// Tells whether an entry of a Service's ports is the one that is named.
    #[must_use]
    pub fn is_port(&self, entry: &Value) -> bool {
        match &self.port {
            PortRef::Number(number) => {
                entry.get("port").and_then(Value::as_u64) == Some(u64::from(*number))
            }
            PortRef::Name(name) => entry.get("name").and_then(Value::as_str) == Some(name),
        }
    }

    /// Returns where the Service's port leads elsewhere than is said here, or says another protocol; absent =
    /// nothing is said, the port is not there, or they agree. Names of ports are looked up in the workload's
    /// containers.
    #[must_use]
    pub fn misled_by(&self, service: &Value, workload: Option<&Value>) -> Option<Misled> {
        let ports = service.pointer("/spec/ports").and_then(Value::as_array)?;
        let port = ports.iter().find(|port| self.is_port(port))?;
        self.other_target(port, workload)
            .map(|target| {
                let (own, wanted) = (&self.port, self.target_port.as_ref());
                let wanted = wanted.map_or_else(String::new, ToString::to_string);
                let message = format!(
                    "port {own} of Service {} leads to {target} of its pods, not to {wanted}; change the \
                     Service, or leave it out here",
                    self.name
                );
                Misled {
                    field: "targetPort",
                    message,
                }
            })
            .or_else(|| self.other_protocol(port))
    }

    fn other_target(&self, port: &Value, workload: Option<&Value>) -> Option<PortRef> {
        let wanted = self.target_port.as_ref()?;
        let written = match port.get("targetPort") {
            Some(Value::String(name)) => PortRef::Name(name.clone()),
            Some(Value::Number(number)) => PortRef::Number(small(number.as_u64()?)?),
            _ => PortRef::Number(small(port.get("port")?.as_u64()?)?),
        };
        let resolved = |port: &PortRef| match port {
            PortRef::Name(name) => container_port(workload?, name).map(PortRef::Number),
            PortRef::Number(_) => None,
        };
        let same = resolved(&written).as_ref().unwrap_or(&written)
            == resolved(wanted).as_ref().unwrap_or(wanted);
        (!same).then_some(written)
    }

    fn other_protocol(&self, port: &Value) -> Option<Misled> {
        let wanted = self.app_protocol.as_ref()?;
        let written = port.get("appProtocol").and_then(Value::as_str);
        if written == Some(wanted) {
            return None;
        }
        let says = written.map_or_else(
            || "no appProtocol".to_owned(),
            |written| format!("appProtocol {written:?}"),
        );
        let message = format!(
            "port {} of Service {} has {says}, not {wanted:?}; change the Service, or leave it out here",
            self.port, self.name
        );
        Some(Misled {
            field: "appProtocol",
            message,
        })
    }
}

fn small(number: u64) -> Option<u16> {
    u16::try_from(number).ok()
}

/// The number of the port that a container of the workload's template has under this name.
fn container_port(workload: &Value, name: &str) -> Option<u16> {
    let containers = workload.pointer("/spec/template/spec/containers");
    let containers = containers.and_then(Value::as_array).into_iter().flatten();
    let mut ports = containers.flat_map(|one| one["ports"].as_array().into_iter().flatten());
    let found = ports.find(|port| port.get("name").and_then(Value::as_str) == Some(name))?;
    small(found.get("containerPort")?.as_u64()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(fields: Value) -> ServiceRef {
        let mut service = json!({"name": "web", "port": 80});
        for (key, value) in fields.as_object().expect("fields") {
            service[key] = value.clone();
        }
        serde_json::from_value(service).expect("a reference")
    }

    fn workload() -> Value {
        json!({"spec": {"template": {"spec": {"containers": [
            {"name": "proxy"}, {"name": "web", "ports": [{"name": "http", "containerPort": 8080}]},
        ]}}}})
    }

    #[test]
    fn a_port_leads_where_its_number_or_its_name_says() {
        for (port, wanted, leads) in [
            (json!({"targetPort": 8080}), json!(8080), None),
            (json!({"targetPort": "http"}), json!(8080), None),
            (json!({"targetPort": 8080}), json!("http"), None),
            (json!({"targetPort": "http"}), json!("http"), None),
            (json!({}), json!(80), None),
            (json!({"targetPort": "other"}), json!("other"), None),
            (
                json!({"targetPort": 8080}),
                json!(9090),
                Some("leads to 8080 of its pods, not to 9090"),
            ),
            (
                json!({"targetPort": "http"}),
                json!(80),
                Some("leads to \"http\" of its pods, not to 80"),
            ),
            (
                json!({}),
                json!("http"),
                Some("leads to 80 of its pods, not to \"http\""),
            ),
            (
                json!({"targetPort": "http"}),
                json!("admin"),
                Some("not to \"admin\""),
            ),
        ] {
            let mut written = port.clone();
            written["port"] = json!(80);
            let service = json!({"spec": {"ports": [{"port": 81, "targetPort": 1}, written]}});
            let found = named(json!({"targetPort": wanted})).misled_by(&service, Some(&workload()));
            match (found, leads) {
                (None, None) => {}
                (Some(found), Some(leads)) => {
                    assert_eq!(found.field, "targetPort");
                    assert!(found.message.contains(leads), "{}", found.message);
                }
                (found, leads) => panic!("{port} {wanted}: {found:?}, expected {leads:?}"),
            }
        }
    }

    #[test]
    fn a_protocol_is_the_ports_own() {
        let h2c = named(json!({"appProtocol": "kubernetes.io/h2c"}));
        let service =
            |protocol: Value| json!({"spec": {"ports": [{"port": 80, "appProtocol": protocol}]}});
        let told = |service: &Value| h2c.misled_by(service, None).map(|one| one.message);
        assert_eq!(told(&service(json!("kubernetes.io/h2c"))), None);
        let other = told(&service(json!("http"))).expect("another");
        assert!(
            other.contains("has appProtocol \"http\", not \"kubernetes.io/h2c\""),
            "{other}"
        );
        let none = told(&json!({"spec": {"ports": [{"port": 80}]}})).expect("none");
        assert!(none.contains("has no appProtocol"), "{none}");
        assert_eq!(
            named(json!({})).misled_by(&service(json!("http")), None),
            None
        );
    }
}
