//! One agent: its stream, its durable state in the member cluster, and the run that it drives.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_agent_core::{
    analysis::Sample,
    machine::{
        Decision, MetricSample, Observations, Overlay, RunState, SampleRequest, Samples, decide,
    },
};
use bellwether_api::{
    bundle::{Bundle, BundleMode},
    command::Command,
    duration::Dur,
    reference::ObjectRef,
    root::Root,
    status::{Health, TrackSummary, UnitOutcome, UnitStatus, WaitReason},
    track::RolloutTrackSpec,
};
use bellwether_store::{Digest, desired::UnitVersion};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    Mutant,
    count::Counts,
    invariant::{Broken, Edge},
    member::Member,
    scenario::{Quality, application, image_of},
    transport::{Body, Message},
};

const HELLO_AGAIN: SignedDuration = SignedDuration::from_secs(8);
const BEAT: SignedDuration = SignedDuration::from_secs(10);
const RESEND: SignedDuration = SignedDuration::from_secs(5);
const DEAF: SignedDuration = SignedDuration::from_secs(32);

/// What survives the agent's process: it lies in the member cluster.
#[derive(Clone, Debug, Default)]
pub struct Durable {
    /// The highest epoch that it has seen.
    pub epoch: u64,
    /// The generation that it holds.
    pub generation: u64,
    /// Unit → (generation, digest or tombstone).
    pub units: BTreeMap<String, (u64, Option<Digest>)>,
    /// Contents by digest.
    blobs: BTreeMap<[u8; 32], Vec<u8>>,
    /// The bundle that was decided on.
    decided: Option<Digest>,
    /// What became of it.
    outcome: Option<UnitOutcome>,
    reason: String,
    /// The release that was finished last.
    applied_release: Option<String>,
    /// The image of that release.
    pub applied_image: String,
    /// Images that failed here, with the run that they failed in.
    failed: BTreeMap<String, Uuid>,
    /// Every (run, attempt) that it finished.
    pub finished: BTreeSet<(Uuid, u32)>,
    /// The run under way or finished last.
    pub track: Option<Track>,
}

/// A RolloutTrack.
#[derive(Clone, Debug)]
pub struct Track {
    /// The grant.
    pub spec: RolloutTrackSpec,
    /// The machine's state.
    pub state: RunState,
    /// The image of the old template.
    pub old: String,
    /// The image of the new template.
    pub new: String,
    summary: Option<TrackSummary>,
}

/// What only the process knows.
#[derive(Clone, Debug, Default)]
struct Volatile {
    session: Option<Session>,
    hello_at: Option<Timestamp>,
    samples: Option<Samples>,
    sent: Option<(UnitStatus, Timestamp)>,
    /// Its records do not give the root that the hub promised: it needs everything anew.
    distrusts: bool,
    acked: u64,
    sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    hub: usize,
    epoch: u64,
    heard: Timestamp,
    beat: Timestamp,
}

/// Where a crash falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// After the decision, before it is saved.
    BeforeSave,
    /// After it is saved, before anything is done.
    AfterSave,
}

/// One agent with its cluster.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The cluster.
    pub cluster: Uuid,
    /// Whether the process runs.
    pub alive: bool,
    /// What survives it.
    pub durable: Durable,
    /// The cluster itself.
    pub member: Member,
    /// Whether the cluster's Prometheus answers.
    pub metrics: bool,
    /// Whether somebody damaged its records since they were last whole.
    damaged: bool,
    volatile: Volatile,
}

impl Agent {
    /// Starts an agent in an empty cluster.
    #[must_use]
    pub fn new(cluster: Uuid) -> Self {
        Self {
            cluster,
            alive: true,
            durable: Durable::default(),
            member: Member::default(),
            metrics: true,
            damaged: false,
            volatile: Volatile::default(),
        }
    }

    /// Kills the process.
    pub fn crash(&mut self) {
        self.alive = false;
        self.volatile = Volatile::default();
    }

    /// Damages what it holds, as a human does who edits its records; it notices when its stream
    /// begins. Tells whether there was something to damage.
    pub fn damage(&mut self) -> bool {
        let key = format!("command/{}", application());
        let damaged = self.durable.units.remove(&key).is_some();
        if damaged {
            self.damaged = true;
            self.crash();
        }
        damaged
    }

