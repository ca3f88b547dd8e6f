//! What one seed plays: the fleet, its waves, the releases and the humans.

mod world;

use bellwether_api::{
    application::{ApplicationSpec, Destination, OnFailure, Wave},
    reference::NamespacedName,
};
use bellwether_hub_core::{
    placement::ClusterFacts,
    release::{ReleaseContent, content},
};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use uuid::Uuid;

pub use world::{Particulars, Theme, World};

/// Seconds in which faults happen; after them everything must come to rest.
pub const FAULTS_UNTIL: i64 = 420;
/// Seconds after which a play that is not at rest has failed.
pub const GIVE_UP: i64 = 3_600;

/// How a version behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// Well.
    Good,
    /// Its requests fail.
    Failing,
    /// Its pods never become ready.
    Stuck,
}

impl Quality {
    /// Reads how an image behaves from its name.
    #[must_use]
    pub fn of(image: &str) -> Self {
        if image.ends_with("failing") {
            Self::Failing
        } else if image.ends_with("stuck") {
            Self::Stuck
        } else {
            Self::Good
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Failing => "failing",
            Self::Stuck => "stuck",
        }
    }
}

/// What one seed plays.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The fleet as it is at first.
    pub clusters: Vec<ClusterFacts>,
    /// Small applications beside the one under test that every cluster of the fleet has.
    pub others: u32,
    /// The waves of every release but the first.
    pub waves: Vec<Wave>,
    /// What kind of workload it is, and how it is rolled out.
    pub world: World,
    /// What a failed wave does.
    pub on_failure: OnFailure,
    /// When (seconds) the application is applied, or deleted (absent), in the order of time.
    pub applied: Vec<(i64, Option<ReleaseContent>)>,
}

/// The one application.
#[must_use]
pub fn application() -> NamespacedName {
    NamespacedName {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
    }
}

impl Scenario {
    /// Draws a scenario.
    #[must_use]
    pub fn draw(rng: &mut StdRng, theme: Theme) -> Self {
        let canaries = rng.random_range(1..=2);
        let others = rng.random_range(1..=3);
        let tiers =
            std::iter::repeat_n("canary", canaries).chain(std::iter::repeat_n("prod", others));
        let clusters = tiers
            .zip(1_u128..)
            .map(|(tier, number)| cluster(tier, number));
        let on_failure = [OnFailure::Halt, OnFailure::Continue, OnFailure::RollbackAll];
        let world = World::draw(rng, theme);
        let mut applied = vec![(0, Some(release(1, Quality::Good, &world)))];
        let mut at = rng.random_range(60..100);
        for number in 2..=rng.random_range(2..=4) {
            let quality = [
                Quality::Good,
                Quality::Good,
                Quality::Failing,
                Quality::Stuck,
            ];
            let quality = quality.choose(rng).copied().unwrap_or(Quality::Good);
            applied.push((at, Some(release(number, quality, &world))));
            at += rng.random_range(20..160);
        }
        if rng.random_bool(0.35) {
            delete(&mut applied, at, rng);
        }
        Self {
            clusters: clusters.collect(),
            others: rng.random_range(0..12),
            waves: waves(rng),
            world,
            on_failure: on_failure.choose(rng).copied().unwrap_or(OnFailure::Halt),
            applied,
        }
    }
}

/// Deletes the application at some time, and mostly applies again what was applied last.
fn delete(applied: &mut Vec<(i64, Option<ReleaseContent>)>, end: i64, rng: &mut StdRng) {
    let at = rng.random_range(30..end.min(FAULTS_UNTIL - 20));
    let last = applied
        .iter()
        .rev()
        .find(|(applied_at, _)| *applied_at <= at);
    let content = last.and_then(|(_, content)| content.clone());
    applied.push((at, None));
    if rng.random_bool(0.7) {
        applied.push((at + rng.random_range(1..90), content));
    }
    applied.sort_by_key(|(at, _)| *at);
}

/// A cluster of the destination.
#[must_use]
pub fn cluster(tier: &str, number: u128) -> ClusterFacts {
    ClusterFacts {
        id: Uuid::from_u128(number),
        name: format!("{tier}-{number}"),
        labels: [
            ("tier".to_owned(), tier.to_owned()),
            (MEMBER.to_owned(), "yes".to_owned()),
        ]
        .into(),
        metrics: None,
        traffic: Vec::new(),
        scheduling: std::sync::Arc::default(),
    }
}

/// The label that puts a cluster into the destination.
pub const MEMBER: &str = "shop";

/// Where the application goes.
#[must_use]
pub fn destination() -> Destination {
    serde_json::from_value(json!({"selector": {"matchLabels": {MEMBER: "yes"}}}))
        .expect("the destination is ours")
}

/// The key of the application's unit.
#[must_use]
pub fn unit_key() -> String {
    format!("application/{}", application())
}

/// The key of one of the small applications beside it.
#[must_use]
pub fn other_key(number: u32) -> String {
    format!("application/default/other-{number}")
}

fn waves(rng: &mut StdRng) -> Vec<Wave> {
    let mut after = Vec::new();
    if rng.random_bool(0.7) {
        after.push(json!({"soak": "20s"}));
    }
    if rng.random_bool(0.4) {
        after.push(json!({"approval": {}}));
    }
    let before = if rng.random_bool(0.2) {
        vec![json!({"approval": {}})]
    } else {
        Vec::new()
    };
    let unreachable = ["Wait", "SkipAndCatchUp", "Fail"];
    let policy = |rng: &mut StdRng| unreachable.choose(rng).copied().unwrap_or("Wait");
    let waves: Vec<Value> = vec![
        json!({
            "name": "canary", "selector": {"matchLabels": {"tier": "canary"}},
            "maxConcurrent": rng.random_range(1..=2), "after": after,
            "unreachable": policy(rng), "maxFailures": i32::from(rng.random_bool(0.2)),
        }),
        json!({
            "name": "rest", "maxConcurrent": rng.random_range(1..=2), "before": before,
            "unreachable": policy(rng), "maxFailures": i32::from(rng.random_bool(0.3)),
        }),
    ];
    serde_json::from_value(Value::Array(waves)).expect("the waves are ours")
}

fn release(number: u32, quality: Quality, world: &World) -> ReleaseContent {
    let image = format!("shop:{number}-{}", quality.word());
    let spec: ApplicationSpec = serde_json::from_value(json!({
        "destination": destination(),
        "components": [{"name": "web", "manifests": [
            {"apiVersion": "apps/v1", "kind": world.kind(), "metadata": {"name": "web"},
             "spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}},
        ]}],
    }))
    .expect("the application is ours");
    content("shop", &spec, &[world.rollout()]).expect("the release is ours")
}

/// Returns the image that the application's workload runs in a release or bundle.
#[must_use]
pub fn image_of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> String {
    objects
        .into_iter()
        .find_map(|object| object.pointer("/spec/template/spec/containers/0/image"))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
