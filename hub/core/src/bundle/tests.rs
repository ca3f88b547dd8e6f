use bellwether_api::{
    bundle::{Bundle, BundleMode},
    chart_hook::{ChartHook, HookMoment},
    fleet::{FleetDefaults, MetricsDefaults},
    reference::NamespacedName,
    traffic::Traffic,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{BundleInput, EncodedBundle, build};
use crate::{
    placement::ClusterFacts,
    release::{Release, RolloutRecord, content},
};

fn release() -> Release {
    let spec = serde_json::from_value(json!({
        "destination": {"fleet": "f"},
        "targetNamespace": "shop",
        "components": [
            {"name": "web", "manifests": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}},
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "extra"}},
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "own"}},
                {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                 "metadata": {"name": "gadgets.x.io"},
                 "spec": {"scope": "Cluster", "group": "x.io", "names": {"kind": "Gadget"}}},
                {"apiVersion": "x.io/v1", "kind": "Gadget", "metadata": {"name": "g"}},
            ]},
            {"name": "db", "targetNamespace": "data", "manifests": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "d"}},
            ]},
        ],
    }))
    .expect("an application");
    let rollout = serde_json::from_value(json!({
        "application": "shop",
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "service": {"name": "web", "port": 80},
        "strategy": {"canary": {"stepWeight": 10}},
    }))
    .expect("a rollout");
    let records = [RolloutRecord {
        name: "shop-web".to_owned(),
        spec: rollout,
        rendered_as: None,
    }];
    let content = content("shop", &spec, &records).expect("content");
    Release {
        id: Uuid::nil(),
        revision: 7,
        digest: content.digest(),
        content,
    }
}

fn encode(metrics: Option<&str>, attempt: u32) -> EncodedBundle {
    encode_release(&release(), metrics, attempt)
}

fn encode_release(release: &Release, metrics: Option<&str>, attempt: u32) -> EncodedBundle {
    encode_in(release, metrics, Vec::new(), (attempt, false))
}

fn encode_in(
    release: &Release,
    metrics: Option<&str>,
    traffic: Vec<Traffic>,
    (attempt, returns): (u32, bool),
) -> EncodedBundle {
    let at = |address: &str| MetricsDefaults {
        address: address.to_owned(),
        ..MetricsDefaults::default()
    };
    let cluster = ClusterFacts {
        id: Uuid::from_u128(1),
        name: "eu".to_owned(),
        labels: Default::default(),
        metrics: metrics.map(at),
        traffic,
        scheduling: std::sync::Arc::default(),
    };
    let fleet = FleetDefaults {
        traffic: serde_json::from_value(json!([{"gatewayApi": {"httpRoutes": ["web"]}}]))
            .expect("traffic"),
        metrics: Some(at("http://fleet")),
        ..FleetDefaults::default()
    };
    let application = NamespacedName {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
    };
    build(BundleInput {
        application: &application,
        release,
        run: Uuid::from_u128(9),
        attempt,
        mode: BundleMode::Rollout,
        returns,
        cluster: &cluster,
        fleets: &crate::addons::Fleets::new(),
        fleet: &fleet,
    })
    .expect("every override fits")
}

