//! Whose an object is, and what becomes of one that is not wanted any more.
//!
//! Names are no proof: somebody may have deleted an object and made another of the same name. An
//! object is ours when it has the uid that was recorded; where none was recorded, when our field
//! manager applied it.

use bellwether_api::{
    installation,
    sync_record::{Adoption, HeldObject},
};
use serde_json::Value;

/// A release, as far as ownership goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseRef<'a> {
    /// Digest of the release (hex SHA-256).
    pub release: &'a str,
    /// Its revision.
    pub revision: u64,
}

/// What becomes of an object that is held and not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It is deleted.
    Delete,
    /// It was there before us: it gets back what it had, and stays.
    LetGo,
    /// It asks to be kept ([`KEEP_ANNOTATION`]): it stays as it is.
    Keep,
    /// Another object has the name now: it is not touched.
    LeaveAlone,
}

/// What a write has shown of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is the one that is recorded.
    Known,
    /// It is a new one that our write made, or the first whose uid is recorded.
    Ours,
    /// Somebody made it anew under the recorded name before we wrote to it.
    Remade,
}

/// Tells whether `live`, which has the name of `held`, is the object that is held. `manager` is our
/// field manager.
#[must_use]
pub fn is_held(held: &HeldObject, live: &Value, manager: &str) -> bool {
    match &held.uid {
        Some(uid) => uid_of(live) == Some(uid),
        None => entries(live).any(|entry| manager_of(entry) == manager),
    }
}

/// Tells what becomes of a held object that is not wanted any more. `next` is the revision that is
/// held from now on; absent = the application goes.
///
/// A later release that leaves an adopted object out, or the deletion of the application, is the
/// user's word to delete it. A release that is taken back is not: what it had adopted is let go of,
/// as long as no release with the object has run as a whole, and also afterwards when the release
/// that comes back is from before the adoption.
#[must_use]
pub fn parting(held: &HeldObject, live: &Value, manager: &str, next: Option<u64>) -> Parting {
    if !is_held(held, live, manager) {
        return Parting::LeaveAlone;
    }
    // What Bellwether itself consists of is taken over no more; an older agent may have done it.
    let is_own = held.adopted.is_some() && installation::is_own(live);
    if is_own || is_let_go(held, next) {
        Parting::LetGo
    } else if asks_to_stay(live) {
        Parting::Keep
    } else {
        Parting::Delete
    }
}

/// The annotation by which charts say that an object outlives its release; its only word is `keep`.
pub const KEEP_ANNOTATION: &str = "helm.sh/resource-policy";

fn asks_to_stay(live: &Value) -> bool {
    let annotations = live.pointer("/metadata/annotations");
    annotations
        .and_then(|annotations| annotations.get(KEEP_ANNOTATION)?.as_str())
        .is_some_and(|word| word.trim().eq_ignore_ascii_case("keep"))
}

/// Tells whether an object that is not wanted any more is let go of, not deleted, if it is still the
/// one that is held: see [`parting`].
#[must_use]
pub fn is_let_go(held: &HeldObject, next: Option<u64>) -> bool {
    held.adopted.as_ref().is_some_and(|adoption| {
        !adoption.settled || next.is_some_and(|next| next < adoption.revision)
    })
}

/// Takes note of what a write of our field manager gave back.
///
/// An object under a recorded name with another uid is ours if nobody else has fields in it: then the
/// write made it. Otherwise somebody had made it before, and it counts as adopted by `release`.
pub fn note_written(
    held: &mut HeldObject,
    written: &Value,
    manager: &str,
    release: ReleaseRef<'_>,
) -> Written {
    let Some(uid) = uid_of(written) else {
        return Written::Known;
    };
    if held.uid.as_ref() == Some(uid) {
        return Written::Known;
    }
    let remade = held.uid.is_some() && entries(written).any(|entry| manager_of(entry) != manager);
    held.uid = Some(uid.clone());
    held.adopted = remade.then(|| adoption(release, None));
    if remade {
        Written::Remade
    } else {
        Written::Ours
    }
}

