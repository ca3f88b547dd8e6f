use bellwether_api::workload_adapter::WorkloadAdapter;
use serde_json::{Value, json};

use super::*;
use crate::{
    adopted::{HELD_ANNOTATION, Held, Look, ROLLOUT_MANAGER, WRITTEN_ANNOTATION},
    merge_patch::merged,
    settled::TemplateVersion as Template,
};

const ROLLOUT: &str = "shop-db";
const ALL: i32 = i32::MAX;

fn stateful_set() -> WorkloadAdapter {
    WorkloadAdapter::known("apps/v1", "StatefulSet").expect("known")
}

fn daemon_set() -> WorkloadAdapter {
    WorkloadAdapter::known("apps/v1", "DaemonSet").expect("known")
}

fn shard() -> WorkloadAdapter {
    WorkloadAdapter::of_partition("/spec/update/held")
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"image": image}]}})
}

/// A StatefulSet of three whose controller has seen it.
fn set(image: &str, more: &Value) -> Value {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "uid": "u", "generation": 2},
        "spec": {"replicas": 3, "template": template(image), "updateStrategy":
            {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
        "status": {"observedGeneration": 2, "replicas": 3, "updateRevision": format!("db-{image}"),
            "currentRevision": "db-v1"},
    });
    merged(&object, more)
}

fn daemons(image: &str, more: &Value) -> Value {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "db", "uid": "u", "generation": 2},
        "spec": {"template": template(image), "updateStrategy":
            {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}},
        "status": {"observedGeneration": 2, "desiredNumberScheduled": 3},
    });
    merged(&object, more)
}

/// `1` and `2` for pods of both versions, from the first ordinal on; a `-` after one that is not ready.
fn pods(text: &str) -> Vec<Pod> {
    let mut pods: Vec<Pod> = Vec::new();
    for letter in text.chars() {
        if letter == '-' {
            pods.last_mut().expect("a pod").ready = false;
            continue;
        }
        let name = format!("db-{}", pods.len());
        pods.push(Pod {
            uid: format!("uid-{name}"),
            name,
            label: format!("db-v{letter}"),
            ready: true,
        });
    }
    pods
}

/// The ControllerRevisions of both versions, as their controller writes them.
fn recorded(object: &Value) -> Vec<Recorded> {
    let revision = |image: &str, number: i64| {
        let mut template = template(image);
        template["$patch"] = json!("replace");
        template["metadata"]["creationTimestamp"] = Value::Null;
        json!({
            "metadata": {"name": format!("db-{image}"),
                "ownerReferences": [{"controller": true, "uid": "u"}]},
            "revision": number, "data": {"spec": {"template": template}},
        })
    };
    let mut foreign = revision("v9", 9);
    foreign["metadata"]["ownerReferences"][0]["uid"] = json!("other");
    Recorded::of(object, &[revision("v1", 1), revision("v2", 2), foreign])
}

fn sight(object: &Value, adapter: &WorkloadAdapter, running: &str) -> InPlaceSight {
    InPlaceSight::of(object, adapter, pods(running), &recorded(object))
}

fn held_by(partition: &Value) -> Value {
    let note = json!({"users": 0, "ours": partition}).to_string();
    json!({
        "metadata": {"annotations": {HELD_ANNOTATION: ROLLOUT, PARTITION_ANNOTATION: note}},
        "spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}},
    })
}

#[test]
fn whoever_paces_updates_by_hand_or_records_nothing_goes_without_a_run() {
    let on_delete =
        json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}});
    let by_hand = sight(&set("v2", &on_delete), &stateful_set(), "111");
    assert_eq!(look_in_place(&by_hand, true), Look::PausedByOthers);
    let held = set("v2", &held_by(&json!(ALL)));
    // As many as there are pods, by its owner's own word: those that come would be of it.
    let own = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 3}}}});
    let barely = sight(&merged(&held, &own), &stateful_set(), "111");
    assert_eq!(look_in_place(&barely, true), Look::Catch);
    for (what, running) in [("a pod is away", "11"), ("all are lost", "")] {
        let away = sight(&held, &stateful_set(), running);
        assert_eq!(look_in_place(&away, true), Look::Stands, "{what}");
        let patch = released(&away).expect("a trace");
        let let_go = merged(&held, &patch);
        assert_eq!(let_go["spec"]["template"], template("v1"), "{what}");
    }
    let none = merged(&held, &json!({"spec": {"replicas": 0}}));
    let none = sight(&none, &stateful_set(), "");
    assert_eq!(look_in_place(&none, true), Look::Release, "scaled to zero");
    let unknown = InPlaceSight::of(&held, &shard(), Vec::new(), &[]);
    assert_eq!(look_in_place(&unknown, true), Look::Settling);
    // Nobody has recorded what ran before: it could not go back.
    let blind = InPlaceSight::of(&held, &stateful_set(), pods("111"), &[]);
    assert_eq!(look_in_place(&blind, true), Look::Bypassed);
}

