//! An agent that dies between any two writes of a release, or of a removal.

use bellwether_api::status::{UnitOutcome, UnitStatus};
use http::StatusCode;
use serde_json::json;

use super::{
    house::{House, bundle_of, config_map},
    server::{Death, Server},
};
use crate::sync::cluster::double::refusal;

/// Names of the ConfigMaps that are there.
fn names(server: &Server) -> Vec<String> {
    let kept = server.lock();
    let maps = kept.objects.keys();
    maps.filter_map(|at| at.strip_prefix("shop/configmaps/"))
        .map(str::to_owned)
        .collect()
}

/// An agent that has installed a first release of three objects beside one of somebody else.
async fn installed(server: &Server) -> House {
    let mut bystander = config_map("bystander", "somebody else");
    bystander["metadata"]["uid"] = json!("uid-of-another");
    bystander["metadata"]["resourceVersion"] = json!("0");
    let at = "shop/configmaps/bystander".to_owned();
    server.lock().objects.insert(at, bystander);
    let mut house = House::on(server).await;
    let objects = ["left-out", "left-out-too", "web"].map(|name| config_map(name, "1"));
    house.install(&bundle_of(1, 1, &[], &objects)).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(
        names(server),
        ["bystander", "left-out", "left-out-too", "web"]
    );
    house
}

/// Lets an agent die while it does what it was granted, and another one finish that. Tells whether the
/// first one died, or was done before.
async fn finished(mut house: House, server: &Server, death: Death, left: &[&str]) -> bool {
    server.dies(Some(death));
    let _ = house.work().await;
    let died = server.dies(None);
    let mut house = House::on(server).await;
    assert_eq!(house.work().await, Ok(Vec::new()), "{death:?}");
    assert_eq!(names(server), left, "{death:?}");
    let bystander = server.get("shop/configmaps/bystander").expect("it stays");
    assert_eq!(bystander["metadata"]["uid"], "uid-of-another", "{death:?}");
    // Whoever starts next has nothing to write.
    let mut house = House::on(server).await;
    server.dies(None);
    assert_eq!(house.work().await, Ok(Vec::new()), "{death:?}");
    assert_eq!(server.writes(), 0, "{death:?}");
    died
}

/// Counts the writes at which it died.
async fn at_every_write(left: &[&str], grant: impl AsyncFn(&mut House)) -> usize {
    let mut writes = 0;
    for death in [Death::After as fn(usize) -> Death, Death::Before] {
        for at in 1.. {
            let server = Server::default();
            let mut house = installed(&server).await;
            grant(&mut house).await;
            if !finished(house, &server, death(at), left).await {
                break;
            }
            writes += 1;
        }
    }
    writes
}

#[tokio::test]
async fn an_agent_killed_at_any_write_finishes_what_it_applies_and_prunes() {
    let objects = ["new", "web"].map(|name| config_map(name, "2"));
    let second = bundle_of(2, 1, &[], &objects);
    let left = ["bystander", "new", "web"];
    let writes = at_every_write(&left, async |house| house.install(&second).await).await;
    // At least two objects are applied and two deleted, each of them recorded.
    assert!(writes > 12, "it dies at every write: {writes}");
}

#[tokio::test]
async fn an_agent_killed_at_any_write_finishes_what_it_takes_away() {
    let writes = at_every_write(&["bystander"], async |house| house.remove().await).await;
    assert!(writes > 6, "it dies at every write: {writes}");
}

#[tokio::test]
async fn a_release_has_succeeded_once_what_it_leaves_out_is_gone() {
    let server = Server::default();
    let mut house = installed(&server).await;
    let objects = ["new", "web"].map(|name| config_map(name, "2"));
    house.install(&bundle_of(2, 1, &[], &objects)).await;
    let mut waited_for = Vec::new();
    for _ in 0..60 {
        let pass = house.unit.pass().await;
        assert!(pass.is_ok(), "the server answers");
        let status = house.unit.status(&house.record());
        if status.outcome == UnitOutcome::Succeeded {
            break;
        }
        waited_for.extend(status.waiting_on.into_iter().map(|wait| wait.reason));
    }
    assert_eq!(names(&server), ["bystander", "new", "web"]);
    assert!(
        waited_for.iter().any(|reason| reason == "Pruning"),
        "{waited_for:?}"
    );
    // An agent that starts anew looks once before it says so.
    let mut house = House::on(&server).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    let status = house.unit.status(&house.record());
    assert_eq!(status.outcome, UnitOutcome::Succeeded);
}

/// What an agent that has just started says after its first look.
async fn first_word(server: &Server) -> UnitStatus {
    let mut house = House::on(server).await;
    let looked = house.unit.pass().await;
    assert!(looked.is_err(), "the server refuses");
    house.unit.status(&house.record())
}

#[tokio::test]
async fn a_release_that_may_not_delete_is_told_from_one_that_is_between_two_versions() {
    let server = Server::default();
    let mut house = installed(&server).await;
    let held = "shop/configmaps/left-out".to_owned();
    let policy = refusal(StatusCode::FORBIDDEN, "a policy keeps it");
    server.lock().refused.insert(held.clone(), policy);
    let objects = ["new", "web"].map(|name| config_map(name, "2"));
    house.install(&bundle_of(2, 1, &[], &objects)).await;
    while house.unit.pass().await.is_ok() {}
    let status = house.unit.status(&house.record());
    for status in [status, first_word(&server).await] {
        assert_eq!(status.outcome, UnitOutcome::Progressing);
        assert!(status.is_pruning(), "{:?}", status.waiting_on);
    }
    server.lock().refused.remove(&held);
    let mut house = House::on(&server).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    let status = house.unit.status(&house.record());
    assert_eq!(status.outcome, UnitOutcome::Succeeded);
    assert_eq!(names(&server), ["bystander", "new", "web"]);
}

#[tokio::test]
async fn a_release_that_succeeded_stays_so_while_its_drift_may_not_be_written_back() {
    let server = Server::default();
    installed(&server).await;
    let drifted = "shop/configmaps/web".to_owned();
    {
        let mut kept = server.lock();
        let live = kept.objects.get_mut(&drifted).expect("it is there");
        live["data"] = json!({"of": "somebody"});
        let policy = refusal(StatusCode::FORBIDDEN, "a policy keeps it");
        kept.refused.insert(drifted, policy);
    }
    let status = first_word(&server).await;
    assert_eq!(status.outcome, UnitOutcome::Succeeded);
}
