//! A tiny fleet: clusters that answer grants as told to.

use std::collections::BTreeMap;

use bellwether_api::{
    application::{Gate, OnFailure, UnreachablePolicy},
    command::Command,
    reference::NamespacedName,
    status::{Health, Phase, TrackSummary, UnitOutcome, UnitStatus, WaitReason},
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    check::Checker,
    dependencies::Awaited,
    plan::{DrivenByHand, Plan, PlannedCluster, PlannedWave},
    run::{
        ActionKind, ActionOutcome, ClusterPhase, ClusterSeen, Decision, Grant, GrantRelease, Input,
        PendingAction, Reading, RunFacts, RunState, Supersession, Unrendered, decide,
    },
};

pub const RUN: Uuid = Uuid::from_u128(0xA11);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Will {
    Succeed,
    Fail,
    Hang,
}

#[derive(Clone, Debug)]
pub struct Member {
    pub connected: bool,
    pub last_heard: Timestamp,
    pub gone: bool,
    pub will: Will,
    pub granted: Option<Grant>,
    pub command: Option<Command>,
    pub status: Option<UnitStatus>,
    pub applied: Option<String>,
    pub awaits: Vec<Awaited>,
    /// Why what it would lose takes a word; absent = it takes none.
    pub held: Option<String>,
}

pub struct Fleet {
    pub now: Timestamp,
    pub plan: Plan,
    pub state: RunState,
    pub members: BTreeMap<Uuid, Member>,
    pub joiners: Vec<PlannedCluster>,
    pub actions: Vec<PendingAction>,
    pub supersession: Option<Supersession>,
    pub suspended_by_spec: bool,
    pub completes: Vec<String>,
    pub readings: Vec<Reading>,
    pub has_previous: bool,
    pub checker: Checker,
    next_action: u128,
}

pub fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub fn wave(name: &str, clusters: std::ops::Range<u128>) -> PlannedWave {
    PlannedWave {
        name: name.to_owned(),
        clusters: clusters.map(planned).collect(),
        max_concurrent: 1,
        max_failures: 0,
        unreachable: UnreachablePolicy::Wait,
        progress_deadline: None,
        before: Vec::new(),
        after: Vec::new(),
    }
}

pub fn planned(number: u128) -> PlannedCluster {
    PlannedCluster {
        name: format!("c{number}"),
        id: id(number),
    }
}

pub fn plan(waves: Vec<PlannedWave>) -> Plan {
    Plan {
        install: false,
        rollback: false,
        waves,
        on_failure: OnFailure::Halt,
        governed: true,
        by_hand: Vec::new(),
        left_out: Vec::new(),
        may_lose: Some(0),
    }
}

pub fn by_hand(rollout: &str, pods_follow: bool) -> DrivenByHand {
    DrivenByHand {
        rollout: rollout.to_owned(),
        pods_follow,
    }
}

pub fn soak(text: &str) -> Gate {
    Gate {
        soak: Some(text.parse().expect("a duration")),
        ..Gate::default()
    }
}

pub fn approval(count: u32, by: &[&str]) -> Gate {
    let by = by.iter().map(|&name| name.to_owned()).collect();
    Gate {
        approval: Some(bellwether_api::application::ApprovalGate { by, count }),
        ..Gate::default()
    }
}

