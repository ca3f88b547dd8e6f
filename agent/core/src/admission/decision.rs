//! What the agent answers about a write to a Deployment.

use serde_json::{Value, json};

use crate::adopted::{HELD_ANNOTATION, WRITTEN_ANNOTATION};

/// A write to a Deployment.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The Deployment as it is.
    pub old: &'a Value,
    /// The Deployment as it is to be.
    pub new: &'a Value,
}

/// What is known of the Rollout that governs the Deployment.
#[derive(Clone, Copy, Debug)]
pub struct Governed<'a> {
    /// Its name.
    pub rollout: &'a str,
    /// Whether the Deployment was seen standing since it is governed.
    pub is_known: bool,
    /// Whether a run is under way.
    pub is_running: bool,
}

/// What is added to a write so that it makes no pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// A JSON patch (RFC 6902) of the written Deployment.
    pub patch: Value,
    /// What whoever writes it is told.
    pub warning: String,
}

/// Tells what is to be added to a write; absent = nothing, it goes through as it is.
///
/// Held is what the agent itself would pause as soon as it sees it ([`crate::adopted::look`]): a new
/// template of a Deployment that stands or whose last update serves nobody yet, any template while a run
/// is under way, and whatever would take away a pause of ours.
#[must_use]
pub fn admit(update: Update<'_>, governed: Governed<'_>) -> Option<Hold> {
    let Update { old, new } = update;
    if is_paused(new) {
        return None;
    }
    let is_due = if is_held(old, governed.rollout) {
        true
    } else if old.pointer("/spec/template") == new.pointer("/spec/template") {
        // Somebody ends a pause of their own: what they changed meanwhile comes now.
        is_paused(old) && governed.is_known && is_outdated(old)
    } else {
        governed.is_running || governed.is_known && (stands(old) || may_be_held(old))
    };
    is_due.then(|| hold(update, governed.rollout))
}

fn hold(update: Update<'_>, rollout: &str) -> Hold {
    let Update { old, new } = update;
    let annotations = new.pointer("/metadata/annotations");
    let mut all = annotations
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    // What the owner wrote last is what the spec says again, whatever a run had put back.
    let outdated = old.pointer("/spec/template") != new.pointer("/spec/template")
        && all.remove(WRITTEN_ANNOTATION).is_some();
    let mark = if all.is_empty() || outdated {
        all.insert(HELD_ANNOTATION.to_owned(), json!(rollout));
        json!({"op": "add", "path": "/metadata/annotations", "value": all})
    } else {
        let key = HELD_ANNOTATION.replace('~', "~0").replace('/', "~1");
        json!({"op": "add", "path": format!("/metadata/annotations/{key}"), "value": rollout})
    };
    Hold {
        patch: json!([{"op": "add", "path": "/spec/paused", "value": true}, mark]),
        warning: format!("paused: rollout {rollout} brings this change in, step by step"),
    }
}

fn is_paused(deployment: &Value) -> bool {
    deployment.pointer("/spec/paused") == Some(&Value::Bool(true))
}

fn is_held(deployment: &Value, rollout: &str) -> bool {
    let mark = deployment
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(HELD_ANNOTATION));
    is_paused(deployment) && mark.and_then(Value::as_str) == Some(rollout)
}

/// Whether it has pods, all of its own template, and its controller has seen its last change.
fn stands(deployment: &Value) -> bool {
    let there = count(deployment, "/status/replicas");
    is_observed(deployment) && there > 0 && count(deployment, "/status/updatedReplicas") == there
}

/// Whether its template came in while nobody held it, and serves nobody yet as far as counts can tell: where
/// they are wrong, [`crate::adopted::look`] lets it go again.
fn may_be_held(deployment: &Value) -> bool {
    if is_paused(deployment) {
        return is_outdated(deployment);
    }
    let there = count(deployment, "/status/replicas");
    let older = there - count(deployment, "/status/updatedReplicas");
    is_observed(deployment) && older > 0 && count(deployment, "/status/readyReplicas") <= older
}

