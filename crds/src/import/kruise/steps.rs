//! Steps: pods, requests, and how each is left.

use serde_json::{Map, Value, json};

use super::{Fields, matching, put};
use crate::number::IntOrPercent;

/// How the steps of a record are carried out.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// The workload's own pods change; else a copy beside it runs the new version.
    pub in_place: bool,
    /// A human leaves the last step too, whatever it holds.
    pub ends_by_hand: bool,
    /// Requests are split by a route.
    pub routed: bool,
    pub by_nginx: bool,
    /// Steps say their weight as a number, not as a share such as `20%`.
    pub is_alpha: bool,
}

const EVERY_POD: IntOrPercent = IntOrPercent::Percent(100);

/// Reads the steps.
pub(super) fn translate(strategy: &Fields<'_>, manner: Manner) -> Vec<Value> {
    let listed = strategy.items("steps");
    if listed.is_empty() {
        strategy.refuse("steps", "a plan has at least one step");
    }
    let last = listed.len().saturating_sub(1);
    let mut before = 0;
    let mut steps = Vec::new();
    for (index, fields) in listed.into_iter().enumerate() {
        let step = Step::read(&fields, manner);
        step.rises(&fields, before, manner);
        before = before.max(step.weight.unwrap_or_default());
        steps.push(step.written(&fields, manner, index == last));
        fields.done();
    }
    if manner.in_place && manner.routed {
        one_dimension(strategy, &steps);
    }
    steps
}

struct Step {
    weight: Option<u64>,
    replicas: Option<IntOrPercent>,
    matches: Vec<Value>,
    /// Seconds after which the step is left; `None` = a human leaves it.
    pause: Option<u64>,
}

impl Step {
    fn read(fields: &Fields<'_>, manner: Manner) -> Self {
        fields.without(
            &["requestHeaderModifier"],
            "a step changes no headers: let your route set them for everybody, or match by one",
        );
        fields.without(&["trafficRoutings"], "it stands beside steps, not in one");
        let pause = fields.object("pause").and_then(|pause| {
            let seconds = pause.count("duration");
            pause.done();
            seconds
        });
        let step = Self {
            weight: weight(fields, manner.is_alpha),
            replicas: fields.pods("replicas"),
            matches: matching::translate(fields, manner.by_nginx),
            pause,
        };
        if step.weight.is_some() && !step.matches.is_empty() {
            fields.refuse(
                "matches",
                "beside a share of the requests some routes take one of both, and others both: say one",
            );
        }
        if step.pods().is_none() {
            fields.refuse("replicas", "say how many pods the step has");
        }
        step
    }

    /// The pods, where they follow the share of requests.
    fn pods(&self) -> Option<IntOrPercent> {
        let share = self.weight.filter(|weight| *weight > 0);
        let share = share.and_then(|weight| Some(IntOrPercent::Percent(weight.try_into().ok()?)));
        self.replicas.or(share)
    }

    /// Refuses what goes back from the new version in the midst of a plan.
    fn rises(&self, fields: &Fields<'_>, before: u64, manner: Manner) {
        // In place, whoever takes every pod takes every request.
        let whole = manner.in_place && self.pods() == Some(EVERY_POD);
        if manner.routed && !whole && self.weight.unwrap_or_default() < before {
            let field = if self.matches.is_empty() {
                share_of(manner.is_alpha)
            } else {
                "matches"
            };
            let message = format!(
                "a step before has {before} % of the requests, and steps take none back: put this one \
                 first"
            );
            fields.refuse(field, message);
        }
    }

    fn written(self, fields: &Fields<'_>, manner: Manner, is_last: bool) -> Value {
        let mut step = Map::new();
        let pods = self.pods();
        let all = pods == Some(EVERY_POD);
        let share = share_of(manner.is_alpha);
        if manner.in_place {
            put(&mut step, "replicas", pods.map(|pods| json!(pods)));
            self.routed_in_place(fields, manner, all, &mut step);
        } else {
            if self.weight.is_none() && self.matches.is_empty() {
                fields.refuse(
                    share,
                    "say which share of the requests the step gets, 0 if none",
                );
            }
            step.insert("weight".to_owned(), json!(self.weight.unwrap_or_default()));
            put(&mut step, "replicas", self.replicas.map(|pods| json!(pods)));
            let matches = (!self.matches.is_empty()).then_some(self.matches);
            put(&mut step, "match", matches);
        }
        // A last step that leaves no old pod has nothing to wait for.
        let done = is_last && all && !manner.ends_by_hand;
        let pause = if done { Some(0) } else { self.pause };
        match pause {
            Some(0) => put(&mut step, "advance", Some("Auto")),
            Some(seconds) => {
                put(&mut step, "advance", Some("After"));
                put(&mut step, "after", Some(format!("{seconds}s")));
            }
            None => {}
        }
        Value::Object(step)
    }

    fn routed_in_place(
        &self,
        fields: &Fields<'_>,
        manner: Manner,
        all: bool,
        step: &mut Map<String, Value>,
    ) {
        let share = share_of(manner.is_alpha);
        if !manner.routed {
            if !self.matches.is_empty() {
                fields.refuse(
                    "matches",
                    "no trafficRoutings say where requests are matched",
                );
            } else if self.replicas.is_some() && self.weight.is_some() {
                fields.note(share, "no trafficRoutings: requests go by pods");
            }
        } else if all {
            if self.weight.is_some_and(|weight| weight != 100) || !self.matches.is_empty() {
                fields.refuse(
                    "replicas",
                    "a step that takes every pod takes every request",
                );
            }
        } else {
            put(step, "weight", self.weight);
            let matches = (!self.matches.is_empty()).then(|| self.matches.clone());
            put(step, "match", matches);
        }
    }
}

/// In place all steps but one of every pod say where requests go, or none does.
fn one_dimension(strategy: &Fields<'_>, steps: &[Value]) {
    let says = |step: &Value| step.get("weight").is_some() || step.get("match").is_some();
    let every = |step: &Value| step["replicas"] == "100%";
    let splits = steps.iter().any(says);
    if splits && !steps.iter().all(|step| says(step) || every(step)) {
        strategy.refuse(
            "steps",
            "some say where requests go, and others let them go by pods: say it of each",
        );
    }
}

/// The share of requests in percent; `None` = nothing is said of it.
fn weight(fields: &Fields<'_>, is_alpha: bool) -> Option<u64> {
    let key = share_of(is_alpha);
    let found = if is_alpha {
        fields.count(key)?
    } else {
        let text = fields.text(key)?;
        let number = text.strip_suffix('%').and_then(|text| text.parse().ok());
        if number.is_none() {
            fields.refuse(key, format!("{text:?} is no share such as 20%"));
        }
        number?
    };
    if found > 100 {
        fields.refuse(key, "a share is at most 100 %");
        return None;
    }
    Some(found)
}

const fn share_of(is_alpha: bool) -> &'static str {
    if is_alpha { "weight" } else { "traffic" }
}
