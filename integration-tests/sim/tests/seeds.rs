//! Seeds of the simulation: no rule is broken, every fault and state is met, and removed guards
//! are noticed. `BELLWETHER_SIM_SEEDS=20000` plays more, `BELLWETHER_SIM_SEED=7` one alone.

use std::{
    iter,
    num::NonZero,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use bellwether_sim::{Mutant, Outcome, count::Counts, simulate};

const SEEDS: u64 = 240;
/// Seeds in which a mutant must be noticed.
const MUTANT_SEEDS: u64 = 60;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays seeds on every processor, saying what breaks and how far it is; outcomes in the order of
/// seeds.
fn play(seeds: Range<u64>) -> Vec<Outcome> {
    let threads = thread::available_parallelism().map_or(2, NonZero::get);
    let next = Arc::new(AtomicU64::new(seeds.start));
    let played: Vec<thread::JoinHandle<Vec<Outcome>>> = (0..threads)
        .map(|_| {
            let (next, seeds) = (Arc::clone(&next), seeds.clone());
            thread::spawn(move || {
                let seeds = iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed))
                    .take_while(|seed| *seed < seeds.end);
                seeds.map(play_one).collect()
            })
        })
        .collect();
    let mut outcomes: Vec<Outcome> = played
        .into_iter()
        .flat_map(|thread| thread.join().expect("a play ends"))
        .collect();
    outcomes.sort_by_key(|outcome| outcome.seed);
    outcomes
}

fn play_one(seed: u64) -> Outcome {
    let outcome = simulate(seed, Mutant::None);
    if let Some(broken) = &outcome.broken {
        println!("seed {seed} at {} s: {broken}", outcome.seconds);
    } else if seed % 1_000 == 999 {
        println!("seed {seed} is played");
    }
    outcome
}

#[test]
fn no_rule_is_broken_and_everything_is_met() {
    let seeds = match setting("BELLWETHER_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("BELLWETHER_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let many = seeds.end - seeds.start >= SEEDS;
    let outcomes = play(seeds);
    let mut counts = Counts::default();
    let mut seconds = 0;
    for outcome in &outcomes {
        counts.add(&outcome.counts);
        seconds += outcome.seconds;
    }
    println!(
        "{} seeds, {seconds} seconds played\n{counts}",
        outcomes.len()
    );
    let broken: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| {
            outcome
                .broken
                .as_ref()
                .map(|broken| format!("seed {} at {} s: {broken}", outcome.seed, outcome.seconds))
        })
        .collect();
    assert!(
        broken.is_empty(),
        "{} of them broke a rule:\n{}",
        broken.len(),
        broken.join("\n")
    );
    assert!(
        !many || counts.missing().is_empty(),
        "never met: {:?}",
        counts.missing()
    );
}

#[test]
fn the_same_seed_plays_the_same() {
    let (one, two) = (simulate(3, Mutant::None), simulate(3, Mutant::None));
    assert_eq!((one.seconds, one.counts), (two.seconds, two.counts));
}

/// Plays a mutant until one of `rules` is broken.
fn is_noticed(mutant: Mutant, rules: &[&str]) {
    let mut others = Vec::new();
    for seed in 0..MUTANT_SEEDS {
        match simulate(seed, mutant).broken {
            Some(broken) if rules.contains(&broken.rule) => {
                println!("{mutant:?} is noticed by seed {seed}: {broken}");
                return;
            }
            Some(broken) => others.push((seed, broken.rule)),
            None => {}
        }
    }
    panic!("{mutant:?} never broke {rules:?}, but {others:?}");
}

#[test]
fn skipping_readiness_is_noticed() {
    is_noticed(Mutant::SkipReadiness, &["I2-readiness"]);
}

#[test]
fn skipping_a_gate_is_noticed() {
    is_noticed(Mutant::SkipGate, &["I13-soak", "I13-approval"]);
}

#[test]
fn ignoring_epochs_is_noticed() {
    is_noticed(Mutant::IgnoreEpoch, &["I20-status"]);
}

#[test]
fn ignoring_what_may_go_at_once_is_noticed() {
    is_noticed(Mutant::IgnoreTombstoneBudget, &["I22-units"]);
    is_noticed(Mutant::IgnoreTombstoneBudget, &["I22-clusters"]);
}

#[test]
fn trusting_the_wall_clock_is_noticed() {
    is_noticed(Mutant::TrustWallClock, &["R7-soak", "R7-deadline"]);
}

#[test]
fn promoting_on_unknown_is_noticed() {
    is_noticed(Mutant::PromoteOnUnknown, &["I9-unknown"]);
}
