//! Whether a bundle changes governed workloads, and whether its runs can be driven at all.

use bellwether_agent_core::{
    effective::GovernedRoute,
    provider::{Split, own, render},
};
use bellwether_api::{
    adapted_copy,
    bundle::{Bundle, BundleRollout},
    node_copy,
    number::Weight,
    workload_adapter::WorkloadAdapter,
};
use serde_json::Value;

use super::{
    objects::{template_differs, template_digest},
    scene::find,
    track::{Tracks, belongs_to, workload_of},
};
use crate::sync::{
    cluster::{Cluster, ClusterError},
    goal::TemplateChange,
};

/// Lists the governed workloads whose template a bundle changes, of those that exist.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn template_changes(
    cluster: &Cluster,
    bundle: &Bundle,
    previous: Option<&Bundle>,
) -> Result<Vec<TemplateChange>, ClusterError> {
    let Some(previous) = previous else {
        return Ok(Vec::new());
    };
    let mut changes = Vec::new();
    for rollout in bundle
        .rollouts
        .iter()
        .filter(|one| template_differs(bundle, previous, one))
    {
        if cluster.get(&workload_of(bundle, rollout)).await?.is_some()
            && let Some(digest) = template_digest(bundle, rollout)
        {
            changes.push(TemplateChange {
                rollout: rollout.name.clone(),
                digest,
            });
        }
    }
    Ok(changes)
}

/// Lists why runs from what was applied before to `bundle` cannot be driven, one sentence each; empty = they can.
#[must_use]
pub fn refusals(
    bundle: &Bundle,
    previous: Option<&Bundle>,
    changes: &[TemplateChange],
) -> Vec<String> {
    bundle
        .rollouts
        .iter()
        .filter(|rollout| changes.iter().any(|change| change.rollout == rollout.name))
        .filter_map(|rollout| refusal(bundle, previous, rollout))
        .collect()
}

fn refusal(bundle: &Bundle, previous: Option<&Bundle>, rollout: &BundleRollout) -> Option<String> {
    let workload = workload_of(bundle, rollout);
    let scene = super::scene::Scene::of(bundle, rollout);
    let deployment =
        (workload.api_version.as_str(), workload.kind.as_str()) == ("apps/v1", "Deployment");
    let in_place = rollout.spec.strategy.batch.is_some() || scene.is_by_revision();
    let adapted = scene.copy_adapter.as_ref();
    if !in_place && !deployment && !scene.is_per_node() && adapted.is_none() {
        return Some(format!(
            "rollout {}: {workload} is no apps/v1 Deployment or DaemonSet, and no adapter tells of its copy",
            rollout.name
        ));
    }
    if let (Some(adapter), Some(object)) = (adapted, find(bundle, &workload))
        && let Some(why) = incomplete(adapter, &workload.api_version)
            .or_else(|| adapted_copy::unfit(adapter, object))
            .or_else(|| reselected(object, find(previous?, &workload)?))
    {
        return Some(format!("rollout {}: {workload}: {why}", rollout.name));
    }
    if scene.is_per_node()
        && let Some(why) = find(bundle, &workload).and_then(node_copy::unfit)
    {
        return Some(format!("rollout {}: {workload}: {why}", rollout.name));
    }
    if in_place && let Some(why) = unfit(bundle, &scene) {
        return Some(format!("rollout {}: {workload}: {why}", rollout.name));
    }
    let missing = scene
        .service
        .iter()
        .chain(scene.routes.iter().map(|route| &route.target))
        .chain(&scene.copied)
        .find(|target| find(bundle, target).is_none())
        .map(|target| format!("rollout {}: the release has no {target}", rollout.name));
    let missing = missing.or_else(|| {
        let why = misled(bundle, rollout, &scene)?;
        Some(format!("rollout {}: {why}", rollout.name))
    });
    missing.or_else(|| {
        scene.routes.iter().find_map(|route| {
            let why = unsplittable(bundle, route)?;
            Some(format!("rollout {}: {}: {why}", rollout.name, route.target))
        })
    })
}

/// Why a workload could not be updated in place; absent = it can.
fn unfit(bundle: &Bundle, scene: &super::scene::Scene) -> Option<String> {
    let Some(adapter) = &scene.adapter else {
        return Some("nothing is known of how its kind holds pods back".to_owned());
    };
    adapter.unfit(find(bundle, &scene.workload)?)
}

/// What the plan says of its Service's port and the Service says otherwise; absent = nothing.
fn misled(bundle: &Bundle, rollout: &BundleRollout, scene: &super::scene::Scene) -> Option<String> {
    let service = find(bundle, scene.service.as_ref()?)?;
    let workload = find(bundle, &scene.workload);
    let named = rollout.spec.service.as_ref()?;
    let misled = named.misled_by(service, workload)?;
    Some(format!("service.{}: {}", misled.field, misled.message))
}