/// Its controller makes pods that the partition keeps from the template of this revision.
fn making(object: &Value, current: &str) -> Value {
    merged(object, &json!({"status": {"currentRevision": current}}))
}

#[test]
fn an_update_waits_until_pods_that_come_are_of_the_version_before_too() {
    let adapter = stateful_set();
    let held = making(&set("v2", &held_by(&json!(ALL))), "db-v0");
    let waits = sight(&held, &adapter, "111-");
    assert_eq!(look_in_place(&waits, true), Look::Settling);
    assert!(waits.strays());
    let strays = sight(&held, &adapter, "111");
    assert_eq!(look_in_place(&strays, true), Look::Completes);
    let back = merged(&held, &completed(&strays, ROLLOUT).expect("it is written"));
    assert_eq!(back["spec"]["template"], template("v1"));
    assert_eq!(*partition(&back), json!(0), "pods that come are of it");
    // Its controller has not counted it yet, or not seen it.
    let mut seen = merged(&back, &json!({"status": {"updateRevision": "db-v1"}}));
    for unsettled in [
        seen.clone(),
        merged(
            &making(&seen, "db-v1"),
            &json!({"metadata": {"generation": 3}}),
        ),
    ] {
        let sight = sight(&unsettled, &adapter, "111");
        assert_eq!(look_in_place(&sight, true), Look::Completes);
        assert_eq!(completed(&sight, ROLLOUT), None);
    }
    seen = making(&seen, "db-v1");
    let given = completed(&sight(&seen, &adapter, "111"), ROLLOUT).expect("it is given back");
    let mut end = merged(&seen, &given);
    end["status"]["updateRevision"] = json!("db-v2");
    assert_eq!(end["spec"], held["spec"]);
    let annotations = &end["metadata"]["annotations"];
    assert_eq!(annotations.get(WRITTEN_ANNOTATION), None);
    assert_eq!(
        look_in_place(&sight(&end, &adapter, "111"), true),
        Look::Stands
    );
    // Of other kinds nothing is known of pods that come.
    let shards = InPlaceSight::of(&held, &shard(), pods("111"), &recorded(&held));
    assert!(!shards.strays());
}

#[test]
fn pods_that_would_come_again_of_the_template_are_not_taken_back() {
    let looks = |object: &Value| look_in_place(&sight(object, &stateful_set(), "2-11"), true);
    let unseen = json!({"metadata": {"generation": 3}});
    let undo = Look::Undo {
        replica_set: "db-v2".to_owned(),
    };
    for (hold, while_unseen, of_the_version_before) in [
        (held_by(&json!(ALL)), Look::Settling, undo),
        (json!({}), Look::Catch, Look::Catch),
    ] {
        let object = set("v2", &hold);
        let complete = making(&object, "db-v2");
        assert_eq!(looks(&complete), Look::Bypassed, "{hold}");
        assert_eq!(looks(&merged(&complete, &unseen)), while_unseen, "{hold}");
        assert_eq!(looks(&object), of_the_version_before, "{hold}");
    }
}

