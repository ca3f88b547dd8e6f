//! `compliance`: what policy engines found.

use bellwether_api::{
    call::{ClusterCompliance, ComplianceList},
    compliance::ResultCounts,
};
use jiff::Timestamp;

use crate::{
    args::{ComplianceArgs, Format},
    client::Client,
    failure::Code,
    kind::segment,
    output::{document, note, print},
    render::{list::grid, span::ago},
};

/// Prints what policy engines found, by cluster and by policy.
///
/// # Errors
/// What the hub refused.
pub async fn compliance(client: &Client, args: &ComplianceArgs) -> anyhow::Result<Code> {
    let mut path = "/api/v1/compliance?".to_owned();
    let parts = [("fleet", &args.fleet), ("cluster", &args.cluster)];
    let parts: Vec<String> = parts
        .iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", segment(value.as_ref()?))))
        .collect();
    path.push_str(&parts.join("&"));
    let found: ComplianceList = client.get(&path).await?;
    if let Some(format @ (Format::Json | Format::Yaml)) = args.output {
        document(&found, format)?;
        return Ok(Code::Done);
    }
    if found.items.is_empty() {
        note("no clusters here");
        return Ok(Code::Done);
    }
    print(&shown(&found, Timestamp::now()))?;
    for one in found.items.iter().filter(|one| !one.problem.is_empty()) {
        note(&format!("{}: {}", one.cluster, one.problem));
    }
    Ok(Code::Done)
}

fn numbers(counts: ResultCounts) -> impl Iterator<Item = String> {
    let ResultCounts {
        pass,
        fail,
        warn,
        error,
        skip,
    } = counts;
    [pass, fail, warn, error, skip]
        .into_iter()
        .map(|count| count.to_string())
}

fn shown(found: &ComplianceList, now: Timestamp) -> String {
    let clusters = found.items.iter().map(|one| cluster(one, now));
    let mut text = grid(
        &[
            "CLUSTER", "STATUS", "PASS", "FAIL", "WARN", "ERROR", "SKIP", "SINCE",
        ],
        clusters,
    );
    if !found.policies.is_empty() {
        text.push('\n');
        let rows = found.policies.iter().map(|one| {
            let mut row = vec![one.policy.clone(), format!("{:?}", one.source)];
            row.extend(numbers(one.counts));
            row
        });
        let titles = ["POLICY", "SOURCE", "PASS", "FAIL", "WARN", "ERROR", "SKIP"];
        text.push_str(&grid(&titles, rows));
    }
    text
}

fn cluster(one: &ClusterCompliance, now: Timestamp) -> Vec<String> {
    let mut row = vec![one.cluster.clone(), format!("{:?}", one.condition)];
    match &one.since {
        Some(since) => {
            row.extend(numbers(one.total));
            row.push(ago(Some(since), now));
        }
        // No engine, or an agent that does not say: that is not compliance.
        None => row.extend(std::iter::repeat_n("-".to_owned(), 6)),
    }
    row
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cluster_that_says_nothing_is_not_shown_as_compliant() {
        let found: ComplianceList = serde_json::from_value(json!({
            "items": [
                {"cluster": "eu-1", "condition": "Ready", "since": "2026-05-04T09:00:00Z",
                 "total": {"pass": 12, "fail": 3}, "policies": []},
                {"cluster": "eu-2", "condition": "Unknown", "total": {}, "policies": []},
            ],
            "policies": [
                {"policy": "require-labels", "source": "PolicyReport", "pass": 12, "fail": 3},
            ],
        }))
        .expect("a list");
        let now = "2026-05-04T09:30:00Z".parse().expect("a time");
        let text = shown(&found, now);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[1], ["eu-1", "Ready", "12", "3", "0", "0", "0", "30m"]);
        assert_eq!(lines[2], ["eu-2", "Unknown", "-", "-", "-", "-", "-", "-"]);
        assert_eq!(
            lines[5],
            ["require-labels", "PolicyReport", "12", "3", "0", "0", "0"]
        );
    }
}
