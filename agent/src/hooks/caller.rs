//! What goes with a call: the cluster's name, and the Secrets that the hook names.

use std::{sync::Arc, time::Duration};

use bellwether_agent_core::hooks::{HookEvent, HookOutcome, HookScene, body};
use bellwether_api::{
    hooks::{Hook, Load},
    metric_template::SecretKeyRef,
};
use futures::FutureExt;
use tokio::{sync::watch, time::timeout};

use super::{HookSecrets, LoadGenerator, LoadTarget, call, load::Authorities};
use crate::metrics::{SecretError, SecretReader};

/// How long a call waits for the cluster's name after the agent started.
const NAME_WAIT: Duration = Duration::from_secs(5);
/// How long reading one Secret may take.
const SECRET_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a reason is passed on, in characters.
const MAX_WHY: usize = 200;

/// Calls hooks about runs; clones share everything.
#[derive(Clone)]
pub struct HookCaller {
    secrets: Arc<dyn SecretReader>,
    cluster_name: watch::Sender<Option<String>>,
}

impl HookCaller {
    /// Makes a caller that reads Secrets by `secrets`.
    #[must_use]
    pub fn new(secrets: Arc<dyn SecretReader>) -> Self {
        Self {
            secrets,
            cluster_name: watch::Sender::new(None),
        }
    }

    /// Where the cluster's name is set, once it is known; empty = it has none.
    #[must_use]
    pub fn cluster_name(&self) -> watch::Sender<Option<String>> {
        self.cluster_name.clone()
    }

    /// Calls a hook with the Secrets of the workload's namespace. The scene's cluster is filled in.
    /// It always answers, without a word of what a Secret holds.
    pub async fn call(
        &self,
        hook: &Hook,
        scene: HookScene,
        event: Option<&HookEvent>,
    ) -> HookOutcome {
        let scene = HookScene {
            cluster: self.cluster().await,
            ..scene
        };
        let body = match body(hook, &scene, event) {
            Ok(body) => body,
            Err(error) => return failed(&error.to_string()),
        };
        match self.secrets_of(hook, &scene.namespace).await {
            Ok(secrets) => match call(hook, &body, &secrets).await {
                HookOutcome::Failed { why } => failed(&why),
                HookOutcome::Passed => HookOutcome::Passed,
            },
            Err(error) => failed(&error.to_string()),
        }
    }

    /// Makes the load of a hook while the answer lives, with the Secrets of the workload's namespace. Why
    /// it fails is told at most once, in a sentence without a word of what a Secret holds or a path says.
    #[must_use]
    pub fn load(
        &self,
        hook: &Hook,
        load: Load,
        target: LoadTarget,
        namespace: &str,
        tell: impl Fn(&str) + Send + Sync + 'static,
    ) -> LoadGenerator {
        let (caller, namespace) = (self.clone(), namespace.to_owned());
        let secret = hook.ca_secret_ref.clone();
        let authorities: Authorities = Box::new(move || {
            let (caller, secret, namespace) = (caller.clone(), secret.clone(), namespace.clone());
            async move { caller.read(secret.as_ref(), &namespace).await }.boxed()
        });
        let tell = move |why: &str| tell(&short(why));
        LoadGenerator::start(load, target, authorities, Box::new(tell))
    }

    async fn cluster(&self) -> String {
        let mut name = self.cluster_name.subscribe();
        let known = timeout(NAME_WAIT, name.wait_for(Option::is_some)).await;
        known
            .ok()
            .and_then(|name| name.ok()?.clone())
            .unwrap_or_default()
    }

    async fn secrets_of(&self, hook: &Hook, namespace: &str) -> Result<HookSecrets, SecretError> {
        let token = self.read(hook.auth_secret_ref.as_ref(), namespace).await?;
        Ok(HookSecrets {
            signing_key: self.read(hook.hmac_secret_ref.as_ref(), namespace).await?,
            token: token.map(|token| String::from_utf8_lossy(&token).into_owned()),
            authorities: self.read(hook.ca_secret_ref.as_ref(), namespace).await?,
        })
    }

    /// Reads one key, without the line end that files end with; `None` = none is named.
    async fn read(
        &self,
        secret: Option<&SecretKeyRef>,
        namespace: &str,
    ) -> Result<Option<Vec<u8>>, SecretError> {
        let Some(secret) = secret else {
            return Ok(None);
        };
        let read = self.secrets.read(namespace, &secret.name);
        let read = timeout(SECRET_TIMEOUT, read).await;
        let mut fields = read.unwrap_or_else(|_elapsed| {
            Err(SecretError::Refused {
                namespace: namespace.to_owned(),
                name: secret.name.clone(),
                why: "the API server does not answer".to_owned(),
            })
        })?;
        let key = secret.key.clone().unwrap_or_default();
        let Some(mut value) = fields.remove(&key) else {
            return Err(SecretError::NoKey {
                namespace: namespace.to_owned(),
                name: secret.name.clone(),
                key,
            });
        };
        let end = value
            .iter()
            .rposition(|byte| !matches!(byte, b'\n' | b'\r'));
        value.truncate(end.map_or(0, |last| last + 1));
        Ok(Some(value))
    }
}

fn failed(why: &str) -> HookOutcome {
    HookOutcome::Failed { why: short(why) }
}

fn short(why: &str) -> String {
    why.chars().take(MAX_WHY).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bellwether_api::status::Phase;
    use futures::future::BoxFuture;
    use serde_json::json;

    use super::*;

    struct Secrets;

    impl SecretReader for Secrets {
        fn read<'a>(
            &'a self,
            namespace: &'a str,
            name: &'a str,
        ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, SecretError>> {
            Box::pin(async move {
                if (namespace, name) == ("shop", "tester") {
                    return Ok([("token".to_owned(), b"s3cret\n".to_vec())].into());
                }
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                Err(SecretError::Missing { namespace, name })
            })
        }
    }

    fn scene() -> HookScene {
        HookScene {
            name: "web".into(),
            namespace: "shop".into(),
            phase: Phase::Progressing,
            checksum: String::new(),
            cluster: String::new(),
            application: "default/shop".into(),
            revision: 1,
        }
    }

    fn hook(fields: serde_json::Value) -> Hook {
        let mut all = json!({"name": "h", "url": "http://127.0.0.1:1/"});
        for (key, value) in fields.as_object().expect("fields") {
            all[key] = value.clone();
        }
        serde_json::from_value(all).expect("a hook")
    }

    #[tokio::test]
    async fn secrets_are_read_in_the_workloads_namespace_by_their_key() {
        let caller = HookCaller::new(Arc::new(Secrets));
        let named = hook(json!({"authSecretRef": {"name": "tester", "key": "token"}}));
        let secrets = caller
            .secrets_of(&named, "shop")
            .await
            .expect("it is there");
        assert_eq!(secrets.token.as_deref(), Some("s3cret"));
        assert!(caller.secrets_of(&named, "other").await.is_err());
    }

    #[tokio::test]
    async fn a_secret_that_is_not_there_fails_the_call() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let caller = HookCaller::new(Arc::new(Secrets));
        caller.cluster_name().send_replace(Some("eu-1".into()));
        for (secret, why) in [
            (
                json!({"name": "none", "key": "token"}),
                "failed to read Secret shop/none: there is none",
            ),
            (
                json!({"name": "tester", "key": "hmac"}),
                "failed to read Secret shop/tester: it has no key \"hmac\"",
            ),
        ] {
            let outcome = caller
                .call(&hook(json!({"hmacSecretRef": secret})), scene(), None)
                .await;
            assert_eq!(outcome, HookOutcome::Failed { why: why.into() });
        }
    }
}
