//! What every store of desired state must do: the same suite runs against Postgres and against
//! the store of the simulation, so that what is proven in the one holds in the other.
//!
//! Each check takes a fresh store and panics with what is wrong.

use std::{collections::BTreeMap, future::Future};

use bellwether_api::root::Root;
use uuid::Uuid;

use crate::{
    Digest,
    desired::{ClusterChange, Deletions, Delta, Snapshot, UnitChange, UnitVersion, Written},
    sessions::Ack,
};

/// Why a store refused a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many units would go at once.
    MassDelete {
        /// Units that would go.
        count: u64,
        /// Units that the cluster has.
        total: u64,
    },
    /// A cluster is not registered.
    UnknownCluster,
}

/// A store of desired state. Every call is a transaction of its own.
pub trait SyncStore {
    /// Registers a cluster that holds nothing.
    fn add_cluster(&self) -> impl Future<Output = Uuid>;
    /// Stores a content, so that units may name it.
    fn put_blob(&self, content: &[u8]) -> impl Future<Output = Digest>;
    /// Writes changes, all or none.
    fn write(
        &self,
        changes: &[ClusterChange],
        deletions: Deletions,
    ) -> impl Future<Output = Result<Vec<Written>, Refusal>>;
    /// What changed after a generation; absent when the cluster is not registered.
    fn delta(&self, cluster: Uuid, since: u64) -> impl Future<Output = Option<Delta>>;
    /// Everything; absent when the cluster is not registered.
    fn snapshot(&self, cluster: Uuid) -> impl Future<Output = Option<Snapshot>>;
    /// Starts a stream and gives its epoch; absent when the cluster is not registered.
    fn open_session(
        &self,
        cluster: Uuid,
        replica: Uuid,
        seen_epoch: u64,
    ) -> impl Future<Output = Option<u64>>;
    /// Records acknowledgements; gives the clusters whose epoch is old.
    fn ack(&self, acks: &[Ack]) -> impl Future<Output = Vec<Uuid>>;
    /// The generation that a cluster acknowledged last.
    fn acked_generation(&self, cluster: Uuid) -> impl Future<Output = u64>;
}

/// Runs the whole suite; `fresh` makes an empty store for each check.
///
/// # Panics
/// When the store does not conform.
pub async fn run<S: SyncStore, F: Future<Output = S>>(fresh: impl Fn() -> F) {
    unknown_clusters_are_refused(&fresh().await).await;
    generations_rise_by_one(&fresh().await).await;
    what_is_so_already_is_no_change(&fresh().await).await;
    the_last_change_of_a_key_counts(&fresh().await).await;
    tombstones_are_kept(&fresh().await).await;
    the_root_counts_live_units(&fresh().await).await;
    a_delta_from_anywhere_gives_the_snapshot(&fresh().await).await;
    clusters_are_apart(&fresh().await).await;
    mass_deletion_is_braked(&fresh().await).await;
    a_refused_write_changes_nothing(&fresh().await).await;
    epochs_rise(&fresh().await).await;
    old_epochs_are_fenced(&fresh().await).await;
    acknowledgements_never_go_back(&fresh().await).await;
}

async fn set<S: SyncStore>(
    store: &S,
    cluster: Uuid,
    keys: &[(&str, Option<&str>)],
) -> Vec<Written> {
    let change = change(store, cluster, keys).await;
    store
        .write(&[change], Deletions::Braked)
        .await
        .expect("the write is in order")
}

async fn change<S: SyncStore>(
    store: &S,
    cluster: Uuid,
    keys: &[(&str, Option<&str>)],
) -> ClusterChange {
    let mut changes = Vec::new();
    for (key, content) in keys {
        let digest = match content {
            Some(content) => Some(store.put_blob(content.as_bytes()).await),
            None => None,
        };
        changes.push(UnitChange {
            key: (*key).to_owned(),
            digest,
            origin: "test".to_owned(),
        });
    }
    ClusterChange { cluster, changes }
}

async fn snapshot<S: SyncStore>(store: &S, cluster: Uuid) -> Snapshot {
    store
        .snapshot(cluster)
        .await
        .expect("the cluster is registered")
}

