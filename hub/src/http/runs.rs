//! Runs of applications: where they stand, why, and what came before.

use std::sync::Arc;

use axum::{Json, extract::State, response::Response};
use bellwether_api::{
    application::ApplicationSpec,
    call::{RunList, UnitList, Why},
    reference::NamespacedName,
    rollout::RolloutSpec,
    status::WaitReason,
    view::{RunPhase, RunView},
};
use bellwether_hub_core::{
    authorize::{Kind, Verb},
    metrics_sources::is_unreachable,
    release::ReleaseContent,
    view::version,
};
use bellwether_store::records::{self, ListOptions, RecordKey, RecordKind};
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    auth::Caller,
    extract::{Path, Query},
    items::{Scene, application_key, units_of},
    placement::chosen,
    problem::{ApiError, ApiResult},
    standing, stream,
    unreleased::{SUSPENDED, draft_wait, says_suspended, unreleased},
    why::{unmeasured, why},
};
use crate::{
    app::App,
    loops::{RENDERING, run_summaries, run_view},
};

/// Runs of a history.
const MAX_HISTORY: u32 = 50;

/// Which run.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    /// A run's id; the newest unless given.
    #[param(value_type = Option<String>)]
    pub run: Option<Uuid>,
}

/// Finds the application that a path means: its own name, or the name of one of its Rollouts.
///
/// # Errors
/// 404 when neither is there.
pub async fn application_of(app: &App, namespace: &str, name: &str) -> ApiResult<NamespacedName> {
    let key = |kind| RecordKey {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let found = |name: String| NamespacedName {
        namespace: namespace.to_owned(),
        name,
    };
    if records::get(&app.store, &key(RecordKind::Application))
        .await?
        .is_some()
    {
        return Ok(found(name.to_owned()));
    }
    if let Some(record) = records::get(&app.store, &key(RecordKind::Rollout)).await?
        && let Ok(spec) = serde_json::from_value::<RolloutSpec>(record.spec)
    {
        match (spec.application, spec.destination) {
            (Some(application), _) => return Ok(found(application)),
            // It has none: what is meant is the Rollout itself.
            (None, Some(_)) => return Ok(found(name.to_owned())),
            (None, None) => {}
        }
    }
    let options = ListOptions {
        kind: RecordKind::Application,
        namespace: Some(namespace.to_owned()),
        limit: 10,
        after: None,
    };
    let known = records::list(&app.store, &options).await?.records;
    let names: Vec<&str> = known
        .iter()
        .map(|record| record.key.name.as_str())
        .collect();
    let hint = if names.is_empty() {
        "there is none in this namespace".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    Err(ApiError::not_found(format!(
        "there is no application or rollout {name:?} in namespace {namespace:?}; {hint}"
    )))
}

/// Shows the newest run, or the release that is about to be made of what was applied last.
///
/// # Errors
/// 404 when there is nothing to show.
pub async fn newest(app: &App, application: &NamespacedName) -> ApiResult<RunView> {
    let now = app.clock.now();
    if let Some(record) = standing::find(app, application).await? {
        let scene = Scene::load(app).await?;
        return standing::run_view(app, &scene, &record).await;
    }
    if let Some(pending) = pending(app, application, now).await? {
        return Ok(pending);
    }
    run_view(&app.store, Some(&app.renderings), application, None, now)
        .await?
        .ok_or_else(|| ApiError::not_found(format!("application {application} has no run yet")))
}

/// What was applied and is no release yet: without this, a watcher that comes right after `apply`
/// would see the run before, and take its end for the new one's.
async fn pending(
    app: &App,
    application: &NamespacedName,
    now: Timestamp,
) -> ApiResult<Option<RunView>> {
    let Some(found) = unreleased(app, application).await?.filter(|one| !one.draft) else {
        return Ok(None);
    };
    let wanted = found.content;
    let wait = waits_for(app, &found.spec, application).await?;
    let revision = found.released.as_ref().map_or(0, |one| one.revision);
    Ok(Some(RunView {
        application: application.clone(),
        run: Uuid::nil(),
        revision: revision + 1,
        release: wanted
            .as_ref()
            .map(ReleaseContent::digest)
            .unwrap_or_default(),
        version: wanted.as_ref().map(version).unwrap_or_default(),
        restores: None,
        from_revision: found.released.as_ref().map(|one| one.revision),
        from_version: found.before.as_ref().map(version).unwrap_or_default(),
        state: RunPhase::Pending,
        message: String::new(),
        done: 0,
        total: 0,
        percent: 0,
        waves: Vec::new(),
        waiting_on: vec![wait],
        by: String::new(),
        reason: String::new(),
        created_at: now.to_string(),
        finished_at: None,
        observed_at: now.to_string(),
        sequence: 0,
    }))
}

async fn waits_for(
    app: &App,
    spec: &ApplicationSpec,
    application: &NamespacedName,
) -> ApiResult<WaitReason> {
    let wait = |reason: &str, message: String| WaitReason {
        reason: reason.to_owned(),
        message,
        on: None,
        since: None,
        by_itself: None,
    };
    if spec.sync.suspend {
        let found = unreleased(app, application).await?;
        return Ok(wait(SUSPENDED, says_suspended(found.as_ref())));
    }
    let scene = Scene::load(app).await?;
    Ok(match chosen(app, &scene, application, spec).await? {
        Err(error) => wait("Unplaceable", error.to_string()),
        Ok(chosen) if chosen.placement.clusters.is_empty() => wait(
            "NoClusters",
            "no registered cluster matches the destination; it runs once one does".to_owned(),
        ),
        Ok(_) => match super::health::trouble_of(app, application) {
            Some(trouble) if trouble.starts_with(RENDERING) => wait("Rendering", trouble),
            Some(trouble) => wait("ReleaseFailed", trouble),
            None => wait("ReleasePending", "the hub makes the release".to_owned()),
        },
    })
}

/// The application that a caller may read about.
///
/// # Errors
/// It is not there, or the caller may not.
pub(super) async fn may_read(
    app: &App,
    caller: &Caller,
    namespace: &str,
    name: &str,
) -> ApiResult<NamespacedName> {
    caller.may(Verb::Get, Kind::Rollout, Some(namespace))?;
    application_of(app, namespace, name).await
}

/// The key of the unit by which clusters hold an application, or a Rollout without one.
///
/// # Errors
/// The database fails.
pub(super) async fn unit_key(app: &App, application: &NamespacedName) -> ApiResult<String> {
    Ok(match standing::find(app, application).await? {
        Some(_) => standing::key_of(application),
        None => application_key(application),
    })
}

/// Shows where a run stands.
#[utoipa::path(get, path = "/rollouts/{namespace}/{name}/status", tag = "runs",
    params(("namespace" = String, Path), ("name" = String, Path), RunQuery), responses(
    (status = 200, description = "waves, clusters and what is waited for", body = ref("#/components/schemas/RunView")),
    (status = 404, description = "no such application, or no run", body = ref("#/components/schemas/Problem"))))]
