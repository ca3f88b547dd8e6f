//! Many simulated agents.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    agent::Session,
    held::Held,
    identity::{Credentials, Hub},
};
use crate::api::Api;

/// Enrolments and handshakes that are under way at once.
const AT_ONCE: usize = 64;
/// Pause before an agent whose session broke tries again.
const PAUSE: Duration = Duration::from_millis(500);
const CONNECT_LIMIT: Duration = Duration::from_secs(120);

/// A bundle that an agent holds and has acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// The application.
    pub application: String,
    /// Its release's number.
    pub revision: u64,
    /// Size of the bundle on the wire.
    pub packed_bytes: usize,
    /// When the acknowledgement was handed to the stream.
    pub at: Instant,
}

struct Agent {
    credentials: Credentials,
    held: Mutex<Held>,
}

/// Enrolled agents, connected or not.
pub struct Fleet {
    hub: Hub,
    agents: Vec<Arc<Agent>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    connected: watch::Sender<usize>,
    broken: Arc<AtomicUsize>,
    heard: mpsc::UnboundedSender<Acknowledged>,
    /// What was acknowledged, in order.
    pub acknowledged: mpsc::UnboundedReceiver<Acknowledged>,
}

/// The name of the cluster of the agent `index`, from 0.
pub fn cluster_name(index: usize) -> String {
    format!("sim-{index:05}")
}

impl Fleet {
    /// Enrols `count` agents, each by a token of its own. The label `group` counts up with every `each`
    /// of them, and `stage` goes round three.
    ///
    /// # Errors
    /// When the hub refuses one.
    pub async fn enrol(hub: &crate::hub::Hub, count: usize, each: usize) -> Result<Self> {
        let api = hub.api()?;
        let hub = Hub::read(hub.agents(), hub.data())?;
        let agents = stream::iter(0..count)
            .map(|index| enrol_one(&api, &hub, index, index / each.max(1)))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let (heard, acknowledged) = mpsc::unbounded_channel();
        Ok(Self {
            hub,
            agents,
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            connected: watch::Sender::new(0),
            broken: Arc::default(),
            heard,
            acknowledged,
        })
    }

    /// Connects every agent and waits until each was welcomed; gives how long that took.
    ///
    /// # Errors
    /// When not all are connected within two minutes.
    pub async fn connect(&mut self) -> Result<Duration> {
        self.connect_by(AT_ONCE).await
    }

    /// The same, with every handshake begun at the same moment.
    ///
    /// # Errors
    /// When not all are connected within two minutes.
    pub async fn connect_all_at_once(&mut self) -> Result<Duration> {
        self.connect_by(self.agents.len().max(1)).await
    }

    async fn connect_by(&mut self, at_once: usize) -> Result<Duration> {
        let began = Instant::now();
        self.stop = CancellationToken::new();
        let gate = Arc::new(tokio::sync::Semaphore::new(at_once));
        for agent in &self.agents {
            let task = keep_connected(
                self.hub.clone(),
                Arc::clone(agent),
                Arc::clone(&gate),
                self.connected.clone(),
                Arc::clone(&self.broken),
                self.heard.clone(),
                self.stop.clone(),
            );
            self.tasks.spawn(task);
        }
        self.all_connected().await?;
        Ok(began.elapsed())
    }

    /// Waits until every agent is welcomed.
    ///
    /// # Errors
    /// When not all are within two minutes.
    pub async fn all_connected(&self) -> Result<()> {
        let count = self.agents.len();
        self.connected_are(count)
            .await
            .with_context(|| format!("not all {count} agents were welcomed in two minutes"))
    }

    /// Waits until no agent has a session.
    ///
    /// # Errors
    /// When some still have one after two minutes.
    pub async fn all_gone(&self) -> Result<()> {
        let gone = self.connected_are(0).await;
        gone.context("some sessions did not end in two minutes")
    }

    async fn connected_are(&self, count: usize) -> Result<()> {
        let mut connected = self.connected.subscribe();
        let all = connected.wait_for(|connected| *connected == count);
        tokio::time::timeout(CONNECT_LIMIT, all).await??;
        Ok(())
    }

    /// Closes every connection.
    pub async fn disconnect(&mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Sessions that broke without being told to since the last call.
    pub fn take_broken(&self) -> usize {
        self.broken.swap(0, Ordering::Relaxed)
    }

    /// How many agents there are.
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// Checks that every agent is connected.
    ///
    /// # Errors
    /// When some are not.
    pub fn check_connected(&self) -> Result<()> {
        let connected = *self.connected.borrow();
        ensure!(
            connected == self.agents.len(),
            "only {connected} agents are connected"
        );
        Ok(())
    }
}

async fn enrol_one(api: &Api, hub: &Hub, index: usize, group: usize) -> Result<Arc<Agent>> {
    let name = cluster_name(index);
    let labels = [
        ("bench", "simulated".to_owned()),
        ("group", group.to_string()),
        ("stage", (index % 3).to_string()),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value)).into();
    let join = api.join_token(&name, labels).await?;
    let cluster_uid = format!("00000000-0000-4000-8000-{index:012}");
    let credentials = hub
        .enrol(&join, &cluster_uid)
        .await
        .with_context(|| format!("enrolling {name}"))?;
    Ok(Arc::new(Agent {
        credentials,
        held: Mutex::new(Held::new(cluster_uid)),
    }))
}

async fn keep_connected(
    hub: Hub,
    agent: Arc<Agent>,
    gate: Arc<tokio::sync::Semaphore>,
    connected: watch::Sender<usize>,
    broken: Arc<AtomicUsize>,
    heard: mpsc::UnboundedSender<Acknowledged>,
    stop: CancellationToken,
) {
    let mut held = agent.held.lock().await;
    while !stop.is_cancelled() {
        let ended = {
            let Ok(permit) = gate.acquire().await else {
                return;
            };
            let opened = match hub.connect(Some(&agent.credentials)).await {
                Ok(channel) => Session::open(channel, &held).await,
                Err(error) => Err(error),
            };
            drop(permit);
            match opened {
                Ok(mut session) => {
                    connected.send_modify(|count| *count += 1);
                    let ended = session.converse(&mut held, &heard, &stop).await;
                    connected.send_modify(|count| *count -= 1);
                    ended
                }
                Err(error) => Err(error),
            }
        };
        if let Err(error) = ended {
            if broken.fetch_add(1, Ordering::Relaxed) == 0 {
                eprintln!("a session broke: {error:#}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