    /// Starts it again.
    pub fn restart(&mut self) {
        self.alive = true;
    }

    /// Says that a hub's process is gone: its streams break at once.
    pub fn hub_gone(&mut self, hub: usize) {
        if self
            .volatile
            .session
            .is_some_and(|session| session.hub == hub)
        {
            self.volatile.session = None;
            self.volatile.hello_at = None;
        }
    }

    /// Tells whether everything that it has to say was stored by the hub.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.volatile.session.is_some()
            && self.volatile.acked == self.volatile.sequence
            && self.volatile.sent.is_some()
    }

    /// What it reported last in this process; absent = nothing.
    #[must_use]
    pub fn reported(&self) -> Option<&UnitStatus> {
        self.volatile.sent.as_ref().map(|(status, _)| status)
    }

    /// Takes a message from a hub.
    ///
    /// # Errors
    /// What the hub sent is not what it promised.
    pub fn receive(&mut self, message: Message, now: Timestamp) -> Result<Vec<Message>, Broken> {
        let hub = message.hub;
        match message.body {
            Body::Welcome { epoch } => {
                // A stream that is older than one seen before is refused.
                if epoch > self.durable.epoch {
                    self.durable.epoch = epoch;
                    self.volatile.session = Some(Session {
                        hub,
                        epoch,
                        heard: now,
                        beat: now,
                    });
                    self.volatile.sent = None;
                    self.volatile.sequence = 0;
                    self.volatile.acked = 0;
                }
                Ok(Vec::new())
            }
            Body::Pong { epoch } => {
                self.hear(epoch, now);
                Ok(Vec::new())
            }
            Body::StatusAck { epoch, sequence } => {
                if self.hear(epoch, now) {
                    self.volatile.acked = self.volatile.acked.max(sequence);
                }
                Ok(Vec::new())
            }
            Body::Units {
                epoch,
                snapshot,
                from,
                to,
                root,
                units,
                blobs,
            } => {
                if !self.hear(epoch, now) {
                    return Ok(Vec::new());
                }
                if from <= self.durable.generation || snapshot {
                    self.take(snapshot || from == 0, to, root, &units, &blobs)?;
                }
                if self.volatile.session.is_none() {
                    return Ok(Vec::new());
                }
                let ack = Body::Ack {
                    epoch,
                    generation: self.durable.generation,
                    root: self.root(),
                };
                Ok(vec![Message {
                    cluster: self.cluster,
                    hub,
                    body: ack,
                }])
            }
            _ => Ok(Vec::new()),
        }
    }

    fn hear(&mut self, epoch: u64, now: Timestamp) -> bool {
        match &mut self.volatile.session {
            Some(session) if session.epoch == epoch => {
                session.heard = now;
                true
            }
            _ => false,
        }
    }

    /// The root of what it holds.
    #[must_use]
    pub fn root(&self) -> Root {
        let live = self.durable.units.iter();
        Root::of(live.filter_map(|(key, (_, digest))| Some((key.as_str(), &digest.as_ref()?.0))))
    }

    fn take(
        &mut self,
        whole: bool,
        to: u64,
        root: Root,
        units: &[UnitVersion],
        blobs: &BTreeMap<[u8; 32], Vec<u8>>,
    ) -> Result<(), Broken> {
        if to < self.durable.generation || to == self.durable.generation && !whole {
            return Ok(());
        }
        let before = self.durable.clone();
        for unit in units {
            let known = self
                .durable
                .units
                .get(&unit.key)
                .map_or(0, |(generation, _)| *generation);
            if unit.generation >= known {
                self.durable
                    .units
                    .insert(unit.key.clone(), (unit.generation, unit.digest));
            }
        }
        self.durable
            .blobs
            .extend(blobs.iter().map(|(digest, bytes)| (*digest, bytes.clone())));
        self.durable.generation = to;
        if self.root() != root {
            self.durable = before;
            if self.damaged && !whole {
                // Refused; a stream begins anew and asks for everything.
                self.volatile.session = None;
                self.volatile.hello_at = None;
                self.volatile.distrusts = true;
                return Ok(());
            }
            return Err(Broken::new(
                "I21-root",
                format!("generation {to} has another root"),
            ));
        }
        self.volatile.distrusts = false;
        self.damaged = self.damaged && !whole;
        Ok(())
    }

    /// Keeps the stream: beats, and says Hello when there is none.
    pub fn keep_up(&mut self, now: Timestamp, hubs: &[usize]) -> Vec<Message> {
        let cluster = self.cluster;
        if let Some(session) = &mut self.volatile.session {
            if now.duration_since(session.heard) > DEAF {
                self.volatile.session = None;
                self.volatile.hello_at = None;
            } else if now.duration_since(session.beat) >= BEAT {
                session.beat = now;
                let body = Body::Beat {
                    epoch: session.epoch,
                };
                return vec![Message {
                    cluster,
                    hub: session.hub,
                    body,
                }];
            }
        }
        let due = self
            .volatile
            .hello_at
            .is_none_or(|at| now.duration_since(at) >= HELLO_AGAIN);
        if self.volatile.session.is_some() || !due {
            return Vec::new();
        }
        let place = usize::try_from(now.as_second()).unwrap_or(0) + cluster.as_u128() as usize;
        let Some(hub) = hubs.get(place % hubs.len().max(1)) else {
            return Vec::new();
        };
        self.volatile.hello_at = Some(now);
        let body = Body::Hello {
            seen_epoch: self.durable.epoch,
            generation: if self.volatile.distrusts {
                0
            } else {
                self.durable.generation
            },
            root: self.root(),
        };
        vec![Message {
            cluster,
            hub: *hub,
            body,
        }]
    }

    /// Works on the application: one decision, saved and done. `crash` kills the process midway.
    ///
    /// # Errors
    /// A rule is broken.
    pub fn work(
        &mut self,
        now: Timestamp,
        crash: Option<Crash>,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        self.start();
        let command = self.unit::<Command>("command");
        if self
            .durable
            .track
            .as_ref()
            .is_some_and(|track| !track.state.is_terminal())
        {
            return self.drive(now, command, crash, mutant, counts);
        }
        self.follow(command.as_ref());
        Ok(())
    }

    fn unit<T: serde::de::DeserializeOwned>(&self, kind: &str) -> Option<T> {
        let key = format!("{kind}/{}", application());
        let (_, digest) = self.durable.units.get(&key)?;
        serde_json::from_slice(self.durable.blobs.get(&digest.as_ref()?.0)?).ok()
    }

    /// Starts what was granted, unless a run is under way.
    fn start(&mut self) {
        let key = format!("application/{}", application());
        let Some((generation, Some(digest))) = self.durable.units.get(&key).copied() else {
            return;
        };
        let busy = self
            .durable
            .track
            .as_ref()
            .is_some_and(|track| !track.state.is_terminal());
        if self.durable.decided == Some(digest) || busy {
            return;
        }
        let Some(bundle) = self.unit::<Bundle>("application") else {
            return;
        };
        let image = image_of(bundle.components.iter().flat_map(|part| &part.objects));
        let durable = &mut self.durable;
        durable.decided = Some(digest);
        durable.outcome = Some(UnitOutcome::Progressing);
        durable.reason = String::new();
        let plain = bundle.mode == BundleMode::Plain
            || self.member.image.is_empty()
            || self.member.image == image;
        if plain {
            durable.track = None;
            self.member.apply(&image);
            return;
        }
        if durable
            .failed
            .get(&image)
            .is_some_and(|run| *run != bundle.run)
        {
            // The same template failed in another run: it is held, not tried again.
            durable.outcome = Some(UnitOutcome::Failed);
            durable.reason = "Held".to_owned();
            return;
        }
        let spec = track_spec(&bundle, generation);
        // The run starts at the time of its first decision.
        durable.track = Some(Track {
            state: RunState::new(&spec, Timestamp::UNIX_EPOCH),
            old: self.member.image.clone(),
            new: image,
            spec,
            summary: None,
        });
    }

    /// Follows a plain release until it runs.
    fn follow(&mut self, command: Option<&Command>) {
        if self.durable.outcome != Some(UnitOutcome::Progressing) {
            return;
        }
        let Some(bundle) = self.unit::<Bundle>("application") else {
            return;
        };
        let aborted = command.is_some_and(|command| {
            command.run == bundle.run
                && command.attempt == bundle.attempt
                && command.abort.is_some()
        });
        if self.member.runs(&self.member.image.clone()) {
            self.durable.outcome = Some(UnitOutcome::Succeeded);
            self.durable.finished.insert((bundle.run, bundle.attempt));
            self.durable.applied_release = Some(bundle.release);
            self.durable.applied_image = self.member.image.clone();
        } else if aborted {
            self.durable.outcome = Some(UnitOutcome::Failed);
            self.durable.reason = "Manual".to_owned();
        }
    }

    fn drive(
        &mut self,
        now: Timestamp,
        command: Option<Command>,
        crash: Option<Crash>,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let Some(track) = self.durable.track.clone() else {
            return Ok(());
        };
        let mut spec = track.spec.clone();
        spec.command = command.unwrap_or_default();
        let mut state = track.state.clone();
        if state.started_at == Timestamp::UNIX_EPOCH {
            state = RunState::new(&spec, now);
        }
        let mut seen = self.member.observe(&track.old, &track.new);
        seen.samples = self.volatile.samples.take();
        if mutant == Mutant::SkipReadiness {
            pretend_ready(&mut seen);
        }
        let decision = decide(now, &spec, &state, &seen);
        let edge = Edge {
            now,
            spec: &spec,
            before: &state,
            decision: &decision,
        };
        edge.check(&self.member, &track.new)?;
        counts.one(&format!("agent/{}", stage_name(&decision.next)));
        if crash == Some(Crash::BeforeSave) {
            counts.one("fault/agent-crash-before-save");
            self.crash();
            return Ok(());
        }
        self.save(&track, spec, &decision);
        if crash == Some(Crash::AfterSave) {
            counts.one("fault/agent-crash-after-save");
            self.crash();
            return Ok(());
        }
        self.member
            .overlay(&Overlay::of(&decision.next), &track.old, &track.new);
        if let Some(request) = decision.sample {
            self.volatile.samples = Some(self.measure(&request, &track.new, now, counts));
        }
        Ok(())
    }

    fn save(&mut self, track: &Track, spec: RolloutTrackSpec, decision: &Decision) {
        let durable = &mut self.durable;
        if decision.next.is_terminal() {
            let succeeded = matches!(
                decision.next.stage,
                bellwether_agent_core::machine::Stage::Succeeded
            );
            if succeeded {
                durable.outcome = Some(UnitOutcome::Succeeded);
                durable.finished.insert((spec.run, spec.attempt));
                durable.applied_release = Some(spec.release.clone());
                durable.applied_image.clone_from(&track.new);
            } else {
                durable.outcome = Some(UnitOutcome::Failed);
                durable.reason = "FailedChecks".to_owned();
                durable.failed.insert(track.new.clone(), spec.run);
            }
        } else if matches!(
            decision.next.stage,
            bellwether_agent_core::machine::Stage::RollingBack { .. }
        ) {
            durable.outcome = Some(UnitOutcome::RollingBack);
        }
        durable.track = Some(Track {
            spec,
            state: decision.next.clone(),
            summary: Some(decision.summary.clone()),
            ..track.clone()
        });
    }

    fn measure(
        &self,
        request: &SampleRequest,
        image: &str,
        now: Timestamp,
        counts: &mut Counts,
    ) -> Samples {
        let sample = if !self.metrics || self.member.carried.percent() == 0 {
            counts.one("fault/no-metrics");
            Sample::default()
        } else {
            if Quality::of(image) == Quality::Failing {
                counts.one("fault/bad-metrics");
            }
            let value = if Quality::of(image) == Quality::Failing {
                80.0
            } else {
                100.0
            };
            sample_of(value)
        };
        Samples {
            check: request.check,
            at: now,
            metrics: vec![MetricSample {
                metric: "request-success-rate".to_owned(),
                sample,
            }],
        }
    }

    /// Reports its latest state when it changed or was not confirmed.
    pub fn report(&mut self, now: Timestamp) -> Option<Message> {
        let session = self.volatile.session?;
        let status = self.status()?;
        let changed = self
            .volatile
            .sent
            .as_ref()
            .is_none_or(|(sent, _)| *sent != status);
        let unheard = self.volatile.acked < self.volatile.sequence
            && self
                .volatile
                .sent
                .as_ref()
                .is_some_and(|(_, at)| now.duration_since(*at) >= RESEND);
        if !changed && !unheard {
            return None;
        }
        self.volatile.sequence += 1;
        self.volatile.sent = Some((status.clone(), now));
        let body = Body::Status {
            epoch: session.epoch,
            sequence: self.volatile.sequence,
            status: Box::new(status),
        };
        Some(Message {
            cluster: self.cluster,
            hub: session.hub,
            body,
        })
    }

    /// Its latest state; absent = nothing was granted.
    #[must_use]
    pub fn status(&self) -> Option<UnitStatus> {
        let digest = self.durable.decided?;
        let bundle: Bundle = serde_json::from_slice(self.durable.blobs.get(&digest.0)?).ok()?;
        let outcome = self.durable.outcome.unwrap_or(UnitOutcome::Progressing);
        let unfinished = matches!(outcome, UnitOutcome::Progressing | UnitOutcome::RollingBack);
        let healthy = self.member.runs(&self.member.image.clone());
        let track = self
            .durable
            .track
            .as_ref()
            .filter(|track| track.spec.run == bundle.run);
        Some(UnitStatus {
            application: application(),
            digest: digest.to_string(),
            generation: self.durable.generation,
            run: bundle.run,
            attempt: bundle.attempt,
            release: bundle.release,
            outcome,
            reason: self.durable.reason.clone(),
            applied_release: self.durable.applied_release.clone(),
            health: if healthy {
                Health::Healthy
            } else {
                Health::Progressing
            },
            objects: Vec::new(),
            object_count: 1,
            rollouts: track
                .and_then(|track| track.summary.clone())
                .into_iter()
                .collect(),
            waiting_on: if unfinished {
                vec![waiting()]
            } else {
                Vec::new()
            },
            events: Vec::new(),
            executed: Vec::new(),
            orphans: Vec::new(),
            warnings: Vec::new(),
        })
    }
}

