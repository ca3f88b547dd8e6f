//! Tables of objects.

mod rows;

use bellwether_api::{
    call::{ActionVerb, ActionView, Item, RunList},
    strategy::Manual,
};
use jiff::Timestamp;

use super::{
    span::{ago, between, release_name},
    style::{Style, run_word},
};
use rows::{
    application_row, cluster_row, fleet_row, metric_template_row, repository_row, rollout_row,
};

/// Characters of a release's digest that are shown.
const DIGEST_SHOWN: usize = 8;

/// Draws objects of one kind; NAME first, AGE last.
#[must_use]
pub fn table(kind: &str, items: &[Item], wide: bool, now: Timestamp, style: Style) -> String {
    let titles: &[&str] = match (kind, wide) {
        ("Cluster", false) => &["NAME", "STATUS", "LAST-SEEN", "KUBERNETES", "LABELS", "AGE"],
        ("Cluster", true) => &[
            "NAME",
            "STATUS",
            "LAST-SEEN",
            "KUBERNETES",
            "LABELS",
            "AGENT",
            "CERTIFICATE-ENDS",
            "NODES",
            "CPU",
            "MEMORY",
            "REGIONS",
            "MESSAGE",
            "AGE",
        ],
        ("Fleet", false) => &["NAME", "CLUSTERS", "READY", "DEGRADED", "UNKNOWN", "AGE"],
        ("Fleet", true) => &[
            "NAME", "CLUSTERS", "READY", "DEGRADED", "UNKNOWN", "MEMBERS", "AGE",
        ],
        ("Application", false) => &[
            "NAMESPACE",
            "NAME",
            "STATE",
            "HEALTH",
            "RELEASE",
            "CLUSTERS",
            "AGE",
        ],
        ("Application", true) => &[
            "NAMESPACE",
            "NAME",
            "STATE",
            "HEALTH",
            "RELEASE",
            "CLUSTERS",
            "REVISION",
            "CONDITIONS",
            "AGE",
        ],
        ("Repository", false) => &["NAME", "URL", "REVISION", "SYNCED", "AGE"],
        ("Repository", true) => &[
            "NAME", "URL", "REVISION", "SYNCED", "ORPHANS", "MESSAGE", "AGE",
        ],
        ("MetricTemplate", false) => &["NAMESPACE", "NAME", "TYPE", "ADDRESS", "AGE"],
        ("MetricTemplate", true) => &["NAMESPACE", "NAME", "TYPE", "ADDRESS", "QUERY", "AGE"],
        (_, false) => &[
            "NAMESPACE",
            "NAME",
            "APPLICATION",
            "STATE",
            "RELEASE",
            "CLUSTERS",
            "AGE",
        ],
        (_, true) => &[
            "NAMESPACE",
            "NAME",
            "APPLICATION",
            "STATE",
            "RELEASE",
            "CLUSTERS",
            "WORKLOAD",
            "REVISION",
            "CONDITIONS",
            "AGE",
        ],
    };
    let rows = items.iter().map(|item| {
        let mut row = match kind {
            "Cluster" => cluster_row(item, wide, now, style),
            "Fleet" => fleet_row(item, wide),
            "Application" => application_row(item, wide, style),
            "MetricTemplate" => metric_template_row(item, wide),
            "Repository" => repository_row(item, wide, style),
            _ => rollout_row(item, wide, style),
        };
        row.push(ago(item.metadata.creation_timestamp.as_deref(), now));
        row
    });
    grid(titles, rows)
}

/// Draws past runs, and under them what humans said to them.
#[must_use]
pub fn history(runs: &RunList, now: Timestamp, style: Style) -> String {
    let titles = [
        "REV", "RELEASE", "VERSION", "OUTCOME", "CLUSTERS", "TOOK", "BY", "REASON", "AGE",
    ];
    let rows = runs.items.iter().map(|run| {
        let (mood, word) = run_word(run.state);
        let end = run
            .finished_at
            .as_deref()
            .and_then(|at| at.parse().ok())
            .unwrap_or(now);
        vec![
            run.revision.to_string(),
            match run.release.get(..DIGEST_SHOWN) {
                Some(digest) => digest.to_owned(),
                None => "-".to_owned(),
            },
            release_name(&run.version, run.revision),
            match run.restores {
                Some(restores) => format!("{} (restores {restores})", style.paint(mood, word)),
                None => style.paint(mood, word),
            },
            format!("{}/{}", run.done, run.total),
            between(Some(&run.created_at), Some(end)),
            run.by.clone(),
            if run.reason.is_empty() {
                "-".to_owned()
            } else {
                run.reason.clone()
            },
            ago(Some(&run.created_at), now),
        ]
    });
    let runs_drawn = grid(&titles, rows);
    let said: Vec<Vec<String>> = runs
        .items
        .iter()
        .flat_map(|run| run.actions.iter().rev())
        .map(|action| action_row(action, now))
        .collect();
    if said.is_empty() {
        return runs_drawn;
    }
    let titles = ["REV", "SAID", "WHERE", "BY", "ANSWER", "REASON", "AGE"];
    format!("{runs_drawn}\n{}", grid(&titles, said))
}

fn action_row(action: &ActionView, now: Timestamp) -> Vec<String> {
    let said = &action.request;
    let set = said.weight.map(|weight| Manual {
        weight,
        replicas: said.replicas,
    });
    let what = match set {
        Some(set) if said.verb == ActionVerb::SetWeight.word() => format!("set-weight {set}"),
        _ if said.to_revision.is_some() => {
            format!("{} to {}", said.verb, said.to_revision.unwrap_or_default())
        }
        _ => said.verb.clone(),
    };
    let place = match (&said.cluster, &said.wave) {
        (Some(cluster), _) => format!("cluster {cluster}"),
        (None, Some(wave)) => format!("wave {wave}"),
        (None, None) => "-".to_owned(),
    };
    let answer = action
        .result
        .as_ref()
        .and_then(|result| result["outcome"].as_str())
        .unwrap_or("-");
    vec![
        action.revision.to_string(),
        what,
        place,
        action.by.clone(),
        answer.to_owned(),
        if said.reason.is_empty() {
            "-".to_owned()
        } else {
            said.reason.clone()
        },
        ago(Some(&action.created_at), now),
    ]
}

/// Draws a grid without lines. Cells may hold colours.
#[must_use]
pub fn grid(titles: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut lines: Vec<Vec<String>> =
        vec![titles.iter().map(|title| (*title).to_owned()).collect()];
    lines.extend(rows);
    let mut widths = vec![0; titles.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(shown_width(cell));
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            row.push_str(cell);
            row.extend(std::iter::repeat_n(' ', width - shown_width(cell) + 3));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn shown_width(cell: &str) -> usize {
    anstream::adapter::strip_str(cell)
        .to_string()
        .chars()
        .count()
}

#[cfg(test)]
mod tests;
