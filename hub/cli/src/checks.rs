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
    let titles = [
        "TIME", "CLUSTER", "ROLLOUT", "STEP", "WEIGHT", "METRIC", "VALUE", "LIMIT", "VERDICT",
    ];
    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    let rows = items.iter().map(|one| {
        vec![
            clock(&one.at),
            one.cluster.clone(),
            one.rollout.clone(),
            one.step.to_string(),
            format!("{} %", one.weight),
            one.metric.clone(),
            or_dash(
                one.value
                    .map_or_else(String::new, |value| value.to_string()),
            ),
            or_dash(one.limit.clone()),
            one.verdict.clone(),
        ]
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
}
