use std::collections::BTreeMap;

use bellwether_api::{
    alert_provider::Alert,
    application::ApplicationSpec,
    call::DiffChange,
    chart_hook::{ChartHook, HookMoment},
    cluster_template::ClusterValues,
    fleet::FleetDefaults,
    health_rule::HealthRule,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    placement::ClusterFacts,
    recipe::{Recipe, RenderFacts, RenderedFrom, values_in, values_overrides},
    release::{ReleaseContent, content},
};

static NO_FLEETS: Fleets = Fleets::new();
const READING: Reading<'static> = Reading {
    fleets: &NO_FLEETS,
    salt: b"used once",
};

fn cluster(name: &str, region: &str) -> ClusterFacts {
    ClusterFacts {
        id: Uuid::nil(),
        name: name.to_owned(),
        labels: BTreeMap::from([("region".to_owned(), region.to_owned())]),
        metrics: None,
        traffic: Vec::new(),
        scheduling: std::sync::Arc::default(),
    }
}

fn shop(image: &str, change: impl FnOnce(&mut Value)) -> ReleaseContent {
    let mut spec = json!({
        "destination": {"fleet": "all"}, "targetNamespace": "shop",
        "components": [{"name": "web", "manifests": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
             "spec": {"replicas": 2, "template": {"spec": {"containers": [
                {"name": "web", "image": image}]}}}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"},
             "data": {"file": "a=1\nb=2\nc=3\n"}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"},
             "stringData": {"password": "hunter2"}},
        ]}],
        "overrides": [
            {"name": "eu", "selector": {"matchLabels": {"region": "eu"}},
             "replicas": [{"target": {"kind": "Deployment"}, "count": 5}]},
        ],
    });
    change(&mut spec);
    let spec: ApplicationSpec = serde_json::from_value(spec).expect("a spec");
    content("shop", &spec, &[]).expect("content")
}

fn both<'a>(
    clusters: &'a [ClusterFacts],
    from: &'a ReleaseContent,
    to: &'a ReleaseContent,
) -> Vec<Compared<'a>> {
    clusters
        .iter()
        .map(|cluster| Compared {
            cluster,
            from: Some(from),
            to: Some(to),
        })
        .collect()
}

fn fleet() -> Vec<ClusterFacts> {
    vec![
        cluster("us-1", "us"),
        cluster("eu-1", "eu"),
        cluster("us-2", "us"),
    ]
}

#[test]
fn equal_releases_have_no_difference() {
    let (clusters, one) = (fleet(), shop("web:1", |_| {}));
    let found = compare(&both(&clusters, &one, &one.clone()), READING);
    assert_eq!(found.same, ["eu-1", "us-1", "us-2"]);
    assert_eq!((found.groups.len(), found.unknown.len()), (0, 0));
}

#[test]
fn the_same_change_is_one_group_whatever_surrounds_it() {
    let clusters = fleet();
    let (old, new) = (shop("web:1", |_| {}), shop("web:2", |_| {}));
    // eu-1 has other replicas, on both sides alike.
    let found = compare(&both(&clusters, &old, &new), READING);
    let [group] = found.groups.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(group.clusters, ["eu-1", "us-1", "us-2"]);
    let [object] = group.objects.as_slice() else {
        panic!("{group:?}");
    };
    assert_eq!(object.object, "Deployment/shop/web");
    assert_eq!(object.change, DiffChange::Changed);
    for line in [
        "\n-      - image: web:1\n",
        "\n+      - image: web:2\n",
        "\n     spec:\n",
    ] {
        assert!(object.text.contains(line), "{line:?} in {}", object.text);
    }
}

