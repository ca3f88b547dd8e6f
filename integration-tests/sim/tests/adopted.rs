//! Workloads that somebody else delivers: no rule is broken, everything is met, and removed guards are
//! noticed. `BELLWETHER_SIM_SEEDS=20000` plays more.

use bellwether_sim::{
    Mutant,
    adopted::{MET, simulate},
    count::Counts,
};

/// Seeds of `make test`, and those in which a mutant must be noticed.
const SEEDS: u64 = 100;

#[test]
fn no_rule_is_broken_by_runs_of_workloads_of_others() {
    let seeds = std::env::var("BELLWETHER_SIM_SEEDS");
    let seeds = seeds.ok().and_then(|seeds| seeds.parse().ok());
    let seeds: u64 = seeds.unwrap_or(SEEDS);
    let mut counts = Counts::default();
    let mut broken = Vec::new();
    for seed in 0..seeds {
        let outcome = simulate(seed, Mutant::None);
        counts.add(&outcome.counts);
        let at = outcome.seconds;
        broken.extend(
            outcome
                .broken
                .map(|rule| format!("seed {seed} at {at} s: {rule}")),
        );
    }
    println!("{counts}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let missing: Vec<_> = MET.iter().filter(|name| counts.of(name) == 0).collect();
    assert!(
        seeds < SEEDS || missing.is_empty(),
        "never met: {missing:?}"
    );
}

fn is_noticed(mutant: Mutant, rule: &str) {
    let mut others = Vec::new();
    for seed in 0..SEEDS {
        match simulate(seed, mutant).broken {
            Some(broken) if broken.rule == rule => return,
            Some(broken) => others.push((seed, broken.rule)),
            None => {}
        }
    }
    panic!("{mutant:?} never broke {rule}, but {others:?}");
}

#[test]
fn saying_nothing_about_updates_of_others_is_noticed() {
    is_noticed(Mutant::IgnoreUpdates, "I5-held");
}

#[test]
fn selecting_a_version_before_it_has_pods_is_noticed() {
    is_noticed(Mutant::PinFirst, "I2-apex");
}

#[test]
fn overruling_whoever_writes_a_route_is_noticed() {
    is_noticed(Mutant::KeepOldRoute, "I7-adopted");
}
