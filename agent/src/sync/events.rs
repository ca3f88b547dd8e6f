//! Events of a unit: numbered once, kept until the hub has them.

use std::collections::BTreeSet;

use bellwether_api::{
    alert_provider::{Alert, told},
    reference::ObjectRef,
    status::{RunEvent, Severity},
    sync_record::{SyncUnit, TrackCursor},
};
use jiff::Timestamp;
use uuid::Uuid;

/// Events that are kept for the hub at most; older ones are dropped, and the oldest that is left says
/// how many those were.
const MAX_EVENTS: usize = 200;

/// The reason of the event that stands for those that were dropped.
const DROPPED: &str = "EventsDropped";

/// Something that happened to a unit.
#[derive(Clone, Debug)]
pub struct News {
    /// How bad it is.
    pub severity: Severity,
    /// A CamelCase word.
    pub reason: &'static str,
    /// The object that it is about; absent = the unit.
    pub object: Option<ObjectRef>,
    /// A sentence for people.
    pub message: String,
}

impl News {
    /// Something that went as planned.
    #[must_use]
    pub fn info(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Info,
            reason,
            object: None,
            message: message.into(),
        }
    }

    /// Something that failed.
    #[must_use]
    pub fn error(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            reason,
            object: None,
            message: message.into(),
        }
    }
}

/// Which run an event belongs to.
#[derive(Clone, Copy, Debug)]
pub struct RunOf<'a> {
    /// The run.
    pub run: Uuid,
    /// The attempt.
    pub attempt: u32,
    /// Who is told of its events; empty = nobody, or whoever says them knows whom.
    pub alerts: &'a [Alert],
}

/// Numbers an event and keeps it.
pub fn push(unit: &mut SyncUnit, of: RunOf<'_>, at: Timestamp, news: &News) {
    let event = RunEvent {
        notify: told(of.alerts, news.severity),
        seq: 0,
        at: at.to_string(),
        run: of.run,
        attempt: of.attempt,
        severity: news.severity,
        reason: news.reason.to_owned(),
        object: news.object.clone(),
        message: news.message.clone(),
    };
    append(unit, event);
}

fn append(unit: &mut SyncUnit, mut event: RunEvent) {
    unit.next_event = unit.next_event.max(1);
    event.seq = unit.next_event;
    unit.next_event += 1;
    unit.events.push(event);
    make_room(unit);
}

/// Drops the oldest events that are too many. One takes the place of the last of them, and its number:
/// whoever reads the events learns that some are missing, and those who would have been told are told
/// that.
fn make_room(unit: &mut SyncUnit) {
    let surplus = unit.events.len().saturating_sub(MAX_EVENTS);
    if surplus == 0 {
        return;
    }
    let told_before = usize::from(unit.dropped_events > 0);
    // It needs a place itself.
    let dropped: Vec<RunEvent> = unit.events.drain(..=surplus).collect();
    let Some(last) = dropped.last() else { return };
    unit.dropped_events += u64::try_from(dropped.len() - told_before).unwrap_or(u64::MAX);
    let notify: BTreeSet<String> = dropped
        .iter()
        .flat_map(|event| event.notify.clone())
        .collect();
    let stands_for = RunEvent {
        notify: notify.into_iter().collect(),
        severity: Severity::Warn,
        reason: DROPPED.to_owned(),
        object: None,
        message: said(unit.dropped_events, "while the hub took none"),
        ..last.clone()
    };
    unit.events.insert(0, stands_for);
}

fn said(dropped: u64, why: &str) -> String {
    let what = if dropped == 1 {
        "event was"
    } else {
        "events were"
    };
    format!("{dropped} {what} dropped {why}: no more than {MAX_EVENTS} are kept")
}

/// Drops the events that the hub has.
pub fn trim(unit: &mut SyncUnit, acked: u64) {
    if unit.events.first().is_none_or(|event| event.seq <= acked) {
        unit.dropped_events = 0;
    }
    unit.events.retain(|event| event.seq > acked);
}

