//! Rows of the arithmetic of other systems that are decided otherwise here, or left to somebody else:
//! theirs, ours, and the decision. Rows that are the same stand in `known_arithmetic.rs`.

use bellwether_agent_core::{
    sizes::{batch_pods, canary_pods, min_ready_stable, share_ceil, weight_that_stays},
    weights::{PlannedStep, next_promotion_weight},
};
use bellwether_api::{
    document::load,
    number::{IntOrPercent, Weight},
    strategy::Advance,
};

fn weight(percent: u32) -> Weight {
    Weight::clamped(percent)
}

fn pods(total: u32, percent: u32, min: u32) -> u32 {
    canary_pods(
        &PlannedStep::of_weight(weight(percent), Advance::Auto),
        total,
        min,
    )
}

/// Argo Rollouts without a router counts the pods of both versions against one size and one surge.
/// Here **the old version stays whole while the new one is tested**, and the canary is the share rounded
/// up beside it: never fewer pods than there, of either version.
#[test]
fn without_a_router_the_old_version_stays_whole() {
    // (pods, weight, theirs with a surge of 1 as canary/stable, our canary)
    for (total, percent, (canary, stable), ours) in [
        (1, 1, (1, 1), 1),
        (1, 99, (1, 1), 1),
        (2, 1, (1, 2), 1),
        (2, 99, (2, 1), 2),
        (3, 33, (1, 2), 1),
        (3, 49, (2, 2), 2),
        (3, 50, (2, 2), 2),
        (10, 1, (1, 10), 1),
        (10, 18, (2, 9), 2),
        (10, 20, (2, 8), 2),
        (10, 23, (2, 8), 3),
        (10, 24, (3, 8), 3),
        (10, 99, (10, 1), 10),
    ] {
        let row = format!("{percent} % of {total}");
        assert_eq!(pods(total, percent, 1), ours, "{row}");
        assert!(ours >= canary, "{row}: never fewer new pods than there");
        assert!(total >= stable, "{row}: never fewer old pods than there");
    }
}

/// What a version may lose or gain at a time is Kubernetes' own rolling update there and here: here it
/// alone replaces pods, by the `maxSurge` and `maxUnavailable` of the user's workload, and **a run only
/// says how many the other version needs for its share**: the least that has to be ready on the side that
/// carries the rest.
#[test]
fn progress_limits_are_those_of_the_workloads_own_rolling_update() {
    // (pods, weight, surge and unavailable there, old and new pods there, the least old ones here)
    type Row<'a> = (u32, u32, &'a str, (u32, u32), u32);
    let rows: [Row<'_>; 16] = [
        (10, 20, "2, 0 of 10/10 and 0/0", (10, 2), 8),
        (10, 20, "20 %, 0 of 10/10 and 2/2", (8, 2), 8),
        (10, 30, "2, 0", (10, 2), 7),
        (10, 20, "0, 2", (8, 0), 8),
        (10, 50, "2, 1", (9, 2), 5),
        (10, 0, "1, 1 of 10/10 and 1/1", (10, 0), 10),
        (10, 100, "1, 1 of 1/1 and 10/10", (0, 10), 0),
        (10, 30, "1, 0 of 1/1 and 0/0", (7, 1), 7),
        (10, 30, "0, 3 of 8/5 and 4/4", (7, 3), 7),
        (10, 100, "1, 0 of 10/2 and 10/8", (2, 9), 0),
        (10, 5, "0, 1 of 10/10 and 0/0", (9, 0), 10),
        (10, 10, "0 %, 0 %", (9, 0), 9),
        (4, 0, "1, 0 of 0/0 and 4/4", (1, 4), 4),
        (4, 0, "1, 0 of 1/1 and 4/4", (1, 3), 4),
        (4, 100, "4, 4 of 4/4 and 0: all at once", (0, 4), 0),
        (4, 100, "3, 0: all at once", (4, 3), 0),
    ];
    for (total, percent, theirs, (old, new), least) in rows {
        let row = format!("{percent} % of {total}: {theirs} gives {old} and {new}");
        assert_eq!(min_ready_stable(weight(percent), total), least, "{row}");
        // A weight that the old pods could not carry the rest of does not fall there: it stays here.
        let stays = weight_that_stays(old.min(total), total);
        let carried = share_ceil(stays.rest(), total);
        assert!(carried <= old.min(total).max(least), "{row}: {stays}");
    }
}

/// Flagger jumps to 100 where the live weight is none of its list's: somebody edited the route. Here
/// **an edit of a route holds the run** (`a_foreign_edit_holds_but_a_dead_canary_loses_its_weight`), and no
/// arithmetic starts from what is live: a step has its own weight.
#[test]
fn a_weight_that_is_in_no_list_is_not_gone_on_from() {
    for (live, step, theirs, ours) in [(37, 20, 100, 17), (37, 0, 100, 0), (5, 20, 100, 0)] {
        let step = (step > 0).then(|| weight(step));
        let next = next_promotion_weight(weight(live), step);
        assert_eq!(next, weight(ours), "{live} by {step:?}");
        assert_ne!(next, weight(theirs), "promotion never raises a weight");
    }
}

