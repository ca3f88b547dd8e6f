//! The hub's own certificate authority: who a cluster is, told by its certificate alone.
//!
//! Data flow: a join token or a valid certificate → [`Pki::issue`] signs the agent's key and
//! overwrites every name that it asked for → on each connection [`Pki::server_config`] verifies the
//! chain → [`ClusterIdentity`] is read from the certificate. Entry point: [`Pki::open`].

mod authority;
mod identity;
mod serving;
#[cfg(test)]
mod tests;
mod verifier;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use uuid::Uuid;

pub use authority::{Issued, PkiError};
pub use identity::{ClusterIdentity, IdentityError};
pub use verifier::RENEWAL_GRACE;

/// How far back certificates start, so that clocks may differ a little.
pub const BACKDATE: Duration = Duration::from_secs(300);
/// How long API servers may need to learn of a CA. Every hub looks at its files once a minute, and the one
/// that mirrors custom resources tells them then; another may have to take over from it first.
const TOLD_WITHIN: Duration = Duration::from_secs(150);

/// Where the authority's files are and what it writes into certificates.
#[derive(Clone, Debug)]
pub struct PkiOptions {
    /// Folder of `ca.pem` and `ca.key`, and of `ca-next.*` and `ca-old.pem` while CAs change.
    pub dir: PathBuf,
    /// Host part of the identities, such as `bellwether.local`.
    pub trust_domain: String,
    /// How long a cluster's certificate is valid.
    pub certificate_lifetime: Duration,
    /// Hosts and addresses at which agents reach the hub; written into its certificate.
    pub server_names: Vec<String>,
}

/// The hub's certificate authority; cheap to clone.
#[derive(Clone)]
pub struct Pki {
    options: Arc<PkiOptions>,
    state: Arc<ArcSwap<State>>,
}

/// What is reloaded when files change and when the hub's certificate nears its end.
struct State {
    authority: authority::Authority,
    serving: serving::Serving,
    /// Since when each trusted CA is known here.
    known: BTreeMap<Vec<u8>, Timestamp>,
    /// What API servers are shown while they may not know the CA yet that signed what agents are shown.
    before: Option<Arc<rustls::ServerConfig>>,
}

impl State {
    fn webhook_config(&self) -> &Arc<rustls::ServerConfig> {
        let before = self.before.as_ref();
        before.unwrap_or_else(|| self.serving.webhook_config())
    }

    fn known_with(
        &self,
        next: &authority::Authority,
        now: Timestamp,
    ) -> BTreeMap<Vec<u8>, Timestamp> {
        let all = next.trusted().iter();
        all.map(|ca| (ca.clone(), self.known.get(ca).copied().unwrap_or(now)))
            .collect()
    }

    /// What API servers go on to be shown, for the CA that signs now is known since `since`; absent = what
    /// that signed.
    fn shown_before(
        &self,
        next: &authority::Authority,
        since: Timestamp,
        now: Timestamp,
    ) -> Option<Arc<rustls::ServerConfig>> {
        let changed = self.authority.signer() != next.signer();
        // A CA that is not trusted any more was replaced, not rotated.
        let was_replaced = changed && !next.trusted().contains(self.authority.signer());
        let waits = now < since + TOLD_WITHIN && (changed || self.before.is_some());
        (waits && !was_replaced).then(|| Arc::clone(self.webhook_config()))
    }
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki")
            .field("dir", &self.options.dir)
            .finish_non_exhaustive()
    }
}

impl Pki {
    /// Loads the authority from its folder; makes a new one where there is none.
    ///
    /// # Errors
    /// When files cannot be read or written, or do not belong together.
    pub fn open(options: PkiOptions, now: Timestamp) -> Result<Self, PkiError> {
        let authority = authority::Authority::open(&options.dir, now)?;
        let serving = serving::Serving::new(&authority, &options, now)?;
        Ok(Self {
            options: Arc::new(options),
            state: Arc::new(ArcSwap::from_pointee(State {
                // What was there at the start has been there for a while, as far as is known.
                known: authority
                    .trusted()
                    .iter()
                    .map(|ca| (ca.clone(), Timestamp::MIN))
                    .collect(),
                authority,
                serving,
                before: None,
            })),
        })
    }

