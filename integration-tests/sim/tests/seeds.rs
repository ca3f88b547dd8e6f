//! Seeds of the simulation: no rule is broken, every fault and state is met, and removed guards
//! are noticed. `BELLWETHER_SIM_SEEDS=20000` plays more, `BELLWETHER_SIM_SEED=7` one alone.

use std::thread;

use bellwether_sim::{Mutant, Outcome, count::Counts, simulate};

const SEEDS: u64 = 240;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays seeds on two threads; outcomes in the order of seeds.
fn play(seeds: std::ops::Range<u64>, mutant: Mutant) -> Vec<Outcome> {
    let halves: Vec<thread::JoinHandle<Vec<Outcome>>> = (0..2)
        .map(|half| {
            let own: Vec<u64> = seeds.clone().filter(|seed| seed % 2 == half).collect();
            thread::spawn(move || own.into_iter().map(|seed| simulate(seed, mutant)).collect())
        })
        .collect();
    let mut outcomes: Vec<Outcome> = halves
        .into_iter()
        .flat_map(|half| half.join().expect("a play ends"))
        .collect();
    outcomes.sort_by_key(|outcome| outcome.seed);
    outcomes
}

#[test]
fn no_rule_is_broken_and_everything_is_met() {
    let seeds = match setting("BELLWETHER_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("BELLWETHER_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let many = seeds.end - seeds.start >= SEEDS;
    let outcomes = play(seeds, Mutant::None);
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

/// Returns the rules that a mutant breaks, with the seeds.
fn caught(mutant: Mutant) -> Vec<(u64, &'static str)> {
    let outcomes = play(0..40, mutant);
    outcomes
        .into_iter()
        .filter_map(|outcome| outcome.broken.map(|broken| (outcome.seed, broken.rule)))
        .collect()
}

#[test]
fn skipping_readiness_is_noticed() {
    let caught = caught(Mutant::SkipReadiness);
    assert!(
        caught.iter().any(|(_, rule)| *rule == "I2-readiness"),
        "{caught:?}"
    );
}

#[test]
fn skipping_a_gate_is_noticed() {
    let caught = caught(Mutant::SkipGate);
    assert!(
        caught
            .iter()
            .any(|(_, rule)| *rule == "I13-soak" || *rule == "I13-approval"),
        "{caught:?}"
    );
}

#[test]
fn ignoring_epochs_is_noticed() {
    let caught = caught(Mutant::IgnoreEpoch);
    assert!(
        caught.iter().any(|(_, rule)| *rule == "I20-status"),
        "{caught:?}"
    );
}
