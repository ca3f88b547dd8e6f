//! The hub's binary: `bellwether-hub [serve] …` and `bellwether-hub ca …`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use bellwether_hub::{
    app,
    clock::wall,
    config::Config,
    pki::{Pki, PkiOptions},
    telemetry,
};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The control plane of a fleet of Kubernetes clusters
#[derive(Debug, Parser)]
#[command(
    name = "bellwether-hub",
    version,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: Config,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Runs the hub (also without a subcommand)
    Serve {
        #[command(flatten)]
        config: Box<Config>,
    },
    /// Changes the certificate authority
    Ca {
        #[command(subcommand)]
        change: CaChange,
        /// Folder of the certificate authority
        #[arg(long, env = "BELLWETHER_PKI_DIR", value_name = "DIR", global = true)]
        pki_dir: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum CaChange {
    /// Makes the next CA; agents trust it once they have renewed
    Prepare,
    /// Lets the next CA sign; the former one stays trusted until ca-old.pem is removed
    Promote,
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what failed, why, and the way out.
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln!("error: {}", causes.join(": "));
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let config = match arguments.command {
        None => arguments.config,
        Some(Command::Serve { config }) => *config,
        Some(Command::Ca { change, pki_dir }) => {
            return change_ca(
                change,
                pki_dir.unwrap_or_else(|| arguments.config.pki_dir()),
            );
        }
    };
    telemetry::start_logging(config.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(app::run(config))?;
    Ok(())
}

fn change_ca(change: CaChange, dir: PathBuf) -> anyhow::Result<()> {
    let now = wall();
    let pki = Pki::open(
        PkiOptions {
            dir,
            trust_domain: String::new(),
            certificate_lifetime: std::time::Duration::ZERO,
            server_names: Vec::new(),
        },
        now,
    )?;
    match change {
        CaChange::Prepare => pki.prepare_rotation(now)?,
        CaChange::Promote => pki.promote_rotation(now)?,
    }
    println!("CA hash: {}", pki.ca_hash());
    Ok(())
}
