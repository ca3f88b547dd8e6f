//! Streams of agents: who holds a cluster's stream, since which epoch, and what it acknowledged.
//!
//! Beats are not written. Every write for a cluster carries its session's epoch; one that changes
//! nothing because the epoch is old tells the older hub to end its stream.

use std::collections::BTreeMap;

use bellwether_api::root::Root;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    column::{bytes32, ms, signed, unsigned},
    desired::Target,
    error::Doing,
};

/// What an agent says of itself when its stream starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The cluster, by its certificate.
    pub cluster: Uuid,
    /// The highest epoch that the agent has seen; the new one is higher.
    pub seen_epoch: u64,
    /// The agent's version.
    pub agent_version: String,
    /// The cluster's Kubernetes version.
    pub kubernetes_version: String,
    /// API groups with versions that capabilities depend on.
    pub capabilities: Vec<String>,
}

/// A stream that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The cluster.
    pub cluster: Uuid,
    /// The cluster's name.
    pub cluster_name: String,
    /// Higher than that of every stream of the cluster before.
    pub epoch: u64,
    /// What the cluster shall hold.
    pub target: Target,
}

/// What an agent stored durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The cluster.
    pub cluster: Uuid,
    /// The session in which it was said.
    pub epoch: u64,
    /// The generation that is stored.
    pub generation: u64,
    /// The root of what is stored.
    pub root: Root,
    /// The generation up to which everything is finished or failed.
    pub applied_generation: u64,
}

/// What an agent holds, against what it shall hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// The same: nothing to send.
    Current,
    /// It is behind: a delta brings it there.
    Delta,
    /// Its root is wrong at its own generation, or it comes from another incarnation: a snapshot.
    Snapshot,
    /// It is ahead of the database, which lost commits: [`crate::desired::jump_past`], then a
    /// snapshot.
    Ahead,
}

/// Decides how an agent gets to its target. Roots are compared at the target alone.
#[must_use]
pub fn resume_decision(held: Target, target: Target) -> Resume {
    match held.generation.cmp(&target.generation) {
        std::cmp::Ordering::Greater => Resume::Ahead,
        std::cmp::Ordering::Less => Resume::Delta,
        std::cmp::Ordering::Equal if held.root == target.root => Resume::Current,
        std::cmp::Ordering::Equal => Resume::Snapshot,
    }
}

/// Decides for many agents by one lookup; clusters that are not registered are left out.
///
/// # Errors
/// The database fails.
pub async fn resume(
    store: &Store,
    held: &[(Uuid, Target)],
) -> Result<BTreeMap<Uuid, (Resume, Target)>, StoreError> {
    let clusters: Vec<Uuid> = held.iter().map(|(cluster, _)| *cluster).collect();
    let targets = crate::desired::targets(store, &clusters).await?;
    Ok(held
        .iter()
        .filter_map(|(cluster, held)| {
            let target = *targets.get(cluster)?;
            Some((*cluster, (resume_decision(*held, target), target)))
        })
        .collect())
}

/// Starts one stream; absent when the cluster is not registered or was revoked.
///
/// # Errors
/// The database fails.
pub async fn open(
    store: &Store,
    session: &OpenSession,
    replica: Uuid,
    now: Timestamp,
) -> Result<Option<Session>, StoreError> {
    Ok(
        open_many(store, std::slice::from_ref(session), replica, now)
            .await?
            .pop(),
    )
}

