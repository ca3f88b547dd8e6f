//! The agent's own bounded requests to ready canary pods, for clusters without a Prometheus.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, task::JoinHandle, time::MissedTickBehavior};

use crate::clock::Clock;

/// Time between two requests: at most ten a second.
const BEAT: Duration = Duration::from_millis(100);
/// How long one request may take; longer counts as failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Answers that are remembered: ten minutes' worth.
const MAX_ANSWERS: usize = 6_000;
/// Requests under way at once.
const MAX_UNDER_WAY: usize = 16;

/// One answered or failed request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// When it was sent, by the agent's clock.
    pub at: Timestamp,
    /// Whether an answer below 500 came in time.
    pub success: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
}

/// What a window of answers says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// Requests in the window.
    pub requests: u32,
    /// Successful ones in percent; absent = no request.
    pub success_percent: Option<f64>,
    /// Durations in milliseconds, rising.
    pub durations_ms: Vec<f64>,
}

/// Probes while it lives.
#[derive(Debug)]
pub struct Probe {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    targets: watch::Sender<BTreeSet<String>>,
    task: JoinHandle<()>,
}

impl Probe {
    /// Starts without targets; `clock` is that of whoever asks for windows.
    #[must_use]
    pub fn start(client: reqwest::Client, clock: Clock) -> Self {
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let targets = watch::Sender::new(BTreeSet::new());
        let task = tokio::spawn(run(
            client,
            clock,
            targets.subscribe(),
            Arc::clone(&answers),
        ));
        Self {
            answers,
            targets,
            task,
        }
    }

    /// Sets the addresses that are asked, `host:port`.
    pub fn aim(&self, targets: BTreeSet<String>) {
        self.targets.send_if_modified(|old| {
            let changed = *old != targets;
            *old = targets;
            changed
        });
    }

    /// What the requests since `from` say.
    #[must_use]
    pub fn window(&self, from: Timestamp) -> Window {
        window(
            lock(&self.answers)
                .iter()
                .filter(|answer| answer.at >= from),
        )
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn window<'a>(answers: impl Iterator<Item = &'a Answer>) -> Window {
    let mut window = Window::default();
    let mut successes = 0_u32;
    for answer in answers {
        window.requests += 1;
        successes += u32::from(answer.success);
        window.durations_ms.push(answer.duration_ms);
    }
    window.durations_ms.sort_by(f64::total_cmp);
    window.success_percent =
        (window.requests > 0).then(|| f64::from(successes) * 100.0 / f64::from(window.requests));
    window
}

async fn run(
    client: reqwest::Client,
    clock: Clock,
    targets: watch::Receiver<BTreeSet<String>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
) {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let under_way = Arc::new(tokio::sync::Semaphore::new(MAX_UNDER_WAY));
    let mut turn = 0_usize;
    loop {
        beat.tick().await;
        let target = {
            let targets = targets.borrow();
            if targets.is_empty() {
                continue;
            }
            turn = (turn + 1) % targets.len();
            targets.iter().nth(turn).cloned()
        };
        let (Some(target), Ok(permit)) = (target, Arc::clone(&under_way).try_acquire_owned())
        else {
            continue;
        };
        let (client, answers) = (client.clone(), Arc::clone(&answers));
        tokio::spawn(async move {
            let answer = ask(&client, &target, clock.now()).await;
            let mut answers = lock(&answers);
            answers.push_back(answer);
            if answers.len() > MAX_ANSWERS {
                answers.pop_front();
            }
            drop(permit);
        });
    }
}

async fn ask(client: &reqwest::Client, target: &str, at: Timestamp) -> Answer {
    let begun = tokio::time::Instant::now();
    let sent = client
        .get(format!("http://{target}/"))
        .timeout(REQUEST_TIMEOUT)
        .send()
        .await;
    Answer {
        at,
        success: sent.is_ok_and(|response| response.status().as_u16() < 500),
        duration_ms: begun.elapsed().as_secs_f64() * 1_000.0,
    }
}

fn lock(answers: &Mutex<VecDeque<Answer>>) -> MutexGuard<'_, VecDeque<Answer>> {
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_counts_and_orders() {
        let answer = |success, duration_ms| Answer {
            at: Timestamp::UNIX_EPOCH,
            success,
            duration_ms,
        };
        let answers = [
            answer(true, 30.0),
            answer(false, 10.0),
            answer(true, 20.0),
            answer(true, 5.0),
        ];
        let window = window(answers.iter());
        assert_eq!(window.requests, 4);
        assert_eq!(window.success_percent, Some(75.0));
        assert_eq!(window.durations_ms, [5.0, 10.0, 20.0, 30.0]);
        assert_eq!(super::window([].iter()).success_percent, None);
    }
}