async fn delta<S: SyncStore>(store: &S, cluster: Uuid, since: u64) -> Delta {
    store
        .delta(cluster, since)
        .await
        .expect("the cluster is registered")
}

fn root_of(units: &[UnitVersion]) -> Root {
    Root::of(
        units
            .iter()
            .filter_map(|unit| Some((unit.key.as_str(), unit.digest.as_ref()?.as_bytes()))),
    )
}

async fn unknown_clusters_are_refused<S: SyncStore>(store: &S) {
    let unknown = Uuid::from_u128(1);
    let change = change(store, unknown, &[("a", Some("1"))]).await;
    let refused = store.write(&[change], Deletions::Braked).await;
    assert_eq!(refused, Err(Refusal::UnknownCluster));
    assert_eq!(store.snapshot(unknown).await, None);
    assert_eq!(store.delta(unknown, 0).await, None);
    assert_eq!(
        store.open_session(unknown, Uuid::from_u128(2), 0).await,
        None
    );
}

async fn generations_rise_by_one<S: SyncStore>(store: &S) {
    let cluster = store.add_cluster().await;
    let empty = snapshot(store, cluster).await;
    assert_eq!(
        (empty.generation, empty.root, empty.units),
        (0, Root::EMPTY, Vec::new())
    );
    for (generation, content) in (1..).zip(["1", "2", "3"]) {
        let written = set(
            store,
            cluster,
            &[("a", Some(content)), ("b", Some(content))],
        )
        .await;
        assert_eq!(written.len(), 1);
        assert_eq!(
            (written[0].cluster, written[0].generation),
            (cluster, generation)
        );
        let now = snapshot(store, cluster).await;
        assert_eq!((now.generation, now.root), (generation, written[0].root));
        assert!(now.units.iter().all(|unit| unit.generation == generation));
    }
}

async fn what_is_so_already_is_no_change<S: SyncStore>(store: &S) {
    let cluster = store.add_cluster().await;
    set(store, cluster, &[("a", Some("1"))]).await;
    assert_eq!(set(store, cluster, &[("a", Some("1"))]).await, []);
    assert_eq!(set(store, cluster, &[("never", None)]).await, []);
    let now = snapshot(store, cluster).await;
    assert_eq!((now.generation, now.units.len()), (1, 1));
    // Of two units only the changed one gets the new generation.
    set(store, cluster, &[("a", Some("1")), ("b", Some("1"))]).await;
    let changed: Vec<_> = delta(store, cluster, 1)
        .await
        .changes
        .into_iter()
        .map(|unit| unit.key)
        .collect();
    assert_eq!(changed, ["b"]);
}

async fn the_last_change_of_a_key_counts<S: SyncStore>(store: &S) {
    let cluster = store.add_cluster().await;
    let written = set(store, cluster, &[("a", Some("1")), ("a", Some("2"))]).await;
    assert_eq!(written[0].generation, 1);
    let now = snapshot(store, cluster).await;
    assert_eq!(now.units.len(), 1);
    assert_eq!(now.units[0].digest, Some(Digest::of(b"2")));
    assert_eq!(now.root, root_of(&now.units));
}

async fn tombstones_are_kept<S: SyncStore>(store: &S) {
    let cluster = store.add_cluster().await;
    set(store, cluster, &[("a", Some("1")), ("b", Some("1"))]).await;
    set(store, cluster, &[("a", None)]).await;
    let tombstone = UnitVersion {
        key: "a".to_owned(),
        generation: 2,
        digest: None,
        deletion: None,
    };
    assert_eq!(
        delta(store, cluster, 1).await.changes.first(),
        Some(&tombstone)
    );
    assert_eq!(delta(store, cluster, 1).await.changes.len(), 1);
    assert!(snapshot(store, cluster).await.units.contains(&tombstone));
    assert_eq!(
        set(store, cluster, &[("a", None)]).await,
        [],
        "it is one already"
    );
    set(store, cluster, &[("a", Some("1"))]).await;
    assert_eq!(
        snapshot(store, cluster).await.units[0].digest,
        Some(Digest::of(b"1"))
    );
}

