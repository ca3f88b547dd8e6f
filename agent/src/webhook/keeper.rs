//! Keeps certificate and configuration as they should be.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_agent_core::admission::{FailurePolicy, Step, Wanted, webhooks};
use bellwether_api::status::Severity;
use rustls::ServerConfig;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    CONFIGURATION, PATH, SERVICE,
    certificate::{CertificateError, Material},
    configuration,
    governed::{self, Targets},
    secret,
    server::Server,
    state::State,
};
use crate::{
    clock::wall,
    desired::{StoreError, chain},
    sync::{
        Shell,
        cluster::ClusterError,
        events::{self, News, RunOf},
    },
};

/// How often everything is looked at, whatever changed.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How long API servers may need to see whom they are to trust.
const TRUST_PAUSE: Duration = Duration::from_secs(5);
/// The ServiceAccount of an agent in a pod.
const SERVICE_ACCOUNT: &str = "bellwether-agent";

/// What the agent is told of its webhook.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is served; absent = it is not.
    pub listen: Option<SocketAddr>,
    /// The agent's namespace.
    pub namespace: String,
    /// What becomes of a write while the agent does not answer.
    pub failure_policy: FailurePolicy,
}

/// Why a turn did not come to its end; the next one tries again.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error("failed to access the Secret {:?}", secret::SECRET_NAME)]
    Secret(#[source] kube::Error),
    #[error("failed to access the MutatingWebhookConfiguration {CONFIGURATION:?}")]
    Configuration(#[source] kube::Error),
    #[error("failed to find how governed workloads are served")]
    Kinds(#[from] ClusterError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("failed to note that the certificate had ended")]
    Store(#[from] StoreError),
}

/// Serves the webhook, and keeps certificate and configuration, until `shutdown`.
pub async fn run(
    client: kube::Client,
    shell: Arc<Shell>,
    settings: Settings,
    shutdown: CancellationToken,
) {
    let Some(address) = settings.listen else {
        let message = "this agent was told of no address to serve it at (--webhook-listen)";
        shell.webhook.set(State::out("WebhookOff", message));
        leave(&client, &settings.namespace).await;
        return;
    };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            let message = format!("failed to listen on {address}: {error}");
            shell.webhook.set(State::out("WebhookNotServed", message));
            leave(&client, &settings.namespace).await;
            return;
        }
    };
    let namespace = &settings.namespace;
    let agent_user = format!("system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}");
    let mut keeper = Keeper {
        name: format!("{SERVICE}.{namespace}.svc"),
        agent_user: agent_user.clone(),
        client,
        settings,
        tls: Arc::default(),
        served: None,
        governed: Targets::new(),
        trusted_since: None,
        told: None,
    };
    let server = Server {
        tls: Arc::clone(&keeper.tls),
        desired: shell.desired.clone(),
        agent_user,
    };
    let serving = tokio::spawn(server.serve(listener, shutdown.clone()));
    let mut changes = shell.desired.subscribe();
    loop {
        let state = match keeper.turn(&shell).await {
            // What is asked about is the newer agent's to say.
            _ if shell.desired.fence().newer().is_some() => {
                State::out("NewerAgent", "a newer agent of this cluster has taken over")
            }
            Ok(()) => State::Serving,
            Err(error) => keeper.trouble(&error, shell.webhook.now()),
        };
        shell.webhook.set(state);
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = others_are_governed(&shell, &keeper.governed, &mut changes) => {}
        }
    }
    if serving.await.is_err() {
        tracing::error!("the webhook's server died");
    }
}

/// Has the API server ask about nothing: an agent before this one may have had it ask.
async fn leave(client: &kube::Client, namespace: &str) {
    if let Err(error) = configuration::write(client, namespace, &serde_json::json!([])).await {
        // Where none is installed, or nothing is allowed, nobody was asked before either.
        tracing::debug!(error = %chain(&error), "the webhook's configuration was not emptied");
    }
}

async fn others_are_governed(
    shell: &Shell,
    known: &Targets,
    changes: &mut tokio::sync::watch::Receiver<u64>,
) {
    while changes.changed().await.is_ok() {
        if governed::targets(&shell.desired) != *known {
            return;
        }
    }
    std::future::pending().await
}

struct Keeper {
    /// The name by which the API server knows the agent.
    name: String,
    agent_user: String,
    client: kube::Client,
    settings: Settings,
    tls: Arc<ArcSwapOption<ServerConfig>>,
    /// What is served now.
    served: Option<Material>,
    /// The workloads that the API server asks about.
    governed: Targets,
    /// When the API server was told to trust other certificates; absent = not since the start.
    trusted_since: Option<Instant>,
    /// The certificate whose end was told of.
    told: Option<Material>,
}

