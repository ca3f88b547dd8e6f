use clap::{Args, Subcommand};

use super::Format;

/// `secret …`.
#[derive(Subcommand, Debug)]
pub enum SecretCommand {
    /// Make a secret hold exactly these entries; nobody reads them back
    Set(SetArgs),
    /// Show secrets: names and keys, never values
    List {
        /// In every namespace
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        /// How the answer is printed
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
    /// Delete a secret with every value that it ever had
    Delete {
        /// The secret's name
        name: String,
        /// Delete it although applications name it
        #[arg(long)]
        force: bool,
    },
}

/// `secret set`.
#[derive(Args, Debug)]
pub struct SetArgs {
    /// The secret's name
    pub name: String,
    /// A file's content under this key, - for stdin; the key is the file's name unless given
    #[arg(
        long,
        value_name = "[KEY=]FILE",
        required_unless_present = "from_literal"
    )]
    pub from_file: Vec<String>,
    /// A value under this key; others see it in the list of processes
    #[arg(long, value_name = "KEY=VALUE")]
    pub from_literal: Vec<String>,
}
