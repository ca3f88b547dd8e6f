//! Asks the sources that plans name themselves, by a metric or its template, whether anybody is there, so
//! that a wrong address or Secret shows before a check needs it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bellwether_api::metric_template::MetricSourceKind;
use futures::StreamExt as _;
use tokio::{sync::watch, time::Instant};

use super::{Meter, measure::OwnSource};

/// How often a source that answers is asked again.
const EVERY: Duration = Duration::from_secs(60);
/// How often one that does not answer is asked again.
const EVERY_WHILE_SILENT: Duration = Duration::from_secs(15);
/// The same where every question counts against a quota, or costs.
const EVERY_WHILE_SILENT_COUNTED: Duration = Duration::from_secs(300);
/// When a source that answered before is asked a second time before its silence is told.
const DOUBT: Duration = Duration::from_secs(5);
/// Sources that are asked at once.
const MAX_AT_ONCE: usize = 8;

/// What plans name and what came of asking; clones share both.
#[derive(Clone, Debug, Default)]
pub struct OwnSources {
    /// By unit; a unit that names nothing is not there.
    named: watch::Sender<BTreeMap<String, Named>>,
    /// By unit, what does not answer; a unit without any is not there.
    silent: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

#[derive(Clone)]
struct Named {
    sources: Vec<OwnSource>,
    /// Called when what is known of its sources changes.
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.sources).finish()
    }
}

/// What is known of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    state: State,
    /// When it is asked again; absent = not while it is named.
    due: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Answers,
    /// It answered before, and did not just now: one slow answer is no news.
    Doubted,
    /// Why it does not answer.
    Silent(Silence),
}

/// Why a source does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    /// A CamelCase word.
    pub reason: &'static str,
    /// A sentence for people; nothing of a Secret is in it.
    pub message: String,
}

impl OwnSources {
    /// Says what the plans of a unit name; empty = nothing. `wake` is called whenever what is known of
    /// them changes.
    pub fn name(&self, unit: &str, sources: Vec<OwnSource>, wake: Arc<dyn Fn() + Send + Sync>) {
        self.named.send_if_modified(|named| {
            if sources.is_empty() {
                return named.remove(unit).is_some();
            }
            let before = named.get(unit).map_or(&[][..], |one| &one.sources);
            if before == sources {
                return false;
            }
            named.insert(unit.to_owned(), Named { sources, wake });
            true
        });
    }

    /// What does not answer of what a unit's plans name, a sentence each; empty = all of it answers, or
    /// nobody has asked yet.
    #[must_use]
    pub fn silent(&self, unit: &str) -> Vec<String> {
        self.lock().get(unit).cloned().unwrap_or_default()
    }

    /// Asks at once what is named anew, and again and again, until it is dropped.
    pub async fn run(&self, meter: Meter) {
        let mut changes = self.named.subscribe();
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        let mut before = BTreeMap::new();
        loop {
            let named = changes.borrow_and_update().clone();
            ask(&meter, &named, &mut known).await;
            self.tell(&before, &named, &known);
            before = named;
            let next = known.values().filter_map(|one| one.due).min();
            tokio::select! {
                () = at(next) => {}
                // The sender lives as long as this.
                Ok(()) = changes.changed() => {}
            }
        }
    }

