//! What the hooks of a bundle's charts need before anything of it begins.

use bellwether_agent_core::definitions::{brought_kind, brought_kinds};
use bellwether_api::{
    bundle::Bundle,
    reference::{NamespacedName, ObjectRef},
};

use super::Admission;
use crate::sync::{cluster::ClusterError, keep::Wanted};

/// The object of one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookTarget {
    /// What names it.
    pub target: ObjectRef,
    /// Whether the hook runs when the bundle comes in.
    pub due: bool,
    /// The ServiceAccount in whose name it is made; absent = in the agent's own.
    pub account: Option<NamespacedName>,
}

impl Admission<'_> {
    /// Finds out which hooks could not run, one sentence each.
    pub(super) async fn refused_hooks(
        &self,
        bundle: &Bundle,
        wanted: &[Wanted],
    ) -> Result<Vec<String>, ClusterError> {
        let mut refusals = Vec::new();
        let kinds = brought_kinds(bundle.components.iter().flat_map(|one| &one.objects));
        for hook in self.hooks {
            let target = &hook.target;
            if wanted.iter().any(|want| want.target == *target) {
                refusals.push(format!(
                    "{target} is both a hook and an object of the release"
                ));
            }
            if let Some(owner) = self.taken.get(target) {
                refusals.push(format!(
                    "{target}, which is a hook, belongs to {owner} already"
                ));
            }
            match self.cluster.kind(&target.api_version, &target.kind).await {
                Ok(_) => {}
                Err(ClusterError::NotServed { .. })
                    if brought_kind(&kinds, &target.api_version, &target.kind).is_some() =>
                {
                    continue;
                }
                Err(ClusterError::NotServed { api_version, kind }) => {
                    refusals.push(format!(
                        "hook {target} needs kind {kind} of {api_version}, which this cluster does \
                         not serve"
                    ));
                    continue;
                }
                Err(error) => return Err(error),
            }
            if hook.due && self.is_foreign(target).await? {
                refusals.push(format!(
                    "{target} exists already, and no hook of this application has made it; delete \
                     it to let the hook run"
                ));
            }
        }
        refusals.sort_unstable();
        refusals.dedup();
        Ok(refusals)
    }

    /// Tells whether an object of that name is there which no hook of this unit has made.
    async fn is_foreign(&self, target: &ObjectRef) -> Result<bool, ClusterError> {
        let live = match self.cluster.get(target).await {
            Ok(live) => live,
            // What may not be read is named among the rights.
            Err(error) if error.code() == Some(403) => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(live.is_some_and(|live| {
            let uid = live.pointer("/metadata/uid").and_then(|uid| uid.as_str());
            !self
                .left
                .iter()
                .any(|left| left.object.uid.as_deref() == uid)
        }))
    }
}