#[test]
fn namespaces_and_defaults_are_filled_in() {
    let bundle = encode(None, 1).bundle;
    let namespaces: Vec<(&str, Option<&str>)> = bundle
        .components
        .iter()
        .flat_map(|component| &component.objects)
        .map(|object| {
            let metadata = &object["metadata"];
            (
                metadata["name"].as_str().expect("a name"),
                metadata["namespace"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        namespaces,
        [
            ("web", Some("shop")),
            ("extra", None),
            ("c", Some("own")),
            ("gadgets.x.io", None),
            ("g", None),
            ("d", Some("data")),
        ]
    );
    let spec = &bundle.rollouts[0].spec;
    assert_eq!(spec.workload.namespace.as_deref(), Some("shop"));
    assert_eq!(spec.traffic.len(), 1);
    assert_eq!(
        bundle.metrics.map(|metrics| metrics.address).as_deref(),
        Some("http://fleet")
    );
    let own = encode(Some("http://cluster"), 1).bundle;
    assert_eq!(
        own.metrics.map(|metrics| metrics.address).as_deref(),
        Some("http://cluster")
    );
}

#[test]
fn without_traffic_a_rollout_gets_the_clusters_then_the_fleets() {
    let nginx: Vec<Traffic> =
        serde_json::from_value(json!([{"nginx": {"ingress": "web"}}])).expect("traffic");
    let sent = |release: &Release, traffic: &[Traffic]| {
        let bundle = encode_in(release, None, traffic.to_vec(), (1, false)).bundle;
        bundle.rollouts[0].spec.traffic.clone()
    };
    let mut release = release();
    assert_eq!(sent(&release, &nginx), nginx);
    assert!(sent(&release, &[])[0].gateway_api.is_some());
    let own: Vec<Traffic> =
        serde_json::from_value(json!([{"contour": {"httpProxy": "web"}}])).expect("traffic");
    release.content.rollouts[0].spec.traffic.clone_from(&own);
    assert_eq!(sent(&release, &nginx), own);
}

#[test]
fn a_bundle_is_named_by_its_bytes() {
    let one = encode(None, 1);
    assert_eq!(one, encode(None, 1), "the same input gives the same bytes");
    assert_eq!(one.digest.as_slice(), Sha256::digest(&one.bytes).as_slice());
    let parsed = serde_json::from_slice(&one.bytes).expect("a bundle");
    assert_eq!(one.bundle, parsed);
    assert_ne!(
        one.digest,
        encode(None, 2).digest,
        "every attempt is its own bundle"
    );
}

#[test]
fn hooks_are_what_a_cluster_gets_of_them() {
    let mut release = release();
    let hook = |kind: &str, name: &str| ChartHook {
        object: json!({"apiVersion": "batch/v1", "kind": kind, "metadata": {"name": name},
            "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "shop:1"}]}}}}),
        moments: vec![HookMoment::PreUpgrade],
        weight: 1,
        delete: Vec::new(),
    };
    release.content.overrides = serde_json::from_value(json!([
        {"name": "mirror", "images": [{"name": "shop", "newTag": "2"}],
         "remove": [{"kind": "Job", "name": "gone"}]},
    ]))
    .expect("overrides");
    let plain = release.content.clone();
    let hooks = vec![hook("Job", "migrate"), hook("Job", "gone")];
    release.content = plain.with_hooks([("db".to_owned(), hooks)].into());
    let encoded = encode_release(&release, None, 1);
    assert!(encoded.bundle.components[0].hooks.is_empty());
    let hooks = &encoded.bundle.components[1].hooks;
    assert_eq!(hooks.len(), 1, "the other is removed: {hooks:?}");
    assert_eq!(hooks[0].object["metadata"]["namespace"], "data");
    let image = "/spec/template/spec/containers/0/image";
    assert_eq!(hooks[0].object.pointer(image), Some(&json!("shop:2")));
    assert_eq!(hooks[0].moments, [HookMoment::PreUpgrade]);
}

#[test]
fn service_accounts_travel_with_the_namespace_in_which_they_lie() {
    let accounts = |own: Option<&str>, of_component: Option<&str>| -> Vec<Option<String>> {
        let mut release = release();
        release.content.service_account = own.map(str::to_owned);
        release.content.components[1].service_account = of_component.map(str::to_owned);
        let encoded = encode_release(&release, None, 1);
        let read: Bundle = serde_json::from_slice(&encoded.bytes).expect("it can be read");
        assert_eq!(read, encoded.bundle);
        let components = read.components.into_iter();
        components
            .map(|one| one.service_account.map(|account| account.to_string()))
            .collect()
    };
    let some = |text: &str| Some(text.to_owned());
    for (own, of_component, expected) in [
        (None, None, [None, None]),
        (
            Some("deployer"),
            None,
            [some("shop/deployer"), some("shop/deployer")],
        ),
        // Of a component it lies where the component's objects do.
        (None, Some("dba"), [None, some("data/dba")]),
        (
            Some("deployer"),
            Some("dba"),
            [some("shop/deployer"), some("data/dba")],
        ),
    ] {
        assert_eq!(accounts(own, of_component), expected);
    }
}

#[test]
fn without_a_service_account_releases_and_bundles_are_what_they_were() {
    let release = release();
    let content = serde_json::to_string(&release.content).expect("JSON");
    assert!(!content.contains("serviceAccount"), "{content}");
    let bundle = String::from_utf8(encode(None, 1).bytes).expect("JSON");
    assert!(!bundle.contains("serviceAccount"), "{bundle}");
    let mut with = release.clone();
    with.content.service_account = Some("deployer".to_owned());
    assert_ne!(with.content.digest(), release.content.digest());
}

#[test]
fn what_goes_back_says_so_where_service_accounts_would_be_asked() {
    let bundle = |account: Option<&str>, returns: bool| {
        let mut release = release();
        release.content.service_account = account.map(str::to_owned);
        encode_in(&release, None, Vec::new(), (1, returns))
    };
    let said = |encoded: &EncodedBundle| {
        let read: Bundle = serde_json::from_slice(&encoded.bytes).expect("it can be read");
        assert_eq!(read, encoded.bundle);
        read.returns
    };
    assert!(said(&bundle(Some("deployer"), true)));
    assert!(!said(&bundle(Some("deployer"), false)));
    // Without an account it is what it was before.
    assert_eq!(bundle(None, true).digest, bundle(None, false).digest);
}
