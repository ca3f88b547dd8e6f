//! What policy engines report by the definitions of theirs, counted.

use anyhow::{Context as _, Result, ensure};
use bellwether_integration_tests::{suite::Case, wait::until};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

/// It starts an agent again, which counts when it starts.
pub const ALONE: &[Case<Members>] = &[(
    "control_plane_policy_reports_as_kyverno_defines_them_are_counted_by_policy",
    "policies",
    policies,
)];

const REPORTS: &str = "wgpolicyk8s.io/v1alpha2";

/// A result as Kyverno's background scan writes it.
fn result(policy: &str, rule: &str, result: &str) -> Value {
    json!({
        "category": "Best Practices", "message": "said of one object", "policy": policy,
        "result": result, "rule": rule, "scored": true, "severity": "medium", "source": "kyverno",
        "timestamp": {"nanos": 0, "seconds": 1_700_000_000},
    })
}

fn report(members: &Members, name: &str, results: &[Value]) -> Value {
    let count = |word: &str| results.iter().filter(|one| one["result"] == word).count();
    json!({
        "apiVersion": REPORTS, "kind": "PolicyReport",
        "metadata": {"name": name, "namespace": members.name,
            "labels": {"app.kubernetes.io/managed-by": "kyverno"}},
        "scope": {"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": members.name},
        "results": results,
        "summary": {"pass": count("pass"), "fail": count("fail"), "warn": count("warn"),
            "error": count("error"), "skip": count("skip")},
    })
}

fn policies(members: &Members) -> Result<()> {
    let mut agents = members.agents.lock().expect("no panic while held");
    let agent = agents.get_mut(5).context("agents")?;
    let cluster = agent.cluster.clone();
    let member = members.cluster(&cluster)?;
    let labels = "require-labels";
    let first = [
        result(labels, "check-team", "pass"),
        result(labels, "check-owner", "fail"),
        result("no-latest", "check-tag", "warn"),
    ];
    let second = [
        result(labels, "check-team", "pass"),
        result("no-latest", "check-tag", "error"),
        result("no-latest", "check-digest", "skip"),
    ];
    member.create(&report(members, "one", &first))?;
    member.create(&report(members, "two", &second))?;
    let unknown = report(members, "three", &[result(labels, "check-team", "maybe")]);
    ensure!(
        member.create(&unknown).is_err(),
        "the definition takes what it defines alone"
    );
    member.create_cluster_scoped(&json!({
        "apiVersion": REPORTS, "kind": "ClusterPolicyReport", "metadata": {"name": members.name},
        "scope": {"apiVersion": "v1", "kind": "Namespace", "name": members.name},
        "results": [result(labels, "check-team", "fail")], "summary": {"fail": 1},
    }))?;
    agent.stop()?;
    agent.start()?;

    let counted = json!([
        {"policy": "no-latest", "source": "PolicyReport",
            "pass": 0, "fail": 0, "warn": 1, "error": 1, "skip": 1},
        {"policy": labels, "source": "PolicyReport",
            "pass": 2, "fail": 2, "warn": 0, "error": 0, "skip": 0},
    ]);
    let mut last = Value::Null;
    until(LIMIT, "what was reported to be counted", || {
        last = members.cli.json(&["compliance", "--fleet", "breadth"])?;
        let told = of_cluster(&last, &cluster);
        Ok((told["policies"] == counted).then_some(()))
    })
    .with_context(|| last.to_string())?;
    let other = of_cluster(&last, members.names()[0]);
    ensure!(
        other["policies"] == json!([]) && other["problem"] == "" && !other["since"].is_null(),
        "it was looked at, and nothing was reported: {other}"
    );
    let shown = members.cli.run(&["compliance", "--fleet", "breadth"])?;
    let is_shown = |words: &[&str]| {
        let mut lines = shown.lines();
        lines.any(|line| line.split_whitespace().collect::<Vec<_>>() == words)
    };
    ensure!(
        is_shown(&[labels, "PolicyReport", "2", "2", "0", "0", "0"]),
        "{shown}"
    );
    members.wait_ready(&cluster)
}

/// What is told of one cluster.
fn of_cluster(told: &Value, cluster: &str) -> Value {
    let mut clusters = told["items"].as_array().into_iter().flatten();
    let found = clusters.find(|one| one["cluster"] == cluster);
    found.cloned().unwrap_or_default()
}
