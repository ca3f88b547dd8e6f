//! An agent with the hooks of a chart, against an API server that keeps what it writes.

mod apply_and_prune;
pub(in crate::sync::unit) mod house;
pub(in crate::sync::unit) mod server;

use bellwether_api::status::UnitOutcome;
use serde_json::json;

use self::{
    house::{COMMAND, House, KEY, bundle, bundle_of, config_map, job, migration},
    server::{Death, Server},
};

#[tokio::test]
async fn a_hook_that_fails_before_the_objects_leaves_the_release_before_as_it_is() {
    let server = Server::default();
    let mut house = House::on(&server).await;
    server.end("migrate", "Failed");
    house.install(&bundle(1, 1, &[migration()])).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    let (outcome, why) = house.outcome();
    assert_eq!(outcome, Some(UnitOutcome::Failed));
    let said = "HookFailed: pre-install hook Job/shop/migrate failed: BackoffLimitExceeded; nothing was applied";
    assert_eq!(why, said);
    assert_eq!(house.data(), None);

    // Tried again it is an installation still.
    server.end("migrate", "Complete");
    house.install(&bundle(1, 2, &[migration()])).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.outcome().0, Some(UnitOutcome::Succeeded));
    assert_eq!(house.data(), Some(json!("1")));

    server.end("migrate", "Failed");
    house.install(&bundle(2, 1, &[migration()])).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.outcome().0, Some(UnitOutcome::Failed));
    assert_eq!(house.data(), Some(json!("1")), "the release before stays");

    // The hub's way back: to what runs there is nothing to do, to another it is a rollback.
    let plain = |revision| -> Vec<u8> {
        let text = String::from_utf8(bundle(revision, 3, &[migration()])).expect("UTF-8");
        text.replace("\"Rollout\"", "\"Plain\"").into_bytes()
    };
    for revision in [1, 3] {
        house.install(&plain(revision)).await;
        assert_eq!(house.work().await, Ok(Vec::new()));
        assert_eq!(house.outcome().0, Some(UnitOutcome::Succeeded));
    }
    assert_eq!(
        house.data(),
        Some(json!("3")),
        "it has no pre-rollback hook"
    );
    let marks = [
        "000000000001-1.pre-install",
        "000000000001-2.pre-install",
        "000000000002-1.pre-upgrade",
    ];
    assert_eq!(house.made(), marks);
}

#[tokio::test]
async fn hooks_run_one_after_another_around_the_objects() {
    let server = Server::default();
    let mut house = House::on(&server).await;
    let mut first = job("first", &["pre-install"], &["hook-succeeded"]);
    first["weight"] = json!(-1);
    let hooks = [migration(), first, job("greet", &["post-install"], &[])];
    house.install(&bundle(1, 1, &hooks)).await;
    let names = || -> Vec<String> {
        let kept = server.lock();
        kept.made.iter().map(|(name, _)| name.clone()).collect()
    };
    let waits = house.work().await.expect("it waits");
    assert_eq!(waits, ["pre-install hook Job/shop/first has not ended"]);
    assert_eq!((names(), house.data()), (vec!["first".to_owned()], None));
    server.end("first", "Complete");
    house.work().await.expect("it waits");
    assert_eq!((names().len(), house.data()), (2, None));
    assert_eq!(server.get("shop/jobs/first"), None, "hook-succeeded");
    server.end("migrate", "Complete");
    let waits = house.work().await.expect("it waits");
    assert_eq!(waits, ["post-install hook Job/shop/greet has not ended"]);
    assert_eq!(house.data(), Some(json!("1")));
    assert_eq!(house.outcome().0, Some(UnitOutcome::Progressing));
    server.end("greet", "Complete");
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.outcome().0, Some(UnitOutcome::Succeeded));
    assert!(
        server.get("shop/jobs/greet").is_some(),
        "it is left for people to read"
    );
}

