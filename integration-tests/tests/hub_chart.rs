//! What the hub's chart makes, and what it refuses; a real API server takes it in the tests on clusters.

use bellwether_integration_tests::hub_chart::render;
use serde_json::{Value, json};

const NAMESPACE: &str = "bellwether";

fn values(more: &Value) -> Value {
    let mut values = json!({
        "image": "registry.example/hub:1", "agentAddresses": ["hub.example.com:7701"],
    });
    for (name, value) in more.as_object().expect("an object") {
        values[name] = value.clone();
    }
    values
}

fn made(more: &Value) -> Vec<Value> {
    render(NAMESPACE, &values(more)).expect("the chart renders")
}

fn refusal(namespace: &str, values: &Value) -> String {
    let refused = render(namespace, values).expect_err("it is refused");
    refused.to_string()
}

fn names(objects: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = objects
        .iter()
        .map(|one| {
            let name = one["metadata"]["name"].as_str().expect("a name");
            format!("{}/{name}", one["kind"].as_str().expect("a kind"))
        })
        .collect();
    names.sort();
    names
}

fn pod(objects: &[Value]) -> &Value {
    let deployment = objects.iter().find(|one| one["kind"] == "Deployment");
    &deployment.expect("a Deployment")["spec"]["template"]["spec"]
}

fn variable<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    let all = pod(objects)["containers"][0]["env"].as_array();
    let found = all
        .expect("variables")
        .iter()
        .find(|one| one["name"] == name);
    found.unwrap_or(&Value::Null)
}

#[test]
fn a_hub_that_mirrors_nothing_has_no_token_of_the_cluster() {
    let objects = made(&json!({}));
    assert_eq!(
        names(&objects),
        [
            "Deployment/bellwether-hub",
            "PersistentVolumeClaim/bellwether-hub-authority",
            "Service/bellwether-hub",
            "Service/bellwether-hub-agents",
            "ServiceAccount/bellwether-hub",
        ]
    );
    assert_eq!(pod(&objects)["automountServiceAccountToken"], false);
    assert!(variable(&objects, "BELLWETHER_CUSTOM_RESOURCES").is_null());
    let url = variable(&objects, "BELLWETHER_DATABASE_URL");
    assert_eq!(
        url["valueFrom"]["secretKeyRef"],
        json!({"name": "bellwether-database", "key": "url"})
    );
    // No application takes any of it over.
    for object in &objects {
        assert!(bellwether_api::installation::is_own(object), "{object}");
        assert_eq!(object["metadata"]["namespace"], NAMESPACE);
    }
}

#[test]
fn a_hub_that_mirrors_is_asked_by_a_service_of_its_own() {
    let objects = made(&json!({"customResources": {"enabled": true, "failurePolicy": "fail"}}));
    assert!(names(&objects).contains(&"Service/bellwether-hub-admission".to_owned()));
    assert_eq!(pod(&objects)["automountServiceAccountToken"], true);
    for (name, value) in [
        ("BELLWETHER_CUSTOM_RESOURCES", "true"),
        (
            "BELLWETHER_ADMISSION_ADDRESS",
            "bellwether/bellwether-hub-admission",
        ),
        ("BELLWETHER_ADMISSION_FAILURE_POLICY", "fail"),
        ("BELLWETHER_AGENT_ADDRESS", "hub.example.com:7701"),
    ] {
        assert_eq!(variable(&objects, name)["value"], value, "{name}");
    }
}

#[test]
fn what_would_not_work_is_refused_with_what_would() {
    let says = |namespace: &str, more: &Value, words: &str| {
        let said = refusal(namespace, &values(more));
        assert!(said.contains(words), "not {words:?}: {said}");
    };
    says(NAMESPACE, &json!({"image": ""}), "image");
    says(NAMESPACE, &json!({"agentAddresses": []}), "agentAddresses");
    says(
        NAMESPACE,
        &json!({"agentAddresses": ["hub"]}),
        "agentAddresses",
    );
    says(NAMESPACE, &json!({"replicsa": 2}), "replicsa");
    says(NAMESPACE, &json!({"replicas": 2}), "ReadWriteMany");
    says("bellwether-system", &json!({}), "namespace");
    let two = made(&json!({"replicas": 2, "persistence": {"accessModes": ["ReadWriteMany"]}}));
    let deployment = two.iter().find(|one| one["kind"] == "Deployment");
    assert_eq!(
        deployment.expect("a Deployment")["spec"]["strategy"]["type"],
        "RollingUpdate"
    );
}
