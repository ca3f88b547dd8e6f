//! What a run wants the cluster to look like, whole.

use bellwether_api::number::Weight;

use super::{
    stage::{PromotionPart, RollbackPart, Shift, Stage, StepPart},
    state::RunState,
};
use crate::{provider::Split, settled::TemplateVersion};

/// What differs from the user's manifests while a run is under way. The shell makes the cluster
/// match it, as often as it likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// `spec.paused` of the workload; `false` = as the user wrote it.
    pub paused: bool,
    /// Services whose selector carries a `pod-template-hash`, sorted; the others are as written.
    pub pins: Vec<ServicePin>,
    /// Which pod template the workload carries.
    pub template: TemplateVersion,
    /// `spec.replicas` of the workload; absent = as the user wrote it.
    pub replicas: Option<u32>,
    /// What the routes carry; none = the routes as the user wrote them.
    pub split: Split,
    /// The canary Deployment and its Service; absent = neither exists.
    pub canary: Option<CanaryWant>,
}

/// A Service that selects one ReplicaSet's pods only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePin {
    /// The Service.
    pub service: String,
    /// The `pod-template-hash`.
    pub hash: String,
}

/// The canary that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryWant {
    /// Its pods.
    pub replicas: u32,
}

impl Overlay {
    /// The overlay of no run at all: everything as the user wrote it.
    #[must_use]
    pub fn none(template: TemplateVersion) -> Self {
        Self {
            paused: false,
            pins: Vec::new(),
            template,
            replicas: None,
            split: Split::default(),
            canary: None,
        }
    }

    /// The canary's share of the requests that no match takes.
    #[must_use]
    pub const fn route_weight(&self) -> Weight {
        self.split.weight
    }

    /// Tells what a state wants. It depends on nothing else, so that a restarted shell knows it
    /// before it has observed anything.
    #[must_use]
    pub fn of(state: &RunState) -> Self {
        let stable = state.stable.as_ref().map(|stable| stable.hash.as_str());
        let size = (state.canary_pods > 0).then_some(state.canary_pods);
        let (paused, hash, template, canary) = match &state.stage {
            Stage::Initializing => (false, None, TemplateVersion::Old, None),
            Stage::Pausing => (true, None, TemplateVersion::Old, None),
            Stage::Pinning => (true, stable, TemplateVersion::Old, None),
            Stage::Step { .. } => (true, stable, TemplateVersion::Old, size),
            Stage::Promoting { part } => promoting(part, size),
            Stage::RollingBack { part, .. } => rolling_back(part, stable, size),
            Stage::Succeeded => (false, None, TemplateVersion::New, None),
            Stage::Failed { .. } => (false, None, TemplateVersion::Old, None),
        };
        let shares = matches!(
            &state.stage,
            Stage::Step { .. }
                | Stage::Promoting {
                    part: PromotionPart::Unpinning
                }
        );
        let pin = |service: &String| {
            let hash = state.pin_of(service, hash)?.to_owned();
            Some(ServicePin {
                service: service.clone(),
                hash,
            })
        };
        let pins = state.pinned.iter().filter_map(pin).collect();
        Self {
            paused,
            pins,
            template,
            replicas: state.stable_pods.filter(|_| shares),
            split: state.split(),
            canary: canary.map(|replicas| CanaryWant { replicas }),
        }
    }
}

impl RunState {
    /// Tells whether the gateways are known to use what the routes carry now, and nothing of what
    /// they carried before: what only an earlier split named may go.
    #[must_use]
    pub const fn split_is_in_force(&self) -> bool {
        use {PromotionPart as Forth, RollbackPart as Back};
        match &self.stage {
            Stage::Initializing
            | Stage::Pausing
            | Stage::Pinning
            | Stage::Succeeded
            | Stage::Failed { .. } => true,
            Stage::Step { part, .. } => {
                matches!(part, StepPart::Analysing { .. } | StepPart::Gate { .. })
            }
            Stage::Promoting { part } => matches!(
                part,
                Forth::Shifting {
                    shift: Shift::Dwelling { .. },
                    ..
                } | Forth::Draining { .. }
                    | Forth::Shrinking { .. }
                    | Forth::Removing { .. }
                    | Forth::Releasing
                    | Forth::Unpausing
            ),
            Stage::RollingBack { part, .. } => matches!(
                part,
                Back::Draining { .. }
                    | Back::Shrinking
                    | Back::Removing
                    | Back::Releasing
                    | Back::Unpausing
            ),
        }
    }
}

/// Paused, the pinned hash, the template, and the canary's pods.
type Wanted<'a> = (bool, Option<&'a str>, TemplateVersion, Option<u32>);

fn promoting(part: &PromotionPart, size: Option<u32>) -> Wanted<'_> {
    use PromotionPart as Part;
    match part {
        Part::Unpinning => (true, None, TemplateVersion::Old, size),
        Part::Updating => (false, None, TemplateVersion::New, size),
        Part::Freezing { .. } => (true, None, TemplateVersion::New, size),
        Part::Repinning { new } | Part::Shifting { new, .. } | Part::Draining { new, .. } => {
            (true, Some(&new.hash), TemplateVersion::New, size)
        }
        Part::Shrinking { new } => (true, Some(&new.hash), TemplateVersion::New, size.map(|_| 0)),
        Part::Removing { new } => (true, Some(&new.hash), TemplateVersion::New, None),
        Part::Releasing => (true, None, TemplateVersion::New, None),
        Part::Unpausing => (false, None, TemplateVersion::New, None),
    }
}

fn rolling_back<'a>(
    part: &'a RollbackPart,
    stable: Option<&'a str>,
    size: Option<u32>,
) -> Wanted<'a> {
    use RollbackPart as Part;
    match part {
        Part::Unpinning => (true, None, TemplateVersion::New, size),
        Part::Retemplating => (false, None, TemplateVersion::Old, size),
        Part::Freezing { .. } => (true, None, TemplateVersion::Old, size),
        Part::Repinning { old } => (true, Some(&old.hash), TemplateVersion::Old, size),
        Part::Unloading | Part::Settling { .. } | Part::Draining { .. } => {
            (true, stable, TemplateVersion::Old, size)
        }
        Part::Shrinking => (true, stable, TemplateVersion::Old, size.map(|_| 0)),
        Part::Removing => (true, stable, TemplateVersion::Old, None),
        Part::Releasing => (true, None, TemplateVersion::Old, None),
        Part::Unpausing => (false, None, TemplateVersion::Old, None),
    }
}
