//! What an agent sees of the cluster.

use std::collections::BTreeSet;

use bellwether_agent_core::{
    machine::{
        CanaryView, Endpoints, InPlaceView, InPlaceWant, Observations, RouteView, ServiceView,
    },
    provider::RouteObservation,
    settled::{DeploymentView, ReplicaSetView, TemplateVersion},
};
use bellwether_api::duration::Dur;

use super::{Canary, EditKind, Member, Ordered, Set, hash_of};

const SERVICE: &str = "web";

impl Member {
    /// What an agent sees; `old` and `new` are the images of the two templates, `written` what a
    /// workload that is updated in place was applied with, if that is known.
    #[must_use]
    pub fn observe(&self, old: &str, new: &str, written: Option<InPlaceWant>) -> Observations {
        let template = match self.image.as_str() {
            image if image == old => TemplateVersion::Old,
            image if image == new => TemplateVersion::New,
            _ => TemplateVersion::Other,
        };
        let common = Observations {
            fresh: true,
            autoscalers: self.scaler.iter().map(super::Scaler::view).collect(),
            foreign_edits: self.edit.iter().map(|edit| named(edit.kind)).collect(),
            route_settle: Dur::from_millis(1_000),
            ..Observations::default()
        };
        let exists = !self.image.is_empty();
        if let Some(ordered) = &self.ordered {
            return Observations {
                workload: exists.then(|| self.ordered_workload(ordered, template)),
                in_place: exists.then(|| self.in_place(ordered, written)),
                ..common
            };
        }
        Observations {
            workload: exists.then(|| self.deployment(template)),
            replica_sets: self.sets.iter().map(view).collect(),
            canary: self.canary.as_ref().map(|one| canary(one, new)),
            canary_service: self.canary.is_some(),
            services: vec![ServiceView {
                name: SERVICE.to_owned(),
                pin: self.pin.clone(),
                unpinnable: String::new(),
            }],
            apex_endpoints: self.apex(),
            canary_endpoints: endpoints("canary", self.canary_ready()),
            routes: vec![self.route_view()],
            ..common
        }
    }

    fn route_view(&self) -> RouteView {
        RouteView {
            name: "HTTPRoute/web".to_owned(),
            is_missing: false,
            weight: self.split.matches.is_empty().then_some(self.split.weight),
            split: Some(self.split.clone()),
            lacking: None,
            announces: self.particulars.learns,
            observation: if self.carried == self.split {
                RouteObservation::Programmed
            } else {
                RouteObservation::NotYet {
                    why: "the gateway has not taken it".to_owned(),
                }
            },
        }
    }

    fn apex(&self) -> Endpoints {
        let mut all = Endpoints::default();
        for set in &self.sets {
            if self
                .pin
                .as_ref()
                .is_none_or(|pin| *pin == hash_of(&set.image))
            {
                all.ready
                    .extend(endpoints(&hash_of(&set.image), set.ready).ready);
            }
        }
        if self.pin.is_none() {
            all.ready
                .extend(endpoints("canary", self.canary_ready()).ready);
        }
        all
    }

    fn deployment(&self, template: TemplateVersion) -> DeploymentView {
        let current = self.sets.iter().find(|set| set.image == self.image);
        let (total, ready) = self.pods();
        DeploymentView {
            uid: "uid".to_owned(),
            generation: self.generation,
            observed_generation: self.observed,
            replicas: self.replicas,
            total,
            updated: current.map_or(0, |set| set.replicas),
            ready,
            available: ready,
            paused: self.paused,
            revision: current
                .map(|set| set.revision.to_string())
                .unwrap_or_default(),
            template,
            update_takes: self.particulars.update_takes,
            unread: String::new(),
        }
    }

    fn ordered_workload(&self, ordered: &Ordered, template: TemplateVersion) -> DeploymentView {
        let (total, ready) = ordered.count(|_| true);
        DeploymentView {
            uid: "uid".to_owned(),
            generation: self.generation,
            observed_generation: self.observed,
            replicas: self.replicas,
            total,
            updated: 0,
            ready,
            available: ready,
            paused: false,
            revision: hash_of(&self.seen_image),
            template,
            update_takes: 0,
            unread: String::new(),
        }
    }

    fn in_place(&self, ordered: &Ordered, written: Option<InPlaceWant>) -> InPlaceView {
        let (updated, updated_available) = ordered.count(|image| image == self.seen_image);
        InPlaceView {
            written,
            partition: ordered.partition,
            updated,
            updated_available,
            kept_new: ordered.kept(&self.seen_image),
            label: if updated == 0 {
                String::new()
            } else {
                hash_of(&self.seen_image)
            },
            trouble: String::new(),
        }
    }
}

fn named(kind: EditKind) -> String {
    match kind {
        EditKind::Release => "Deployment/web: changed by somebody else",
        EditKind::Selector => "Service/web: changed by somebody else",
        EditKind::Route => "HTTPRoute/web: changed by somebody else",
    }
    .to_owned()
}

fn canary(canary: &Canary, new: &str) -> CanaryView {
    CanaryView {
        replicas: canary.replicas,
        generation: canary.generation,
        observed_generation: canary.observed,
        updated: canary.replicas,
        ready: canary.ready,
        available: canary.ready,
        trouble: String::new(),
        labels: std::collections::BTreeSet::new(),
        deleting: false,
        unwritten: canary.image != new,
    }
}

fn view(set: &Set) -> ReplicaSetView {
    ReplicaSetView {
        name: format!("web-{}", hash_of(&set.image)),
        hash: hash_of(&set.image),
        owner_uid: "uid".to_owned(),
        revision: set.revision.to_string(),
        replicas: set.replicas,
        ready: set.ready,
    }
}

fn endpoints(prefix: &str, count: u32) -> Endpoints {
    let ready: BTreeSet<String> = (0..count)
        .map(|number| format!("{prefix}-{number}"))
        .collect();
    Endpoints {
        ready,
        not_ready: BTreeSet::new(),
    }
}
