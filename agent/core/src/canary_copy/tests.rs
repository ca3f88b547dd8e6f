use bellwether_api::rollout::PortRef;
use serde_json::{Value, json};

use super::{add_metadata, canary_deployment, canary_service, port_number, selects_canary};

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "labels": {"app": "web", "tracked-by": "something"},
            "annotations": {"team": "shop"}, "ownerReferences": [{"name": "x"}],
            "finalizers": ["example.com/keep"], "uid": "u", "resourceVersion": "7",
        },
        "spec": {
            "replicas": 5, "minReadySeconds": 3, "paused": true,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": 1}},
            "template": {"metadata": {"labels": {"app": "web", "tier": "front"}},
                "spec": {"containers": [{"name": "web", "image": "web:2"}]}},
        },
        "status": {"replicas": 5},
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {"cloud/internal": "true"}},
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.3.4", "clusterIPs": ["10.96.3.4"],
            "healthCheckNodePort": 31000, "externalIPs": ["198.51.100.1"],
            "loadBalancerIP": "198.51.100.2", "sessionAffinity": "ClientIP",
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080, "protocol": "TCP"}],
        },
    })
}

#[test]
fn the_copy_differs_by_its_label_its_name_and_its_size_alone() {
    let copy = canary_deployment(&deployment(), "abc-1", 2).expect("a copy");
    insta::assert_json_snapshot!(copy, @r#"
    {
      "apiVersion": "apps/v1",
      "kind": "Deployment",
      "metadata": {
        "annotations": {
          "bellwether.dev/purpose": "temporary copy of web that tests a release; removed when its run ends"
        },
        "labels": {
          "app.kubernetes.io/managed-by": "bellwether",
          "bellwether.dev/canary-of": "web",
          "bellwether.dev/run": "abc-1"
        },
        "name": "web-canary",
        "namespace": "shop"
      },
      "spec": {
        "minReadySeconds": 3,
        "replicas": 2,
        "revisionHistoryLimit": 1,
        "selector": {
          "matchLabels": {
            "app": "web",
            "bellwether.dev/run": "abc-1"
          }
        },
        "template": {
          "metadata": {
            "labels": {
              "app": "web",
              "bellwether.dev/run": "abc-1",
              "tier": "front"
            }
          },
          "spec": {
            "containers": [
              {
                "image": "web:2",
                "name": "web"
              }
            ]
          }
        }
      }
    }
    "#);
}

#[test]
fn the_service_selects_the_run_and_copies_no_address() {
    let copy = canary_service(&service(), "abc-1").expect("a copy");
    insta::assert_json_snapshot!(copy["spec"], @r#"
    {
      "ports": [
        {
          "name": "http",
          "port": 80,
          "protocol": "TCP",
          "targetPort": "http"
        }
      ],
      "selector": {
        "bellwether.dev/run": "abc-1"
      },
      "sessionAffinity": "ClientIP",
      "type": "ClusterIP"
    }
    "#);
    assert_eq!(copy["metadata"]["name"], "web-canary");
    assert!(
        copy["metadata"]["annotations"]
            .get("cloud/internal")
            .is_none()
    );
}

#[test]
fn the_service_carries_what_the_plan_gives_it_beside_what_tells_it_apart() {
    let mut copy = canary_service(&service(), "abc-1").expect("a copy");
    let plain = copy.clone();
    add_metadata(
        &mut copy,
        &serde_json::from_value(json!({
            "labels": {"team": "shop", "bellwether.dev/run": "other"},
            "annotations": {"scrape": "yes"},
        }))
        .expect("words"),
    );
    let metadata = &copy["metadata"];
    assert_eq!(metadata["labels"]["team"], "shop");
    assert_eq!(metadata["labels"]["bellwether.dev/run"], "abc-1");
    assert_eq!(metadata["annotations"]["scrape"], "yes");
    assert_eq!(copy["spec"], plain["spec"]);
    assert_eq!(
        metadata["annotations"]["bellwether.dev/purpose"],
        plain["metadata"]["annotations"]["bellwether.dev/purpose"]
    );
}

#[test]
fn what_cannot_be_copied_is_named() {
    let mut broken = deployment();
    broken["spec"]["selector"] = Value::Null;
    let error = canary_deployment(&broken, "abc-1", 1).expect_err("no selector");
    assert_eq!(
        error.to_string(),
        "failed to copy Deployment/web: spec.selector is missing or of another type"
    );
    let mut broken = service();
    broken["spec"]["ports"] = json!([]);
    assert!(canary_service(&broken, "abc-1").is_err());
}

#[test]
fn services_that_would_select_canary_pods_are_found() {
    let selects = |selector: Value| {
        selects_canary(
            &json!({"spec": {"selector": selector}}),
            &deployment(),
            "abc-1",
        )
    };
    assert!(selects(json!({"app": "web"})));
    assert!(
        selects(json!({"app": "web", "pod-template-hash": "old"})),
        "our own pin"
    );
    assert!(selects(json!({"bellwether.dev/run": "abc-1"})));
    for selector in [
        json!({"app": "other"}),
        json!({"app": "web", "tier": "back"}),
        json!({"bellwether.dev/run": "def-1"}),
        json!({}),
        Value::Null,
    ] {
        assert!(!selects(selector.clone()), "{selector}");
    }
}

#[test]
fn ports_are_found_by_number_and_by_name() {
    assert_eq!(port_number(&service(), &PortRef::Number(80)), Some(80));
    assert_eq!(
        port_number(&service(), &PortRef::Name("http".into())),
        Some(80)
    );
    assert_eq!(
        port_number(&service(), &PortRef::Name("https".into())),
        None
    );
}
