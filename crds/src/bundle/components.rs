//! How the components of a bundle are written down.
//!
//! An agent that knows no hooks must refuse a component that has some: skipping a migration is worse
//! than waiting for a newer agent. So the objects of such a component stand under another name than the
//! one that every agent asks for. The same holds for a component that is applied in the name of a
//! ServiceAccount: an agent that knows none would apply it with all rights that it has.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::{Map, Value, from_value, to_value};

use super::BundleComponent;

/// Where the objects of a component without hooks stand.
const OBJECTS: &str = "objects";
/// Where those of a component with hooks stand.
const HOOKED_OBJECTS: &str = "hookedObjects";
/// Where hooks stand.
const HOOKS: &str = "hooks";
/// Where the objects of a component with a ServiceAccount stand, whether it has hooks or not.
const RESTRICTED_OBJECTS: &str = "restrictedObjects";
/// Where the ServiceAccount stands.
const SERVICE_ACCOUNT: &str = "serviceAccount";

#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Plain(&'a BundleComponent),
    Renamed(Value),
}

pub(super) fn serialize<S: Serializer>(
    components: &[BundleComponent],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let written: Vec<Written<'_>> = components
        .iter()
        .map(|component| {
            let place = match (&component.service_account, component.hooks.as_slice()) {
                (Some(_), _) => RESTRICTED_OBJECTS,
                (None, [_, ..]) => HOOKED_OBJECTS,
                (None, []) => return Ok(Written::Plain(component)),
            };
            let mut value = to_value(component)?;
            rename(value.as_object_mut(), OBJECTS, place);
            Ok(Written::Renamed(value))
        })
        .collect::<Result<_, serde_json::Error>>()
        .map_err(S::Error::custom)?;
    written.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<BundleComponent>, D::Error> {
    Vec::<Map<String, Value>>::deserialize(deserializer)?
        .into_iter()
        .map(|mut fields| {
            let place = if fields.contains_key(SERVICE_ACCOUNT) {
                Some(RESTRICTED_OBJECTS)
            } else if fields.contains_key(HOOKS) {
                Some(HOOKED_OBJECTS)
            } else {
                None
            };
            if let Some(place) = place {
                // Beside plain objects they would be passed over by agents that know none.
                fields.remove(OBJECTS);
                rename(Some(&mut fields), place, OBJECTS);
            }
            from_value(Value::Object(fields)).map_err(D::Error::custom)
        })
        .collect()
}

fn rename(fields: Option<&mut Map<String, Value>>, from: &str, to: &str) {
    let Some(fields) = fields else { return };
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chart_hook::{ChartHook, HookMoment};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        #[serde(with = "super")]
        components: Vec<BundleComponent>,
    }

    /// As agents read components before there were hooks.
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read counts")]
    struct HolderBefore {
        components: Vec<Before>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read counts")]
    struct Before {
        name: String,
        objects: Vec<Value>,
    }

    fn holder(hooks: Value) -> Holder {
        let component: BundleComponent = from_value(json!({
            "name": "web", "objects": [{"kind": "Service"}], "hooks": hooks,
        }))
        .expect("a component");
        Holder {
            components: vec![component],
        }
    }

    #[test]
    fn without_hooks_it_is_written_as_before() {
        let plain = holder(json!([]));
        let text = serde_json::to_string(&plain).expect("JSON");
        let before = r#"{"components":[{"name":"web","objects":[{"kind":"Service"}]}]}"#;
        assert_eq!(text, before);
        assert_eq!(serde_json::from_str::<Holder>(&text).expect("it"), plain);
        assert!(serde_json::from_str::<HolderBefore>(&text).is_ok());
    }

    #[test]
    fn who_knows_no_hooks_cannot_read_a_component_with_some() {
        let hooked = holder(json!([
            {"object": {"kind": "Job"}, "moments": ["pre-upgrade"], "weight": -5},
        ]));
        let hook: &ChartHook = &hooked.components[0].hooks[0];
        assert_eq!(hook.moments, [HookMoment::PreUpgrade]);
        let text = serde_json::to_string(&hooked).expect("JSON");
        assert_eq!(serde_json::from_str::<Holder>(&text).expect("it"), hooked);
        assert!(
            serde_json::from_str::<HolderBefore>(&text).is_err(),
            "{text}"
        );
        let beside = text.replace(HOOKED_OBJECTS, OBJECTS);
        assert!(serde_json::from_str::<Holder>(&beside).is_err(), "{beside}");
    }

    /// As agents read components before there were ServiceAccounts: hooks they know.
    #[derive(Deserialize)]
    struct HolderOfHooks {
        components: Vec<Map<String, Value>>,
    }

    impl HolderOfHooks {
        /// Whether such an agent finds the objects of the first component.
        fn has_objects(&self) -> bool {
            let fields = &self.components[0];
            match fields.contains_key(HOOKS) {
                true => fields.contains_key(HOOKED_OBJECTS),
                false => fields.contains_key(OBJECTS),
            }
        }
    }

    #[test]
    fn who_knows_no_service_accounts_cannot_read_a_component_with_one() {
        let hook = json!([{"object": {"kind": "Job"}, "moments": ["pre-upgrade"], "weight": 0}]);
        for hooks in [json!([]), hook] {
            let mut restricted = holder(hooks.clone());
            let older = |holder: &Holder| -> HolderOfHooks {
                serde_json::from_value(json!(holder)).expect("components")
            };
            assert!(older(&restricted).has_objects(), "{hooks}");
            restricted.components[0].service_account = Some(crate::reference::NamespacedName {
                namespace: "shop".to_owned(),
                name: "deployer".to_owned(),
            });
            let text = serde_json::to_string(&restricted).expect("JSON");
            assert_eq!(
                serde_json::from_str::<Holder>(&text).expect("it"),
                restricted
            );
            assert!(!older(&restricted).has_objects(), "{text}");
            let beside = text.replace(RESTRICTED_OBJECTS, OBJECTS);
            assert!(serde_json::from_str::<Holder>(&beside).is_err(), "{beside}");
        }
    }
}
