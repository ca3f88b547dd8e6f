//! Running tests that share a scene which takes long to set: by libtest-mimic, which prints and
//! filters as `cargo test` does.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::{demo::teardown, lab::Lab};

/// A test's name, the name of its application and namespace, and the test.
pub type Case<S> = (&'static str, &'static str, fn(&S) -> Result<()>);

/// What tests share.
pub trait Stage: Clone + Send + 'static {
    /// Runs one test under its own name.
    ///
    /// # Errors
    /// When it fails.
    fn case(&self, name: &'static str, test: fn(&Self) -> Result<()>) -> Result<()>;
}

/// Makes the trials of `cases`; without a stage they can only be listed.
#[must_use]
pub fn trials<S: Stage>(cases: &[Case<S>], stage: Option<&S>) -> Vec<Trial> {
    cases
        .iter()
        .map(|case| trial(*case, stage.cloned()))
        .collect()
}

/// How many of the slowest tests a run names.
const SLOWEST: usize = 8;

/// How long the tests of this process took.
static TOOK: Mutex<Vec<(&str, Duration)>> = Mutex::new(Vec::new());

/// Runs `cases`, names the slowest, and tells whether all of them passed. Where none is selected it
/// says nothing.
pub fn run<S: Stage>(arguments: &Arguments, cases: &[Case<S>], stage: &S) -> bool {
    if !wants(arguments, cases) {
        return true;
    }
    let conclusion = libtest_mimic::run(arguments, trials(cases, Some(stage)));
    let mut took = std::mem::take(&mut *TOOK.lock().unwrap_or_else(PoisonError::into_inner));
    took.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
    let slowest: Vec<String> = took
        .iter()
        .take(SLOWEST)
        .map(|(name, took)| format!("{name} {} s", took.as_secs()))
        .collect();
    println!("slowest: {}", slowest.join(", "));
    !conclusion.has_failed()
}

/// Tells whether the arguments select any of `cases`: a scene that nobody uses need not be set.
#[must_use]
pub fn wants<S: Stage>(arguments: &Arguments, cases: &[Case<S>]) -> bool {
    let matches = |filter: &String, name: &str| {
        if arguments.exact {
            name == filter
        } else {
            name.contains(filter.as_str())
        }
    };
    cases.iter().any(|(name, _, _)| {
        arguments
            .filter
            .as_ref()
            .is_none_or(|filter| matches(filter, name))
            && !arguments.skip.iter().any(|skip| matches(skip, name))
    })
}

fn trial<S: Stage>((name, namespace, test): Case<S>, stage: Option<S>) -> Trial {
    Trial::test(name, move || {
        let stage = stage.ok_or("tests were only listed")?;
        let began = Instant::now();
        let outcome = stage.case(namespace, test);
        TOOK.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name, began.elapsed()));
        outcome.map_err(|error| {
            let said = without_backtrace(&format!("{error:?}"));
            eprintln!("-- {name}: {said}");
            Failed::from(said)
        })
    })
}

/// Cuts off the stack, which says nothing about a cluster.
fn without_backtrace(text: &str) -> String {
    text.split("\nStack backtrace:")
        .next()
        .unwrap_or(text)
        .to_owned()
}

/// Takes away the clusters, processes and files of a run that was killed.
///
/// # Errors
/// When something of it cannot be taken away.
pub fn clear(lab: &str, directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        teardown::stop_recorded(&entry.path().join("hub.pid"), "bellwether-hub")?;
        teardown::stop_recorded(&entry.path().join("agent.pid"), "bellwether-agent")?;
    }
    // After the hubs that work on it.
    teardown::stop_recorded(&directory.join("hub/postgres/postmaster.pid"), "postgres")?;
    Lab::down(lab)?;
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