/// The record of an object that is there already and is taken over by `release`. `originals` is the
/// digest of what is stored of it.
#[must_use]
pub fn adopted(
    held: HeldObject,
    live: &Value,
    release: ReleaseRef<'_>,
    originals: &str,
) -> HeldObject {
    HeldObject {
        uid: uid_of(live).cloned(),
        adopted: Some(adoption(release, Some(originals.to_owned()))),
        ..held
    }
}

fn adoption(release: ReleaseRef<'_>, originals: Option<String>) -> Adoption {
    Adoption {
        release: release.release.to_owned(),
        revision: release.revision,
        settled: false,
        originals,
        as_found: None,
    }
}

/// `metadata.uid`; absent = the API server has not made the object.
#[must_use]
pub fn uid_of(object: &Value) -> Option<&String> {
    match object.pointer("/metadata/uid") {
        Some(Value::String(uid)) if !uid.is_empty() => Some(uid),
        _ => None,
    }
}

/// Entries of `metadata.managedFields`.
pub(crate) fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The field manager of one entry; empty = none.
pub(crate) fn manager_of(entry: &Value) -> &str {
    entry
        .get("manager")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bellwether_api::reference::ObjectRef;
    use serde_json::json;

    use super::*;

    const US: &str = "us";
    const TWO: ReleaseRef<'_> = ReleaseRef {
        release: "two",
        revision: 2,
    };

    fn live(uid: &str, managers: &[&str]) -> Value {
        let entries: Vec<Value> = managers
            .iter()
            .map(|manager| json!({"manager": manager, "operation": "Apply"}))
            .collect();
        json!({"metadata": {"uid": uid, "managedFields": entries}})
    }

    fn held(uid: Option<&str>, adopted: Option<(u64, bool)>) -> HeldObject {
        HeldObject {
            uid: uid.map(str::to_owned),
            adopted: adopted.map(|(revision, settled)| Adoption {
                release: "r".to_owned(),
                revision,
                settled,
                originals: None,
                as_found: None,
            }),
            ..HeldObject::from(ObjectRef {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                namespace: Some("shop".to_owned()),
                name: "web".to_owned(),
            })
        }
    }

    #[test]
    fn what_is_not_wanted_any_more_is_deleted_only_where_it_is_ours() {
        use Parting::{Delete, LeaveAlone, LetGo};
        let ours = ["kubectl", US];
        for (uid, adopted, live, next, expected) in [
            // Made by us.
            (Some("a"), None, live("a", &ours), Some(3), Delete),
            (Some("a"), None, live("a", &ours), None, Delete),
            // Somebody made another of the same name, whoever wrote to it since.
            (
                Some("a"),
                None,
                live("b", &["kubectl"]),
                Some(3),
                LeaveAlone,
            ),
            (Some("a"), None, live("b", &ours), None, LeaveAlone),
            // Recorded without a uid.
            (None, None, live("a", &ours), None, Delete),
            (None, None, live("a", &["kubectl"]), None, LeaveAlone),
            (None, None, live("a", &[]), Some(3), LeaveAlone),
            // Adopted by revision 2, which did not come to run: back to 1, on to 3, or deleted.
            (
                Some("a"),
                Some((2, false)),
                live("a", &ours),
                Some(1),
                LetGo,
            ),
            (
                Some("a"),
                Some((2, false)),
                live("a", &ours),
                Some(3),
                LetGo,
            ),
            (Some("a"), Some((2, false)), live("a", &ours), None, LetGo),
            (
                Some("a"),
                Some((2, false)),
                live("b", &ours),
                None,
                LeaveAlone,
            ),
            // Adopted by revision 2, which ran.
            (Some("a"), Some((2, true)), live("a", &ours), Some(1), LetGo),
            (
                Some("a"),
                Some((2, true)),
                live("a", &ours),
                Some(3),
                Delete,
            ),
            (Some("a"), Some((2, true)), live("a", &ours), None, Delete),
            (
                Some("a"),
                Some((2, true)),
                live("b", &ours),
                Some(3),
                LeaveAlone,
            ),
        ] {
            let held = held(uid, adopted);
            let found = parting(&held, &live, US, next);
            assert_eq!(found, expected, "{held:?} {live} {next:?}");
        }
    }

    #[test]
    fn what_bellwether_consists_of_is_let_go_of_and_not_deleted() {
        let mut namespace = live("a", &["helm", US]);
        namespace["metadata"]["labels"] = json!({installation::PART_OF_LABEL: "bellwether"});
        for next in [None, Some(3)] {
            let adopted = held(Some("a"), Some((2, true)));
            assert_eq!(parting(&adopted, &namespace, US, next), Parting::LetGo);
            // What the application made itself is its own, whatever it is called.
            let made = held(Some("a"), None);
            assert_eq!(parting(&made, &namespace, US, next), Parting::Delete);
        }
    }

    #[test]
    fn a_write_tells_who_made_the_object() {
        for (uid, adopted, written, expected, recorded, counts_as_adopted) in [
            (None, None, live("a", &[US]), Written::Ours, "a", false),
            // Recorded by an agent that kept no uids; others have long written to it.
            (
                None,
                None,
                live("a", &["kubectl", US]),
                Written::Ours,
                "a",
                false,
            ),
            (
                Some("a"),
                None,
                live("a", &["kubectl", US]),
                Written::Known,
                "a",
                false,
            ),
            // Deleted by somebody and made anew by our write.
            (Some("a"), None, live("b", &[US]), Written::Ours, "b", false),
            (
                Some("a"),
                Some((1, true)),
                live("b", &[US]),
                Written::Ours,
                "b",
                false,
            ),
            // Deleted and made anew by somebody before our write.
            (
                Some("a"),
                None,
                live("b", &["kubectl", US]),
                Written::Remade,
                "b",
                true,
            ),
            // Adopted: the write changes nothing of that.
            (
                Some("a"),
                Some((1, false)),
                live("a", &["x", US]),
                Written::Known,
                "a",
                true,
            ),
        ] {
            let mut held = held(uid, adopted);
            let found = note_written(&mut held, &written, US, TWO);
            assert_eq!(found, expected, "{uid:?} {written}");
            assert_eq!(held.uid.as_deref(), Some(recorded));
            assert_eq!(
                held.adopted.is_some(),
                counts_as_adopted,
                "{uid:?} {written}"
            );
        }
    }

    #[test]
    fn an_object_that_asks_to_be_kept_stays() {
        let mut object = live("a", &[US]);
        for (word, expected) in [
            (json!("keep"), Parting::Keep),
            (json!(" Keep"), Parting::Keep),
            (json!("delete"), Parting::Delete),
        ] {
            object["metadata"]["annotations"] = json!({KEEP_ANNOTATION: word});
            for next in [None, Some(3)] {
                assert_eq!(parting(&held(Some("a"), None), &object, US, next), expected);
            }
        }
        object["metadata"]["annotations"] = json!({KEEP_ANNOTATION: "keep"});
        let adopted = held(Some("a"), Some((2, false)));
        assert_eq!(parting(&adopted, &object, US, None), Parting::LetGo);
        let other = held(Some("b"), None);
        assert_eq!(parting(&other, &object, US, None), Parting::LeaveAlone);
    }

    #[test]
    fn an_object_that_was_made_anew_is_not_deleted_with_the_application() {
        let mut held = held(Some("a"), None);
        let written = live("b", &["kubectl", US]);
        note_written(&mut held, &written, US, TWO);
        assert_eq!(parting(&held, &written, US, None), Parting::LetGo);
    }

    #[test]
    fn an_adopted_object_is_known_by_its_uid_before_anything_is_written_to_it() {
        let untouched = live("a", &["kubectl"]);
        let held = adopted(held(None, None), &untouched, TWO, "digest");
        assert!(is_held(&held, &untouched, US));
        assert_eq!(parting(&held, &untouched, US, Some(1)), Parting::LetGo);
        let originals = held.adopted.and_then(|adoption| adoption.originals);
        assert_eq!(originals.as_deref(), Some("digest"));
    }
}