#[test]
fn clusters_are_told_apart_by_what_overrides_change_there() {
    let clusters = fleet();
    let old = shop("web:1", |_| {});
    let new = shop("web:1", |spec| {
        spec["overrides"][0]["replicas"][0]["count"] = json!(7)
    });
    let found = compare(&both(&clusters, &old, &new), READING);
    assert_eq!(found.same, ["us-1", "us-2"]);
    assert_eq!(found.groups[0].clusters, ["eu-1"]);
    let text = &found.groups[0].objects[0].text;
    assert!(text.contains("-  replicas: 5\n+  replicas: 7\n"), "{text}");
    // Both at once: two groups, that of most clusters first.
    let new = shop("web:2", |spec| {
        spec["overrides"][0]["replicas"][0]["count"] = json!(7)
    });
    let found = compare(&both(&clusters, &old, &new), READING);
    let names: Vec<_> = found
        .groups
        .iter()
        .map(|group| &group.clusters[..])
        .collect();
    assert_eq!(
        names,
        [
            &["us-1".to_owned(), "us-2".to_owned()][..],
            &["eu-1".to_owned()][..]
        ]
    );
}

#[test]
fn texts_in_a_configmap_are_compared_line_by_line() {
    let clusters = fleet();
    let old = shop("web:1", |_| {});
    let new = shop("web:1", |spec| {
        spec["components"][0]["manifests"][1]["data"]["file"] = json!("a=1\nb=3\nc=3\n");
    });
    let found = compare(&both(&clusters, &old, &new), READING);
    let text = &found.groups[0].objects[0].text;
    assert!(text.contains("-    b=2\n+    b=3\n"), "{text}");
    assert!(!text.contains("-    a=1"), "{text}");
}

#[test]
fn what_one_side_lacks_is_added_or_removed_whole() {
    let clusters = fleet();
    let old = shop("web:1", |_| {});
    let new = shop("web:1", |spec| {
        spec["components"][0]["manifests"]
            .as_array_mut()
            .expect("a list")
            .remove(1);
    });
    let kinds = |from, to| {
        let found = compare(&both(&clusters, from, to), READING);
        let object = &found.groups[0].objects[0];
        (object.object.clone(), object.change)
    };
    assert_eq!(
        kinds(&old, &new),
        ("ConfigMap/shop/web".to_owned(), DiffChange::Removed)
    );
    assert_eq!(
        kinds(&new, &old),
        ("ConfigMap/shop/web".to_owned(), DiffChange::Added)
    );
    // A cluster that has nothing yet gets everything.
    let joins = Compared {
        cluster: &clusters[0],
        from: None,
        to: Some(&old),
    };
    let found = compare(&[joins], READING);
    assert!(
        found.groups[0]
            .objects
            .iter()
            .all(|one| one.change == DiffChange::Added)
    );
    assert_eq!(
        found.groups[0].objects.len(),
        4,
        "three objects and how they are kept"
    );
}

#[test]
fn a_secret_that_changes_shows_digests_alone() {
    let clusters = fleet();
    let old = shop("web:1", |_| {});
    let new = shop("web:1", |spec| {
        spec["components"][0]["manifests"][2]["stringData"]["password"] = json!("hunter3");
    });
    let found = compare(&both(&clusters, &old, &new), READING);
    let object = &found.groups[0].objects[0];
    assert_eq!(object.object, "Secret/shop/db");
    assert!(
        object.text.contains("-  password: <digest "),
        "{}",
        object.text
    );
    assert!(!format!("{found:?}").contains("hunter"), "{found:?}");
}

#[test]
fn what_was_rendered_with_secrets_shows_digests_alone() {
    let clusters = fleet();
    let made = |host: &str| {
        let mut content = shop("web:1", |spec| {
            spec["components"][0]["manifests"][1]["data"]["file"] =
                json!(format!("hunter2@{host}"));
        });
        let recipe: Recipe = serde_json::from_value(json!({"kind": "helm", "artifact": "sha256:1",
            "valuesFrom": [{"secret": "web", "key": "values.yaml", "version": Uuid::nil()}]}))
        .expect("a recipe");
        let component = &mut content.components[0];
        component.rendered = Some(RenderedFrom {
            revision: String::new(),
            recipe,
        });
        component.hooks = vec![ChartHook {
            object: json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"},
                "spec": {"args": [format!("hunter2@{host}")]}}),
            moments: vec![HookMoment::PreUpgrade],
            weight: 0,
            delete: Vec::new(),
        }];
        content
    };
    let (old, new) = (made("a"), made("b"));
    let found = compare(&both(&clusters, &old, &new), READING);
    let objects = &found.groups[0].objects;
    let names: Vec<&str> = objects.iter().map(|one| one.object.as_str()).collect();
    assert_eq!(names, ["ConfigMap/shop/web", "Job/shop/migrate (hook)"]);
    for object in objects {
        assert!(object.text.contains("<digest "), "{}", object.text);
    }
    assert!(!format!("{found:?}").contains("hunter"), "{found:?}");
    let (_, fields) = explain(&new, &clusters[1], READING).expect("explained");
    let replicas = fields.iter().find(|one| one.path == "/spec/replicas");
    assert!(replicas.is_some(), "{fields:?}");
    assert!(!format!("{fields:?}").contains("hunter"), "{fields:?}");
}

