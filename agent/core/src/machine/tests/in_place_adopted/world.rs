//! A StatefulSet, its controller, its owner, and the agent's passes over it.

use std::collections::BTreeMap;

use bellwether_api::{
    command::{Abort, AbortCause},
    track::RolloutTrackSpec,
    workload_adapter::WorkloadAdapter,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::{
    super::{InPlaceView, Observations, Overlay, RunState, Stage, decide},
    field_managers::{IMAGE, PARTITION, Writer, manages, record},
    in_place_model::batches,
    model::grant,
};
use crate::{
    admission::{Governed, Update, admit_in_place},
    adopted::{
        HELD_ANNOTATION, Held, Look, PARTITION_ANNOTATION, WRITTEN_ANNOTATION,
        in_place::{
            InPlaceSight, Pod, Recorded, Wanted, as_standing, completed, freed, hold, is_as_wanted,
            look_in_place, set, version, workload_hold,
        },
    },
    merge_patch::merged,
    settled::{DeploymentView, TemplateVersion},
};

pub(super) const ROLLOUT: &str = "shop-web";
pub(super) const OLD: &str = "v1";
pub(super) const NEW: &str = "v2";

const TICKS_AT_REST: usize = 20;

fn adapter() -> WorkloadAdapter {
    WorkloadAdapter::known("apps/v1", "StatefulSet").expect("known")
}

fn template(image: &str) -> Value {
    json!({"spec": {"containers": [{"name": "web", "image": image}]}})
}

fn spec_of(replicas: usize, partition: u64, image: &str) -> Value {
    json!({"replicas": replicas, "template": template(image), "updateStrategy":
        {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}})
}

/// A write of the owner's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    pub(super) replicas: usize,
    pub(super) partition: u64,
    pub(super) image: &'static str,
    pub(super) by: Writer,
    /// Whether the API server asks the agent first.
    pub(super) asks: bool,
}

/// What happens beside the agent in one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    Works,
    /// Pods become ready, and it has not noticed.
    Lags,
}

/// A pod.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) image: String,
    pub(super) ready: bool,
}

pub(super) struct World {
    now: Timestamp,
    pub(super) grant: RolloutTrackSpec,
    pub(super) state: RunState,
    pub(super) object: Value,
    /// What its owner wrote last, as far as anybody can know.
    pub(super) wrote: Write,
    /// By ordinal.
    pub(super) pods: BTreeMap<usize, Running>,
    /// Templates that their controller has recorded, oldest first.
    pub(super) recorded: Vec<String>,
    pub(super) new_works: bool,
    /// Pods that came of what is new where the partition let them.
    pub(super) came: usize,
    /// The run is over, and what it held was laid once more.
    handed_back: bool,
}

