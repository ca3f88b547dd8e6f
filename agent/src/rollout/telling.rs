//! Hooks that are told of a run and decide nothing: events, and its end. They outlive the run.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bellwether_agent_core::hooks::{HookEvent, HookOutcome, HookScene};
use bellwether_api::{hooks::Hook, status::Severity};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    hooks::HookCaller,
    sync::{
        events::{News, RunOf},
        watch::Poke,
    },
};

/// Events that wait for their hooks at most; further ones are not told.
const MAX_WAITING: usize = 64;
/// How long the events of a run that is over are told on.
const LINGER: Duration = Duration::from_secs(60);
/// Notes that wait for their unit at most; the oldest give way.
const MAX_NOTES: usize = 64;

/// What came of telling, for the unit to write down.
#[derive(Default)]
pub struct Notes {
    notes: Mutex<VecDeque<(RunOf<'static>, News)>>,
    poke: Arc<Poke>,
}

impl Notes {
    /// Makes a place for the notes of the unit that `poke` wakes.
    #[must_use]
    pub fn new(poke: Arc<Poke>) -> Arc<Self> {
        Arc::new(Self {
            notes: Mutex::default(),
            poke,
        })
    }

    /// Takes the oldest note.
    #[must_use]
    pub fn take(&self) -> Option<(RunOf<'static>, News)> {
        self.lock().pop_front()
    }

    pub(super) fn push(&self, of: RunOf<'static>, news: News) {
        let mut notes = self.lock();
        if notes.len() >= MAX_NOTES {
            notes.pop_front();
        }
        notes.push_back((of, news));
        drop(notes);
        self.poke.wake();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(RunOf<'static>, News)>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who tells, where notes go, and of which run they are.
pub(super) type Told<'a> = (&'a HookCaller, &'a Arc<Notes>, RunOf<'static>);

/// Tells hooks of one run.
#[derive(Default)]
pub(super) struct Telling {
    events: Option<mpsc::Sender<(HookScene, HookEvent)>>,
    /// Whether an event was lost since the last one that was not.
    loses: bool,
}

impl Telling {
    /// Tells every hook of an event, in the order of events; never waits.
    pub(super) fn event(
        &mut self,
        hooks: &[Hook],
        scene: &HookScene,
        event: HookEvent,
        (caller, notes, of): Told<'_>,
    ) {
        let events = self.events.get_or_insert_with(|| {
            let (sender, waiting) = mpsc::channel(MAX_WAITING);
            let (caller, notes) = (caller.clone(), Arc::clone(notes));
            tokio::spawn(tell_events(waiting, hooks.to_vec(), caller, notes, of));
            sender
        });
        let lost = events.try_send((scene.clone(), event)).is_err();
        if lost && !self.loses {
            let message =
                format!("{MAX_WAITING} events wait for their hooks; further ones are not told");
            notes.push(of, news(Severity::Warn, "HookFailed", message));
        }
        self.loses = lost;
    }

    /// Tells a hook of the end of the run.
    pub(super) fn after(&self, hook: Hook, scene: HookScene, (caller, notes, of): Told<'_>) {
        let (caller, notes) = (caller.clone(), Arc::clone(notes));
        tokio::spawn(async move {
            let outcome = caller.call(&hook, scene, None).await;
            notes.push(of, noted(&hook, &outcome));
        });
    }
}

async fn tell_events(
    mut waiting: mpsc::Receiver<(HookScene, HookEvent)>,
    hooks: Vec<Hook>,
    caller: HookCaller,
    notes: Arc<Notes>,
    of: RunOf<'static>,
) {
    let mut over_at: Option<Instant> = None;
    let mut passes: BTreeMap<String, bool> = BTreeMap::new();
    while let Some((scene, event)) = waiting.recv().await {
        if waiting.is_closed() {
            let over_at = over_at.get_or_insert_with(Instant::now);
            if over_at.elapsed() > LINGER {
                return;
            }
        }
        for hook in &hooks {
            let outcome = caller.call(hook, scene.clone(), Some(&event)).await;
            let passed = outcome == HookOutcome::Passed;
            // Said when it changes, not with every event.
            if passes.insert(hook.name.clone(), passed).unwrap_or(true) != passed {
                notes.push(of, noted(hook, &outcome));
            }
        }
    }
}

/// What is noted of a hook's answer.
pub(super) fn noted(hook: &Hook, outcome: &HookOutcome) -> News {
    let name = &hook.name;
    match outcome {
        HookOutcome::Passed => news(Severity::Info, "HookPassed", format!("hook {name} passed")),
        HookOutcome::Failed { why } => {
            let severity = if hook.mute_alert {
                Severity::Info
            } else {
                Severity::Warn
            };
            news(severity, "HookFailed", format!("hook {name}: {why}"))
        }
    }
}

fn news(severity: Severity, reason: &'static str, message: String) -> News {
    News {
        severity,
        reason,
        object: None,
        message,
    }
}
