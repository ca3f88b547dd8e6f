//! The objects of a run: the two releases, what is laid over them, and the canary.

use std::sync::Arc;

use bellwether_agent_core::{
    effective::{Governed, effective},
    machine::Overlay,
    template_digest,
};
use bellwether_api::{
    bundle::{Bundle, BundleRollout},
    reference::ObjectRef,
};
use serde_json::Value;

use super::{
    run::Run,
    scene::{Scene, find},
    track::workload_of,
};
use crate::sync::keep::{Care, Wanted};

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

    /// Digest of the new template and its tracked configuration; absent = the release has no such
    /// workload.
    #[must_use]
    pub fn digest_of(&self, rollout: &BundleRollout) -> Option<String> {
        template_digest(&self.new, rollout)
    }
}

/// Tells whether a release changes the template of a workload that the one before had too.
#[must_use]
pub fn template_differs(new: &Bundle, old: &Bundle, rollout: &BundleRollout) -> bool {
    let workload = workload_of(new, rollout);
    match (digest_in(new, &workload), digest_in(old, &workload)) {
        (Some(new), Some(old)) => new != old,
        _ => false,
    }
}

/// Digest of a governed template and its tracked configuration; absent = the release has no such
/// workload.
#[must_use]
pub fn template_digest(bundle: &Bundle, rollout: &BundleRollout) -> Option<String> {
    digest_in(bundle, &workload_of(bundle, rollout))
}

fn digest_in(bundle: &Bundle, workload: &ObjectRef) -> Option<String> {
    let object = find(bundle, workload)?;
    let objects: Vec<Value> =
        bundle.components.iter().flat_map(|component| component.objects.iter().cloned()).collect();
    Some(template_digest::template_digest(object, &objects))
}

/// Lays over `wanted` what a run wants, and marks the objects that the run looks after.
pub fn overlaid(run: &Run, versions: &Versions, wanted: &mut [Wanted]) {
    let scene = &run.scene;
    let old_template =
        find(&versions.old, &scene.workload).and_then(|object| object.pointer("/spec/template"));
    let overlay = run.overlay();
    let routes: Vec<String> = scene.routes.iter().map(|route| route.name.clone()).collect();
    let governed = Governed {
        workload: &scene.workload,
        old_template,
        service: scene.service.as_ref().map(|service| service.name.as_str()),
        canary_service: scene.canary_service.as_ref().map_or("", |service| service.name.as_str()),
        http_routes: &routes,
        overlay: &overlay,
    };
    for want in wanted.iter_mut() {
        let route = scene.routes.contains(&want.target);
        let pinned = overlay.pins.iter().any(|pin| is_service(scene, &want.target, &pin.service));
        if want.target == scene.workload || route || pinned {
            want.care = care(run, &overlay, route);
        }
        let mut objects = effective(std::slice::from_ref(&want.object), std::slice::from_ref(&governed));
        if let Some(object) = objects.pop() {
            want.object = object;
        }
    }
}

/// While a human's edit is held nothing is written, but a route that takes traffic off the canary.
fn care(run: &Run, overlay: &Overlay, route: bool) -> Care {
    let unloads = route && overlay.route_weight.percent() == 0;
    if run.holds_edit() && !unloads { Care::Frozen } else { Care::Run }
}

fn is_service(scene: &Scene, target: &ObjectRef, name: &str) -> bool {
    target.api_version == "v1"
        && target.kind == "Service"
        && target.namespace.as_ref() == Some(&scene.namespace)
        && target.name == name
}
