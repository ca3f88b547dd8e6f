//! What the components of an application are rendered as, for the clusters that get it.
//!
//! Nothing is fetched or rendered here: what is missing is asked for, and the look goes on without.

mod asking;
mod assemble;
mod facts;
mod pinned;
mod prepare;
mod release;
mod sent;
mod variants;

use std::collections::BTreeMap;

use bellwether_api::{application::ApplicationSpec, reference::NamespacedName};
use bellwether_hub_core::{
    recipe::RenderedFrom,
    release::RolloutRecord,
    run::{ClusterSeen, Unrendered},
};
use bellwether_store::{
    Store,
    renderings::{FactsByComponent, ReleaseRecipe},
};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

pub(super) use prepare::prepare;
pub(super) use release::{WorkedOut, refuse_rendered, to_send};
pub(super) use sent::{Sent, sent, unrendered};

use super::{LoopError, application::Look, loaded::Loaded, world::World};
use crate::rendering::Renderings;

/// An application with every object in place of its sources.
pub(super) struct Prepared {
    pub spec: ApplicationSpec,
    /// Rollouts that stand alone, those that components rendered included.
    pub rollouts: Vec<RolloutRecord>,
    /// What each rendered component is rendered from.
    pub from: BTreeMap<String, RenderedFrom>,
    /// Hooks that some cluster runs, by component.
    pub hooks: BTreeMap<String, Vec<Value>>,
    pub release: RenderedRelease,
}

/// What a release needs to know of its renderings when it is made.
#[derive(Clone, Debug, Default)]
pub(super) struct RenderedRelease {
    pub recipes: Vec<ReleaseRecipe>,
    /// The facts for which clusters are sent it, where that is settled already.
    pub facts: BTreeMap<Uuid, FactsByComponent>,
    /// Clusters that it cannot be sent to.
    pub unrendered: BTreeMap<Uuid, Unrendered>,
}

/// What is needed to see what is rendered.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub store: &'a Store,
    /// Absent = nothing is rendered here.
    pub renderings: Option<&'a Renderings>,
    pub world: &'a World,
    pub application: &'a NamespacedName,
}

impl<'a> Look<'a> {
    pub fn sight(self) -> Sight<'a> {
        Sight {
            store: self.store,
            renderings: self.renderings,
            world: self.world,
            application: self.application,
        }
    }
}

/// What records say of an application.
#[derive(Clone, Copy)]
pub(super) struct Says<'a> {
    pub spec: &'a ApplicationSpec,
    pub rollouts: &'a [RolloutRecord],
}

/// What became of the sources of an application at one look.
pub(super) enum Preparation {
    /// It has none.
    Inline,
    Ready(Box<Prepared>),
    /// There is nothing to make a release of, yet or for now.
    Held(Held),
}

/// Why there is nothing to make a release of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It is on its way.
    Pending(String),
    /// It failed, with the component.
    Failed { component: String, message: String },
}

/// What a look found of the sources.
pub(super) struct Sources {
    pub preparation: Preparation,
    /// What is wrong with a source whose earlier content serves meanwhile; absent = nothing.
    pub complaint: Option<Held>,
    /// When a source is to be looked at again; absent = when it is written anew.
    pub wake_at: Option<Timestamp>,
}

impl Held {
    pub fn error(&self, application: &NamespacedName) -> LoopError {
        let application = application.clone();
        match self {
            Self::Pending(what) => LoopError::Rendering {
                application,
                what: what.clone(),
            },
            Self::Failed { component, message } => LoopError::Unrendered {
                application,
                component: component.clone(),
                message: message.clone(),
            },
        }
    }
}

/// Says of every cluster whether the release of a run can be sent to it.
pub(super) async fn mark(
    sight: Sight<'_>,
    loaded: &Loaded,
    clusters: &mut [ClusterSeen],
) -> Result<(), LoopError> {
    let mut found = unrendered(sight, loaded.release.id, clusters).await?;
    if let Some(previous) = loaded.run.previous_release {
        // Whoever joined may get that one.
        let joined: Vec<ClusterSeen> = clusters
            .iter()
            .filter(|seen| loaded.planned().all(|planned| planned != seen.id))
            .cloned()
            .collect();
        if !joined.is_empty() {
            found.extend(unrendered(sight, previous, &joined).await?);
        }
    }
    set(clusters, found);
    Ok(())
}

pub(super) fn set(clusters: &mut [ClusterSeen], mut unrendered: BTreeMap<Uuid, Unrendered>) {
    for seen in clusters {
        seen.unrendered = unrendered.remove(&seen.id);
    }
}
