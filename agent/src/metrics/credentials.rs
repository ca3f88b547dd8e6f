//! What tells a source who asks: read from a Secret by its name, never written anywhere.

use std::{collections::BTreeMap, fmt};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::source::QueryError;

/// What a text of a Secret is shown as.
const HIDDEN: &str = "<redacted>";

/// What a Secret holds. Its debug form shows keys alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    fields: BTreeMap<String, Vec<u8>>,
    /// The key that alone is used, as a bearer token; absent = the keys that a source knows.
    token_key: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("keys", &self.fields.keys().collect::<Vec<_>>())
            .field("token_key", &self.token_key)
            .finish()
    }
}

impl Credentials {
    /// Takes what a Secret holds; `token_key` names the one key that is a bearer token.
    #[must_use]
    pub fn new(fields: BTreeMap<String, Vec<u8>>, token_key: Option<String>) -> Self {
        Self { fields, token_key }
    }

    /// Returns a text of the Secret without the line end that files end with; `None` = there is no
    /// such key, or it holds no text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let bytes = self.fields.get(key)?;
        let text = std::str::from_utf8(bytes).ok()?;
        Some(text.trim_end_matches(['\n', '\r'])).filter(|text| !text.is_empty())
    }

    /// As [`Self::text`], for what a source cannot do without.
    ///
    /// # Errors
    /// There is no such key.
    pub fn need(&self, key: &'static str) -> Result<&str, QueryError> {
        self.text(key).ok_or(QueryError::NoCredential { key })
    }

    /// Returns the authorities that alone are trusted, as PEM; `None` = those of the system.
    #[must_use]
    pub fn authorities(&self) -> Option<&[u8]> {
        self.fields.get("ca.crt").map(Vec::as_slice)
    }

    /// Adds a bearer token, or a user with a password, to a request.
    ///
    /// # Errors
    /// The Secret has not the key that it should have.
    pub fn authorize(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::RequestBuilder, QueryError> {
        if let Some(key) = &self.token_key {
            let token = self
                .text(key)
                .ok_or(QueryError::NoCredential { key: "token" })?;
            return Ok(request.bearer_auth(token));
        }
        if let Some(token) = self.text("token") {
            return Ok(request.bearer_auth(token));
        }
        match self.text("username") {
            Some(user) => Ok(request.basic_auth(user, Some(self.need("password")?))),
            None => Ok(request),
        }
    }

    /// Takes every text of the Secret out of what a source said.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let keys = self.fields.keys().filter(|key| *key != "ca.crt");
        let mut secrets: Vec<&str> = keys.filter_map(|key| self.text(key)).collect();
        // One may be part of another, whose rest would be shown.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
            .into_iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }
}

/// Why a Secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is none of that name.
    #[error("failed to read Secret {namespace}/{name}: there is none")]
    Missing {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
    },
    /// It has not the key.
    #[error("failed to read Secret {namespace}/{name}: it has no key {key:?}")]
    NoKey {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// The key.
        key: String,
    },
    /// The API server refused or did not answer. Its words are left out: they may quote the Secret.
    #[error("failed to read Secret {namespace}/{name}: {why}")]
    Refused {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
        /// A word for why.
        why: String,
    },
}

/// Reads Secrets of the agent's own cluster.
pub trait SecretReader: Send + Sync {
    /// Reads one by its name.
    ///
    /// # Errors
    /// There is none, or it may not be read.
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, SecretError>>;
}

/// Reads Secrets from the API server, one `get` each.
#[derive(Clone)]
pub struct KubeSecrets(pub kube::Client);

impl SecretReader for KubeSecrets {
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, SecretError>> {
        Box::pin(async move {
            let api: Api<Secret> = Api::namespaced(self.0.clone(), namespace);
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            match api.get_opt(&name).await {
                Ok(Some(secret)) => Ok(secret
                    .data
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(key, value)| (key, value.0))
                    .collect()),
                Ok(None) => Err(SecretError::Missing { namespace, name }),
                Err(kube::Error::Api(status)) => Err(SecretError::Refused {
                    namespace,
                    name,
                    why: format!("the API server answered {} {}", status.code, status.reason),
                }),
                Err(_) => Err(SecretError::Refused {
                    namespace,
                    name,
                    why: "the API server does not answer".to_owned(),
                }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(fields: &[(&str, &str)]) -> Credentials {
        Credentials::new(
            fields
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
                .collect(),
            None,
        )
    }

    #[test]
    fn nothing_of_a_secret_is_shown() {
        let credentials = credentials(&[("token", "s3cret\n"), ("password", "hunter2")]);
        let shown = format!("{credentials:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("hunter2"),
            "{shown}"
        );
        assert_eq!(
            credentials.hide("bad token s3cret of hunter2"),
            "bad token <redacted> of <redacted>"
        );
        assert_eq!(credentials.text("token"), Some("s3cret"));
        let nested = self::credentials(&[("password", "ana-s3cret"), ("a-user", "ana")]);
        assert_eq!(nested.hide("no user ana-s3cret"), "no user <redacted>");
    }

    #[test]
    fn a_user_needs_a_password() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let request = reqwest::Client::builder()
            .tls_certs_only([])
            .build()
            .expect("a client that trusts nobody")
            .get("http://localhost/");
        let error = credentials(&[("username", "ana")]).authorize(request);
        assert!(matches!(
            error,
            Err(QueryError::NoCredential { key: "password" })
        ));
    }
}
