use bellwether_api::{number::Weight, reference::ObjectRef, traffic::Provider};
use serde_json::{Value, json};

use super::*;
use crate::{
    effective::GovernedRoute,
    machine::{CanaryWant, Overlay},
    merge_patch::merged,
    provider::{Names, Split},
    settled::{DeploymentView, TemplateVersion, settled},
};

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": image}]}})
}

fn deployment(image: &str, more: &Value) -> Value {
    let mut object = json!({
        "metadata": {"name": "web", "uid": "u", "generation": 2, "annotations": {}},
        "spec": {"replicas": 5, "template": template(image)},
        "status": {"observedGeneration": 2, "replicas": 5, "readyReplicas": 5, "availableReplicas": 5},
    });
    object = merged(&object, more);
    object
}

fn set(image: &str, revision: u32, wanted: u32, ready: u32) -> Value {
    let mut template = template(image);
    template["metadata"]["labels"]["pod-template-hash"] = json!(format!("hash-{image}"));
    json!({
        "metadata": {
            "name": format!("web-{image}"),
            "labels": {"pod-template-hash": format!("hash-{image}")},
            "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
            "ownerReferences": [{"controller": true, "uid": "u"}],
        },
        "spec": {"replicas": wanted, "template": template},
        "status": {"replicas": wanted, "readyReplicas": ready},
    })
}

fn held() -> Value {
    json!({"metadata": {"annotations": {HELD_ANNOTATION: "shop-web"}}, "spec": {"paused": true}})
}

#[test]
fn pods_of_versions_that_were_replaced_while_they_were_held_go_first() {
    let one = set("v1", 1, 5, 5);
    let ends = merged(&set("v2", 2, 0, 0), &json!({"status": {"replicas": 1}}));
    let undo = Look::Undo {
        replica_set: "web-v2".into(),
    };
    let cases = [
        ("such pods", "v3", set("v2", 2, 2, 0), undo),
        ("such pods end", "v3", ends.clone(), Look::Settling),
        ("such pods serve", "v3", set("v2", 2, 2, 1), Look::Bypassed),
        ("pods of it end", "v2", ends, Look::Settling),
    ];
    for (what, image, other, expected) in cases {
        let sight = Sight::of(&deployment(image, &held()), &[one.clone(), other]);
        assert_eq!(look(&sight, true), expected, "{what}");
    }
    // Nobody was there to hold either of them.
    for (ready, expected) in [(0, Look::Catch), (1, Look::Bypassed)] {
        let sets = [one.clone(), set("v2", 2, 2, ready), set("v3", 3, 1, 0)];
        let sight = Sight::of(&deployment("v3", &json!({})), &sets);
        assert_eq!(look(&sight, true), expected, "{ready} pods serve");
    }
    let foreign = json!({"metadata": {"name": "x"}, "spec": {"replicas": 3}});
    let sight = Sight::of(&deployment("v1", &json!({})), &[one, foreign]);
    assert_eq!(look(&sight, true), Look::Rest, "another's pods");
}

fn overlay(template: TemplateVersion, paused: bool) -> Overlay {
    Overlay {
        paused,
        ..Overlay::none(template)
    }
}

fn hold(deployment: &Value, sets: &[Value], overlay: &Overlay) -> (Value, Option<String>) {
    let (new, old) = (template("v2"), template("v1"));
    let held = Held {
        rollout: "shop-web",
        new: &new,
        old: &old,
    };
    let WorkloadHold { patch, undo } = workload_hold(&Sight::of(deployment, sets), held, overlay);
    let after = patch.map_or_else(|| deployment.clone(), |patch| merged(deployment, &patch));
    // Held, it is as it should be: the same is never written twice.
    let again = workload_hold(&Sight::of(&after, sets), held, overlay);
    assert_eq!(again.patch, None, "written twice: {after}");
    (after, undo)
}

