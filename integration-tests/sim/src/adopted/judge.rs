//! What must hold of a workload that somebody else delivers.

use std::collections::BTreeSet;

use bellwether_agent_core::{
    adopted::{HELD_ANNOTATION, Look, SPLIT_ANNOTATION, WRITTEN_ANNOTATION, look, without_split},
    machine::Stage,
};
use bellwether_api::number::Weight;
use serde_json::{Value, json};

use super::{
    agent::Adopter,
    seen::governed_route,
    site::{REPLICAS, Site, hash_of},
};
use crate::invariant::Broken;

/// Watches the cluster, second by second.
#[derive(Clone, Debug, Default)]
pub(super) struct Judge {
    /// Versions that were proven, or that nobody could have held.
    may_serve: BTreeSet<String>,
}

impl Judge {
    /// Nobody held an update of this version.
    pub(super) fn let_through(&mut self, image: &str) {
        self.may_serve.insert(image.to_owned());
    }

    /// Judges what is there.
    ///
    /// # Errors
    /// The rule that is broken.
    pub(super) fn look(&mut self, site: &Site, agent: &Adopter) -> Result<(), Broken> {
        let users = without_split(&governed_route(), &site.route);
        if users.pointer("/spec/rules") != Some(&site.rules) {
            let detail = format!("beside the split the route is not its owner's: {site:?}");
            return Err(Broken::new("I7-adopted", detail));
        }
        if !site.stood {
            self.may_serve.insert(site.image());
            return Ok(());
        }
        if let Some(proven) = agent.promotes() {
            self.may_serve.insert(proven);
        }
        let available = site.ready() + site.canary_ready();
        if available < REPLICAS {
            let detail = format!("{available} of {REPLICAS} pods are available: {site:?}");
            return Err(Broken::new("I1-available", detail));
        }
        let carried = u32::from(site.carried.percent());
        let needed = (REPLICAS * carried).div_ceil(100);
        if site.canary_ready() < needed {
            let detail = format!("{needed} canary pods are needed: {site:?}");
            return Err(Broken::new("I2-traffic", detail));
        }
        if let Some(pin) = &site.pin {
            let mut sets = site.sets.iter();
            if !sets.any(|set| hash_of(&set.image) == *pin && set.ready > 0) {
                let detail = format!("the Service selects {pin}, of which no pod is ready");
                return Err(Broken::new("I2-apex", detail));
            }
        }
        let untested = site
            .sets
            .iter()
            .find(|set| set.ready > 0 && !self.may_serve.contains(&set.image));
        untested.map_or(Ok(()), |set| {
            let detail = format!("{} serves, which nothing has proven: {site:?}", set.image);
            Err(Broken::new("I5-held", detail))
        })
    }
}

/// Judges everything at rest: the owner's objects are what the owner wrote, but for the pause of a
/// version that failed.
///
/// # Errors
/// The rule that is broken.
pub(super) fn at_rest(site: &Site, agent: &Adopter) -> Result<(), Broken> {
    let restored = |is: bool, what: &str| {
        if is {
            return Ok(());
        }
        let detail = format!("{what}: {site:?} {agent:?}");
        Err(Broken::new("I7-adopted", detail))
    };
    let rules = site.route.pointer("/spec/rules");
    restored(
        rules == Some(&site.owner.rules()),
        "the route is not its owner's",
    )?;
    restored(
        annotation(&site.route, SPLIT_ANNOTATION).is_none(),
        "the route is marked",
    )?;
    let gone = site.pin.is_none() && site.canary.is_none() && site.carried == Weight::ZERO;
    restored(gone, "something of a run is left")?;
    let template = site.workload.pointer("/spec/template");
    restored(
        template == Some(&site.owner.template()),
        "the template is not its owner's",
    )?;
    restored(
        annotation(&site.workload, WRITTEN_ANNOTATION).is_none(),
        "a template is kept on the workload",
    )?;
    let failed = look(&site.sight(), true) == Look::Stands;
    let marked = annotation(&site.workload, HELD_ANNOTATION).is_some();
    let paused = site.workload.pointer("/spec/paused") == Some(&json!(true));
    restored(
        (marked, paused) == (failed, failed),
        "it is not paused exactly where it failed",
    )
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.pointer("/metadata/annotations")?.get(name)
}

impl Adopter {
    /// The version that a run of it has proven; absent = none at the moment.
    fn promotes(&self) -> Option<String> {
        let run = self.run.as_ref()?;
        let proven = matches!(run.state.stage, Stage::Promoting { .. } | Stage::Succeeded);
        proven.then(|| run.image())
    }
}
