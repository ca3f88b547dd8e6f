//! What a private source is opened with.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};

/// Text that never shows in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a private source is opened with; empty for a public one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// What goes into the `Authorization` header of HTTPS.
    pub http: Option<HttpCredentials>,
    /// What SSH is spoken with.
    pub ssh: Option<SshIdentity>,
    /// The only authorities (PEM) that are trusted over HTTPS; none means those of the machine.
    pub ca: Option<String>,
    /// What this side of a connection by HTTPS shows of itself; none means that it shows nothing.
    pub client: Option<ClientCertificate>,
}

/// A certificate by which a server knows its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its authority (PEM).
    pub certificate: String,
    /// Its private key (PEM), without a passphrase.
    pub private_key: Secret,
}

/// Whom a connection by HTTPS trusts, and what it shows of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tls<'a> {
    /// The only authorities (PEM); none means those of the machine.
    pub ca: Option<&'a str>,
    /// The certificate of this side.
    pub client: Option<&'a ClientCertificate>,
}

/// What goes into the `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpCredentials {
    /// A user and a password, or whatever token takes its place.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Bearer {
        /// The token.
        token: Secret,
    },
}

/// What SSH is spoken with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshIdentity {
    /// The private key as OpenSSH writes it, without a passphrase.
    pub private_key: Secret,
    /// Lines of a `known_hosts` file. A host that is not in it is not spoken to.
    pub known_hosts: String,
}

/// Why entries of a Secret are no credentials. Values are never shown.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CredentialsError {
    /// A key that means nothing here.
    #[error(
        "the key {key:?} is not known; known are username and password, bearerToken, identity and \
         known_hosts, tls.crt and tls.key, ca.crt"
    )]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A key that needs another one.
    #[error("{key} needs {other} beside it")]
    Missing {
        /// The key that is there.
        key: &'static str,
        /// The key that is not.
        other: &'static str,
    },
    /// Two keys that exclude each other.
    #[error("username and bearerToken exclude each other")]
    TwoWays,
    /// A value that cannot be sent.
    #[error("the value of {key} {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Credentials {
    /// Reads the entries of a Secret: `username` and `password`, or `bearerToken`; `identity` (a private
    /// key) and `known_hosts`; `tls.crt` and `tls.key` (a client's certificate and its key); `ca.crt`.
    /// `identity.pub` is left out. No entries are no credentials.
    ///
    /// # Errors
    ///
    /// If a key is unknown, lacks another one, or has a value that cannot be sent.
    pub fn from_entries(entries: &BTreeMap<String, Vec<u8>>) -> Result<Self, CredentialsError> {
        const KNOWN: [&str; 9] = [
            "username",
            "password",
            "bearerToken",
            "identity",
            "identity.pub",
            "known_hosts",
            "tls.crt",
            "tls.key",
            "ca.crt",
        ];
        if let Some(key) = entries.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(CredentialsError::UnknownKey { key: key.clone() });
        }
        let text = |key: &'static str| match entries.get(key) {
            None => Ok(None),
            Some(value) => std::str::from_utf8(value)
                .map(|text| Some(text.to_owned()))
                .map_err(|_| CredentialsError::Value {
                    key,
                    why: "is not text",
                }),
        };
        let line = |key: &'static str| match text(key)? {
            // Files end with a line break that nobody means.
            Some(text) => {
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                let why = match &text {
                    text if text.is_empty() => "is empty",
                    text if text.chars().any(char::is_control) => "has a control character",
                    _ => return Ok(Some(text)),
                };
                Err(CredentialsError::Value { key, why })
            }
            None => Ok(None),
        };
        let http = match (line("username")?, line("password")?, line("bearerToken")?) {
            (None, None, None) => None,
            (None, None, Some(token)) => Some(HttpCredentials::Bearer {
                token: Secret(token),
            }),
            (Some(username), Some(password), None) => Some(HttpCredentials::Basic {
                username,
                password: Secret(password),
            }),
            (_, _, Some(_)) => return Err(CredentialsError::TwoWays),
            (Some(_), None, None) => return Err(missing("username", "password")),
            (None, Some(_), None) => return Err(missing("password", "username")),
        };
        if let Some(HttpCredentials::Basic { username, .. }) = &http
            && username.contains(':')
        {
            let why = "has a colon";
            return Err(CredentialsError::Value {
                key: "username",
                why,
            });
        }
        let ssh = match (text("identity")?, text("known_hosts")?) {
            (None, None) => None,
            (Some(private_key), Some(known_hosts)) => Some(SshIdentity {
                private_key: Secret(private_key),
                known_hosts,
            }),
            (Some(_), None) => return Err(missing("identity", "known_hosts")),
            (None, Some(_)) => return Err(missing("known_hosts", "identity")),
        };
        let client = match (text("tls.crt")?, text("tls.key")?) {
            (None, None) => None,
            (Some(certificate), Some(private_key)) => Some(ClientCertificate {
                certificate,
                private_key: Secret(private_key),
            }),
            (Some(_), None) => return Err(missing("tls.crt", "tls.key")),
            (None, Some(_)) => return Err(missing("tls.key", "tls.crt")),
        };
        let ca = text("ca.crt")?;
        Ok(Self {
            http,
            ssh,
            ca,
            client,
        })
    }

    /// Returns how HTTPS is spoken with the source's own host.
    pub(crate) fn tls(&self) -> Tls<'_> {
        Tls {
            ca: self.ca.as_deref(),
            client: self.client.as_ref(),
        }
    }

    /// Returns the value of an `Authorization` header.
    pub(crate) fn authorization(&self) -> Option<Secret> {
        self.http.as_ref().map(HttpCredentials::authorization)
    }

    /// Takes every secret out of a text, as it is and as it is sent.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut secrets = Vec::new();
        match &self.http {
            Some(HttpCredentials::Basic { username, password }) => {
                secrets.push(STANDARD.encode(format!("{username}:{}", password.0)));
                secrets.push(password.0.clone());
            }
            Some(HttpCredentials::Bearer { token }) => secrets.push(token.0.clone()),
            None => {}
        }
        secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// Returns bytes that tell these credentials from others, for keys of caches; not to be shown.
    pub(crate) fn identity(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut part = |text: &str| {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        };
        part(self.authorization().as_ref().map_or("", Secret::expose));
        if let Some(ssh) = &self.ssh {
            part(ssh.private_key.expose());
            part(&ssh.known_hosts);
        }
        if let Some(client) = &self.client {
            part("client");
            part(&client.certificate);
            part(client.private_key.expose());
        }
        bytes
    }
}