/// Starts many streams in one transaction, so that a restarting hub lets 10,000 agents in without
/// 10,000 transactions. Clusters that are not registered or were revoked are left out. Sorted by
/// cluster. Of several for one cluster the last counts.
///
/// # Errors
/// The database fails.
pub async fn open_many(
    store: &Store,
    sessions: &[OpenSession],
    replica: Uuid,
    now: Timestamp,
) -> Result<Vec<Session>, StoreError> {
    let sessions: BTreeMap<Uuid, &OpenSession> = sessions
        .iter()
        .map(|session| (session.cluster, session))
        .collect();
    let clusters: Vec<Uuid> = sessions.keys().copied().collect();
    let seen: Vec<i64> = sessions
        .values()
        // An agent's word alone must not use the counter up.
        .map(|session| i64::try_from(session.seen_epoch).map_or(0, |seen| seen.min(i64::MAX / 2)))
        .collect();
    let mut tx = store.begin().await?;
    lock(&mut tx, &clusters).await?;
    let rows: Vec<(Uuid, String, i64, i64, Vec<u8>)> = sqlx::query_as(
        "UPDATE cluster_sync s SET session_epoch = greatest(s.session_epoch, o.seen) + 1,
            replica = $3, last_seen_at_ms = $4, tx = pg_current_xact_id()
         FROM unnest($1::uuid[], $2::bigint[]) AS o(cluster, seen)
         JOIN cluster c ON c.id = o.cluster AND c.state <> 'Revoked' AND c.cloned IS NULL
         WHERE s.cluster = o.cluster
         RETURNING s.cluster, c.name, s.session_epoch, s.target_gen, s.target_root",
    )
    .bind(&clusters)
    .bind(seen)
    .bind(replica)
    .bind(ms(now))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("open sessions")?;
    save_facts(&mut tx, &sessions).await?;
    tx.commit().await?;
    let mut opened = rows
        .into_iter()
        .map(|(cluster, cluster_name, epoch, generation, root)| {
            Ok(Session {
                cluster,
                cluster_name,
                epoch: unsigned("cluster_sync.session_epoch", epoch)?,
                target: Target {
                    generation: unsigned("cluster_sync.target_gen", generation)?,
                    root: Root::from_bytes(bytes32("cluster_sync.target_root", &root)?),
                },
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    opened.sort_by_key(|session| session.cluster);
    Ok(opened)
}

/// Locks clusters in the one order that everybody locks them in.
async fn lock(tx: &mut crate::Tx, clusters: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query("SELECT FROM cluster_sync WHERE cluster = ANY($1) ORDER BY cluster FOR UPDATE")
        .bind(clusters)
        .execute(&mut *tx.inner)
        .await
        .doing("lock clusters")?;
    Ok(())
}

/// Writes what agents say of themselves, where it is new.
async fn save_facts(
    tx: &mut crate::Tx,
    sessions: &BTreeMap<Uuid, &OpenSession>,
) -> Result<(), StoreError> {
    let clean = |text: &String| text.replace('\0', "\u{fffd}");
    let clusters: Vec<Uuid> = sessions.keys().copied().collect();
    let agents: Vec<String> = sessions.values().map(|s| clean(&s.agent_version)).collect();
    let versions: Vec<String> = sessions
        .values()
        .map(|s| clean(&s.kubernetes_version))
        .collect();
    // Postgres has no arrays of arrays of different lengths: they travel as JSON.
    let capabilities: Vec<serde_json::Value> = sessions
        .values()
        .map(|s| s.capabilities.iter().map(clean).collect())
        .collect();
    sqlx::query(
        "UPDATE cluster c SET agent_version = f.agent, kubernetes_version = f.version,
            capabilities = f.capabilities
         FROM (SELECT cluster, agent, version,
                      ARRAY(SELECT jsonb_array_elements_text(listed)) AS capabilities
               FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[])
                    AS o(cluster, agent, version, listed)) f
         WHERE c.id = f.cluster AND c.state <> 'Revoked'
           AND (c.agent_version, c.kubernetes_version, c.capabilities)
               IS DISTINCT FROM (f.agent, f.version, f.capabilities)",
    )
    .bind(clusters)
    .bind(agents)
    .bind(versions)
    .bind(capabilities)
    .execute(&mut *tx.inner)
    .await
    .doing("write what agents say of themselves")?;
    Ok(())
}

/// Ends streams: (cluster, epoch, last beat). A stream that was replaced meanwhile is left alone.
///
/// # Errors
/// The database fails.
pub async fn close_many(
    store: &Store,
    sessions: &[(Uuid, u64, Timestamp)],
) -> Result<(), StoreError> {
    let sessions: BTreeMap<Uuid, (u64, Timestamp)> = sessions
        .iter()
        .map(|(cluster, epoch, seen)| (*cluster, (*epoch, *seen)))
        .collect();
    let clusters: Vec<Uuid> = sessions.keys().copied().collect();
    let epochs = sessions
        .values()
        .map(|(epoch, _)| signed("cluster_sync.session_epoch", *epoch))
        .collect::<Result<Vec<_>, _>>()?;
    let seen: Vec<i64> = sessions.values().map(|(_, seen)| ms(*seen)).collect();
    let mut tx = store.begin().await?;
    lock(&mut tx, &clusters).await?;
    sqlx::query(
        "UPDATE cluster_sync s SET replica = NULL, tx = pg_current_xact_id(),
            last_seen_at_ms = greatest(s.last_seen_at_ms, o.seen)
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS o(cluster, epoch, seen)
         WHERE s.cluster = o.cluster AND s.session_epoch = o.epoch AND s.replica IS NOT NULL",
    )
    .bind(clusters)
    .bind(epochs)
    .bind(seen)
    .execute(&mut *tx.inner)
    .await
    .doing("close sessions")?;
    tx.commit().await
}

/// Ends one stream; one that was replaced meanwhile is left alone.
///
/// # Errors
/// The database fails.
pub async fn close(
    store: &Store,
    cluster: Uuid,
    epoch: u64,
    last_seen: Timestamp,
) -> Result<(), StoreError> {
    close_many(store, &[(cluster, epoch, last_seen)]).await
}

/// Records acknowledgements. Gives the clusters, sorted, whose epoch is old: their streams here
/// must end. An acknowledgement lower than an earlier one changes nothing.
///
/// # Errors
/// The database fails.
pub async fn ack(store: &Store, acks: &[Ack]) -> Result<Vec<Uuid>, StoreError> {
    let acks = newest(acks);
    let clusters: Vec<Uuid> = acks.keys().copied().collect();
    // Numbers come from agents: one beyond 63 bits must not fail everybody's batch.
    let numbers = |read: fn(&Ack) -> u64| -> Vec<i64> {
        acks.values()
            .map(|ack| i64::try_from(read(ack)).unwrap_or(i64::MAX))
            .collect()
    };
    let roots: Vec<&[u8]> = acks
        .values()
        .map(|ack| ack.root.as_bytes().as_slice())
        .collect();
    let mut tx = store.begin().await?;
    lock(&mut tx, &clusters).await?;
    // A generation beyond the target is an agent's word against the database: it is not recorded.
    let current: Vec<Uuid> = sqlx::query_scalar(
        "UPDATE cluster_sync s SET
            acked_root = CASE WHEN a.gen BETWEEN s.acked_gen AND s.target_gen THEN a.root
                              ELSE s.acked_root END,
            acked_gen = greatest(s.acked_gen, least(a.gen, s.target_gen)),
            applied_gen = greatest(s.applied_gen, least(a.applied, s.target_gen))
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[])
              AS a(cluster, epoch, gen, root, applied)
         WHERE s.cluster = a.cluster AND s.session_epoch = a.epoch RETURNING s.cluster",
    )
    .bind(&clusters)
    .bind(numbers(|ack| ack.epoch))
    .bind(numbers(|ack| ack.generation))
    .bind(roots)
    .bind(numbers(|ack| ack.applied_generation))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("record acknowledgements")?;
    tx.commit().await?;
    let current: std::collections::BTreeSet<Uuid> = current.into_iter().collect();
    Ok(clusters
        .into_iter()
        .filter(|cluster| !current.contains(cluster))
        .collect())
}

/// Of several acknowledgements of one cluster, the one of the newest session, then generation.
fn newest(acks: &[Ack]) -> BTreeMap<Uuid, Ack> {
    let mut newest: BTreeMap<Uuid, Ack> = BTreeMap::new();
    for ack in acks {
        let rank = |ack: &Ack| (ack.epoch, ack.generation, ack.applied_generation);
        match newest.get(&ack.cluster) {
            Some(other) if rank(other) > rank(ack) => {}
            _ => {
                newest.insert(ack.cluster, *ack);
            }
        }
    }
    newest
}
