//! `bellwether`: the command line of a fleet.
//!
//! Talks to the hub's HTTP API alone, but for `register cluster`, `unregister cluster` and `install crds`,
//! which use the user's kubeconfig, and `hub dev`, which becomes bellwether-hub.

use std::process::ExitCode;

use clap::CommandFactory as _;

mod addon;
mod admin;
mod apply;
mod args;
mod checks;
mod client;
mod compliance;
mod diff;
mod documents;
mod failure;
mod get;
mod hub;
mod import;
mod install;
mod kind;
mod lint;
mod output;
mod placement;
mod register;
mod render;
mod rollback;
mod rollout;
#[cfg(test)]
mod sample;
mod secret;
mod wait;
mod watch;

use args::{
    Cli, ClusterCommand, Command, ExplainCommand, HubCommand, InstallCommand, LabelCommand,
    RegisterCommand, RevokeCommand, UnregisterCommand,
};
use client::Client;
use failure::{Code, Failure};

fn main() -> ExitCode {
    // Fails only when a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::read();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(&format!("error: failed to start: {error}"));
            return ExitCode::from(Code::Error as u8);
        }
    };
    let code = match runtime.block_on(run(&cli)) {
        Ok(code) => code,
        Err(error) => {
            let failure = Failure::from(error);
            failure.lines().iter().for_each(|line| output::note(line));
            match cli.command {
                // Its exit code 1 says that something differs.
                Command::Diff(_) => diff::trouble(failure.code()),
                _ => failure.code(),
            }
        }
    };
    ExitCode::from(code as u8)
}

async fn run(cli: &Cli) -> anyhow::Result<Code> {
    let global = &cli.global;
    let client = Client::new(global);
    match &cli.command {
        Command::Hub(HubCommand::Dev { flags }) => {
            hub::dev(flags)?;
            Ok(Code::Done)
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "bellwether", &mut script);
            output::print(&String::from_utf8_lossy(&script))?;
            Ok(Code::Done)
        }
        Command::Import(args) => import::import(args),
        Command::Version => admin::version(client, global).await,
        Command::Register(RegisterCommand::Cluster(args)) => register::register(client, args).await,
        Command::Unregister(UnregisterCommand::Cluster {
            name,
            context,
            kubeconfig,
            hub_only,
        }) => {
            let place = (!hub_only).then_some((context.as_deref(), kubeconfig.as_deref()));
            register::unregister(&client?, name, place).await
        }
        Command::Revoke(RevokeCommand::Cluster { name, reason, yes }) => {
            admin::revoke(&client?, name, reason, *yes).await
        }
        Command::Cluster(ClusterCommand::Detach { name, reason, yes }) => {
            admin::detach(&client?, name, reason, *yes).await
        }
        Command::Checks(args) => checks::checks(&client?, global, args).await,
        Command::Compliance(args) => compliance::compliance(&client?, args).await,
        Command::Install(InstallCommand::Crds(args)) => install::crds(args).await,
        Command::Addon(command) => addon::run(&client?, global, command).await,
        Command::Label(LabelCommand::Cluster { name, changes }) => {
            admin::label(&client?, name, changes).await
        }
        Command::Cordon(args) => placement::cordon(&client?, args).await,
        Command::Uncordon { name } => placement::uncordon(&client?, name).await,
        Command::Drain(args) => placement::drain(&client?, args).await,
        Command::Plan(args) => placement::plan(&client?, global, args).await,
        Command::Apply(args) => apply::apply(&client?, global, args).await,
        Command::Delete(args) => apply::delete(&client?, global, args).await,
        Command::Get(args) => get::get(&client?, global, args).await,
        Command::Describe(args) => get::describe(&client?, global, args).await,
        Command::Tree(args) => get::tree(&client?, global, args).await,
        Command::Why(args) => get::why(&client?, global, args).await,
        Command::Events(args) => get::events(&client?, global, args).await,
        Command::History(args) => get::history(&client?, global, &args.name, args.output).await,
        Command::Diff(args) => diff::diff(&client?, global, args).await,
        Command::Explain(args) => match (&args.what, &args.overrides) {
            (Some(ExplainCommand::Placement { name, output }), _) => {
                placement::explain(&client?, global, name, *output).await
            }
            (None, Some(args)) => diff::explain(&client?, global, args).await,
            (None, None) => Err(Failure::Usage("name what is to be explained".into()).into()),
        },
        Command::Lint(args) => lint::lint(args),
        Command::Wait(args) => wait::wait(&client?, global, args).await,
        Command::Rollout(command) => rollout::run(&client?, global, command).await,
        Command::Token(command) => admin::token(&client?, command).await,
        Command::Secret(command) => secret::run(&client?, global, command).await,
    }
}
