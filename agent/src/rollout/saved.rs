//! When runs that are under way were saved last.

use bellwether_agent_core::machine::RunState;
use bellwether_api::bundle::Bundle;
use jiff::Timestamp;

use super::track::{Tracks, belongs_to, workload_of};
use crate::desired::{Desired, chain};

/// Reads the latest instant that a run under way was saved with, before any is driven: time goes on
/// from there. Absent = none is under way. What cannot be read now says nothing; the run that it
/// belongs to tells its trouble when it is driven.
pub async fn latest_saved(client: kube::Client, desired: &Desired) -> Option<Timestamp> {
    let mut latest = None;
    for (key, unit) in desired.units() {
        let Some(digest) = unit.running_digest else {
            continue;
        };
        match desired.bundle(&digest).await {
            Ok(bundle) => latest = latest.max(of_bundle(&client, &bundle).await),
            Err(error) => {
                tracing::warn!(unit.key = key, error = %chain(&error), "bundle is not readable");
            }
        }
    }
    latest
}

async fn of_bundle(client: &kube::Client, bundle: &Bundle) -> Option<Timestamp> {
    let mut latest = None;
    for rollout in &bundle.rollouts {
        let namespace = workload_of(bundle, rollout).namespace.unwrap_or_default();
        match Tracks::new(client.clone(), &namespace)
            .get(&rollout.name)
            .await
        {
            Ok(Some(track)) if belongs_to(&track, &bundle.application) => {
                let state = track
                    .status
                    .map(|status| RunState::from_value(&status.state));
                latest = latest.max(state.and_then(Result::ok).map(|one| one.latest_instant()));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(
                    rollout.name = rollout.name,
                    error = %chain(&error),
                    "the run's track is not readable"
                );
            }
        }
    }
    latest
}
