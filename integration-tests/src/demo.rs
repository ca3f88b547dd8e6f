//! The main job from a user's seat. It calls the public command line and nothing else, shows what
//! it calls, and measures from outside what came of it.

pub mod report;
pub mod stage;
pub mod teardown;

use std::time::{Duration, Instant};

use anyhow::Result;
use bellwether_api::view::RunPhase;

use crate::{demo::stage::Stage, traffic::Traffic, weights::now_ms};

/// Requests a second to each cluster's gateway.
pub const REQUESTS_PER_SECOND: u32 = 250;

/// Runs the whole demo.
///
/// # Errors
/// When any part of it does not do what it shows; what was started stays up for a look.
pub fn run() -> Result<()> {
    let started = Instant::now();
    teardown::down()?;
    let stage = Stage::build()?;
    stage.register_clusters()?;
    stage.install("v1")?;

    heading("steady traffic: 250 requests a second to each gateway, half on kept connections");
    let file = stage.directory.join("traffic.jsonl");
    let clusters = ["c1", "c2", "c3"];
    let traffic = Traffic::start(
        &stage.lab,
        &clusters,
        "shop.demo.example",
        REQUESTS_PER_SECOND,
        &file,
    )?;
    println!("  counted into {}", file.display());

    heading("release v2: a canary in wave `canary`, a soak, then wave `rest`");
    let good = stage.release("v2", 2, RunPhase::Succeeded)?;
    report::good(&good, &traffic.so_far()?)?;

    heading("release v3, which fails 20 % of its requests");
    let bad = stage.release("v3", 3, RunPhase::Halted)?;
    let restored_ms = now_ms();
    // Three more seconds of traffic, so that the report can show who serves after the rollback.
    std::thread::sleep(Duration::from_secs(4));
    report::bad(&bad, &traffic.stop()?, restored_ms)?;

    stage.farewell(started.elapsed());
    Ok(())
}

/// Prints a heading.
pub fn heading(text: &str) {
    println!("\n== {text}");
}
