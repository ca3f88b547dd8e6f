//! What rollouts leave to others, as it is in one cluster: the cluster's own word, else its fleet's.

use std::borrow::Cow;

use bellwether_api::{
    fleet::FleetDefaults,
    rollout::RolloutSpec,
    traffic::Traffic,
    validate::{default_traffic, default_traffic_of_others},
};

use crate::{
    addons::Fleets,
    bundle::workload_namespace,
    components::present,
    placement::ClusterFacts,
    release::{ReleaseContent, ReleaseRollout},
};

/// The defaults of a fleet as they are in a cluster: what the cluster says of itself wins.
#[must_use]
pub fn defaults_in<'a>(cluster: &ClusterFacts, fleet: &'a FleetDefaults) -> Cow<'a, FleetDefaults> {
    if cluster.traffic.is_empty() && cluster.metrics.is_none() {
        return Cow::Borrowed(fleet);
    }
    let mut defaults = fleet.clone();
    if !cluster.traffic.is_empty() {
        defaults.traffic.clone_from(&cluster.traffic);
    }
    if cluster.metrics.is_some() {
        defaults.metrics.clone_from(&cluster.metrics);
    }
    Cow::Owned(defaults)
}

/// What a rollout that names no provider asks of a default one and this cannot do, one sentence each;
/// empty = it can, or is not asked.
#[must_use]
pub fn lacks(rollout: &RolloutSpec, default: &[Traffic]) -> Vec<String> {
    let asked = default_traffic(rollout, default).errors;
    let mut found: Vec<String> = asked.into_iter().map(|lack| lack.message).collect();
    if rollout.application.is_none() && rollout.destination.is_some() {
        found.extend(default_traffic_of_others(rollout, default));
    }
    found
}

/// What a rollout asks of the defaults of its fleet and of these clusters and they cannot do, one sentence
/// each. Of clusters whose default is the same the first is named.
#[must_use]
pub fn misfits<'a>(
    rollout: &RolloutSpec,
    fleet: &[Traffic],
    clusters: impl IntoIterator<Item = &'a ClusterFacts>,
) -> Vec<String> {
    let mut found: Vec<String> = lacks(rollout, fleet)
        .into_iter()
        .map(|lack| format!("the fleet's default {lack}"))
        .collect();
    let mut seen: Vec<&[Traffic]> = vec![fleet];
    for cluster in clusters {
        let own = cluster.traffic.as_slice();
        if own.is_empty() || seen.contains(&own) {
            continue;
        }
        seen.push(own);
        let lacking = lacks(rollout, own).into_iter();
        found.extend(
            lacking.map(|lack| format!("the default of cluster {:?} {lack}", cluster.name)),
        );
    }
    found
}

/// What the rollouts of a release ask of the defaults of a fleet and of those of these clusters that they run
/// in, and these cannot do: the rollout's name, and a sentence.
#[must_use]
pub fn misfits_of_release<'a>(
    content: &'a ReleaseContent,
    fleet: &[Traffic],
    clusters: &[ClusterFacts],
    fleets: &Fleets,
) -> Vec<(&'a str, String)> {
    let runs = |rollout: &ReleaseRollout, cluster: &ClusterFacts| {
        let name = rollout.spec.component.as_deref();
        let mut there = present(content, cluster, fleets).into_iter();
        name.is_none_or(|name| there.any(|one| one.name == name))
    };
    // Where a component renders another Rollout for other clusters, it is not known here who has which: there
    // the agent refuses what cannot be.
    let is_everywhere = |rollout: &&ReleaseRollout| {
        let mut others = content.rollouts.iter();
        !others.any(|other| other.is_variant_of(rollout))
    };
    let everywhere = content.rollouts.iter().filter(is_everywhere);
    let asking = everywhere.flat_map(|rollout| {
        let own = clusters.iter().filter(|one| !one.traffic.is_empty());
        let there = own.filter(|cluster| runs(rollout, cluster));
        let mut spec = rollout.spec.clone();
        spec.workload.namespace = Some(workload_namespace(&spec, content));
        let found = misfits(&spec, fleet, there).into_iter();
        found.map(|lack| (rollout.name.as_str(), lack))
    });
    asking.collect()
}

#[cfg(test)]
mod tests {
    use bellwether_api::fleet::MetricsDefaults;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn traffic(value: serde_json::Value) -> Vec<Traffic> {
        serde_json::from_value(value).expect("traffic")
    }

    fn cluster(name: &str, traffic: Vec<Traffic>, metrics: Option<&str>) -> ClusterFacts {
        ClusterFacts {
            id: Uuid::nil(),
            name: name.to_owned(),
            labels: Default::default(),
            metrics: metrics.map(|address| MetricsDefaults {
                address: address.to_owned(),
                ..MetricsDefaults::default()
            }),
            traffic,
            scheduling: Default::default(),
        }
    }