#[test]
fn rules_of_health_count_too() {
    let clusters = fleet();
    let (old, mut new) = (shop("web:1", |_| {}), shop("web:1", |_| {}));
    new.components[0].health = vec![HealthRule {
        group: "example.com".to_owned(),
        kind: "Shop".to_owned(),
        cel: "true".to_owned(),
    }];
    let found = compare(&both(&clusters, &old, &new), READING);
    let object = &found.groups[0].objects[0];
    assert_eq!(object.object, "Release");
    assert!(object.text.contains("kind: Shop"), "{}", object.text);
}

#[test]
fn how_a_component_is_kept_counts_too() {
    let clusters = fleet();
    let (old, new) = (
        shop("web:1", |_| {}),
        shop("web:1", |spec| {
            spec["components"][0]["sync"] = json!({"force": true})
        }),
    );
    let found = compare(&both(&clusters, &old, &new), READING);
    let object = &found.groups[0].objects[0];
    assert_eq!(object.object, "Release");
    assert!(
        object.text.contains("+    force: true\n"),
        "{}",
        object.text
    );
}

#[test]
fn what_is_no_object_counts_too() {
    let clusters = fleet();
    let (old, new) = (
        shop("web:1", |_| {}),
        shop("web:1", |spec| spec["publishVersion"] = json!("v2")),
    );
    let found = compare(&both(&clusters, &old, &new), READING);
    let object = &found.groups[0].objects[0];
    assert_eq!(object.object, "Release");
    assert!(
        object.text.contains("+publishVersion: v2\n"),
        "{}",
        object.text
    );
}

#[test]
fn another_service_account_is_a_difference() {
    let clusters = fleet();
    for (pointer, said) in [
        ("/serviceAccount", "+serviceAccount: deployer\n"),
        (
            "/components/0/serviceAccount",
            "+componentServiceAccounts:\n+  web: deployer\n",
        ),
    ] {
        let (old, new) = (
            shop("web:1", |_| {}),
            shop("web:1", |spec| match pointer {
                "/serviceAccount" => spec["serviceAccount"] = json!("deployer"),
                _ => spec["components"][0]["serviceAccount"] = json!("deployer"),
            }),
        );
        let found = compare(&both(&clusters, &old, &new), READING);
        let object = &found.groups[0].objects[0];
        assert_eq!(object.object, "Release");
        assert!(object.text.contains(said), "{}", object.text);
    }
}

#[test]
fn a_cluster_that_an_override_does_not_fit_is_not_compared() {
    let clusters = fleet();
    let old = shop("web:1", |_| {});
    let new = shop("web:1", |spec| {
        spec["overrides"][0]["patches"] = json!([{"target": {"kind": "ConfigMap"},
            "text": {"path": "/data/none", "replace": [{"from": "a", "to": "b"}]}}]);
    });
    let found = compare(&both(&clusters, &old, &new), READING);
    assert_eq!(found.same, ["us-1", "us-2"]);
    let [one] = found.unknown.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(one.cluster, "eu-1");
    assert!(
        one.why.contains("there is no text at \"/data/none\""),
        "{}",
        one.why
    );
}

