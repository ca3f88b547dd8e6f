//! The newest metric samples of each unit, in memory alone: time series never enter Postgres.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use bellwether_proto::wire::Sample;
use uuid::Uuid;

/// Samples kept of one unit in one cluster.
const PER_UNIT: usize = 240;
/// Units whose samples are kept; the unit that was heard of longest ago goes first.
const MAX_UNITS: usize = 4_096;

/// The newest samples of one unit, oldest first.
pub type SampleRing = VecDeque<Sample>;

/// The newest samples of each unit of each cluster; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    rings: Arc<Mutex<Rings>>,
}

#[derive(Debug, Default)]
struct Rings {
    by_unit: HashMap<(Uuid, String), (u64, SampleRing)>,
    clock: u64,
}

impl Samples {
    /// Takes samples of `cluster`; each goes to the ring of its unit's key.
    pub fn push(&self, cluster: Uuid, samples: Vec<Sample>) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in samples {
            rings.clock += 1;
            let clock = rings.clock;
            let (heard, ring) = rings
                .by_unit
                .entry((cluster, sample.key.clone()))
                .or_default();
            *heard = clock;
            if ring.len() == PER_UNIT {
                ring.pop_front();
            }
            ring.push_back(sample);
        }
        while rings.by_unit.len() > MAX_UNITS {
            let oldest = rings
                .by_unit
                .iter()
                .min_by_key(|(_, (heard, _))| *heard)
                .map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                rings.by_unit.remove(&oldest);
            }
        }
    }

    /// The samples of one unit, oldest first; empty = none was heard since the hub started.
    #[must_use]
    pub fn of(&self, cluster: Uuid, key: &str) -> Vec<Sample> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings
            .by_unit
            .get(&(cluster, key.to_owned()))
            .map(|(_, ring)| ring.iter().cloned().collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_bounded() {
        let samples = Samples::default();
        let cluster = Uuid::nil();
        for index in 0..MAX_UNITS + 10 {
            let sample = Sample {
                key: format!("unit-{index}"),
                ..Sample::default()
            };
            samples.push(cluster, vec![sample; 2]);
        }
        assert!(
            samples.of(cluster, "unit-0").is_empty(),
            "the oldest unit went first"
        );
        assert_eq!(
            samples
                .of(cluster, &format!("unit-{}", MAX_UNITS + 9))
                .len(),
            2
        );
        let many = (0..1_000).map(|step| Sample {
            key: "busy".to_owned(),
            step,
            ..Sample::default()
        });
        samples.push(cluster, many.collect());
        let kept = samples.of(cluster, "busy");
        assert_eq!(kept.len(), PER_UNIT);
        assert_eq!(kept.last().map(|sample| sample.step), Some(999));
    }
}
