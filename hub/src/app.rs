//! One hub process: what its parts share, how it starts and how it stops.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bellwether_hub_core::flapping::Flapping;
use bellwether_sources::{AddressPolicy, Settings, Sources};
use bellwether_store::{
    BlobCipher, Store, StoreOptions, leases, meta,
    postgres::{Embedded, EmbeddedConfig},
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    clock::{Clock, wall},
    config::Config,
    grpc::{self, Sessions},
    pki::{Pki, PkiError, PkiOptions},
    rendering::{Limits, Plugins, RegisterError, Renderer, Renderings},
    telemetry::{Metrics, chain},
};

/// How long open streams and requests may take to end once the hub stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// What every part of the hub shares.
pub struct App {
    /// Postgres.
    pub store: Store,
    /// The time that this hub shares with the others of its database.
    pub clock: Clock,
    /// The certificate authority.
    pub pki: Pki,
    /// Agents that are connected to this hub now.
    pub sessions: Sessions,
    /// Fetches and renders what components are made of.
    pub renderings: Arc<Renderings>,
    /// Wakes the loops before their timers do.
    pub pokes: Pokes,
    /// What the operator set.
    pub config: Config,
    /// `host:port` pairs at which agents reach this hub.
    pub agent_addresses: Vec<String>,
    /// Cancelled when the hub stops; every task ends on it.
    pub shutdown: CancellationToken,
    /// Cancelled when this hub's time fell so far behind that it has to start anew.
    pub outpaced: CancellationToken,
    /// Every task of the hub; the process waits for them when it stops.
    pub tasks: TaskTracker,
    /// This process, among several on one database.
    pub replica: Uuid,
    /// Metrics, for `/metrics`.
    pub metrics: Metrics,
    /// What every loop did last, for `/readyz`.
    pub loops: crate::loops::LoopStates,
    /// What those who follow lists of objects are told.
    pub feed: crate::http::Feed,
    /// Clusters that come and go, as they were shown last.
    pub flapping: Mutex<Flapping>,
    /// Pushes that wait to be followed up.
    pub webhooks: crate::http::Webhooks,
}

/// One bell per loop; ringing it twice before it is heard rings it once.
#[derive(Debug, Default)]
pub struct Pokes {
    /// Releases, runs, waves and grants.
    pub plan: Notify,
    /// Sources of components.
    pub sources: Notify,
    /// Statuses and acknowledgements that wait to be written.
    pub ingest: Notify,
    /// Clearing of what is no longer needed.
    pub sweep: Notify,
    /// Desired state that was written: sends it without waiting for the next poll.
    pub deliver: Notify,
}

/// Why a hub did not start, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder is not usable.
    #[error(
        "failed to use the data folder {path:?}; make it writable for this user or name another \
         by --data-dir"
    )]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The agents' port is not free.
    #[error("failed to listen on {address} for agents; free the port or name another by {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that names another.
        flag: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The hub's own Postgres did not start.
    #[error("failed to start the hub's own Postgres")]
    Postgres(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database cannot be used.
    #[error("failed to open the database")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database belongs to another trust domain.
    #[error(
        "failed to use the database: its trust domain is {database:?}; start the hub with \
         --trust-domain {database}"
    )]
    TrustDomain {
        /// The trust domain of the database.
        database: String,
    },
    /// The certificate authority cannot be used.
    #[error("failed to open the certificate authority")]
    Pki(#[from] PkiError),
    /// Nothing can be fetched.
    #[error("failed to prepare the fetching of sources")]
    Sources(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A program of `--plugin` is none.
    #[error("failed to register a program of --plugin")]
    Plugins(#[from] RegisterError),
    /// The HTTP API did not start.
    #[error("failed to start the HTTP API")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cluster that hosts the hub cannot be used, or the webhook's port is not free.
    #[error("failed to prepare the mirroring of custom resources")]
    CustomResources(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It served, and went by another time than the other hubs of its database.
    #[error(
        "failed to go on: the clock of this hub fell behind that of another hub of its database; start it again, \
         and it goes by that one's time"
    )]
    Outpaced,
    /// The handlers of signals could not be set.
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
}

/// A hub that runs in this process.
pub struct Running {
    /// What its parts share.
    pub app: Arc<App>,
    /// The address that agents connect to, as bound.
    pub agents: SocketAddr,
    /// The address of the HTTP API, as bound.
    pub http: SocketAddr,
    postgres: Option<Embedded>,
}

/// Runs a hub until SIGINT or SIGTERM.
///
/// # Errors
/// When it cannot start, or has to start anew; every error says the way out.
pub async fn run(config: Config) -> Result<(), StartError> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let running = start(config).await?;
    let ended = tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        () = running.app.outpaced.cancelled() => Err(StartError::Outpaced),
    };
    running.stop().await;
    ended
}

