use std::collections::BTreeMap;

use bellwether_api::call::Condition;

use super::{STALLED, StandingCluster, view::word};

/// What a human should know of a Rollout without an application: what keeps the hub from doing what its
/// record says (`stalled`), and what clusters warn of, one condition a word.
#[must_use]
pub fn conditions(clusters: &[StandingCluster], stalled: Option<&str>) -> Vec<Condition> {
    let mut warned: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for cluster in clusters {
        let warnings = cluster.status.iter().flat_map(|status| &status.warnings);
        for warning in warnings {
            let word = word(warning);
            if !word.is_empty() {
                let message = warning[word.len() + 1..].trim_start();
                warned
                    .entry(word)
                    .or_default()
                    .push(format!("{}: {message}", cluster.name));
            }
        }
    }
    let stalled = stalled.map(|why| condition(STALLED, why.to_owned()));
    let warned = warned
        .into_iter()
        .map(|(word, messages)| condition(&word, messages.join("; ")));
    stalled.into_iter().chain(warned).collect()
}

fn condition(kind: &str, message: String) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: "True".to_owned(),
        reason: kind.to_owned(),
        message,
    }
}
