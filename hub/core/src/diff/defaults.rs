use bellwether_api::{
    alert_provider::Alert, call::DefaultExplained, fleet::FleetDefaults, rollout::RolloutSpec,
    traffic::Traffic,
};
use serde::Serialize;
use serde_json::Value;

use super::explain::shown;
use crate::{cluster_defaults::defaults_in, placement::ClusterFacts, release::ReleaseContent};

/// Says what the rollouts of a release leave to the application, to the cluster, or to the fleet of its
/// destination. `alerts` are whom the application names; `fleet` is the fleet's name and what it gives, absent =
/// the destination names none.
#[must_use]
pub fn defaults(
    content: &ReleaseContent,
    cluster: &ClusterFacts,
    alerts: &[Alert],
    fleet: Option<(&str, &FleetDefaults)>,
) -> Vec<DefaultExplained> {
    let mut found = Vec::new();
    for rollout in &content.rollouts {
        let mut add = |field: String, value: Value, from: String| {
            found.push(DefaultExplained {
                rollout: rollout.name.clone(),
                field,
                value: shown(&value),
                from,
            });
        };
        let own = cluster_traffic(&rollout.spec, cluster);
        if let Some(traffic) = &own {
            let from = format!("cluster {}", cluster.name);
            add("traffic".to_owned(), json(traffic), from);
        }
        let to_application = rollout.spec.alerts.is_empty() && !alerts.is_empty();
        if to_application {
            add(
                "alerts".to_owned(),
                json(alerts),
                "the application".to_owned(),
            );
        }
        if let Some((name, fleet)) = fleet {
            let from = format!("fleet {name}");
            let mut filled = rollout.spec.clone();
            fleet.fill(&mut filled);
            if own.is_none() && filled.traffic != rollout.spec.traffic {
                add("traffic".to_owned(), json(&filled.traffic), from.clone());
            }
            if filled.alerts != rollout.spec.alerts && !to_application {
                add("alerts".to_owned(), json(&filled.alerts), from.clone());
            }
            let hooks = filled.hooks.iter().zip(&rollout.spec.hooks).enumerate();
            for (index, (filled, _)) in hooks.filter(|(_, (filled, own))| filled != own) {
                let load = json(&filled.load);
                add(format!("hooks[{index}].load"), load, from.clone());
            }
        }
        let of_fleet = fleet.and_then(|(name, fleet)| {
            let metrics = fleet.metrics.as_ref()?;
            Some((metrics, format!("fleet {name}")))
        });
        let of_cluster = cluster.metrics.as_ref();
        let of_cluster = of_cluster.map(|metrics| (metrics, format!("cluster {}", cluster.name)));
        if let Some((metrics, from)) = of_cluster.or(of_fleet) {
            add("metrics".to_owned(), json(metrics), from);
        }
    }
    found
}

/// What the cluster gives to a rollout that names no provider; absent = nothing.
fn cluster_traffic(rollout: &RolloutSpec, cluster: &ClusterFacts) -> Option<Vec<Traffic>> {
    let mut filled = rollout.clone();
    defaults_in(cluster, &FleetDefaults::default()).fill(&mut filled);
    (filled.traffic != rollout.traffic).then_some(filled.traffic)
}

fn json(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("types of the API always serialise")
}
