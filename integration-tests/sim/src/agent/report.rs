//! What the agent reports of the application.

use bellwether_api::status::{Health, UnitOutcome, UnitStatus, WaitReason};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::process::Agent;
use crate::{
    count::Counts,
    scenario::application,
    transport::{Body, Message},
};

const RESEND: SignedDuration = SignedDuration::from_secs(5);

impl Agent {
    /// Reports its latest state when it changed or was not confirmed.
    pub fn report(&mut self, now: Timestamp, counts: &mut Counts) -> Option<Message> {
        let session = self.volatile.session?;
        let status = self.status()?;
        let sent = self.volatile.sent.as_ref();
        let changed = sent.is_none_or(|(sent, _)| *sent != status)
            || self.volatile.sent_event < self.durable.last_event;
        let unheard = self.volatile.acked < self.volatile.sequence
            && sent.is_some_and(|(_, at)| now.duration_since(*at) >= RESEND);
        if !changed && !unheard {
            return None;
        }
        self.volatile.sequence += 1;
        self.volatile.sent = Some((status.clone(), now));
        self.volatile.sent_event = self.durable.last_event;
        let mut said = status;
        let acked = self.volatile.acked_event;
        let events = self.durable.events.iter();
        said.events = events.filter(|event| event.seq > acked).cloned().collect();
        let message = Message {
            cluster: self.cluster,
            hub: session.hub,
            body: Body::Status {
                epoch: session.epoch,
                sequence: self.volatile.sequence,
                status: Box::new(said),
            },
        };
        // It is on its way already.
        self.dies("crash/agent/report-after", counts);
        Some(message)
    }

    /// Its latest state without its events; absent = nothing was granted.
    #[must_use]
    pub fn status(&self) -> Option<UnitStatus> {
        let (_, granted) = self.durable.granted()?;
        let mut status = self.blank();
        let Some(_) = granted else {
            status.outcome = match self.durable.outcome {
                Some(UnitOutcome::Succeeded) if self.durable.decided.is_none() => {
                    UnitOutcome::Succeeded
                }
                _ => UnitOutcome::Removing,
            };
            return Some(explained(status));
        };
        let digest = self.durable.decided?;
        let bundle = self.bundle(digest)?;
        let track = self.durable.track.as_ref();
        status.digest = digest.to_string();
        status.run = bundle.run;
        status.attempt = bundle.attempt;
        status.release.clone_from(&bundle.release);
        status.outcome = self.durable.outcome.unwrap_or(UnitOutcome::Progressing);
        status.rollouts = track
            .filter(|track| track.spec.run == bundle.run)
            .and_then(|track| track.summary.clone())
            .into_iter()
            .collect();
        Some(explained(status))
    }

    fn blank(&self) -> UnitStatus {
        let runs = self.member.runs(&self.member.image);
        UnitStatus {
            application: application(),
            digest: String::new(),
            generation: self.durable.generation,
            run: Uuid::nil(),
            attempt: 0,
            release: String::new(),
            outcome: UnitOutcome::Progressing,
            reason: self.durable.reason.clone(),
            applied_release: self.durable.applied_release.clone(),
            health: if runs {
                Health::Healthy
            } else {
                Health::Progressing
            },
            objects: Vec::new(),
            object_count: 1,
            rollouts: Vec::new(),
            waiting_on: Vec::new(),
            events: Vec::new(),
            executed: Vec::new(),
            orphans: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// Says what an unfinished state waits for.
fn explained(mut status: UnitStatus) -> UnitStatus {
    if is_unfinished(status.outcome) {
        status.waiting_on = vec![WaitReason {
            reason: "Progressing".to_owned(),
            message: "under way".to_owned(),
            on: None,
            since: None,
            by_itself: None,
        }];
    }
    status
}

/// Tells whether more comes of an outcome by itself.
#[must_use]
pub fn is_unfinished(outcome: UnitOutcome) -> bool {
    matches!(
        outcome,
        UnitOutcome::Progressing | UnitOutcome::RollingBack | UnitOutcome::Removing
    )
}