    /// Says what does not answer, and wakes whom it concerns: also who named something `before`, when it was
    /// said last, and names nothing now.
    fn tell(
        &self,
        before: &BTreeMap<String, Named>,
        named: &BTreeMap<String, Named>,
        known: &BTreeMap<String, Known>,
    ) {
        let mut silent = BTreeMap::new();
        for (unit, one) in named {
            let lines: Vec<String> = one
                .sources
                .iter()
                .filter_map(|source| match &known.get(&source.key())?.state {
                    State::Silent(why) => Some(source.sentence(&why.message)),
                    State::Answers | State::Doubted => None,
                })
                .collect();
            if !lines.is_empty() {
                silent.insert(unit.clone(), lines);
            }
        }
        let told = std::mem::replace(&mut *self.lock(), silent.clone());
        let gone = before.iter().filter(|(unit, _)| !named.contains_key(*unit));
        for (unit, one) in gone.chain(named) {
            if told.get(unit) != silent.get(unit) {
                (one.wake)();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks every source that is due, each once whoever names it, and forgets those that nobody names.
async fn ask(meter: &Meter, named: &BTreeMap<String, Named>, known: &mut BTreeMap<String, Known>) {
    let all: BTreeMap<String, &OwnSource> = named
        .values()
        .flat_map(|one| &one.sources)
        .map(|source| (source.key(), source))
        .collect();
    known.retain(|key, _| all.contains_key(key));
    let now = Instant::now();
    let is_due = |key: &String| {
        let known = known.get(key);
        known.is_none_or(|one| one.due.is_some_and(|due| due <= now))
    };
    let due: Vec<(String, OwnSource)> = all
        .into_iter()
        .filter(|(key, _)| is_due(key))
        .map(|(key, source)| (key, source.clone()))
        .collect();
    let answers = due.into_iter().map(|(key, source)| {
        let meter = meter.clone();
        async move {
            let silence = meter.silence(&source).await;
            (key, source.kind(), silence)
        }
    });
    let answers: Vec<_> = futures::stream::iter(answers)
        .buffer_unordered(MAX_AT_ONCE)
        .collect()
        .await;
    for (key, kind, silence) in answers {
        let next = Known::after(known.get(&key), silence, kind, Instant::now());
        known.insert(key, next);
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Known {
    /// What is known after a source of this kind was asked.
    fn after(
        before: Option<&Self>,
        silence: Option<Silence>,
        kind: MetricSourceKind,
        now: Instant,
    ) -> Self {
        // A Prometheus is the user's own; others bill or count what they are asked.
        let is_counted = kind != MetricSourceKind::Prometheus;
        let Some(silence) = silence else {
            return Self {
                state: State::Answers,
                due: (!is_counted).then(|| now + EVERY),
            };
        };
        let state = match before.map(|before| &before.state) {
            Some(State::Answers) => State::Doubted,
            // The words of an error may differ each time that it is the same.
            Some(State::Silent(before)) if before.reason == silence.reason => {
                State::Silent(before.clone())
            }
            _ => State::Silent(silence),
        };
        let pause = match (&state, is_counted) {
            (State::Doubted, _) => DOUBT,
            (_, true) => EVERY_WHILE_SILENT_COUNTED,
            (_, false) => EVERY_WHILE_SILENT,
        };
        Self {
            state,
            due: Some(now + pause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(reason: &'static str, message: &str) -> Option<Silence> {
        Some(Silence {
            reason,
            message: message.to_owned(),
        })
    }

    #[test]
    fn a_unit_that_names_nothing_any_more_is_forgotten() {
        let plan = serde_json::json!({
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "strategy": {"canary": {"weights": [50]}},
            "analysis": {"metrics": [{"name": "queue", "query": "max(queue)", "range": {"max": "1"},
                "source": {"type": "Prometheus", "address": "http://127.0.0.1:1"}}]},
        });
        let plan = serde_json::from_value(plan).expect("a plan");
        let sources = OwnSources::default();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {});
        let found = OwnSource::of_plan("web", &plan, "shop");
        sources.name("unit", found, Arc::clone(&wake));
        assert_eq!(sources.named.borrow().len(), 1);
        sources.name("unit", Vec::new(), wake);
        assert_eq!(sources.named.borrow().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_answer_is_no_news_and_the_same_silence_is_told_once() {
        use MetricSourceKind::{Datadog, Prometheus};
        let now = Instant::now();
        let good = Known::after(None, None, Prometheus, now);
        assert_eq!(
            (&good.state, good.due),
            (&State::Answers, Some(now + EVERY))
        );
        let doubted = Known::after(Some(&good), silence("Unreachable", "a"), Prometheus, now);
        assert_eq!(
            (&doubted.state, doubted.due),
            (&State::Doubted, Some(now + DOUBT))
        );
        let silent = Known::after(Some(&doubted), silence("Unreachable", "b"), Prometheus, now);
        assert_eq!(silent.due, Some(now + EVERY_WHILE_SILENT));
        let same = Known::after(Some(&silent), silence("Unreachable", "c"), Prometheus, now);
        assert_eq!(same.state, silent.state, "other words of the same");
        let other = Known::after(Some(&silent), silence("Unauthorized", "d"), Prometheus, now);
        assert_ne!(other.state, silent.state);
        assert_eq!(
            Known::after(Some(&silent), None, Prometheus, now).state,
            State::Answers
        );
        // Whoever was never heard is told of at once.
        let first = Known::after(None, silence("Unreachable", "a"), Prometheus, now);
        assert!(matches!(first.state, State::Silent(_)));

        let counted = Known::after(None, None, Datadog, now);
        assert_eq!(
            counted.due, None,
            "nobody is asked by the minute who counts"
        );
        let silent = Known::after(None, silence("Unauthorized", "a"), Datadog, now);
        assert_eq!(silent.due, Some(now + EVERY_WHILE_SILENT_COUNTED));
    }
}
