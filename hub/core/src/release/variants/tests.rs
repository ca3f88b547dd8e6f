use std::slice;

use bellwether_api::{application::ApplicationSpec, rollout::RolloutSpec};
use serde_json::json;

use super::*;
use crate::release::{Change, content};

/// A Rollout as a component renders it, up to some weight.
fn rendered(name: &str, max_weight: u32) -> RolloutRecord {
    let spec: RolloutSpec = serde_json::from_value(json!({
        "application": "shop",
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "strategy": {"canary": {"stepWeight": 10, "maxWeight": max_weight}},
    }))
    .expect("a rollout");
    RolloutRecord {
        name: name.to_owned(),
        rendered_as: Some(RenderedAs::of("web", &json!(max_weight))),
        spec,
    }
}

fn deployment(image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "image": image})
}

fn release(chart: &str, records: &[RolloutRecord]) -> ReleaseContent {
    let spec: ApplicationSpec = serde_json::from_value(json!({
        "destination": {"fleet": "all"},
        "components": [{"name": "web", "manifests": [deployment("web:1")]}],
    }))
    .expect("an application");
    let from = json!({"revision": "1.0.0", "recipe": {"kind": "helm", "artifact": chart}});
    let from = serde_json::from_value(from).expect("a recipe");
    content("shop", &spec, records)
        .expect("content")
        .with_rendered(BTreeMap::from([("web".to_owned(), from)]))
}

fn sent(release: &ReleaseContent, rendered: &[RolloutRecord]) -> Result<Vec<u32>, OtherVariant> {
    let objects = BTreeMap::from([("web".to_owned(), vec![deployment("web:1")])]);
    let content = release.for_cluster(&objects, rendered)?;
    let weights = content.rollouts.iter().map(|rollout| {
        let strategy = serde_json::to_value(&rollout.spec.strategy).expect("a strategy");
        let weight = strategy
            .pointer("/canary/maxWeight")
            .and_then(Value::as_u64);
        u32::try_from(weight.expect("a weight")).expect("a small one")
    });
    Ok(weights.collect())
}

#[test]
fn a_cluster_gets_the_rollout_that_is_rendered_for_it_and_no_other() {
    let (dev, prod) = (rendered("web", 50), rendered("web", 20));
    let both = release("sha256:1", &[dev.clone(), prod.clone()]);
    assert_eq!(sent(&both, slice::from_ref(&dev)), Ok(vec![50]));
    assert_eq!(sent(&both, slice::from_ref(&prod)), Ok(vec![20]));
    assert_eq!(sent(&both, &[]), Ok(vec![]), "its chart says canary: false");
    let one = release("sha256:1", slice::from_ref(&prod));
    assert_eq!(sent(&one, &[]), Ok(vec![]));
    assert_eq!(sent(&one, &[prod]), Ok(vec![20]));
}

#[test]
fn a_rollout_that_is_not_in_the_release_is_never_left_out() {
    let none = release("sha256:1", &[]);
    let refused = sent(&none, &[rendered("web", 20)]).expect_err("a plain update unasked");
    assert_eq!(refused.name, "web");
    let both = release("sha256:1", &[rendered("web", 50), rendered("web", 20)]);
    assert!(sent(&both, &[rendered("web", 30)]).is_err());
    // One of its name is meant, however this hub writes it.
    let one = release("sha256:1", &[rendered("web", 20)]);
    assert_eq!(sent(&one, &[rendered("web", 30)]), Ok(vec![20]));
    // Releases of before know of no variants.
    let mut old = one;
    old.rollouts[0].rendered_as = None;
    assert_eq!(sent(&old, &[rendered("web", 20)]), Ok(vec![20]));
    assert_eq!(sent(&old, &[]), Ok(vec![20]));
}

#[test]
fn what_is_rendered_the_same_everywhere_is_the_release_that_it_was() {
    let new = release("sha256:1", &[rendered("web", 20)]);
    let mut old = new.clone();
    old.rollouts[0].rendered_as = None;
    assert_eq!(old.digest(), new.digest());
    assert_eq!(old.change_to(&new), Change::None);
}

#[test]
fn a_variant_that_comes_makes_a_release_and_one_that_leaves_does_not() {
    let (dev, prod) = (rendered("web", 50), rendered("web", 20));
    let one = release("sha256:1", slice::from_ref(&prod));
    let both = release("sha256:1", &[dev.clone(), prod.clone()]);
    assert_eq!(one.change_to(&both), Change::VariantsAdded);
    assert_eq!(both.change_to(&one), Change::None);
    assert_eq!(both.change_to(&release("sha256:1", &[])), Change::None);
    assert_eq!(
        both.change_to(&release("sha256:2", &[prod])),
        Change::Content
    );
    // One that somebody wrote is taken away by somebody.
    let written = RolloutRecord {
        rendered_as: None,
        ..dev
    };
    let written = release("sha256:1", &[written]);
    let without = release("sha256:1", &[]);
    assert_eq!(written.change_to(&without), Change::RolloutsRemoved);
}

#[test]
fn one_that_is_written_and_one_that_is_rendered_contradict_each_other() {
    let written = RolloutRecord {
        rendered_as: None,
        ..rendered("mine", 50)
    };
    let spec: ApplicationSpec = serde_json::from_value(json!({
        "destination": {"fleet": "all"},
        "components": [{"name": "web", "manifests": [deployment("web:1")]}],
    }))
    .expect("an application");
    let refused = content("shop", &spec, &[written, rendered("web", 20)]).expect_err("two plans");
    assert!(refused.to_string().contains("mine"), "{refused}");
}

#[test]
fn another_component_renders_no_variant_but_a_second_rollout() {
    let mut other = rendered("web", 20);
    other.rendered_as = Some(RenderedAs::of("api", &json!(20)));
    let spec: ApplicationSpec = serde_json::from_value(json!({
        "destination": {"fleet": "all"},
        "components": [{"name": "web", "manifests": [deployment("web:1")]}],
    }))
    .expect("an application");
    let refused = content("shop", &spec, &[rendered("web", 50), other]).expect_err("one name");
    assert!(refused.to_string().contains("web"), "{refused}");
}

#[test]
fn a_rollout_of_another_workload_is_not_meant() {
    let one = release("sha256:1", &[rendered("web", 20)]);
    let mut other = rendered("web", 30);
    other.spec.workload.name = "web-us".to_owned();
    assert!(sent(&one, &[other]).is_err());
}

#[test]
fn what_is_rendered_for_nobody_any_more_was_taken_away_by_nobody() {
    let written = RolloutRecord {
        rendered_as: None,
        ..rendered("db", 10)
    };
    let mut written = release("sha256:1", &[written]);
    written.rollouts[0].spec.on_deletion = bellwether_api::rollout::OnDeletion::Complete;
    let rendered = release("sha256:1", &[rendered("web", 20)]);
    written.rollouts.extend(rendered.rollouts.clone());
    let next = release("sha256:1", &[]);
    assert_eq!(written.completes_without(&next), ["db"]);
}