#[test]
fn the_old_version_is_kept_by_a_pause_and_the_new_one_comes_by_its_end() {
    let old = overlay(TemplateVersion::Old, true);
    let sets = [set("v1", 1, 5, 5)];
    let (held_off, undo) = hold(&deployment("v2", &json!({})), &sets, &old);
    assert_eq!(held_off["spec"]["paused"], json!(true));
    assert_eq!(
        held_off["spec"]["template"],
        template("v2"),
        "it stays its owner's"
    );
    assert_eq!(undo, None);
    let late = [set("v1", 1, 5, 5), set("v2", 2, 2, 0)];
    let (_, undo) = hold(&held_off, &late, &old);
    assert_eq!(undo.as_deref(), Some("web-v2"));
    // Even before anything was decided, and after the run: unpaused it would roll.
    for paused in [true, false] {
        let (after, _) = hold(&held_off, &sets, &overlay(TemplateVersion::Old, paused));
        assert_eq!(after["spec"]["paused"], json!(true));
    }
    let (rolls, _) = hold(&held_off, &sets, &overlay(TemplateVersion::New, false));
    assert_eq!(rolls, deployment("v2", &json!({})), "no trace is left");
    let (third, _) = hold(
        &deployment("v3", &json!({})),
        &sets,
        &overlay(TemplateVersion::New, false),
    );
    assert_eq!(
        third["spec"]["paused"],
        json!(true),
        "what came later waits"
    );
}

#[test]
fn a_rollback_of_a_promotion_rolls_back_and_then_holds_what_was_written() {
    let both = [set("v1", 1, 3, 3), set("v2", 2, 3, 2)];
    let rolls = overlay(TemplateVersion::Old, false);
    for image in ["v2", "v3"] {
        let sets = match image {
            "v2" => both.to_vec(),
            _ => vec![both[0].clone(), both[1].clone(), set("v3", 3, 1, 0)],
        };
        let (back, undo) = hold(&deployment(image, &json!({})), &sets, &rolls);
        assert_eq!(back["spec"]["template"], template("v1"));
        assert_eq!((&back["spec"]["paused"], undo), (&Value::Null, None));
        let (held_off, _) = hold(
            &back,
            &[set("v1", 1, 5, 5)],
            &overlay(TemplateVersion::Old, true),
        );
        assert_eq!(
            held_off,
            deployment(image, &held()),
            "its owner's words stand"
        );
    }
    // Where no pod of it serves, a pause suffices.
    let unready = [set("v1", 1, 4, 4), set("v2", 2, 2, 0)];
    let (held_off, undo) = hold(&deployment("v2", &json!({})), &unready, &rolls);
    assert_eq!(held_off["spec"]["template"], template("v2"));
    assert_eq!(undo.as_deref(), Some("web-v2"));
}

#[test]
fn pods_that_serve_are_not_taken_back_at_once_where_nothing_stands_in_for_them() {
    let both = [set("v1", 1, 4, 4), set("v3", 3, 2, 1)];
    let live = deployment("v3", &json!({}));
    let alone = overlay(TemplateVersion::Old, true);
    let (back, undo) = hold(&live, &both, &alone);
    assert_eq!(back["spec"]["template"], template("v1"));
    assert_eq!((&back["spec"]["paused"], undo), (&Value::Null, None));
    let (rolls, undo) = hold(&back, &both, &alone);
    assert_eq!((rolls, undo), (back.clone(), None), "it goes on");
    let (held_off, _) = hold(&back, &[set("v1", 1, 5, 5)], &alone);
    assert_eq!(held_off, deployment("v3", &held()));
    let canary = |replicas| Overlay {
        canary: Some(CanaryWant { replicas }),
        ..overlay(TemplateVersion::Old, true)
    };
    let (held_off, undo) = hold(&live, &both, &canary(5));
    assert_eq!(held_off, deployment("v3", &held()));
    assert_eq!(undo.as_deref(), Some("web-v3"));
    // With a canary of two three pods would be left of five.
    let few = [set("v1", 1, 1, 1), set("v3", 3, 4, 3)];
    let (back, undo) = hold(&live, &few, &canary(2));
    assert_eq!(back["spec"]["template"], template("v1"));
    assert_eq!((&back["spec"]["paused"], undo), (&Value::Null, None));
    let (rolls, undo) = hold(&back, &few, &canary(2));
    assert_eq!((rolls, undo), (back.clone(), None), "it goes on");
    // With three of its own there are five: those that are left go at once.
    let enough = [set("v1", 4, 3, 3), set("v3", 3, 2, 2)];
    let (held_off, _) = hold(&back, &enough, &canary(2));
    assert_eq!(held_off, deployment("v3", &held()));
    let (_, undo) = hold(&held_off, &enough, &canary(2));
    assert_eq!(undo.as_deref(), Some("web-v3"));
    let (back, _) = hold(&live, &both, &canary(0));
    assert_eq!(back["spec"]["template"], template("v1"), "it goes itself");
}