/// Takes over the events of a track that were not taken over before, each once. What the track dropped
/// before that is said first.
pub fn carry_over(unit: &mut SyncUnit, rollout: &str, of: RunOf<'_>, events: &[RunEvent]) {
    let known = |cursor: &TrackCursor| {
        cursor.rollout == rollout && cursor.run == of.run && cursor.attempt == of.attempt
    };
    let from = unit
        .track_cursors
        .iter()
        .find(|cursor| known(cursor))
        .map_or(0, |cursor| cursor.seq);
    let fresh: Vec<RunEvent> = events
        .iter()
        .filter(|event| event.seq > from)
        .cloned()
        .collect();
    let (Some(first), Some(last)) = (fresh.first(), fresh.last().map(|event| event.seq)) else {
        return;
    };
    let missing = first.seq.saturating_sub(from + 1);
    if missing > 0 {
        let message = said(
            missing,
            &format!("of rollout {rollout} before they were read"),
        );
        let gap = RunEvent {
            notify: Vec::new(),
            severity: Severity::Warn,
            reason: DROPPED.to_owned(),
            message,
            ..first.clone()
        };
        append(unit, gap);
    }
    for event in fresh {
        append(unit, event);
    }
    unit.track_cursors
        .retain(|cursor| cursor.rollout != rollout);
    unit.track_cursors.push(TrackCursor {
        rollout: rollout.to_owned(),
        run: of.run,
        attempt: of.attempt,
        seq: last,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: RunOf<'static> = RunOf {
        run: Uuid::nil(),
        attempt: 1,
        alerts: &[],
    };

    fn unit() -> SyncUnit {
        serde_json::from_value(serde_json::json!({"key": "k", "generation": 1, "digest": null}))
            .expect("a unit needs no more")
    }

    fn event(seq: u64) -> RunEvent {
        RunEvent {
            notify: Vec::new(),
            seq,
            at: String::new(),
            run: OF.run,
            attempt: OF.attempt,
            severity: Severity::Info,
            reason: format!("E{seq}"),
            object: None,
            message: String::new(),
        }
    }

    #[test]
    fn events_of_a_track_are_taken_over_once_and_numbered_anew() {
        let mut unit = unit();
        push(
            &mut unit,
            OF,
            Timestamp::UNIX_EPOCH,
            &News::info("Started", ""),
        );
        carry_over(&mut unit, "web", OF, &[event(1), event(2)]);
        carry_over(&mut unit, "web", OF, &[event(1), event(2), event(3)]);
        carry_over(&mut unit, "api", OF, &[event(1)]);
        let seen: Vec<_> = unit
            .events
            .iter()
            .map(|e| (e.seq, e.reason.as_str()))
            .collect();
        assert_eq!(
            seen,
            [(1, "Started"), (2, "E1"), (3, "E2"), (4, "E3"), (5, "E1")]
        );

        trim(&mut unit, 3);
        assert_eq!(unit.events.first().map(|event| event.seq), Some(4));
        push(
            &mut unit,
            OF,
            Timestamp::UNIX_EPOCH,
            &News::info("Later", ""),
        );
        assert_eq!(unit.events.last().map(|event| event.seq), Some(6));
    }

    #[test]
    fn whoever_wants_to_know_so_bad_an_event_is_told() {
        let alerts: Vec<Alert> = serde_json::from_value(serde_json::json!([
            {"provider": {"name": "team"}}, {"provider": {"name": "log"}, "severity": "Info"},
        ]))
        .expect("alerts");
        let mut unit = unit();
        let of = RunOf {
            alerts: &alerts,
            ..OF
        };
        for news in [News::info("Applying", ""), News::error("Refused", "")] {
            push(&mut unit, of, Timestamp::UNIX_EPOCH, &news);
        }
        let told: Vec<_> = unit.events.iter().map(|one| one.notify.clone()).collect();
        assert_eq!(told, [vec!["log"], vec!["team", "log"]]);
    }

    #[test]
    fn another_attempt_starts_its_own_count() {
        let mut unit = unit();
        carry_over(&mut unit, "web", OF, &[event(1), event(2)]);
        carry_over(&mut unit, "web", RunOf { attempt: 2, ..OF }, &[event(1)]);
        assert_eq!(unit.events.len(), 3);
    }

    #[test]
    fn oldest_events_give_way() {
        let mut unit = unit();
        for _ in 0..MAX_EVENTS + 5 {
            push(
                &mut unit,
                OF,
                Timestamp::UNIX_EPOCH,
                &News::info("Again", ""),
            );
        }
        assert_eq!(unit.events.len(), MAX_EVENTS);
        let first = &unit.events[0];
        assert_eq!(
            (first.seq, first.reason.as_str(), first.severity),
            (6, DROPPED, Severity::Warn)
        );
        assert!(
            first.message.starts_with("6 events were dropped"),
            "{first:?}"
        );
        let numbers: Vec<u64> = unit.events.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (6..=205).collect::<Vec<u64>>());

        // The hub has it: what is dropped from then on is counted anew.
        trim(&mut unit, 6);
        assert_eq!(unit.dropped_events, 0);
        assert!(unit.events.iter().all(|event| event.reason == "Again"));
        for _ in 0..2 {
            push(
                &mut unit,
                OF,
                Timestamp::UNIX_EPOCH,
                &News::info("Again", ""),
            );
        }
        let first = &unit.events[0];
        assert!(
            first.message.starts_with("2 events were dropped"),
            "{first:?}"
        );
    }

    #[test]
    fn whoever_would_have_been_told_hears_that_events_were_dropped() {
        let mut unit = unit();
        let alerts: Vec<Alert> =
            serde_json::from_value(serde_json::json!([{"provider": {"name": "team"}}]))
                .expect("alerts");
        let of = RunOf {
            alerts: &alerts,
            ..OF
        };
        push(
            &mut unit,
            of,
            Timestamp::UNIX_EPOCH,
            &News::error("Failed", ""),
        );
        for _ in 0..MAX_EVENTS {
            push(
                &mut unit,
                OF,
                Timestamp::UNIX_EPOCH,
                &News::info("Again", ""),
            );
        }
        assert_eq!(unit.events[0].notify, ["team"]);
    }

    #[test]
    fn what_a_track_dropped_before_it_was_read_is_said() {
        let mut unit = unit();
        carry_over(&mut unit, "web", OF, &[event(1)]);
        carry_over(&mut unit, "web", OF, &[event(4), event(5)]);
        let seen: Vec<_> = unit.events.iter().map(|e| e.reason.as_str()).collect();
        assert_eq!(seen, ["E1", DROPPED, "E4", "E5"]);
        let said = &unit.events[1].message;
        assert!(
            said.starts_with("2 events were dropped of rollout web"),
            "{said}"
        );
        let numbers: Vec<u64> = unit.events.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
    }
}
