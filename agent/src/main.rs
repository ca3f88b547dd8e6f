//! The agent of one member cluster: `bellwether-agent run`.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use bellwether_agent::{
    clock::Clock,
    config::{Cli, Command, Config},
    connect,
    desired::Desired,
    link::{self, LinkStatus},
    metrics::{KubeSecrets, Meter, Reachable},
    offline,
    report::Reports,
    rollout, sync, telemetry, webhook,
};
use clap::Parser as _;
use tokio_util::sync::CancellationToken;

/// A pass over a unit is a chain of some forty futures within each other, and what a debug build keeps of
/// each on the stack comes to more than 1 MiB. It is address space: only what was touched takes memory.
const THREAD_STACK_BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::init(cli.config.log_format);
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::warn!("a TLS provider was installed already");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .thread_stack_size(THREAD_STACK_BYTES)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(anyhow::Error::new(error).context("failed to start the runtime")),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = cli.config;
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    let figures = telemetry::Figures::default();
    let readiness = telemetry::Readiness::default();
    let health = tokio::spawn(telemetry::serve(
        telemetry::listen(config.health_listen).await?,
        readiness.clone(),
        figures.clone(),
        shutdown.clone(),
    ));
    let client = connect::client(config.kubeconfig.as_deref(), figures.api_requests.clone())
        .await
        .context("failed to reach the cluster's API server")?;
    let desired = Desired::load(client.clone(), &config.namespace)
        .await
        .with_context(|| {
            format!(
                "failed to read what is held in namespace {}",
                config.namespace
            )
        })?;
    let clock = Clock::begin(rollout::latest_saved(client.clone(), &desired).await);
    let reports = Reports::default();
    let shell = sync::Shell::new(
        client.clone(),
        desired,
        reports,
        Meter::new(
            Arc::new(KubeSecrets(client.clone())),
            &config.namespace,
            clock,
        )
        .context("failed to set up the metrics client")?,
        clock,
        figures,
        config.route_settle(),
    );
    tokio::spawn(shell.desired.clone().watch_epoch(
        client.clone(),
        config.namespace.clone(),
        shutdown.clone(),
    ));
    let syncing = tokio::spawn(sync::run(Arc::clone(&shell), shutdown.clone()));
    let admitting = tokio::spawn(webhook::run(
        client.clone(),
        Arc::clone(&shell),
        config.webhook(),
        shutdown.clone(),
    ));
    readiness.set(true);
    let code = match cli.command {
        Some(Command::Offline(what)) => {
            // Nobody has given this cluster a name.
            shell.hooks.cluster_name().send_replace(Some(String::new()));
            let code = offline::bring_in(&shell, &what, &shutdown).await?;
            shutdown.cancel();
            code
        }
        Some(Command::Run) | None => {
            serve_hub(&config, client, &shell, &readiness, &shutdown).await?;
            ExitCode::SUCCESS
        }
    };
    readiness.set(false);
    syncing
        .await
        .context("failed to stop the work on applications")?;
    admitting
        .await
        .context("failed to stop the admission webhook")?;
    health
        .await
        .context("failed to stop the health endpoints")?;
    Ok(code)
}

async fn serve_hub(
    config: &Config,
    client: kube::Client,
    shell: &Arc<sync::Shell>,
    readiness: &telemetry::Readiness,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let token = match &config.token_file {
        Some(path) => read_token(path).await?,
        None => String::new(),
    };
    let (status, mut changes) = tokio::sync::watch::channel(LinkStatus::default());
    let connected = shell.figures.hub_connected.clone();
    let readiness = readiness.clone();
    let fence = shell.desired.fence();
    let mut takeovers = fence.subscribe();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                // The sender lives as long as the fence.
                Ok(()) = takeovers.changed() => {}
            }
            let status = changes.borrow_and_update().clone();
            connected.set(i64::from(status.connected));
            let newer = fence.newer().map(|epoch| {
                format!("a newer agent of this cluster has taken over (session epoch {epoch})")
            });
            readiness.note(
                [status.message, status.clocks, newer.unwrap_or_default()]
                    .into_iter()
                    .filter(|note| !note.is_empty())
                    .collect(),
            );
        }
    });
    let drift = Arc::clone(shell);
    let metrics = Reachable::default();
    let asking = metrics.clone();
    let meter = shell.meter.clone();
    let stopping = shutdown.clone();
    let own_sources = shell.own_sources.clone();
    tokio::spawn(async move {
        let asking = async { tokio::join!(asking.run(meter.clone()), own_sources.run(meter)) };
        stopping.run_until_cancelled(asking).await;
    });
    let hub = link::Hub {
        addresses: config.hub_address.clone(),
        ca_hash: config.hub_ca_hash.clone().unwrap_or_default(),
        token,
        namespace: config.namespace.clone(),
        desired: shell.desired.clone(),
        reports: shell.reports.clone(),
        samples: shell.samples.clone(),
        metrics: metrics.clone(),
        cluster_name: shell.hooks.cluster_name(),
        drift_age_ms: Arc::new(move || drift.drift_age_ms()),
        status,
    };
    Ok(link::serve(client, hub, shutdown.clone()).await?)
}

/// Reads the join token; a file that is not there is none, since an enrolled agent needs none.
async fn read_token(path: &std::path::Path) -> anyhow::Result<String> {
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => {
            Err(error).with_context(|| format!("failed to read the join token {}", path.display()))
        }
    }
}

async fn stop_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be received; stop the process by kill -9");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; runs go on where they are at the next start");
    shutdown.cancel();
}
