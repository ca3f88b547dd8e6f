//! What a run wants the cluster to look like, whole.

use bellwether_api::number::Weight;

use super::{
    by_revision, in_place,
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
    /// Whether `spec.paused` is taken back although somebody else has set it beside the run; `false` = what others
    /// set stays.
    pub resumed: bool,
    /// Services whose selector carries a `pod-template-hash`, sorted; the others are as written.
    pub pins: Vec<ServicePin>,
    /// Which pod template the workload carries.
    pub template: TemplateVersion,
    /// `spec.replicas` of the workload; absent = as the user wrote it.
    pub replicas: Option<u32>,
    /// The count that `replicas` may be written over: where there is another one, somebody scaled the
    /// workload since this was decided, and it is decided anew. Absent = any.
    pub replicas_over: Option<u32>,
    /// The fewest pods of the workload, whatever its autoscaler wants; absent = as that wants.
    pub least_replicas: Option<u32>,
    /// What the routes carry; none = the routes as the user wrote them.
    pub split: Split,
    /// The canary Deployment and its Service; absent = neither exists.
    pub canary: Option<CanaryWant>,
    /// What a run in place wants of the workload.
    pub in_place: InPlaceWant,
    /// What the revision label says on the pods that the canary's Service selects where no copy is
    /// made; absent = there is no such Service.
    pub new_pods: Option<String>,
    /// Which revisions of a workload that keeps them share its requests.
    pub revisions: RevisionsWant,
}

/// Which revisions of a workload that keeps them share its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevisionsWant {
    /// The one that has every request but the canary's share; absent = as the user wrote it.
    pub old: Option<String>,
    /// The one that has the canary's share; absent = none is known, and none has any.
    pub new: Option<String>,
}

/// What a run in place wants of the workload, beside its template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InPlaceWant {
    /// Pods that are kept from the template; absent = as the user wrote it.
    pub partition: Option<u32>,
    /// The revision that every pod is to have again, whose controller may wait for pods of another
    /// that never become ready; absent = no pod is in the way.
    pub replaces: Option<String>,
}

/// A Service that selects one version's pods only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePin {
    /// The Service.
    pub service: String,
    /// The `pod-template-hash`, or what the revision label says where no copy is made.
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
            resumed: false,
            pins: Vec::new(),
            template,
            replicas: None,
            replicas_over: None,
            least_replicas: None,
            split: Split::default(),
            canary: None,
            in_place: InPlaceWant::default(),
            new_pods: None,
            revisions: RevisionsWant::default(),
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
        if let Some(run) = &state.in_place {
            return in_place::overlay(state, run);
        }
        if let Some(run) = &state.revisions {
            return by_revision::overlay(state, run);
        }
        let stable = state.stable.as_ref().map(|stable| stable.hash.as_str());
        let size = (state.canary_pods > 0).then_some(state.canary_pods);
        let (paused, hash, template, canary) = match &state.stage {
            Stage::Initializing => (false, None, TemplateVersion::Old, None),
            Stage::Pausing => (true, None, TemplateVersion::Old, None),
            Stage::Pinning => (true, stable, TemplateVersion::Old, None),
            Stage::Step { .. } => (true, stable, TemplateVersion::Old, size),
            Stage::Promoting { part } => promoting(part, stable, size),
            Stage::RollingBack { part, .. } => rolling_back(part, stable, size),
            Stage::Succeeded => (false, None, TemplateVersion::New, None),
            Stage::Failed { .. } => (false, None, TemplateVersion::Old, None),
        };
        let shares = matches!(
            &state.stage,
            Stage::Step { .. }
                | Stage::Promoting {
                    part: PromotionPart::Gathering { .. } | PromotionPart::Unpinning
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
            resumed: resumes(&state.stage),
            pins,
            template,
            replicas: state.stable_pods.filter(|_| shares),
            replicas_over: state
                .first_share
                .as_ref()
                .filter(|_| shares)
                .map(|first| first.over),
            least_replicas: state
                .scaled
                .map(|scaled| scaled.whole)
                .filter(|_| takes_back(&state.stage)),
            split: state.split(),
            canary: canary.map(|replicas| CanaryWant { replicas }),
            in_place: InPlaceWant::default(),
            new_pods: None,
            revisions: RevisionsWant::default(),
        }
    }
}

/// The workload, which the run has paused, rolls out. Leaving the field out would not do where somebody paused it too.
const fn resumes(stage: &Stage) -> bool {
    matches!(
        stage,
        Stage::Promoting {
            part: PromotionPart::Updating | PromotionPart::Unpausing
        } | Stage::RollingBack {
            part: RollbackPart::Retemplating | RollbackPart::Unpausing,
            ..
        }
    )
}

/// The workload is about to get all the traffic back, which its autoscaler does not know.
fn takes_back(stage: &Stage) -> bool {
    match stage {
        Stage::Promoting { part } => matches!(
            part,
            PromotionPart::Updating
                | PromotionPart::Freezing { .. }
                | PromotionPart::Repinning { .. }
                | PromotionPart::Shifting { .. }
        ),
        Stage::RollingBack { part, .. } => matches!(
            part,
            RollbackPart::Unpinning
                | RollbackPart::Retemplating
                | RollbackPart::Freezing { .. }
                | RollbackPart::Repinning { .. }
                | RollbackPart::Unloading
                | RollbackPart::Settling { .. }
        ),
        _ => false,
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
                Forth::Replacing { .. }
                    | Forth::Shifting {
                        shift: Shift::Dwelling { .. },
                        ..
                    }
                    | Forth::Draining { .. }
                    | Forth::Shrinking { .. }
                    | Forth::Removing { .. }
                    | Forth::Releasing
                    | Forth::Unpausing
            ),
            Stage::RollingBack { part, .. } => matches!(
                part,
                Back::Replacing
                    | Back::Draining { .. }
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

fn promoting<'a>(
    part: &'a PromotionPart,
    stable: Option<&'a str>,
    size: Option<u32>,
) -> Wanted<'a> {
    use PromotionPart as Part;
    match part {
        Part::Replacing { begun } if *begun => (false, None, TemplateVersion::New, None),
        Part::Replacing { .. } => (false, None, TemplateVersion::Old, None),
        Part::Gathering { .. } => (true, stable, TemplateVersion::Old, size),
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
        Part::Replacing => (false, None, TemplateVersion::Old, None),
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
