//! Renewal at half of the certificate's life, and of a certificate that ended while nobody could
//! renew it.

use std::{sync::Arc, time::Duration};

use bellwether_proto::wire::RenewRequest;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    material::{Identity, Request},
    secret::{self, Stored},
    tls::Trust,
};
use crate::{
    clock::wall,
    link::{Backoff, LinkError, chain, identity_client, warn_of_clocks},
};

const LIMIT: Duration = Duration::from_secs(30);
/// The clock is looked at this often, since it may be set and the machine may sleep.
const LOOK: Duration = Duration::from_secs(20);

/// Renews the identity until shutdown; every new one goes to `identity`, from where the link takes
/// it for new connections.
pub async fn run(
    client: kube::Client,
    namespace: String,
    addresses: Vec<String>,
    identity: watch::Sender<Arc<Identity>>,
    shutdown: CancellationToken,
) {
    let spread: f64 = rand::random();
    let mut backoff = Backoff::default();
    loop {
        let current = Arc::clone(&identity.borrow());
        let due = current.renew_at(spread);
        let now = wall();
        let pause = if due > now {
            let left = due.duration_since(now);
            Duration::try_from(left).unwrap_or(LOOK).min(LOOK)
        } else {
            match renew(&addresses, Arc::clone(&current)).await {
                Ok(renewed) => {
                    tracing::info!(not_after = %renewed.not_after, "certificate renewed");
                    backoff.reset();
                    publish(&client, &namespace, &identity, renewed).await;
                    Duration::ZERO
                }
                Err(error) => {
                    let ended = current.is_expired(now);
                    let error = chain(&error);
                    tracing::warn!(error, ended, "the certificate was not renewed yet");
                    backoff.next(rand::random())
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn renew(addresses: &[String], current: Arc<Identity>) -> Result<Identity, LinkError> {
    let request = Request::new()?;
    // On a connection of its own: the hub lets an ended certificate do this and nothing else.
    let mut client = identity_client(addresses, Trust::Enrolled(current)).await?;
    let asked = client.call.renew(RenewRequest {
        csr_der: request.csr_der.clone().into(),
    });
    let answer = tokio::time::timeout(LIMIT, asked)
        .await
        .map_err(|_| LinkError::Slow)?
        .map_err(|status| client.watch.error_of(status))?
        .into_inner();
    let now = wall();
    warn_of_clocks(answer.hub_time_ms, now);
    Ok(request.complete(answer, now)?)
}

async fn publish(
    client: &kube::Client,
    namespace: &str,
    identity: &watch::Sender<Arc<Identity>>,
    renewed: Identity,
) {
    identity.send_replace(Arc::new(renewed.clone()));
    let token_hash = match secret::load(client.clone(), namespace).await {
        Ok(held) => held
            .stored
            .map(|stored| stored.token_hash)
            .unwrap_or_default(),
        Err(error) => {
            // The stored certificate is good until it ends; the next renewal stores again.
            tracing::warn!(error = %chain(&error), "the renewed certificate was not stored");
            return;
        }
    };
    let stored = Stored {
        identity: renewed,
        token_hash,
    };
    if let Err(error) = secret::save(client.clone(), namespace, Some(&stored), None).await {
        tracing::warn!(error = %chain(&error), "the renewed certificate was not stored");
    }
}