    fn fleet() -> FleetDefaults {
        serde_json::from_value(json!({
            "traffic": [{"gatewayApi": {"httpRoutes": ["web"]}}],
            "metrics": {"address": "http://fleet"}, "loadGenerator": {"rate": 50},
        }))
        .expect("defaults")
    }

    fn rollout(more: serde_json::Value) -> RolloutSpec {
        let mut spec = json!({
            "application": "shop",
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "service": {"name": "web", "port": 80},
            "strategy": {"canary": {"weights": [50], "mirror": true}},
        });
        for (key, value) in more.as_object().expect("fields") {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).expect("a rollout")
    }

    #[test]
    fn what_a_cluster_says_wins_over_its_fleet_and_the_rest_is_the_fleets() {
        let nginx = traffic(json!([{"nginx": {"ingress": "web"}}]));
        let fleet = fleet();
        let silent = defaults_in(&cluster("a", Vec::new(), None), &fleet);
        assert_eq!(*silent, fleet);
        let routed = defaults_in(&cluster("a", nginx.clone(), None), &fleet);
        assert_eq!((&routed.traffic, &routed.metrics), (&nginx, &fleet.metrics));
        assert_eq!(routed.load_generator, fleet.load_generator);
        let measured = defaults_in(&cluster("a", Vec::new(), Some("http://a")), &fleet);
        assert_eq!(measured.traffic, fleet.traffic);
        assert_eq!(
            measured.metrics.as_ref().map(|one| one.address.as_str()),
            Some("http://a")
        );
    }

    #[test]
    fn what_a_default_cannot_do_is_said_and_nothing_of_a_rollout_that_does_not_take_it() {
        let nginx = traffic(json!([{"nginx": {"ingress": "web"}}]));
        let said = lacks(&rollout(json!({})), &nginx);
        assert_eq!(
            said,
            ["nginx.ingress (Ingress) cannot mirror requests; it can split by weight"]
        );
        let own = json!([{"gatewayApi": {"httpRoutes": ["web"]}}]);
        assert_eq!(lacks(&rollout(json!({"traffic": own})), &nginx), [""; 0]);
        assert_eq!(lacks(&rollout(json!({"service": null})), &nginx), [""; 0]);
        let none = traffic(json!([{"none": {}}]));
        let adopted = json!({"application": null, "destination": {"clusters": ["a"]},
            "strategy": {"canary": {"weights": [50]}}, "instances": {"mode": "FixedTotal"}});
        let said = lacks(&rollout(adopted), &none);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("traffic has none: "), "{said:?}");
    }

    #[test]
    fn each_default_of_a_fleet_and_its_clusters_is_looked_at_once() {
        let nginx = || traffic(json!([{"nginx": {"ingress": "web"}}]));
        let mirrors = || traffic(json!([{"gatewayApi": {"httpRoutes": ["web"]}}]));
        let clusters = [
            cluster("a", Vec::new(), None),
            cluster("b", nginx(), None),
            cluster("c", nginx(), None),
            cluster("d", mirrors(), None),
        ];
        let said = misfits(&rollout(json!({})), &mirrors(), &clusters);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0]
                .starts_with("the default of cluster \"b\" nginx.ingress (Ingress) cannot mirror"),
            "{said:?}"
        );
        let said = misfits(&rollout(json!({})), &nginx(), &clusters);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].starts_with("the fleet's default nginx.ingress"),
            "{said:?}"
        );
    }

    #[test]
    fn a_cluster_without_the_rollouts_component_is_not_asked() {
        let spec = json!({
            "destination": {"clusters": ["a", "b"]},
            "components": [
                {"name": "web", "destination": {"clusters": ["a"]}, "manifests": [
                    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}]},
                {"name": "db", "manifests": [
                    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "db"}}]},
            ],
        });
        let spec = serde_json::from_value(spec).expect("an application");
        let records = [crate::release::RolloutRecord {
            name: "shop-web".to_owned(),
            spec: rollout(json!({"component": "web"})),
            rendered_as: None,
        }];
        let content = crate::release::content("shop", &spec, &records).expect("content");
        let nginx = traffic(json!([{"nginx": {"ingress": "web"}}]));
        let said = |name: &str| {
            let clusters = [cluster(name, nginx.clone(), None)];
            let found = misfits_of_release(&content, &[], &clusters, &Fleets::new());
            found
                .into_iter()
                .map(|(of, _)| of.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(said("a"), ["shop-web"]);
        // What lies where the workload does may be named with its namespace.
        let named = traffic(
            json!([{"traefik": {"service": "web"}, "namespace": content.target_namespace}]),
        );
        let clusters = [cluster("a", named, None)];
        let found = misfits_of_release(&content, &[], &clusters, &Fleets::new());
        assert_eq!(found, []);
        assert_eq!(said("b"), [""; 0]);
    }
}