#[test]
fn too_much_text_is_named_and_not_shown() {
    let clusters = fleet();
    let lines = |word: &str| json!(format!("{word}\n").repeat(40_000));
    let made = |word: &str| {
        shop("web:1", |spec| {
            spec["components"][0]["manifests"][1]["data"]["file"] = lines(word)
        })
    };
    let (old, new) = (made("a"), made("b"));
    let found = compare(&both(&clusters, &old, &new), READING);
    let object = &found.groups[0].objects[0];
    assert_eq!(
        (object.object.as_str(), object.text.as_str()),
        ("ConfigMap/shop/web", "")
    );
}

#[test]
fn every_field_tells_which_override_set_it() {
    let content = shop("web:1", |spec| {
        spec["overrides"] = json!([
            {"name": "eu", "selector": {"matchLabels": {"region": "eu"}},
             "replicas": [{"target": {"kind": "Deployment"}, "count": 5}],
             "labels": {"region": "{{ cluster.labels.region }}"}},
            {"name": "us", "selector": {"matchLabels": {"region": "us"}},
             "replicas": [{"target": {"kind": "Deployment"}, "count": 9}]},
            {"name": "big", "clusters": ["eu-1"],
             "replicas": [{"target": {"kind": "Deployment"}, "count": 7}],
             "patches": [{"target": {"kind": "Secret"}, "merge": {"stringData": {"password": "s3cret"}}}],
             "remove": [{"kind": "ConfigMap"}]},
        ]);
    });
    let (overrides, fields) =
        explain(&content, &cluster("eu-1", "eu"), READING).expect("explained");
    let holds: Vec<_> = overrides
        .iter()
        .map(|one| (one.name.as_str(), one.holds, one.changed))
        .collect();
    assert_eq!(holds, [("eu", true, 4), ("us", false, 0), ("big", true, 3)]);
    let field = |object: &str, path: &str| {
        let found = fields
            .iter()
            .find(|one| (one.object.as_str(), one.path.as_str()) == (object, path));
        let one = found.unwrap_or_else(|| panic!("{path} in {fields:?}"));
        let set: Vec<_> = one
            .set
            .iter()
            .map(|set| (set.by.as_str(), set.to.as_deref()))
            .collect();
        (one.written.clone(), set)
    };
    assert_eq!(
        field("Deployment/shop/web", "/spec/replicas"),
        (
            Some("2".to_owned()),
            vec![("eu", Some("5")), ("big", Some("7"))]
        )
    );
    assert_eq!(
        field("Deployment/shop/web", "/metadata/labels/region"),
        (None, vec![("eu", Some("\"eu\""))])
    );
    assert_eq!(field("ConfigMap/shop/web", ""), (None, vec![("big", None)]));
    let text = format!("{fields:?}");
    assert!(
        !text.contains("hunter") && !text.contains("s3cret"),
        "{text}"
    );
}

