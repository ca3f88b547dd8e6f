use bellwether_sources::CredentialsError;
use bellwether_store::StoreError;

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

    /// Says what, and why, in one line.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Credentials { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }

    /// Says reason, what, and why, in one line.
    #[must_use]
    pub fn said(&self) -> String {
        format!("{}: {}", self.reason(), self.told())
    }
}
