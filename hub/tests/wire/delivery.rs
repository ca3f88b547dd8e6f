//! Desired state on its way down.

use std::collections::BTreeMap;

use bellwether_api::sync_policy::{DeletionPolicies, DeletionPolicy};
use bellwether_proto::wire::{
    Deletion, Nack, agent_message::Message as Up, hub_message::Message as Down,
};
use bellwether_store::{clusters, desired, status::list_for_cluster, testing::row_versions};

use crate::{
    agent::{Credentials, Held, Session, connect, joined},
    harness::{Hub, Site, eventually},
};

const SHOP: &str = "application/default/shop";

async fn open(hub: &Hub, credentials: &Credentials, held: &Held) -> Session {
    Session::open(connect(hub, Some(credentials)).await.unwrap(), held)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_leads_where_a_snapshot_leads() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let cluster = credentials.cluster;
    hub.write(
        cluster,
        &[
            ("application/a/x", Some(b"1")),
            ("application/a/y", Some(b"1")),
        ],
    )
    .await;

    let mut resumed = Held::default();
    let mut session = open(&hub, &credentials, &resumed).await;
    session.catch_up(&mut resumed, 1).await;
    drop(session);
    // Away while: a change, a change of the change, a tombstone, an addition.
    hub.write(cluster, &[("application/a/x", Some(b"2"))]).await;
    hub.write(
        cluster,
        &[("application/a/x", Some(b"3")), ("application/a/y", None)],
    )
    .await;
    let written = hub
        .write(cluster, &[("application/a/z", Some(b"1"))])
        .await
        .unwrap();

    let mut session = open(&hub, &credentials, &resumed).await;
    match session.hear().await.unwrap().unwrap() {
        Down::Delta(delta) => {
            assert_eq!((delta.from, delta.to), (1, written.generation));
            let keys: Vec<_> = delta.changes.iter().map(|unit| unit.key.as_str()).collect();
            assert_eq!(
                keys,
                ["application/a/x", "application/a/y", "application/a/z"]
            );
            session.take(&mut resumed, Down::Delta(delta)).await;
        }
        other => panic!("no delta but {other:?}"),
    }
    let mut fresh = Held::default();
    let mut session = open(&hub, &credentials, &fresh).await;
    match session.hear().await.unwrap().unwrap() {
        Down::Snapshot(part) => session.take(&mut fresh, Down::Snapshot(part)).await,
        other => panic!("no snapshot but {other:?}"),
    }
    assert_eq!(fresh.units, resumed.units);
    assert_eq!(fresh.root(), written.root);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_says_what_becomes_of_the_objects_also_in_a_snapshot() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let cluster = credentials.cluster;
    hub.write(cluster, &[(SHOP, Some(b"1"))]).await;
    let mut held = Held::default();
    let mut session = open(&hub, &credentials, &held).await;
    session.catch_up(&mut held, 1).await;
    drop(session);
    hub.write(cluster, &[(SHOP, None)]).await;
    let mut tx = hub.app().store.begin().await.unwrap();
    let said = DeletionPolicies {
        application: DeletionPolicy::SelectivelyOrphan,
        components: BTreeMap::from([
            ("db".to_owned(), Some(DeletionPolicy::Orphan)),
            ("web".to_owned(), None),
        ]),
    };
    desired::say_deletion(&mut tx, &[cluster], SHOP, &said)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    for held in [held, Held::default()] {
        let mut session = open(&hub, &credentials, &held).await;
        let units = match session.hear().await.unwrap().unwrap() {
            Down::Delta(delta) => delta.changes,
            Down::Snapshot(part) => part.units,
            other => panic!("no state but {other:?}"),
        };
        let said: Vec<_> = units
            .iter()
            .map(|unit| (unit.key.as_str(), unit.digest.is_empty(), unit.deletion()))
            .collect();
        assert_eq!(said, [(SHOP, true, Deletion::SelectivelyOrphan)]);
        let own: BTreeMap<&str, i32> = units[0]
            .components
            .iter()
            .map(|(name, own)| (name.as_str(), *own))
            .collect();
        let expected = [
            ("db", Deletion::Orphan.into()),
            ("web", Deletion::Unspecified.into()),
        ];
        assert_eq!(own, BTreeMap::from(expected));
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn change_reaches_an_open_session_and_its_ack_is_recorded() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let mut held = Held::default();
    let mut session = open(&hub, &credentials, &held).await;
    let written = hub
        .write(credentials.cluster, &[(SHOP, Some(b"one"))])
        .await
        .unwrap();
    session.catch_up(&mut held, written.generation).await;
    session.beat(&held).await;
    let store = &hub.app().store;
    eventually("the acknowledgement", async || {
        let cluster = clusters::by_id(store, credentials.cluster)
            .await
            .unwrap()
            .unwrap();
        (cluster.connection.acked_generation == written.generation
            && cluster.connection.applied_generation == written.generation)
            .then_some(())
    })
    .await;
    // Unchanged at resume: welcome, and then nothing but the answer to a beat.
    drop(session);
    let mut session = open(&hub, &credentials, &held).await;
    session.beat(&held).await;
    let first = session.hear().await.unwrap();
    assert!(matches!(first, Some(Down::Beat(_))), "{first:?}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beats_write_nothing() {
    const TABLES: [&str; 6] = [
        "cluster",
        "cluster_sync",
        "desired",
        "status",
        "event",
        "record",
    ];
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let held = Held::default();
    let mut session = open(&hub, &credentials, &held).await;
    let store = &hub.app().store;
    let beat = async |session: &mut Session| {
        session.beat(&held).await;
        while !matches!(session.hear().await.unwrap(), Some(Down::Beat(_))) {}
    };
    // What opening the session and its first beat say of the cluster is written once.
    beat(&mut session).await;
    let read = async || {
        let mut rows = Vec::new();
        for table in TABLES {
            rows.push(row_versions(store, table).await);
        }
        rows
    };
    let settled = eventually("the session to be written", async || {
        let before = read().await;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        (before == read().await).then_some(before)
    })
    .await;
    // A hub whose beats are not answered ends the stream after a few.
    for _ in 0..3 {
        beat(&mut session).await;
    }
    assert_eq!(read().await, settled);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_contents_come_in_pieces() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    // Random bytes do not pack: 1.5 MB stay 1.5 MB.
    let mut content = Vec::with_capacity(1_500_000);
    while content.len() < 1_500_000 {
        content.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    let written = hub
        .write(credentials.cluster, &[(SHOP, Some(&content))])
        .await
        .unwrap();
    let mut held = Held::default();
    let mut session = open(&hub, &credentials, &held).await;
    session.catch_up(&mut held, written.generation).await;
    let packed = held.blobs.values().next().unwrap();
    let stored =
        bellwether_store::blobs::get_packed(&hub.app().store, crate::harness::digest(&content))
            .await
            .unwrap()
            .unwrap();
    assert_eq!(packed, &stored.zstd);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_snapshot_comes_in_parts_only_as_permitted() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let keys: Vec<String> = (0..9_000)
        .map(|n| format!("application/many/a{n:05}"))
        .collect();
    let units: Vec<(&str, Option<&[u8]>)> = keys
        .iter()
        .map(|key| (key.as_str(), Some(b"same".as_slice())))
        .collect();
    let written = hub.write(credentials.cluster, &units).await.unwrap();
    let mut held = Held::default();
    let mut session = open(&hub, &credentials, &held).await;
    // Without credit four batches come; the fifth waits.
    let mut parts = Vec::new();
    for _ in 0..4 {
        parts.push(session.hear().await.unwrap().unwrap());
    }
    session.beat(&held).await;
    assert!(
        matches!(session.hear().await.unwrap(), Some(Down::Beat(_))),
        "no fifth batch yet"
    );
    session
        .say(Up::Credit(bellwether_proto::wire::Credit { batches: 4 }))
        .await;
    for part in parts {
        session.take(&mut held, part).await;
    }
    session.catch_up(&mut held, written.generation).await;
    assert_eq!(held.units.len(), 9_000);
    assert_eq!(held.root(), written.root);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_ahead_of_the_database_gets_everything_at_a_higher_generation() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    hub.write(credentials.cluster, &[(SHOP, Some(b"kept"))])
        .await;
    let mut held = Held::default();
    let mut session = open(&hub, &credentials, &held).await;
    session.catch_up(&mut held, 1).await;
    drop(session);
    // Commits that the database lost: the agent holds what nobody knows of.
    held.generation = 7;
    held.units.insert(SHOP.to_owned(), (6, Some([9; 32])));

    let mut session = open(&hub, &credentials, &held).await;
    match session.hear().await.unwrap().unwrap() {
        Down::Snapshot(part) => {
            assert!(part.generation > 7);
            session.take(&mut held, Down::Snapshot(part)).await;
        }
        other => panic!("no snapshot but {other:?}"),
    }
    assert_eq!(
        held.units[SHOP].1,
        Some(*crate::harness::digest(b"kept").as_bytes())
    );
    // Numbers are never used twice.
    let written = hub
        .write(credentials.cluster, &[(SHOP, Some(b"next"))])
        .await
        .unwrap();
    assert!(written.generation > held.generation);
    session.catch_up(&mut held, written.generation).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_root_is_repaired() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    hub.write(credentials.cluster, &[(SHOP, Some(b"right"))])
        .await;
    let mut held = Held::default();
    let mut session = open(&hub, &credentials, &held).await;
    session.catch_up(&mut held, 1).await;
    // Corruption while the session is open shows in the next beat.
    held.units.insert(SHOP.to_owned(), (1, Some([1; 32])));
    held.blobs.insert([1; 32], Vec::new());
    session.beat(&held).await;
    session.catch_up(&mut held, 2).await;
    let target = desired::snapshot(&hub.app().store, credentials.cluster)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(held.root(), target.root);
    assert_eq!(held.generation, target.generation);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_unit_becomes_a_status() {
    use bellwether_api::{
        application::SyncPolicy,
        bundle::{Bundle, BundleMode},
        reference::NamespacedName,
    };
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "uat-1").await;
    let bundle = Bundle {
        application: NamespacedName {
            namespace: "default".into(),
            name: "shop".into(),
        },
        release: "r1".into(),
        revision: 1,
        run: uuid::Uuid::now_v7(),
        attempt: 2,
        mode: BundleMode::Plain,
        target_namespace: "default".into(),
        create_namespace: true,
        components: Vec::new(),
        rollouts: Vec::new(),
        sync: SyncPolicy::default(),
        metrics: None,
        alerts: Vec::new(),
        returns: false,
    };
    let content = serde_json::to_vec(&bundle).unwrap();
    let written = hub
        .write(credentials.cluster, &[(SHOP, Some(&content))])
        .await
        .unwrap();
    let mut held = Held::default();
    let mut session = open(&hub, &credentials, &held).await;
    session.catch_up(&mut held, written.generation).await;
    session
        .say(Up::Nack(Nack {
            generation: written.generation,
            key: SHOP.into(),
            error: "an object of the bundle lacks a name".into(),
        }))
        .await;
    let row = eventually("the refusal", async || {
        list_for_cluster(&hub.app().store, credentials.cluster)
            .await
            .unwrap()
            .pop()
    })
    .await;
    assert_eq!(row.key, SHOP);
    assert_eq!(row.detail["outcome"], "Refused");
    assert_eq!(row.detail["attempt"], 2);
    assert_eq!(row.detail["reason"], "an object of the bundle lacks a name");
    hub.stop().await;
}
