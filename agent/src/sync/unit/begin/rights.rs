//! Bundles that wait until somebody gives their ServiceAccounts the rights that they lack.

use std::time::Duration;

use bellwether_api::{bundle::Bundle, status::WaitReason, sync_record::SyncUnit};
use tokio::time::Instant;

use crate::{
    desired::chain,
    sync::unit::{Pass, Unit, wait},
};

/// How long until it is looked again whether what is lacking was given.
const PAUSE: Duration = Duration::from_secs(5);

/// Since when a bundle waits for rights.
#[derive(Debug)]
pub(in crate::sync::unit) struct Awaiting {
    digest: String,
    since: Instant,
}

impl Unit {
    /// Waits for what ServiceAccounts lack, while what ran before is held; absent = they lack nothing, or it took
    /// longer than the application's objects may take.
    pub(super) async fn await_rights(
        &mut self,
        unit: &SyncUnit,
        digest: &str,
        bundle: &Bundle,
        lacks: &[String],
    ) -> Option<Pass> {
        if lacks.is_empty() {
            self.awaiting = None;
            return None;
        }
        let known = self.awaiting.as_ref();
        let known = known.filter(|awaiting| awaiting.digest == digest);
        let since = known.map_or_else(Instant::now, |awaiting| awaiting.since);
        self.awaiting = Some(Awaiting {
            digest: digest.to_owned(),
            since,
        });
        if since.elapsed() >= bundle.sync.timeout().as_std() || self.is_aborted(bundle) {
            return None;
        }
        let waits = lacks.iter().map(|what| wait("LacksRights", what));
        let mut waiting_on: Vec<WaitReason> = waits.collect();
        if let Some(applied) = &unit.applied_digest
            && let Err(error) = Box::pin(self.hold(unit, applied)).await
        {
            // It may lack the same rights, and what is waited for has its time all the same.
            waiting_on.push(wait("ClusterTrouble", chain(&error)));
        }
        Some(Pass {
            waiting_on,
            wake_in: Some(PAUSE),
            ..Pass::default()
        })
    }

    /// Tells whether the hub has ended the run that brings a bundle.
    fn is_aborted(&self, bundle: &Bundle) -> bool {
        let command = self.shell.desired.command(&self.application);
        command.is_some_and(|command| {
            command.abort.is_some()
                && (command.run, command.attempt) == (bundle.run, bundle.attempt)
        })
    }
}

#[cfg(test)]
mod tests;
