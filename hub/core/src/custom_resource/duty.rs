//! What is to be done about a custom resource.

use bellwether_api::{
    application::AdoptPolicy,
    custom_resource::{ADOPT, ALLOW_REMOVAL, FINALIZER, RECORD_DELETION},
};
use serde_json::Value;

use crate::allowance::{Allowance, Spent};

/// A custom resource and its record, as they are.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The custom resource; absent = the API server has none of that name.
    pub object: Option<&'a Value>,
    /// Whether the record came from it; absent = there is no such record, or it came from elsewhere.
    pub owned: Option<Owned>,
}

/// A record that came from a custom resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Whether it was noted already that the custom resource is gone.
    pub missing: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Nothing.
    Nothing,
    /// The finalizer is put on it, before anything comes of it.
    Finalizer,
    /// The record is made what it says.
    Write,
    /// The record is deleted, then the finalizer is taken off.
    Delete,
    /// The record is let go of, then the finalizer is taken off.
    Orphan,
    /// The finalizer is taken off: no record came from it.
    LetGo,
    /// It waits, for this reason.
    Hold(String),
    /// It is gone without having been deleted as it should: that is noted, and nothing is deleted.
    Missing,
}

/// Tells what is to be done. Only a deletion that the API server shows deletes: that a custom resource is
/// not there says nothing of what its user wants.
#[must_use]
pub fn duty(seen: Seen<'_>) -> Duty {
    let Some(object) = seen.object else {
        return match seen.owned {
            Some(Owned { missing: false }) => Duty::Missing,
            Some(Owned { missing: true }) | None => Duty::Nothing,
        };
    };
    let finalizers = object.pointer("/metadata/finalizers");
    let finalizers = finalizers.and_then(Value::as_array).into_iter().flatten();
    let is_held = finalizers.into_iter().any(|one| one == FINALIZER);
    let is_leaving = object.pointer("/metadata/deletionTimestamp").is_some();
    match (is_leaving, is_held) {
        (false, false) => Duty::Finalizer,
        (false, true) => Duty::Write,
        (true, false) => Duty::Nothing,
        (true, true) if seen.owned.is_none() => Duty::LetGo,
        (true, true) => match annotation(object, RECORD_DELETION) {
            None | Some("Delete") => Duty::Delete,
            Some("Orphan") => Duty::Orphan,
            Some(other) => Duty::Hold(unknown(RECORD_DELETION, "Delete or Orphan", other)),
        },
    }
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(name)?
        .as_str()
}

fn unknown(name: &str, words: &str, other: &str) -> String {
    format!("metadata.annotations[\"{name}\"]: it is {words}, not {other:?}")
}

/// Reads whether the record is taken over where it came from elsewhere, and checks the other words by
/// which a custom resource is handled.
///
/// # Errors
/// What one of the annotations may be instead.
pub fn adoption(object: &Value) -> Result<AdoptPolicy, String> {
    if let Some(word) = annotation(object, RECORD_DELETION)
        && !matches!(word, "Delete" | "Orphan")
    {
        return Err(unknown(RECORD_DELETION, "Delete or Orphan", word));
    }
    match annotation(object, ADOPT) {
        None => Ok(AdoptPolicy::default()),
        Some("Never") => Ok(AdoptPolicy::Never),
        Some("IfIdentical") => Ok(AdoptPolicy::IfIdentical),
        Some("Always") => Ok(AdoptPolicy::Always),
        Some(other) => Err(unknown(ADOPT, "Never, IfIdentical or Always", other)),
    }
}

