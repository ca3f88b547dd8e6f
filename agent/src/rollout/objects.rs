//! The objects of a run: the two releases, what is laid over them, and the canary.

use std::sync::Arc;

use bellwether_api::bundle::{Bundle, BundleRollout};

use super::{run::{Run, RunError}};
use crate::sync::{cluster::Cluster, keep::Wanted};

/// The release that comes in and the one that ran before.
pub struct Versions {
    /// The one that comes in.
    pub new: Arc<Bundle>,
    /// The one that ran before.
    pub old: Arc<Bundle>,
}

impl Versions {
    /// Tells whether the release changes a governed workload's template.
    #[must_use]
    pub fn changes(&self, rollout: &BundleRollout) -> bool {
        template_differs(&self.new, &self.old, rollout)
    }

    /// Digest of the new template and its tracked configuration.
    #[must_use]
    pub fn digest_of(&self, rollout: &BundleRollout) -> Option<String> {
        template_digest(&self.new, rollout)
    }
}

pub fn template_differs(_new: &Bundle, _old: &Bundle, _rollout: &BundleRollout) -> bool {
    true
}

pub fn template_digest(_bundle: &Bundle, _rollout: &BundleRollout) -> Option<String> {
    None
}

pub fn overlaid(_run: &Run, _versions: &Versions, _wanted: &mut Vec<Wanted>) {}

impl Run {
    pub async fn hold_canary(&self, _cluster: &Cluster, _versions: &Versions) -> Result<(), RunError> {
        Ok(())
    }
}