#[tokio::test]
async fn a_hook_that_fails_after_the_objects_takes_the_release_back() {
    let server = Server::default();
    let mut house = House::on(&server).await;
    let greet = [job("greet", &["post-install", "post-upgrade"], &[])];
    server.end("greet", "Failed");
    house.install(&bundle(1, 1, &greet)).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    // A first install has nothing to go back to, and does not count as run.
    assert_eq!(house.data(), Some(json!("1")));
    assert_eq!(house.outcome().0, Some(UnitOutcome::Failed));
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.record().applied_digest, None);

    server.end("greet", "Complete");
    house.install(&bundle(1, 2, &greet)).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.outcome().0, Some(UnitOutcome::Succeeded));

    server.end("greet", "Failed");
    house.install(&bundle(2, 1, &greet)).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    let (outcome, why) = house.outcome();
    assert_eq!(outcome, Some(UnitOutcome::Failed));
    assert!(
        why.contains("post-upgrade hook Job/shop/greet failed"),
        "{why}"
    );
    assert_eq!(house.data(), Some(json!("1")));
}

#[tokio::test]
async fn an_agent_killed_at_any_write_runs_each_hook_once() {
    let hooks = [
        migration(),
        job(
            "greet",
            &["post-install", "post-upgrade"],
            &["hook-succeeded"],
        ),
    ];
    let one_life = |death: fn(usize) -> Death, writes: usize| {
        let hooks = hooks.clone();
        async move {
            let server = Server::default();
            server.end("migrate", "Complete");
            server.end("greet", "Complete");
            let mut house = House::on(&server).await;
            house.install(&bundle(1, 1, &hooks)).await;
            server.dies(Some(death(writes)));
            let _ = house.work().await;
            let died = server.dies(None);
            let mut house = House::on(&server).await;
            assert_eq!(house.work().await, Ok(Vec::new()));
            assert_eq!(
                house.outcome().0,
                Some(UnitOutcome::Succeeded),
                "at write {writes}"
            );
            assert_eq!(house.data(), Some(json!("1")));
            let marks = ["000000000001-1.pre-install", "000000000001-1.post-install"];
            assert_eq!(house.made(), marks, "at write {writes}");
            died
        }
    };
    for death in [Death::After as fn(usize) -> Death, Death::Before] {
        let mut writes = 1;
        while one_life(death, writes).await {
            writes += 1;
        }
        assert!(writes > 10, "it dies at every write: {writes}");
    }
}

#[tokio::test]
async fn a_hook_is_stopped_when_its_release_is_not_wanted_any_more() {
    // Aborted.
    let server = Server::default();
    let mut house = House::on(&server).await;
    let first = bundle(1, 1, &[migration()]);
    house.install(&first).await;
    assert_eq!(house.work().await.expect("it waits").len(), 1);
    let abort = json!({"run": uuid::Uuid::from_u128(1), "attempt": 1,
        "abort": {"cause": "Manual", "by": "ada", "reason": "no"}});
    let abort = serde_json::to_vec(&abort).expect("JSON");
    house.grant(&[(KEY, &first), (COMMAND, &abort)], &[]).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    let (outcome, why) = house.outcome();
    assert_eq!(outcome, Some(UnitOutcome::Failed));
    assert_eq!(why, "Aborted: Manual by ada: no; nothing was applied");
    assert_eq!(
        (house.data(), server.get("shop/jobs/migrate")),
        (None, None)
    );

    // Replaced by another, whose hook waits until the first is gone.
    let server = Server::default();
    let mut house = House::on(&server).await;
    house.install(&first).await;
    house.work().await.expect("it waits");
    house.install(&bundle(2, 1, &[migration()])).await;
    server.lock().ends.insert("migrate".to_owned(), "Complete");
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.data(), Some(json!("2")));
    assert_eq!(
        house.made(),
        ["000000000001-1.pre-install", "000000000002-1.pre-install"]
    );

    // Taken away.
    let server = Server::default();
    let mut house = House::on(&server).await;
    house.install(&first).await;
    house.work().await.expect("it waits");
    house.remove().await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(
        (house.data(), server.get("shop/jobs/migrate")),
        (None, None)
    );
    assert!(house.record().chart_hooks.is_empty());
}

