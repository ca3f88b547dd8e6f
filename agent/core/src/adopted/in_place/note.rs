//! What a workload itself says of the field that holds it.

use bellwether_api::workload_adapter::WorkloadAdapter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::field;
use crate::adopted::{HELD_ANNOTATION, applied::applies_what_we_wrote};

/// Annotation on a workload whose pods its Rollout holds back by a field that its owner may write too:
/// what its owner wants there, and what is ours. It is there exactly as long as the field is ours.
pub const PARTITION_ANNOTATION: &str = "bellwether.dev/written-partition";

/// How the field comes to say what is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By a patch of ours: who else managed it does not any more, if its value changes.
    Patch,
    /// By what is added to somebody's write.
    Admission,
}

/// The content of [`PARTITION_ANNOTATION`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// What the owner wants there; absent = the field is to be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<Value>,
    /// What was written.
    pub(crate) ours: Value,
    /// How many objects around the field were made for it.
    #[serde(default)]
    pub(crate) made: usize,
    /// Whether an applier manages the field together with us although what they have said of it is noted
    /// already: the API server's webhook changes values, and never who manages them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shared: bool,
    /// Where its kind keeps what, unless that is known of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) adapter: Option<WorkloadAdapter>,
}

impl Note {
    /// Reads the note of a workload; absent = it has none.
    pub(crate) fn of(object: &Value) -> Option<Self> {
        let annotations = object.pointer("/metadata/annotations")?;
        serde_json::from_str(annotations.get(PARTITION_ANNOTATION)?.as_str()?).ok()
    }

    /// What is to stand on a workload once the field says `ours`. Whatever stands there now without being
    /// ours is its owner's word. `None` = its kind has no such field.
    pub(crate) fn next(
        object: &Value,
        adapter: &WorkloadAdapter,
        ours: Value,
        by: By,
    ) -> Option<Self> {
        let pointer = adapter.partition.as_deref()?;
        let live = object.pointer(pointer).cloned();
        let keeps_managers = by == By::Admission || live.as_ref() == Some(&ours);
        let shared = keeps_managers && applies_what_we_wrote(object, pointer);
        let (users, made) = match Self::of(object) {
            Some(note) if note.is_ours(object, pointer) => (note.users, note.made),
            Some(note) => (live, note.made),
            // Somebody took the note alone: what it said is not known any more.
            None if is_held(object) => (None, 0),
            None => (live, field::missing_parents(object, pointer)),
        };
        Some(Self {
            users: users.filter(|users| !users.is_null()),
            ours,
            made,
            shared,
            adapter: (!is_known(object, adapter)).then(|| adapter.clone()),
        })
    }

    /// Whether what the field says is our word, and not its owner's too.
    fn is_ours(&self, object: &Value, pointer: &str) -> bool {
        let is_said = !self.shared && applies_what_we_wrote(object, pointer);
        object.pointer(pointer) == Some(&self.ours) && !is_said
    }

    /// As it is written.
    pub(crate) fn text(&self) -> String {
        json!(self).to_string()
    }

    /// The merge patch that gives the field back.
    pub(super) fn restoring(&self, object: &Value, adapter: &WorkloadAdapter) -> Value {
        let Some(pointer) = adapter.partition.as_deref() else {
            return json!({});
        };
        // Whoever wrote it meanwhile has their word there already.
        let users = if self.is_ours(object, pointer) {
            self.users.as_ref()
        } else {
            object.pointer(pointer)
        };
        match users {
            Some(users) => field::patch_of(pointer, users.clone()),
            None => field::removal(object, pointer, self.made),
        }
    }
}

/// Where the kind of a live workload keeps what an update in place needs, as its note or its kind says;
/// absent = it is not updated in place.
#[must_use]
pub fn adapter_of(object: &Value) -> Option<WorkloadAdapter> {
    let noted = Note::of(object).and_then(|note| note.adapter);
    noted.or_else(|| known(object))
}

fn is_held(object: &Value) -> bool {
    let annotations = object.pointer("/metadata/annotations");
    annotations.is_some_and(|all| all.get(HELD_ANNOTATION).is_some())
}

fn known(object: &Value) -> Option<WorkloadAdapter> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    WorkloadAdapter::known(text("apiVersion")?, text("kind")?)
}

fn is_known(object: &Value, adapter: &WorkloadAdapter) -> bool {
    known(object).as_ref() == Some(adapter)
}
