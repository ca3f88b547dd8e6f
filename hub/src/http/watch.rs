//! Following lists of objects: everything that is there, then every change.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, http::HeaderMap, response::Response};
use bellwether_api::{call::Item, selector::Selector};
use bellwether_hub_core::authorize::{Kind, Verb};
use bellwether_store::records::{self, RecordKind};
use serde::Deserialize;

use super::{
    auth::Caller,
    extract::Query,
    items::{Scene, show},
    paging::parse_selector,
    problem::{ApiError, ApiResult},
    stream::Writer,
};
use crate::app::App;

/// What to follow.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WatchQuery {
    /// Kinds, separated by commas: Cluster, Fleet, Application, Rollout.
    pub kinds: String,
    /// Only of this namespace.
    pub namespace: Option<String>,
    /// Only objects with these labels.
    pub label_selector: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Cluster,
    Record(RecordKind),
}

struct Wanted {
    kinds: Vec<Watched>,
    namespace: Option<String>,
    selector: Selector,
}

/// Follows objects: `added` for each that is there, `synced`, then `added`, `modified` and
/// `deleted` as they come; `bookmark` every 15 s. After a lost connection everything comes again,
/// behind an event `reset`.
#[utoipa::path(get, path = "/watch", tag = "objects", params(WatchQuery), responses(
    (status = 200, description = "server-sent events", content_type = "text/event-stream", body = ref("#/components/schemas/Item"))))]
pub async fn watch(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<WatchQuery>,
) -> ApiResult<Response> {
    let wanted = wanted(&query)?;
    for kind in &wanted.kinds {
        let (kind, namespace) = match kind {
            Watched::Cluster => (Kind::Cluster, None),
            Watched::Record(RecordKind::Fleet) => (Kind::Fleet, None),
            Watched::Record(RecordKind::Application) => {
                (Kind::Application, wanted.namespace.as_deref())
            }
            Watched::Record(RecordKind::Rollout) => (Kind::Rollout, wanted.namespace.as_deref()),
            Watched::Record(RecordKind::MetricTemplate) => {
                (Kind::MetricTemplate, wanted.namespace.as_deref())
            }
        };
        caller.may(Verb::Watch, kind, namespace)?;
    }
    let resumed = headers.contains_key("last-event-id");
    let (writer, response) = Writer::open(Arc::clone(&app), caller)?;
    let tasks = app.tasks.clone();
    tasks.spawn(follow(app, writer, wanted, resumed));
    Ok(response)
}

fn wanted(query: &WatchQuery) -> ApiResult<Wanted> {
    let kinds = query
        .kinds
        .split(',')
        .map(|word| match word.trim() {
            "Cluster" => Ok(Watched::Cluster),
            "Fleet" => Ok(Watched::Record(RecordKind::Fleet)),
            "Application" => Ok(Watched::Record(RecordKind::Application)),
            "Rollout" => Ok(Watched::Record(RecordKind::Rollout)),
            "MetricTemplate" => Ok(Watched::Record(RecordKind::MetricTemplate)),
            other => Err(ApiError::bad_request(format!(
                "{other:?} cannot be watched; there are Cluster, Fleet, Application, Rollout and \
                 MetricTemplate"
            ))),
        })
        .collect::<ApiResult<Vec<_>>>()?;
    let selector = parse_selector(query.label_selector.as_deref().unwrap_or_default())?;
    Ok(Wanted {
        kinds,
        namespace: query.namespace.clone(),
        selector,
    })
}

async fn follow(app: Arc<App>, mut writer: Writer, wanted: Wanted, resumed: bool) {
    if resumed && !writer.send("reset", &serde_json::json!({})).await {
        return;
    }
    let mut known: BTreeMap<(String, String, String), Item> = BTreeMap::new();
    let mut synced = false;
    loop {
        // Where the database is away, the next look tries again.
        if let Ok(items) = snapshot(&app, &wanted).await {
            if !send_changes(&mut writer, &mut known, items).await {
                return;
            }
            if !synced {
                synced = true;
                if !writer.send("synced", &serde_json::json!({})).await {
                    return;
                }
            }
        }
        if !writer.tick().await {
            return;
        }
    }
}

async fn send_changes(
    writer: &mut Writer,
    known: &mut BTreeMap<(String, String, String), Item>,
    items: Vec<Item>,
) -> bool {
    let mut now = BTreeMap::new();
    for item in items {
        let key = (
            item.kind.clone(),
            item.metadata.namespace.clone().unwrap_or_default(),
            item.metadata.name.clone(),
        );
        let event = match known.remove(&key) {
            None => Some("added"),
            Some(old) if is_news(&old, &item) => Some("modified"),
            Some(_) => None,
        };
        if let Some(event) = event
            && !writer.send(event, &item).await
        {
            return false;
        }
        now.insert(key, item);
    }
    for gone in known.values() {
        if !writer.send("deleted", gone).await {
            return false;
        }
    }
    *known = now;
    true
}

/// A heartbeat alone is no news: it would send every cluster every second.
fn is_news(old: &Item, new: &Item) -> bool {
    old.metadata != new.metadata
        || old.spec != new.spec
        || without_last_seen(old) != without_last_seen(new)
}

fn without_last_seen(item: &Item) -> Option<serde_json::Value> {
    let mut status = item.status.clone()?;
    if let Some(fields) = status.as_object_mut() {
        fields.remove("lastSeen");
    }
    for member in status
        .get_mut("members")
        .and_then(|all| all.as_array_mut())
        .into_iter()
        .flatten()
    {
        if let Some(fields) = member.as_object_mut() {
            fields.remove("lastSeen");
        }
    }
    Some(status)
}

async fn snapshot(app: &App, wanted: &Wanted) -> ApiResult<Vec<Item>> {
    let scene = Scene::load(app).await?;
    let mut items = Vec::new();
    for kind in &wanted.kinds {
        match kind {
            Watched::Cluster => items.extend(
                scene
                    .clusters
                    .iter()
                    .filter(|cluster| wanted.selector.matches(&cluster.labels))
                    .map(|cluster| scene.cluster(cluster)),
            ),
            Watched::Record(kind) => {
                for record in records::list_all(&app.store, *kind).await? {
                    let here = wanted.namespace.as_ref().is_none_or(|namespace| {
                        record.key.namespace == *namespace || *kind == RecordKind::Fleet
                    });
                    if here && wanted.selector.matches(&record.labels) {
                        items.push(show(app, &scene, &record).await?);
                    }
                }
            }
        }
    }
    Ok(items)
}
