//! How many pods a version needs for a share of the traffic.

use bellwether_api::number::{IntOrPercent, Weight};

use crate::weights::PlannedStep;

/// Returns the canary's pods for a step, beside `stable` live replicas: the share of traffic
/// (mirrored requests too) rounded up, at least `max(1, min_replicas)` while the share is above 0,
/// never above `stable`. A step that takes matches and no share gets as many pods as the stable
/// version, because what matches may be anything up to everything. A step's own `replicas` is taken
/// as written, with at least 1 while there is traffic.
#[must_use]
pub fn canary_pods(step: &PlannedStep, stable: u32, min_replicas: u32) -> u32 {
    let mirrored = u32::from(step.weight.rest().percent()) * u32::from(step.mirror.percent());
    let share = Weight::clamped(u32::from(step.weight.percent()) + mirrored.div_ceil(100));
    match step.replicas {
        Some(replicas) => replicas.ceil_of(stable).max(u32::from(step.splits())),
        None if step.weight == Weight::ZERO && !step.matches.is_empty() => stable,
        None if share > Weight::ZERO => share_ceil(share, stable)
            .max(min_replicas.max(1))
            .min(stable),
        None => 0,
    }
}

/// Returns the new pods after a step of an update in place, of `total` in all: a share is rounded up,
/// a count taken as written, at least 1 and never above `total`. A step without a size takes all.
#[must_use]
pub fn batch_pods(replicas: Option<IntOrPercent>, total: u32) -> u32 {
    replicas
        .unwrap_or(IntOrPercent::Percent(100))
        .ceil_of(total)
        .max(1)
        .min(total)
}

/// Returns how many of a batch's `granted` pods must be ready, rounded up: all of them without a
/// threshold.
#[must_use]
pub fn ready_enough(threshold: Option<IntOrPercent>, granted: u32) -> u32 {
    batch_pods(threshold, granted)
}

/// Returns the old version's pods when both versions share `total`: what is left beside the
/// canary's `serving` pods, never more than the user `wrote`, and never 0 unless the canary has all
/// the traffic.
#[must_use]
pub fn fixed_stable(wrote: u32, total: u32, serving: u32, has_all_traffic: bool) -> u32 {
    total
        .saturating_sub(serving)
        .min(wrote)
        .max(u32::from(!has_all_traffic))
}

/// Returns the ready pods that the old version must have before the canary may carry `canary` of
/// the traffic, of `base` pods: the rest of the traffic, rounded up.
#[must_use]
pub fn min_ready_stable(canary: Weight, base: u32) -> u32 {
    share_ceil(canary.rest(), base)
}

/// Returns the smallest weight that a canary must keep when the old version has `ready` of `base`
/// pods ready: what those cannot carry.
#[must_use]
pub fn weight_that_stays(ready: u32, base: u32) -> Weight {
    if base == 0 || ready >= base {
        return Weight::ZERO;
    }
    let carried = u64::from(ready) * 100 / u64::from(base);
    Weight::clamped(u32::try_from(carried).unwrap_or(100)).rest()
}

