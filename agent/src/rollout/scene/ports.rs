//! The ports of a run's apex Service.

use bellwether_api::{bundle::BundleRollout, rollout::PortRef};
use serde_json::Value;

use super::{Live, Scene};

/// The ports of the apex Service that the plan names; absent = they cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The Service's own, by number.
    pub service: Option<u16>,
    /// The container's behind it.
    pub container: Option<u16>,
}

impl Scene {
    /// The ports of the apex Service that the plan names.
    #[must_use]
    pub fn ports(&self, live: &Live, rollout: &BundleRollout) -> Ports {
        let none = Ports {
            service: None,
            container: None,
        };
        let (Some(target), Some(plan)) = (&self.service, &rollout.spec.service) else {
            return none;
        };
        let Some(service) = self.live_of(live, target) else {
            return none;
        };
        let port = service
            .pointer("/spec/ports")
            .and_then(Value::as_array)
            .and_then(|ports| {
                ports.iter().find(|port| match &plan.port {
                    PortRef::Number(number) => {
                        port.get("port").and_then(Value::as_u64) == Some(u64::from(*number))
                    }
                    PortRef::Name(name) => port.get("name").and_then(Value::as_str) == Some(name),
                })
            });
        let Some(port) = port else { return none };
        let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
        let own = port.get("port").and_then(number);
        let container = match port.get("targetPort") {
            Some(Value::String(name)) => live
                .workload
                .as_ref()
                .and_then(|workload| named_port(workload, name)),
            Some(value) => number(value),
            None => own,
        };
        Ports {
            service: own,
            container,
        }
    }
}

fn named_port(workload: &Value, name: &str) -> Option<u16> {
    workload
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array)?
        .iter()
        .filter_map(|container| container.get("ports").and_then(Value::as_array))
        .flatten()
        .find(|port| port.get("name").and_then(Value::as_str) == Some(name))
        .and_then(|port| port.get("containerPort"))
        .and_then(Value::as_u64)
        .and_then(|port| u16::try_from(port).ok())
}