impl Fleet {
    pub fn new(plan: Plan) -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let members = plan
            .clusters()
            .map(|(_, cluster)| (cluster.id, Member::new(now)))
            .collect();
        Self {
            now,
            state: RunState::new(&plan),
            plan,
            members,
            joiners: Vec::new(),
            actions: Vec::new(),
            supersession: None,
            suspended_by_spec: false,
            completes: Vec::new(),
            readings: Vec::new(),
            has_previous: true,
            checker: Checker::default(),
            next_action: 1,
        }
    }

    pub fn seen(&self) -> Vec<ClusterSeen> {
        self.members
            .iter()
            .filter(|(_, member)| !member.gone)
            .map(|(id, member)| ClusterSeen {
                id: *id,
                member: true,
                connected: member.connected,
                last_heard: Some(member.last_heard),
                // Without a grant of this run it has what it speaks of.
                desired: member
                    .granted
                    .as_ref()
                    .map(digest)
                    .or_else(|| member.status.as_ref().map(|status| status.digest.clone())),
                status: member.status.clone(),
                unrendered: member.held.clone().map(Unrendered::Held),
                awaits: member.awaits.clone(),
                is_forgotten: false,
            })
            .collect()
    }

    /// Decides once, checks every rule, and checks that deciding again changes nothing.
    pub fn decide(&mut self) -> Decision {
        for member in self.members.values_mut().filter(|member| member.connected) {
            member.last_heard = self.now;
        }
        let seen = self.seen();
        let input = Input {
            now: self.now,
            run: RunFacts {
                id: RUN,
                revision: 7,
                has_previous: self.has_previous,
            },
            plan: &self.plan,
            state: &self.state,
            clusters: &seen,
            joiners: &self.joiners,
            actions: &self.actions,
            suspended_by_spec: self.suspended_by_spec,
            completes: &self.completes,
            readings: &self.readings,
            supersession: self.supersession,
        };
        let decision = decide(&input);
        if let Err(violation) = self.checker.observe(&input, &decision) {
            panic!(
                "{violation}\nbefore {:#?}\nafter {:#?}",
                self.state, decision.next
            );
        }
        for grant in &decision.grants {
            let member = self.members.get_mut(&grant.cluster).expect("a member");
            member.granted = Some(grant.clone());
        }
        for change in &decision.commands {
            let member = self.members.get_mut(&change.cluster).expect("a member");
            member.command = Some(change.command.clone());
        }
        self.state = decision.next.clone();
        self.actions.clear();
        self.assert_idempotent();
        decision
    }

    fn assert_idempotent(&self) {
        let seen = self.seen();
        let input = Input {
            now: self.now,
            run: RunFacts {
                id: RUN,
                revision: 7,
                has_previous: self.has_previous,
            },
            plan: &self.plan,
            state: &self.state,
            clusters: &seen,
            joiners: &self.joiners,
            actions: &[],
            suspended_by_spec: self.suspended_by_spec,
            completes: &self.completes,
            readings: &self.readings,
            supersession: self.supersession,
        };
        let again = decide(&input);
        assert!(
            !again.is_change(&self.state),
            "deciding twice changed {again:#?}\n{:#?}",
            self.state
        );
    }

    /// Lets every connected agent work until it has nothing left to do, and report.
    pub fn agents(&mut self) {
        for member in self.members.values_mut().filter(|member| member.connected) {
            member.work();
        }
    }

    /// Decides and lets agents work until nothing changes.
    pub fn settle(&mut self) {
        for _ in 0..100 {
            let before = self.state.clone();
            self.decide();
            self.agents();
            let reported = self.decide();
            if self.state == before && reported.grants.is_empty() {
                return;
            }
        }
        panic!("never settles: {:#?}", self.state);
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now = self
            .now
            .saturating_add(SignedDuration::from_secs(seconds))
            .expect("a time");
        self.decide();
    }

    pub fn act(&mut self, kind: ActionKind, by: &str) -> PendingAction {
        let action = PendingAction {
            id: Uuid::from_u128(0xAC00 + self.next_action),
            kind,
            wave: None,
            cluster: None,
            step: None,
            expected_revision: None,
            set: None,
            to: None,
            by: by.to_owned(),
            reason: String::new(),
        };
        self.next_action += 1;
        action
    }

    /// Lets a cluster report the Rollouts of the application.
    pub fn shows(&mut self, number: u128, tracks: Vec<TrackSummary>) {
        let status = self.member(number).status.as_mut().expect("a status");
        status.rollouts = tracks;
    }

    pub fn answer(&mut self, action: PendingAction) -> (ActionOutcome, String) {
        self.actions = vec![action];
        let decision = self.decide();
        assert_eq!(decision.answered.len(), 1);
        let answer = decision.answered.into_iter().next().expect("an answer");
        (answer.outcome, answer.message)
    }

    pub fn phase(&self, number: u128) -> &ClusterPhase {
        &self.state.clusters[&id(number)].phase
    }

    pub fn member(&mut self, number: u128) -> &mut Member {
        self.members.get_mut(&id(number)).expect("a member")
    }

    /// The numbers of clusters that hold a grant of this release, sorted.
    pub fn granted(&self) -> Vec<u128> {
        self.members
            .iter()
            .filter(|(_, member)| {
                member
                    .granted
                    .as_ref()
                    .is_some_and(|one| one.release == GrantRelease::This)
            })
            .map(|(id, _)| id.as_u128())
            .collect()
    }

    /// Lets a cluster report such an outcome of what it was granted last.
    pub fn reports(&mut self, number: u128, outcome: UnitOutcome) {
        let member = self.member(number);
        let grant = member.granted.clone().expect("a grant");
        let applied = member.applied.clone();
        member.status = Some(status(
            RUN,
            grant.attempt,
            &digest(&grant),
            outcome,
            applied.as_deref(),
        ));
    }

    pub fn lose(&mut self, number: u128) {
        self.member(number).connected = false;
    }
}

