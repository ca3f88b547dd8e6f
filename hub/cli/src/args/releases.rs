//! `history`, `diff`, `explain`, `lint` and `wait`.

use std::time::Duration;

use clap::Args;

use super::{ExplainCommand, Format, parse_duration};

/// `history`.
#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// The application's or rollout's name; TYPE/NAME works as well
    pub name: String,
    /// How the answer is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// `diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// The application's or rollout's name; TYPE/NAME works as well. With -f unless given every application in the files
    #[arg(required_unless_present = "files")]
    pub name: Option<String>,
    /// The left side: a revision, running or stored
    #[arg(long, value_name = "N|running|stored", default_value = "running")]
    pub from: String,
    /// The right side: a revision, running or stored; stored unless given
    #[arg(long, value_name = "N|running|stored", conflicts_with = "files")]
    pub to: Option<String>,
    /// Compare with what these files say instead of what is stored
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-")]
    pub files: Vec<String>,
    /// Only these clusters
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub cluster: Vec<String>,
    /// How the answer is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// `explain APP --cluster NAME`, or `explain placement APP`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ExplainArgs {
    /// What else is explained; absent = overrides
    #[command(subcommand)]
    pub what: Option<ExplainCommand>,
    /// Whose overrides; absent = something else is explained
    #[command(flatten)]
    pub overrides: Option<OverridesArgs>,
}

/// `explain APP --cluster NAME`.
#[derive(Args, Debug)]
pub struct OverridesArgs {
    /// The application's or rollout's name; TYPE/NAME works as well
    pub name: String,
    /// The cluster
    #[arg(long, value_name = "NAME")]
    pub cluster: String,
    /// What is explained: a revision, or stored
    #[arg(long, value_name = "N|stored", default_value = "stored")]
    pub of: String,
    /// How the answer is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// `lint`.
#[derive(Args, Debug)]
pub struct LintArgs {
    /// Files or directories with documents, or - for stdin
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub files: Vec<String>,
    /// How the answer is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

/// `wait`.
#[derive(Args, Debug)]
pub struct WaitArgs {
    /// application, rollout or cluster; TYPE/NAME works as well, and a NAME alone is a rollout
    pub kind: String,
    /// The object's name
    pub name: Option<String>,
    /// What is waited for: of a rollout a state, such as Succeeded, or Waiting for a human; of an
    /// application such a state, or a health, such as Healthy, or Draft; of a cluster a condition, such as Ready. Any of several will do
    #[arg(
        long = "for",
        value_name = "WORD,…",
        value_delimiter = ',',
        required = true
    )]
    pub words: Vec<String>,
    /// Give up after this long
    #[arg(long, value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// How what is found at the end is printed
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}
