use std::{collections::BTreeSet, sync::Arc};

use bellwether_api::{
    application::Destination,
    cluster::{NodeProperties, PodRequests},
    placement::{PlacementPolicy, Taint},
    selector::Selector,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Choice, Chosen, ClusterFacts, CordonMode, PlacementCondition, Properties, Scheduling, Standing,
    Verdict, WhyNot, choose, is_lost,
};

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Cluster `c<number>` in that region, with that many ready nodes; absent = nothing is known of it.
fn cluster(number: u128, region: &str, nodes: Option<u32>) -> ClusterFacts {
    let nodes = nodes.map(|ready| NodeProperties {
        ready,
        allocatable_cpu_milli: u64::from(ready) * 4_000,
        allocatable_memory_bytes: u64::from(ready) << 34,
        regions: vec![region.to_owned()],
        zones: Vec::new(),
        requested: Some(PodRequests {
            cpu_milli: 3_000,
            memory_bytes: 1 << 34,
        }),
    });
    let known = nodes.is_some();
    ClusterFacts {
        id: id(number),
        name: format!("c{number}"),
        labels: [("country".to_owned(), region.to_owned())].into(),
        metrics: None,
        traffic: Vec::new(),
        scheduling: Arc::new(Scheduling {
            properties: Properties {
                kubernetes_version: known.then(|| format!("v1.{}.2-gke.1", 30 + number)),
                api_kinds: if known {
                    ["apps/v1", "apps/v1/Deployment"].map(str::to_owned).into()
                } else {
                    Arc::default()
                },
                nodes,
            },
            ..Scheduling::default()
        }),
    }
}

fn changed(cluster: &mut ClusterFacts, change: impl FnOnce(&mut Scheduling)) {
    let mut scheduling = (*cluster.scheduling).clone();
    change(&mut scheduling);
    cluster.scheduling = Arc::new(scheduling);
}

fn fleet() -> Vec<ClusterFacts> {
    vec![
        cluster(1, "de", Some(3)),
        cluster(2, "de", Some(9)),
        cluster(3, "us", Some(5)),
        cluster(4, "us", None),
    ]
}

fn holding(numbers: impl IntoIterator<Item = u128>) -> Standing {
    Standing {
        holding: numbers.into_iter().map(id).collect(),
        ..Standing::default()
    }
}

fn chosen(policy: Value, clusters: &[ClusterFacts], standing: &Standing) -> Chosen {
    let policy: PlacementPolicy = serde_json::from_value(policy).expect("a policy");
    let destination = Destination {
        selector: Some(Selector::default()),
        ..Destination::default()
    };
    choose(Choice {
        destination: &destination,
        policy: Some(&policy),
        fleet: None,
        clusters,
        standing,
    })
    .expect("a choice")
}

fn names(chosen: &Chosen) -> Vec<&str> {
    let clusters = chosen.placement.clusters.iter();
    clusters.map(|cluster| cluster.name.as_str()).collect()
}

fn why_not(chosen: &Chosen, number: u128) -> Option<WhyNot> {
    let found = chosen.verdicts.iter().find(|(one, _)| *one == id(number));
    match found?.1 {
        Verdict::Not(why) => Some(why),
        _ => None,
    }
}

