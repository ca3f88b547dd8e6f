//! What kind of workload is rolled out, and by which plan.

use bellwether_hub_core::release::RolloutRecord;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::member::{REPLICAS, Scaler};

/// What a seed is about. Those of the first million play what they always played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Anything that weights and batches do.
    Any,
    /// Matches, mirrors and whole switches say which requests go where.
    Requests,
    /// Both versions share a fixed total, and people scale it all the time.
    Total,
    /// As the first, and what a release brings to a cluster takes the hub a while to render.
    Rendered,
    /// As the first, of Deployments whose pods break while the old version of a run is waited for; people
    /// promote what waits.
    Broken,
    /// As the first, with hubs whose clocks run at half to twice the speed of the time that passes.
    Rates,
    /// As the fifth, in clusters whose API server does not take every object, whose gateways have to know a
    /// Service before they give it anything, and whose workloads' own updates stop ready pods.
    Particular,
}

impl Theme {
    /// The first of its seeds.
    #[must_use]
    pub const fn first_seed(self) -> u64 {
        match self {
            Self::Any => 0,
            Self::Requests => 1_000_000,
            Self::Total => 2_000_000,
            Self::Rendered => 3_000_000,
            Self::Broken => 4_000_000,
            Self::Rates => 5_000_000,
            Self::Particular => 6_000_000,
        }
    }

    /// Tells what a seed is about.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        match seed {
            ..1_000_000 => Self::Any,
            1_000_000..2_000_000 => Self::Requests,
            2_000_000..3_000_000 => Self::Total,
            3_000_000..4_000_000 => Self::Rendered,
            4_000_000..5_000_000 => Self::Broken,
            5_000_000..6_000_000 => Self::Rates,
            _ => Self::Particular,
        }
    }

    /// Tells whether pods of what runs break.
    #[must_use]
    pub const fn breaks_versions(self) -> bool {
        matches!(self, Self::Broken | Self::Particular)
    }
}

/// What kind of workload is rolled out, and by which plan; the same in the whole play.
#[derive(Clone, Debug)]
pub struct World {
    /// Whether it is updated in place, in batches.
    pub in_place: bool,
    /// What scales it; absent = nothing does.
    pub scaler: Option<Scaler>,
    /// Whether both versions share a fixed total of pods.
    pub shares: bool,
    /// What it is about.
    pub theme: Theme,
    /// What is particular about its clusters.
    pub particulars: Particulars,
    strategy: Value,
    hooks: Vec<Value>,
}

/// What is particular about the clusters of a play; of most nothing is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Particulars {
    /// Whether releases bring an object that the API server may not be able to convert.
    pub shards: bool,
    /// Whether gateways have to know a Service before they give it anything.
    pub learns: bool,
    /// Whether the plan itself says so, by the kind of the route.
    pub by_plan: bool,
    /// Ready pods that the workload's own update may stop before others are ready.
    pub update_takes: u32,
}

impl Particulars {
    fn draw(rng: &mut StdRng) -> Self {
        Self {
            shards: rng.random_bool(0.7),
            learns: rng.random_bool(0.6),
            by_plan: rng.random_bool(0.4),
            update_takes: [0, 1, REPLICAS].choose(rng).copied().unwrap_or(0),
        }
    }
}

/// Types of hooks that are asked by URL.
const HOOKS: [&str; 7] = [
    "ConfirmRollout",
    "PreRollout",
    "Rollout",
    "ConfirmTrafficIncrease",
    "ConfirmPromotion",
    "Rollback",
    "PostRollout",
];

