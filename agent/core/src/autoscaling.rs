//! Workloads whose size an autoscaler sets, and the pods that both versions need then.
//!
//! An autoscaler finds the canary's pods too, by the workload's own selector, and it may take pods
//! from the workload as its traffic leaves. So neither the live count nor the one in the manifest says
//! how many pods carry all the traffic.

use bellwether_api::number::Weight;
use serde::{Deserialize, Serialize};

/// An autoscaler of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutoscalerView {
    /// `HorizontalPodAutoscaler` or `ScaledObject`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The fewest pods that it leaves the workload.
    pub min: u32,
    /// The most pods that it gives the workload.
    pub max: u32,
}

/// What is known of a workload before it is sized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The pods that carried all the traffic when the run began.
    pub start: u32,
    /// The pods that the autoscaler wants of the workload now.
    pub now: u32,
    /// The share of the traffic that the workload does not have.
    pub gone: Weight,
}

/// The sizes of both versions while an autoscaler is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scaled {
    /// The pods that carry all the traffic: the canary's share is a share of them.
    pub base: u32,
    /// The pods that the workload must have before all the traffic is its own again.
    pub whole: u32,
    /// The fewest pods of either version that has traffic.
    pub least: u32,
}

impl Scaled {
    /// Works out the sizes.
    ///
    /// Autoscalers that average over pods find the canary's too, and leave the workload as large as all
    /// the traffic needs. One whose metric sees the old version alone shrinks it as its traffic leaves:
    /// that is no smaller load, so `base` never falls below what carried everything at the start.
    /// `whole` does, because `now` pods for `100 - gone` percent make at most
    /// `now * 100 / (100 - gone)` for everything: going back waits for no pods that a fallen load does
    /// not need. Neither is above the autoscaler's maximum.
    #[must_use]
    pub fn of(load: Load, autoscaler: &AutoscalerView) -> Self {
        let Load { start, now, gone } = load;
        let rest = u64::from(gone.rest().percent());
        let needed = match rest {
            0 => u32::MAX,
            rest => u32::try_from((u64::from(now) * 100).div_ceil(rest)).unwrap_or(u32::MAX),
        };
        let most = autoscaler.max.max(now);
        let base = start.max(now).min(most);
        Self {
            base,
            // Scaled to nothing while the canary has everything, it cannot take anything back.
            whole: base.min(needed).max(u32::from(gone > Weight::ZERO)),
            least: autoscaler.min.min(most),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaled(start: u32, now: u32, gone: u8, (min, max): (u32, u32)) -> Scaled {
        let load = Load {
            start,
            now,
            gone: Weight::new(gone).expect("a weight"),
        };
        let autoscaler = AutoscalerView {
            min,
            max,
            ..AutoscalerView::default()
        };
        Scaled::of(load, &autoscaler)
    }

    #[test]
    fn sizes_hold_whatever_the_autoscaler_counts() {
        for (what, start, now, gone, bounds, base, whole) in [
            ("nothing has moved", 5, 5, 0, (2, 10), 5, 5),
            ("shrunk by what left", 10, 8, 20, (2, 20), 10, 10),
            ("shrunk by half", 10, 5, 50, (2, 20), 10, 10),
            ("shrunk to its minimum", 10, 2, 90, (2, 20), 10, 10),
            ("left whole", 5, 5, 50, (2, 10), 5, 5),
            ("grown", 5, 8, 20, (2, 20), 8, 8),
            ("the load fell, by its share", 10, 4, 20, (2, 20), 10, 5),
            ("the load fell, by all", 10, 4, 0, (2, 20), 10, 4),
            ("everything has left", 5, 2, 100, (2, 20), 5, 5),
            ("a human lowered the maximum", 10, 4, 20, (2, 4), 4, 4),
            ("scaled beyond the maximum", 5, 9, 0, (2, 6), 9, 9),
            ("rounded up", 4, 3, 10, (1, 20), 4, 4),
            ("scaled to nothing", 4, 0, 50, (0, 20), 4, 1),
        ] {
            let sizes = scaled(start, now, gone, bounds);
            assert_eq!((sizes.base, sizes.whole), (base, whole), "{what}");
            assert_eq!(sizes.least, bounds.0, "{what}");
        }
        assert_eq!(scaled(3, 3, 0, (4, 3)).least, 3, "bounds that contradict");
    }

    proptest! {
        #[test]
        fn neither_size_is_smaller_than_what_is_there(
            start in 1u32..500, now in 0u32..500, gone in 0u8..=100, min in 0u32..50, more in 0u32..500,
        ) {
            let sizes = scaled(start, now, gone, (min, min + more));
            prop_assert!(sizes.base >= now && sizes.whole >= now);
            prop_assert!(sizes.whole <= sizes.base);
            prop_assert!(sizes.base <= (min + more).max(now));
        }
    }
}
