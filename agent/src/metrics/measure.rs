//! One check of every metric of a plan.

use bellwether_agent_core::machine::{SampleRequest, Samples};
use bellwether_api::{bundle::Bundle, rollout::RolloutSpec};
use jiff::Timestamp;

use super::{probe::Probe, prometheus::Prometheus};

/// What measures; clones share connections.
#[derive(Clone, Debug)]
pub struct Meter {
    prometheus: Prometheus,
    client: reqwest::Client,
}

pub struct Measurement;

impl Measurement {
    #[expect(clippy::too_many_arguments, reason = "stub")]
    pub fn new(
        _bundle: &Bundle,
        _plan: &RolloutSpec,
        _namespace: &str,
        _service: &str,
        _port: Option<u16>,
        _request: SampleRequest,
        _now: Timestamp,
        _probe: Option<&Probe>,
    ) -> Self {
        Self
    }
}

impl Meter {
    pub fn new() -> Result<Self, reqwest::Error> {
        let prometheus = Prometheus::new()?;
        let client = reqwest::Client::builder().build()?;
        Ok(Self { prometheus, client })
    }
    pub fn probes(&self, _plan: &RolloutSpec, _bundle: &Bundle) -> bool {
        false
    }
    pub fn probe(&self) -> Probe {
        Probe::start(self.client.clone())
    }
    pub async fn measure(&self, _measurement: Measurement) -> Samples {
        let _ = self.prometheus.instant("", "").await;
        todo!()
    }
}
