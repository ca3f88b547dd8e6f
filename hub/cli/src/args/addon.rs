//! `addon`, `compliance` and `cluster`.

use clap::{Args, Subcommand};

use super::Format;

/// `addon …`.
#[derive(Subcommand, Debug)]
pub enum AddonCommand {
    /// Show a fleet's add-ons, and on how many members each is healthy
    List {
        /// The fleet's name
        fleet: String,
    },
    /// Bring an application to every member of a fleet, before any other application
    Enable {
        /// The fleet's name
        fleet: String,
        /// The application's name, or namespace/name
        application: String,
        /// Why; kept with the fleet
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Take an add-on off a fleet; members that its own destination does not name lose it
    Disable {
        /// The fleet's name
        fleet: String,
        /// The application's name, or namespace/name
        application: String,
        /// Why; kept with the fleet
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// `compliance`.
#[derive(Args, Debug)]
pub struct ComplianceArgs {
    /// Only members of this fleet
    #[arg(long)]
    pub fleet: Option<String>,
    /// Only this cluster
    #[arg(long)]
    pub cluster: Option<String>,
    /// How the answer is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// `cluster …`.
#[derive(Subcommand, Debug)]
pub enum ClusterCommand {
    /// Cut a cluster off; its workloads stay, and `register cluster` gives it its place back
    Detach {
        /// The cluster's name
        name: String,
        /// Why; shown at the cluster
        #[arg(long, default_value = "")]
        reason: String,
        /// Do not ask
        #[arg(short = 'y', long)]
        yes: bool,
    },
}