async fn the_root_counts_live_units<S: SyncStore>(store: &S) {
    let cluster = store.add_cluster().await;
    set(store, cluster, &[("a", Some("1")), ("b", Some("1"))]).await;
    let before = snapshot(store, cluster).await.root;
    set(store, cluster, &[("c", Some("1"))]).await;
    set(store, cluster, &[("a", Some("2")), ("b", None)]).await;
    let now = snapshot(store, cluster).await;
    assert_eq!(now.root, root_of(&now.units));
    set(
        store,
        cluster,
        &[("a", Some("1")), ("b", Some("1")), ("c", None)],
    )
    .await;
    assert_eq!(
        snapshot(store, cluster).await.root,
        before,
        "the same units, the same root"
    );
    set(store, cluster, &[("a", None), ("b", None)]).await;
    assert_eq!(snapshot(store, cluster).await.root, Root::EMPTY);
}

async fn a_delta_from_anywhere_gives_the_snapshot<S: SyncStore>(store: &S) {
    let cluster = store.add_cluster().await;
    let steps: [&[(&str, Option<&str>)]; 6] = [
        &[("a", Some("1")), ("b", Some("1"))],
        &[("a", Some("2"))],
        &[("b", None), ("c", Some("1"))],
        &[("a", Some("3")), ("b", Some("2"))],
        &[("c", None)],
        &[("d", Some("1")), ("a", None)],
    ];
    // What an agent holds that stopped listening after each step.
    let mut held = vec![(0, BTreeMap::new())];
    for step in steps {
        set(store, cluster, step).await;
        let now = snapshot(store, cluster).await;
        let units: BTreeMap<_, _> = now
            .units
            .into_iter()
            .map(|unit| (unit.key, unit.digest))
            .collect();
        held.push((now.generation, units));
    }
    let last = snapshot(store, cluster).await;
    let whole: BTreeMap<_, _> = last
        .units
        .iter()
        .map(|unit| (unit.key.clone(), unit.digest))
        .collect();
    for (generation, mut units) in held {
        let delta = delta(store, cluster, generation).await;
        assert_eq!(
            (delta.from, delta.to, delta.root),
            (generation, last.generation, last.root)
        );
        assert!(
            delta
                .changes
                .iter()
                .all(|unit| unit.generation > generation)
        );
        assert!(delta.changes.is_sorted_by(|one, next| one.key < next.key));
        units.extend(
            delta
                .changes
                .into_iter()
                .map(|unit| (unit.key, unit.digest)),
        );
        assert_eq!(units, whole, "from generation {generation}");
    }
}

async fn clusters_are_apart<S: SyncStore>(store: &S) {
    let (one, two) = (store.add_cluster().await, store.add_cluster().await);
    let changes = [
        change(store, one, &[("a", Some("1"))]).await,
        change(store, two, &[("a", Some("2")), ("b", Some("2"))]).await,
    ];
    let written = store
        .write(&changes, Deletions::Braked)
        .await
        .expect("the write is in order");
    assert_eq!(written.len(), 2);
    assert!(written.is_sorted_by_key(|written| written.cluster));
    set(store, two, &[("a", Some("3"))]).await;
    assert_eq!(snapshot(store, one).await.generation, 1);
    assert_eq!(snapshot(store, one).await.units.len(), 1);
    assert_eq!(snapshot(store, two).await.generation, 2);
}

async fn mass_deletion_is_braked<S: SyncStore>(store: &S) {
    let cluster = store.add_cluster().await;
    let keys: Vec<String> = (0..40).map(|number| format!("unit-{number:02}")).collect();
    let all: Vec<_> = keys.iter().map(|key| (key.as_str(), Some("1"))).collect();
    set(store, cluster, &all).await;
    let gone = |count: usize| -> Vec<(&str, Option<&str>)> {
        keys.iter()
            .take(count)
            .map(|key| (key.as_str(), None))
            .collect()
    };
    let nine = change(store, cluster, &gone(9)).await;
    let refused = store
        .write(std::slice::from_ref(&nine), Deletions::Braked)
        .await;
    assert_eq!(
        refused,
        Err(Refusal::MassDelete {
            count: 9,
            total: 40
        })
    );
    set(store, cluster, &gone(8)).await;
    // Tombstones are no units: 32 are left, and one in five of them may go.
    let rest = change(store, cluster, &gone(16)).await;
    let refused = store
        .write(std::slice::from_ref(&rest), Deletions::Braked)
        .await;
    assert_eq!(
        refused,
        Err(Refusal::MassDelete {
            count: 8,
            total: 32
        })
    );
    store
        .write(&[rest], Deletions::Allowed)
        .await
        .expect("it is allowed");
    // Few units may always go, however large their share.
    let small = store.add_cluster().await;
    set(store, small, &all[..5]).await;
    set(store, small, &gone(5)).await;
}

