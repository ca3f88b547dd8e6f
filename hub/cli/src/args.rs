//! The command line's grammar.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use bellwether_api::duration::Dur;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

mod addon;
mod install;
mod placement;
mod register;
mod releases;
mod rollout;
mod secret;

pub use addon::{AddonCommand, ClusterCommand, ComplianceArgs};
pub use install::{CrdsArgs, InstallCommand};
pub use placement::{CordonArgs, ExplainCommand, PlanArgs};
pub use register::{RegisterArgs, RegisterCommand, RevokeCommand, UnregisterCommand};
pub use releases::{DiffArgs, ExplainArgs, HistoryArgs, LintArgs, OverridesArgs, WaitArgs};
pub use rollout::{ActionArgs, RolloutCommand};
pub use secret::{SecretCommand, SetArgs};

/// Control a fleet of Kubernetes clusters.
#[derive(Parser, Debug)]
#[command(
    name = "bellwether",
    version,
    about,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// How the hub is reached and how answers are printed.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads this process's command line; on a mistake, says so and ends the process.
    #[must_use]
    pub fn read() -> Self {
        let called = std::env::args_os().next().unwrap_or_default();
        let matches = Self::called(Path::new(&called)).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Returns the grammar under the name by which the program was called: kubectl calls its
    /// plugin `kubectl-bellwether`, and its user writes `kubectl bellwether`.
    fn called(program: &Path) -> clap::Command {
        let name = match program.file_name().and_then(OsStr::to_str) {
            Some("kubectl-bellwether") => "kubectl bellwether",
            _ => "bellwether",
        };
        Self::command().bin_name(name)
    }
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Address of the hub's API, such as http://127.0.0.1:7700
    #[arg(long, env = "BELLWETHER_HUB", global = true, value_name = "URL")]
    pub hub: Option<String>,
    /// Token for the hub's API
    #[arg(long, env = "BELLWETHER_TOKEN", global = true, hide_env_values = true)]
    pub token: Option<String>,
    /// Unix socket of a hub on this machine; tried before the URL's default
    #[arg(long, env = "BELLWETHER_SOCKET", global = true, value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// Namespace of applications and rollouts
    #[arg(
        short,
        long,
        env = "BELLWETHER_NAMESPACE",
        global = true,
        default_value = "default",
        value_name = "NAME"
    )]
    pub namespace: String,
    /// No glyphs, no colour, no redrawing
    #[arg(long, global = true)]
    pub plain: bool,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a hub on this machine
    #[command(subcommand)]
    Hub(HubCommand),
    /// Add a cluster to the fleet
    #[command(subcommand)]
    Register(RegisterCommand),
    /// Take a cluster out of the fleet
    #[command(subcommand)]
    Unregister(UnregisterCommand),
    /// Take a cluster's identity away and cut it off; nothing is deleted there
    #[command(subcommand)]
    Revoke(RevokeCommand),
    /// Set labels of a cluster: key=value sets, key- removes
    #[command(subcommand)]
    Label(LabelCommand),
    /// Place nothing in a cluster anew; what it has stays
    Cordon(CordonArgs),
    /// Let a cluster take applications again
    Uncordon {
        /// The cluster's name
        name: String,
    },
    /// Cordon a cluster, and move away what another one can take
    Drain(CordonArgs),
    /// Detach a cluster
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Show what the checks of a rollout measured, with limits and verdicts
    Checks(ChecksArgs),
    /// Show what policy engines found in clusters, and over all of them
    Compliance(ComplianceArgs),
    /// Manage the add-ons of a fleet
    #[command(subcommand)]
    Addon(AddonCommand),
    /// Install what lets the hub's cluster hold records
    #[command(subcommand)]
    Install(InstallCommand),
    /// Create or change objects, all of them or none
    Apply(ApplyArgs),
    /// Print the Rollouts that Canaries of Flagger and Rollouts of Kruise become; asks no hub
    Import(ImportArgs),
    /// Say which clusters would get, keep and lose what; nothing is stored
    Plan(PlanArgs),
    /// Delete objects
    Delete(DeleteArgs),
    /// Show objects
    Get(GetArgs),
    /// Show everything known about one object
    Describe(TargetArgs),
    /// Show an application, its waves, clusters and objects
    Tree(TargetArgs),
    /// Say why something does not move, and what to do
    Why(TargetArgs),
    /// Show what happened
    Events(EventsArgs),
    /// Show past releases of an application: who, when, why, and what became of them
    History(HistoryArgs),
    /// Compare what clusters have: what runs, what is stored, revisions, files
    Diff(DiffArgs),
    /// Say how something was decided: which override set which field in a cluster, or who is placed where
    Explain(ExplainArgs),
    /// Check files without a hub
    Lint(LintArgs),
    /// Wait until something is as it should be
    Wait(WaitArgs),
    /// Act on the run of an application
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Manage tokens for the hub's API
    #[command(subcommand)]
    Token(TokenCommand),
    /// Manage secrets that the hub keeps: for private sources, charts, gates and webhooks
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Print a completion script
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the versions of this program and of the hub
    Version,
}