#[tokio::test]
async fn no_hook_begins_while_its_run_is_suspended() {
    let server = Server::default();
    let mut house = House::on(&server).await;
    server.end("migrate", "Complete");
    let first = bundle(1, 1, &[migration()]);
    let command = |suspend: bool| {
        let command = json!({"run": uuid::Uuid::from_u128(1), "attempt": 1, "suspend": suspend});
        serde_json::to_vec(&command).expect("JSON")
    };
    let suspended = command(true);
    house
        .grant(&[(KEY, &first), (COMMAND, &suspended)], &[])
        .await;
    let waits = house.work().await.expect("it waits");
    assert_eq!(waits, ["no hook begins while it is suspended"]);
    assert_eq!((house.made(), house.data()), (Vec::new(), None));
    let resumed = command(false);
    house
        .grant(&[(KEY, &first), (COMMAND, &resumed)], &[])
        .await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.outcome().0, Some(UnitOutcome::Succeeded));
}

#[tokio::test]
async fn a_removal_runs_its_hooks_and_is_held_up_by_none() {
    let server = Server::default();
    let mut house = House::on(&server).await;
    server.end("migrate", "Complete");
    let account = json!({"object": {"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "seed"}}, "moments": ["pre-install"]});
    let hooks = [
        migration(),
        account,
        job("drain", &["pre-delete"], &[]),
        job("bye", &["post-delete"], &[]),
    ];
    let mut kept = config_map("kept", "1");
    kept["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    house
        .install(&bundle_of(1, 1, &hooks, &[config_map("web", "1"), kept]))
        .await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.outcome().0, Some(UnitOutcome::Succeeded));
    house.remove().await;
    let waits = house.work().await.expect("it waits");
    assert_eq!(waits, ["pre-delete hook Job/shop/drain has not ended"]);
    assert_eq!(
        house.data(),
        Some(json!("1")),
        "nothing goes before the hook has ended"
    );
    server.end("drain", "Failed");
    let waits = house.work().await.expect("it waits");
    assert_eq!(waits, ["post-delete hook Job/shop/bye has not ended"]);
    assert_eq!(house.data(), None);
    server.end("bye", "Complete");
    assert_eq!(house.work().await, Ok(Vec::new()));
    let failed = house.events("HookFailed");
    assert!(
        failed[0].contains("drain failed") && failed[0].contains("removed all the same"),
        "{failed:?}"
    );
    let left: Vec<String> = {
        let kept = server.lock();
        let ours = kept.objects.keys().filter(|key| key.starts_with("shop/"));
        ours.cloned().collect()
    };
    assert_eq!(left, ["shop/configmaps/kept", "shop/configmaps/seed"]);
    assert_eq!(house.events("Kept").len(), 1);
    assert!(house.events("HookObjectsStay")[0].contains("ConfigMap/shop/seed"));
    assert!(house.record().chart_hooks.is_empty());
}

#[tokio::test]
async fn a_release_whose_hooks_could_not_run_is_refused_before_anything_begins() {
    let server = Server::default();
    let mut house = House::on(&server).await;
    server.lock().forbidden.insert("jobs".to_owned());
    house.install(&bundle(1, 1, &[migration()])).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    let (outcome, why) = house.outcome();
    assert_eq!(outcome, Some(UnitOutcome::Refused));
    assert!(
        why.contains("may not get, list, watch, create, patch, delete jobs in namespace shop"),
        "{why}"
    );

    let server = Server::default();
    let mut house = House::on(&server).await;
    let foreign = json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "migrate", "namespace": "shop", "uid": "somebody's"}});
    server
        .lock()
        .objects
        .insert("shop/jobs/migrate".to_owned(), foreign.clone());
    let odd = json!({"object": {"apiVersion": "odd.io/v1", "kind": "Odd", "metadata": {"name": "odd"}},
        "moments": ["pre-install"]});
    house.install(&bundle(1, 1, &[migration(), odd])).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    let (outcome, why) = house.outcome();
    assert_eq!(outcome, Some(UnitOutcome::Refused));
    assert!(why.contains("Job/shop/migrate exists already"), "{why}");
    assert!(why.contains("needs kind Odd of odd.io/v1"), "{why}");
    assert_eq!(server.get("shop/jobs/migrate"), Some(foreign));
    assert_eq!(house.made(), Vec::<String>::new());
}
