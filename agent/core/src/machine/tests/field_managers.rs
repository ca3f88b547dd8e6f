//! Who manages which of the two fields that an owner and a run both write, as an API server records it.

use serde_json::{Value, json};

use crate::adopted::ROLLOUT_MANAGER;

pub(super) const PARTITION: &str = "/spec/updateStrategy/rollingUpdate/partition";
pub(super) const IMAGE: &str = "/spec/template/spec/containers/0/image";
const FIELDS: [&str; 2] = [PARTITION, IMAGE];

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// A run, by merge patches.
    Run,
    /// The owner, by whatever is no server-side apply.
    Updates,
    /// The owner, by server-side apply that forces conflicts.
    Applies,
}

const WRITERS: [(Writer, &str, &str); 3] = [
    (Writer::Run, ROLLOUT_MANAGER, "Update"),
    (Writer::Updates, "kubectl", "Update"),
    (Writer::Applies, "flux", "Apply"),
];

/// Whether a writer manages a field.
pub(super) fn manages(object: &Value, writer: Writer, field: &str) -> bool {
    let (_, manager, _) = WRITERS[writer as usize];
    let entries = object.pointer("/metadata/managedFields");
    let entries = entries.and_then(Value::as_array).into_iter().flatten();
    entries
        .filter(|entry| entry["manager"] == manager)
        .any(|entry| entry.pointer(managed_at(field)).is_some())
}

fn managed_at(field: &str) -> &'static str {
    if field == PARTITION {
        "/fieldsV1/f:spec/f:updateStrategy/f:rollingUpdate/f:partition"
    } else {
        "/fieldsV1/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"web\"}/f:image"
    }
}

/// Records a write. Who changes a value takes its field from everybody else; who applies one manages it
/// whatever it was; who updates one to what it was does not.
pub(super) fn record(before: &Value, after: &mut Value, by: Writer) {
    let manages_then = |writer: Writer, field: &'static str| {
        let changed = before.pointer(field) != after.pointer(field);
        if writer == by {
            changed || by == Writer::Applies || manages(before, by, field)
        } else {
            !changed && manages(before, writer, field)
        }
    };
    let entries: Vec<Value> = WRITERS
        .into_iter()
        .filter_map(|(writer, manager, operation)| {
            let fields = FIELDS
                .into_iter()
                .filter(|field| manages_then(writer, field));
            let mut entry = json!({"manager": manager, "operation": operation});
            for field in fields {
                crate::adopted::in_place::set(&mut entry, managed_at(field), json!({}));
            }
            entry.get("fieldsV1").is_some().then_some(entry)
        })
        .collect();
    after["metadata"]["managedFields"] = json!(entries);
}