fn digest(grant: &Grant) -> String {
    format!("{}-{}-{:?}", grant.cluster, grant.attempt, grant.release)
}

impl Member {
    pub fn new(now: Timestamp) -> Self {
        Self {
            connected: true,
            last_heard: now,
            gone: false,
            will: Will::Succeed,
            granted: None,
            command: None,
            status: Some(status(
                Uuid::nil(),
                1,
                "old",
                UnitOutcome::Succeeded,
                Some("old"),
            )),
            applied: Some("old".to_owned()),
            awaits: Vec::new(),
            held: None,
        }
    }

    /// Has it wait for an application, or no more.
    pub fn wait_for(&mut self, name: &str, waits: bool) {
        self.awaits.retain(|one| one.application.name != name);
        if waits {
            self.awaits.push(Awaited {
                application: NamespacedName {
                    namespace: "shop".to_owned(),
                    name: name.to_owned(),
                },
                why: "its release is under way".to_owned(),
                healthy: 2,
                clusters: 3,
            });
        }
    }

    fn work(&mut self) {
        let Some(grant) = self.granted.clone() else {
            return;
        };
        let digest = digest(&grant);
        let finished = self.status.as_ref().is_some_and(|status| {
            status.digest == digest
                && matches!(status.outcome, UnitOutcome::Succeeded | UnitOutcome::Failed)
        });
        if finished {
            return;
        }
        let aborted = self
            .command
            .as_ref()
            .is_some_and(|command| command.attempt == grant.attempt && command.abort.is_some());
        let plain = grant.release != GrantRelease::This;
        let outcome = match self.will {
            _ if plain => UnitOutcome::Succeeded,
            _ if aborted => UnitOutcome::Failed,
            Will::Succeed => UnitOutcome::Succeeded,
            Will::Fail => UnitOutcome::Failed,
            Will::Hang => UnitOutcome::Progressing,
        };
        if outcome == UnitOutcome::Succeeded {
            self.applied = Some(if plain {
                "old".to_owned()
            } else {
                "new".to_owned()
            });
        }
        self.status = Some(status(
            RUN,
            grant.attempt,
            &digest,
            outcome,
            self.applied.as_deref(),
        ));
    }
}

/// A Rollout at a step where it waits for that reason.
pub fn track(name: &str, phase: Phase, reason: &str) -> TrackSummary {
    serde_json::from_value(serde_json::json!({
        "name": name,
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "phase": phase, "failure": null, "step": 0, "steps": 1,
        "weight": 20, "observedWeight": 20,
        "stable": {"ready": 5, "desired": 5}, "canary": {"ready": 1, "desired": 1},
        "failedChecks": 0, "failureThreshold": 1, "checks": [],
        "waitingOn": [{"reason": reason, "message": "a human decides"}],
    }))
    .expect("a track")
}

pub fn status(
    run: Uuid,
    attempt: u32,
    digest: &str,
    outcome: UnitOutcome,
    applied: Option<&str>,
) -> UnitStatus {
    let waiting = WaitReason {
        reason: "PodsNotReady".to_owned(),
        message: "2 of 5 pods are ready".to_owned(),
        on: None,
        since: None,
        by_itself: None,
    };
    UnitStatus {
        application: NamespacedName {
            namespace: "default".to_owned(),
            name: "shop".to_owned(),
        },
        digest: digest.to_owned(),
        generation: 1,
        run,
        attempt,
        release: "new".to_owned(),
        outcome,
        reason: if outcome == UnitOutcome::Failed {
            "FailedChecks".to_owned()
        } else {
            String::new()
        },
        applied_release: applied.map(str::to_owned),
        health: if outcome == UnitOutcome::Progressing {
            Health::Progressing
        } else {
            Health::Healthy
        },
        objects: Vec::new(),
        object_count: 0,
        rollouts: Vec::new(),
        waiting_on: if outcome == UnitOutcome::Progressing {
            vec![waiting]
        } else {
            Vec::new()
        },
        events: Vec::new(),
        executed: Vec::new(),
        orphans: Vec::new(),
        warnings: Vec::new(),
    }
}
