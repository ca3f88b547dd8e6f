//! What happened, as the hub kept it.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use bellwether_api::{
    bundle::UnitKey,
    call::{EventList, EventView, ListMeta},
};
use bellwether_hub_core::authorize::{Kind, Verb};
use bellwether_store::{
    clusters,
    events::{self, EventCursor, EventFilter, EventRow, Order, Within},
};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    auth::Caller,
    extract::{Path, Query},
    problem::{ApiError, ApiResult},
    runs::application_of,
    standing,
};
use crate::app::App;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 500;

/// Which events.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Events at most: 1 to 500, 100 unless given.
    pub limit: Option<u32>,
    /// `metadata.continue` of the page before: only what it did not show and what came later.
    #[serde(rename = "continue")]
    #[param(rename = "continue")]
    pub continue_: Option<String>,
    /// The newest ones instead of the oldest; still oldest first.
    #[serde(default)]
    pub newest: bool,
    /// Only of this cluster.
    pub cluster: Option<String>,
    /// Only of this run.
    #[param(value_type = Option<String>)]
    pub run: Option<Uuid>,
}

/// Lists events of everything, oldest first.
#[utoipa::path(get, path = "/events", tag = "events", params(EventQuery), responses(
    (status = 200, description = "one page", body = ref("#/components/schemas/EventList"))))]
pub async fn all_events(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<EventQuery>,
) -> ApiResult<Json<EventList>> {
    caller.may(Verb::List, Kind::Event, None)?;
    page(&app, EventFilter::All, query).await
}

/// Lists events of an application, oldest first.
#[utoipa::path(get, path = "/rollouts/{namespace}/{name}/events", tag = "events",
    params(("namespace" = String, Path), ("name" = String, Path), EventQuery), responses(
    (status = 200, description = "one page", body = ref("#/components/schemas/EventList"))))]
pub async fn run_events(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<EventQuery>,
) -> ApiResult<Json<EventList>> {
    caller.may(Verb::List, Kind::Event, Some(&namespace))?;
    let application = application_of(&app, &namespace, &name).await?;
    let filter = match standing::find(&app, &application).await? {
        Some(_) => EventFilter::Rollout(application),
        None => EventFilter::Application(application),
    };
    page(&app, filter, query).await
}

async fn page(app: &App, filter: EventFilter, query: EventQuery) -> ApiResult<Json<EventList>> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let filter = match (&filter, &query.cluster) {
        (EventFilter::All, Some(name)) => EventFilter::Cluster(
            clusters::get(&app.store, name)
                .await?
                .ok_or_else(|| ApiError::not_found(format!("there is no cluster {name:?}")))?
                .id,
        ),
        _ => filter,
    };
    let order = if query.newest && query.continue_.is_none() {
        Order::Newest
    } else {
        Order::Oldest
    };
    let after = query.continue_.as_deref().map(cursor).transpose()?;
    let within = Within {
        cluster: query.cluster,
        run: query.run,
    };
    let (store, after) = (&app.store, after.as_ref());
    let mut page = events::page_within(store, &filter, &within, order, after, limit).await?;
    if order == Order::Newest {
        page.rows.reverse();
    }
    let items = page.rows.into_iter().map(shown).collect();
    Ok(Json(EventList {
        metadata: ListMeta {
            continue_: Some(page.next.to_string()),
        },
        items,
    }))
}

fn cursor(text: &str) -> ApiResult<EventCursor> {
    text.parse().map_err(|_| {
        ApiError::new(
            StatusCode::GONE,
            "Expired",
            "`continue` is no longer good; list again without it",
        )
    })
}

fn shown(row: EventRow) -> EventView {
    let (namespace, application) = match row.key.parse() {
        Ok(UnitKey::Application(name) | UnitKey::Command(name) | UnitKey::Rollout(name)) => {
            (name.namespace, name.name)
        }
        Err(_) => (String::new(), row.key),
    };
    EventView {
        id: row.id,
        sequence: row.event.seq,
        at: row.event.at,
        namespace,
        application,
        cluster: Some(row.cluster_name).filter(|name| !name.is_empty()),
        run: Some(row.event.run).filter(|run| !run.is_nil()),
        severity: row.event.severity,
        reason: row.event.reason,
        object: row.event.object.map(|object| object.to_string()),
        message: row.event.message,
    }
}