#[test]
fn where_each_node_has_a_pod_none_of_the_new_ones_is_taken_back() {
    let note = json!({"users": "RollingUpdate", "ours": "OnDelete"}).to_string();
    let held = json!({
        "metadata": {"annotations": {HELD_ANNOTATION: ROLLOUT, PARTITION_ANNOTATION: note}},
        "spec": {"updateStrategy": {"type": "OnDelete"}},
    });
    let none = json!({});
    let cases = [
        ("at rest", daemons("v1", &none), "111", Look::Rest),
        ("changed", daemons("v2", &none), "111", Look::Catch),
        (
            "changed, and one is made",
            daemons("v2", &none),
            "112-",
            Look::Bypassed,
        ),
        (
            "held, and a node has none",
            daemons("v2", &held),
            "11",
            Look::Settling,
        ),
        (
            "held, and one is made all the same",
            daemons("v2", &held),
            "112-",
            Look::Bypassed,
        ),
        ("held", daemons("v2", &held), "111", Look::Stands),
    ];
    for (what, object, running, expected) in cases {
        let sight = sight(&object, &daemon_set(), running);
        assert_eq!(look_in_place(&sight, true), expected, "{what}");
    }
}

/// Holds a workload as a run wants it; the same is never written twice.
fn laid(object: &Value, adapter: &WorkloadAdapter, running: &str, wanted: Wanted) -> Value {
    let (new, old) = (template("v2"), template("v1"));
    let held = Held {
        rollout: ROLLOUT,
        new: &new,
        old: &old,
    };
    let patch = workload_hold(&sight(object, adapter, running), held, wanted);
    let after = patch.map_or_else(|| object.clone(), |patch| merged(object, &patch));
    let again = workload_hold(&sight(&after, adapter, running), held, wanted);
    assert_eq!(again, None, "written twice: {after}");
    after
}

fn wants(template: Template, held: Option<u32>) -> Wanted {
    Wanted { template, held }
}

