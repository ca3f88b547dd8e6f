//! Adds up what policy engines found.

use std::{cmp::Reverse, collections::BTreeMap};

use bellwether_api::compliance::{
    Compliance, MAX_POLICIES, PolicyCounts, PolicySource, ResultCounts,
};
use serde_json::Value;

/// Bytes of a policy's name that are kept.
const MAX_NAME_BYTES: usize = 200;
/// Policies that are told apart while they are added up.
const MAX_KNOWN: usize = 5_000;

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub struct ComplianceSum {
    found: BTreeMap<(String, PolicySource), ResultCounts>,
    /// Results of policies beyond those that are told apart.
    unknown: bool,
}

impl ComplianceSum {
    /// Adds the results of a `PolicyReport` or `ClusterPolicyReport`. One that is not understood counts
    /// nothing.
    pub fn add_report(&mut self, report: &Value) {
        let results = report["results"].as_array().into_iter().flatten();
        for result in results {
            let (Some(policy), Some(word)) = (result["policy"].as_str(), result["result"].as_str())
            else {
                continue;
            };
            let mut one = ResultCounts::default();
            let count = match word {
                "pass" => &mut one.pass,
                "fail" => &mut one.fail,
                "warn" => &mut one.warn,
                "error" => &mut one.error,
                "skip" => &mut one.skip,
                _ => continue,
            };
            *count = 1;
            self.add(policy, PolicySource::PolicyReport, one);
        }
    }

    /// Adds a constraint of Gatekeeper; one that was never audited counts nothing.
    pub fn add_constraint(&mut self, constraint: &Value) {
        let name = constraint["metadata"]["name"].as_str().unwrap_or_default();
        let kind = constraint["kind"].as_str().unwrap_or_default();
        let Some(violations) = constraint["status"]["totalViolations"].as_u64() else {
            return;
        };
        let mut counts = ResultCounts::default();
        match constraint["spec"]["enforcementAction"].as_str() {
            Some("warn" | "dryrun") => counts.warn = violations,
            _ => counts.fail = violations,
        }
        self.add(&format!("{kind}/{name}"), PolicySource::Gatekeeper, counts);
    }

    fn add(&mut self, policy: &str, source: PolicySource, counts: ResultCounts) {
        let end = policy.floor_char_boundary(MAX_NAME_BYTES);
        let key = (policy[..end].to_owned(), source);
        if self.found.len() >= MAX_KNOWN && !self.found.contains_key(&key) {
            self.unknown = true;
            return;
        }
        let sum = self.found.entry(key).or_default();
        *sum = sum.plus(counts);
    }

    /// Returns what is told: those that fail most where there are too many. `problem` says why not
    /// everything could be counted; empty = it was.
    #[must_use]
    pub fn told(self, problem: &str) -> Compliance {
        let mut policies: Vec<PolicyCounts> = self
            .found
            .into_iter()
            .map(|((policy, source), counts)| PolicyCounts {
                policy,
                source,
                counts,
            })
            .collect();
        let more = policies.len().saturating_sub(MAX_POLICIES);
        if more > 0 {
            let bad = |one: &PolicyCounts| (one.counts.fail, one.counts.error, one.counts.warn);
            policies.sort_by_key(|one| Reverse(bad(one)));
            policies.truncate(MAX_POLICIES);
            policies.sort_by(|one, other| {
                (&one.policy, one.source).cmp(&(&other.policy, other.source))
            });
        }
        let problem = match (problem, self.unknown) {
            ("", true) => "there are more policies than are counted",
            (problem, _) => problem,
        };
        Compliance {
            policies,
            more: u32::try_from(more).unwrap_or(u32::MAX),
            problem: problem.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn counts(told: &Compliance, policy: &str) -> ResultCounts {
        let found = told.policies.iter().find(|one| one.policy == policy);
        found.expect("the policy").counts
    }

    #[test]
    fn results_are_added_up_by_policy_over_all_reports() {
        let mut sum = ComplianceSum::default();
        sum.add_report(&json!({"results": [
            {"policy": "require-labels", "rule": "a", "result": "pass"},
            {"policy": "require-labels", "rule": "b", "result": "fail"},
            {"policy": "no-latest", "result": "warn"},
            {"policy": "no-latest", "result": "sideways"},
            {"result": "fail"},
        ]}));
        sum.add_report(&json!({"results": [
            {"policy": "require-labels", "result": "fail"},
            {"policy": "require-labels", "result": "skip"},
            {"policy": "no-latest", "result": "error"},
        ]}));
        sum.add_report(&json!({"results": "none"}));
        let told = sum.told("");
        assert_eq!(told.policies.len(), 2);
        let labels = counts(&told, "require-labels");
        assert_eq!((labels.pass, labels.fail, labels.skip), (1, 2, 1));
        let latest = counts(&told, "no-latest");
        assert_eq!((latest.warn, latest.error, latest.pass), (1, 1, 0));
    }

    #[test]
    fn violations_count_as_what_the_constraint_does_about_them() {
        let constraint = |name: &str, action: Option<&str>, total: Value| {
            json!({"kind": "K8sRequiredLabels", "metadata": {"name": name},
                "spec": {"enforcementAction": action}, "status": {"totalViolations": total}})
        };
        let mut sum = ComplianceSum::default();
        sum.add_constraint(&constraint("owner", None, json!(7)));
        sum.add_constraint(&constraint("team", Some("dryrun"), json!(3)));
        sum.add_constraint(&constraint("new", None, Value::Null));
        let told = sum.told("");
        assert_eq!(counts(&told, "K8sRequiredLabels/owner").fail, 7);
        let team = counts(&told, "K8sRequiredLabels/team");
        assert_eq!((team.warn, team.fail), (3, 0));
        assert_eq!(told.policies.len(), 2, "one was never audited");
    }

    #[test]
    fn of_too_many_policies_those_that_fail_most_are_told() {
        let mut sum = ComplianceSum::default();
        for number in 0..MAX_POLICIES + 5 {
            let result = if number >= 5 { "fail" } else { "pass" };
            let policy = format!("policy-{number:04}");
            sum.add_report(&json!({"results": [{"policy": policy, "result": result}]}));
        }
        let told = sum.told("");
        assert_eq!((told.policies.len(), told.more), (MAX_POLICIES, 5));
        assert!(told.policies.iter().all(|one| one.counts.fail == 1));
        assert!(told.policies.is_sorted_by_key(|one| one.policy.clone()));
    }
}
