//! What a run has seen last, for decisions that only count.

use std::collections::BTreeMap;

use bellwether_agent_core::machine::{HookAnswer, Observations, Samples};
use serde_json::Value;

use super::Run;
use crate::rollout::{scene::Ports, views};

/// What was seen at the last look at what is live. It is kept while a weight is judged, and dropped as
/// soon as a watch tells of anything that the run looks at: a watch that died shows within a minute,
/// and everything is looked at again every five. A check of a metric thus costs no reading, while
/// whatever moves the run is decided on what was read for it.
pub struct LastLook {
    pub(super) observations: Observations,
    pub(super) ports: Ports,
    /// Where the canary's Service is asked; absent = it cannot be.
    pub(super) canary_address: Option<String>,
}

/// What a decision looks at beside the cluster.
pub(super) struct Changing {
    pub(super) config_held_by: Vec<String>,
    pub(super) deleted: bool,
    pub(super) samples: Option<Samples>,
    pub(super) hooks: Vec<HookAnswer>,
}

impl LastLook {
    /// What was seen, with what has changed beside it.
    pub(super) fn with(&self, changing: Changing) -> Observations {
        Observations {
            config_held_by: changing.config_held_by,
            deleted: changing.deleted,
            samples: changing.samples,
            hooks: changing.hooks,
            ..self.observations.clone()
        }
    }
}

impl Run {
    /// By name, the versions of the Services that concern the run, of all those of its namespace.
    pub(super) fn services_of(&self, services: &[Value]) -> BTreeMap<String, String> {
        let concerns = |service: &&Value| {
            !self.scene.is_own(service)
                && (self.scene.concerns_service(service)
                    || self.state.pinned.contains(&views::name(service)))
        };
        let versions = services.iter().filter(concerns).map(|service| {
            let version = views::text(service, "/metadata/resourceVersion");
            (views::name(service), version)
        });
        versions.collect()
    }

    /// Tells whether Services that concern the run are others than at its last look.
    pub(super) fn services_moved(&self, services: &[Value]) -> bool {
        if self.scene.adapter.is_some() && self.scene.service.is_none() {
            return false;
        }
        let last = self.services.as_ref();
        last.is_none_or(|last| *last != self.services_of(services))
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.track.metadata.deletion_timestamp.is_some()
    }
}