/// Whether it has pods, and none of them is of its template.
fn is_outdated(deployment: &Value) -> bool {
    is_observed(deployment)
        && count(deployment, "/status/replicas") > 0
        && count(deployment, "/status/updatedReplicas") == 0
}

fn is_observed(deployment: &Value) -> bool {
    count(deployment, "/status/observedGeneration") >= count(deployment, "/metadata/generation")
}

pub(super) fn count(deployment: &Value, path: &str) -> i64 {
    deployment
        .pointer(path)
        .and_then(Value::as_i64)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        adopted::{Look, Sight, look},
        merge_patch::merged,
    };

    const ROLLOUT: &str = "shop-web";

    fn at_rest() -> Governed<'static> {
        Governed {
            rollout: ROLLOUT,
            is_known: true,
            is_running: false,
        }
    }

    fn deployment(image: &str, more: &Value) -> Value {
        let object = json!({
            "metadata": {"name": "web", "uid": "u", "generation": 2},
            "spec": {"replicas": 5, "template": {"spec": {"containers": [{"image": image}]}}},
            "status": {"observedGeneration": 2, "replicas": 5, "updatedReplicas": 5},
        });
        merged(&object, more)
    }

    fn held() -> Value {
        json!({"metadata": {"annotations": {HELD_ANNOTATION: ROLLOUT}}, "spec": {"paused": true}})
    }

    fn outdated() -> Value {
        json!({"spec": {"paused": true}, "status": {"updatedReplicas": 0}})
    }

    /// What the API server makes of the write.
    fn written(update: Update<'_>, governed: Governed<'_>) -> Option<Value> {
        let hold = admit(update, governed)?;
        let mut object = update.new.clone();
        for operation in hold.patch.as_array().expect("a list") {
            assert_eq!(operation["op"], "add");
            let path = operation["path"].as_str().expect("a path");
            let (parent, key) = path.rsplit_once('/').expect("a path");
            let key = key.replace("~1", "/").replace("~0", "~");
            let parent = object
                .pointer_mut(parent)
                .expect("what is patched is there");
            parent[key] = operation["value"].clone();
        }
        assert!(hold.warning.len() < 256, "longer ones are cut");
        Some(object)
    }

    #[test]
    fn what_would_make_pods_is_held_in_the_same_write() {
        let none = json!({});
        let annotated = json!({"metadata": {"annotations": {"team": "shop"}}});
        let (v1, v2) = (deployment("v1", &none), deployment("v2", &none));
        let cases = [
            ("a new template", v1.clone(), v2.clone()),
            ("with notes on it", v1.clone(), deployment("v2", &annotated)),
            (
                "another while one is held",
                deployment("v2", &held()),
                deployment("v3", &none),
            ),
            (
                "the same, replaced whole",
                deployment("v2", &held()),
                v2.clone(),
            ),
            (
                "resumed by somebody",
                deployment("v2", &held()),
                deployment("v2", &merged(&held(), &json!({"spec": {"paused": false}}))),
            ),
            (
                "their own pause ends",
                deployment("v2", &outdated()),
                v2.clone(),
            ),
            (
                "it ends with another change",
                deployment("v2", &outdated()),
                deployment("v3", &none),
            ),
            (
                "over one that came in unasked and serves nobody",
                deployment(
                    "v2",
                    &json!({"status": {"replicas": 7, "updatedReplicas": 2, "readyReplicas": 5}}),
                ),
                deployment("v3", &none),
            ),
        ];
        for (what, old, new) in cases {
            let update = Update {
                old: &old,
                new: &new,
            };
            let after = written(update, at_rest()).expect(what);
            assert_eq!(after["spec"]["paused"], json!(true), "{what}");
            assert_eq!(
                after["metadata"]["annotations"][HELD_ANNOTATION],
                json!(ROLLOUT),
                "{what}"
            );
            // Everything else is as it was written, and the same write again changes nothing.
            let patch = merged(&new, &held());
            assert_eq!(after, patch, "{what}");
            let again = Update {
                old: &after,
                new: &after,
            };
            assert_eq!(admit(again, at_rest()), None, "{what}");
        }
    }

    #[test]
    fn what_the_agent_would_leave_alone_goes_through() {
        let none = json!({});
        let (v1, v2) = (deployment("v1", &none), deployment("v2", &none));
        let rolls = deployment(
            "v1",
            &json!({"status": {"updatedReplicas": 2, "readyReplicas": 4}}),
        );
        let unseen = deployment("v1", &json!({"metadata": {"generation": 3}}));
        let empty = deployment(
            "v1",
            &json!({"status": {"replicas": 0, "updatedReplicas": 0}}),
        );
        let paused = json!({"spec": {"paused": true}});
        let scaled = deployment("v1", &json!({"spec": {"replicas": 9}}));
        let others = merged(
            &held(),
            &json!({"metadata": {"annotations": {HELD_ANNOTATION: "x"}}}),
        );
        let known = at_rest();
        let new = Governed {
            is_known: false,
            ..known
        };
        let cases = [
            ("the same template", &v1, &scaled, known),
            ("never seen standing", &v1, &v2, new),
            ("it rolls without its rollout", &rolls, &v2, known),
            (
                "its controller has not seen its last change",
                &unseen,
                &v2,
                known,
            ),
            ("it has no pods", &empty, &v2, known),
            (
                "whoever writes it pauses it",
                &v1,
                &deployment("v2", &paused),
                known,
            ),
            (
                "they pause what is held themselves",
                &deployment("v2", &held()),
                &deployment("v2", &paused),
                known,
            ),
            (
                "they resume what did not change",
                &deployment("v1", &paused),
                &v1,
                known,
            ),
            (
                "a mark of another rollout",
                &deployment("v1", &others),
                &v1,
                known,
            ),
        ];
        for (what, old, new, governed) in cases {
            assert_eq!(admit(Update { old, new }, governed), None, "{what}");
        }
    }

    #[test]
    fn while_a_run_is_under_way_no_other_template_makes_pods() {
        let rolls = deployment("v2", &json!({"status": {"updatedReplicas": 2}}));
        let third = deployment("v3", &json!({}));
        let running = Governed {
            is_running: true,
            is_known: false,
            ..at_rest()
        };
        let update = Update {
            old: &rolls,
            new: &third,
        };
        let after = written(update, running).expect("it is held");
        assert_eq!(after, merged(&third, &held()));
        // A run that promotes is not held: only another template is.
        assert_eq!(
            admit(
                Update {
                    old: &rolls,
                    new: &rolls
                },
                running
            ),
            None
        );
    }

    #[test]
    fn what_was_noted_while_the_template_before_was_put_back_goes_with_a_newer_one() {
        let noted =
            json!({"metadata": {"annotations": {WRITTEN_ANNOTATION: "{}", "team": "shop"}}});
        let rolls = deployment("v1", &noted);
        let running = Governed {
            is_running: true,
            ..at_rest()
        };
        let third = deployment("v3", &noted);
        let update = Update {
            old: &rolls,
            new: &third,
        };
        let after = written(update, running).expect("it is held");
        let expected = json!({HELD_ANNOTATION: ROLLOUT, "team": "shop"});
        assert_eq!(after["metadata"]["annotations"], expected);
    }

    #[test]
    fn what_is_held_is_what_a_run_begins_with() {
        let (old, new) = (deployment("v1", &json!({})), deployment("v2", &json!({})));
        let after = written(
            Update {
                old: &old,
                new: &new,
            },
            at_rest(),
        )
        .expect("it is held");
        let mut template = old["spec"]["template"].clone();
        template["metadata"]["labels"]["pod-template-hash"] = json!("one");
        let set = json!({
            "metadata": {
                "name": "web-one", "labels": {"pod-template-hash": "one"},
                "ownerReferences": [{"controller": true, "uid": "u"}],
            },
            "spec": {"replicas": 5, "template": template},
            "status": {"replicas": 5, "readyReplicas": 5},
        });
        let mut sight = Sight::of(&after, std::slice::from_ref(&set));
        // Without labels of its own the template has none but the controller's.
        sight.others[0].template = old["spec"]["template"].clone();
        assert_eq!(look(&sight, true), Look::Stands);
    }
}