impl Tls<'_> {
    /// Returns how another host is spoken with: it is not shown who asks.
    pub(crate) fn for_others(self) -> Self {
        Self {
            client: None,
            ..self
        }
    }
}

impl HttpCredentials {
    pub(crate) fn authorization(&self) -> Secret {
        Secret(match self {
            Self::Basic { username, password } => format!(
                "Basic {}",
                STANDARD.encode(format!("{username}:{}", password.0))
            ),
            Self::Bearer { token } => format!("Bearer {}", token.0),
        })
    }
}

fn missing(key: &'static str, other: &'static str) -> CredentialsError {
    CredentialsError::Missing { key, other }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
        let entries = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        Credentials::from_entries(&entries)
    }

    #[test]
    fn entries_become_credentials() {
        let basic = read(&[("username", "git"), ("password", "hunter2\n")]).expect("basic");
        let header = basic.authorization().expect("a header");
        assert_eq!(header.expose(), "Basic Z2l0Omh1bnRlcjI=");
        let bearer = read(&[("bearerToken", "tok")]).expect("bearer");
        assert_eq!(
            bearer.authorization().expect("a header").expose(),
            "Bearer tok"
        );
        let ssh = read(&[
            ("identity", "KEY\n"),
            ("identity.pub", "p"),
            ("known_hosts", "h"),
        ]);
        assert_eq!(
            ssh.expect("ssh").ssh.expect("ssh").private_key.expose(),
            "KEY\n"
        );
        let client = read(&[("tls.crt", "CERT\n"), ("tls.key", "KEY\n")]).expect("a client");
        assert!(!format!("{client:?}").contains("KEY"));
        assert_eq!(
            client.client.expect("a client").private_key.expose(),
            "KEY\n"
        );
        assert_eq!(read(&[]).expect("none"), Credentials::default());
    }

    #[test]
    fn incomplete_and_unknown_entries_are_refused_without_their_values() {
        for (entries, said) in [
            (vec![("username", "u")], "username needs password beside it"),
            (
                vec![("password", "hunter2")],
                "password needs username beside it",
            ),
            (
                vec![("identity", "hunter2")],
                "identity needs known_hosts beside it",
            ),
            (
                vec![("tls.key", "hunter2")],
                "tls.key needs tls.crt beside it",
            ),
            (
                vec![("tls.crt", "hunter2")],
                "tls.crt needs tls.key beside it",
            ),
            (vec![("token", "hunter2")], "the key \"token\" is not known"),
            (
                vec![("bearerToken", "hunter2"), ("username", "u")],
                "exclude each other",
            ),
            (
                vec![("bearerToken", "hun\nter2")],
                "has a control character",
            ),
            (vec![("bearerToken", "")], "is empty"),
            (
                vec![("username", "a:b"), ("password", "hunter2")],
                "has a colon",
            ),
        ] {
            let error = read(&entries).expect_err("refused").to_string();
            assert!(error.contains(said), "{entries:?}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn secrets_are_hidden_as_they_are_and_as_they_are_sent() {
        let basic = read(&[("username", "git"), ("password", "hunter2")]).expect("basic");
        assert!(!format!("{basic:?}").contains("hunter2"));
        let hidden = basic.hide("no hunter2 and no Z2l0Omh1bnRlcjI= here");
        assert_eq!(hidden, "no *** and no *** here");
    }
}
