//! Objects that the API server cannot convert while runs go back.

use std::sync::Arc;

use bellwether_agent_core::{
    config_stamp::AsFound,
    machine::{Failure, RollbackPart},
};
use bellwether_api::status::FailureReason;

use super::*;
use crate::{rollout::Versions, sync::keep::CONVERSION_PAUSE};

const SETTINGS: &str = "PATCH configmaps/settings";

/// All runs go back, and one object cannot be converted, as plural and name.
async fn going_back(broken: &str) -> (House, Versions) {
    let failure = Failure {
        reason: FailureReason::FailedChecks,
        message: "no".to_owned(),
    };
    let mut house = House::with_route(Stage::RollingBack {
        failure,
        part: RollbackPart::Unloading,
    })
    .await;
    house.server.cannot_convert(Some(broken));
    // Whatever it comes to: the runs are taken up.
    let _ = house.try_pass().await;
    let versions = Versions {
        new: Arc::clone(&house.unit.bundles["new"]),
        old: Arc::clone(&house.unit.bundles["old"]),
        found: AsFound::default(),
    };
    (house, versions)
}

#[tokio::test(start_paused = true)]
async fn what_a_run_that_goes_back_looks_after_is_not_held_while_it_cannot_be_converted() {
    for (broken, waits) in [
        ("configmaps/settings", true),
        ("deployments/web-0", false),
        ("httproutes/web-0", false),
    ] {
        let (mut house, versions) = going_back(broken).await;
        let wanted = house.unit.run_objects(&versions).await.expect("objects");
        let held = house.unit.hold_run_objects(&versions, &wanted).await;
        match held {
            Ok(look_in) => {
                assert!(waits, "{broken} is not held");
                assert_eq!(look_in, Some(CONVERSION_PAUSE));
            }
            Err(error) => assert!(!waits, "{broken}: {error:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_converted_is_tried_again_by_a_run_that_goes_back() {
    let (mut house, versions) = going_back("configmaps/settings").await;
    let mut tried = async || {
        house.server.take_asked();
        let of = ["new".to_owned(), "old".to_owned()];
        let held = house.unit.hold_runs(&versions, of).await;
        assert!(matches!(held, Ok(Ok(()))), "{held:?}");
        assert!(
            house
                .unit
                .next_wake()
                .is_some_and(|wait| wait <= CONVERSION_PAUSE)
        );
        let asked = house.server.take_asked();
        asked.iter().any(|one| one == SETTINGS)
    };
    tried().await;
    assert!(!tried().await, "it was tried just now");
    tokio::time::advance(CONVERSION_PAUSE).await;
    assert!(tried().await);
    house.server.cannot_convert(None);
    tokio::time::advance(CONVERSION_PAUSE).await;
    house.server.take_asked();
    let of = ["new".to_owned(), "old".to_owned()];
    house
        .unit
        .hold_runs(&versions, of)
        .await
        .expect("a look")
        .expect("held");
    assert!(house.server.take_asked().iter().any(|one| one == SETTINGS));
    assert!(
        house
            .unit
            .laid
            .as_ref()
            .is_some_and(|laid| laid.look_in().is_none())
    );
}