/// `hub …`.
#[derive(Subcommand, Debug)]
pub enum HubCommand {
    /// Run a hub in the foreground with its own private Postgres
    Dev {
        /// Flags for bellwether-hub, such as --data-dir
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
}

/// `label …`.
#[derive(Subcommand, Debug)]
pub enum LabelCommand {
    /// Set labels of a cluster
    Cluster {
        /// The cluster's name
        name: String,
        /// key=value sets, key- removes
        #[arg(required = true)]
        changes: Vec<String>,
    },
}

/// `apply`.
#[derive(Args, Debug)]
pub struct ApplyArgs {
    /// File or directory with documents, or - for stdin
    #[arg(
        short = 'f',
        long = "filename",
        required = true,
        value_name = "FILE|DIR|-"
    )]
    pub files: Vec<String>,
    /// Fill a component's manifests from a directory
    #[arg(long, value_name = "COMPONENT=DIR", value_parser = parse_label)]
    pub manifests: Vec<(String, String)>,
    /// Check everything and store nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Why; kept with the release that comes of it
    #[arg(short = 'm', long, default_value = "")]
    pub reason: String,
    /// How the answer is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// `import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// Files or directories that hold the records and what is rendered beside them, or - for stdin
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub files: Vec<String>,
    /// The application that the Rollouts belong to
    #[arg(long, value_name = "NAME")]
    pub application: Option<String>,
}

/// `delete`.
#[derive(Args, Debug)]
pub struct DeleteArgs {
    /// fleet, cluster, application or rollout; TYPE/NAME works as well
    #[arg(required_unless_present = "files")]
    pub kind: Option<String>,
    /// The object's name
    pub name: Option<String>,
    /// Delete what these files name
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE|DIR|-",
        conflicts_with = "kind"
    )]
    pub files: Vec<String>,
    /// Do not ask
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Why; kept with the release that comes of it, if any
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Do not ask, but delete the application only if exactly this many clusters hold it
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["yes", "files"])]
    pub clusters: Option<u64>,
}

/// `get`.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// fleets, clusters, applications, rollouts or events; TYPE/NAME works as well
    pub kind: String,
    /// One object's name
    pub name: Option<String>,
    /// Show changes as they happen; of one rollout until it ends
    #[arg(short, long)]
    pub watch: bool,
    /// How the answer is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
    /// Only objects with these labels
    #[arg(short = 'l', long = "selector", value_name = "K=V,…")]
    pub selector: Option<String>,
    /// In every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Give up watching after this long
    #[arg(long, value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

/// TYPE/NAME or TYPE NAME.
#[derive(Args, Debug)]
pub struct TargetArgs {
    /// cluster, fleet, application or rollout; TYPE/NAME works as well
    pub kind: String,
    /// The object's name
    pub name: Option<String>,
    /// How the answer is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// `events`.
#[derive(Args, Debug)]
pub struct EventsArgs {
    /// An application's or rollout's name; TYPE/NAME works as well
    pub name: Option<String>,
    /// Only of this cluster
    #[arg(long)]
    pub cluster: Option<String>,
    /// Show events as they happen
    #[arg(short, long)]
    pub watch: bool,
    /// How many of the newest are shown
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
    /// How the answer is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// `checks`.
#[derive(Args, Debug)]
pub struct ChecksArgs {
    /// An application's or rollout's name; TYPE/NAME works as well
    pub name: String,
    /// Only of this cluster
    #[arg(long)]
    pub cluster: Option<String>,
    /// Only of this metric
    #[arg(long)]
    pub metric: Option<String>,
    /// How many of the newest are shown
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
    /// How the answer is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// `token …`.
#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Make a token; it is shown once
    Create {
        /// Who uses it
        name: String,
        /// admin, editor or viewer
        #[arg(long, default_value = "viewer")]
        role: String,
        /// Namespaces that it may touch; all unless given
        #[arg(long, value_delimiter = ',')]
        namespaces: Vec<String>,
    },
    /// Show tokens
    List,
    /// Take a token away
    Revoke {
        /// Who used it
        name: String,
    },
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON document; one a line with -w.
    Json,
    /// YAML.
    Yaml,
    /// A table with more columns.
    Wide,
    /// TYPE/NAME, one a line.
    Name,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no key=value")),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    text.parse::<Dur>()
        .map(Dur::as_std)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
