//! Reading, writing and deleting single records and lists of them.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
};
use bellwether_api::{
    API_VERSION,
    call::{ApplyResult, Item, ItemList, ListMeta},
};
use bellwether_hub_core::{
    authorize::{EVERY_NAMESPACE, Kind, Verb},
    ownership::Writer,
};
use bellwether_store::records::{self, ListOptions, Record, RecordKey, RecordKind};

use super::{
    apply::{Scope, apply_documents},
    auth::Caller,
    deletion::{DeleteQuery, refuse_in_use, refuse_unconfirmed, remove},
    extract::{LimitedBody, Path, Query},
    items::{Scene, show},
    ownership,
    paging::{ListQuery, cursor},
    problem::{ApiError, ApiResult},
    reason::{ReasonQuery, reason},
};
use crate::app::App;

/// Records that are read at once while a selector looks for matches.
const CHUNK: u32 = 500;

const fn kind(kind: RecordKind) -> Kind {
    match kind {
        RecordKind::Fleet => Kind::Fleet,
        RecordKind::Application => Kind::Application,
        RecordKind::Rollout => Kind::Rollout,
        RecordKind::MetricTemplate => Kind::MetricTemplate,
        RecordKind::Repository => Kind::Repository,
        RecordKind::AlertProvider => Kind::AlertProvider,
    }
}

