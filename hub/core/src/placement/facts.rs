//! What keeps applications away from a cluster, and what they may ask of it.

use std::sync::Arc;

use bellwether_api::{
    cluster::{Cordon, NodeProperties},
    placement::Taint,
};

/// What keeps applications away from a cluster, and what they may ask of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// Keep away applications that do not tolerate them.
    pub taints: Vec<Taint>,
    /// Whether somebody closed it by hand; absent = nobody did.
    pub cordon: Option<CordonMode>,
    /// What its agent reports.
    pub properties: Properties,
}

/// How a cluster is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CordonMode {
    /// Nothing is placed there anew.
    Cordoned,
    /// Nor does anything stay that another cluster can take.
    Draining,
}

impl From<&Cordon> for CordonMode {
    fn from(cordon: &Cordon) -> Self {
        if cordon.drain {
            Self::Draining
        } else {
            Self::Cordoned
        }
    }
}

/// What an agent reports of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Such as `v1.33.2`; absent = it is not known.
    pub kubernetes_version: Option<String>,
    /// `apps/v1` and `apps/v1/Deployment`, sorted; empty = it is not known.
    pub api_kinds: Arc<[String]>,
    /// Absent = they are not known.
    pub nodes: Option<NodeProperties>,
}
