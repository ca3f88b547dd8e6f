//! How a component is written down.
//!
//! An agent that knows no hooks must refuse a component that has some: skipping a migration is worse
//! than waiting for a newer agent. So such a component is written without the field that every agent
//! asks for, and with another that holds its objects together with its hooks.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::BundleComponent;
use crate::chart_hook::ChartHook;

/// A component as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    name: String,
    objects: Option<Vec<Value>>,
    hooked: Option<Hooked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hooked {
    objects: Vec<Value>,
    hooks: Vec<ChartHook>,
}

/// Neither or both of the fields that hold objects are there.
#[derive(Debug, thiserror::Error)]
#[error("component {name:?} needs exactly one of objects and hooked")]
pub(super) struct NoObjects {
    name: String,
}

impl TryFrom<Written> for BundleComponent {
    type Error = NoObjects;

    fn try_from(written: Written) -> Result<Self, NoObjects> {
        let name = written.name;
        let (objects, hooks) = match (written.objects, written.hooked) {
            (Some(objects), None) => (objects, Vec::new()),
            (None, Some(hooked)) => (hooked.objects, hooked.hooks),
            _ => return Err(NoObjects { name }),
        };
        Ok(Self {
            name,
            objects,
            hooks,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plain<'a> {
    name: &'a str,
    objects: &'a [Value],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WithHooks<'a> {
    name: &'a str,
    hooked: Parts<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parts<'a> {
    objects: &'a [Value],
    hooks: &'a [ChartHook],
}

impl Serialize for BundleComponent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, objects) = (self.name.as_str(), self.objects.as_slice());
        if self.hooks.is_empty() {
            return Plain { name, objects }.serialize(serializer);
        }
        let hooks = self.hooks.as_slice();
        let hooked = Parts { objects, hooks };
        WithHooks { name, hooked }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chart_hook::HookMoment;

    /// As agents read a component before there were hooks.
    #[derive(Deserialize)]
    struct Before {
        #[expect(dead_code, reason = "only whether it can be read counts")]
        objects: Vec<Value>,
    }

    fn component(hooks: Vec<ChartHook>) -> BundleComponent {
        BundleComponent {
            name: "web".to_owned(),
            objects: vec![json!({"kind": "Service"})],
            hooks,
        }
    }

    #[test]
    fn without_hooks_it_is_written_as_before() {
        let plain = component(Vec::new());
        let text = serde_json::to_string(&plain).expect("JSON");
        assert_eq!(text, r#"{"name":"web","objects":[{"kind":"Service"}]}"#);
        let read: BundleComponent = serde_json::from_str(&text).expect("a component");
        assert_eq!(read, plain);
    }

    #[test]
    fn who_knows_no_hooks_cannot_read_a_component_with_some() {
        let hooked = component(vec![ChartHook {
            object: json!({"kind": "Job"}),
            moments: vec![HookMoment::PreUpgrade],
            weight: -5,
            delete: Vec::new(),
        }]);
        let text = serde_json::to_string(&hooked).expect("JSON");
        let read: BundleComponent = serde_json::from_str(&text).expect("a component");
        assert_eq!(read, hooked);
        assert!(serde_json::from_str::<Before>(&text).is_err(), "{text}");
        assert!(serde_json::from_str::<Before>(r#"{"objects":[]}"#).is_ok());
    }

    #[test]
    fn objects_stand_in_one_place() {
        for text in [
            r#"{"name":"web"}"#,
            r#"{"name":"web","objects":[],"hooked":{"objects":[],"hooks":[]}}"#,
        ] {
            assert!(serde_json::from_str::<BundleComponent>(text).is_err());
        }
    }
}