#[test]
fn what_rollouts_leave_to_the_fleet_tells_whose_default_it_is() {
    let rollout = |more: Value| {
        let mut spec = json!({
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "service": {"name": "web", "port": 80}, "strategy": {"canary": {"weights": [50]}},
            "hooks": [{"name": "load"}, {"name": "own", "load": {"rate": 5}}],
        });
        for (key, value) in more.as_object().expect("fields") {
            spec[key] = value.clone();
        }
        shop("web:1", |application| {
            application["components"][0]["rollout"] = spec;
        })
    };
    let fleet: FleetDefaults = serde_json::from_value(json!({
        "alerts": [{"provider": {"name": "ops"}}], "loadGenerator": {"rate": 50},
        "traffic": [{"gatewayApi": {"httpRoutes": ["web"]}}],
        "metrics": {"address": "http://fleet.example"},
    }))
    .expect("defaults");
    let told = |content: &ReleaseContent, cluster: &ClusterFacts| -> Vec<(String, String)> {
        let found = defaults(content, cluster, &[], Some(("prod", &fleet)));
        assert!(
            found.iter().all(|one| one.rollout == "shop-web"),
            "{found:?}"
        );
        let ops = found.iter().filter(|one| one.field == "alerts");
        for one in ops {
            assert!(one.value.contains("ops"), "{one:?}");
        }
        found.into_iter().map(|one| (one.field, one.from)).collect()
    };
    let of = |field: &str, from: &str| (field.to_owned(), from.to_owned());
    let here = cluster("eu-1", "eu");
    let own: Vec<Alert> =
        serde_json::from_value(json!([{"provider": {"name": "team"}}])).expect("alerts");
    let of_application = defaults(&rollout(json!({})), &here, &own, Some(("prod", &fleet)));
    let mut alerts = of_application.iter().filter(|one| one.field == "alerts");
    let one = alerts.next().expect("alerts");
    assert!(
        one.from == "the application" && one.value.contains("team"),
        "{one:?}"
    );
    assert_eq!(alerts.next(), None, "it goes before the fleet");
    assert_eq!(
        told(&rollout(json!({})), &here),
        ["traffic", "alerts", "hooks[0].load", "metrics"].map(|field| of(field, "fleet prod"))
    );
    let own = rollout(json!({
        "alerts": [{"provider": {"name": "team"}}], "hooks": [],
        "traffic": [{"gatewayApi": {"httpRoutes": ["other"]}}],
    }));
    let measured = ClusterFacts {
        metrics: fleet.metrics.clone(),
        ..cluster("eu-1", "eu")
    };
    assert_eq!(told(&own, &measured), [of("metrics", "cluster eu-1")]);
    let routed = ClusterFacts {
        traffic: serde_json::from_value(json!([{"nginx": {"ingress": "web"}}])).expect("traffic"),
        ..cluster("eu-1", "eu")
    };
    assert_eq!(
        told(&rollout(json!({"hooks": []})), &routed),
        [
            of("traffic", "cluster eu-1"),
            of("alerts", "fleet prod"),
            of("metrics", "fleet prod")
        ]
    );
    assert_eq!(told(&own, &routed), [of("metrics", "fleet prod")]);
    assert_eq!(defaults(&own, &here, &[], None), []);
    assert_eq!(told(&shop("web:1", |_| {}), &measured), []);
}