impl World {
    /// Its owner has written a new template, and the write was held.
    pub(super) fn new() -> Self {
        let mut grant = grant(batches(
            &json!([{"replicas": 1, "advance": "Auto"}, {"replicas": "100%", "advance": "Auto"}]),
        ));
        grant.plan.analysis.metrics.clear();
        "StatefulSet".clone_into(&mut grant.workload.kind);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let object = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "web", "uid": "u", "generation": 1},
            "spec": spec_of(3, 0, OLD),
            "status": {"observedGeneration": 1, "replicas": 3, "readyReplicas": 3,
                "availableReplicas": 3, "currentRevision": "web-v1", "updateRevision": "web-v1"},
        });
        let ran = Running {
            image: OLD.to_owned(),
            ready: true,
        };
        let first = Write {
            replicas: 3,
            partition: 0,
            image: OLD,
            by: Writer::Updates,
            asks: true,
        };
        let mut world = Self {
            now,
            state: RunState::new(&grant, now),
            grant,
            object,
            wrote: first,
            pods: (0..3).map(|number| (number, ran.clone())).collect(),
            recorded: vec![OLD.to_owned()],
            new_works: true,
            came: 0,
            handed_back: false,
        };
        world.write(Write {
            image: NEW,
            ..first
        });
        world
    }

    pub(super) fn written(&self) -> Value {
        spec_of(self.wrote.replicas, self.wrote.partition, self.wrote.image)
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.object["metadata"]["annotations"].get(name)?.as_str()
    }

    fn note(&self) -> Value {
        let note = self.annotation(PARTITION_ANNOTATION);
        note.and_then(|note| serde_json::from_str(note).ok())
            .unwrap_or_default()
    }

    /// Whether a value that is written where a run has written the same can be told from no write: of one
    /// that is applied it is known who manages it.
    fn is_seen(&self, write: Write, field: &str) -> bool {
        write.by == Writer::Applies && manages(&self.object, Writer::Run, field)
    }

    /// Its owner writes all of it. Of what stands there already because a run has put it there, their
    /// word of before still holds unless the API server knows better.
    pub(super) fn write(&mut self, write: Write) {
        let note = self.note();
        let same = note["ours"] == json!(write.partition);
        // The webhook has put another value there, and the field is the applier's as before.
        let was_noted = note["shared"] == true;
        let put_back = self.annotation(WRITTEN_ANNOTATION).is_some()
            && self.object.pointer(IMAGE) == Some(&json!(write.image));
        let hides = [
            same && (was_noted || !self.is_seen(write, PARTITION)),
            put_back && !self.is_seen(write, IMAGE),
        ];
        let before = self.wrote;
        self.wrote = write;
        if hides[0] {
            self.wrote.partition = before.partition;
        }
        if hides[1] {
            self.wrote.image = before.image;
        }
        let mut new = self.object.clone();
        new["spec"] = spec_of(write.replicas, write.partition, write.image);
        record(&self.object, &mut new, write.by);
        if write.asks {
            self.admit(&mut new);
        }
        self.store(new);
    }

    fn admit(&self, new: &mut Value) {
        let governed = Governed {
            rollout: ROLLOUT,
            is_known: true,
            is_running: !self.handed_back,
        };
        let update = Update {
            old: &self.object,
            new,
        };
        let hold = admit_in_place(update, governed, &adapter());
        for op in hold.iter().flat_map(|hold| hold.patch.as_array()).flatten() {
            let path = op["path"].as_str().expect("a path");
            set(new, path, op["value"].clone());
        }
    }

    fn patch(&mut self, patch: Option<Value>) {
        if let Some(patch) = patch {
            let mut object = merged(&self.object, &patch);
            record(&self.object, &mut object, Writer::Run);
            self.store(object);
        }
    }

    fn store(&mut self, mut object: Value) {
        if object["spec"] != self.object["spec"] {
            let generation = self.object["metadata"]["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.object = object;
    }

    fn sight(&self) -> InPlaceSight {
        let pods = self.pods.iter().map(|(number, pod)| Pod {
            name: format!("web-{number}"),
            label: format!("web-{}", pod.image),
            ready: pod.ready,
            ..Pod::default()
        });
        let recorded = self.recorded.iter().zip(1..);
        let recorded: Vec<Recorded> = recorded
            .map(|(image, number)| Recorded {
                name: format!("web-{image}"),
                number,
                template: template(image),
            })
            .collect();
        InPlaceSight::of(&self.object, &adapter(), pods.collect(), &recorded)
    }

    /// One pass of the agent, then what the cluster makes of it.
    pub(super) fn tick(&mut self, saves: bool, controller: Controller) {
        if self.handed_back {
            self.rest();
        } else {
            self.drive(saves);
        }
        self.now += SignedDuration::from_secs(5);
        for pod in self.pods.values_mut() {
            pod.ready |= pod.image == OLD || self.new_works;
        }
        if controller == Controller::Works {
            self.control();
        }
        let granted = self.state.in_place.as_ref().map_or(0, |run| run.granted);
        let fresh = self.pods.values().filter(|pod| pod.image != OLD).count();
        assert!(
            self.handed_back || fresh <= usize::try_from(granted).expect("few") + self.came,
            "{fresh} pods are not of the version before where {granted} were granted: {:?}",
            self.state
        );
    }

    fn drive(&mut self, saves: bool) {
        let (new, old) = (template(NEW), template(OLD));
        let held = Held {
            rollout: ROLLOUT,
            new: &new,
            old: &old,
        };
        let goes_back = matches!(
            self.state.stage,
            Stage::RollingBack { .. } | Stage::Failed { .. }
        );
        if self.object["spec"]["template"] != new && !goes_back {
            self.abort(AbortCause::Superseded);
        }
        let wanted = Wanted::from(&Overlay::of(&self.state));
        self.patch(workload_hold(&self.sight(), held, wanted));
        if self.state.is_terminal() {
            self.hand_back();
            return;
        }
        let seen = self.observe(held, wanted);
        let decision = decide(self.now, &self.grant, &self.state, &seen);
        assert_eq!(decision.waiting_on.is_empty(), decision.next.is_terminal());
        if saves {
            let granted = |state: &RunState| state.in_place.as_ref().map_or(0, |run| run.granted);
            let before = granted(&self.state);
            self.state = RunState::from_value(&decision.next.to_value()).expect("a state");
            // They stay as they are where the workload grew.
            let stay = before.saturating_sub(granted(&self.state));
            self.came += usize::try_from(stay).expect("few pods");
        }
        self.clear_the_way();
    }

    /// A workload that is still held when the run is over has pods of the version that it ended with.
    fn hand_back(&mut self) {
        self.handed_back = true;
        let ended_with = match self.state.stage {
            Stage::Succeeded => NEW,
            _ => OLD,
        };
        let is_held = self.annotation(HELD_ANNOTATION).is_some();
        assert!(
            !is_held || self.pods.values().all(|pod| pod.image == ended_with),
            "{:?}: {:?}",
            self.state.stage,
            self.pods
        );
    }

    pub(super) fn abort(&mut self, cause: AbortCause) {
        self.grant.command.abort = Some(Abort {
            cause,
            by: "ann".into(),
            reason: String::new(),
        });
    }

    /// Pods for which their controller would wait, although they are to go.
    fn clear_the_way(&mut self) {
        let status = &self.object["status"];
        let observed = status["observedGeneration"] == self.object["metadata"]["generation"];
        let wanted = Overlay::of(&self.state).in_place.replaces;
        if let Some(revision) =
            wanted.filter(|wanted| observed && status["updateRevision"] == **wanted)
        {
            self.pods
                .retain(|_, pod| pod.ready || format!("web-{}", pod.image) == revision);
        }
    }

    /// What the agent does while no run is under way, but for beginning one.
    fn rest(&mut self) {
        let sight = self.sight();
        match look_in_place(&sight, true) {
            Look::Catch => self.patch(hold(&sight, ROLLOUT)),
            Look::Completes => self.patch(completed(&sight, ROLLOUT)),
            Look::Release | Look::Bypassed => self.patch(freed(&sight)),
            Look::Undo { .. } => {
                let image = self.image();
                self.pods.retain(|_, pod| pod.ready || pod.image != image);
            }
            _ => {}
        }
    }

    fn observe(&self, held: Held<'_>, wanted: Wanted) -> Observations {
        let sight = self.sight();
        let shown = as_standing(&sight, held).filter(|_| wanted.template == TemplateVersion::Old);
        let object = shown.as_ref().unwrap_or(&self.object);
        let count = |path: &str| {
            let count = object.pointer(path).and_then(Value::as_u64).unwrap_or(0);
            u32::try_from(count).expect("few pods")
        };
        let revision = object["status"]["updateRevision"].as_str().unwrap_or("");
        let pods = |of: bool, ready: bool| {
            let counted = |pod: &&Running| {
                (format!("web-{}", pod.image) == revision) == of && (pod.ready || !ready)
            };
            u32::try_from(self.pods.values().filter(counted).count()).expect("few pods")
        };
        let available = count("/status/availableReplicas");
        let number = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
        Observations {
            fresh: true,
            delivered_by_others: true,
            workload: Some(DeploymentView {
                uid: "u".into(),
                generation: number("/metadata/generation"),
                observed_generation: number("/status/observedGeneration"),
                replicas: count("/spec/replicas"),
                total: count("/status/replicas"),
                updated: 0,
                ready: count("/status/readyReplicas"),
                available,
                paused: false,
                revision: revision.to_owned(),
                template: version(&sight, held, wanted),
                update_takes: 0,
                unread: String::new(),
            }),
            in_place: Some(InPlaceView {
                written: is_as_wanted(&sight, held, wanted)
                    .then(|| Overlay::of(&self.state).in_place),
                partition: Some(count(PARTITION)),
                updated: pods(true, false),
                // As far as its controller has noticed.
                updated_available: pods(true, true)
                    .min(available.saturating_sub(pods(false, true))),
                kept_new: self.kept(revision, count(PARTITION)),
                label: String::new(),
                trouble: String::new(),
            }),
            ..Observations::default()
        }
    }

    /// Pods of a revision that a partition would keep back.
    fn kept(&self, revision: &str, partition: u32) -> u32 {
        let below = self.pods.iter();
        let below = below.filter(|(number, _)| u32::try_from(**number).expect("few") < partition);
        let kept = below.filter(|(_, pod)| format!("web-{}", pod.image) == revision);
        u32::try_from(kept.count()).expect("few pods")
    }

    pub(super) fn ends(&mut self) {
        for _ in 0..2_000 {
            if self.state.is_terminal() {
                return;
            }
            self.tick(true, Controller::Works);
        }
        panic!(
            "never over: {:?}\n{}\n{:?}",
            self.state, self.object, self.pods
        );
    }

    /// Over, every field has its owner's value, or the workload is held with pods of the version before.
    pub(super) fn check_end(&mut self) {
        for _ in 0..TICKS_AT_REST {
            self.tick(true, Controller::Works);
        }
        let annotations = &self.object["metadata"]["annotations"];
        let spec = self.written();
        if self.object["spec"] == spec && annotations.get(HELD_ANNOTATION).is_none() {
            assert!(
                annotations
                    .as_object()
                    .is_none_or(serde_json::Map::is_empty)
            );
            return;
        }
        assert_eq!(self.object["spec"]["template"], spec["template"]);
        assert_eq!(self.object["spec"]["replicas"], spec["replicas"]);
        assert_eq!(annotations[HELD_ANNOTATION], json!(ROLLOUT));
        assert_eq!(annotations.get(WRITTEN_ANNOTATION), None);
        let given = freed(&self.sight()).expect("it is held");
        let given = merged(&self.object, &given);
        assert_eq!(
            given.pointer(PARTITION),
            spec.pointer(&PARTITION["/spec".len()..])
        );
        // One that came when the run was over already begins the next.
        let pods: Vec<&str> = self.pods.values().map(|pod| pod.image.as_str()).collect();
        let stands = pods.first().copied().expect("a pod");
        assert_eq!(pods, vec![stands; self.wrote.replicas]);
        let current = json!(format!("web-{stands}"));
        assert_eq!(self.object["status"]["currentRevision"], current);
        assert_eq!(look_in_place(&self.sight(), true), Look::Stands);
        assert_eq!(hold(&self.sight(), ROLLOUT), None, "it is held whole");
    }
}
