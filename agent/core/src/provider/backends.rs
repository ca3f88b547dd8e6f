//! Shares of backends that stand in a list with relative weights.

use bellwether_api::number::Weight;
use serde_json::{Value, json};

/// How the backends of one kind are written.
pub(super) struct Backends<'a> {
    /// Tells whether a backend is the apex Service.
    pub(super) is_apex: &'a dyn Fn(&Value) -> bool,
    /// Tells whether a backend is the canary Service.
    pub(super) is_canary: &'a dyn Fn(&Value) -> bool,
    /// Makes the apex' backend the canary's.
    pub(super) rename: &'a dyn Fn(&mut Value),
    /// What a backend without a weight weighs beside others.
    pub(super) default_weight: u64,
    /// The largest weight that the kind takes.
    pub(super) max_weight: u64,
}

impl Backends<'_> {
    /// Tells whether the apex Service is among them.
    pub(super) fn has_apex(&self, backends: &[Value]) -> bool {
        backends.iter().any(|backend| (self.is_apex)(backend))
    }

    /// Splits every backend that is the apex into that one and the canary, which gets `weight`
    /// percent of what the apex had; what others have stays their share.
    pub(super) fn split(&self, backends: &[Value], weight: Weight) -> Vec<Value> {
        // Alone, a backend's weight means nothing; beside others it is a share that is split
        // further.
        let alone = backends.len() == 1;
        let mut out = Vec::with_capacity(backends.len() + 1);
        let mut weights = Vec::with_capacity(backends.len() + 1);
        for backend in backends {
            let own = if alone { 1 } else { self.weight(backend) };
            if (self.is_apex)(backend) {
                weights.push(own * u64::from(weight.rest().percent()));
                weights.push(own * u64::from(weight.percent()));
                out.extend([backend.clone(), self.canary_of(backend)]);
            } else {
                weights.push(own * 100);
                out.push(backend.clone());
            }
        }
        scale_down(&mut weights, self.max_weight);
        for (backend, weight) in out.iter_mut().zip(weights) {
            backend["weight"] = json!(weight);
        }
        out
    }

    /// The apex' backends as the canary's, alone and without weights.
    pub(super) fn canary_only(&self, backends: &[Value]) -> Vec<Value> {
        let apex = backends.iter().filter(|backend| (self.is_apex)(backend));
        let mut out: Vec<Value> = apex.map(|backend| self.canary_of(backend)).collect();
        if let [single] = out.as_mut_slice() {
            super::tree::remove(single, "weight");
        }
        out
    }

    /// The apex' backends, with the canary's beside them at no weight. The weight of 1 tells them
    /// from a split, whose weights are hundredths.
    pub(super) fn stable_only(&self, backends: &[Value]) -> Vec<Value> {
        let apex = backends.iter().filter(|backend| (self.is_apex)(backend));
        let mut out = Vec::new();
        for backend in apex.take(1) {
            let (mut stable, mut canary) = (backend.clone(), self.canary_of(backend));
            stable["weight"] = json!(1);
            canary["weight"] = json!(0);
            out.extend([stable, canary]);
        }
        out
    }

    fn canary_of(&self, backend: &Value) -> Value {
        let mut copy = backend.clone();
        (self.rename)(&mut copy);
        copy
    }

    fn weight(&self, backend: &Value) -> u64 {
        backend
            .get("weight")
            .and_then(Value::as_u64)
            .unwrap_or(self.default_weight)
    }

    /// Returns the canary's share of one rule's backends; `None` when the rule has no share of its
    /// own: it has neither Service, or is one of those that send everything to one version.
    pub(super) fn share(&self, backends: &[Value]) -> Option<Weight> {
        let sum = |of: &dyn Fn(&Value) -> bool| -> Option<u64> {
            let mut of = backends.iter().filter(|backend| of(backend)).peekable();
            of.peek()?;
            Some(of.map(|backend| self.weight(backend)).sum())
        };
        let (apex, canary) = (sum(self.is_apex)?, sum(self.is_canary));
        let Some(canary) = canary else {
            return Some(Weight::ZERO);
        };
        if (apex, canary) == (1, 0) || apex + canary == 0 {
            return None;
        }
        let percent = (canary * 200 + apex + canary) / (2 * (apex + canary));
        Some(Weight::clamped(u32::try_from(percent).unwrap_or(100)))
    }
}

/// The one share that all rules have; rules that a plan leaves out have none, so that with a
/// `limited` plan only shares above 0 must agree.
pub(super) fn agreed(shares: impl Iterator<Item = Weight>, limited: bool) -> Option<Weight> {
    let mut agreed = None;
    for share in shares {
        match agreed {
            None => agreed = Some(share),
            Some(Weight::ZERO) if limited => agreed = Some(share),
            Some(before) if before == share || (limited && share == Weight::ZERO) => {}
            Some(_) => return None,
        }
    }
    agreed
}

fn scale_down(weights: &mut [u64], max: u64) {
    let largest = weights.iter().copied().max().unwrap_or(0);
    if largest > max {
        let divisor = largest.div_ceil(max);
        for weight in weights.iter_mut().filter(|weight| **weight > 0) {
            *weight = (*weight / divisor).max(1);
        }
    }
}
