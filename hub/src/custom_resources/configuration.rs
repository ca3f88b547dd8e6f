//! Has the API server ask the hub, or not.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_hub_core::custom_resource::{Asked, webhooks};
use tokio::time::Instant;

use super::host::{Host, HostError};
use crate::{app::App, telemetry::chain};

/// How often the configuration is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How often it is while something is wrong with it.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// Keeps the configuration of the webhook as it should be.
#[derive(Default)]
pub(super) struct Keeper {
    looked: Option<Instant>,
    /// The certificates that API servers were to trust then.
    ca_bundle: String,
    trouble: Option<String>,
}

impl Keeper {
    /// Looks at the configuration, if it is time to.
    pub async fn turn(&mut self, app: &App, host: &Host) {
        let every = match self.trouble {
            Some(_) => LOOK_AGAIN,
            None => LOOK_EVERY,
        };
        // A CA that comes is told at once: it signs for API servers after a while.
        let ca_bundle = STANDARD.encode(app.pki.trusted_pem());
        let is_news = self.ca_bundle != ca_bundle;
        if !is_news && self.looked.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        self.looked = Some(Instant::now());
        self.ca_bundle.clone_from(&ca_bundle);
        let config = &app.config.custom_resources;
        let address = config.admission_address.as_ref();
        let asked = address.map(|address| Asked {
            client: address.client_config(),
            ca_bundle: &ca_bundle,
            failure_policy: config.admission_failure_policy.word(),
        });
        self.trouble = match host.configure_webhooks(&webhooks(asked.as_ref())).await {
            Ok(changed) => {
                if changed {
                    let asks = asked.is_some();
                    tracing::info!(asks, "the API server's webhook was configured");
                }
                None
            }
            // Where none is installed nobody is asked, as it should be.
            Err(error) if asked.is_none() && error.is_absent() => None,
            Err(error) => Some(told(&error)),
        };
    }

    /// What is wrong, in one line; absent = nothing.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }
}

fn told(error: &HostError) -> String {
    let text = format!(
        "the API server does not ask the hub: {}; `bellwether install crds` makes it and the hub's rights",
        chain(error)
    );
    tracing::warn!("{text}");
    text
}