/// Returns the pods that a share of the traffic needs of `total`, rounded up.
#[must_use]
pub fn share_ceil(share: Weight, total: u32) -> u32 {
    let pods = (u64::from(share.percent()) * u64::from(total)).div_ceil(100);
    u32::try_from(pods).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use bellwether_api::{matching::Match, number::IntOrPercent, strategy::Advance};
    use proptest::prelude::*;

    use super::*;

    fn weight(percent: u8) -> Weight {
        Weight::new(percent).expect("a weight")
    }

    fn step(percent: u8, replicas: Option<IntOrPercent>) -> PlannedStep {
        PlannedStep {
            replicas,
            ..PlannedStep::of_weight(weight(percent), Advance::Auto)
        }
    }

    #[test]
    fn sizes_are_rounded_up_between_one_and_all() {
        for (stable, weight, min, expected) in [
            (5, 20, 1, 1),
            (5, 90, 1, 5),
            (4, 20, 1, 1),
            (10, 20, 1, 2),
            (10, 25, 1, 3),
            (10, 33, 1, 4),
            (10, 99, 1, 10),
            (10, 5, 2, 2),
            (20, 5, 1, 1),
            (2, 5, 3, 2),
            (5, 10, 0, 1),
            (5, 0, 3, 0),
            (0, 50, 1, 0),
        ] {
            let pods = canary_pods(&step(weight, None), stable, min);
            assert_eq!(pods, expected, "{stable} pods, {weight} %, at least {min}");
        }
    }

    #[test]
    fn replicas_of_a_step_are_taken_as_written() {
        for (replicas, weight, expected) in [
            (IntOrPercent::Percent(20), 20, 1),
            (IntOrPercent::Int(7), 20, 7),
            (IntOrPercent::Percent(100), 5, 5),
            (IntOrPercent::Int(0), 5, 1),
            (IntOrPercent::Int(2), 0, 2),
        ] {
            assert_eq!(
                canary_pods(&step(weight, Some(replicas)), 5, 1),
                expected,
                "{replicas}"
            );
        }
    }

    #[test]
    fn mirrored_requests_need_pods_and_matches_may_be_everything() {
        let sized = |percent, mirror, matches: usize, replicas| {
            let step = PlannedStep {
                mirror: weight(mirror),
                matches: vec![Match::default(); matches],
                ..step(percent, replicas)
            };
            canary_pods(&step, 10, 1)
        };
        for (percent, mirror, matches, expected) in [
            (0, 20, 0, 2),
            (0, 100, 0, 10),
            (50, 50, 0, 8),
            (20, 100, 0, 10),
            (0, 0, 1, 10),
            (20, 0, 1, 2),
            (0, 30, 1, 10),
            (0, 0, 0, 0),
        ] {
            let pods = sized(percent, mirror, matches, None);
            assert_eq!(
                pods, expected,
                "{percent} %, mirror {mirror}, {matches} matches"
            );
        }
        assert_eq!(sized(0, 0, 1, Some(IntOrPercent::Int(3))), 3);
        assert_eq!(sized(0, 100, 0, Some(IntOrPercent::Int(0))), 1);
    }

    #[test]
    fn batches_count_all_new_pods() {
        use IntOrPercent::{Int, Percent};
        for (replicas, total, expected) in [
            (Percent(20), 10, 2),
            (Int(5), 10, 5),
            (Percent(200), 10, 10),
            (Int(200), 10, 10),
            (Percent(20), 5, 1),
            (Percent(40), 5, 2),
            (Percent(60), 5, 3),
            (Percent(80), 5, 4),
            (Percent(100), 5, 5),
            (Percent(20), 3, 1),
            (Percent(40), 3, 2),
            (Percent(60), 3, 2),
            (Percent(80), 3, 3),
            (Percent(90), 3, 3),
            (Percent(1), 1, 1),
            (Percent(1), 500, 5),
            (Int(4), 12, 4),
            (Percent(50), 12, 6),
            (Int(4), 0, 0),
        ] {
            assert_eq!(
                batch_pods(Some(replicas), total),
                expected,
                "{replicas} of {total}"
            );
        }
        assert_eq!(batch_pods(None, 7), 7);
        for (percent, granted, expected) in
            [(80, 1, 1), (80, 3, 3), (80, 6, 5), (80, 10, 8), (1, 10, 1)]
        {
            let needed = ready_enough(Some(Percent(percent)), granted);
            assert_eq!(needed, expected, "{percent} % of {granted}");
        }
        assert_eq!(ready_enough(None, 6), 6);
    }

    /// The table of the fixed-total mode: 4 pods in steps of 20 %.
    #[test]
    fn a_fixed_total_takes_from_the_old_version_what_the_canary_has() {
        let table = [
            (0, 0, 4),
            (20, 1, 3),
            (40, 2, 2),
            (60, 3, 1),
            (80, 4, 1),
            (100, 4, 0),
        ];
        for (percent, canary, stable) in table {
            let pods = canary_pods(&step(percent, None), 4, 1);
            assert_eq!(pods, canary, "{percent} %");
            let left = fixed_stable(4, 4, pods, percent == 100);
            assert_eq!(left, stable, "{percent} %");
        }
        assert_eq!(
            fixed_stable(4, 6, 3, false),
            3,
            "a total above what is written"
        );
        assert_eq!(
            fixed_stable(4, 6, 1, false),
            4,
            "never more than is written"
        );
        assert_eq!(
            fixed_stable(4, 4, 3, true),
            1,
            "a pod of the canary is missing"
        );
    }

    #[test]
    fn the_old_version_keeps_pods_for_the_rest_of_the_traffic() {
        for (percent, expected) in [(0, 5), (10, 5), (20, 4), (50, 3), (100, 0)] {
            assert_eq!(
                min_ready_stable(weight(percent), 5),
                expected,
                "{percent} %"
            );
        }
        for (ready, expected) in [(5, 0), (4, 20), (1, 80), (0, 100), (9, 0)] {
            assert_eq!(
                weight_that_stays(ready, 5),
                weight(expected),
                "{ready} ready"
            );
        }
    }

    proptest! {
        #[test]
        fn a_canary_is_never_larger_than_the_whole(stable in 1u32..500, share in 1u8..=100, min in 0u32..9) {
            let pods = canary_pods(&step(share, None), stable, min);
            prop_assert!(pods >= 1 && pods <= stable);
            prop_assert!(u64::from(pods) * 100 >= u64::from(share) * u64::from(stable));
        }

        #[test]
        fn what_stays_and_what_is_needed_agree(ready in 0u32..200, base in 1u32..200) {
            let stays = weight_that_stays(ready, base);
            prop_assert!(min_ready_stable(stays, base) <= ready);
        }
    }
}
