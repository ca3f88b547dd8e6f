//! Bundles that wait until somebody gives their ServiceAccounts the rights that they lack.

use std::time::Duration;

use bellwether_api::{bundle::Bundle, status::WaitReason, sync_record::SyncUnit};
use tokio::time::Instant;

use crate::{
    desired::chain,
    sync::unit::{Pass, Unit, wait},
};

/// How long until it is looked again whether what is lacking was given, and at most so long while nothing is.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Since when a bundle waits for rights.
#[derive(Debug)]
pub(in crate::sync::unit) struct Awaiting {
    digest: String,
    since: Instant,
    lacks: Vec<String>,
    pause: Duration,
}

impl Awaiting {
    /// What is waited for now; `known` = what was before.
    fn of(known: Option<Self>, digest: &str, lacks: &[String]) -> Self {
        let known = known.filter(|awaiting| awaiting.digest == digest);
        let since = known.as_ref().map_or_else(Instant::now, |it| it.since);
        // Every look tries all objects out.
        let same = known.filter(|it| it.lacks == lacks);
        let pause = same.map_or(PAUSE, |it| (it.pause * 2).min(LONGEST_PAUSE));
        Self {
            digest: digest.to_owned(),
            since,
            lacks: lacks.to_vec(),
            pause,
        }
    }
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
        let awaiting = Awaiting::of(self.awaiting.take(), digest, lacks);
        let (since, pause) = (awaiting.since, awaiting.pause);
        self.awaiting = Some(awaiting);
        let left = bundle
            .sync
            .timeout()
            .as_std()
            .saturating_sub(since.elapsed());
        if left.is_zero() || self.is_aborted(bundle) {
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
            wake_in: Some(pause.min(left)),
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