/// Argo's `setCanaryScale` may name a weight above 100 %. Here **pods beyond the workload's own are named
/// by count**, and a share of more than all is refused where a plan says it of an update in place.
#[test]
fn shares_of_pods_above_all_are_named_by_count() {
    let step = |replicas| PlannedStep {
        replicas: Some(replicas),
        ..PlannedStep::of_weight(weight(20), Advance::Auto)
    };
    // (written, theirs, ours) of 10 pods
    for (written, theirs, ours) in [
        (IntOrPercent::Percent(100), 10, 10),
        (IntOrPercent::Int(12), 12, 12),
        (IntOrPercent::Int(20), 20, 20),
    ] {
        assert_eq!(canary_pods(&step(written), 10, 1), ours, "{written}");
        assert_eq!(theirs, ours, "{written}");
    }
    let plan = "apiVersion: bellwether.dev/v1alpha1\nkind: Rollout\n\
        metadata: {name: web, namespace: default}\nspec:\n  application: shop\n  \
        workload: {apiVersion: apps/v1, kind: StatefulSet, name: web}\n  \
        strategy: {batch: {steps: [{replicas: 200%}]}}\n";
    let refused = load("in.yaml", plan.as_bytes()).expect_err("200 %");
    let said = refused[0].message.clone();
    assert_eq!(said, "a share is at most 100%");
}

/// Kruise keeps one old pod of a Deployment in every step below 100 %: `min(ceil, N - 1)`. A CloneSet's
/// partition is a percentage there, rounded down, at least 1 %; a native DaemonSet's is `N` less the
/// partition, which may be -1 and let 6 of 5 go. Here **a step is the share rounded up, of all pods,
/// whatever the kind, and the partition is written as the number that is left**.
#[test]
fn a_step_is_the_share_rounded_up_for_every_kind() {
    // Of 3 pods: (share, a Deployment's partition there, ours)
    for (share, theirs, ours) in [(20, 1, 1), (40, 2, 2), (60, 2, 2), (80, 2, 3), (90, 2, 3)] {
        let new = batch_pods(Some(IntOrPercent::Percent(share)), 3);
        assert_eq!(new, ours, "{share} % of 3");
        assert!(new >= theirs, "{share} % of 3");
    }
    // Of a CloneSet: (pods, share, percentage that is held there, number that is held here)
    for (total, share, theirs_percent, ours) in [
        (10, 20, 80, 8),
        (3, 20, 66, 2),
        (3, 60, 33, 1),
        (500, 100, 1, 0),
        (7, 50, 42, 3),
    ] {
        let held = total - batch_pods(Some(IntOrPercent::Percent(share)), total);
        assert_eq!(held, ours, "{share} % of {total}");
        let floor = (held * 100 / total).max(1);
        assert_eq!(floor, theirs_percent, "{share} % of {total} there");
    }
    // Of a DaemonSet on 5 nodes: (partition there, pods that change there, ours where a step says as many)
    for (partition, theirs, ours) in [(0, 5, 5), (3, 2, 2), (5, 0, 1), (-1, 6, 5)] {
        let changes = (5_i64 - partition).max(0);
        assert_eq!(changes, theirs, "partition {partition} there");
        let count = IntOrPercent::Int(u32::try_from(changes).unwrap_or_default());
        assert_eq!(batch_pods(Some(count), 5), ours, "partition {partition}");
    }
}

/// A plan that changes mid-run: Kruise takes the smallest step whose replicas are at least those that are
/// planned now. Here **the plan of a run is frozen**, a change is another release and begins at its first
/// step, after the run before went back (`a_changed_plan_is_another_release`). So the first step it is, and
/// its own share, whatever had been reached.
#[test]
fn a_plan_that_changes_begins_at_its_first_step() {
    // (reached in percent, the new steps, their step counted from 1, the share of our first)
    for (reached, steps, theirs, ours) in [
        (40, [20, 50, 100], 2, 20),
        (40, [20, 40, 100], 2, 20),
        (20, [40, 60, 100], 1, 40),
        (20, [10, 30, 100], 2, 10),
        (10, [10, 30, 100], 1, 10),
    ] {
        let found = steps.iter().position(|share| *share >= reached);
        assert_eq!(
            found.map(|at| at + 1),
            Some(theirs),
            "{steps:?} at {reached}"
        );
        let first = batch_pods(Some(IntOrPercent::Percent(steps[0])), 10);
        assert_eq!(first, ours / 10, "{steps:?}");
    }
}

/// Kruise's script for Istio rounds the old version's share down. Here **both shares are whole
/// percentages that add up to 100**, and pods for either are rounded up.
#[test]
fn the_old_version_is_sized_up_and_not_down() {
    // (weight of the canary, pods, the old version's there, ours)
    for (canary, existing, theirs, ours) in [
        (20, 10, 8, 8),
        (25, 10, 7, 8),
        (33, 3, 2, 3),
        (50, 5, 2, 3),
        (100, 5, 0, 0),
    ] {
        assert_eq!((100 - canary) * existing / 100, theirs, "there");
        assert_eq!(min_ready_stable(weight(canary), existing), ours);
        assert_eq!(
            weight(canary).rest().percent() + u8::try_from(canary).unwrap_or(0),
            100
        );
    }
}
