//! Secrets that the hub keeps: written, listed, never read back.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes a secret hold exactly these entries.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRequest {
    /// Values by key, in base64.
    pub entries: BTreeMap<String, String>,
}

impl fmt::Debug for SecretRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.entries.keys().collect();
        f.debug_struct("SecretRequest")
            .field("keys", &keys)
            .finish()
    }
}

/// A secret without its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretView {
    /// Its namespace at the hub.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its keys, sorted.
    pub keys: Vec<String>,
    /// When it was written last (RFC 3339).
    pub changed_at: String,
    /// Who wrote it last.
    pub changed_by: String,
    /// What came of a write: `created`, `configured` or `unchanged`; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// Secrets without their values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretList {
    /// By namespace and name.
    pub items: Vec<SecretView>,
}

#[cfg(test)]
mod tests {
    use super::SecretRequest;

    #[test]
    fn no_value_shows() {
        let entries = [("password".to_owned(), "aHVudGVyMg==".to_owned())].into();
        let shown = format!("{:?}", SecretRequest { entries });
        assert!(
            shown.contains("password") && !shown.contains("aHVu"),
            "{shown}"
        );
    }
}
