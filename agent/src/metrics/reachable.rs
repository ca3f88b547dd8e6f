//! Asks where the cluster's metrics are read whether anybody is there, so that a wrong address or
//! Secret shows before a check needs it.

use std::time::Duration;

use bellwether_proto::wire::{MetricsAnswer, MetricsReport, MetricsSource};
use futures::future::join_all;
use tokio::sync::watch;

use super::Meter;

/// How often sources that answer are asked again.
const EVERY: Duration = Duration::from_secs(60);
/// How often sources are asked again while one of them does not answer.
const EVERY_WHILE_SILENT: Duration = Duration::from_secs(15);
/// When sources that answered before are asked a second time before their silence is told.
const DOUBT: Duration = Duration::from_secs(5);
/// Sources that are asked at most.
const MAX_SOURCES: usize = 8;

/// What is to be asked and what came of it; clones share both.
#[derive(Clone, Debug)]
pub struct Reachable {
    /// Absent = the hub has not said yet.
    sources: watch::Sender<Option<Vec<MetricsSource>>>,
    report: watch::Sender<MetricsReport>,
}

impl Default for Reachable {
    fn default() -> Self {
        Self {
            sources: watch::Sender::new(None),
            report: watch::Sender::new(MetricsReport::default()),
        }
    }
}

impl Reachable {
    /// Says what is to be asked; of the same nothing comes.
    pub fn aim(&self, mut sources: Vec<MetricsSource>) {
        sources.truncate(MAX_SOURCES);
        self.sources.send_if_modified(|now| {
            let differs = now.as_ref() != Some(&sources);
            *now = Some(sources);
            differs
        });
    }

    /// What came of asking, now and whenever it changes.
    #[must_use]
    pub fn reports(&self) -> watch::Receiver<MetricsReport> {
        self.report.subscribe()
    }

    /// Asks at once when the sources change, and again and again, until it is dropped.
    pub async fn run(&self, meter: Meter) {
        let mut sources = self.sources.subscribe();
        // Sources that answered when they were last asked.
        let mut good: Option<Vec<MetricsSource>> = None;
        loop {
            let asked = sources.borrow_and_update().clone();
            let pause = match asked {
                Some(asked) => self.ask(&meter, asked, &mut good).await,
                None => EVERY,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // The sender lives as long as this.
                Ok(()) = sources.changed() => {}
            }
        }
    }

    /// Asks every source once; gives when to ask again.
    async fn ask(
        &self,
        meter: &Meter,
        asked: Vec<MetricsSource>,
        good: &mut Option<Vec<MetricsSource>>,
    ) -> Duration {
        let answers = join_all(asked.iter().map(|source| meter.try_source(source))).await;
        if answers.iter().all(|answer| answer.reason.is_empty()) {
            self.say(answers);
            *good = Some(asked);
            return EVERY;
        }
        // One slow answer of a source that answers is no news.
        if good.take().is_some_and(|good| good == asked) {
            return DOUBT;
        }
        self.say(answers);
        EVERY_WHILE_SILENT
    }

    fn say(&self, answers: Vec<MetricsAnswer>) {
        let found = MetricsReport {
            asked: true,
            answers,
        };
        self.report.send_if_modified(|report| {
            let differs = *report != found;
            *report = found;
            differs
        });
    }
}