fn partition(object: &Value) -> &Value {
    &object["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
}

#[test]
fn pods_are_held_and_let_go_and_in_the_end_no_trace_is_left() {
    let adapter = stateful_set();
    let written = set("v2", &json!({}));
    let held = laid(&written, &adapter, "111", wants(Template::Old, None));
    assert_eq!(
        *partition(&held),
        json!(ALL),
        "pods that come later are held too"
    );
    assert_eq!(
        held["spec"]["template"],
        template("v2"),
        "it stays its owner's"
    );
    let first = laid(&held, &adapter, "111", wants(Template::New, Some(2)));
    assert_eq!(*partition(&first), json!(2));
    let all = laid(&first, &adapter, "112", wants(Template::New, Some(0)));
    assert_eq!(*partition(&all), json!(0));
    let mut end = laid(&all, &adapter, "222", wants(Template::New, None));
    assert_eq!(end["metadata"]["annotations"], json!({}));
    end["metadata"]
        .as_object_mut()
        .expect("metadata")
        .remove("annotations");
    assert_eq!(end, written);
}

#[test]
fn pods_go_back_by_the_template_before_and_the_owners_is_held_again() {
    let adapter = stateful_set();
    let held = laid(
        &set("v2", &json!({})),
        &adapter,
        "111",
        wants(Template::Old, None),
    );
    let step = laid(&held, &adapter, "111", wants(Template::New, Some(2)));
    let back = laid(&step, &adapter, "112-", wants(Template::Old, Some(0)));
    assert_eq!(back["spec"]["template"], template("v1"));
    assert_eq!(*partition(&back), json!(0));
    // Not before its controller counts the version before as complete.
    let early = laid(&back, &adapter, "111", wants(Template::Old, None));
    assert_eq!(early["spec"], back["spec"]);
    let again = sight(&early, &adapter, "111");
    let (new, old) = (template("v2"), template("v1"));
    let of_run = Held {
        rollout: ROLLOUT,
        new: &new,
        old: &old,
    };
    assert!(!is_as_wanted(&again, of_run, wants(Template::Old, None)));
    let complete = json!({"status": {"updateRevision": "db-v1"}});
    let back = merged(&back, &complete);
    let end = laid(&back, &adapter, "111", wants(Template::Old, None));
    assert_eq!(end["spec"]["template"], template("v2"));
    assert_eq!(*partition(&end), json!(ALL));
    assert!(
        end["metadata"]["annotations"]
            .get(WRITTEN_ANNOTATION)
            .is_none()
    );
    // A third template that comes while pods of the second are there goes the same way.
    let third = merged(&step, &json!({"spec": {"template": template("v3")}}));
    let back = laid(&third, &adapter, "112", wants(Template::Old, Some(0)));
    assert_eq!(back["spec"]["template"], template("v1"));
    let back = merged(&back, &complete);
    let end = laid(&back, &adapter, "111", wants(Template::Old, None));
    assert_eq!(
        end["spec"]["template"],
        template("v3"),
        "the newest word is its owner's"
    );
    // A fourth that nobody asked about, while that of before stands there, is the newest in turn.
    let fourth = merged(&back, &json!({"spec": {"template": template("v4")}}));
    let held = laid(&fourth, &adapter, "111", wants(Template::Old, None));
    assert_eq!(held["spec"]["template"], template("v4"));
    assert_eq!(
        held["metadata"]["annotations"].get(WRITTEN_ANNOTATION),
        None
    );
    // Pods that come would be of the second version, whose update was complete.
    let strays = making(&third, "db-v2");
    let back = laid(&strays, &adapter, "111", wants(Template::Old, Some(0)));
    assert_eq!(back["spec"]["template"], template("v1"));
    assert_eq!(as_standing(&sight(&strays, &adapter, "111"), of_run), None);
    // The owner's own way back leaves nothing to hold.
    let own = merged(&step, &json!({"spec": {"template": template("v1")}}));
    let end = laid(&own, &adapter, "111", wants(Template::Old, None));
    assert_eq!(*partition(&end), json!(0));
    assert_eq!(end["metadata"]["annotations"], json!({}));
}

#[test]
fn what_its_owner_writes_into_the_field_meanwhile_is_what_it_gets_back() {
    let adapter = stateful_set();
    let held = laid(
        &set("v2", &json!({})),
        &adapter,
        "111",
        wants(Template::Old, None),
    );
    let step = laid(&held, &adapter, "111", wants(Template::New, Some(2)));
    let own = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}});
    let again = laid(
        &merged(&step, &own),
        &adapter,
        "111",
        wants(Template::New, Some(2)),
    );
    assert_eq!(*partition(&again), json!(2), "ours is put back");
    let end = laid(&again, &adapter, "222", wants(Template::New, None));
    assert_eq!(*partition(&end), json!(1));
    // Who applies exactly what stands there has said so; of an update that changes nothing it is not known.
    let managed = |manager: &str, operation: &str| {
        let fields =
            json!({"f:spec": {"f:updateStrategy": {"f:rollingUpdate": {"f:partition": {}}}}});
        json!({"manager": manager, "operation": operation, "fieldsV1": fields})
    };
    for (operation, expected) in [("Apply", 2), ("Update", 1)] {
        let mut applied = again.clone();
        applied["metadata"]["managedFields"] = json!([
            managed(ROLLOUT_MANAGER, "Update"),
            managed("flux", operation)
        ]);
        let mut next = laid(&applied, &adapter, "112", wants(Template::New, Some(0)));
        next["metadata"]["managedFields"] = json!([managed(ROLLOUT_MANAGER, "Update")]);
        for last in [next, applied] {
            let end = laid(&last, &adapter, "222", wants(Template::New, None));
            assert_eq!(*partition(&end), json!(expected), "{operation}");
        }
    }
    // Whoever replaces the whole object takes the note away with it.
    let replaced = laid(
        &set("v2", &own),
        &adapter,
        "112",
        wants(Template::New, Some(2)),
    );
    assert_eq!(*partition(&replaced), json!(2));
    let end = laid(&replaced, &adapter, "222", wants(Template::New, None));
    assert_eq!(*partition(&end), json!(1));
}

#[test]
fn a_field_of_any_kind_is_given_back_with_what_was_made_around_it() {
    for (spec, name) in [
        (
            json!({"replicas": 3, "template": template("v2")}),
            "nothing around it",
        ),
        (
            json!({"replicas": 3, "template": template("v2"), "update": {}}),
            "an empty one",
        ),
        (
            json!({"replicas": 3, "template": template("v2"), "update": {"other": 1}}),
            "a full one",
        ),
        (
            json!({"replicas": 3, "template": template("v2"), "update": {"held": 0}}),
            "its own word",
        ),
    ] {
        let written = json!({
            "apiVersion": "example.dev/v1", "kind": "Shard",
            "metadata": {"name": "db", "uid": "u", "generation": 2, "annotations": {"a": "b"}},
            "spec": spec, "status": {"observedGeneration": 2, "updateRevision": "db-v2"},
        });
        let held = laid(&written, &shard(), "111", wants(Template::Old, None));
        assert_eq!(held["spec"]["update"]["held"], json!(3), "{name}");
        // Nobody but the object itself knows where its kind keeps what, once the plan is gone.
        assert_eq!(adapter_of(&held), Some(shard()), "{name}");
        let end = laid(&held, &shard(), "222", wants(Template::New, None));
        assert_eq!(end, written, "{name}");
    }
    let written = daemons("v2", &json!({}));
    let held = laid(&written, &daemon_set(), "111", wants(Template::Old, None));
    let strategy = json!({"type": "OnDelete", "rollingUpdate": {"maxUnavailable": 1}});
    assert_eq!(held["spec"]["updateStrategy"], strategy);
    let end = laid(&held, &daemon_set(), "222", wants(Template::New, None));
    assert_eq!(end["spec"], written["spec"]);
}

