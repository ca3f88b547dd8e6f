//! What a workload says of the Rollout that holds it, whatever its kind.

use serde_json::Value;

use super::applied::applies_what_we_wrote;

/// Annotation on a workload that is held by its Rollout: the Rollout's name. It is there exactly as long
/// as what holds it (`spec.paused`, a partition) is ours.
pub const HELD_ANNOTATION: &str = "bellwether.dev/held-by";

/// Annotation on a workload whose template a run has put back for a while: the template that its owner
/// wrote, which it gets again, held, before the run is over.
pub const WRITTEN_ANNOTATION: &str = "bellwether.dev/written-template";

/// What is read off a workload of any kind that may be held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    /// The Rollout that holds it; absent = none does.
    pub held_by: Option<String>,
    /// What its owner wrote, while a run has put the template before back; absent = it has not, or the
    /// owner has applied that very template since.
    pub written: Option<Value>,
    /// Whether anything is noted on it of what its owner wrote.
    pub is_noted: bool,
    /// Whether its controller has seen its last change.
    pub is_observed: bool,
}

impl Marks {
    /// Reads a live workload; `observed_generation` is where its kind says what its controller has seen.
    #[must_use]
    pub fn of(object: &Value, observed_generation: &str) -> Self {
        let noted = annotation(object, WRITTEN_ANNOTATION);
        let is_noted = noted.is_some();
        let written = noted.filter(|_| !applies_what_we_wrote(object, "/spec/template"));
        Self {
            is_noted,
            held_by: annotation(object, HELD_ANNOTATION),
            written: written.and_then(|text| serde_json::from_str(&text).ok()),
            is_observed: number(object, observed_generation)
                >= number(object, "/metadata/generation"),
        }
    }

    /// Whether a Rollout holds it.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.held_by.is_some()
    }

    /// Whether what is noted of its owner's template is not their word any more.
    pub(super) const fn is_outdated(&self) -> bool {
        self.is_noted && self.written.is_none()
    }

    /// Whether this Rollout holds it.
    pub(super) fn is_held_by(&self, rollout: &str) -> bool {
        self.held_by.as_deref() == Some(rollout)
    }
}

/// Whether the controller of an object is the one with this uid.
pub(super) fn is_controlled_by(object: &Value, uid: &str) -> bool {
    let owners = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    !uid.is_empty()
        && owners.into_iter().flatten().any(|owner| {
            owner.get("controller") == Some(&Value::Bool(true)) && text(owner, "/uid") == uid
        })
}

pub(super) fn annotation(object: &Value, name: &str) -> Option<String> {
    let annotations = object.pointer("/metadata/annotations")?;
    annotations.get(name)?.as_str().map(str::to_owned)
}

/// Empty where there is no text.
pub(super) fn text(object: &Value, path: &str) -> String {
    let text = object.pointer(path).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// 0 where there is no number of pods.
pub(super) fn count(object: &Value, path: &str) -> u32 {
    let count = object.pointer(path).and_then(Value::as_u64);
    count
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or(0)
}

fn number(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_are_read_alike_of_every_kind() {
        let seen = json!({
            "metadata": {"generation": 3, "annotations": {
                HELD_ANNOTATION: "shop", WRITTEN_ANNOTATION: "{\"spec\":{}}",
            }},
            "status": {"observedGeneration": 3, "seen": 2},
        });
        let marks = Marks::of(&seen, "/status/observedGeneration");
        assert!(marks.is_held_by("shop") && !marks.is_held_by("other"));
        assert_eq!(marks.written, Some(json!({"spec": {}})));
        assert!(marks.is_observed && !marks.is_outdated());
        assert!(!Marks::of(&seen, "/status/seen").is_observed);
        assert!(!Marks::of(&seen, "/status/absent").is_observed);
        let bare = Marks::of(&json!({"metadata": {}}), "/status/observedGeneration");
        assert!(!bare.is_held() && bare.written.is_none() && !bare.is_outdated());
        let broken = json!({"metadata": {"annotations": {WRITTEN_ANNOTATION: "no template"}}});
        assert!(Marks::of(&broken, "/status/seen").is_outdated());
    }
}
