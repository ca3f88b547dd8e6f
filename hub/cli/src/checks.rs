//! `checks`: what the checks of a rollout measured.

use bellwether_api::call::{Measurement, MeasurementList};

use crate::{
    args::{ChecksArgs, Format, Global},
    client::Client,
    failure::Code,
    kind::{run_path, segment},
    output::{document, note, print},
    render::{list::grid, span::clock},
};

/// Where the old version's figures stand: beside the new one's.
const STABLE_COLUMN: usize = 7;

/// Prints what checks measured, oldest first.
///
/// # Errors
/// What the hub refused.
pub async fn checks(client: &Client, global: &Global, args: &ChecksArgs) -> anyhow::Result<Code> {
    let mut path = format!(
        "{}?limit={}",
        run_path(global, &args.name, "measurements"),
        args.limit
    );
    for (key, value) in [("cluster", &args.cluster), ("metric", &args.metric)] {
        if let Some(value) = value {
            path.push_str(&format!("&{key}={}", segment(value)));
        }
    }
    let found: MeasurementList = client.get(&path).await?;
    if let Some(format @ (Format::Json | Format::Yaml)) = args.output {
        document(&found, format)?;
    } else if found.items.is_empty() {
        note("nothing was measured since the hub started");
    } else {
        print(&shown(&found.items))?;
    }
    Ok(Code::Done)
}

fn shown(items: &[Measurement]) -> String {
    let mut titles = vec![
        "TIME", "CLUSTER", "ROLLOUT", "STEP", "WEIGHT", "METRIC", "VALUE", "LIMIT", "VERDICT",
    ];
    // Most checks measure the new version alone.
    let both = items.iter().any(|one| one.stable.is_some());
    if both {
        titles.insert(STABLE_COLUMN, "STABLE");
    }
    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    let number =
        |value: Option<f64>| or_dash(value.map_or_else(String::new, |value| value.to_string()));
    let rows = items.iter().map(|one| {
        let mut row = vec![
            clock(&one.at),
            one.cluster.clone(),
            one.rollout.clone(),
            one.step.to_string(),
            format!("{} %", one.weight),
            one.metric.clone(),
            number(one.value),
            or_dash(one.limit.clone()),
            one.verdict.clone(),
        ];
        if both {
            row.insert(STABLE_COLUMN, number(one.stable));
        }
        row
    });
    grid(&titles, rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_measured_is_no_zero() {
        let found: MeasurementList = serde_json::from_value(json!({"items": [
            {"at": "2026-05-04T09:00:01Z", "cluster": "eu-1", "rollout": "web",
             "run": "00000000-0000-0000-0000-000000000001", "attempt": 1, "step": 1, "weight": 40,
             "metric": "request-success-rate", "value": 99.5, "limit": "≥ 99", "verdict": "Pass"},
            {"at": "2026-05-04T09:00:02Z", "cluster": "eu-2", "rollout": "web",
             "run": "00000000-0000-0000-0000-000000000001", "attempt": 1, "step": 0, "weight": 20,
             "metric": "request-duration", "limit": "", "verdict": "NoData"},
        ]}))
        .expect("measurements");
        let text = shown(&found.items);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().skip(1).collect())
            .collect();
        assert_eq!(
            lines,
            [
                vec![
                    "eu-1",
                    "web",
                    "1",
                    "40",
                    "%",
                    "request-success-rate",
                    "99.5",
                    "≥",
                    "99",
                    "Pass"
                ],
                vec![
                    "eu-2",
                    "web",
                    "0",
                    "20",
                    "%",
                    "request-duration",
                    "-",
                    "-",
                    "NoData"
                ],
            ]
        );
    }

    #[test]
    fn both_versions_stand_side_by_side_where_both_were_measured() {
        let one = |metric: &str, stable: Option<f64>| {
            json!({"at": "2026-05-04T09:00:01Z", "cluster": "eu-1", "rollout": "web",
                "run": "00000000-0000-0000-0000-000000000001", "attempt": 1, "step": 0, "weight": 0,
                "metric": metric, "value": 99.5, "stable": stable, "limit": "≥99", "verdict": "Pass"})
        };
        let items = json!({"items": [one("a", Some(98.25)), one("b", None)]});
        let found: MeasurementList = serde_json::from_value(items).expect("measurements");
        let text = shown(&found.items);
        let columns = |line: usize| -> Vec<String> {
            let line = text.lines().nth(line).unwrap_or_default();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(columns(0)[6..], ["VALUE", "STABLE", "LIMIT", "VERDICT"]);
        assert_eq!(columns(1)[6..], ["a", "99.5", "98.25", "≥99", "Pass"]);
        assert_eq!(columns(2)[6..], ["b", "99.5", "-", "≥99", "Pass"]);
    }
}