impl World {
    /// Draws one.
    #[must_use]
    pub fn draw(rng: &mut StdRng, theme: Theme) -> Self {
        let wide = theme == Theme::Requests;
        let is_any = matches!(theme, Theme::Any | Theme::Rendered | Theme::Rates);
        let in_place = is_any && rng.random_bool(0.3);
        let scaler = (!in_place
            && theme != Theme::Total
            && !theme.breaks_versions()
            && rng.random_bool(0.3))
        .then(|| Scaler {
            min: rng.random_range(1..=2),
            max: 8,
            load: 4,
            counts_canary: rng.random_bool(0.5),
        });
        let shares =
            theme == Theme::Total || !wide && !in_place && scaler.is_none() && rng.random_bool(0.3);
        let hooks = if rng.random_bool(0.5) {
            HOOKS
                .iter()
                .filter(|_| rng.random_bool(0.35))
                .map(|kind| json!({"name": kind.to_lowercase(), "type": kind, "url": "http://h"}))
                .collect()
        } else {
            Vec::new()
        };
        Self {
            in_place,
            scaler,
            shares,
            theme,
            particulars: if theme == Theme::Particular {
                Particulars::draw(rng)
            } else {
                Particulars::default()
            },
            strategy: if wide {
                by_requests(rng)
            } else {
                strategy(in_place, rng)
            },
            hooks,
        }
    }

    /// The kind of the workload.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        if self.in_place {
            "StatefulSet"
        } else {
            "Deployment"
        }
    }

    /// The Rollout of every release.
    ///
    /// # Panics
    /// Never: what it is made of is valid.
    #[must_use]
    pub fn rollout(&self) -> RolloutRecord {
        let mut spec = json!({
            "application": "shop",
            "workload": {"apiVersion": "apps/v1", "kind": self.kind(), "name": "web"},
            "strategy": self.strategy,
            "progressDeadline": "90s",
            "drain": "1s",
            "hooks": self.hooks,
            "analysis": {
                "interval": "3s", "failureThreshold": 2,
                "metrics": [{"name": "request-success-rate", "range": {"min": "99"}, "window": "20s"}],
            },
        });
        if !self.in_place {
            spec["service"] = json!({"name": "web", "port": 80});
            spec["traffic"] = if self.particulars.learns && self.particulars.by_plan {
                json!([{"contour": {"httpProxy": "web"}}])
            } else {
                json!([{"gatewayApi": {"httpRoutes": ["web"]}}])
            };
        }
        if self.shares {
            spec["instances"] = json!({"mode": "FixedTotal"});
        }
        RolloutRecord {
            name: "web".to_owned(),
            spec: serde_json::from_value(spec).expect("the rollout is ours"),
            rendered_as: None,
        }
    }
}

/// Strategies that say which requests go where by more than a weight.
fn by_requests(rng: &mut StdRng) -> Value {
    let matches = json!([{"headers": [{"name": "x-group", "exact": "b"}]}]);
    match rng.random_range(0..7) {
        0 | 1 => json!({"abTest": {"iterations": 2, "match": matches}}),
        2 => json!({"blueGreen": {"iterations": 2}}),
        3 => json!({"blueGreen": {"iterations": 2, "analysisTraffic": "Mirror", "standby": "10s"}}),
        4 => json!({"blueGreen": {"iterations": 1, "analysisTraffic": "None", "standby": "5s"}}),
        5 => json!({"canary": {"stepWeight": 40, "mirror": true, "match": matches}}),
        _ => json!({"canary": {"steps": [
            {"weight": 0, "match": matches, "advance": "Auto"},
            {"weight": 20, "mirror": 50, "advance": "Auto"},
            {"weight": 60, "advance": "Manual"},
        ]}}),
    }
}

fn strategy(in_place: bool, rng: &mut StdRng) -> Value {
    if in_place {
        let last = if rng.random_bool(0.3) {
            "Manual"
        } else {
            "Auto"
        };
        return json!({"batch": {"steps": [
            {"replicas": 1, "advance": "Auto"},
            {"replicas": "50%", "advance": "Auto"},
            {"replicas": "100%", "advance": last},
        ]}});
    }
    let canary = match rng.random_range(0..4) {
        0 => json!({"steps": [
            {"weight": 20, "advance": "Auto"}, {"weight": 60, "advance": "Manual"},
        ], "stepWeightPromotion": 30}),
        1 => json!({"stepWeight": 40, "stepWeightPromotion": 50}),
        _ => json!({"weights": [25, 50]}),
    };
    json!({"canary": canary})
}
