//! Secrets that the hub keeps, opened for those that name them: sources, charts, gates, webhooks.

mod hide;

use std::collections::BTreeMap;

use bellwether_api::{
    application::Component,
    reference::NamespacedName,
    secret::{HubSecretKeyRef, SourceSecrets},
};
use bellwether_hub_core::recipe::{Recipe, SecretValues};
use bellwether_sources::{Credentials, CredentialsError, Secret};
use bellwether_store::{
    Store, StoreError,
    secrets::{self, OpenSecret, SecretInfo, SecretValue},
};
use serde_json::{Map, Value};

pub use hide::Hidden;

/// The entry that says which hosts SSH knows.
const KNOWN_HOSTS: &str = "known_hosts";

/// Why a secret is of no use. No value is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is none of that name.
    #[error(
        "there is no secret {name:?} in namespace {namespace:?}; run: bellwether secret set {name} -n \
         {namespace} --from-file KEY=FILE"
    )]
    NotFound {
        /// The namespace at the hub.
        namespace: String,
        /// The secret.
        name: String,
    },
    /// It lacks an entry.
    #[error("the secret {name:?} in namespace {namespace:?} has no key {key:?}; it has {has}")]
    NoKey {
        /// The namespace at the hub.
        namespace: String,
        /// The secret.
        name: String,
        /// The key.
        key: String,
        /// The keys that it has.
        has: String,
    },
    /// A value with which a release was made is gone.
    #[error(
        "the value of key {key:?} of secret {name:?} with which this was released is gone: the secret was \
         deleted"
    )]
    Gone {
        /// The secret.
        name: String,
        /// The key.
        key: String,
    },
    /// Its entries are no credentials.
    #[error("the secret {name:?} is no credentials")]
    Credentials {
        /// The secret.
        name: String,
        /// Why.
        #[source]
        source: CredentialsError,
    },
    /// A value is not what its place takes.
    #[error("the value of key {key:?} of secret {name:?} is no {expected}")]
    Value {
        /// The secret.
        name: String,
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// Another key sealed it, or it was changed.
    #[error(
        "the secret {name:?} cannot be opened; start the hub with the key that sealed it \
         (--secret-key-file), or set the secret again"
    )]
    Unreadable {
        /// The secret.
        name: String,
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl SecretError {
    /// Returns the stable, CamelCase reason for conditions.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } | Self::NoKey { .. } | Self::Gone { .. } => "SecretNotFound",
            Self::Credentials { .. } | Self::Value { .. } => "SecretInvalid",
            Self::Unreadable { .. } => "SecretUnreadable",
            Self::Store(_) => "DatabaseUnavailable",
        }
    }

    /// Says reason, what, and why, in one line.
    #[must_use]
    pub fn said(&self) -> String {
        let text = match self {
            Self::Credentials { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        };
        format!("{}: {text}", self.reason())
    }
}

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
    let opened = open(store, namespace, &wanted.name).await?;
    let key = wanted.key();
    let value = opened
        .values
        .get(key)
        .ok_or_else(|| no_key(&opened.info, key))?;
    // Files end with a line break that nobody means.
    let text = std::str::from_utf8(value.expose()).unwrap_or_default();
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(SecretError::Value {
            name: wanted.name.clone(),
            key: key.to_owned(),
            expected: "token: a line of printable ASCII",
        });
    }
    Ok(Secret::new(text))
}

/// What a source is opened with, and which revisions of which secrets that is.
#[derive(Debug)]
pub struct SourceCredentials {
    /// The credentials; the default is for public sources.
    pub credentials: Credentials,
    /// As [`mark`] gives it.
    pub mark: String,
}

/// Opens what a source is opened with.
///
/// # Errors
/// As [`open`], or the entries are no credentials; with the mark of what was there.
pub async fn credentials(
    store: &Store,
    namespace: &str,
    wanted: &SourceSecrets,
) -> Result<SourceCredentials, (SecretError, String)> {
    let mut opened = BTreeMap::new();
    for name in wanted.names() {
        match open(store, namespace, name).await {
            Ok(one) => {
                opened.insert(name, one);
            }
            Err(error @ SecretError::Store(_)) => return Err((error, String::new())),
            Err(error) => {
                // Whoever mends it changes it, and is heard: the mark tells another one.
                let mark = current_mark(store, namespace, wanted).await;
                return Err((error, mark));
            }
        }
    }
    let mark = mark(wanted, |name| opened.get(name).map(|one| &one.info));
    match from_entries(wanted, &opened) {
        Ok(credentials) => Ok(SourceCredentials { credentials, mark }),
        Err(error) => Err((error, mark)),
    }
}

