//! What the agent is told at start: flags, or environment variables of the same names with the
//! prefix `BELLWETHER_`.

use std::{net::SocketAddr, path::PathBuf};

use bellwether_agent_core::{admission::FailurePolicy, provider::SETTLE};
use bellwether_api::duration::Dur;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::webhook;

/// The agent of one member cluster.
#[derive(Debug, Parser)]
#[command(
    name = "bellwether-agent",
    version,
    about,
    args_conflicts_with_subcommands = false
)]
pub struct Cli {
    /// What to do; nothing = serve a hub.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Everything else.
    #[command(flatten)]
    pub config: Config,
}

/// What the agent does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keeps the stream to the hub and does what it grants (the default).
    Run,
    /// Brings in one bundle without a hub and exits when it succeeded or failed.
    Offline(Offline),
}

/// What to bring in without a hub.
#[derive(Debug, Args)]
pub struct Offline {
    /// A file with the JSON of a bundle.
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// Takes the bundle's application away instead.
    #[arg(long)]
    pub remove: bool,
    /// Goes on after the bundle was brought in: keeps health fresh and corrects drift.
    #[arg(long)]
    pub stay: bool,
}

/// Everything that the agent is told.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Addresses of the hub, host:port, tried in turn.
    #[arg(
        long,
        global = true,
        env = "BELLWETHER_HUB_ADDRESS",
        value_delimiter = ','
    )]
    pub hub_address: Vec<String>,
    /// SHA-256 of the hub's CA in hex: the agent's first connection trusts nothing else.
    #[arg(long, global = true, env = "BELLWETHER_HUB_CA_HASH")]
    pub hub_ca_hash: Option<String>,
    /// A file with the one-time join token; only read while the agent has no identity.
    #[arg(
        long,
        global = true,
        env = "BELLWETHER_TOKEN_FILE",
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// The agent's own namespace.
    #[arg(
        long,
        global = true,
        env = "BELLWETHER_NAMESPACE",
        default_value = "bellwether-system"
    )]
    pub namespace: String,
    /// A kubeconfig; absent = the pod's own service account, else the user's.
    #[arg(
        long,
        global = true,
        env = "BELLWETHER_KUBECONFIG",
        value_name = "FILE"
    )]
    pub kubeconfig: Option<PathBuf>,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(
        long,
        global = true,
        env = "BELLWETHER_HEALTH_LISTEN",
        default_value = "0.0.0.0:8080"
    )]
    pub health_listen: SocketAddr,
    /// How log lines look.
    #[arg(
        long,
        global = true,
        env = "BELLWETHER_LOG_FORMAT",
        value_enum,
        default_value = "text"
    )]
    pub log_format: LogFormat,
    /// Milliseconds that a gateway's data plane may need after its controller said that a route is
    /// programmed.
    #[arg(long, global = true, env = "BELLWETHER_ROUTE_SETTLE_MS")]
    pub route_settle_ms: Option<u64>,
    /// Where the admission webhook for workloads of others is served; absent = it is not.
    #[arg(long, global = true, env = "BELLWETHER_WEBHOOK_LISTEN")]
    pub webhook_listen: Option<SocketAddr>,
    /// What becomes of an update of such a workload while the agent does not answer.
    #[arg(
        long,
        global = true,
        env = "BELLWETHER_WEBHOOK_FAILURE_POLICY",
        value_enum,
        ignore_case = true,
        default_value = "ignore"
    )]
    pub webhook_failure_policy: WebhookFailure,
}

impl Config {
    /// What the admission webhook is told.
    #[must_use]
    pub fn webhook(&self) -> webhook::Settings {
        webhook::Settings {
            listen: self.webhook_listen,
            namespace: self.namespace.clone(),
            failure_policy: match self.webhook_failure_policy {
                WebhookFailure::Ignore => FailurePolicy::Ignore,
                WebhookFailure::Fail => FailurePolicy::Fail,
            },
        }
    }

    /// How long a data plane may need after its controller said that a route is programmed.
    #[must_use]
    pub fn route_settle(&self) -> Dur {
        self.route_settle_ms.map_or(SETTLE, Dur::from_millis)
    }
}

/// What becomes of an update that the API server cannot ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WebhookFailure {
    /// It is let through, and held a moment later.
    Ignore,
    /// It is refused.
    Fail,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}
