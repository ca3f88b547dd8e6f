//! Applications whose workloads are all governed by rollouts.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use crate::member::{Member, NAMESPACE};

/// Workloads of one application.
pub const EACH: usize = 10;
const LABEL: &str = "bench=rollouts";

/// What is measured.
pub struct Rollouts {
    /// How many there are.
    pub count: usize,
    /// Time between two checks of one.
    pub interval: Duration,
    /// Base URL of the source of their metric.
    pub source: String,
}

impl Rollouts {
    /// The applications with `version` of every workload, a document each.
    pub fn applications(&self, version: &str) -> Vec<String> {
        (0..self.count)
            .step_by(EACH)
            .map(|first| self.application(first, version))
            .collect()
    }

    fn application(&self, first: usize, version: &str) -> String {
        let components: Vec<Value> = (first..self.count.min(first + EACH))
            .map(|index| self.component(index, version))
            .collect();
        json!({
            "apiVersion": "bellwether.dev/v1alpha1",
            "kind": "Application",
            "metadata": {"name": format!("rollouts-{first:05}"), "namespace": "default"},
            "spec": {
                "destination": {"clusters": ["k1"]},
                "targetNamespace": NAMESPACE,
                "components": components,
            },
        })
        .to_string()
    }

    fn component(&self, index: usize, version: &str) -> Value {
        let name = format!("rolled-{index:05}");
        let labels = json!({"app": name, "bench": "rollouts"});
        let workload = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{
                        "name": "main",
                        "image": format!("bellwether.local/demo:{version}"),
                        "ports": [{"name": "http", "containerPort": 8080}],
                    }]},
                },
            },
        });
        json!({
            "name": name,
            "manifests": [workload],
            "rollout": {
                "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                // A human opens the step, and nobody does: it is checked on and on.
                "strategy": {"canary": {"steps": [{"weight": 50, "advance": "Manual"}]}},
                "analysis": {
                    "interval": format!("{}s", self.interval.as_secs()),
                    "metrics": [{
                        "name": "errors",
                        "query": format!("/errors/{name}#/percent"),
                        "range": {"max": "5"},
                        "source": {"type": "Http", "address": self.source},
                    }],
                },
            },
        })
    }

    /// Waits until every workload has its pods.
    ///
    /// # Errors
    /// When they do not within `limit`.
    pub async fn wait_settled(&self, member: &Member, limit: Duration) -> Result<()> {
        let api: Api<Deployment> = Api::namespaced(member.client.clone(), NAMESPACE);
        let deadline = Instant::now() + limit;
        loop {
            let found = api.list(&ListParams::default().labels(LABEL)).await?.items;
            let available = found
                .iter()
                .filter_map(|one| one.status.as_ref()?.available_replicas)
                .filter(|available| *available == 2)
                .count();
            if available >= self.count {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{available} of {} workloads are available", self.count);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
