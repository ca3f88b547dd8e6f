//! What is remembered of hooks, from one write to the next.

use bellwether_api::{
    chart_hook::{
        ChartHook, ChartHookRecord, ChartHookRun, HookDeletion, HookEnd, HookOccasion, HookSide,
        HookUnderWay, LeftHookObject, MAX_LEFT,
    },
    reference::ObjectRef,
    sync_record::HeldObject,
};

/// The hooks of one side of a bundle begin.
pub fn begin(record: &mut ChartHookRecord, bundle: &str, occasion: HookOccasion, side: HookSide) {
    record.run = Some(ChartHookRun {
        bundle: bundle.to_owned(),
        occasion,
        side,
        done: 0,
        under_way: None,
        end: HookEnd::UnderWay,
        why: String::new(),
    });
}

/// The next hook begins: remembered before its object is made.
pub fn start(record: &mut ChartHookRecord, object: ObjectRef, mark: &str, now_ms: i64) {
    if let Some(run) = &mut record.run {
        run.under_way = Some(HookUnderWay {
            object: HeldObject::from(object),
            mark: mark.to_owned(),
            began_at_ms: now_ms,
        });
    }
}

/// The object of the hook under way was made.
pub fn made(record: &mut ChartHookRecord, uid: &str) {
    if let Some(under_way) = record.run.as_mut().and_then(|run| run.under_way.as_mut()) {
        under_way.object.uid = Some(uid.to_owned());
    }
}

/// The hook under way has ended well.
pub fn passed(record: &mut ChartHookRecord, hook: &ChartHook) {
    let delete = hook.delete.contains(&HookDeletion::HookSucceeded);
    leave(record, delete);
    if let Some(run) = &mut record.run {
        run.done += 1;
    }
}

/// The hook under way has failed, or must not begin; `hook` = the one that made an object.
/// `stop` = its object may still be at work and is deleted whatever its chart says.
pub fn failed(record: &mut ChartHookRecord, hook: Option<&ChartHook>, stop: bool, why: &str) {
    let wanted = hook.is_some_and(|hook| hook.delete.contains(&HookDeletion::HookFailed));
    leave(record, stop || wanted);
    if let Some(run) = &mut record.run {
        run.end = HookEnd::Failed;
        why.clone_into(&mut run.why);
    }
}

/// Every hook of the side has ended well.
pub fn over(record: &mut ChartHookRecord) {
    if let Some(run) = &mut record.run {
        run.end = HookEnd::Passed;
    }
}

/// Nobody waits for the hook under way any more. `uid` is that of its object, if there is one;
/// `stop` = it is still at work, and is deleted.
pub fn abandon(record: &mut ChartHookRecord, uid: Option<&str>, stop: bool) {
    if let Some(uid) = uid {
        made(record, uid);
    }
    leave(record, stop);
}

fn leave(record: &mut ChartHookRecord, delete: bool) {
    let under_way = record.run.as_mut().and_then(|run| run.under_way.take());
    let Some(object) = under_way.map(|hook| hook.object) else {
        return;
    };
    if object.uid.is_none() {
        return;
    }
    let name = object.object();
    record.left.retain(|left| !left.object.is(&name));
    record.left.push(LeftHookObject { object, delete });
    let surplus = record.left.len().saturating_sub(MAX_LEFT);
    record.left.drain(..surplus);
}

/// An object that a hook had left is gone, or is not ours any more.
pub fn forget(record: &mut ChartHookRecord, object: &HeldObject) {
    record
        .left
        .retain(|left| left.object.uid != object.uid || !left.object.is(&object.object()));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(name: &str) -> ObjectRef {
        ObjectRef {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        }
    }

    fn hook(delete: &[HookDeletion]) -> ChartHook {
        ChartHook {
            object: json!({}),
            moments: Vec::new(),
            weight: 0,
            delete: delete.to_vec(),
        }
    }

    fn under_way(record: &mut ChartHookRecord, name: &str, uid: Option<&str>) {
        start(record, job(name), "mark", 1);
        if let Some(uid) = uid {
            made(record, uid);
        }
    }

    fn begun() -> ChartHookRecord {
        let mut record = ChartHookRecord::default();
        begin(&mut record, "b", HookOccasion::Upgrade, HookSide::Before);
        record
    }

    fn left(record: &ChartHookRecord) -> Vec<(&str, Option<&str>, bool)> {
        let left = record.left.iter();
        left.map(|one| {
            let uid = one.object.uid.as_deref();
            (one.object.name.as_str(), uid, one.delete)
        })
        .collect()
    }

    #[test]
    fn what_ended_is_left_or_deleted_as_its_chart_says() {
        let mut record = begun();
        under_way(&mut record, "a", Some("1"));
        passed(&mut record, &hook(&[HookDeletion::HookSucceeded]));
        under_way(&mut record, "b", Some("2"));
        passed(&mut record, &hook(&[HookDeletion::HookFailed]));
        assert_eq!(record.run.as_ref().map(|run| run.done), Some(2));
        under_way(&mut record, "c", Some("3"));
        failed(
            &mut record,
            Some(&hook(&[HookDeletion::HookFailed])),
            false,
            "why",
        );
        assert!(record.stopped("b") && !record.stopped("other"));
        assert_eq!(
            left(&record),
            [
                ("a", Some("1"), true),
                ("b", Some("2"), false),
                ("c", Some("3"), true)
            ]
        );
        let gone = record.left[0].object.clone();
        forget(&mut record, &gone);
        assert_eq!(record.left.len(), 2);
    }

    #[test]
    fn what_was_stopped_is_deleted_and_what_was_never_made_is_not_there() {
        let mut record = begun();
        under_way(&mut record, "a", None);
        abandon(&mut record, Some("1"), true);
        under_way(&mut record, "b", None);
        abandon(&mut record, None, true);
        under_way(&mut record, "c", Some("3"));
        failed(&mut record, Some(&hook(&[])), true, "too long");
        assert_eq!(
            left(&record),
            [("a", Some("1"), true), ("c", Some("3"), true)]
        );
    }

    #[test]
    fn one_object_of_a_name_is_remembered_and_no_more_than_the_newest() {
        let mut record = begun();
        for uid in ["1", "2"] {
            under_way(&mut record, "a", Some(uid));
            passed(&mut record, &hook(&[]));
        }
        assert_eq!(left(&record), [("a", Some("2"), false)]);
        for number in 0..MAX_LEFT {
            under_way(&mut record, &format!("job-{number}"), Some("x"));
            passed(&mut record, &hook(&[]));
        }
        assert_eq!(record.left.len(), MAX_LEFT);
        assert_eq!(record.left[0].object.name, "job-0");
    }
}
