//! What the nodes of a cluster are, all together.

use std::collections::BTreeSet;

use bellwether_api::{
    cluster::{NodeProperties, PodRequests},
    quantity::thousandths,
};

/// Regions or zones that are told at most.
const MAX_GROUPS: usize = 64;

/// What matters of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSeen {
    /// Whether it is ready and takes pods.
    pub ready: bool,
    /// CPU that it gives to pods, as Kubernetes writes it; empty = it does not say.
    pub allocatable_cpu: String,
    /// Memory that it gives to pods, as Kubernetes writes it; empty = it does not say.
    pub allocatable_memory: String,
    /// Its region; absent = it names none.
    pub region: Option<String>,
    /// Its zone; absent = it names none.
    pub zone: Option<String>,
}

/// Adds nodes up, page by page.
#[derive(Clone, Debug, Default)]
pub struct NodeSum {
    ready: u32,
    cpu_milli: u128,
    memory_milli: u128,
    regions: BTreeSet<String>,
    zones: BTreeSet<String>,
}

impl NodeSum {
    /// Adds one node. One that is not ready has its place, and gives nothing.
    pub fn add(&mut self, node: NodeSeen) {
        self.regions.extend(node.region);
        self.zones.extend(node.zone);
        if !node.ready {
            return;
        }
        let amount = |text: &str| {
            let amount = thousandths(text).unwrap_or_default();
            u128::try_from(amount).unwrap_or_default()
        };
        self.ready += 1;
        self.cpu_milli += amount(&node.allocatable_cpu);
        self.memory_milli += amount(&node.allocatable_memory);
    }

    /// Returns what all of them are.
    #[must_use]
    pub fn total(self) -> NodeProperties {
        let clamped = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
        NodeProperties {
            ready: self.ready,
            allocatable_cpu_milli: clamped(self.cpu_milli),
            allocatable_memory_bytes: clamped(self.memory_milli / 1_000),
            regions: self.regions.into_iter().take(MAX_GROUPS).collect(),
            zones: self.zones.into_iter().take(MAX_GROUPS).collect(),
            requested: None,
        }
    }
}

/// Returns what is to be told of what pods have asked for: what was `told`, unless it differs by a
/// hundredth of what the nodes give or more. Pods come and go all the time.
#[must_use]
pub fn steady(
    told: Option<PodRequests>,
    found: PodRequests,
    nodes: &NodeProperties,
) -> PodRequests {
    let near = |told: u64, found: u64, all: u64| told.abs_diff(found) <= all / 100;
    let cpu = nodes.allocatable_cpu_milli;
    let memory = nodes.allocatable_memory_bytes;
    let same = |told: &PodRequests| {
        near(told.cpu_milli, found.cpu_milli, cpu)
            && near(told.memory_bytes, found.memory_bytes, memory)
    };
    told.filter(same).unwrap_or(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: bool, cpu: &str, memory: &str, zone: Option<&str>) -> NodeSeen {
        NodeSeen {
            ready,
            allocatable_cpu: cpu.to_owned(),
            allocatable_memory: memory.to_owned(),
            region: Some("eu".to_owned()),
            zone: zone.map(str::to_owned),
        }
    }

    #[test]
    fn only_ready_nodes_give_and_every_node_has_a_place() {
        let mut sum = NodeSum::default();
        sum.add(node(true, "3920m", "16393244Ki", Some("eu-b")));
        sum.add(node(true, "4", "1Gi", Some("eu-a")));
        sum.add(node(false, "64", "1Ti", Some("eu-c")));
        sum.add(node(true, "", "lots", None));
        assert_eq!(
            sum.total(),
            NodeProperties {
                ready: 3,
                allocatable_cpu_milli: 7_920,
                allocatable_memory_bytes: (16_393_244 << 10) + (1 << 30),
                regions: vec!["eu".to_owned()],
                zones: ["eu-a", "eu-b", "eu-c"].map(str::to_owned).into(),
                requested: None,
            }
        );
    }

    #[test]
    fn a_pod_more_or_less_is_not_told() {
        let nodes = NodeProperties {
            allocatable_cpu_milli: 100_000,
            allocatable_memory_bytes: 100 << 30,
            ..NodeProperties::default()
        };
        let of = |cpu_milli, gib: u64| PodRequests {
            cpu_milli,
            memory_bytes: gib << 30,
        };
        let told = of(40_000, 40);
        assert_eq!(steady(Some(told), of(41_000, 39), &nodes), told);
        assert_eq!(steady(Some(told), of(41_001, 40), &nodes), of(41_001, 40));
        assert_eq!(steady(Some(told), of(40_000, 42), &nodes), of(40_000, 42));
        assert_eq!(steady(None, told, &nodes), told);
    }
}
