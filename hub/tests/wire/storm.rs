//! Every agent comes back at once while the database is away.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    time::Duration,
};

use bellwether_api::status::{RunEvent, UnitOutcome};
use bellwether_proto::wire::hub_message::Message as Down;
use bellwether_store::{
    status::list_for_cluster,
    testing::{start_server, stop_server},
};
use futures::{StreamExt as _, stream};
use tonic::Code;

use crate::{
    agent::{Credentials, Held, Session, connect, joined},
    harness::{Hub, Site, eventually},
    statuses::{SHOP, event, say, status},
};

/// Set for the process in which the storm is: its Postgres stops, and no other test may be in it.
const ALONE: &str = "BELLWETHER_TEST_STORM";
const NAME: &str =
    "storm::agents_that_all_come_back_while_the_database_is_away_are_welcomed_and_resumed";
const AGENTS: usize = 200;
/// Statuses that each says of its one unit while the database is away.
const STATUSES: u64 = 10;
/// Connections to Postgres that a hub keeps at most, each with a descriptor.
const POOL: usize = 20;
/// How long everybody may take to be back once the database is.
const LIMIT: Duration = Duration::from_secs(60);

struct Agent {
    number: usize,
    credentials: Credentials,
    held: Held,
    session: Option<Session>,
}