    /// Reads the files again and renews the hub's certificate where it is due. Connections that
    /// are open keep what they have.
    ///
    /// # Errors
    /// When files cannot be read; what was loaded before stays in force.
    pub fn refresh(&self, now: Timestamp) -> Result<(), PkiError> {
        let authority = authority::Authority::open(&self.options.dir, now)?;
        let current = self.state.load();
        let known = current.known_with(&authority, now);
        let before = current.shown_before(&authority, known[authority.signer()], now);
        let is_same = authority.trusted() == current.authority.trusted()
            && !current.serving.renewal_is_due(now);
        if is_same && before.is_some() == current.before.is_some() {
            return Ok(());
        }
        let serving = match is_same {
            true => current.serving.clone(),
            false => serving::Serving::new(&authority, &self.options, now)?,
        };
        self.state.store(Arc::new(State {
            authority,
            serving,
            known,
            before,
        }));
        Ok(())
    }

    /// Host part of the identities.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.options.trust_domain
    }

    /// Every CA that agents shall trust, DER; the one that signs comes first.
    #[must_use]
    pub fn trusted_ca_der(&self) -> Vec<Vec<u8>> {
        self.state.load().authority.trusted().to_vec()
    }

    /// The CA that signs, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.state.load().authority.pem().to_owned()
    }

    /// Hex SHA-256 of the DER of the CA that signs; pinned by join tokens.
    #[must_use]
    pub fn ca_hash(&self) -> String {
        self.state.load().authority.hash()
    }

    /// Signs the key of a certificate request for `cluster`, valid from [`BACKDATE`] before `now`
    /// for the configured lifetime. Of the request only the key is taken.
    ///
    /// # Errors
    /// When the request is malformed, not signed by its key, or its key is not P-256.
    pub fn issue(&self, csr: &[u8], cluster: Uuid, now: Timestamp) -> Result<Issued, PkiError> {
        self.issue_between(
            csr,
            cluster,
            now - BACKDATE,
            now + self.options.certificate_lifetime,
        )
    }

    /// SHA-256 of the public key of a certificate request, which its signature proves to be the
    /// requester's own.
    ///
    /// # Errors
    /// When the request is malformed, not signed by its key, or its key is not P-256.
    pub fn key_of(&self, csr: &[u8]) -> Result<[u8; 32], PkiError> {
        authority::key_of(csr)
    }

    /// Signs as [`Pki::issue`] does, with the validity given.
    ///
    /// # Errors
    /// As [`Pki::issue`].
    pub fn issue_between(
        &self,
        csr: &[u8],
        cluster: Uuid,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Issued, PkiError> {
        let names = identity::Names {
            trust_domain: &self.options.trust_domain,
            cluster,
        };
        self.state
            .load()
            .authority
            .issue(csr, &names, not_before, not_after)
    }

    /// Reads who the holder of a verified certificate is.
    ///
    /// # Errors
    /// When it carries no identity of this trust domain.
    pub fn identify(&self, certificate_der: &[u8]) -> Result<ClusterIdentity, IdentityError> {
        ClusterIdentity::parse(certificate_der, &self.options.trust_domain)
    }

    /// TLS settings for the next connection: TLS 1.3 alone, client certificate optional.
    #[must_use]
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(self.state.load().serving.config())
    }

    /// TLS settings for the next connection of an API server that asks the admission webhook: TLS 1.3
    /// alone, no client certificate. A CA signs for it only once API servers can know that one.
    #[must_use]
    pub fn webhook_config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(self.state.load().webhook_config())
    }

    /// Every CA that API servers shall trust, PEM.
    #[must_use]
    pub fn trusted_pem(&self) -> String {
        let state = self.state.load();
        let trusted = state.authority.trusted().iter();
        trusted.map(|der| pem(der)).collect()
    }

    /// Makes the CA that will sign next and trusts it from now on. Agents learn of it when they
    /// renew, so promote it after one certificate lifetime.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn prepare_rotation(&self, now: Timestamp) -> Result<(), PkiError> {
        authority::prepare_rotation(&self.options.dir, now)?;
        self.refresh(now)
    }

    /// Lets the prepared CA sign; the former one stays trusted as `ca-old.pem` until that file is
    /// removed.
    ///
    /// # Errors
    /// When no CA was prepared or files cannot be written.
    pub fn promote_rotation(&self, now: Timestamp) -> Result<(), PkiError> {
        authority::promote_rotation(&self.options.dir)?;
        self.refresh(now)
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem + "-----END CERTIFICATE-----\n"
}
