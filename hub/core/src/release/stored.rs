//! How the content of a release is written down.
//!
//! A hub that knows no ServiceAccounts must not read a release that names one: while hubs are upgraded one after
//! another, an older one may lead and grant it, and agents would apply it with all their rights. So the components of
//! such a release stand under another name than the one that every hub asks for.

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::value;

use super::ReleaseContent;

/// Where components stand of which none has a ServiceAccount.
const COMPONENTS: &str = "components";
/// Where those of a release with a ServiceAccount stand.
const RESTRICTED_COMPONENTS: &str = "restrictedComponents";

impl ReleaseContent {
    /// Tells whether anything of it is applied in the name of a ServiceAccount.
    fn is_restricted(&self) -> bool {
        let mut components = self.components.iter();
        self.service_account.is_some() || components.any(|one| one.service_account.is_some())
    }
}

impl Serialize for ReleaseContent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_restricted() {
            return Self::serialize(self, serializer);
        }
        let mut content = Self::serialize(self, value::Serializer).map_err(S::Error::custom)?;
        if let Some(fields) = content.as_object_mut()
            && let Some(components) = fields.remove(COMPONENTS)
        {
            fields.insert(RESTRICTED_COMPONENTS.to_owned(), components);
        }
        content.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ReleaseContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    fn content() -> ReleaseContent {
        let component = json!({"name": "web", "targetNamespace": null, "objects": []});
        from_value(
            json!({"targetNamespace": "shop", "createNamespace": false, "sync": {},
            "components": [component], "rollouts": []}),
        )
        .expect("a content")
    }

    #[test]
    fn who_knows_no_service_accounts_cannot_read_a_release_with_one() {
        let account = || Some("deployer".to_owned());
        let plain = content();
        let mut own = content();
        own.service_account = account();
        let mut of_component = content();
        of_component.components[0].service_account = account();
        for (content, is_restricted) in [(plain, false), (own, true), (of_component, true)] {
            let written: Value = to_value(&content).expect("JSON");
            // As hubs ask for them that know none.
            let before = written.get(COMPONENTS);
            assert_eq!(before.is_none(), is_restricted, "{written}");
            let text = serde_json::to_string(&content).expect("JSON");
            let read: ReleaseContent = serde_json::from_str(&text).expect("it");
            assert_eq!(read, content);
        }
    }
}