#[test]
fn properties_and_labels_are_compared() {
    let nobody = Standing::default();
    let by = |requirement: Value| {
        let found = chosen(json!({"affinity": [requirement]}), &fleet(), &nobody);
        names(&found).join(" ")
    };
    let version = |operator: &str, value: &str| {
        by(json!({"property": "KubernetesVersion", "operator": operator, "values": [value]}))
    };
    assert_eq!(version("AtLeast", "1.32"), "c2 c3");
    assert_eq!(
        version("AtMost", "1.32"),
        "c1 c2",
        "what the patch is does not matter"
    );
    assert_eq!(version("AtMost", "1.32.1"), "c1");
    assert_eq!(version("In", "v1.33"), "c3");
    assert_eq!(
        by(json!({"property": "ReadyNodes", "operator": "AtMost", "values": ["5"]})),
        "c1 c3"
    );
    assert_eq!(
        by(json!({"property": "AllocatableCpu", "operator": "AtLeast", "values": ["20"]})),
        "c2 c3"
    );
    assert_eq!(
        by(json!({"property": "AllocatableMemory", "operator": "AtLeast", "values": ["100Gi"]})),
        "c2"
    );
    assert_eq!(
        by(json!({"property": "RequestedCpu", "operator": "AtMost", "values": ["3"]})),
        "c1 c2 c3"
    );
    assert_eq!(
        by(json!({"property": "FreeCpu", "operator": "AtLeast", "values": ["17"]})),
        "c2 c3"
    );
    assert_eq!(
        by(json!({"property": "FreeMemory", "operator": "AtMost", "values": ["32Gi"]})),
        "c1"
    );
    assert_eq!(
        by(json!({"property": "Region", "operator": "NotIn", "values": ["de"]})),
        "c3"
    );
    assert_eq!(
        by(json!({"property": "Zone", "operator": "DoesNotExist"})),
        "c1 c2 c3"
    );
    assert_eq!(
        by(json!({"property": "ApiKinds", "operator": "In", "values": ["apps/v1/Deployment"]})),
        "c1 c2 c3"
    );
    assert_eq!(
        by(json!({"label": "country", "operator": "In", "values": ["us"]})),
        "c3 c4"
    );
    assert_eq!(
        by(json!({"label": "edge", "operator": "DoesNotExist"})),
        "c1 c2 c3 c4"
    );
}

#[test]
fn what_is_not_known_chooses_nobody_anew_and_takes_nothing_away() {
    let policy = json!({"affinity": [
        {"property": "KubernetesVersion", "operator": "AtLeast", "values": ["1.20"]}]});
    let anew = chosen(policy.clone(), &fleet(), &Standing::default());
    assert_eq!(why_not(&anew, 4), Some(WhyNot::NotKnown(0)));
    let kept = chosen(policy, &fleet(), &holding([4]));
    assert_eq!(names(&kept), ["c1", "c2", "c3", "c4"]);
}

#[test]
fn scores_choose_and_whoever_has_it_keeps_it() {
    let policy = json!({"pick": "N", "count": 2, "scores": [{"property": "ReadyNodes"}]});
    let first = chosen(policy.clone(), &fleet(), &Standing::default());
    assert_eq!(names(&first), ["c2", "c3"]);
    assert_eq!(why_not(&first, 1), Some(WhyNot::Surplus));
    let later = chosen(policy.clone(), &fleet(), &holding([1, 4]));
    assert_eq!(names(&later), ["c1", "c4"], "better ones move nobody");
    let planned = Standing {
        planned: [id(4)].into(),
        ..holding([1])
    };
    assert_eq!(
        names(&chosen(policy.clone(), &fleet(), &planned)),
        ["c1", "c4"]
    );
    let fewer = json!({"pick": "N", "count": 1, "scores": [{"property": "ReadyNodes"}]});
    assert_eq!(names(&chosen(fewer, &fleet(), &holding([1, 3, 4]))), ["c3"]);
    let least = json!({"pick": "N", "count": 1,
        "scores": [{"property": "ReadyNodes", "order": "Ascending"}]});
    assert_eq!(
        names(&chosen(least, &fleet(), &Standing::default())),
        ["c1"]
    );
    let many = chosen(
        json!({"pick": "N", "count": 9}),
        &fleet(),
        &Standing::default(),
    );
    assert_eq!(
        many.placement.conditions(),
        [PlacementCondition::TooFew {
            chosen: 4,
            wanted: 9
        }]
    );
}