fn key(kind: RecordKind, namespace: &str, name: &str) -> RecordKey {
    RecordKey {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn place(namespace: &str) -> Option<&str> {
    Some(namespace).filter(|namespace| !namespace.is_empty())
}

async fn list(
    app: &App,
    caller: &Caller,
    record_kind: RecordKind,
    namespace: Option<&str>,
    query: &ListQuery,
) -> ApiResult<Json<ItemList>> {
    caller.may(Verb::List, kind(record_kind), namespace)?;
    let selector = query.selector()?;
    let wanted = usize::try_from(query.limit()).unwrap_or(usize::MAX);
    let mut found: Vec<Record> = Vec::new();
    let mut after = query.after()?;
    let mut more = true;
    while more && found.len() <= wanted {
        let options = ListOptions {
            kind: record_kind,
            namespace: namespace.map(str::to_owned),
            limit: CHUNK,
            after: after.take(),
        };
        let page = records::list(&app.store, &options).await?;
        found.extend(
            page.records
                .into_iter()
                .filter(|one| selector.matches(&one.labels)),
        );
        more = page.next.is_some();
        after = page.next;
    }
    more |= found.len() > wanted;
    found.truncate(wanted);
    let continue_ = found
        .last()
        .filter(|_| more)
        .map(|record| cursor(&record.key.namespace, &record.key.name));
    let scene = Scene::load(app).await?;
    let mut items = Vec::with_capacity(found.len());
    for record in &found {
        items.push(show(app, &scene, record).await?);
    }
    Ok(Json(ItemList {
        api_version: API_VERSION.to_owned(),
        kind: format!("{record_kind:?}List"),
        metadata: ListMeta { continue_ },
        items,
    }))
}

/// Finds a record, or says which ones there are.
async fn find(app: &App, key: &RecordKey) -> ApiResult<Record> {
    if let Some(record) = records::get(&app.store, key).await? {
        return Ok(record);
    }
    let place = match key.namespace.as_str() {
        "" => String::new(),
        namespace => format!(" in namespace {namespace:?}"),
    };
    let word = format!("{:?}", key.kind).to_lowercase();
    Err(ApiError::not_found(format!(
        "there is no {word} {:?}{place}",
        key.name
    )))
}

async fn get(app: &App, caller: &Caller, key: RecordKey) -> ApiResult<Json<Item>> {
    caller.may(Verb::Get, kind(key.kind), place(&key.namespace))?;
    let record = find(app, &key).await?;
    Ok(Json(show(app, &Scene::load(app).await?, &record).await?))
}

async fn put(
    app: &App,
    caller: &Caller,
    key: RecordKey,
    headers: &HeaderMap,
    why: Option<&str>,
    body: &[u8],
) -> ApiResult<Json<ApplyResult>> {
    let expected = if_match(headers)?;
    let scope = Scope {
        namespace: &key.namespace,
        dry_run: false,
        reason: reason(why)?,
        writer: Writer::Person,
    };
    let only = Some((&key, expected));
    Ok(Json(
        apply_documents(app, caller, body, &scope, only).await?,
    ))
}

/// Reads the version that `If-Match` asks for.
fn if_match(headers: &HeaderMap) -> ApiResult<Option<u64>> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim().trim_matches('"');
    let fail = || ApiError::bad_request("If-Match holds no resourceVersion of this hub");
    text.parse().map(Some).map_err(|_| fail())
}

async fn delete(
    app: &App,
    caller: &Caller,
    key: RecordKey,
    headers: &HeaderMap,
    why: Option<&str>,
    confirmed: Option<usize>,
) -> ApiResult<Json<Item>> {
    let reason = reason(why)?;
    caller.may(Verb::Delete, kind(key.kind), place(&key.namespace))?;
    let record = find(app, &key).await?;
    let scene = Scene::load(app).await?;
    ownership::refuse_owned(app, &key).await?;
    refuse_in_use(app, caller, &key).await?;
    if key.kind == RecordKind::Application {
        refuse_unconfirmed(app, &scene, &key, confirmed).await?;
    }
    let shown = show(app, &scene, &record).await?;
    remove(app, caller, &key, if_match(headers)?, reason).await?;
    Ok(Json(shown))
}

macro_rules! global_kind {
    ($kind:ident, $list:ident, $get:ident, $put:ident, $delete:ident, $path:literal, $one:literal) => {
        /// Lists objects, by name.
        #[utoipa::path(get, path = $path, params(ListQuery), tag = "objects", responses(
            (status = 200, description = "one page", body = ref("#/components/schemas/ItemList"))))]
        pub async fn $list(
            State(app): State<Arc<App>>,
            caller: Caller,
            Query(query): Query<ListQuery>,
        ) -> ApiResult<Json<ItemList>> {
            list(&app, &caller, RecordKind::$kind, None, &query).await
        }

        /// Reads one object.
        #[utoipa::path(get, path = $one, params(("name" = String, Path)), tag = "objects", responses(
            (status = 200, description = "the object", body = ref("#/components/schemas/Item")),
            (status = 404, description = "there is none", body = ref("#/components/schemas/Problem"))))]
        pub async fn $get(
            State(app): State<Arc<App>>,
            caller: Caller,
            Path(name): Path<String>,
        ) -> ApiResult<Json<Item>> {
            get(&app, &caller, key(RecordKind::$kind, "", &name)).await
        }

        /// Creates or changes one object; `If-Match` with its resourceVersion refuses to overwrite.
        #[utoipa::path(put, path = $one, params(("name" = String, Path), ReasonQuery), tag = "objects",
            request_body(content = String, content_type = "application/yaml"), responses(
            (status = 200, description = "what became of it", body = ref("#/components/schemas/ApplyResult")),
            (status = 409, description = "it changed in the meantime", body = ref("#/components/schemas/Problem"))))]
        pub async fn $put(
            State(app): State<Arc<App>>,
            caller: Caller,
            Path(name): Path<String>,
            headers: HeaderMap,
            Query(why): Query<ReasonQuery>,
            LimitedBody(body): LimitedBody,
        ) -> ApiResult<Json<ApplyResult>> {
            put(&app, &caller, key(RecordKind::$kind, "", &name), &headers, why.reason.as_deref(), &body).await
        }

        /// Deletes one object.
        #[utoipa::path(delete, path = $one, params(("name" = String, Path), ReasonQuery), tag = "objects", responses(
            (status = 200, description = "what it was", body = ref("#/components/schemas/Item")),
            (status = 404, description = "there is none", body = ref("#/components/schemas/Problem"))))]
        pub async fn $delete(
            State(app): State<Arc<App>>,
            caller: Caller,
            Path(name): Path<String>,
            headers: HeaderMap,
            Query(why): Query<ReasonQuery>,
        ) -> ApiResult<Json<Item>> {
            delete(&app, &caller, key(RecordKind::$kind, "", &name), &headers, why.reason.as_deref(), None).await
        }
    };
}

