use super::*;
use crate::adopted::in_place::{InPlaceSight, Pod, Recorded, look_in_place};

const ROLLOUT: &str = "shop-db";

fn adapter() -> WorkloadAdapter {
    WorkloadAdapter::known("apps/v1", "StatefulSet").expect("known")
}

fn at_rest() -> Governed<'static> {
    Governed {
        rollout: ROLLOUT,
        is_known: true,
        is_running: false,
    }
}

fn template(image: &str) -> Value {
    json!({"spec": {"containers": [{"image": image}]}})
}

fn set(image: &str, partition: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "uid": "u", "generation": 2},
        "spec": {"replicas": 3, "template": template(image), "updateStrategy":
            {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}},
        "status": {"observedGeneration": 2, "replicas": 3,
            "currentRevision": "db-v1", "updateRevision": "db-v1"},
    })
}

/// What the API server makes of a write with the answer.
fn written(old: &Value, new: &Value, governed: Governed<'_>, adapter: &WorkloadAdapter) -> Value {
    let hold = admit_in_place(Update { old, new }, governed, adapter);
    let Some(hold) = hold else {
        return new.clone();
    };
    let mut object = new.clone();
    for op in hold.patch.as_array().expect("a JSON patch") {
        assert_eq!(op["op"], "add");
        let path = op["path"].as_str().expect("a path");
        set_at(&mut object, path, op["value"].clone());
    }
    assert_ne!(object, *new, "an answer that changes nothing");
    let again = Update {
        old: &object,
        new: &object,
    };
    assert_eq!(
        admit_in_place(again, governed, adapter),
        None,
        "held twice: {object}"
    );
    object
}

fn set_at(object: &mut Value, path: &str, value: Value) {
    crate::adopted::in_place::set(object, path, value);
}

fn partition(object: &Value) -> &Value {
    &object["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
}

fn note(object: &Value) -> Option<Note> {
    Note::of(object)
}

#[test]
fn a_new_template_is_held_in_the_write_that_makes_it() {
    let (old, new) = (set("v1", &json!(0)), set("v2", &json!(0)));
    let after = written(&old, &new, at_rest(), &adapter());
    assert_eq!(*partition(&after), json!(i32::MAX));
    assert_eq!(
        after["metadata"]["annotations"][HELD_ANNOTATION],
        json!(ROLLOUT)
    );
    assert_eq!(note(&after).and_then(|note| note.users), Some(json!(0)));
    assert_eq!(after["spec"]["template"], template("v2"));
    // What is held in the write is what a run begins with.
    let pod = |number: u32| Pod {
        name: format!("db-{number}"),
        label: "db-v1".into(),
        ready: true,
        ..Pod::default()
    };
    let recorded = Recorded {
        name: "db-v1".into(),
        number: 1,
        template: template("v1"),
    };
    let mut seen = after;
    seen["status"]["updateRevision"] = json!("db-v2");
    let sight = InPlaceSight::of(&seen, &adapter(), (0..3).map(pod).collect(), &[recorded]);
    assert_eq!(look_in_place(&sight, true), crate::adopted::Look::Stands);
}

#[test]
fn what_the_agent_would_leave_alone_goes_through() {
    let (v1, v2) = (set("v1", &json!(0)), set("v2", &json!(0)));
    let rolls = merged(&v1, &json!({"status": {"updateRevision": "db-v0"}}));
    let unseen = merged(&v1, &json!({"metadata": {"generation": 3}}));
    let empty = merged(&v1, &json!({"status": {"replicas": 0}}));
    let on_delete = merged(
        &v2,
        &json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}),
    );
    let new = Governed {
        is_known: false,
        ..at_rest()
    };
    let scaled = merged(&v1, &json!({"spec": {"replicas": 9}}));
    for (what, old, new, governed) in [
        ("the same template", &v1, &scaled, at_rest()),
        ("never seen standing", &v1, &v2, new),
        ("it rolls without its rollout", &rolls, &v2, at_rest()),
        ("its controller has not seen it", &unseen, &v2, at_rest()),
        ("it has no pods", &empty, &v2, at_rest()),
        (
            "a partition of its owner",
            &v1,
            &set("v2", &json!(2)),
            at_rest(),
        ),
        ("by its owner's hand", &v1, &on_delete, at_rest()),
        (
            "its owner's partition alone",
            &v1,
            &set("v1", &json!(1)),
            at_rest(),
        ),
    ] {
        assert_eq!(
            admit_in_place(Update { old, new }, governed, &adapter()),
            None,
            "{what}"
        );
    }
}