fn from_entries(
    wanted: &SourceSecrets,
    opened: &BTreeMap<&str, OpenSecret>,
) -> Result<Credentials, SecretError> {
    let plain = |value: &SecretValue| value.expose().to_vec();
    let mut entries: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut last = String::new();
    if let Some(one) = wanted
        .credentials
        .as_deref()
        .and_then(|name| opened.get(name))
    {
        let own = one.values.iter();
        entries.extend(own.map(|(key, value)| (key.clone(), plain(value))));
        last.clone_from(&one.info.name.name);
    }
    if let Some(one) = wanted
        .known_hosts
        .as_deref()
        .and_then(|name| opened.get(name))
    {
        let known = one.values.get(KNOWN_HOSTS);
        let known = known.ok_or_else(|| no_key(&one.info, KNOWN_HOSTS))?;
        entries.insert(KNOWN_HOSTS.to_owned(), plain(known));
    }
    Credentials::from_entries(&entries)
        .map_err(|source| SecretError::Credentials { name: last, source })
}

/// Tells which revisions of which secrets a source is opened with; empty = none. Another text means
/// that a look is worth it.
pub fn mark<'a>(wanted: &SourceSecrets, known: impl Fn(&str) -> Option<&'a SecretInfo>) -> String {
    let one = |name: &str| match known(name) {
        Some(info) => format!("{name}={}", info.revision),
        None => format!("{name}="),
    };
    wanted.names().map(one).collect::<Vec<_>>().join(",")
}

async fn current_mark(store: &Store, namespace: &str, wanted: &SourceSecrets) -> String {
    match secrets::list(store, Some(namespace)).await {
        Ok(known) => mark(wanted, |name| find(&known, name)),
        Err(_) => String::new(),
    }
}

/// Finds a secret among those of its namespace.
#[must_use]
pub fn find<'a>(known: &'a [SecretInfo], name: &str) -> Option<&'a SecretInfo> {
    known.iter().find(|one| one.name.name == name)
}

/// Pins the values of secrets that a component is rendered with. `known` are the secrets of its
/// namespace.
///
/// # Errors
/// A secret or a key is not there.
pub fn pin(
    namespace: &str,
    component: &Component,
    known: &[SecretInfo],
) -> Result<Vec<SecretValues>, SecretError> {
    let wanted = component.helm.iter().flat_map(|helm| &helm.values_from);
    wanted
        .map(|from| {
            let info = find(known, &from.name).ok_or_else(|| not_found(namespace, &from.name))?;
            let version = info
                .keys
                .get(from.key())
                .ok_or_else(|| no_key(info, from.key()))?;
            Ok(SecretValues {
                secret: from.name.clone(),
                key: from.key().to_owned(),
                version: *version,
            })
        })
        .collect()
}

/// A recipe with the values that secrets hold, and what hides them again.
#[derive(Debug)]
pub struct Filled {
    /// The recipe, as the renderer takes it; it is stored nowhere.
    pub recipe: Recipe,
    /// Takes the values out of texts.
    pub hidden: Hidden,
}

/// Opens the values that a recipe is rendered with.
///
/// # Errors
/// One is gone, cannot be opened, or is no map in YAML; or the database fails.
pub async fn fill(store: &Store, recipe: &Recipe) -> Result<Filled, SecretError> {
    let mut found: Vec<Map<String, Value>> = Vec::new();
    for from in &recipe.values_from {
        let value = secrets::value(store, from.version)
            .await
            .map_err(|error| of_store(&from.secret, error))?
            .ok_or_else(|| SecretError::Gone {
                name: from.secret.clone(),
                key: from.key.clone(),
            })?;
        let text = std::str::from_utf8(value.expose()).unwrap_or("-");
        // The reader's own words would show a part of it.
        let Ok(Value::Object(map)) = serde_saphyr::from_str(text) else {
            return Err(SecretError::Value {
                name: from.secret.clone(),
                key: from.key.clone(),
                expected: "map of values in YAML",
            });
        };
        found.push(map);
    }
    Ok(Filled {
        recipe: recipe.with_secret_values(&found),
        hidden: Hidden::of(&found),
    })
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
