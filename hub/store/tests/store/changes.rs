//! What moved since the last look, and pages of events: nothing is skipped, whatever the order in
//! which transactions end.

use std::{collections::BTreeSet, time::Duration};

use bellwether_store::{
    Store,
    changes::{self, RecordLook, RecordTailer, RunTailer},
    clusters, events,
    events::{EventCursor, EventFilter, Order, Within},
    leases,
    records::{self, RecordKind},
    testing,
};
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{
    KEY, app, application, at, cluster, event, new_record, release, run, run_cluster,
};

const TTL: Duration = Duration::from_secs(15);

fn names(look: &RecordLook) -> Vec<String> {
    look.changes
        .iter()
        .map(|((kind, _, name), change)| {
            let gone = if change.gone { " gone" } else { "" };
            format!("{kind} {name}{gone}")
        })
        .collect()
}

async fn apply(store: &Store, kind: RecordKind, name: &str, spec: serde_json::Value) {
    let mut tx = store.begin().await.unwrap();
    records::apply(&mut tx, &new_record(kind, name, spec), None, at(0))
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// Reads on from a cursor until nothing more comes; the numbers of the events, in that order.
async fn read_on(store: &Store, from: &mut Option<EventCursor>, limit: u32) -> Vec<u64> {
    let mut read = Vec::new();
    loop {
        let page = events::page(
            store,
            &EventFilter::All,
            Order::Oldest,
            from.as_ref(),
            limit,
        )
        .await
        .unwrap();
        // A cursor travels as text.
        *from = Some(page.next.to_string().parse().unwrap());
        if page.rows.is_empty() {
            return read;
        }
        read.extend(page.rows.iter().map(|row| row.event.seq));
    }
}

#[tokio::test]
async fn a_page_of_events_skips_none_of_a_slower_transaction() {
    for limit in [1, 100] {
        let store = testing::store().await;
        let run = Uuid::now_v7();
        let id = Uuid::nil();
        let tell = async |tx: &mut bellwether_store::Tx, seq| {
            events::insert(tx, id, KEY, &[event(seq, run)], at(0))
                .await
                .unwrap();
        };
        let mut place = None;
        // The slow one writes first, the fast one after it, and ends before it.
        let mut slow = store.begin().await.unwrap();
        tell(&mut slow, 1).await;
        let mut fast = store.begin().await.unwrap();
        tell(&mut fast, 2).await;
        fast.commit().await.unwrap();
        assert_eq!(
            read_on(&store, &mut place, limit).await,
            [2],
            "what is committed is shown at once"
        );
        assert_eq!(read_on(&store, &mut place, limit).await, [0; 0], "and once");
        slow.commit().await.unwrap();
        assert_eq!(
            read_on(&store, &mut place, limit).await,
            [1],
            "the slow one's event is not skipped"
        );

        // A transaction that began later may get the lower number.
        let mut first = store.begin().await.unwrap();
        tell(&mut first, 10).await;
        let mut second = store.begin().await.unwrap();
        tell(&mut second, 11).await;
        tell(&mut first, 12).await;
        first.commit().await.unwrap();
        assert_eq!(read_on(&store, &mut place, limit).await, [10, 12]);
        second.commit().await.unwrap();
        assert_eq!(read_on(&store, &mut place, limit).await, [11]);
        assert_eq!(read_on(&store, &mut place, limit).await, [0; 0]);
    }
}

#[tokio::test]
async fn whoever_begins_at_the_newest_events_misses_none_that_come() {
    let store = testing::store().await;
    let run = Uuid::now_v7();
    let mut slow = store.begin().await.unwrap();
    events::insert(&mut slow, Uuid::nil(), KEY, &[event(1, run)], at(0))
        .await
        .unwrap();
    let mut fast = store.begin().await.unwrap();
    let told: Vec<_> = (2..8).map(|seq| event(seq, run)).collect();
    events::insert(&mut fast, Uuid::nil(), KEY, &told, at(0))
        .await
        .unwrap();
    fast.commit().await.unwrap();
    let page = events::page(&store, &EventFilter::Run(run), Order::Newest, None, 3)
        .await
        .unwrap();
    let seqs: Vec<u64> = page.rows.iter().map(|row| row.event.seq).collect();
    assert_eq!(seqs, [7, 6, 5]);
    slow.commit().await.unwrap();
    let mut place = Some(page.next);
    assert!(read_on(&store, &mut place, 100).await.contains(&1));
}

/// The events of one cluster among those of many: a page is full of them, and the next one goes on.
#[tokio::test]
async fn a_page_of_one_cluster_or_run_is_not_cut_by_events_of_others() {
    let store = testing::store().await;
    let (busy, quiet) = (
        cluster(&store, "busy").await,
        cluster(&store, "quiet").await,
    );
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let mut tx = store.begin().await.unwrap();
    for seq in 1..=20 {
        events::insert(&mut tx, busy, KEY, &[event(seq, first)], at(0))
            .await
            .unwrap();
    }
    for (seq, run) in [(101, first), (102, second), (103, second)] {
        events::insert(&mut tx, quiet, KEY, &[event(seq, run)], at(0))
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let read = async |within: Within, order| {
        let (mut seqs, mut place): (Vec<u64>, Option<EventCursor>) = (Vec::new(), None);
        loop {
            let filter = EventFilter::Application(app());
            let page = events::page_within(&store, &filter, &within, order, place.as_ref(), 2);
            let page = page.await.unwrap();
            seqs.extend(page.rows.iter().map(|row| row.event.seq));
            if page.rows.is_empty() || order == Order::Newest {
                return seqs;
            }
            place = Some(page.next);
        }
    };
    let of = |cluster: Option<&str>, run| Within {
        cluster: cluster.map(str::to_owned),
        run,
    };
    let quiet = of(Some("quiet"), None);
    assert_eq!(read(quiet.clone(), Order::Oldest).await, [101, 102, 103]);
    assert_eq!(read(quiet, Order::Newest).await, [103, 102]);
    assert_eq!(
        read(of(Some("quiet"), Some(second)), Order::Oldest).await,
        [102, 103]
    );
    assert_eq!(
        read(of(None, Some(second)), Order::Oldest).await,
        [102, 103]
    );
    assert_eq!(read(of(Some("nobody"), None), Order::Oldest).await, [0; 0]);
    assert_eq!(read(Within::default(), Order::Oldest).await.len(), 23);
}

#[tokio::test]
async fn changed_records_are_told_of_once_with_those_that_are_gone() {
    let store = testing::store().await;
    let mut tailer = RecordTailer::new(store.clone());
    apply(&store, RecordKind::Fleet, "all", json!({"selector": {}})).await;
    let look = tailer.poll().await.unwrap();
    assert!(look.complete);
    assert_eq!(names(&look), ["Fleet all"]);
    application(&store).await;
    let id = cluster(&store, "one").await;
    apply(
        &store,
        RecordKind::Rollout,
        "guard",
        json!({"application": "shop"}),
    )
    .await;
    let look = tailer.poll().await.unwrap();
    assert!(!look.complete);
    assert_eq!(
        names(&look),
        ["Application shop", "Cluster one", "Rollout guard"]
    );
    let rollout = look.changes.values().last().unwrap();
    assert_eq!(rollout.application.as_deref(), Some("shop"));
    assert_eq!(names(&tailer.poll().await.unwrap()), [""; 0]);

    let mut tx = store.begin().await.unwrap();
    let key = new_record(RecordKind::Rollout, "guard", json!({})).key;
    records::delete(&mut tx, &key, None).await.unwrap();
    clusters::delete(&mut tx, id).await.unwrap();
    tx.commit().await.unwrap();
    let gone = ["Cluster one gone", "Rollout guard gone"];
    assert_eq!(names(&tailer.poll().await.unwrap()), gone);
    let mut another = RecordTailer::new(store.clone());
    assert!(
        names(&another.poll().await.unwrap()).contains(&gone[0].to_owned()),
        "whoever was away hears of it too"
    );
    assert_eq!(
        changes::sweep(&store, at(i64::from(i32::MAX)), 100)
            .await
            .unwrap(),
        2
    );
}

#[tokio::test]
async fn a_record_that_commits_late_is_told_of() {
    let store = testing::store().await;
    let mut tailer = RecordTailer::new(store.clone());
    tailer.poll().await.unwrap();
    let mut late = store.begin().await.unwrap();
    let slow = new_record(RecordKind::Fleet, "slow", json!({}));
    records::apply(&mut late, &slow, None, at(0)).await.unwrap();
    apply(&store, RecordKind::Fleet, "fast", json!({})).await;
    assert_eq!(names(&tailer.poll().await.unwrap()), ["Fleet fast"]);
    late.commit().await.unwrap();
    assert_eq!(names(&tailer.poll().await.unwrap()), ["Fleet slow"]);
}

#[tokio::test]
async fn saved_runs_are_told_of_by_their_application() {
    let store = testing::store().await;
    application(&store).await;
    let id = cluster(&store, "one").await;
    let mut tailer = RunTailer::new(store.clone());
    assert_eq!(tailer.poll().await.unwrap(), []);
    let release = release(&store, "{}").await;
    let made = run(&store, &release, vec![run_cluster(id, "one", 0)]).await;
    assert_eq!(tailer.poll().await.unwrap(), [app()]);
    assert_eq!(tailer.poll().await.unwrap(), []);
    let concerned = bellwether_store::planning::concerning(&store, &[id])
        .await
        .unwrap();
    assert_eq!(concerned, BTreeSet::from([app()]));
    let newest = bellwether_store::runs::newest(&store, &app())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (newest.run.id, newest.release, newest.plan),
        (made, release, json!({"waves": ["canary", "rest"]}))
    );
}

#[tokio::test]
async fn only_the_rollouts_of_an_application_are_read() {
    let store = testing::store().await;
    for (name, of) in [
        ("a", json!("shop")),
        ("b", json!("other")),
        ("c", json!(null)),
    ] {
        apply(
            &store,
            RecordKind::Rollout,
            name,
            json!({"application": of}),
        )
        .await;
    }
    let found = records::rollouts_of(&store, &app()).await.unwrap();
    let found: Vec<&str> = found.iter().map(|one| one.key.name.as_str()).collect();
    assert_eq!(
        found,
        ["a", "c"],
        "c says nothing: whose it is must be asked"
    );
}

/// Work under way holds its shard, and its hub renews meanwhile: neither waits, nothing is given
/// away.
#[tokio::test]
async fn leases_are_renewed_under_work_and_not_taken_from_it() {
    let store = testing::store().await;
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let all = leases::acquire_shards(&store, one, leases::SHARDS, at(0), TTL)
        .await
        .unwrap();
    let mut tx = store.begin().await.unwrap();
    leases::fence(&mut tx, one, &all[0], at(1)).await.unwrap();
    let renewing = leases::acquire_shards(&store, one, leases::SHARDS, at(5), TTL);
    let renewed = tokio::time::timeout(Duration::from_secs(5), renewing)
        .await
        .expect("it does not wait")
        .unwrap();
    assert_eq!(renewed.len(), all.len());
    assert_eq!((renewed[0].epoch, renewed[0].expires_at), (1, at(20)));
    // The hub is believed dead while its transaction is still open.
    let taken = leases::acquire_shards(&store, two, leases::SHARDS, at(30), TTL)
        .await
        .unwrap();
    assert!(
        taken.iter().all(|lease| lease.shard != all[0].shard),
        "not before it has ended"
    );
    assert_eq!(taken.len(), all.len() - 1);
    tx.commit().await.unwrap();
    let taken = leases::acquire_shards(&store, two, leases::SHARDS, at(31), TTL)
        .await
        .unwrap();
    assert_eq!(taken.len(), all.len());
}
