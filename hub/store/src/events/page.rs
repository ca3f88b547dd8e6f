use sqlx::{FromRow, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{EventCursor, EventFilter, EventRow, Row, cursor::MAX_AHEAD};
use crate::{Store, StoreError, error::Doing};

/// Which way to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Oldest first; `after` = only later ones.
    Oldest,
    /// Newest first; `after` = only earlier ones.
    Newest,
}

/// Some events, and where to read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// The events, in the order asked for.
    pub rows: Vec<EventRow>,
    /// Give it as `after` with [`Order::Oldest`] to read what comes later: no event is then
    /// skipped and none comes twice, whatever the order in which transactions end.
    pub next: EventCursor,
}

struct PageRow {
    xmin: String,
    event: Option<Row>,
}

impl FromRow<'_, PgRow> for PageRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let id: Option<i64> = row.try_get("id")?;
        Ok(Self {
            xmin: row.try_get("xmin")?,
            event: id.map(|_| Row::from_row(row)).transpose()?,
        })
    }
}

/// Which events of a filter to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Within {
    /// Only of the cluster of that name; absent = of all, and those of the hub.
    pub cluster: Option<String>,
    /// Only of this run; absent = of all.
    pub run: Option<Uuid>,
}

/// As [`page_within`], of everything that `filter` names.
///
/// # Errors
/// The database fails.
pub async fn page(
    store: &Store,
    filter: &EventFilter,
    order: Order,
    after: Option<&EventCursor>,
    limit: u32,
) -> Result<EventPage, StoreError> {
    page_within(store, filter, &Within::default(), order, after, limit).await
}

/// At most `limit` events, at least one where there is one, in the order asked for, behind `after`
/// (absent = from the start).
///
/// # Errors
/// The database fails.
pub async fn page_within(
    store: &Store,
    filter: &EventFilter,
    within: &Within,
    order: Order,
    after: Option<&EventCursor>,
    limit: u32,
) -> Result<EventPage, StoreError> {
    let (run, key, cluster) = match filter {
        EventFilter::Run(run) => (Some(*run), None, None),
        EventFilter::Application(name) => (None, Some(format!("application/{name}")), None),
        EventFilter::Rollout(name) => (None, Some(format!("rollout/{name}")), None),
        EventFilter::Cluster(cluster) => (None, None, Some(*cluster)),
        EventFilter::All => (None, None, None),
    };
    let from = after.cloned().unwrap_or_default();
    // Where more would have to be remembered than a cursor holds, only what is settled is read.
    let room = MAX_AHEAD.saturating_sub(from.ahead.len());
    let seen: Vec<i64> = from.ahead.iter().map(|(_, id)| signed(*id)).collect();
    let statement = match order {
        Order::Oldest => OLDEST,
        Order::Newest => NEWEST,
    };
    let rows: Vec<PageRow> = sqlx::query_as(statement)
        .bind(run)
        .bind(key)
        .bind(cluster)
        .bind(after.map(|after| after.place.0.to_string()))
        .bind(after.map(|after| signed(after.place.1)))
        .bind(i64::from(limit.max(1)))
        .bind(seen)
        .bind(within.cluster.as_deref())
        .bind(within.run)
        .fetch_all(&store.pool)
        .await
        .doing("list events")?;
    let xmin = xmin(rows.first())?;
    let mut rows = rows
        .into_iter()
        .filter_map(|row| row.event)
        .map(Row::into_event)
        .collect::<Result<Vec<EventRow>, StoreError>>()?;
    rows.sort_by_key(|row| (row.tx, row.id));
    if order == Order::Newest {
        rows.reverse();
    }
    let mut whole = rows.len() < usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
    let mut unsettled = 0;
    let fitting = rows
        .iter()
        .take_while(|row| {
            unsettled += usize::from(row.tx >= xmin);
            unsettled <= room || order == Order::Newest
        })
        .count();
    whole &= fitting == rows.len();
    rows.truncate(fitting);
    let mut places: Vec<_> = rows.iter().map(|row| (row.tx, row.id)).collect();
    places.sort_unstable();
    if order == Order::Newest {
        // Whatever lies before the page was not asked for, so the page reaches to the end.
        whole = true;
        places.drain(..places.len().saturating_sub(MAX_AHEAD));
    }
    Ok(EventPage {
        next: from.after(&places, xmin, whole),
        rows,
    })
}

/// The events of [`page`] alone.
///
/// # Errors
/// The database fails.
pub async fn list(
    store: &Store,
    filter: &EventFilter,
    order: Order,
    after: Option<&EventCursor>,
    limit: u32,
) -> Result<Vec<EventRow>, StoreError> {
    Ok(page(store, filter, order, after, limit).await?.rows)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn xmin(row: Option<&PageRow>) -> Result<u64, StoreError> {
    let text = row.map(|row| row.xmin.as_str()).unwrap_or_default();
    text.parse().map_err(|_| StoreError::Corrupt {
        what: "pg_snapshot_xmin",
        detail: format!("{text:?} is no number"),
    })
}

// xmin is read in the same statement as the rows, so that both come from one snapshot.
const OLDEST: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin, e.*
    FROM (SELECT) AS always LEFT JOIN LATERAL (
        SELECT id, tx::text AS tx, cluster, cluster_name, key, seq, run, attempt, at_ms, severity,
            reason, message, object, received_at_ms
        FROM event
        WHERE ($1::uuid IS NULL OR run = $1) AND ($2::text IS NULL OR key = $2)
          AND ($3::uuid IS NULL OR cluster = $3)
          AND ($4::text IS NULL OR (event.tx, event.id) > ($4::text::xid8, $5::bigint))
          AND id <> ALL($7) AND ($8::text IS NULL OR cluster_name = $8)
          AND ($9::uuid IS NULL OR run = $9)
        ORDER BY event.tx, event.id LIMIT $6) AS e ON true";
const NEWEST: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin, e.*
    FROM (SELECT) AS always LEFT JOIN LATERAL (
        SELECT id, tx::text AS tx, cluster, cluster_name, key, seq, run, attempt, at_ms, severity,
            reason, message, object, received_at_ms
        FROM event
        WHERE ($1::uuid IS NULL OR run = $1) AND ($2::text IS NULL OR key = $2)
          AND ($3::uuid IS NULL OR cluster = $3)
          AND ($4::text IS NULL OR (event.tx, event.id) < ($4::text::xid8, $5::bigint))
          AND id <> ALL($7) AND ($8::text IS NULL OR cluster_name = $8)
          AND ($9::uuid IS NULL OR run = $9)
        ORDER BY event.tx DESC, event.id DESC LIMIT $6) AS e ON true";
