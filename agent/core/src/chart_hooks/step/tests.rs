use bellwether_api::sync_record::HeldObject;

use super::*;

const MARK: &str = "0-1.pre-upgrade";
const LONGEST_MS: i64 = 600_000;

fn hook(spec: Value, delete: &[HookDeletion]) -> ChartHook {
    ChartHook {
        object: json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "migrate", "namespace": "shop"}, "spec": spec}),
        moments: vec![HookMoment::PreUpgrade],
        weight: 0,
        delete: delete.to_vec(),
    }
}

fn held(uid: Option<&str>) -> HeldObject {
    HeldObject {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        namespace: Some("shop".to_owned()),
        name: "migrate".to_owned(),
        uid: uid.map(str::to_owned),
        adopted: None,
        component: None,
        kept: false,
        deletion: None,
    }
}

/// A live Job: its uid, whether it bears the mark, and the condition that is true.
fn live(uid: &str, marked: bool, condition: &str) -> Value {
    let labels = if marked {
        json!({MARK_LABEL: MARK})
    } else {
        json!({})
    };
    json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "migrate", "uid": uid, "labels": labels},
        "status": {"conditions": [{"type": condition, "status": "True", "reason": "BackoffLimitExceeded"}]}})
}

struct Case<'a> {
    hook: &'a ChartHook,
    known: Option<&'a str>,
    left: &'a [LeftHookObject],
    age_ms: i64,
    capped: bool,
}

fn stepped(case: &Case<'_>, live: Option<&Value>) -> HookStep {
    let under_way = HookUnderWay {
        object: held(case.known),
        mark: MARK.to_owned(),
        began_at_ms: 1_000,
    };
    step(HookSight {
        hook: case.hook,
        under_way: &under_way,
        left: case.left,
        live,
        now_ms: 1_000 + case.age_ms,
        longest_ms: LONGEST_MS,
        capped: case.capped,
    })
}

fn is_failure(step: &HookStep, words: &str, stopped: bool) -> bool {
    matches!(step, HookStep::Failed { why, stop } if why.contains(words) && *stop == stopped)
}

#[test]
fn it_is_made_once_wherever_its_agent_dies() {
    let hook = hook(json!({}), &[]);
    let case = |known| Case {
        hook: &hook,
        known,
        left: &[],
        age_ms: 5,
        capped: false,
    };
    // Begun, nothing made yet.
    assert_eq!(stepped(&case(None), None), HookStep::Make);
    // Made, and the agent died before it was remembered.
    let note = HookStep::Note {
        uid: "a".to_owned(),
    };
    for condition in ["Running", "Complete", "Failed"] {
        let live = live("a", true, condition);
        assert_eq!(stepped(&case(None), Some(&live)), note);
    }
    // Made and remembered.
    let at = |condition| stepped(&case(Some("a")), Some(&live("a", true, condition)));
    assert_eq!(at("Running"), HookStep::Wait);
    assert_eq!(at("Complete"), HookStep::Passed);
    assert!(is_failure(&at("Failed"), "BackoffLimitExceeded", false));
    // Gone or replaced before its end was seen: it is not made again.
    assert!(is_failure(
        &stepped(&case(Some("a")), None),
        "was deleted",
        false
    ));
    let other = live("b", true, "Complete");
    assert!(is_failure(
        &stepped(&case(Some("a")), Some(&other)),
        "replaced",
        false
    ));
}

#[test]
fn a_job_that_the_cluster_removes_is_not_made_again_when_it_may_have_run() {
    let hook = hook(json!({"ttlSecondsAfterFinished": 60}), &[]);
    let at = |age_ms, known| {
        let case = Case {
            hook: &hook,
            known,
            left: &[],
            age_ms,
            capped: false,
        };
        stepped(&case, None)
    };
    assert_eq!(at(59_999, None), HookStep::Make);
    assert!(is_failure(&at(60_000, None), "cannot be told", false));
}