macro_rules! namespaced_kind {
    ($kind:ident, $all:ident, $list:ident, $get:ident, $put:ident, $delete:ident, $everywhere:literal, $path:literal, $one:literal) => {
        /// Lists objects of every namespace that the caller may read.
        #[utoipa::path(get, path = $everywhere, params(ListQuery), tag = "objects", responses(
            (status = 200, description = "one page", body = ref("#/components/schemas/ItemList"))))]
        pub async fn $all(
            State(app): State<Arc<App>>,
            caller: Caller,
            Query(query): Query<ListQuery>,
        ) -> ApiResult<Json<ItemList>> {
            list_everywhere(&app, &caller, RecordKind::$kind, &query).await
        }

        /// Lists objects of a namespace, by name.
        #[utoipa::path(get, path = $path, params(("namespace" = String, Path), ListQuery), tag = "objects",
            responses((status = 200, description = "one page", body = ref("#/components/schemas/ItemList"))))]
        pub async fn $list(
            State(app): State<Arc<App>>,
            caller: Caller,
            Path(namespace): Path<String>,
            Query(query): Query<ListQuery>,
        ) -> ApiResult<Json<ItemList>> {
            list(&app, &caller, RecordKind::$kind, Some(&namespace), &query).await
        }

        /// Reads one object.
        #[utoipa::path(get, path = $one, params(("namespace" = String, Path), ("name" = String, Path)),
            tag = "objects", responses(
            (status = 200, description = "the object", body = ref("#/components/schemas/Item")),
            (status = 404, description = "there is none", body = ref("#/components/schemas/Problem"))))]
        pub async fn $get(
            State(app): State<Arc<App>>,
            caller: Caller,
            Path((namespace, name)): Path<(String, String)>,
        ) -> ApiResult<Json<Item>> {
            get(&app, &caller, key(RecordKind::$kind, &namespace, &name)).await
        }

        /// Creates or changes one object; `If-Match` with its resourceVersion refuses to overwrite.
        #[utoipa::path(put, path = $one, params(("namespace" = String, Path), ("name" = String, Path), ReasonQuery),
            tag = "objects", request_body(content = String, content_type = "application/yaml"), responses(
            (status = 200, description = "what became of it", body = ref("#/components/schemas/ApplyResult")),
            (status = 409, description = "it changed in the meantime", body = ref("#/components/schemas/Problem"))))]
        pub async fn $put(
            State(app): State<Arc<App>>,
            caller: Caller,
            Path((namespace, name)): Path<(String, String)>,
            headers: HeaderMap,
            Query(why): Query<ReasonQuery>,
            LimitedBody(body): LimitedBody,
        ) -> ApiResult<Json<ApplyResult>> {
            put(&app, &caller, key(RecordKind::$kind, &namespace, &name), &headers, why.reason.as_deref(), &body).await
        }

        /// Deletes one object. Deleting an application takes it away from its clusters.
        #[utoipa::path(delete, path = $one,
            params(("namespace" = String, Path), ("name" = String, Path), DeleteQuery),
            tag = "objects", responses(
            (status = 200, description = "what it was", body = ref("#/components/schemas/Item")),
            (status = 409, description = "another number of clusters holds it", body = ref("#/components/schemas/Problem")),
            (status = 428, description = "the number of clusters was not said", body = ref("#/components/schemas/Problem")),
            (status = 404, description = "there is none", body = ref("#/components/schemas/Problem"))))]
        pub async fn $delete(
            State(app): State<Arc<App>>,
            caller: Caller,
            Path((namespace, name)): Path<(String, String)>,
            Query(query): Query<DeleteQuery>,
            headers: HeaderMap,
        ) -> ApiResult<Json<Item>> {
            let key = key(RecordKind::$kind, &namespace, &name);
            delete(&app, &caller, key, &headers, query.reason.as_deref(), query.clusters).await
        }
    };
}

/// A caller bound to one namespace sees that one where it asks for all.
async fn list_everywhere(
    app: &App,
    caller: &Caller,
    record_kind: RecordKind,
    query: &ListQuery,
) -> ApiResult<Json<ItemList>> {
    match caller.principal.namespaces.as_slice() {
        [only] if only != EVERY_NAMESPACE => {
            let only = only.clone();
            list(app, caller, record_kind, Some(&only), query).await
        }
        _ => list(app, caller, record_kind, None, query).await,
    }
}

global_kind!(
    Fleet,
    list_fleets,
    get_fleet,
    put_fleet,
    delete_fleet,
    "/fleets",
    "/fleets/{name}"
);
global_kind!(
    Repository,
    list_repositories,
    get_repository,
    put_repository,
    delete_repository,
    "/repositories",
    "/repositories/{name}"
);
namespaced_kind!(
    Application,
    all_applications,
    list_applications,
    get_application,
    put_application,
    delete_application,
    "/applications",
    "/namespaces/{namespace}/applications",
    "/namespaces/{namespace}/applications/{name}"
);
namespaced_kind!(
    Rollout,
    all_rollouts,
    list_rollouts,
    get_rollout,
    put_rollout,
    delete_rollout,
    "/rollouts",
    "/namespaces/{namespace}/rollouts",
    "/namespaces/{namespace}/rollouts/{name}"
);
namespaced_kind!(
    MetricTemplate,
    all_metric_templates,
    list_metric_templates,
    get_metric_template,
    put_metric_template,
    delete_metric_template,
    "/metrictemplates",
    "/namespaces/{namespace}/metrictemplates",
    "/namespaces/{namespace}/metrictemplates/{name}"
);
namespaced_kind!(
    AlertProvider,
    all_alert_providers,
    list_alert_providers,
    get_alert_provider,
    put_alert_provider,
    delete_alert_provider,
    "/alertproviders",
    "/namespaces/{namespace}/alertproviders",
    "/namespaces/{namespace}/alertproviders/{name}"
);