async fn a_refused_write_changes_nothing<S: SyncStore>(store: &S) {
    let (good, bad) = (store.add_cluster().await, store.add_cluster().await);
    let keys: Vec<String> = (0..10).map(|number| format!("unit-{number}")).collect();
    let all: Vec<_> = keys.iter().map(|key| (key.as_str(), Some("1"))).collect();
    set(store, bad, &all).await;
    let none: Vec<_> = keys.iter().map(|key| (key.as_str(), None)).collect();
    let changes = [
        change(store, good, &[("a", Some("1"))]).await,
        change(store, bad, &none).await,
    ];
    let refused = store.write(&changes, Deletions::Braked).await;
    assert_eq!(
        refused,
        Err(Refusal::MassDelete {
            count: 10,
            total: 10
        })
    );
    assert_eq!(snapshot(store, good).await.generation, 0);
    assert_eq!(snapshot(store, bad).await.generation, 1);
}

async fn epochs_rise<S: SyncStore>(store: &S) {
    let cluster = store.add_cluster().await;
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let open = |replica, seen| store.open_session(cluster, replica, seen);
    let first = open(one, 0).await.expect("the cluster is registered");
    let second = open(two, 0).await.expect("the cluster is registered");
    assert!(second > first);
    let third = open(one, second + 10)
        .await
        .expect("the cluster is registered");
    assert!(
        third > second + 10,
        "an agent that saw a higher epoch gets a higher one still"
    );
}

/// No cluster's stream must end.
const NOBODY: [Uuid; 0] = [];

fn acked(cluster: Uuid, epoch: u64, generation: u64, root: Root) -> Ack {
    Ack {
        cluster,
        epoch,
        generation,
        root,
        applied_generation: 0,
    }
}

async fn old_epochs_are_fenced<S: SyncStore>(store: &S) {
    let cluster = store.add_cluster().await;
    let root = set(store, cluster, &[("a", Some("1"))]).await[0].root;
    let old = store
        .open_session(cluster, Uuid::from_u128(1), 0)
        .await
        .expect("registered");
    let new = store
        .open_session(cluster, Uuid::from_u128(2), 0)
        .await
        .expect("registered");
    assert_eq!(store.ack(&[acked(cluster, old, 1, root)]).await, [cluster]);
    assert_eq!(
        store.acked_generation(cluster).await,
        0,
        "an old session records nothing"
    );
    assert_eq!(store.ack(&[acked(cluster, new, 1, root)]).await, NOBODY);
    assert_eq!(store.acked_generation(cluster).await, 1);
}

async fn acknowledgements_never_go_back<S: SyncStore>(store: &S) {
    let cluster = store.add_cluster().await;
    let one = set(store, cluster, &[("a", Some("1"))]).await[0].root;
    let two = set(store, cluster, &[("a", Some("2"))]).await[0].root;
    let epoch = store
        .open_session(cluster, Uuid::from_u128(1), 0)
        .await
        .expect("registered");
    assert_eq!(store.ack(&[acked(cluster, epoch, 2, two)]).await, NOBODY);
    assert_eq!(
        store.ack(&[acked(cluster, epoch, 1, one)]).await,
        NOBODY,
        "late, not old"
    );
    assert_eq!(store.acked_generation(cluster).await, 2);
    assert_eq!(store.ack(&[acked(cluster, epoch, 99, two)]).await, NOBODY);
    assert_eq!(
        store.acked_generation(cluster).await,
        2,
        "nobody holds what was never written"
    );
}
