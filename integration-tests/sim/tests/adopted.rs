//! Workloads that somebody else delivers: no rule is broken, everything is met, and removed guards are
//! noticed. `BELLWETHER_SIM_SEEDS=20000` plays more, `BELLWETHER_SIM_FIRST=4000` those from there on,
//! `BELLWETHER_SIM_SEED=7` one alone.

use bellwether_sim::{
    Mutant,
    adopted::{MET, simulate},
    count::Counts,
};

/// Seeds of `make test`, and those in which a mutant must be noticed.
const SEEDS: u64 = 100;

/// Seeds that showed a defect, by what it was.
const PINNED: &[(&str, &[u64])] = &[
    (
        "an update over one that nobody had held, of which no pod was ready, was not held either",
        &[603, 1017, 1334, 2333],
    ),
    (
        "ready pods of a version that came as the old one stood again were taken back at once",
        &[921, 1267, 1627, 2501],
    ),
    (
        "the same while a canary served that did not stand in for all of them",
        &[50_297],
    ),
    (
        "a version that had replaced the old one as it stood again was waited out for ever",
        &[3858, 3890],
    ),
    (
        "what came over two versions that served at once was to be held",
        &[1925, 1958, 2517, 2612],
    ),
];

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_rule_is_broken_by_runs_of_workloads_of_others() {
    let (first, seeds) = match setting("BELLWETHER_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (
            setting("BELLWETHER_SIM_FIRST").unwrap_or(0),
            setting("BELLWETHER_SIM_SEEDS").unwrap_or(SEEDS),
        ),
    };
    let mut counts = Counts::default();
    let mut broken = Vec::new();
    for seed in first..first + seeds {
        let outcome = simulate(seed, Mutant::None);
        counts.add(&outcome.counts);
        if let Some(rule) = outcome.broken {
            println!("seed {seed} at {} s: {rule}", outcome.seconds);
            broken.push(format!("seed {seed} at {} s: {rule}", outcome.seconds));
        }
    }
    println!("{counts}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let missing: Vec<_> = MET.iter().filter(|name| counts.of(name) == 0).collect();
    assert!(
        seeds < SEEDS || missing.is_empty(),
        "never met: {missing:?}"
    );
}

#[test]
fn what_broke_once_holds() {
    for (what, seeds) in PINNED {
        for seed in *seeds {
            let outcome = simulate(*seed, Mutant::None);
            assert_eq!(
                outcome.broken.map(|broken| broken.to_string()),
                None,
                "seed {seed} at {} s, once because {what}",
                outcome.seconds
            );
        }
    }
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
