//! What pods of the demo application have answered.

use anyhow::{Context as _, Result};

use crate::{cluster::Member, lab::Lab};

impl Lab {
    /// Returns how many requests the pods of a namespace whose labels match `selector` have answered, as
    /// they count them themselves.
    ///
    /// # Errors
    /// When one of them cannot be asked.
    pub fn answered(
        &self,
        cluster: &str,
        member: &Member,
        (namespace, selector): (&str, &str),
    ) -> Result<u64> {
        let mut sum = 0;
        for pod in member.pods(namespace, selector)? {
            let name = pod.metadata.name.context("a pod has a name")?;
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:8080/proxy/metrics");
            let metrics = self.kubectl(cluster, &["get", "--raw", &path])?;
            let counts = metrics
                .lines()
                .filter(|line| line.starts_with("http_requests_total"))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            sum += counts.sum::<u64>();
        }
        Ok(sum)
    }
}
