//! What is done about the hook that is under way.

use bellwether_api::{
    bundle::Bundle,
    chart_hook::{ChartHook, HookDeletion, HookMoment, HookUnderWay, LeftHookObject},
};
use serde_json::{Value, json};

use super::outcome::{HookOutcome, outcome_of};
use crate::{names::run_label, ownership::uid_of};

/// Label on a hook's object: the run and attempt of its bundle, and its moment.
const MARK_LABEL: &str = "bellwether.dev/hook";
/// Label on a hook's object: the release, cut to what a label takes.
const RELEASE_LABEL: &str = "bellwether.dev/hook-release";
/// Characters of a release's digest that name it.
const RELEASE_CHARS: usize = 40;
/// How much longer than its own deadline a Job is waited for.
const GRACE_MS: i64 = 30_000;

/// What is known of the hook that is under way.
#[derive(Clone, Copy, Debug)]
pub struct HookSight<'a> {
    /// The hook.
    pub hook: &'a ChartHook,
    /// What is remembered of it.
    pub under_way: &'a HookUnderWay,
    /// What hooks of before have left.
    pub left: &'a [LeftHookObject],
    /// The object of its name; absent = there is none.
    pub live: Option<&'a Value>,
    /// Milliseconds of the agent's steady time since the Unix epoch.
    pub now_ms: i64,
    /// How long a hook without a deadline of its own may take.
    pub longest_ms: i64,
    /// Whether a deadline of its own may not be longer than that.
    pub capped: bool,
}

/// What is done next about a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookStep {
    /// The object that a hook of before has left is deleted.
    Clear {
        /// Its uid.
        uid: String,
    },
    /// The object is made.
    Make,
    /// It is remembered that the object was made.
    Note {
        /// Its uid.
        uid: String,
    },
    /// Nothing, for now.
    Wait,
    /// It has ended well.
    Passed,
    /// It has failed.
    Failed {
        /// Why.
        why: String,
        /// Whether its object may still be at work, and is deleted therefore.
        stop: bool,
    },
}

/// Tells what is done next about the hook that is under way. An object that was made is never made
/// again: one that is gone before its end was seen has failed.
#[must_use]
pub fn step(sight: HookSight<'_>) -> HookStep {
    let known = sight.under_way.object.uid.as_deref();
    let fail = |why: &str| HookStep::Failed {
        why: why.to_owned(),
        stop: false,
    };
    let Some(live) = sight.live else {
        return match known {
            Some(_) => fail("its object was deleted before it was seen to have ended"),
            None if may_have_come_and_gone(sight) => {
                fail("it cannot be told whether it ran while the agent did not")
            }
            None => HookStep::Make,
        };
    };
    let uid = uid_of(live).map(String::as_str);
    match (uid, known) {
        (Some(uid), Some(known)) if uid != known => fail("its object was replaced by another"),
        (Some(_), Some(_)) => judge(sight, live),
        (Some(uid), None) if is_marked(live, &sight.under_way.mark) => HookStep::Note {
            uid: uid.to_owned(),
        },
        (Some(uid), None) => clear(sight, live, uid),
        (None, _) => HookStep::Wait,
    }
}

/// The object was made, and is there.
fn judge(sight: HookSight<'_>, live: &Value) -> HookStep {
    match outcome_of(live) {
        HookOutcome::Passed => HookStep::Passed,
        HookOutcome::Failed(why) => HookStep::Failed { why, stop: false },
        HookOutcome::Running if is_late(sight) => HookStep::Failed {
            why: format!("it has not ended within {} s", lasts_ms(sight) / 1_000),
            stop: true,
        },
        HookOutcome::Running => HookStep::Wait,
    }
}

/// Another object has the name.
fn clear(sight: HookSight<'_>, live: &Value, uid: &str) -> HookStep {
    let fail = |why: &str| HookStep::Failed {
        why: why.to_owned(),
        stop: false,
    };
    let mut ours = sight.left.iter();
    let Some(left) = ours.find(|left| left.object.uid.as_deref() == Some(uid)) else {
        return fail("an object of its name exists that no hook of this application has made");
    };
    let delete = &sight.hook.delete;
    let replaces = delete.is_empty() || delete.contains(&HookDeletion::BeforeHookCreation);
    if !left.delete && !replaces {
        return fail(
            "its object of before is still there, and hook-delete-policy lacks before-hook-creation",
        );
    }
    if is_late(sight) {
        return fail("its object of before is still there, though it was deleted");
    }
    let deleting = live.pointer("/metadata/deletionTimestamp");
    if deleting.is_some_and(|at| !at.is_null()) {
        HookStep::Wait
    } else {
        HookStep::Clear {
            uid: uid.to_owned(),
        }
    }
}

/// The cluster itself removes a Job that ended so long ago.
fn may_have_come_and_gone(sight: HookSight<'_>) -> bool {
    let kept_s = sight.hook.object.pointer("/spec/ttlSecondsAfterFinished");
    kept_s
        .and_then(Value::as_i64)
        .is_some_and(|kept_s| age_ms(sight) >= kept_s.saturating_mul(1_000).max(1_000))
}

fn age_ms(sight: HookSight<'_>) -> i64 {
    sight.now_ms.saturating_sub(sight.under_way.began_at_ms)
}

fn is_late(sight: HookSight<'_>) -> bool {
    age_ms(sight) >= lasts_ms(sight)
}

fn lasts_ms(sight: HookSight<'_>) -> i64 {
    let own_s = sight.hook.object.pointer("/spec/activeDeadlineSeconds");
    match own_s.and_then(Value::as_i64) {
        None => sight.longest_ms,
        Some(own_s) => {
            let own_ms = own_s.saturating_mul(1_000).saturating_add(GRACE_MS);
            if sight.capped {
                own_ms.min(sight.longest_ms)
            } else {
                own_ms
            }
        }
    }
}

/// The mark of the objects of a bundle's hooks at a moment.
#[must_use]
pub fn mark_of(bundle: &Bundle, moment: HookMoment) -> String {
    let run = run_label(bundle.run, bundle.attempt);
    format!("{run}.{}", moment.as_str())
}

/// A hook's object with the marks by which it is found again. Its pods do not get them, so that no
/// Service selects them.
#[must_use]
pub fn marked(hook: &ChartHook, bundle: &Bundle, mark: &str) -> Value {
    let mut object = hook.object.clone();
    let release: String = bundle.release.chars().take(RELEASE_CHARS).collect();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if !labels.is_object() {
            *labels = json!({});
        }
        labels[MARK_LABEL] = json!(mark);
        labels[RELEASE_LABEL] = json!(release);
    }
    object
}

/// Tells whether an object bears a mark.
#[must_use]
pub fn is_marked(live: &Value, mark: &str) -> bool {
    let labels = live.pointer("/metadata/labels");
    labels.and_then(|labels| labels.get(MARK_LABEL)) == Some(&json!(mark))
}

#[cfg(test)]
mod tests;