#[test]
fn taints_keep_away_what_does_not_tolerate_them() {
    let mut clusters = fleet();
    let taint = |effect: &str| -> Taint {
        serde_json::from_value(json!({"key": "gpu", "value": "yes", "effect": effect}))
            .expect("a taint")
    };
    changed(&mut clusters[0], |one| {
        one.taints = vec![taint("NoSchedule")]
    });
    changed(&mut clusters[1], |one| {
        one.taints = vec![taint("NoExecute")]
    });
    let found = chosen(json!({}), &clusters, &holding([1, 2]));
    assert_eq!(names(&found), ["c1", "c3", "c4"]);
    assert_eq!(why_not(&found, 2), Some(WhyNot::Taint(0)));
    let anew = chosen(json!({}), &clusters, &Standing::default());
    assert_eq!(names(&anew), ["c3", "c4"]);
    for (toleration, there) in [
        (json!({"key": "gpu", "value": "yes"}), "c1 c2 c3 c4"),
        (
            json!({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}),
            "c2 c3 c4",
        ),
        (json!({"operator": "Exists"}), "c1 c2 c3 c4"),
        (json!({"key": "gpu"}), "c3 c4"),
    ] {
        let policy = json!({"tolerations": [toleration]});
        let found = chosen(policy.clone(), &clusters, &Standing::default());
        assert_eq!(names(&found).join(" "), there, "{policy}");
    }
}

#[test]
fn a_cordoned_cluster_keeps_what_it_has_and_gets_nothing_anew() {
    let mut clusters = fleet();
    changed(&mut clusters[1], |one| {
        one.cordon = Some(CordonMode::Cordoned)
    });
    let anew = chosen(json!({}), &clusters, &Standing::default());
    assert_eq!(why_not(&anew, 2), Some(WhyNot::Cordoned));
    let planned = Standing {
        planned: [id(2)].into(),
        ..Standing::default()
    };
    let not_granted = chosen(json!({}), &clusters, &planned);
    assert_eq!(why_not(&not_granted, 2), Some(WhyNot::Cordoned));
    assert_eq!(names(&chosen(json!({}), &clusters, &holding([2]))).len(), 4);
}

#[test]
fn a_drained_cluster_gives_away_what_another_can_take() {
    let mut clusters = fleet();
    changed(&mut clusters[1], |one| {
        one.cordon = Some(CordonMode::Draining)
    });
    let two = json!({"pick": "N", "count": 2});
    let moved = chosen(two, &clusters, &holding([1, 2]));
    assert_eq!(names(&moved), ["c1", "c3"]);
    assert_eq!(why_not(&moved, 2), Some(WhyNot::Draining));
    assert_eq!(moved.placement.conditions(), []);
    for (policy, standing) in [
        (json!({"pick": "N", "count": 4}), holding([1, 2])),
        (json!({}), holding([1, 2, 3, 4])),
    ] {
        let stuck = chosen(policy, &clusters, &standing);
        assert_eq!(names(&stuck), ["c1", "c2", "c3", "c4"]);
        assert_eq!(
            stuck.placement.conditions(),
            [PlacementCondition::CannotMove(vec!["c2".to_owned()])]
        );
    }
}

/// Whoever takes its place may be of its own group, which is full with it: the place is given away all the
/// same, and not lost before it runs there.
#[test]
fn a_drained_cluster_gives_its_place_in_a_full_group_away() {
    let mut clusters = fleet();
    changed(&mut clusters[0], |one| {
        one.cordon = Some(CordonMode::Draining)
    });
    for pick in [json!({"pick": "N", "count": 2}), json!({"pick": "All"})] {
        let mut policy = pick;
        policy["spread"] = json!([{"by": "country", "max": 1}]);
        // Also once whoever takes its place was granted it: that they run it is for others to say.
        for standing in [holding([1, 3]), holding([1, 2, 3])] {
            let moved = chosen(policy.clone(), &clusters, &standing);
            assert_eq!(names(&moved), ["c2", "c3"]);
            assert_eq!(why_not(&moved, 1), Some(WhyNot::Draining));
            assert_eq!(moved.moving(), [id(1)].into());
            assert!(!moved.loses(id(1)));
        }
    }
}