/// What becomes of the pods that run where a workload selects others than before; absent = it does not.
fn reselected(new: &Value, old: &Value) -> Option<String> {
    // API servers refuse it of their own kinds; of others nobody does.
    (new.pointer("/spec/selector") != old.pointer("/spec/selector")).then(|| {
        "spec.selector changed, and pods that it has could be left to nobody; take the selector back, \
         or give the workload a new name"
            .to_owned()
    })
}

/// What an adapter has to say of a copy's kind, and does not; absent = nothing.
fn incomplete(adapter: &WorkloadAdapter, api_version: &str) -> Option<String> {
    let why = if api_version.starts_with("apps/") {
        "an adapter cannot tell of copies of Kubernetes' own kinds"
    } else if adapter.paused.is_none() {
        "workload.adapter.paused is missing: it could not be held"
    } else if adapter.revision_label.is_none() {
        "workload.adapter.revisionLabel is missing: its pods could not be told apart"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// Why a route could not carry any share at all; absent = it can.
fn unsplittable(bundle: &Bundle, route: &GovernedRoute) -> Option<String> {
    let object = find(bundle, &route.target)?;
    let split = Split::by_weight(Weight::FULL);
    let refused = render(route.provider, object, &route.names, &split).err();
    let refused = refused.or_else(|| own(route.provider, object, &route.names, &split).err());
    refused.map(|refused| refused.to_string())
}

/// Removes the track of a run that is over, if one was left behind.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn remove_left_track(
    client: kube::Client,
    bundle: &Bundle,
    rollout: &BundleRollout,
) -> Result<(), ClusterError> {
    let namespace = workload_of(bundle, rollout).namespace.unwrap_or_default();
    let tracks = Tracks::new(client, &namespace);
    if let Some(track) = tracks.get(&rollout.name).await?
        && belongs_to(&track, &bundle.application)
    {
        tracks.remove(&rollout.name).await?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bellwether_api::rollout::PortRef;
    use serde_json::json;

    use super::*;

    fn bundle(traffic: Value, route: Value) -> Bundle {
        let object = |api_version: &str, kind: &str, spec: Value| {
            json!({"apiVersion": api_version, "kind": kind, "spec": spec,
                "metadata": {"name": "web", "namespace": "shop"}})
        };
        serde_json::from_value(json!({
            "application": {"namespace": "default", "name": "shop"},
            "release": "r", "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
            "mode": "Rollout", "targetNamespace": "shop", "createNamespace": true,
            "components": [{"name": "web", "objects": [
                object("apps/v1", "Deployment", json!({"template": {}})),
                object("v1", "Service", json!({"selector": {"app": "web"}})),
                route,
            ]}],
            "rollouts": [{"name": "shop-web", "spec": {
                "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "shop"},
                "service": {"name": "web", "port": 80},
                "strategy": {"canary": {"stepWeight": 50}},
                "traffic": [traffic],
            }}],
            "sync": {}, "metrics": null,
        }))
        .unwrap()
    }

    fn ingress_route(service: &str) -> Value {
        json!({
            "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"routes": [{"match": "Host(`a`)", "services": [{"name": service, "port": 80}]}]},
        })
    }

    #[test]
    fn a_copy_that_could_not_stand_beside_its_daemon_set_refuses_the_run() {
        let route = ingress_route("web");
        let mut written = bundle(json!({"traefik": {"ingressRoute": "web"}}), route);
        let refused = |bundle: &Bundle| refusal(bundle, None, &bundle.rollouts[0]);
        let objects = |bundle: &mut Bundle, template: Value| {
            let workload = &mut bundle.components[0].objects[0];
            workload["kind"] = json!("DaemonSet");
            workload["spec"] = json!({"template": {"spec": template}});
        };
        objects(&mut written, json!({"hostNetwork": true}));
        written.rollouts[0].spec.workload.kind = "DaemonSet".to_owned();
        let why = refused(&written).unwrap();
        assert!(why.contains("spec.template.spec.hostNetwork"), "{why}");
        assert!(why.contains("strategy.batch"), "{why}");
        objects(&mut written, json!({}));
        assert_eq!(refused(&written), None);
        written.rollouts[0].spec.workload.kind = "ReplicaSet".to_owned();
        assert!(
            refused(&written)
                .unwrap()
                .contains("is no apps/v1 Deployment or DaemonSet")
        );
    }

    #[test]
    fn a_copy_by_an_adapter_that_could_not_be_made_refuses_the_run() {
        let route = ingress_route("web");
        let mut written = bundle(json!({"traefik": {"ingressRoute": "web"}}), route);
        let adapter = json!({"paused": "/spec/paused", "revisionLabel": "version"});
        let workload = &mut written.rollouts[0].spec.workload;
        workload.kind = "Ring".to_owned();
        workload.api_version = "example.dev/v1".to_owned();
        workload.adapter = Some(serde_json::from_value(adapter.clone()).unwrap());
        let object = &mut written.components[0].objects[0];
        object["kind"] = json!("Ring");
        object["apiVersion"] = json!("example.dev/v1");
        let refused = |bundle: &Bundle| refusal(bundle, None, &bundle.rollouts[0]);
        let why = refused(&written).unwrap();
        assert!(why.contains("spec.selector.matchLabels"), "{why}");
        let labels = json!({"app": "web"});
        written.components[0].objects[0]["spec"] = json!({
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}},
        });
        assert_eq!(refused(&written), None);
        for (adapter, api_version, word) in [
            (
                json!({"revisionLabel": "version"}),
                "example.dev/v1",
                "adapter.paused",
            ),
            (
                json!({"paused": "/spec/paused"}),
                "example.dev/v1",
                "adapter.revisionLabel",
            ),
            (adapter, "apps/v1", "own kinds"),
        ] {
            let workload = &mut written.rollouts[0].spec.workload;
            workload.adapter = Some(serde_json::from_value(adapter).unwrap());
            workload.api_version = api_version.to_owned();
            written.components[0].objects[0]["apiVersion"] = json!(api_version);
            assert!(refused(&written).unwrap().contains(word), "{word}");
        }
    }

    #[test]
    fn a_copy_by_an_adapter_refuses_a_run_that_changes_the_selector() {
        let adapter = json!({"paused": "/spec/paused", "revisionLabel": "version"});
        let selecting = |labels: &Value| {
            let route = ingress_route("web");
            let mut written = bundle(json!({"traefik": {"ingressRoute": "web"}}), route);
            let workload = &mut written.rollouts[0].spec.workload;
            workload.adapter = Some(serde_json::from_value(adapter.clone()).unwrap());
            workload.api_version = "example.dev/v1".to_owned();
            let object = &mut written.components[0].objects[0];
            object["apiVersion"] = json!("example.dev/v1");
            object["spec"] = json!({
                "replicas": 2, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}},
            });
            written
        };
        let before = selecting(&json!({"app": "web"}));
        let changed = selecting(&json!({"app": "web", "tier": "front"}));
        let changes = [TemplateChange {
            rollout: "shop-web".to_owned(),
            digest: "d".to_owned(),
        }];
        for previous in [None, Some(&changed)] {
            assert_eq!(refusals(&changed, previous, &changes), Vec::<String>::new());
        }
        let why = refusals(&changed, Some(&before), &changes).join("; ");
        assert!(
            why.contains("Deployment/shop/web: spec.selector changed"),
            "{why}"
        );
    }

    #[test]
    fn a_service_whose_port_leads_elsewhere_refuses_the_run() {
        let traefik = json!({"traefik": {"ingressRoute": "web"}});
        let mut written = bundle(traefik, ingress_route("web"));
        let refused = |bundle: &Bundle| refusal(bundle, None, &bundle.rollouts[0]);
        let ports = json!([{"port": 80, "targetPort": 8080}]);
        written.components[0].objects[1]["spec"]["ports"] = ports;
        let named = written.rollouts[0].spec.service.as_mut().unwrap();
        named.target_port = Some(PortRef::Number(8080));
        assert_eq!(refused(&written), None);
        let named = written.rollouts[0].spec.service.as_mut().unwrap();
        named.target_port = Some(PortRef::Number(9090));
        assert_eq!(
            refused(&written).unwrap(),
            "rollout shop-web: service.targetPort: port 80 of Service web leads to 8080 of its pods, not \
             to 9090; change the Service, or leave it out here"
        );
    }

    #[test]
    fn a_route_that_cannot_be_split_refuses_the_run_by_name() {
        let traefik = json!({"traefik": {"ingressRoute": "web"}});
        let refused = |bundle: &Bundle| refusal(bundle, None, &bundle.rollouts[0]);
        assert_eq!(
            refused(&bundle(traefik.clone(), ingress_route("web"))),
            None
        );
        assert_eq!(
            refused(&bundle(traefik.clone(), ingress_route("other"))).unwrap(),
            "rollout shop-web: IngressRoute/shop/web: failed to find a rule whose backend is \
             Service web"
        );
        let rules = json!({"traefik": {"ingressRoute": "web"}, "rules": [3]});
        assert_eq!(
            refused(&bundle(rules, ingress_route("web"))).unwrap(),
            "rollout shop-web: IngressRoute/shop/web: failed to find rule 3 with Service web as a \
             backend"
        );
        let absent = json!({"nginx": {"ingress": "web"}});
        assert_eq!(
            refused(&bundle(absent, ingress_route("web"))).unwrap(),
            "rollout shop-web: the release has no Ingress/shop/web"
        );
    }
}