/// Starts a hub and returns once it serves.
///
/// # Errors
/// When it cannot start; what was started is stopped again.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let mirrored = crate::custom_resources::prepare(&config.custom_resources)
        .await
        .map_err(|error| StartError::CustomResources(Box::new(error)))?;
    let running = start_serving(config).await?;
    crate::loops::spawn(Arc::clone(&running.app));
    if let Some(mirrored) = mirrored {
        crate::custom_resources::spawn(&running.app, mirrored);
    }
    Ok(running)
}

/// Starts a hub that serves agents and the HTTP API and decides nothing by itself.
///
/// # Errors
/// As [`start`].
pub async fn start_serving(config: Config) -> Result<Running, StartError> {
    // Fails only when a provider is installed already: the same one, by the rule of this workspace.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    prepare_data_dir(&config)?;
    let plugins = Plugins::register(&config.plugins)?;
    let listener = TcpListener::bind(config.agent_listen)
        .await
        .map_err(|source| StartError::Listen {
            address: config.agent_listen,
            flag: "--agent-listen",
            source,
        })?;
    let agents = listener.local_addr().map_err(|source| StartError::Listen {
        address: config.agent_listen,
        flag: "--agent-listen",
        source,
    })?;
    let agent_addresses = config.advertised_addresses(agents.port());
    let pki = open_pki(&config, &agent_addresses)?;
    let (store, postgres) = open_store(&config).await?;
    let clock = match Clock::of_database(&store).await {
        Ok(clock) => clock,
        Err(error) => {
            store.close().await;
            stop_postgres(postgres).await;
            return Err(StartError::Store(Box::new(error)));
        }
    };
    let sources = open_sources(&config)?;
    let renderer = Renderer::new(config.renderer.clone(), Limits::default());
    let renderer = renderer.with_plugins(plugins);
    let renderings = Renderings::new(store.clone(), clock, renderer, Box::new(sources));
    let app = Arc::new(App {
        renderings: Arc::new(renderings),
        sessions: Sessions::default(),
        pokes: Pokes::default(),
        shutdown: CancellationToken::new(),
        outpaced: CancellationToken::new(),
        tasks: TaskTracker::new(),
        replica: Uuid::now_v7(),
        clock,
        metrics: Metrics::default(),
        loops: crate::loops::LoopStates::default(),
        feed: crate::http::Feed::default(),
        flapping: Mutex::default(),
        webhooks: crate::http::Webhooks::default(),
        store,
        pki,
        config,
        agent_addresses,
    });
    // Before the first session: a session of a hub without a lease counts as none.
    grpc::renewals::renew_lease(&app).await;
    let http = match crate::http::serve(Arc::clone(&app)).await {
        Ok(http) => http,
        Err(error) => {
            Running {
                app,
                agents,
                http: agents,
                postgres,
            }
            .stop()
            .await;
            return Err(StartError::Http(Box::new(error)));
        }
    };
    grpc::spawn(&app, listener);
    tracing::info!(
        agents = %agents,
        addresses = ?app.agent_addresses,
        replica = %app.replica,
        "hub is up"
    );
    Ok(Running {
        app,
        agents,
        http,
        postgres,
    })
}

