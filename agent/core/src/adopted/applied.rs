//! Whether an owner has said what stands at a place already, because a run wrote it there.
//!
//! A write of the value that is there changes no value, so that only the record of who manages which field
//! (`metadata.managedFields`) can tell. A merge patch of ours that changes a value takes its fields from
//! everybody else. So where somebody applies server-side and manages them together with us, they have
//! applied that value after us. Of other writes that change nothing the API server records nothing.

use serde_json::Value;

use crate::ownership::{entries, manager_of};

/// The field manager of what a run creates, and of what it writes into objects of others.
pub const ROLLOUT_MANAGER: &str = "bellwether-rollout";

/// Whether somebody applies everything that we have written at a JSON pointer or below it; never where we
/// have written nothing there.
pub(crate) fn applies_what_we_wrote(object: &Value, pointer: &str) -> bool {
    let fields = |entry: &&Value, is: &str| {
        entry.get("operation").and_then(Value::as_str) == Some(is)
            && entry.get("subresource").is_none()
    };
    let below = |entry| below(entry, pointer);
    let ours = entries(object)
        .filter(|entry| manager_of(entry) == ROLLOUT_MANAGER && fields(entry, "Update"))
        .find_map(below)
        .filter(|ours| names_a_value(ours));
    let Some(ours) = ours else {
        return false;
    };
    entries(object)
        .filter(|entry| manager_of(entry) != ROLLOUT_MANAGER && fields(entry, "Apply"))
        .filter_map(below)
        .any(|theirs| holds_all(theirs, ours))
}

/// What an entry of `managedFields` has at a pointer, in the form of `fieldsV1`: what is above it, where
/// that is managed as a whole; absent = nothing.
fn below<'a>(entry: &'a Value, pointer: &str) -> Option<&'a Value> {
    let mut at = entry.get("fieldsV1")?;
    for name in pointer.split('/').skip(1) {
        if is_whole(at) {
            return Some(at);
        }
        at = at.get(format!("f:{name}"))?;
    }
    Some(at)
}

fn is_whole(fields: &Value) -> bool {
    fields.as_object().is_some_and(serde_json::Map::is_empty)
}

/// That something is there is not what it says.
const IS_THERE: &str = ".";

fn names_a_value(fields: &Value) -> bool {
    let inner = fields.as_object().into_iter().flatten();
    is_whole(fields)
        || inner
            .filter(|(name, _)| *name != IS_THERE)
            .any(|(_, below)| names_a_value(below))
}

fn holds_all(theirs: &Value, ours: &Value) -> bool {
    let Some(fields) = ours.as_object() else {
        return false;
    };
    if fields.is_empty() || is_whole(theirs) {
        return is_whole(theirs) && fields.is_empty();
    }
    fields.iter().all(|(name, ours)| {
        let theirs = theirs.get(name);
        name == IS_THERE || theirs.is_some_and(|theirs| holds_all(theirs, ours))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELD: &str = "/spec/updateStrategy/rollingUpdate/partition";

    fn partition() -> Value {
        json!({"f:spec": {"f:updateStrategy": {"f:rollingUpdate": {"f:partition": {}}}}})
    }

    fn image() -> Value {
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"db\"}": {"f:image": {}},
        }}}}})
    }

    fn managed(entries: &[(&str, &str, Value)]) -> Value {
        let entries: Vec<Value> = entries
            .iter()
            .map(|(manager, operation, fields)| {
                json!({"manager": manager, "operation": operation, "fieldsV1": fields})
            })
            .collect();
        json!({"metadata": {"managedFields": entries}})
    }

    #[test]
    fn only_who_applies_what_we_wrote_has_said_it_after_us() {
        let us = (ROLLOUT_MANAGER, "Update", partition());
        let others = json!({"f:spec": {"f:replicas": {}}});
        let whole = json!({"f:spec": {"f:updateStrategy": {}}});
        let cases = [
            ("nobody", vec![], false),
            ("we alone", vec![us.clone()], false),
            (
                "an applier too",
                vec![us.clone(), ("flux", "Apply", partition())],
                true,
            ),
            (
                "an applier of something else",
                vec![us.clone(), ("flux", "Apply", others)],
                false,
            ),
            (
                "an applier whose own value ours took the place of in the same write",
                vec![("flux", "Apply", partition())],
                false,
            ),
            (
                "who updates never shares a field",
                vec![us, ("kubectl", "Update", partition())],
                false,
            ),
            (
                "both manage what is around it",
                vec![
                    (ROLLOUT_MANAGER, "Update", whole.clone()),
                    ("flux", "Apply", whole),
                ],
                true,
            ),
        ];
        for (what, entries, expected) in cases {
            let object = managed(&entries);
            assert_eq!(applies_what_we_wrote(&object, FIELD), expected, "{what}");
        }
        assert!(!applies_what_we_wrote(&json!({"metadata": {}}), FIELD));
    }

    #[test]
    fn a_template_counts_as_applied_where_all_that_we_changed_of_it_is() {
        let mut more = image();
        let containers = "/f:spec/f:template/f:spec/f:containers";
        let container = more.pointer_mut(containers).expect("containers");
        container["k:{\"name\":\"db\"}"]["."] = json!({});
        container["k:{\"name\":\"db\"}"]["f:env"] = json!({"k:{\"name\":\"A\"}": {"f:value": {}}});
        let cases = [
            ("the same", image(), image(), true),
            ("all of ours and more", image(), more.clone(), true),
            ("a part of ours", more.clone(), image(), false),
            ("something else", image(), partition(), false),
            ("we wrote no template", partition(), image(), false),
            (
                "we made what others fill",
                json!({"f:spec": {"f:template": {"f:metadata": {".": {}}}}}),
                json!({"f:spec": {"f:template": {"f:metadata": {"f:name": {}}}}}),
                false,
            ),
        ];
        for (what, ours, theirs, expected) in cases {
            let object = managed(&[
                (ROLLOUT_MANAGER, "Update", ours),
                ("argocd", "Apply", theirs),
            ]);
            assert_eq!(
                applies_what_we_wrote(&object, "/spec/template"),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn what_is_written_to_the_status_says_nothing() {
        let mut object = managed(&[
            (ROLLOUT_MANAGER, "Update", partition()),
            ("flux", "Apply", partition()),
        ]);
        object["metadata"]["managedFields"][1]["subresource"] = json!("scale");
        assert!(!applies_what_we_wrote(&object, FIELD));
    }
}