pub async fn run_status(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<RunQuery>,
) -> ApiResult<Json<RunView>> {
    let application = may_read(&app, &caller, &namespace, &name).await?;
    match query.run {
        None => Ok(Json(newest(&app, &application).await?)),
        Some(run) => run_view(
            &app.store,
            Some(&app.renderings),
            &application,
            Some(run),
            app.clock.now(),
        )
        .await?
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("{application} has no run {run}"))),
    }
}

/// Follows the newest run: an event `status` with the whole view at every change.
#[utoipa::path(get, path = "/rollouts/{namespace}/{name}/watch", tag = "runs",
    params(("namespace" = String, Path), ("name" = String, Path)), responses(
    (status = 200, description = "server-sent events", content_type = "text/event-stream", body = ref("#/components/schemas/RunView"))))]
pub async fn run_watch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
) -> ApiResult<Response> {
    let application = may_read(&app, &caller, &namespace, &name).await?;
    stream::follow_run(app, caller, application)
}

/// Shows an application in each of its clusters, with its objects.
#[utoipa::path(get, path = "/rollouts/{namespace}/{name}/clusters", tag = "runs",
    params(("namespace" = String, Path), ("name" = String, Path)), responses(
    (status = 200, description = "by cluster", body = ref("#/components/schemas/UnitList"))))]
pub async fn run_clusters(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
) -> ApiResult<Json<UnitList>> {
    let application = may_read(&app, &caller, &namespace, &name).await?;
    let scene = Scene::load(&app).await?;
    let key = unit_key(&app, &application).await?;
    let items = units_of(&app.store, &scene, &key).await?;
    Ok(Json(UnitList { items }))
}

/// Explains why a run does not move, and what ends that.
#[utoipa::path(get, path = "/rollouts/{namespace}/{name}/why", tag = "runs",
    params(("namespace" = String, Path), ("name" = String, Path)), responses(
    (status = 200, description = "the explanation", body = ref("#/components/schemas/Why"))))]
pub async fn run_why(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
) -> ApiResult<Json<Why>> {
    let application = may_read(&app, &caller, &namespace, &name).await?;
    let view = newest(&app, &application).await?;
    let scene = Scene::load(&app).await?;
    let mut answer = why(&view);
    answer.because.extend(draft_wait(&app, &application).await?);
    answer.because.extend(unmeasured(&view, |name| {
        let cluster = scene.clusters.iter().find(|cluster| cluster.name == name)?;
        scene.metrics(cluster).filter(is_unreachable)
    }));
    Ok(Json(answer))
}

/// Lists past runs, newest first.
#[utoipa::path(get, path = "/rollouts/{namespace}/{name}/history", tag = "runs",
    params(("namespace" = String, Path), ("name" = String, Path)), responses(
    (status = 200, description = "the runs", body = ref("#/components/schemas/RunList"))))]
pub async fn run_history(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
) -> ApiResult<Json<RunList>> {
    let application = may_read(&app, &caller, &namespace, &name).await?;
    Ok(Json(RunList {
        items: run_summaries(&app.store, &application, MAX_HISTORY).await?,
    }))
}
