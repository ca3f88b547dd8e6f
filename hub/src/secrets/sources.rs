use std::collections::BTreeMap;

use bellwether_api::secret::SourceSecrets;
use bellwether_sources::Credentials;
use bellwether_store::{
    Store,
    secrets::{self, OpenSecret, SecretInfo, SecretValue},
};

use super::{SecretError, find, no_key, open};

/// The entry that says which hosts SSH knows.
const KNOWN_HOSTS: &str = "known_hosts";

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
