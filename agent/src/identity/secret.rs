//! The identity as it lies in the cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams},
};

use super::material::{Identity, MaterialError, read_pem};

/// The Secret in the agent's namespace that holds key, certificate and trusted CAs.
pub const SECRET_NAME: &str = "bellwether-agent-identity";

const MANAGER: &str = "bellwether-agent";

/// Why the stored identity could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The API server did not answer or refused.
    #[error("failed to access the Secret {SECRET_NAME:?}")]
    Kube(#[source] kube::Error),
    /// It holds something else.
    #[error("failed to read the Secret {SECRET_NAME:?}; delete it and register the cluster again")]
    Malformed(#[source] MaterialError),
}

/// An identity and the join token that it came from.
pub(super) struct Stored {
    pub(super) identity: Identity,
    /// Hex SHA-256 of the join token.
    pub(super) token_hash: String,
}

/// The key of an enrolment whose answer is still awaited. It is kept before the hub is asked, so
/// that an answer that is lost can be asked for again: the token is good for this key alone.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) key_pem: String,
    /// Hex SHA-256 of the join token.
    pub(super) token_hash: String,
}

/// Everything that the Secret holds.
#[derive(Default)]
pub(super) struct Held {
    pub(super) stored: Option<Stored>,
    pub(super) pending: Option<Pending>,
}

pub(super) async fn load(client: kube::Client, namespace: &str) -> Result<Held, SecretError> {
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let Some(secret) = secrets
        .get_opt(SECRET_NAME)
        .await
        .map_err(SecretError::Kube)?
    else {
        return Ok(Held::default());
    };
    let data = secret.data.unwrap_or_default();
    let pending = read_pending(&data);
    let stored = match data.contains_key("tls.crt") {
        true => Some(read(&data).map_err(SecretError::Malformed)?),
        false => None,
    };
    Ok(Held { stored, pending })
}

fn read_pending(data: &BTreeMap<String, ByteString>) -> Option<Pending> {
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    Some(Pending {
        key_pem: text("pending.key")?,
        token_hash: text("pending-token-hash")?,
    })
}

fn read(data: &BTreeMap<String, ByteString>) -> Result<Stored, MaterialError> {
    let text = |key: &str| {
        data.get(key)
            .and_then(|value| String::from_utf8(value.0.clone()).ok())
            .ok_or(MaterialError::Malformed)
    };
    let obtained_at: Timestamp = text("obtained-at")?
        .parse()
        .map_err(|_| MaterialError::Malformed)?;
    let identity = Identity::new(
        text("tls.key")?,
        read_pem(&text("tls.crt")?)?,
        read_pem(&text("ca.crt")?)?,
        (text("cluster-id")?, text("cluster-name")?),
        obtained_at,
    )?;
    identity.key()?;
    Ok(Stored {
        identity,
        token_hash: text("token-hash").unwrap_or_default(),
    })
}

/// Makes the Secret hold these and nothing else.
pub(super) async fn save(
    client: kube::Client,
    namespace: &str,
    stored: Option<&Stored>,
    pending: Option<&Pending>,
) -> Result<(), SecretError> {
    let mut data = Vec::new();
    if let Some(Stored {
        identity,
        token_hash,
    }) = stored
    {
        data.extend([
            ("tls.key", identity.key_pem().to_owned()),
            ("tls.crt", identity.chain_pem()),
            ("ca.crt", identity.trusted_pem()),
            ("cluster-id", identity.cluster_id.clone()),
            ("cluster-name", identity.cluster_name.clone()),
            ("obtained-at", identity.obtained_at.to_string()),
            ("token-hash", token_hash.clone()),
        ]);
    }
    if let Some(pending) = pending {
        data.extend([
            ("pending.key", pending.key_pem.clone()),
            ("pending-token-hash", pending.token_hash.clone()),
        ]);
    }
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(SECRET_NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(
            data.into_iter()
                .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
                .collect(),
        ),
        type_: Some("bellwether.dev/identity".to_owned()),
        ..Secret::default()
    };
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let params = PatchParams::apply(MANAGER).force();
    secrets
        .patch(SECRET_NAME, &params, &Patch::Apply(&secret))
        .await
        .map_err(SecretError::Kube)?;
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["a".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let identity = Identity::new(
            key.serialize_pem(),
            vec![certificate.der().to_vec(); 2],
            vec![certificate.der().to_vec()],
            ("id".into(), "uat-1".into()),
            now,
        )
        .unwrap();
        let data: BTreeMap<String, ByteString> = [
            ("tls.key", identity.key_pem().to_owned()),
            ("tls.crt", identity.chain_pem()),
            ("ca.crt", identity.trusted_pem()),
            ("cluster-id", "id".to_owned()),
            ("cluster-name", "uat-1".to_owned()),
            ("obtained-at", now.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
        .collect();
        let read_back = read(&data).unwrap().identity;
        assert_eq!(read_back.chain(), identity.chain());
        assert_eq!(read_back.trusted(), identity.trusted());
        assert_eq!(read_back.not_after, identity.not_after);
        assert_eq!(read_back.obtained_at, now);
    }
}
