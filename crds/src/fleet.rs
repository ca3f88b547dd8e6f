//! Fleet: a named set of clusters.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    alert_provider::Alert,
    fleet_hook::FleetHook,
    hooks::{Hook, Load},
    metric_template::SecretKeyRef,
    number::IntOrPercent,
    reference::ApplicationRef,
    rollout::RolloutSpec,
    selector::Selector,
    traffic::Traffic,
};

/// A named set of clusters with defaults for what runs on them.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bellwether.dev",
    version = "v1alpha1",
    kind = "Fleet",
    plural = "fleets",
    shortname = "bwfleet",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSpec {
    /// Members by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// Members by label; with `clusters` the union of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Defaults for applications and rollouts.
    #[serde(default)]
    pub defaults: FleetDefaults,
    /// Applications that every member gets, beside those that their own destinations name. A member
    /// gets them before any other application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addons: Vec<ApplicationRef>,
    /// Who is told that a member was registered or detached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<FleetHook>,
}

/// Defaults for applications and rollouts of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetDefaults {
    /// Traffic provider of rollouts that name none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// Where metrics are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsDefaults>,
    /// Concurrency of applications without waves; 25% unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<IntOrPercent>,
    /// How load is made by Rollout hooks that do not say how: those without `load`, `url`, `job` and
    /// `approval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_generator: Option<Load>,
    /// Who is told of the events of applications and rollouts that name nobody under `alerts`:
    /// AlertProviders of the namespace of each. Where that has none of the name, nobody is told. At most 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
}

impl FleetDefaults {
    /// Returns what holds for an application that names these under `alerts`: they go before the fleet's.
    #[must_use]
    pub fn with_alerts(mut self, alerts: &[Alert]) -> Self {
        if !alerts.is_empty() {
            self.alerts = alerts.to_vec();
        }
        self
    }

    /// Says what a Rollout leaves to its fleet: its traffic provider, how load is made, and who is told of
    /// its events. Filling in twice changes nothing.
    pub fn fill(&self, rollout: &mut RolloutSpec) {
        if rollout.traffic.is_empty() && rollout.service.is_some() {
            rollout.traffic.clone_from(&self.traffic);
        }
        if rollout.alerts.is_empty() {
            rollout.alerts.clone_from(&self.alerts);
        }
        self.fill_load(&mut rollout.hooks);
    }

    /// Says how load is made where hooks leave it to the fleet. Filling in twice changes nothing.
    fn fill_load(&self, hooks: &mut [Hook]) {
        let Some(load) = &self.load_generator else {
            return;
        };
        for hook in hooks {
            if hook.load.is_none() && hook.load().is_some() {
                hook.load = Some(load.clone());
            }
        }
    }
}

/// Where metrics are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsDefaults {
    /// Base URL of a Prometheus, as agents reach it.
    pub address: String,
    /// A Secret in the agent's own namespace of the member cluster; absent = none. It is sent to
    /// `address` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// Whose series count the requests of Gateway API routes; Traefik unless set.
    #[serde(default, skip_serializing_if = "GatewaySeries::is_default")]
    pub gateway_series: GatewaySeries,
}

/// Whose series count the requests of Gateway API routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GatewaySeries {
    /// Traefik's.
    #[default]
    Traefik,
    /// Contour's Envoy.
    Contour,
    /// The application's own `http_request_duration_seconds`, by pod: for every other gateway.
    Application,
}

impl GatewaySeries {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::FleetDefaults;
    use crate::{hooks::Hook, rollout::RolloutSpec, status::Severity};

    #[test]
    fn what_a_rollout_does_not_say_is_the_fleets() {
        let fleet: FleetDefaults = serde_json::from_value(json!({
            "traffic": [{"gatewayApi": {"httpRoutes": ["web"]}}],
            "alerts": [{"provider": {"name": "ops"}, "severity": "Warn"}],
        }))
        .expect("defaults");
        let filled = |more: Value| {
            let mut rollout = json!({
                "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "service": {"name": "web", "port": 80},
                "strategy": {"canary": {"weights": [50]}},
            });
            for (key, value) in more.as_object().expect("fields") {
                rollout[key] = value.clone();
            }
            let mut rollout: RolloutSpec = serde_json::from_value(rollout).expect("a rollout");
            fleet.fill(&mut rollout);
            let once = rollout.clone();
            fleet.fill(&mut rollout);
            assert_eq!(once, rollout, "twice is once");
            rollout
        };
        let silent = filled(json!({}));
        assert_eq!(silent.traffic, fleet.traffic);
        assert_eq!(silent.alerts, fleet.alerts);
        let own = filled(json!({"alerts": [{"provider": {"name": "team"}}]}));
        assert_eq!(own.alerts.len(), 1);
        assert_eq!(own.alerts[0].provider.name, "team");
        assert_eq!(own.alerts[0].severity, Severity::Error);
        let of_application = fleet.clone().with_alerts(&own.alerts);
        assert_eq!(
            of_application.alerts, own.alerts,
            "it goes before the fleet"
        );
        assert_eq!(of_application.traffic, fleet.traffic);
        assert_eq!(fleet.clone().with_alerts(&[]), fleet);
        assert!(filled(json!({"service": null})).traffic.is_empty());
    }

    #[test]
    fn load_is_made_as_the_fleet_says_where_a_hook_does_not() {
        let fleet: FleetDefaults =
            serde_json::from_value(json!({"loadGenerator": {"rate": 50}})).expect("defaults");
        let rate = |fields: Value| {
            let mut hook = json!({"name": "h"});
            for (key, value) in fields.as_object().expect("fields") {
                hook[key] = value.clone();
            }
            let mut hooks: Vec<Hook> = vec![serde_json::from_value(hook).expect("a hook")];
            fleet.fill_load(&mut hooks);
            hooks[0].load.as_ref().map(|load| load.rate)
        };
        assert_eq!(rate(json!({})), Some(50));
        assert_eq!(
            rate(json!({"load": {"concurrency": 4}})),
            Some(10),
            "it says how"
        );
        assert_eq!(rate(json!({"url": "http://tester"})), None);
        assert_eq!(
            rate(json!({"type": "ConfirmRollout", "approval": {}})),
            None
        );
        let mut hooks: Vec<Hook> = serde_json::from_value(json!([{"name": "h"}])).expect("hooks");
        FleetDefaults::default().fill_load(&mut hooks);
        assert_eq!(hooks[0].load, None, "the fleet says nothing");
    }
}