fn waiting() -> WaitReason {
    WaitReason {
        reason: "Progressing".to_owned(),
        message: "under way".to_owned(),
        on: None,
        since: None,
        by_itself: None,
    }
}

fn track_spec(bundle: &Bundle, generation: u64) -> RolloutTrackSpec {
    let rollout = bundle
        .rollouts
        .first()
        .expect("every release of the simulation has one");
    RolloutTrackSpec {
        application: bundle.application.clone(),
        release: bundle.release.clone(),
        revision: bundle.revision,
        run: bundle.run,
        attempt: bundle.attempt,
        generation,
        mode: bundle.mode,
        workload: ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: rollout.spec.workload.namespace.clone(),
            name: rollout.spec.workload.name.clone(),
        },
        plan: rollout.spec.clone(),
        command: Command::default(),
        local: None,
    }
}

/// What an agent sees that takes every pod for ready.
fn pretend_ready(seen: &mut Observations) {
    if let Some(canary) = &mut seen.canary {
        canary.ready = canary.replicas;
        canary.available = canary.replicas;
        canary.observed_generation = canary.generation;
        let ready: BTreeSet<String> = (0..canary.replicas)
            .map(|number| format!("canary-{number}"))
            .collect();
        seen.canary_endpoints.ready = ready;
    }
}

fn stage_name(state: &RunState) -> &'static str {
    use bellwether_agent_core::machine::Stage;
    match state.stage {
        Stage::Initializing => "Initializing",
        Stage::Pausing => "Pausing",
        Stage::Pinning => "Pinning",
        Stage::Step { .. } => "Step",
        Stage::Promoting { .. } => "Promoting",
        Stage::RollingBack { .. } => "RollingBack",
        Stage::Succeeded => "Succeeded",
        Stage::Failed { .. } => "Failed",
    }
}

fn sample_of(value: f64) -> Sample {
    Sample {
        value: Some(value),
        requests: Some(1_000.0),
        scrapes: Some(10),
        window: Dur::from_secs(20),
        ..Sample::default()
    }
}