impl Running {
    /// Stops the hub: asks agents to reconnect, ends every task, stops its own Postgres.
    pub async fn stop(self) {
        tracing::info!("hub stops");
        self.app.shutdown.cancel();
        self.app.tasks.close();
        if tokio::time::timeout(DRAIN_LIMIT, self.app.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(tasks = self.app.tasks.len(), "tasks did not end in time");
        }
        let released =
            leases::release_replica(&self.app.store, self.app.replica, self.app.clock.now()).await;
        if let Err(error) = released {
            tracing::warn!(error = %chain(&error), "this hub's lease was not given back");
        }
        self.app.store.close().await;
        stop_postgres(self.postgres).await;
    }
}

fn prepare_data_dir(config: &Config) -> Result<(), StartError> {
    let path = &config.data_dir;
    let fail = |source| StartError::DataDir {
        path: path.clone(),
        source,
    };
    std::fs::create_dir_all(path).map_err(fail)?;
    let probe = path.join(".writable");
    std::fs::write(&probe, [])
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(fail)
}

fn open_pki(config: &Config, addresses: &[String]) -> Result<Pki, PkiError> {
    let hosts = addresses
        .iter()
        .filter_map(|address| address.rsplit_once(':'));
    let options = PkiOptions {
        dir: config.pki_dir(),
        trust_domain: config.trust_domain.clone(),
        certificate_lifetime: config.certificate_lifetime(),
        server_names: hosts
            .map(|(host, _)| host.trim_matches(['[', ']']).to_owned())
            .chain(config.custom_resources.server_name())
            .collect(),
    };
    Pki::open(options, wall())
}

fn open_sources(config: &Config) -> Result<Sources, StartError> {
    let mut settings = Settings::new(config.data_dir.join("sources"));
    settings.addresses = AddressPolicy {
        allowed_networks: config.source_networks.clone(),
        plain_http_hosts: config.source_plain_http_hosts.clone(),
    };
    Sources::open(settings).map_err(|error| StartError::Sources(Box::new(error)))
}

async fn open_store(config: &Config) -> Result<(Store, Option<Embedded>), StartError> {
    let cipher = BlobCipher::from_key_file(&config.blob_key_path())
        .map_err(|error| StartError::Store(Box::new(error)))?;
    let (url, postgres) = match &config.database_url {
        Some(url) => (url.clone(), None),
        None => {
            let postgres = start_postgres(config).await?;
            (postgres.url().to_owned(), Some(postgres))
        }
    };
    match connect(config, &url, cipher).await {
        Ok(store) => Ok((store, postgres)),
        Err(error) => {
            stop_postgres(postgres).await;
            Err(error)
        }
    }
}

async fn start_postgres(config: &Config) -> Result<Embedded, StartError> {
    let mut embedded = EmbeddedConfig::new(config.data_dir.join("postgres"));
    embedded.postgres_bin.clone_from(&config.postgres_bin);
    Embedded::start(&embedded)
        .await
        .map_err(|error| StartError::Postgres(Box::new(error)))
}

async fn connect(config: &Config, url: &str, cipher: BlobCipher) -> Result<Store, StartError> {
    let fail = |error| StartError::Store(Box::new(error));
    let store = Store::connect(StoreOptions::new(url), cipher)
        .await
        .map_err(fail)?;
    store.migrate().await.map_err(fail)?;
    let meta = meta::ensure(&store, Uuid::now_v7(), &config.trust_domain, wall())
        .await
        .map_err(fail)?;
    if meta.trust_domain != config.trust_domain {
        return Err(StartError::TrustDomain {
            database: meta.trust_domain,
        });
    }
    Ok(store)
}

async fn stop_postgres(postgres: Option<Embedded>) {
    if let Some(postgres) = postgres
        && let Err(error) = postgres.stop().await
    {
        tracing::warn!(error = %chain(&error), "the hub's own Postgres did not stop cleanly");
    }
}
