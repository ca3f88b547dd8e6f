use bellwether_api::overrides::Target;
use serde_json::json;

use super::*;

const OWN: &str = "bellwether-";

fn rule(pointers: &[&str], managers: &[&str]) -> IgnoreRule {
    let texts = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
    IgnoreRule {
        target: Target {
            kind: "Deployment".to_owned(),
            ..Target::default()
        },
        json_pointers: texts(pointers),
        managers: texts(managers),
    }
}

fn wanted() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "1", "b": "1"}},
        "spec": {"replicas": 2, "args": ["a", "b"],
            "containers": [{"name": "web", "image": "v1", "cpu": "1"}, {"name": "log", "image": "l1"}]}})
}

/// The live object with the fields of ours and of one other.
fn live(change: impl FnOnce(&mut Value), ours: &Value, others: &Value) -> Value {
    let mut live = wanted();
    change(&mut live);
    live["metadata"]["resourceVersion"] = json!("7");
    live["metadata"]["managedFields"] = json!([
        {"manager": "bellwether-sync", "operation": "Apply", "fieldsV1": ours},
        {"manager": "scaler", "operation": "Update", "fieldsV1": others},
        {"manager": "scaler", "operation": "Update", "subresource": "status",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}}}},
    ]);
    live
}

fn all_ours() -> Value {
    json!({"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}},
        "f:spec": {"f:replicas": {}, "f:args": {}, "f:containers": {
            "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}, "f:cpu": {}},
            "k:{\"name\":\"log\"}": {".": {}, "f:name": {}, "f:image": {}}}}})
}

fn applied(pointers: &[&str], managers: &[&str], live: &Value) -> Value {
    Ignored::of(&[rule(pointers, managers)], &wanted()).applied(&wanted(), live, OWN)
}

/// `wanted` with one change.
fn but_for(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = wanted();
    change(&mut object);
    object
}

fn remove(object: &mut Value, parent: &str, key: &str) {
    object
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .expect(parent)
        .remove(key);
}

#[test]
fn a_field_that_somebody_else_owns_is_left_out() {
    let theirs = json!({"f:spec": {"f:replicas": {}}});
    let live = live(
        |live| live["spec"]["replicas"] = json!(9),
        &all_ours(),
        &theirs,
    );
    let expected = but_for(|object| remove(object, "/spec", "replicas"));
    assert_eq!(applied(&["/spec/replicas"], &[], &live), expected);
    assert_eq!(applied(&[], &["scaler"], &live), expected);
    assert_eq!(applied(&[], &["another"], &live), wanted());
    let scaled = but_for(|object| object["spec"]["replicas"] = json!(9));
    for rule in [rule(&["/spec/replicas"], &[]), rule(&[], &["scaler"])] {
        let found = Ignored::of(&[rule], &wanted()).with_live(&wanted(), &live);
        assert_eq!(found, scaled, "what is left to others is no change of them");
    }
}

#[test]
fn a_field_that_we_alone_own_stays_as_it_is_and_is_not_taken_away() {
    let live = live(
        |live| live["spec"]["replicas"] = json!(9),
        &all_ours(),
        &json!({}),
    );
    let expected = but_for(|object| {
        object["spec"]["replicas"] = json!(9);
        object["metadata"]["resourceVersion"] = json!("7");
    });
    assert_eq!(applied(&["/spec/replicas"], &[], &live), expected);
    // Nothing is named where nothing is taken.
    let same = super::tests::live(|_| {}, &all_ours(), &json!({}));
    assert_eq!(applied(&["/spec/replicas"], &[], &same), wanted());
}

#[test]
fn a_field_that_somebody_took_away_is_not_put_back() {
    let live = live(
        |live| remove(live, "/metadata/labels", "b"),
        &all_ours(),
        &json!({}),
    );
    let expected = but_for(|object| remove(object, "/metadata/labels", "b"));
    assert_eq!(applied(&["/metadata/labels/b"], &[], &live), expected);
}

#[test]
fn of_a_whole_part_each_field_goes_to_its_owner() {
    let theirs = json!({"f:metadata": {"f:labels": {"f:a": {}, "f:c": {}}}});
    let live = live(
        |live| live["metadata"]["labels"] = json!({"a": "2", "b": "1", "c": "3"}),
        &all_ours(),
        &theirs,
    );
    let expected = but_for(|object| object["metadata"]["labels"] = json!({"b": "1"}));
    assert_eq!(applied(&["/metadata/labels"], &[], &live), expected);
    assert_eq!(applied(&[], &["scaler"], &live), expected);
}

#[test]
fn items_of_a_list_are_told_apart_by_their_keys() {
    let theirs = json!({"f:spec": {"f:containers": {
        "k:{\"name\":\"web\"}": {"f:image": {}}, "k:{\"name\":\"proxy\"}": {".": {}, "f:name": {}}}}});
    let live = live(
        |live| {
            live["spec"]["containers"] = json!([{"name": "proxy"}, {"name": "log", "image": "l1"},
                {"name": "web", "image": "v9", "cpu": "1"}]);
        },
        &all_ours(),
        &theirs,
    );
    let expected = but_for(|object| remove(object, "/spec/containers/0", "image"));
    assert_eq!(applied(&["/spec/containers/0/image"], &[], &live), expected);
    assert_eq!(applied(&[], &["scaler"], &live), expected);
    assert_eq!(applied(&["/spec/containers"], &[], &live), expected);
    // Somebody's own item is none of ours.
    assert_eq!(applied(&["/spec/containers/1"], &[], &live), wanted());
}

#[test]
fn a_list_with_one_owner_is_applied_with_what_is_there() {
    let theirs = json!({"f:spec": {"f:args": {}}});
    let live = live(
        |live| live["spec"]["args"] = json!(["x", "y"]),
        &all_ours(),
        &theirs,
    );
    let expected = but_for(|object| remove(object, "/spec", "args"));
    assert_eq!(applied(&["/spec/args"], &[], &live), expected);
    let expected = but_for(|object| {
        object["spec"]["args"] = json!(["a", "y"]);
        object["metadata"]["resourceVersion"] = json!("7");
    });
    assert_eq!(applied(&["/spec/args/1"], &[], &live), expected);
}

#[test]
fn in_a_run_only_what_it_does_not_change_is_left() {
    let rules = [rule(
        &[
            "/spec/replicas",
            "/spec/containers/0/image",
            "/metadata/labels/a",
            "/metadata/labelsx",
        ],
        &["scaler"],
    )];
    let within = Ignored::of(&rules, &wanted()).within_run();
    assert_eq!(
        within.pointers,
        [vec!["spec", "replicas"], vec!["metadata", "labels", "a"]]
    );
    assert!(within.managers.is_empty());
}

#[test]
fn only_the_objects_that_are_meant() {
    let mut other = wanted();
    other["kind"] = json!("Service");
    assert!(Ignored::of(&[rule(&["/spec"], &[])], &other).is_empty());
    let mut elsewhere = rule(&["/spec"], &[]);
    elsewhere.target.namespace = Some("elsewhere".to_owned());
    assert!(Ignored::of(&[elsewhere], &wanted()).is_empty());
}
