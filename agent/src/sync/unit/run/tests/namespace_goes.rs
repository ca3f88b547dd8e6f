//! A namespace that is deleted while runs are under way in it.

use bellwether_api::reference::ObjectRef;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_run_in_a_namespace_that_took_the_agents_role_along_is_let_go_of() {
    let mut house = House::new("http://127.0.0.1:9", LATER).await;
    house.pass().await;
    let finalizer = json!(["bellwether.dev/restore"]);
    for index in 0..RUNS {
        let mut track = house.server.get("rollouttracks", &name(index));
        track["metadata"]["finalizers"] = finalizer.clone();
        // Some are being deleted already, others not yet.
        if index % 2 == 0 {
            track["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        house.server.put("rollouttracks", track);
    }
    house.server.delete_namespace();
    let target = ObjectRef {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("shop".to_owned()),
        name: name(0),
    };
    house.unit.poke.touch(target, None);
    let asked = house.pass().await;
    assert!(house.unit.runs.is_empty(), "{asked:?}");
    for index in 0..RUNS {
        let track = house.server.get("rollouttracks", &name(index));
        assert_eq!(track["metadata"]["finalizers"], Value::Null, "{track}");
        assert_eq!(track.is_null(), index % 2 == 1, "{track}");
    }
    let written: Vec<&String> = asked
        .iter()
        .filter(|one| !one.starts_with("GET ") && !one.contains("rollouttracks/"))
        .collect();
    assert!(
        written.iter().all(|one| one.starts_with("PATCH ")),
        "nothing is made or deleted: {written:?}"
    );
}

/// Rights that are missing while the namespace stays say nothing of the run.
#[tokio::test(start_paused = true)]
async fn a_run_that_lost_its_rights_alone_is_kept() {
    let mut house = House::new("http://127.0.0.1:9", LATER).await;
    house.pass().await;
    house.server.forbid();
    let target = ObjectRef {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("shop".to_owned()),
        name: name(0),
    };
    house.unit.poke.touch(target, None);
    assert!(house.try_pass().await.is_err());
    assert_eq!(house.unit.runs.len(), RUNS);
}

/// One that stays would hold its namespace for ever.
#[tokio::test(start_paused = true)]
async fn tracks_that_were_left_go_with_their_application() {
    let mut house = House::new("http://127.0.0.1:9", LATER).await;
    house.record.digest = None;
    house.record.running_digest = None;
    house.record.applied_digest = Some("old".to_owned());
    house.record.removing = true;
    assert_ne!(house.server.get("rollouttracks", &name(0)), Value::Null);
    house.unit.remove(&house.record).await.expect("a pass");
    for index in 0..RUNS {
        let track = house.server.get("rollouttracks", &name(index));
        assert_eq!(track, Value::Null);
    }
}