#[test]
fn what_was_noted_goes_as_soon_as_its_owner_writes_another_template() {
    let both = [set("v1", 1, 3, 3), set("v2", 2, 3, 2)];
    let rolls = overlay(TemplateVersion::Old, false);
    let (back, _) = hold(&deployment("v2", &json!({})), &both, &rolls);
    assert!(back["metadata"]["annotations"][WRITTEN_ANNOTATION].is_string());
    // A third template while that of before stands there, and pods of the second are gone.
    let third = merged(&back, &json!({"spec": {"template": template("v3")}}));
    let alone = [set("v1", 1, 5, 5)];
    for wanted in [
        overlay(TemplateVersion::Old, false),
        overlay(TemplateVersion::Old, true),
        overlay(TemplateVersion::New, false),
    ] {
        let (held_off, _) = hold(&third, &alone, &wanted);
        assert_eq!(held_off, deployment("v3", &held()), "{wanted:?}");
    }
    let patch = pause(&Sight::of(&third, &alone), "shop-web").expect("it is not paused");
    assert_eq!(merged(&third, &patch), deployment("v3", &held()));
    // What its owner applies is their word, though it stands there already.
    let managed = |manager: &str, operation: &str| {
        let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}});
        json!({"manager": manager, "operation": operation, "fieldsV1": fields})
    };
    let mut applied = back.clone();
    applied["metadata"]["managedFields"] =
        json!([managed(ROLLOUT_MANAGER, "Update"), managed("flux", "Apply")]);
    let wanted = overlay(TemplateVersion::Old, true);
    let (held_off, _) = hold(&applied, &alone, &wanted);
    assert_eq!(held_off["spec"]["template"], template("v1"));
    applied["metadata"]["managedFields"][1] = managed("kubectl", "Update");
    let (held_off, _) = hold(&applied, &alone, &wanted);
    assert_eq!(held_off["spec"]["template"], template("v2"));
}

#[test]
fn who_is_let_go_keeps_its_pods() {
    let sets = [set("v1", 1, 5, 5)];
    let held_off = deployment("v2", &held());
    let patch = release(&Sight::of(&held_off, &sets)).expect("it is held");
    assert_eq!(merged(&held_off, &patch), deployment("v1", &json!({})));
    let own = deployment("v1", &json!({"spec": {"paused": true}}));
    assert_eq!(release(&Sight::of(&own, &sets)), None, "not our pause");
    let at_rest = deployment("v1", &held());
    let patch = release(&Sight::of(&at_rest, &sets)).expect("it is held");
    assert_eq!(merged(&at_rest, &patch), deployment("v1", &json!({})));
}

#[test]
fn a_decision_sees_a_held_workload_stand_on_the_version_before() {
    let (new, old) = (template("v2"), template("v1"));
    let held_as = Held {
        rollout: "shop-web",
        new: &new,
        old: &old,
    };
    let view = DeploymentView {
        uid: "u".into(),
        generation: 2,
        observed_generation: 2,
        replicas: 5,
        total: 5,
        ready: 5,
        available: 5,
        paused: true,
        revision: "2".into(),
        ..DeploymentView::default()
    };
    let seen = |image: &str, more: &Value, sets: &[Value], overlay: &Overlay| {
        let sight = Sight::of(&deployment(image, more), sets);
        decision_view(&sight, held_as, overlay, view.clone())
    };
    let sets = [set("v1", 1, 5, 5), set("v2", 2, 0, 0)];
    for paused in [true, false] {
        let seen = seen("v2", &held(), &sets, &overlay(TemplateVersion::Old, paused));
        assert_eq!((seen.template, seen.paused), (TemplateVersion::Old, paused));
        let views = [crate::settled::ReplicaSetView {
            name: "web-v1".into(),
            hash: "hash-v1".into(),
            owner_uid: "u".into(),
            revision: "1".into(),
            replicas: 5,
            ready: 5,
        }];
        assert_eq!(
            settled(&seen, &views).map(|one| one.hash),
            Ok("hash-v1".into())
        );
    }
    let old = overlay(TemplateVersion::Old, true);
    let with_pods = [set("v1", 1, 5, 5), set("v2", 2, 1, 0)];
    for (image, more, sets) in [("v2", json!({}), &sets), ("v2", held(), &with_pods)] {
        assert_eq!(
            seen(image, &more, sets, &old).template,
            TemplateVersion::Other
        );
    }
    let new = overlay(TemplateVersion::New, false);
    assert_eq!(
        seen("v2", &json!({}), &sets, &new).template,
        TemplateVersion::New
    );
    assert_eq!(
        seen("v3", &held(), &sets, &new).template,
        TemplateVersion::Other
    );
    assert_eq!(
        seen("v1", &json!({}), &sets, &old).template,
        TemplateVersion::Old
    );
}

