//! What a rollout says of the Service that clients use.

use bellwether_api::{
    document::{Document, load},
    rollout::ServiceRef,
};

mod one_component;

/// An application whose rollout says this of its Service, whose port has these fields.
fn application(service: &str, port: &str) -> String {
    let lines = format!(
        "    manifests:
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {{name: web}}
      spec:
        selector: {{matchLabels: {{app: web}}}}
        template:
          metadata: {{labels: {{app: web}}}}
          spec:
            containers:
            - {{name: web, image: 'web:1', ports: [{{name: http, containerPort: 8080}}]}}
    - apiVersion: v1
      kind: Service
      metadata: {{name: web}}
      spec: {{selector: {{app: web}}, ports: [{{{port}}}]}}
    rollout:
      workload: {{apiVersion: apps/v1, kind: Deployment, name: web}}
      service: {{name: web, port: 80{service}}}
      strategy: {{canary: {{stepWeight: 10}}}}
      analysis: {{skip: true}}
"
    );
    one_component::application("web", &lines)
}

fn refused(service: &str, port: &str) -> Vec<String> {
    one_component::errors(&application(service, port))
}

const PORT: &str = "port: 80, targetPort: http, appProtocol: kubernetes.io/h2c";

#[test]
fn what_is_said_of_a_service_must_be_so() {
    for service in [
        "",
        ", targetPort: http, appProtocol: kubernetes.io/h2c",
        ", targetPort: 8080",
        ", canary: {labels: {team: shop}, annotations: {prometheus.io/scrape: 'true'}}",
    ] {
        assert_eq!(refused(service, PORT), [""; 0], "{service}");
    }
    for (service, says) in [
        (
            ", targetPort: 9090",
            "service.targetPort: port 80 of Service web leads to \"http\" of its pods, not to 9090; change \
             the Service, or leave it out here",
        ),
        (
            ", appProtocol: http",
            "service.appProtocol: port 80 of Service web has appProtocol \"kubernetes.io/h2c\", not \
             \"http\"; change the Service, or leave it out here",
        ),
        (
            ", targetPort: 0",
            "service.targetPort: a port is a number of 1 to 65535 or a port's name",
        ),
        (
            ", appProtocol: 'a b'",
            "service.appProtocol: a protocol is a name such as http, or one with a prefix such as \
             kubernetes.io/h2c",
        ),
        (
            ", canary: {labels: {bellwether.dev/run: x}}",
            "service.canary.labels[\"bellwether.dev/run\"]: Bellwether says this of its own Services; leave \
             it out",
        ),
        (
            ", canary: {labels: {team: 'a b'}}",
            "service.canary.labels.team: no valid label value; at most 63 letters, digits, -, _ and ., with \
             a letter or digit at both ends",
        ),
        (
            ", namespace: other",
            "service.namespace: a Service selects pods of its own namespace, so it lies where the workload \
             does; set workload.namespace",
        ),
        (
            ", stable: {labels: {team: shop}}",
            "service.stable: no Service is made for the stable version: the one that is named leads to it; \
             write labels and annotations there",
        ),
    ] {
        let errors = refused(service, PORT);
        assert!(
            errors.iter().any(|error| error == says),
            "{service}: {errors:#?}"
        );
    }
}

#[test]
fn what_is_said_of_a_service_is_read_back_as_it_was_written() {
    let said = ", targetPort: 8080, canary: {labels: {team: shop}}";
    let loaded = load("in.yaml", application(said, PORT).as_bytes()).expect("a document");
    let Some(Document::Application(object)) = loaded.documents.first() else {
        panic!("no application");
    };
    let rollout = object.spec.components[0]
        .rollout
        .as_ref()
        .expect("a rollout");
    let service: &ServiceRef = rollout.service.as_ref().expect("a Service");
    assert_eq!(
        service.canary.as_ref().expect("words").labels["team"],
        "shop"
    );
    let written = serde_json::to_value(service).expect("JSON");
    assert_eq!(
        written,
        serde_json::json!({"name": "web", "port": 80, "targetPort": 8080,
            "canary": {"labels": {"team": "shop"}}})
    );
}
