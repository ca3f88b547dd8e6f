//! `bellwether-bench`: starts what it measures, stops it again, prints the figures and appends them
//! to docs/BENCHMARKS.md.
//!
//! Four stages. Decisions alone: P11 placement and waves of a large fleet. One hub on loopback with simulated agents that speak the real protocol: P1 memory,
//! P2 delivery, P9 the hub's start. Hubs of their own with simulated agents: one chart for many clusters,
//! agents that reconnect at once, the shape that KubeFleet published figures of. One hub with a lab of clusters and the real agent: P3 apply,
//! P7 the agent's memory, P9 the agent's start, many
//! rollouts at once, P10 rollback.

mod agent_figures;
mod api;
mod conditions;
mod hub;
mod latency;
mod member;
mod observe;
mod plan;
mod report;
mod simulated;
mod stage_loopback;
mod stage_member;
mod stage_placement;
mod stage_scale;

use std::process::ExitCode;

fn main() -> ExitCode {
    let plan = plan::Plan::parse();
    // Fails only when a provider is installed already: the same one, by the workspace's rule.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(&plan)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(plan: &plan::Plan) -> anyhow::Result<()> {
    let conditions = conditions::Conditions::of_this_machine(plan);
    let mut report = report::Report::new(conditions);
    let mut outcome = stage_placement::run(plan, &mut report);
    if outcome.is_ok() {
        outcome = stage_loopback::run(plan, &mut report).await;
    }
    if outcome.is_ok() {
        outcome = stage_scale::run(plan, &mut report).await;
    }
    if outcome.is_ok() {
        outcome = stage_member::run(plan, &mut report).await;
    }
    // What was measured before something failed is worth keeping.
    if !report.is_empty() {
        println!("{}", report.table());
        if let Some(path) = &plan.append {
            report.append_to(path)?;
            println!("appended to {}", path.display());
        }
    }
    outcome
}