#[test]
fn only_an_object_that_a_hook_of_before_left_is_deleted() {
    let left = |delete| {
        [LeftHookObject {
            object: held(Some("old")),
            delete,
        }]
    };
    let before = [HookDeletion::BeforeHookCreation];
    let succeeded = [HookDeletion::HookSucceeded];
    let old = live("old", false, "Complete");
    let clear = HookStep::Clear {
        uid: "old".to_owned(),
    };
    let at = |delete: &[HookDeletion], left: &[LeftHookObject], live: &Value, age_ms| {
        let hook = hook(json!({}), delete);
        let case = Case {
            hook: &hook,
            known: None,
            left,
            age_ms,
            capped: false,
        };
        stepped(&case, Some(live))
    };
    assert_eq!(at(&before, &left(false), &old, 5), clear);
    assert_eq!(
        at(&[], &left(false), &old, 5),
        clear,
        "as if it were written"
    );
    assert!(is_failure(
        &at(&succeeded, &left(false), &old, 5),
        "lacks before-hook-creation",
        false
    ));
    assert_eq!(
        at(&succeeded, &left(true), &old, 5),
        clear,
        "it is on its way out"
    );
    let foreign = live("foreign", false, "Complete");
    assert!(is_failure(
        &at(&before, &left(false), &foreign, 5),
        "no hook of this application",
        false
    ));
    let mut going = old.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(at(&before, &left(false), &going, 5), HookStep::Wait);
    assert!(is_failure(
        &at(&before, &left(false), &going, LONGEST_MS),
        "still there",
        false
    ));
}

#[test]
fn a_hook_ends_by_its_own_deadline_or_by_ours() {
    let running = live("a", true, "Running");
    let at = |spec: Value, age_ms, capped| {
        let hook = hook(spec, &[]);
        let case = Case {
            hook: &hook,
            known: Some("a"),
            left: &[],
            age_ms,
            capped,
        };
        stepped(&case, Some(&running))
    };
    let own = || json!({"activeDeadlineSeconds": 3_600});
    assert_eq!(at(json!({}), LONGEST_MS - 1, false), HookStep::Wait);
    assert!(is_failure(
        &at(json!({}), LONGEST_MS, false),
        "within 600 s",
        true
    ));
    assert_eq!(at(own(), LONGEST_MS, false), HookStep::Wait);
    assert!(is_failure(
        &at(own(), 3_600_000 + GRACE_MS, false),
        "within 3630 s",
        true
    ));
    assert!(
        is_failure(&at(own(), LONGEST_MS, true), "within 600 s", true),
        "a removal ends"
    );
}

#[test]
fn the_object_bears_its_marks_and_its_pods_do_not() {
    let mut hook = hook(
        json!({"template": {"metadata": {"labels": {"app": "web"}}}}),
        &[],
    );
    hook.object["metadata"]["labels"] = json!({"app": "web"});
    let bundle: Bundle = serde_json::from_value(json!({
        "application": {"namespace": "default", "name": "shop"},
        "release": "f".repeat(64), "revision": 1, "run": uuid::Uuid::nil(), "attempt": 2,
        "mode": "Plain", "targetNamespace": "shop", "createNamespace": false,
        "components": [], "rollouts": [], "sync": {}, "metrics": null,
    }))
    .expect("a bundle");
    let mark = mark_of(&bundle, HookMoment::PreUpgrade);
    assert_eq!(mark, "000000000000-2.pre-upgrade");
    let object = marked(&hook, &bundle, &mark);
    assert!(is_marked(&object, &mark) && !is_marked(&hook.object, &mark));
    let last = Bundle {
        attempt: u32::MAX,
        ..bundle.clone()
    };
    assert!(mark_of(&last, HookMoment::PostRollback).len() <= 63);
    for value in object["metadata"]["labels"]
        .as_object()
        .expect("labels")
        .values()
    {
        assert!(value.as_str().is_some_and(|text| text.len() <= 63));
    }
    assert_eq!(object["metadata"]["labels"]["app"], "web");
    assert_eq!(object["spec"], hook.object["spec"]);
}