#[test]
fn a_division_is_told_before_the_overrides_that_win_over_it() {
    let asked = serde_json::from_value(json!({"mode": "Static"})).expect("a division");
    let content = shop("web:1", |spec| {
        spec["components"][0]["manifests"][0]["spec"]["replicas"] = json!(6);
    })
    .divided(Some(&asked), None, &fleet(), &NO_FLEETS)
    .expect("divided");
    let told = |cluster: &ClusterFacts| {
        let (overrides, fields) = explain(&content, cluster, READING).expect("explained");
        let names: Vec<String> = overrides.into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["placement.division", "eu"]);
        let [field] = fields.as_slice() else {
            panic!("{fields:?}");
        };
        assert_eq!(
            (field.path.as_str(), field.written.as_deref()),
            ("/spec/replicas", Some("6"))
        );
        let set = field.set.iter();
        set.map(|one| (one.by.clone(), one.to.clone().unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let division = ("placement.division".to_owned(), "2".to_owned());
    assert_eq!(
        told(&cluster("us-1", "us")),
        std::slice::from_ref(&division)
    );
    assert_eq!(
        told(&cluster("eu-1", "eu")),
        [division, ("eu".to_owned(), "5".to_owned())]
    );
}

/// The shop with a chart, whose values come from everywhere.
fn charted() -> ReleaseContent {
    let mut content = shop("web:1", |spec| {
        spec["overrides"] = json!([
            {"name": "hosts", "values": {"host": "svc-{{ cluster.labels.region }}.ink", "tag": null,
                "extra": {"apiVersion": "v1", "kind": "Secret", "stringData": {"password": "hunter2"}}}},
            {"name": "us", "selector": {"matchLabels": {"region": "us"}}, "values": {"replicas": 9}},
            {"name": "big", "clusters": ["eu-1"], "values": {"replicas": 7, "list": ["c"], "ingress": false}},
            {"name": "plain", "labels": {"a": "b"}},
        ]);
    });
    let recipe: Recipe = serde_json::from_value(json!({"kind": "helm", "artifact": "sha256:1",
        "values": {"replicas": 2, "tag": "a", "list": ["a", "b"], "ingress": {"on": true}},
        "valuesFrom": [{"secret": "web", "key": "values.yaml", "version": Uuid::nil()}]}))
    .expect("a recipe");
    content.components[0].rendered = Some(RenderedFrom {
        revision: String::new(),
        recipe,
    });
    content
}

#[test]
fn every_value_of_a_chart_tells_which_source_set_it() {
    let content = charted();
    let here = cluster("eu-1", "eu");
    let found = explain_values(&content, &here, READING).expect("explained");
    let [web] = found.as_slice() else {
        panic!("{found:?}");
    };
    let sources: Vec<_> = web
        .sources
        .iter()
        .map(|one| (one.name.as_str(), one.holds, one.set))
        .collect();
    assert_eq!(
        sources,
        [
            ("helm.valuesFrom[0] (secret web, values.yaml)", true, None),
            ("helm.values", true, Some(5)),
            ("hosts", true, Some(5)),
            ("us", false, Some(0)),
            ("big", true, Some(5)),
        ],
        "an override without values is no source of any"
    );
    let value = |path: &str| {
        let found = web.values.iter().find(|one| one.path == path);
        let one = found.unwrap_or_else(|| panic!("{path} in {web:?}"));
        let set: Vec<_> = one
            .set
            .iter()
            .map(|set| (set.by.as_str(), set.to.as_deref()))
            .collect();
        set
    };
    assert_eq!(
        value("/replicas"),
        [("helm.values", Some("2")), ("big", Some("7"))]
    );
    assert_eq!(value("/host"), [("hosts", Some("\"svc-eu.ink\""))]);
    assert_eq!(
        value("/tag"),
        [("helm.values", Some("\"a\"")), ("hosts", Some("null"))],
        "null takes the chart's own away"
    );
    assert_eq!(
        value("/list/0"),
        [("helm.values", Some("\"a\"")), ("big", Some("\"c\""))]
    );
    assert_eq!(
        value("/list/1"),
        [("helm.values", Some("\"b\"")), ("big", None)],
        "lists are replaced"
    );
    assert_eq!(
        value("/ingress/on"),
        [("helm.values", Some("true")), ("big", None)]
    );
    assert_eq!(value("/ingress"), [("big", Some("false"))]);
    assert!(!format!("{found:?}").contains("hunter"), "{found:?}");
    // What is explained is what the chart is rendered with.
    let last = |path: &str| {
        value(path)
            .last()
            .and_then(|(_, to)| *to)
            .map(str::to_owned)
    };
    let recipe = &content.components[0]
        .rendered
        .as_ref()
        .expect("a chart")
        .recipe;
    let facts = RenderFacts {
        values: values_in(
            &values_overrides(&content.overrides, "web"),
            ClusterValues {
                name: &here.name,
                labels: &here.labels,
            },
        )
        .expect("values"),
        ..RenderFacts::default()
    };
    let rendered_with = Value::Object(facts.values_over(recipe));
    for path in ["/replicas", "/host", "/tag", "/list/0", "/ingress"] {
        let wanted = rendered_with.pointer(path).map(Value::to_string);
        assert_eq!(last(path), wanted, "{path}");
    }
}

#[test]
fn an_override_of_values_alone_changes_something() {
    let content = charted();
    let here = cluster("eu-1", "eu");
    let (mut overrides, _) = explain(&content, &here, READING).expect("explained");
    let values = explain_values(&content, &here, READING).expect("explained");
    count_values(&mut overrides, &values);
    let changed: Vec<_> = overrides
        .iter()
        .map(|one| (one.name.as_str(), one.changed))
        .collect();
    // Three objects get a label.
    assert_eq!(changed, [("hosts", 5), ("us", 0), ("big", 5), ("plain", 3)]);
    let elsewhere = ClusterFacts {
        labels: BTreeMap::new(),
        ..here
    };
    let error = explain_values(&content, &elsewhere, READING).expect_err("it has no such label");
    assert_eq!(error.name, "hosts");
    let inline = shop("web:1", |_| {});
    let found = explain_values(&inline, &elsewhere, READING).expect("explained");
    assert!(found.is_empty(), "{found:?}");
}