#[test]
fn whoever_writes_it_mid_run_changes_nothing_of_the_run() {
    let held = written(
        &set("v1", &json!(0)),
        &set("v2", &json!(0)),
        at_rest(),
        &adapter(),
    );
    let running = Governed {
        is_running: true,
        ..at_rest()
    };
    // As the run has written it at its first step.
    let sight = InPlaceSight::of(&held, &adapter(), Vec::new(), &[]);
    let (new, old) = (template("v2"), template("v1"));
    let of_run = crate::adopted::Held {
        rollout: ROLLOUT,
        new: &new,
        old: &old,
    };
    let wanted = crate::adopted::in_place::Wanted {
        template: crate::settled::TemplateVersion::New,
        held: Some(2),
    };
    let patch = crate::adopted::in_place::workload_hold(&sight, of_run, wanted);
    let step = merged(&held, &patch.expect("a step"));
    assert_eq!(*partition(&step), json!(2));
    // The same objects, as an applier or a whole replacement brings them again.
    let after = written(&step, &set("v2", &json!(0)), running, &adapter());
    assert_eq!(after, step);
    // A word of the owner's about the field is kept beside it.
    let own = merged(
        &step,
        &json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}}),
    );
    let after = written(&step, &own, running, &adapter());
    assert_eq!(*partition(&after), json!(2));
    assert_eq!(note(&after).and_then(|note| note.users), Some(json!(1)));
    // Another template holds all that are left.
    let third = merged(&step, &json!({"spec": {"template": template("v3")}}));
    let after = written(&step, &third, running, &adapter());
    assert_eq!(*partition(&after), json!(i32::MAX));
    assert_eq!(after["spec"]["template"], template("v3"));
    // A human who scales it changes nothing of what is held.
    let scaled = merged(&step, &json!({"spec": {"replicas": 5}}));
    assert_eq!(written(&step, &scaled, running, &adapter()), scaled);
}

#[test]
fn kinds_are_held_where_they_keep_it() {
    let daemon_set = WorkloadAdapter::known("apps/v1", "DaemonSet").expect("known");
    let daemons = |image: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"generation": 1},
            "spec": {"template": template(image), "updateStrategy": {"type": "RollingUpdate"}},
            "status": {"observedGeneration": 1, "currentNumberScheduled": 3,
                "updatedNumberScheduled": 3},
        })
    };
    let after = written(&daemons("v1"), &daemons("v2"), at_rest(), &daemon_set);
    assert_eq!(after["spec"]["updateStrategy"]["type"], json!("OnDelete"));
    let mut rolls = daemons("v1");
    rolls["status"]["updatedNumberScheduled"] = json!(1);
    assert_eq!(
        written(&rolls, &daemons("v2"), at_rest(), &daemon_set),
        daemons("v2")
    );
    let shard = WorkloadAdapter::of_partition("/spec/update/held");
    let shards = |image: &str, replicas: u32| {
        json!({
            "apiVersion": "example.dev/v1", "kind": "Shard", "metadata": {"generation": 1},
            "spec": {"replicas": replicas, "template": template(image)},
            "status": {"observedGeneration": 1, "replicas": 3},
        })
    };
    let held = written(&shards("v1", 3), &shards("v2", 3), at_rest(), &shard);
    assert_eq!(held["spec"]["update"]["held"], json!(3));
    // Held by its size, it is held again at another one.
    let mut scaled = held.clone();
    scaled["spec"]["replicas"] = json!(5);
    let after = written(&held, &scaled, at_rest(), &shard);
    assert_eq!(after["spec"]["update"]["held"], json!(5));
}
