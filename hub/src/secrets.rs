//! Secrets that the hub keeps, opened for those that name them: sources, charts, gates, webhooks.

mod error;
mod hide;
mod sources;
mod values;

use bellwether_api::{reference::NamespacedName, secret::HubSecretKeyRef};
use bellwether_sources::Secret;
use bellwether_store::{
    Store, StoreError,
    secrets::{self, OpenSecret, SecretInfo},
};

pub use error::SecretError;
pub use hide::Hidden;
pub use sources::{SourceCredentials, credentials, mark};
pub use values::{Filled, fill, pin};

/// Opens a secret.
///
/// # Errors
/// There is none, it cannot be opened, or the database fails.
pub async fn open(store: &Store, namespace: &str, name: &str) -> Result<OpenSecret, SecretError> {
    let wanted = NamespacedName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    secrets::open(store, &wanted)
        .await
        .map_err(|error| of_store(name, error))?
        .ok_or_else(|| not_found(namespace, name))
}

/// Opens one entry as a bearer token.
///
/// # Errors
/// As [`open`], the key is not there, or its value cannot be sent.
pub async fn token(
    store: &Store,
    namespace: &str,
    wanted: &HubSecretKeyRef,
) -> Result<Secret, SecretError> {
    entry(store, namespace, &wanted.name, wanted.key()).await
}

/// Opens one entry that is a line of text, such as a token or an address.
///
/// # Errors
/// As [`token`].
pub async fn entry(
    store: &Store,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<Secret, SecretError> {
    let opened = open(store, namespace, name).await?;
    let value = opened
        .values
        .get(key)
        .ok_or_else(|| no_key(&opened.info, key))?;
    // Files end with a line break that nobody means.
    let text = std::str::from_utf8(value.expose()).unwrap_or_default();
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(SecretError::Value {
            name: name.to_owned(),
            key: key.to_owned(),
            expected: "token or address: a line of printable ASCII",
        });
    }
    Ok(Secret::new(text))
}

/// Finds a secret among those of its namespace.
#[must_use]
pub fn find<'a>(known: &'a [SecretInfo], name: &str) -> Option<&'a SecretInfo> {
    known.iter().find(|one| one.name.name == name)
}

fn of_store(name: &str, error: StoreError) -> SecretError {
    match error {
        StoreError::Cipher { .. } => SecretError::Unreadable {
            name: name.to_owned(),
            source: Box::new(error),
        },
        other => SecretError::Store(other),
    }
}

fn not_found(namespace: &str, name: &str) -> SecretError {
    SecretError::NotFound {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn no_key(info: &SecretInfo, key: &str) -> SecretError {
    let keys: Vec<&str> = info.keys.keys().map(String::as_str).collect();
    SecretError::NoKey {
        namespace: info.name.namespace.clone(),
        name: info.name.name.clone(),
        key: key.to_owned(),
        has: keys.join(", "),
    }
}
