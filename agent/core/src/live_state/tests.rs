use serde_json::json;

use super::*;

fn written() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"nodeSelector": {"disk": "fast"}, "containers": [{
                    "name": "web", "image": "web:1", "args": ["--quick"],
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "ports": [{"containerPort": 8080}],
                    "resources": {"limits": {"cpu": "1000m"}},
                }]},
            },
        },
    })
}

/// As server-side apply notes it, without the fields that `others` took over.
fn owned() -> Value {
    json!({
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {
            "f:replicas": {}, "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {"f:nodeSelector": {}, "f:containers": {"k:{\"name\":\"web\"}": {
                    ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                    "f:env": {
                        "k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}},
                        "k:{\"name\":\"B\"}": {".": {}, "f:name": {}, "f:value": {}},
                    },
                    "f:ports": {"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":
                        {".": {}, "f:containerPort": {}}},
                    "f:resources": {"f:limits": {"f:cpu": {}}},
                }}},
            },
        },
    })
}

const CONTAINER: &str = "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"web\"}";

fn live(owned: &Value) -> Value {
    let mut live = written();
    live["metadata"]["managedFields"] = json!([
        {"manager": "bellwether-sync", "operation": "Apply", "fieldsV1": owned},
    ]);
    live["metadata"]["resourceVersion"] = "7".into();
    // What the API server makes of it.
    let container = &mut live["spec"]["template"]["spec"]["containers"][0];
    container["resources"]["limits"]["cpu"] = "1".into();
    container["ports"][0]["protocol"] = "TCP".into();
    container["imagePullPolicy"] = "IfNotPresent".into();
    live["status"] = json!({"replicas": 3});
    live
}

/// Takes a field from the agent, as a write of another field manager does.
fn lose(owned: &mut Value, parent: &str, field: &str) {
    let parent = owned.pointer_mut(parent).expect("it is owned");
    parent.as_object_mut().expect("fields").remove(field);
}

#[test]
fn what_the_api_server_fills_in_is_nobodys_change() {
    assert_eq!(live_state(&written(), &live(&owned()), false), None);
}

#[test]
fn fields_that_others_took_over_are_kept_as_they_were() {
    let mut fields = owned();
    lose(&mut fields, "/f:spec", "f:replicas");
    let env = format!("{CONTAINER}/f:env/k:{{\"name\":\"A\"}}");
    lose(&mut fields, &env, "f:value");
    let mut changed = live(&fields);
    changed["spec"]["replicas"] = 5.into();
    let env = &mut changed["spec"]["template"]["spec"]["containers"][0]["env"];
    env[0]["value"] = "by hand".into();
    env.as_array_mut()
        .expect("a list")
        .insert(0, json!({"name": "OWN", "value": "theirs"}));
    let state = live_state(&written(), &changed, false).expect("it was changed");
    assert_eq!(
        state.fields,
        [
            "spec.replicas",
            "spec.template.spec.containers[web].env[A].value"
        ]
    );
    let mut expected = written();
    expected["spec"]["replicas"] = 5.into();
    expected["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "by hand".into();
    assert_eq!(state.object, expected, "and nothing that is theirs alone");

    // A size that an autoscaler sets is not brought back.
    let state = live_state(&written(), &changed, true).expect("it was changed");
    assert_eq!(state.object["spec"]["replicas"], 3);
}

#[test]
fn what_the_agent_wrote_itself_is_no_change() {
    let mut half = live(&owned());
    half["spec"]["replicas"] = 9.into();
    half["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2".into();
    assert_eq!(live_state(&written(), &half, false), None);
    // Nor is anything known where nobody says who owns what.
    half["metadata"]["managedFields"] = json!([]);
    assert_eq!(live_state(&written(), &half, false), None);
}

#[test]
fn what_others_took_away_stays_away() {
    let mut fields = owned();
    lose(
        &mut fields,
        &format!("{CONTAINER}/f:env"),
        "k:{\"name\":\"B\"}",
    );
    lose(&mut fields, "/f:spec/f:template/f:spec", "f:nodeSelector");
    let mut changed = live(&fields);
    let spec = &mut changed["spec"]["template"]["spec"];
    spec.as_object_mut().expect("a pod").remove("nodeSelector");
    spec["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
    let state = live_state(&written(), &changed, false).expect("it was changed");
    assert_eq!(
        state.fields,
        [
            "spec.template.spec.containers[web].env[B]",
            "spec.template.spec.nodeSelector"
        ]
    );
    let spec = &state.object["spec"]["template"]["spec"];
    assert!(spec.get("nodeSelector").is_none(), "{spec}");
    assert_eq!(
        spec["containers"][0]["env"],
        json!([{"name": "A", "value": "1"}])
    );
}

#[test]
fn a_list_that_is_owned_as_a_whole_is_taken_as_a_whole() {
    let mut fields = owned();
    lose(&mut fields, CONTAINER, "f:args");
    lose(&mut fields, "/f:metadata", "f:labels");
    let mut changed = live(&fields);
    changed["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["--slow", "--loud"]);
    changed["metadata"]["labels"]["app"] = "other".into();
    let state = live_state(&written(), &changed, false).expect("it was changed");
    assert_eq!(
        state.fields,
        [
            "metadata.labels.app",
            "spec.template.spec.containers[web].args"
        ]
    );
    let container = &state.object["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["--slow", "--loud"]));
    assert_eq!(state.object["metadata"]["labels"]["app"], "other");
    assert!(state.object["metadata"].get("managedFields").is_none());
}