impl Agent {
    fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("it is connected")
    }

    /// Connects again and again until the hub takes it; `refused` counts the times that it did not.
    async fn come_back(&mut self, hub: &Hub, refused: &AtomicUsize) {
        let pause = Duration::from_millis(50 + 7 * (self.number as u64 % 40));
        loop {
            let channel = connect(hub, Some(&self.credentials)).await.unwrap();
            match Session::open(channel, &self.held).await {
                Ok(session) => {
                    self.session = Some(session);
                    return;
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Beats, and takes nothing but the answer: whoever holds everything is sent nothing of it.
    async fn is_current(&mut self) {
        let held = self.held.clone();
        let session = self.session();
        session.beat(&held).await;
        loop {
            match session.hear().await.unwrap().expect("the stream goes on") {
                Down::Beat(_) => return,
                sent @ (Down::Snapshot(_) | Down::Delta(_)) => panic!("it holds that: {sent:?}"),
                _ => {}
            }
        }
    }

    /// Takes what changed since, which is all that comes.
    async fn takes_a_delta(&mut self, generation: u64) {
        let mut held = std::mem::take(&mut self.held);
        let session = self.session();
        while held.generation < generation {
            match session.hear().await.unwrap().expect("the stream goes on") {
                Down::Delta(delta) => {
                    assert_eq!(delta.from, held.generation);
                    session.take(&mut held, Down::Delta(delta)).await;
                }
                Down::Snapshot(part) => panic!("a snapshot: {part:?}"),
                _ => {}
            }
        }
        self.held = held;
    }

    /// Says how far its unit is, with every event that is not confirmed.
    async fn reports(&mut self, sequence: u64) {
        let events: Vec<RunEvent> = (1..=sequence).map(event).collect();
        let outcome = if sequence == STATUSES {
            UnitOutcome::Succeeded
        } else {
            UnitOutcome::Progressing
        };
        self.session()
            .say(say(sequence, &status(outcome, events)))
            .await;
    }
}

/// Does the same for all at once.
async fn all<'a>(agents: &'a mut [Agent], one: impl AsyncFn(&'a mut Agent)) {
    stream::iter(agents)
        .for_each_concurrent(None, |agent| one(agent))
        .await;
}

async fn enrolled(hub: &Hub) -> Vec<Agent> {
    let enrol = |number: usize| async move {
        Agent {
            number,
            credentials: joined(hub, &format!("c-{number}")).await,
            held: Held::default(),
            session: None,
        }
    };
    stream::iter(0..AGENTS)
        .map(enrol)
        .buffer_unordered(16)
        .collect()
        .await
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Waits until ends that both sides have left are gone.
async fn are_at_most(count: usize) {
    eventually(&format!("no more than {count} descriptors"), async || {
        (descriptors() <= count).then_some(())
    })
    .await;
}

/// Waits until the hub has exactly so many sessions, each on its own connection.
async fn connected(hub: &Hub, count: usize) {
    let metrics = &hub.app().metrics;
    let count = i64::try_from(count).unwrap();
    eventually(&format!("{count} sessions"), async || {
        let now = (metrics.sessions.get(), metrics.connections.get());
        (now == (count, count)).then_some(())
    })
    .await;
}

/// Everybody is cut off and comes back, first while the database is away; gives how often they were
/// refused until then, and how many connections the hub had at most.
async fn storm(hub: &Hub, agents: &mut [Agent]) -> (usize, i64) {
    let refused = AtomicUsize::new(0);
    let peak = AtomicI64::new(0);
    let over = AtomicBool::new(false);
    for agent in agents.iter_mut() {
        agent.session = None;
    }
    let back = async {
        let came = all(agents, async |agent| agent.come_back(hub, &refused).await);
        tokio::time::timeout(LIMIT, came)
            .await
            .expect("everybody is welcomed");
        over.store(true, Ordering::Relaxed);
    };
    let database = async {
        eventually("everybody to be refused", async || {
            (refused.load(Ordering::Relaxed) >= 2 * AGENTS).then_some(())
        })
        .await;
        assert_eq!(hub.app().metrics.sessions.get(), 0, "nobody is let in");
        start_server().await;
    };
    let watch = async {
        while !over.load(Ordering::Relaxed) {
            peak.fetch_max(hub.app().metrics.connections.get(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(back, database, watch);
    (refused.into_inner(), peak.into_inner())
}

async fn measure() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let mut agents = enrolled(&hub).await;
    for agent in &agents {
        hub.write(agent.credentials.cluster, &[(SHOP, Some(b"one"))])
            .await;
    }
    connected(&hub, 0).await;
    let alone = descriptors();
    all(&mut agents, async |agent| {
        agent.come_back(&hub, &AtomicUsize::new(0)).await;
        let mut held = std::mem::take(&mut agent.held);
        agent.session().catch_up(&mut held, 1).await;
        agent.held = held;
    })
    .await;
    connected(&hub, AGENTS).await;
    let before = descriptors();

    // Streams stay while the database is away, and of all that is said the latest waits.
    stop_server().await;
    all(&mut agents, Agent::is_current).await;
    for sequence in 1..=STATUSES {
        all(&mut agents, async |agent| agent.reports(sequence).await).await;
    }
    all(&mut agents, Agent::is_current).await;
    connected(&hub, AGENTS).await;

    let (refused, peak) = storm(&hub, &mut agents).await;
    connected(&hub, AGENTS).await;
    assert!(peak <= 2 * i64::try_from(AGENTS).unwrap(), "{peak}");
    all(&mut agents, Agent::is_current).await;
    all(&mut agents, async |agent| agent.reports(STATUSES).await).await;
    for agent in &mut agents {
        let cluster = agent.credentials.cluster;
        let store = &hub.app().store;
        eventually("the latest status", async || {
            let rows = list_for_cluster(store, cluster).await.unwrap();
            let row = rows.first()?;
            (row.detail["outcome"] == "Succeeded").then_some(())
        })
        .await;
    }
    let rows = hub.app().metrics.status_rows.get();
    assert!(rows <= 2 * AGENTS as u64, "{rows} rows of {AGENTS} units");
    for agent in &agents {
        hub.write(agent.credentials.cluster, &[(SHOP, Some(b"two"))])
            .await;
    }
    all(&mut agents, async |agent| agent.takes_a_delta(2).await).await;
    are_at_most(before + POOL).await;

    // Who needs a snapshot gets one.
    let channel = connect(&hub, Some(&agents[0].credentials)).await.unwrap();
    let mut fresh = Session::open(channel, &Held::default()).await.unwrap();
    let first = fresh.hear().await.unwrap();
    assert!(matches!(first, Some(Down::Snapshot(_))), "{first:?}");
    drop((fresh, agents));
    connected(&hub, 0).await;
    are_at_most(alone + POOL).await;
    println!(
        "refused {refused} times, {peak} connections at most, {rows} rows, {} descriptors in the end",
        descriptors()
    );
    hub.stop().await;
}

#[test]
fn agents_that_all_come_back_while_the_database_is_away_are_welcomed_and_resumed() {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(measure());
        return;
    }
    let program = std::env::current_exe().unwrap();
    let ran = Command::new(program)
        .args(["--exact", NAME, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        ran.status.success() && said.contains("in the end"),
        "{said}"
    );
}