#[test]
fn clusters_are_spread_over_groups() {
    let even = json!({"pick": "N", "count": 2, "spread": [{"by": "country"}]});
    let found = chosen(even, &fleet(), &Standing::default());
    assert_eq!(names(&found), ["c1", "c3"]);
    let few = json!({"spread": [{"by": "region", "max": 1}]});
    let found = chosen(few, &fleet(), &Standing::default());
    assert_eq!(names(&found), ["c1", "c3"]);
    assert_eq!(why_not(&found, 2), Some(WhyNot::GroupFull(0)));
    assert_eq!(
        why_not(&found, 4),
        Some(WhyNot::NoGroup(0)),
        "its nodes are not known"
    );
    let both = json!({"pick": "N", "count": 2, "spread": [{"by": "country", "min": 1}]});
    let stays = chosen(both, &fleet(), &holding([1, 2]));
    assert_eq!(names(&stays), ["c1", "c2"], "nobody moves for it");
    assert_eq!(
        stays.placement.conditions(),
        [PlacementCondition::SpreadShort {
            by: "country".to_owned(),
            groups: vec!["us".to_owned()],
            min: 1
        }]
    );
}

#[test]
fn only_a_silence_longer_than_the_policy_says_moves_an_application() {
    let policy = json!({"pick": "N", "count": 2, "failover": {"after": "10m"}});
    let read: PlacementPolicy = serde_json::from_value(policy.clone()).expect("a policy");
    let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(1);
    let heard = |minutes: i64| Some(now - jiff::SignedDuration::from_mins(minutes));
    let failover = read.failover.as_ref();
    assert!(!is_lost(failover, heard(10), now));
    assert!(is_lost(failover, heard(11), now));
    assert!(!is_lost(failover, None, now), "never heard of is not known");
    assert!(!is_lost(None, heard(60), now), "nobody asked for it");
    let standing = Standing {
        lost: BTreeSet::from([id(2)]),
        ..holding([1, 2])
    };
    let found = chosen(policy, &fleet(), &standing);
    assert_eq!(names(&found), ["c1", "c3"]);
    assert_eq!(why_not(&found, 2), Some(WhyNot::Silent));
}

#[test]
fn a_hub_that_hears_nobody_moves_nothing() {
    let all: BTreeSet<Uuid> = (1..=4).map(id).collect();
    let deaf = Standing {
        lost: all.clone(),
        unheard: all,
        ..holding([1, 2])
    };
    let policy = json!({"pick": "N", "count": 2, "failover": {"after": "1m"}});
    let found = chosen(policy, &fleet(), &deaf);
    assert_eq!(names(&found), ["c1", "c2"]);
    assert_eq!(why_not(&found, 3), Some(WhyNot::NotHeard));
    assert_eq!(
        found.placement.conditions(),
        [PlacementCondition::CannotMove(vec![
            "c1".to_owned(),
            "c2".to_owned()
        ])]
    );
}

#[test]
fn what_is_asked_of_the_load_takes_nothing_away() {
    let busy = |property: &str, values: &str| json!({"affinity": [{"property": property, "operator": "AtLeast", "values": [values]}]});
    let policy = busy("FreeCpu", "100");
    let anew = chosen(policy.clone(), &fleet(), &Standing::default());
    assert_eq!(names(&anew), Vec::<&str>::new());
    assert_eq!(names(&chosen(policy, &fleet(), &holding([1]))), ["c1"]);
    let of_nodes = busy("AllocatableCpu", "100");
    let lost = chosen(of_nodes, &fleet(), &holding([1]));
    assert_eq!(
        names(&lost),
        Vec::<&str>::new(),
        "what nodes give is no load"
    );
}
