//! Asks the sources that plans name themselves, by a metric or its template, whether anybody is there, so
//! that a wrong address or Secret shows before a check needs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bellwether_api::metric_template::MetricSourceKind;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
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
/// How long one source may take, the reading of its Secret included.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
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

    /// Asks at once what is named anew, and again and again, until it is dropped. Nobody waits for what
    /// others name: an answer counts when it comes.
    pub async fn run(&self, meter: Meter) {
        let mut changes = self.named.subscribe();
        changes.mark_changed();
        let mut asking = Asking::default();
        loop {
            let next = asking.ask(&meter);
            tokio::select! {
                Some(answer) = asking.answers.next() => {
                    if asking.hear(answer) {
                        self.tell(&BTreeMap::new(), &asking.named, &asking.known);
                    }
                }
                () = at(next) => {}
                // The sender lives as long as this.
                Ok(()) = changes.changed() => {
                    let before = asking.aim(changes.borrow_and_update().clone());
                    self.tell(&before, &asking.named, &asking.known);
                }
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
        let told = self.lock().clone();
        let mut silent = BTreeMap::new();
        for (unit, one) in named {
            // Of a place that was not asked yet nothing is said: what was said before stands until then.
            let lines = lines(one, known).or_else(|| told.get(unit).cloned());
            if let Some(lines) = lines.filter(|lines| !lines.is_empty()) {
                silent.insert(unit.clone(), lines);
            }
        }
        self.lock().clone_from(&silent);
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

/// What does not answer of what a unit's plans name, a sentence each; `None` = not all of it was asked yet.
fn lines(named: &Named, known: &BTreeMap<String, Known>) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    for source in &named.sources {
        if let State::Silent(why) = &known.get(&source.key())?.state {
            lines.push(source.sentence(&why.message));
        }
    }
    Some(lines)
}

/// A source by its key, and why it does not answer; `None` = it does.
type Answer = (String, Option<Silence>);

/// What is asked of whom, and what is known.
#[derive(Default)]
struct Asking {
    named: BTreeMap<String, Named>,
    /// Every source that is named, by its key, each once whoever names it.
    sources: BTreeMap<String, OwnSource>,
    known: BTreeMap<String, Known>,
    /// Keys of those that were asked and have not answered.
    asked: BTreeSet<String>,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
}

impl Asking {
    /// Takes what is named now, and forgets what nobody names any more; gives what was named before.
    fn aim(&mut self, named: BTreeMap<String, Named>) -> BTreeMap<String, Named> {
        let all = named.values().flat_map(|one| &one.sources);
        self.sources = all.map(|source| (source.key(), source.clone())).collect();
        self.known.retain(|key, _| self.sources.contains_key(key));
        std::mem::replace(&mut self.named, named)
    }

    /// Asks what is due, as far as there is room: first whoever was never asked, then whoever has waited
    /// longest. Gives when the next one is due; absent = an answer or another name comes first.
    fn ask(&mut self, meter: &Meter) -> Option<Instant> {
        let now = Instant::now();
        let due_at = |key: &String| match self.known.get(key) {
            Some(known) => known.due,
            None => Some(now),
        };
        let idle = self.sources.iter();
        let idle = idle.filter(|(key, _)| !self.asked.contains(*key));
        let mut waiting: Vec<_> = idle
            .filter_map(|(key, source)| {
                let rank = (self.known.contains_key(key), due_at(key)?);
                Some((rank, key.clone(), source.clone()))
            })
            .collect();
        waiting.sort_by_key(|(rank, _, _)| *rank);
        for ((_, due), key, source) in waiting {
            if self.asked.len() >= MAX_AT_ONCE {
                return None;
            }
            if due > now {
                return Some(due);
            }
            self.asked.insert(key.clone());
            self.answers.push(question(meter.clone(), key, source));
        }
        None
    }

    /// Takes an answer; tells whether something else is known now.
    fn hear(&mut self, (key, silence): Answer) -> bool {
        self.asked.remove(&key);
        let Some(source) = self.sources.get(&key) else {
            return false;
        };
        let before = self.known.get(&key);
        let next = Known::after(before, silence, source.kind(), Instant::now());
        let is_news = before.is_none_or(|before| before.state != next.state);
        self.known.insert(key, next);
        is_news
    }
}

fn question(meter: Meter, key: String, source: OwnSource) -> BoxFuture<'static, Answer> {
    async move {
        let asked = tokio::time::timeout(ANSWERS_WITHIN, meter.silence(&source));
        let late = |_| {
            Some(Silence {
                reason: "Unreachable",
                message: format!("failed to get an answer within {ANSWERS_WITHIN:?}"),
            })
        };
        (key, asked.await.unwrap_or_else(late))
    }
    .boxed()
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
mod tests;
