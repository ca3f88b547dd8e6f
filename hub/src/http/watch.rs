//! Following lists of objects: everything that is there, then every change.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use bellwether_api::{call::Item, selector::Selector};
use bellwether_hub_core::authorize::{Kind, Verb};
use bellwether_store::{Digest, records::RecordKind};
use serde::{Deserialize, Serialize};

use super::{
    auth::Caller,
    extract::Query,
    feed::{Change, Feed, Followed},
    paging::parse_selector,
    problem::{ApiError, ApiResult},
    stream::Writer,
};
use crate::app::App;

/// What to follow.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::IntoParams)]
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

struct Wanted {
    kinds: Vec<Followed>,
    namespace: Option<String>,
    selector: Selector,
}

/// Follows objects: `added` for each that is there, `synced`, then `added`, `modified` and
/// `deleted` as they come; `bookmark` every 15 s. Whoever comes back with the id of its last event
/// (`Last-Event-ID`) gets what it missed; where that is not kept any more, an event `reset` says
/// that everything comes again. So does a reader that is too slow.
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
            Followed::Cluster => (Kind::Cluster, None),
            Followed::Record(RecordKind::Fleet) => (Kind::Fleet, None),
            Followed::Record(RecordKind::Repository) => (Kind::Repository, None),
            Followed::Record(RecordKind::Application) => {
                (Kind::Application, wanted.namespace.as_deref())
            }
            Followed::Record(RecordKind::Rollout) => (Kind::Rollout, wanted.namespace.as_deref()),
            Followed::Record(RecordKind::AlertProvider) => {
                (Kind::AlertProvider, wanted.namespace.as_deref())
            }
            Followed::Record(RecordKind::MetricTemplate) => {
                (Kind::MetricTemplate, wanted.namespace.as_deref())
            }
        };
        caller.may(Verb::Watch, kind, namespace)?;
    }
    let last = headers
        .get("last-event-id")
        .map(|id| id.to_str().unwrap_or_default().to_owned());
    let (mut writer, response) = Writer::open(Arc::clone(&app), caller)?;
    let scope = serde_json::to_vec(&query).unwrap_or_default();
    writer.follow(Digest::of(&scope).to_string());
    let tasks = app.tasks.clone();
    tasks.spawn(follow(app, writer, wanted, last));
    Ok(response)
}

fn wanted(query: &WatchQuery) -> ApiResult<Wanted> {
    let kinds = query
        .kinds
        .split(',')
        .map(|word| match word.trim() {
            "Cluster" => Ok(Followed::Cluster),
            "Fleet" => Ok(Followed::Record(RecordKind::Fleet)),
            "Application" => Ok(Followed::Record(RecordKind::Application)),
            "Rollout" => Ok(Followed::Record(RecordKind::Rollout)),
            "MetricTemplate" => Ok(Followed::Record(RecordKind::MetricTemplate)),
            "Repository" => Ok(Followed::Record(RecordKind::Repository)),
            "AlertProvider" => Ok(Followed::Record(RecordKind::AlertProvider)),
            other => Err(ApiError::bad_request(format!(
                "{other:?} cannot be watched; there are Cluster, Fleet, Application, Rollout, \
                 MetricTemplate, AlertProvider and Repository"
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

/// Follows until the reader has gone. `last` is the id of the last event that it saw before;
/// absent = it is new.
async fn follow(app: Arc<App>, mut writer: Writer, wanted: Wanted, last: Option<String>) {
    let mut reader = Feed::join(&app, &wanted.kinds);
    let mut place = last.as_deref().and_then(|id| writer.place_of(id));
    // A new reader is not told of a start that it makes anyway.
    let mut starts_over = last.is_some();
    loop {
        let read = place.and_then(|place| reader.since(place));
        let went_well = match (read, place) {
            (Some((changes, number)), _) => {
                place = Some(number);
                send_changes(&mut writer, &wanted, &changes, number).await
            }
            (None, before) => match reader.snapshot() {
                Some((items, number)) => {
                    place = Some(number);
                    starts_over |= before.is_some();
                    let reset = std::mem::take(&mut starts_over);
                    send_snapshot(&mut writer, &wanted, &items, number, reset).await
                }
                None => true,
            },
        };
        if !went_well || !writer.wait(reader.news()).await {
            return;
        }
    }
}

async fn send_snapshot(
    writer: &mut Writer,
    wanted: &Wanted,
    items: &[(Followed, Arc<Item>)],
    number: u64,
    reset: bool,
) -> bool {
    // Whoever breaks off in the middle has nothing to resume from.
    writer.stand_nowhere();
    if reset && !writer.send("reset", &serde_json::json!({})).await {
        return false;
    }
    for (kind, item) in items {
        if wanted.wants(*kind, item) && !writer.send("added", item.as_ref()).await {
            return false;
        }
    }
    writer.stand_at(number);
    writer.send("synced", &serde_json::json!({})).await
}

async fn send_changes(
    writer: &mut Writer,
    wanted: &Wanted,
    changes: &[Change],
    number: u64,
) -> bool {
    for change in changes {
        let wants =
            |item: &Option<Arc<Item>>| item.clone().filter(|item| wanted.wants(change.kind, item));
        let (name, item) = match (wants(&change.before), wants(&change.after)) {
            (None, None) => continue,
            (None, Some(item)) => ("added", item),
            (Some(_), Some(item)) => ("modified", item),
            // It is gone, or no longer among those that were asked for.
            (Some(item), None) => ("deleted", item),
        };
        writer.stand_at(change.number);
        if !writer.send(name, item.as_ref()).await {
            return false;
        }
    }
    writer.stand_at(number);
    true
}

impl Wanted {
    fn wants(&self, kind: Followed, item: &Item) -> bool {
        let is_here = match kind {
            Followed::Cluster | Followed::Record(RecordKind::Fleet) => true,
            Followed::Record(_) => self
                .namespace
                .as_ref()
                .is_none_or(|namespace| item.metadata.namespace.as_ref() == Some(namespace)),
        };
        is_here && self.selector.matches(&item.metadata.labels)
    }
}
