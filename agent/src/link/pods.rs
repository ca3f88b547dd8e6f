//! What the pods of the cluster have asked for, all together.

use std::time::Duration;

use bellwether_agent_core::node_properties::steady;
use bellwether_api::{
    cluster::{NodeProperties, PodRequests},
    pod_requests::pod_requests,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
};
use tokio::time::Instant;

use super::error::chain;

/// How often pods are counted: it is work for the API server.
const EVERY: Duration = Duration::from_secs(300);
/// How often many pods are.
const EVERY_OF_MANY: Duration = Duration::from_secs(1_800);
/// Pods of which a cluster has many.
const MANY: usize = 5_000;
/// Pods that one request lists.
const PAGE: u32 = 500;
/// Those that have ended hold nothing any more.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// When pods are counted again.
#[derive(Debug, Default)]
pub(super) struct PodCount {
    /// When they were counted last, and how many there were; absent = never.
    last: Option<(Instant, usize)>,
}

impl PodCount {
    /// Returns what pods have asked for, beside what the nodes give; absent = the agent may not list
    /// them. They are counted when it is time to; until then, and when they are not readable, it is as
    /// `known`, and a small change is none.
    pub(super) async fn requested(
        &mut self,
        client: &kube::Client,
        nodes: &NodeProperties,
        known: Option<PodRequests>,
    ) -> Option<PodRequests> {
        let is_due = self.last.is_none_or(|(at, pods)| {
            at.elapsed() >= if pods > MANY { EVERY_OF_MANY } else { EVERY }
        });
        if !is_due {
            return known;
        }
        match sum(client).await {
            Ok((pods, requested)) => {
                self.last = Some((Instant::now(), pods));
                Some(steady(known, requested, nodes))
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                tracing::debug!("the cluster's pods are not the agent's to list");
                self.last = Some((Instant::now(), 0));
                None
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the cluster's pods were not readable");
                known
            }
        }
    }
}

/// Adds up, page by page.
async fn sum(client: &kube::Client) -> Result<(usize, PodRequests), kube::Error> {
    // Read as they are: of most of a pod nothing is made.
    let pods: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<Pod>(&()));
    let (mut count, mut sum) = (0, PodRequests::default());
    let mut page = ListParams::default().fields(NOT_ENDED).limit(PAGE);
    loop {
        let list = pods.list(&page).await?;
        for pod in &list.items {
            let one = pod.data.get("spec").map(pod_requests).unwrap_or_default();
            sum.cpu_milli = sum.cpu_milli.saturating_add(one.cpu_milli);
            sum.memory_bytes = sum.memory_bytes.saturating_add(one.memory_bytes);
        }
        count += list.items.len();
        match list.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => return Ok((count, sum)),
        }
    }
}