fn route() -> (GovernedRoute, Value) {
    let governed = GovernedRoute {
        provider: Provider::HttpRoute,
        target: ObjectRef {
            api_version: "gateway.networking.k8s.io/v1".into(),
            kind: "HTTPRoute".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        },
        names: Names {
            namespace: "shop".into(),
            apex: "web".into(),
            canary: "web-canary".into(),
            rules: Vec::new(),
            copied: None,
        },
    };
    let object = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"},
        "spec": {"rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
    });
    (governed, object)
}

#[test]
fn a_split_lies_on_a_route_and_is_taken_off_it() {
    let (governed, written) = route();
    let split = |percent| Split::by_weight(Weight::clamped(percent));
    let first = laid(&governed, &written, &split(20)).expect("it can carry it");
    let mut live = merged(&written, &first.patch.expect("it is written"));
    live["metadata"]["resourceVersion"] = json!("8");
    let again = laid(&governed, &live, &split(20)).expect("it can carry it");
    assert_eq!(again.patch, None, "the same is never written twice");
    let next = laid(&governed, &live, &split(50)).expect("it can carry it");
    let live = merged(&live, &next.patch.expect("another share"));
    assert!(live["spec"].to_string().contains("web-canary"));
    let off = laid(&governed, &live, &Split::default()).expect("it always can");
    let mut expected = written.clone();
    expected["metadata"]["resourceVersion"] = json!("8");
    assert_eq!(merged(&live, &off.patch.expect("taken off")), expected);
    assert_eq!(
        laid(&governed, &written, &Split::default()).map(|one| one.patch),
        Ok(None)
    );
}

#[test]
fn a_name_without_a_share_is_taken_off_too() {
    let (mut governed, _) = route();
    governed.provider = Provider::HttpProxy;
    let written = json!({
        "apiVersion": "projectcontour.io/v1", "kind": "HTTPProxy",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"routes": [{"services": [{"name": "web", "port": 80}]}]},
    });
    let announced = Split {
        announced: true,
        ..Split::default()
    };
    let named = laid(&governed, &written, &announced).expect("it can");
    let live = merged(&written, &named.patch.expect("it is written"));
    assert!(live["spec"].to_string().contains("web-canary"), "{live}");
    let off = laid(&governed, &live, &Split::default()).expect("it can");
    assert_eq!(merged(&live, &off.patch.expect("taken off")), written);
}

#[test]
fn whoever_writes_a_route_meanwhile_is_not_overruled() {
    let (governed, written) = route();
    let split = Split::by_weight(Weight::clamped(20));
    let patch = laid(&governed, &written, &split).expect("it can").patch;
    let live = merged(&written, &patch.expect("it is written"));
    // Applied again: the rules are the owner's, our note is still there.
    let mut applied = live.clone();
    applied["spec"]["rules"] = json!([
        {"backendRefs": [{"name": "web", "port": 80}], "filters": [{"type": "RequestMirror"}]},
    ]);
    let laid_again = laid(&governed, &applied, &split).expect("it can");
    assert_eq!(laid_again.users["spec"], applied["spec"]);
    let live = merged(&applied, &laid_again.patch.expect("laid anew"));
    assert_eq!(without_split(&governed, &live)["spec"], applied["spec"]);
    // A change beside what the split touches survives it.
    let mut labelled = live;
    labelled["metadata"]["labels"] = json!({"team": "shop"});
    let off = laid(&governed, &labelled, &Split::default()).expect("it can");
    let after = merged(&labelled, &off.patch.expect("taken off"));
    assert_eq!(after["metadata"]["labels"], json!({"team": "shop"}));
    assert_eq!(after["spec"], applied["spec"]);
}