impl Keeper {
    async fn turn(&mut self, shell: &Shell) -> Result<(), TurnError> {
        if shell.desired.fence().newer().is_some() {
            return Ok(());
        }
        let material = self.material(shell).await?;
        let governed = governed::targets(&shell.desired);
        let served = governed::served(&shell.cluster, &governed).await?;
        let namespace = self.settings.namespace.clone();
        let wanted = webhooks(&Wanted {
            governed: &served,
            ca_bundle: &STANDARD.encode(material.trusted_pem()),
            service: (&namespace, SERVICE),
            path: PATH,
            agent_user: &self.agent_user,
            failure_policy: self.settings.failure_policy,
        });
        // Before the API server asks, there is somebody to answer.
        if self.served.is_none() {
            self.serve(&material)?;
        }
        let written = configuration::write(&self.client, &namespace, &wanted).await;
        if written.map_err(TurnError::Configuration)?.trust {
            self.trusted_since = Some(Instant::now());
        }
        self.governed = governed;
        if self.may_change(&material) {
            self.serve(&material)?;
        }
        Ok(())
    }

    /// The certificate that is to be served; made and stored where it is due.
    async fn material(&mut self, shell: &Shell) -> Result<Material, TurnError> {
        let (client, namespace) = (self.client.clone(), self.settings.namespace.clone());
        let held = secret::load(&client, &namespace).await;
        let held = held.map_err(TurnError::Secret)?;
        let now = wall();
        if let Some(ended) = held.as_ref().filter(|held| held.is_expired(now)) {
            self.tell_of_end(shell, ended).await?;
        }
        let step = Material::due(held.as_ref(), &self.name, now);
        match held {
            Some(held) if step == Step::Keep => Ok(held),
            before => {
                let made = Material::made(step, before.as_ref(), &self.name, now)?;
                let saved = secret::save(&client, &namespace, &made).await;
                saved.map_err(TurnError::Secret)?;
                tracing::info!(?step, "the webhook has a new certificate");
                Ok(made)
            }
        }
    }

    /// Whether another certificate may be served by now: API servers that do not trust it yet would not
    /// ask.
    fn may_change(&self, material: &Material) -> bool {
        let Some(served) = &self.served else {
            return true;
        };
        let is_seen = self
            .trusted_since
            .is_none_or(|since| since.elapsed() >= TRUST_PAUSE);
        served != material && (is_seen || served.is_expired(wall()))
    }

    fn serve(&mut self, material: &Material) -> Result<(), TurnError> {
        self.tls.store(Some(Arc::new(material.tls()?)));
        self.served = Some(material.clone());
        Ok(())
    }

    /// Tells every Rollout that the API server could not ask for a while, once for each certificate.
    async fn tell_of_end(&mut self, shell: &Shell, ended: &Material) -> Result<(), TurnError> {
        if self.told.as_ref() == Some(ended) {
            return Ok(());
        }
        let until = ended
            .validity()
            .map(|validity| validity.not_after.to_string());
        let news = News {
            severity: Severity::Warn,
            reason: EXPIRED,
            object: None,
            message: format!(
                "the certificate of the admission webhook was valid until {}: the API server could \
                 not ask the agent; it is made anew",
                until.unwrap_or_default()
            ),
        };
        let of = RunOf {
            run: Uuid::nil(),
            attempt: 0,
            alerts: &[],
        };
        tracing::warn!(reason = news.reason, "{}", news.message);
        let at = wall();
        for key in governed::keys(&shell.desired) {
            let desired = &shell.desired;
            desired
                .update(&key, |unit| events::push(unit, of, at, &news))
                .await?;
        }
        self.told = Some(ended.clone());
        shell.webhook.wake();
        Ok(())
    }

    /// What a failed turn means.
    fn trouble(&self, error: &TurnError, before: State) -> State {
        if let TurnError::Configuration(kube::Error::Api(status)) = error {
            match status.code {
                404 => {
                    let message = format!(
                        "there is no MutatingWebhookConfiguration {CONFIGURATION}; register the \
                         cluster again to have one"
                    );
                    return State::out("WebhookNotInstalled", message);
                }
                403 => {
                    let message = format!(
                        "the agent may not write the MutatingWebhookConfiguration {CONFIGURATION}; \
                         register the cluster again to give it that right"
                    );
                    return State::out("WebhookForbidden", message);
                }
                _ => {}
            }
        }
        let text = chain(error);
        tracing::warn!(
            error = text,
            "the admission webhook could not be looked after"
        );
        let is_over = |served: &Material| served.is_expired(wall());
        match (&self.served, before) {
            (Some(served), _) if is_over(served) => State::out(EXPIRED, text),
            // What was served a moment ago is served still.
            (Some(_), State::Serving) => State::Serving,
            _ => State::out("WebhookNotServed", text),
        }
    }
}

/// The certificate is not valid.
const EXPIRED: &str = "WebhookCertificateExpired";
