use clap::{Args, Subcommand};

use super::Format;

/// `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// File or directory with documents, or - for stdin
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub files: Vec<String>,
    /// How the answer is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// `explain …`.
#[derive(Subcommand, Debug)]
pub enum ExplainCommand {
    /// Say of every cluster why an application is placed there or not
    Placement {
        /// The application's name
        name: String,
        /// How the answer is printed
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
}

/// `cordon`, `uncordon` and `drain`.
#[derive(Args, Debug)]
pub struct CordonArgs {
    /// The cluster's name
    pub name: String,
    /// Why; kept with the cluster
    #[arg(long, default_value = "")]
    pub reason: String,
}