#[test]
fn a_workload_that_is_let_go_keeps_the_template_of_its_pods() {
    let held = set("v2", &held_by(&json!(ALL)));
    let patch = released(&sight(&held, &stateful_set(), "111")).expect("a trace");
    let after = merged(&held, &patch);
    assert_eq!(after["spec"]["template"], template("v1"));
    assert_eq!(*partition(&after), json!(0));
    assert_eq!(after["metadata"]["annotations"], json!({}));
    assert_eq!(released(&sight(&after, &stateful_set(), "111")), None);
    // Where pods of it serve, only the hold goes.
    let patch = released(&sight(&held, &stateful_set(), "112")).expect("a trace");
    assert_eq!(merged(&held, &patch)["spec"]["template"], template("v2"));
}

#[test]
fn what_is_held_is_shown_as_standing_on_the_version_before() {
    let (new, old) = (template("v2"), template("v1"));
    let held = Held {
        rollout: ROLLOUT,
        new: &new,
        old: &old,
    };
    let back = wants(Template::Old, None);
    let seen = sight(&set("v2", &held_by(&json!(ALL))), &stateful_set(), "111");
    assert!(is_as_wanted(&seen, held, back));
    assert_eq!(version(&seen, held, back), Template::Old);
    let shown = as_standing(&seen, held).expect("it stands");
    assert_eq!(shown["spec"]["template"], template("v1"));
    assert_eq!(shown["status"]["updateRevision"], json!("db-v1"));
    // Nothing is shown that is not so.
    for (object, running) in [
        (set("v2", &json!({})), "111"),
        (set("v2", &held_by(&json!(ALL))), "112"),
        (
            set(
                "v2",
                &merged(
                    &held_by(&json!(ALL)),
                    &json!({"metadata": {"generation": 3}}),
                ),
            ),
            "111",
        ),
    ] {
        let seen = sight(&object, &stateful_set(), running);
        assert_eq!(as_standing(&seen, held), None, "{object}");
        assert!(!is_as_wanted(&seen, held, back), "{object}");
    }
    // Pods that stand on another version than the one before are not back.
    let third = sight(&set("v3", &held_by(&json!(ALL))), &stateful_set(), "222");
    assert_eq!(as_standing(&third, held), None);
    let patch = workload_hold(&third, held, wants(Template::Old, Some(0))).expect("they go back");
    assert_eq!(patch["spec"]["template"], template("v1"));
    let step = sight(&set("v2", &held_by(&json!(2))), &stateful_set(), "112");
    assert!(is_as_wanted(&step, held, wants(Template::New, Some(2))));
    assert!(!is_as_wanted(&step, held, wants(Template::New, Some(1))));
    assert!(!is_as_wanted(&step, held, wants(Template::New, None)));
}

#[test]
fn a_template_that_its_recorder_filled_in_is_known_again() {
    let object = set("v1", &json!({"metadata": {"generation": 3}}));
    let mut filled = recorded(&object);
    for one in &mut filled {
        one.template["spec"]["containers"][0]["resources"] = json!({});
        one.template["spec"]["dnsPolicy"] = json!("ClusterFirst");
    }
    let seen = InPlaceSight::of(&object, &stateful_set(), pods("111"), &filled);
    assert_eq!(look_in_place(&seen, true), Look::Rest);
    let changed = set("v2", &json!({}));
    let seen = InPlaceSight::of(&changed, &stateful_set(), pods("111"), &filled);
    assert_eq!(look_in_place(&seen, true), Look::Catch);
}