/// Tells whether the record of a custom resource that is being deleted may go from so many clusters: at
/// most one, or as many as its annotation allows. What that allowed before, which is `spent`, it does not allow
/// again.
///
/// # Errors
/// What allows it.
pub fn deletion(object: &Value, clusters: usize, spent: &[Spent]) -> Result<(), String> {
    let allowance = Allowance::read(ALLOW_REMOVAL, annotation(object, ALLOW_REMOVAL), spent);
    if clusters <= allowance.count().unwrap_or(1).max(1) {
        return Ok(());
    }
    Err(format!(
        "it runs on {clusters} clusters; to take it away from all of them, annotate it with {}, or with \
         {RECORD_DELETION}: Orphan to leave it there",
        allowance.ask(clusters)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(is_held: bool, is_leaving: bool, annotations: &Value) -> Value {
        let mut object = json!({"metadata": {"name": "web", "annotations": annotations}});
        if is_held {
            object["metadata"]["finalizers"] = json!(["other/one", FINALIZER]);
        }
        if is_leaving {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        object
    }

    fn of(object: Option<&Value>, owned: Option<Owned>) -> Duty {
        duty(Seen { object, owned })
    }

    const OWNED: Option<Owned> = Some(Owned { missing: false });
    const GONE: Option<Owned> = Some(Owned { missing: true });

    #[test]
    fn absence_never_deletes() {
        assert_eq!(of(None, OWNED), Duty::Missing);
        assert_eq!(of(None, GONE), Duty::Nothing);
        assert_eq!(of(None, None), Duty::Nothing);
        // Somebody took the finalizer off: what the hub did not finish it does not finish now.
        let bare = object(false, true, &json!({}));
        assert_eq!(of(Some(&bare), OWNED), Duty::Nothing);
    }

    #[test]
    fn a_record_is_written_behind_a_finalizer_alone() {
        for owned in [OWNED, GONE, None] {
            let new = object(false, false, &json!({}));
            assert_eq!(of(Some(&new), owned), Duty::Finalizer);
            let held = object(true, false, &json!({}));
            assert_eq!(of(Some(&held), owned), Duty::Write);
        }
    }

    #[test]
    fn a_deletion_takes_the_record_along_unless_it_says_otherwise() {
        let leaving = object(true, true, &json!({}));
        assert_eq!(of(Some(&leaving), OWNED), Duty::Delete);
        assert_eq!(of(Some(&leaving), GONE), Duty::Delete);
        assert_eq!(of(Some(&leaving), None), Duty::LetGo);
        let orphan = object(true, true, &json!({RECORD_DELETION: "Orphan"}));
        assert_eq!(of(Some(&orphan), OWNED), Duty::Orphan);
        let odd = object(true, true, &json!({RECORD_DELETION: "orphan"}));
        let Duty::Hold(why) = of(Some(&odd), OWNED) else {
            panic!("an unknown word is no leave to delete");
        };
        assert!(why.contains("Delete or Orphan, not \"orphan\""), "{why}");
    }

    #[test]
    fn an_application_leaves_many_clusters_by_their_number_alone() {
        let plain = object(true, true, &json!({}));
        assert!(deletion(&plain, 0, &[]).is_ok() && deletion(&plain, 1, &[]).is_ok());
        let why = deletion(&plain, 3, &[]).expect_err("nobody said so");
        assert!(
            why.contains("3 clusters") && why.contains("allow-removal: \"3\""),
            "{why}"
        );
        let said = object(true, true, &json!({ALLOW_REMOVAL: "3"}));
        assert!(deletion(&said, 3, &[]).is_ok());
        assert!(deletion(&said, 4, &[]).is_err(), "another number was meant");
        let odd = object(true, true, &json!({ALLOW_REMOVAL: "all"}));
        assert!(deletion(&odd, 3, &[]).is_err());
    }

    #[test]
    fn a_word_that_was_used_before_deletes_nothing() {
        let said = |value: &str| object(true, true, &json!({ALLOW_REMOVAL: value}));
        let spent = [Spent {
            annotation: ALLOW_REMOVAL.to_owned(),
            value: "3".to_owned(),
            used_for: "its removal from 3 clusters".to_owned(),
            covers: Vec::new(),
        }];
        let why = deletion(&said("3"), 3, &spent).expect_err("it was used");
        assert!(
            why.contains("allow-removal: \"3 again\"") && why.contains("was used by its removal"),
            "{why}"
        );
        assert!(deletion(&said("3"), 1, &spent).is_ok(), "one takes no word");
        assert!(deletion(&said("4"), 3, &spent).is_ok());
        assert!(deletion(&said("3 again"), 3, &spent).is_ok());
    }

    #[test]
    fn words_of_annotations_are_read_or_refused() {
        let read = |annotations: Value| adoption(&object(true, false, &annotations));
        assert_eq!(read(json!({})), Ok(AdoptPolicy::IfIdentical));
        assert_eq!(read(json!({ADOPT: "Always"})), Ok(AdoptPolicy::Always));
        assert_eq!(read(json!({ADOPT: "Never"})), Ok(AdoptPolicy::Never));
        let why = read(json!({ADOPT: "always"})).expect_err("unknown");
        assert!(why.contains("Never, IfIdentical or Always"), "{why}");
        let why = read(json!({RECORD_DELETION: "Keep"})).expect_err("unknown");
        assert!(why.starts_with("metadata.annotations"), "{why}");
    }
}
