//! Releases, runs, plans and actions: immutable where they must be, and decided once.

use bellwether_api::{
    number::{IntOrPercent, Weight},
    strategy::Manual,
    view::{ClusterPhase, RunPhase},
};
use bellwether_store::{
    Digest, Store,
    actions::{self, ActionType, NewAction, RecordError, Recorded},
    blobs::Secrecy,
    desired::{self, Deletions},
    releases::{self, NewRelease},
    runs::{self, RunCluster, SaveError, SaveRun},
    testing::{self, TestDatabase},
};
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{KEY, app, application, at, blob, change, cluster, release, run, run_cluster};

#[tokio::test]
async fn revisions_rise_and_an_unchanged_release_is_none() {
    let store = testing::store().await;
    application(&store).await;
    let one = release(&store, r#"{"v":1}"#).await;
    let two = release(&store, r#"{"v":2}"#).await;
    assert_eq!(release(&store, r#"{"v":2}"#).await, two);
    let back = release(&store, r#"{"v":1}"#).await;
    assert_eq!((one.revision, two.revision, back.revision), (1, 2, 3));
    assert_eq!(
        releases::content(&store, &back).await.unwrap(),
        br#"{"v":1}"#
    );
    assert_eq!(
        releases::latest(&store, &app()).await.unwrap(),
        Some(back.clone())
    );
    assert_eq!(
        releases::by_revision(&store, &app(), 2).await.unwrap(),
        Some(two.clone())
    );
    assert_eq!(
        releases::get(&store, one.id).await.unwrap(),
        Some(one.clone())
    );
    assert_eq!(
        releases::list(&store, &app(), 2).await.unwrap(),
        [back, two]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hubs_make_a_release_once() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    application(&store).await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.push(tokio::spawn(
            async move { release(&store, "same").await.id },
        ));
    }
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(releases::list(&store, &app(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_release_needs_its_application() {
    let store = testing::store().await;
    let mut tx = store.begin().await.unwrap();
    let new = NewRelease {
        id: Uuid::now_v7(),
        application: &app(),
        digest: Digest::of(b"1"),
        content: b"1",
        secrecy: Secrecy::Plain,
        by: "alice",
        reason: "",
        restores: None,
    };
    let refused = releases::create(&mut tx, &new, at(0)).await;
    assert!(matches!(
        refused,
        Err(releases::CreateError::UnknownApplication { .. })
    ));
}

/// A statement that copies an action as one of another type, weight and pods.
macro_rules! copied {
    ($type:literal, $weight:literal, $replicas:literal) => {
        concat!(
            "INSERT INTO run_action (id, namespace, application, run, type, weight, replicas, reason,
                by, idempotency_key, created_at_ms)
             SELECT gen_random_uuid(), namespace, application, run, ",
            $type,
            ", ",
            $weight,
            ", ",
            $replicas,
            ", reason, by, gen_random_uuid()::text, created_at_ms FROM run_action LIMIT 1"
        )
    };
}

#[tokio::test]
async fn a_weight_is_kept_with_its_action_and_never_changes() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    application(&store).await;
    let run = run(&store, &release(&store, "1").await, Vec::new()).await;
    let sets = [
        (0, None),
        (30, Some(IntOrPercent::Int(2))),
        (100, Some(IntOrPercent::Percent(20))),
    ];
    let mut tx = store.begin().await.unwrap();
    for (weight, replicas) in sets {
        let said = NewAction {
            action: ActionType::SetWeight,
            set: Some(Manual {
                weight: Weight::clamped(weight),
                replicas,
            }),
            ..action(run, &format!("to {weight}"))
        };
        let Recorded::New(first) = actions::record(&mut tx, &said, at(1)).await.unwrap() else {
            panic!("it is new");
        };
        assert_eq!(first.said, said);
        let other = NewAction {
            set: Some(Manual::default()),
            idempotency_key: "to 30".to_owned(),
            ..said
        };
        if weight == 30 {
            let reused = actions::record(&mut tx, &other, at(2)).await;
            assert!(matches!(reused, Err(RecordError::KeyReused)));
        }
    }
    tx.commit().await.unwrap();
    let kept: Vec<_> = actions::pending(&store, run)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|action| action.said.set)
        .map(|set| (u32::from(set.weight.percent()), set.replicas))
        .collect();
    assert_eq!(kept, sets);
    let recent = actions::recent(&store, run, 2).await.unwrap();
    let keys: Vec<_> = recent
        .iter()
        .map(|action| action.said.idempotency_key.as_str())
        .collect();
    assert_eq!(keys, ["to 30", "to 100"]);

    for (statement, word) in [
        ("UPDATE run_action SET weight = 99", "is immutable"),
        ("UPDATE run_action SET replicas = '9'", "is immutable"),
        (
            "UPDATE run_action SET result = '{}', weight = 99",
            "is immutable",
        ),
        (copied!("'SetWeight'", "NULL", "NULL"), "sets_weight"),
        (copied!("'SetWeight'", "101", "NULL"), "weight_check"),
        (copied!("'Skip'", "30", "NULL"), "sets_weight"),
        (copied!("'Skip'", "NULL", "'2'"), "sets_weight"),
        (copied!("'Explode'", "NULL", "NULL"), "type_check"),
    ] {
        let message = refused(&database, statement).await;
        assert!(message.contains(word), "{statement}: {message}");
    }
}

/// Runs a statement that the database must refuse, and gives its message.
async fn refused(database: &TestDatabase, statement: &'static str) -> String {
    use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};
    let options: PgConnectOptions = database.url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    sqlx::query(statement)
        .execute(&mut connection)
        .await
        .unwrap_err()
        .to_string()
}

#[tokio::test]
async fn releases_plans_and_actions_never_change() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    application(&store).await;
    let run = run(&store, &release(&store, "1").await, Vec::new()).await;
    let mut tx = store.begin().await.unwrap();
    actions::record(&mut tx, &action(run, "key"), at(0))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let statements = [
        "UPDATE release SET reason = 'other'",
        "DELETE FROM release",
        "UPDATE plan SET content = '{}'",
        "DELETE FROM plan",
        "UPDATE run_action SET reason = 'other'",
        "UPDATE run_action SET result = '{}', type = 'Abort'",
        "DELETE FROM run_action",
        "DELETE FROM run",
    ];
    for statement in statements {
        let message = refused(&database, statement).await;
        assert!(
            message.contains("is immutable") || message.contains("foreign key"),
            "{statement}: {message}"
        );
    }
}

#[tokio::test]
async fn history_is_forgotten_in_order_and_never_under_a_run() {
    let store = testing::store().await;
    application(&store).await;
    let first = release(&store, "1").await;
    let unfinished = run(&store, &first, Vec::new()).await;
    let second = release(&store, "2").await;
    let finished = run(&store, &second, Vec::new()).await;
    let state = json!({});
    let mut tx = store.begin().await.unwrap();
    let done = SaveRun {
        id: finished,
        expected_version: 1,
        status: RunPhase::Failed,
        state: &state,
    };
    runs::save(&mut tx, &done, at(5)).await.unwrap();
    actions::record(&mut tx, &action(finished, "key"), at(5))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    release(&store, "3").await;
    let mut tx = store.begin().await.unwrap();
    assert_eq!(releases::sweep(&mut tx, &app(), 1).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let kept: Vec<u64> = releases::list(&store, &app(), 10)
        .await
        .unwrap()
        .into_iter()
        .map(|release| release.revision)
        .collect();
    assert_eq!(kept, [3, 1]);
    assert!(runs::get(&store, unfinished).await.unwrap().is_some());
    assert_eq!(runs::get(&store, finished).await.unwrap(), None);
}

#[tokio::test]
async fn what_succeeded_last_is_kept_to_go_back_to() {
    let store = testing::store().await;
    application(&store).await;
    for (content, status) in [
        ("1", RunPhase::Succeeded),
        ("2", RunPhase::Succeeded),
        ("3", RunPhase::Failed),
        ("4", RunPhase::Aborted),
    ] {
        let id = run(&store, &release(&store, content).await, Vec::new()).await;
        let done = SaveRun {
            id,
            expected_version: 1,
            status,
            state: &json!({}),
        };
        let mut tx = store.begin().await.unwrap();
        runs::save(&mut tx, &done, at(5)).await.unwrap();
        tx.commit().await.unwrap();
    }
    for (keep, expected) in [(3, vec![4, 3, 2]), (1, vec![4, 2]), (0, vec![])] {
        let mut tx = store.begin().await.unwrap();
        releases::sweep(&mut tx, &app(), keep).await.unwrap();
        tx.commit().await.unwrap();
        let kept: Vec<u64> = releases::list(&store, &app(), 10)
            .await
            .unwrap()
            .into_iter()
            .map(|release| release.revision)
            .collect();
        assert_eq!(kept, expected, "{keep}");
    }
}

#[tokio::test]
async fn a_run_is_loaded_as_it_was_saved() {
    let store = testing::store().await;
    application(&store).await;
    let release = release(&store, "1").await;
    let (one, two) = (cluster(&store, "one").await, cluster(&store, "two").await);
    let id = run(
        &store,
        &release,
        vec![run_cluster(two, "two", 1), run_cluster(one, "one", 0)],
    )
    .await;
    let loaded = runs::load(&store, id).await.unwrap().unwrap();
    assert_eq!(
        (loaded.run.version, loaded.run.status),
        (1, RunPhase::Pending)
    );
    assert_eq!(loaded.plan.id, loaded.run.plan);
    assert_eq!(loaded.plan.content, json!({"waves": ["canary", "rest"]}));
    assert_eq!(
        loaded.clusters,
        [run_cluster(one, "one", 0), run_cluster(two, "two", 1)]
    );
    let active = runs::active(&store).await.unwrap();
    assert_eq!((active.len(), active.first()), (1, Some(&loaded.run)));
    assert_eq!(
        runs::of_release(&store, release.id).await.unwrap(),
        Some(loaded.run.clone())
    );
    assert_eq!(
        runs::latest(&store, &app()).await.unwrap(),
        Some(loaded.run.clone())
    );

    let state = json!({"step": 1});
    let granted = RunCluster {
        status: ClusterPhase::Granted,
        attempt: 1,
        granted_generation: Some(7),
        updated_at: at(9),
        ..run_cluster(one, "one", 0)
    };
    let next_plan = Uuid::now_v7();
    let mut tx = store.begin().await.unwrap();
    let save = SaveRun {
        id,
        expected_version: 1,
        status: RunPhase::Progressing,
        state: &state,
    };
    assert_eq!(runs::save(&mut tx, &save, at(9)).await.unwrap(), 2);
    runs::save_clusters(&mut tx, id, std::slice::from_ref(&granted), at(9))
        .await
        .unwrap();
    let content = json!({"waves": ["all"]});
    runs::replace_plan(&mut tx, id, loaded.plan.id, next_plan, &content, at(9))
        .await
        .unwrap();
    let stale = runs::replace_plan(&mut tx, id, loaded.plan.id, Uuid::now_v7(), &content, at(9));
    assert!(
        matches!(stale.await, Err(SaveError::Conflict)),
        "its parent is no longer current"
    );
    tx.commit().await.unwrap();
    let loaded = runs::load(&store, id).await.unwrap().unwrap();
    assert_eq!(
        (loaded.run.status, &loaded.run.state),
        (RunPhase::Progressing, &state)
    );
    assert_eq!(loaded.clusters[0], granted);
    assert_eq!(loaded.plan.content, content);
    assert_eq!(loaded.run.finished_at, None);

    let mut tx = store.begin().await.unwrap();
    let save = SaveRun {
        id,
        expected_version: 2,
        status: RunPhase::Aborted,
        state: &state,
    };
    runs::save(&mut tx, &save, at(20)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(runs::active(&store).await.unwrap(), []);
    assert_eq!(
        runs::get(&store, id).await.unwrap().unwrap().finished_at,
        Some(at(20))
    );
    assert_eq!(runs::history(&store, &app(), 5).await.unwrap().len(), 1);
}

/// Decides on version 1 and grants the cluster, as each hub of two does at the same moment.
async fn grant(store: Store, id: Uuid, cluster: Uuid, bundle: Digest) -> Result<u64, SaveError> {
    let state = json!({"granted": true});
    let mut tx = store.begin().await?;
    let save = SaveRun {
        id,
        expected_version: 1,
        status: RunPhase::Progressing,
        state: &state,
    };
    runs::save(&mut tx, &save, at(1)).await?;
    let changes = [change(cluster, KEY, Some(bundle))];
    let written = desired::write(&mut tx, &changes, Deletions::Braked)
        .await
        .unwrap();
    tx.commit().await?;
    Ok(written[0].generation)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_granted_twice() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    application(&store).await;
    let release = release(&store, "1").await;
    let cluster = cluster(&store, "one").await;
    let id = run(&store, &release, vec![run_cluster(cluster, "one", 0)]).await;
    let mut tasks = Vec::new();
    for hub in 0..8_u8 {
        let bundle = blob(&store, &[hub]).await;
        tasks.push(tokio::spawn(grant(
            database.store().await,
            id,
            cluster,
            bundle,
        )));
    }
    let mut granted = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(generation) => {
                assert_eq!(generation, 1);
                granted += 1;
            }
            Err(SaveError::Conflict) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(granted, 1);
    assert_eq!(
        desired::snapshot(&store, cluster)
            .await
            .unwrap()
            .unwrap()
            .generation,
        1
    );
    assert_eq!(desired::holders(&store, KEY).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_release_has_one_run() {
    let store = testing::store().await;
    application(&store).await;
    let release = release(&store, "1").await;
    run(&store, &release, Vec::new()).await;
    let second = runs::NewRun {
        id: Uuid::now_v7(),
        application: app(),
        release: release.id,
        previous_release: None,
        status: RunPhase::Pending,
        state: json!({}),
        plan: Uuid::now_v7(),
        plan_content: json!({}),
        clusters: Vec::new(),
    };
    let mut tx = store.begin().await.unwrap();
    let refused = runs::create(&mut tx, &second, at(1)).await;
    assert!(matches!(refused, Err(SaveError::Conflict)));
}

fn action(run: Uuid, key: &str) -> NewAction {
    NewAction {
        id: Uuid::now_v7(),
        application: app(),
        run,
        action: ActionType::Approve,
        wave: Some("canary".to_owned()),
        cluster: None,
        step: Some(2),
        expected_revision: Some(1),
        set: None,
        to_revision: None,
        reason: "looks good".to_owned(),
        by: "alice".to_owned(),
        idempotency_key: key.to_owned(),
    }
}

#[tokio::test]
async fn an_action_is_recorded_and_answered_once() {
    let store = testing::store().await;
    application(&store).await;
    let run = run(&store, &release(&store, "1").await, Vec::new()).await;
    let mut tx = store.begin().await.unwrap();
    let said = action(run, "one");
    let Recorded::New(first) = actions::record(&mut tx, &said, at(1)).await.unwrap() else {
        panic!("it is new");
    };
    assert_eq!(first.said, said);
    let again = actions::record(&mut tx, &action(run, "one"), at(2))
        .await
        .unwrap();
    assert_eq!(again, Recorded::Repeated(first.clone()));
    let other = NewAction {
        action: ActionType::Abort,
        ..action(run, "one")
    };
    let refused = actions::record(&mut tx, &other, at(2)).await;
    assert!(matches!(refused, Err(RecordError::KeyReused)));
    let Recorded::New(second) = actions::record(&mut tx, &action(run, "two"), at(2))
        .await
        .unwrap()
    else {
        panic!("it is new");
    };
    tx.commit().await.unwrap();
    assert_eq!(
        actions::pending(&store, run).await.unwrap(),
        [first.clone(), second.clone()]
    );

    let mut tx = store.begin().await.unwrap();
    assert!(
        actions::answer(&mut tx, first.said.id, &json!({"ok": true}), at(3))
            .await
            .unwrap()
    );
    assert!(
        !actions::answer(&mut tx, first.said.id, &json!({"ok": 2}), at(4))
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    assert_eq!(actions::pending(&store, run).await.unwrap(), [second]);
    assert_eq!(actions::list(&store, run).await.unwrap().len(), 2);
    let answered = actions::get(&store, first.said.id).await.unwrap().unwrap();
    assert_eq!(
        (answered.result, answered.executed_at),
        (Some(json!({"ok": true})), Some(at(3)))
    );

    let mut tx = store.begin().await.unwrap();
    let lost = actions::record(&mut tx, &action(Uuid::nil(), "three"), at(2)).await;
    assert!(matches!(lost, Err(RecordError::UnknownRun { .. })));
}
