//! Documents that must be accepted, and what is read from them.

use bellwether_api::{
    application::OnFailure,
    document::{Document, Kind, load, parse},
    number::IntOrPercent,
};
use serde_json::json;

const SHOP: &str = include_str!("data/shop.yaml");

#[test]
fn an_application_with_its_rollout_passes() {
    let loaded = load("shop.yaml", SHOP.as_bytes()).expect("the example is right");
    assert_eq!(loaded.warnings, []);
    let kinds: Vec<Kind> = loaded.documents.iter().map(Document::kind).collect();
    assert_eq!(kinds, [Kind::Fleet, Kind::Application, Kind::Rollout]);
    let Document::Application(shop) = &loaded.documents[1] else {
        panic!("an Application")
    };
    assert_eq!(shop.spec.on_failure, Some(OnFailure::RollbackAll));
    assert_eq!(
        shop.spec.waves[1].max_concurrent,
        Some(IntOrPercent::Percent(25))
    );
    // 0644 as kubectl reads it.
    let config = &shop.spec.components[0]
        .manifests
        .as_ref()
        .expect("manifests")[3];
    assert_eq!(config["data"]["mode"], json!(420));
    assert_eq!(config["data"]["on"], json!("kept"));
}

#[test]
fn json_and_yaml_give_the_same() {
    let documents = parse("shop.yaml", SHOP.as_bytes()).expect("the example is right");
    for document in documents {
        let value = document.to_value();
        for text in [
            value.to_string(),
            serde_json::to_string_pretty(&value).expect("JSON"),
        ] {
            let again = parse("body", text.as_bytes()).expect("JSON is read too");
            assert_eq!(again[0].to_value(), value);
        }
        let yaml = serde_saphyr::to_string(&value).expect("JSON is YAML");
        let again = parse("again.yaml", yaml.as_bytes()).expect("our own YAML is read");
        assert_eq!(again[0].to_value(), value);
    }
}

#[test]
fn json_escapes_are_read_as_json_means_them() {
    let text = r#"{"apiVersion":"bellwether.dev\/v1alpha1","kind":"Fleet","metadata":{"name":"eu","annotations":{"a":"\ud83d\ude00 \u00e9\t\"x\""}},"spec":{}}"#;
    let documents = parse("body", text.as_bytes()).expect("valid JSON");
    assert_eq!(documents[0].metadata().annotations["a"], "😀 é\t\"x\"");
}

#[test]
fn server_fields_of_get_output_are_accepted() {
    let text = "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\nmetadata:\n  name: eu\n  uid: x\n  \
                generation: 3\n  creationTimestamp: 2026-01-02T03:04:05Z\n  resourceVersion: \"7\"\n\
                spec: {clusters: [a], selector: null}\nstatus: {members: 1}\n";
    let documents = parse("fleet.yaml", text.as_bytes()).expect("get -o yaml can be applied");
    assert_eq!(
        documents[0].metadata().resource_version.as_deref(),
        Some("7")
    );
}

#[test]
fn anchors_and_merges_are_expanded() {
    let text = "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\nmetadata:\n  name: eu\n  labels: &l \
                {a: x, b: v}\n  annotations: {<<: *l, b: z}\nspec: {clusters: [c]}\n";
    let documents = parse("fleet.yaml", text.as_bytes()).expect("anchors are read");
    let annotations = &documents[0].metadata().annotations;
    assert_eq!(
        (annotations["a"].as_str(), annotations["b"].as_str()),
        ("x", "z")
    );
}

#[test]
fn defaults_are_stable() {
    let loaded = load("shop.yaml", SHOP.as_bytes()).expect("the example is right");
    let Document::Rollout(rollout) = &loaded.documents[2] else {
        panic!("a Rollout")
    };
    let once = rollout.spec.clone().with_defaults("webapp");
    assert_eq!(once.clone().with_defaults("elsewhere"), once);
    let value = serde_json::to_value(&once).expect("a spec is JSON");
    assert_eq!(value["strategy"]["canary"]["advance"], json!("Auto"));
    assert_eq!(value["analysis"]["metrics"][1]["aggregation"], json!("P99"));
    assert_eq!(value["analysis"]["metrics"][1]["onNoData"], json!("Hold"));
    let mut spelled = rollout.spec.clone();
    spelled.analysis.metrics[1].min_requests = Some(spelled.analysis.min_requests);
    assert_eq!(spelled.with_defaults("webapp"), once);
}

#[test]
fn a_rollout_without_metrics_is_warned_of() {
    let text = SHOP.replace("    metrics:\n", "    metrics: []\n");
    let start = text
        .find("    - {name: request-success-rate")
        .expect("the first metric");
    let loaded = load("shop.yaml", &text.as_bytes()[..start]).expect("metrics are optional");
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "shop.yaml:70:5 spec.analysis.metrics: no metrics are set (NothingConfigured): steps pass \
          as soon as the pods are ready"
        ]
    );
}
