//! Runs whose release changes ConfigMaps or Secrets.

use bellwether_api::number::Weight;
use serde_json::json;

use super::{
    super::{Overlay, PromotionPart, Stage},
    model::{Cluster, abort, plan},
};
use crate::settled::TemplateVersion;

fn gathers(stage: &Stage) -> bool {
    let part = PromotionPart::Gathering;
    *stage == Stage::Promoting { part }
}

#[test]
fn runs_that_change_the_same_configuration_promote_together() {
    let mut cluster = Cluster::new(plan(json!({"weights": [50]})));
    cluster.extra.config_held_by = vec!["shop-api".into()];
    cluster.until(|state| gathers(&state.stage));
    // Longer than the deadline: whoever is waited for has one of its own.
    for _ in 0..400 {
        cluster.tick(1);
    }
    assert!(gathers(&cluster.state.stage), "{:?}", cluster.state.stage);
    let overlay = Overlay::of(&cluster.state);
    assert_eq!(overlay.template, TemplateVersion::Old);
    assert_eq!(overlay.split.weight, Weight::clamped(50));
    assert!(overlay.paused && overlay.pins.iter().all(|pin| pin.hash == "old"));
    let waits = &cluster.decisions.last().expect("decisions").waiting_on;
    assert_eq!(waits[0].reason, "ConfigShared");
    assert_eq!(waits[0].on.as_deref(), Some("shop-api"));

    cluster.extra.config_held_by.clear();
    assert_eq!(cluster.finish(), &Stage::Succeeded);
    cluster.assert_clean("new");
}

#[test]
fn a_run_that_waits_for_others_goes_back_with_them() {
    let mut cluster = Cluster::new(plan(json!({"weights": [50]})));
    cluster.extra.config_held_by = vec!["shop-api".into()];
    cluster.until(|state| gathers(&state.stage));
    abort(
        &mut cluster,
        bellwether_api::command::AbortCause::RollbackAll,
    );
    cluster.finish();
    cluster.assert_clean("old");
    let templates: Vec<TemplateVersion> = cluster
        .decisions
        .iter()
        .map(|decision| decision.overlay.template)
        .collect();
    assert!(!templates.contains(&TemplateVersion::New));
}

#[test]
fn a_run_is_not_over_while_its_copies_of_configuration_are_there() {
    for works in [true, false] {
        let mut cluster = Cluster::new(plan(json!({"weights": [50]})));
        cluster.extra.canary_config = true;
        cluster.metric = Some(if works { 100.0 } else { 0.0 });
        for _ in 0..600 {
            cluster.tick(1);
        }
        assert!(!cluster.state.is_terminal(), "{:?}", cluster.state.stage);
        let waits = &cluster.decisions.last().expect("decisions").waiting_on;
        assert_eq!(waits[0].reason, "CanaryThere", "{waits:?}");
        cluster.extra.canary_config = false;
        cluster.finish();
        cluster.assert_clean(if works { "new" } else { "old" });
    }
}
