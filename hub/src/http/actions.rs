//! What humans say to runs: stored once, never changed, answered by the planning loop.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use bellwether_api::{
    call::{ActionFieldError, ActionRequest, ActionVerb, ActionView, ProblemItem},
    reference::NamespacedName,
    view::{ClusterPhase, ClusterView, RunPhase, RunView},
};
use bellwether_hub_core::authorize::{Kind, Verb};
use bellwether_store::{
    actions::{self, Action, ActionType, NewAction, RecordError, Recorded},
    clusters, releases, runs,
};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    auth::Caller,
    extract::{JsonBody, Path, Query},
    problem::{ApiError, ApiResult},
    reason::reason,
    runs::{application_of, newest},
    standing,
};
use crate::{app::App, loops::action_view};

/// Bytes of an `Idempotency-Key` at most.
const MAX_KEY_BYTES: usize = 255;

const fn action_type(verb: ActionVerb) -> ActionType {
    match verb {
        ActionVerb::Approve => ActionType::Approve,
        ActionVerb::Promote => ActionType::Promote,
        ActionVerb::Suspend => ActionType::Suspend,
        ActionVerb::Resume => ActionType::Resume,
        ActionVerb::Skip => ActionType::Skip,
        ActionVerb::Abort => ActionType::Abort,
        ActionVerb::Retry => ActionType::Retry,
        ActionVerb::SetWeight => ActionType::SetWeight,
        ActionVerb::Rollback => ActionType::Rollback,
        ActionVerb::Finish => ActionType::Finish,
    }
}

/// Says something to the newest run. With an `Idempotency-Key`, the same request again is the same
/// action.
#[utoipa::path(post, path = "/rollouts/{namespace}/{name}/actions", tag = "runs",
    params(("namespace" = String, Path), ("name" = String, Path),
        ("Idempotency-Key" = Option<String>, Header)),
    request_body = ref("#/components/schemas/ActionRequest"), responses(
    (status = 202, description = "stored; the run answers it", body = ref("#/components/schemas/ActionView")),
    (status = 409, description = "another revision runs by now", body = ref("#/components/schemas/Problem")),
    (status = 422, description = "it names what does not exist, or lacks or brings a field against its verb", body = ref("#/components/schemas/Problem"))))]
pub async fn create_action(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ActionRequest>,
) -> ApiResult<Stored> {
    store(app, caller, (&namespace, &name), &headers, request).await
}

/// Which run is put away, and why.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FinishQuery {
    /// The revision that was seen; another one is a conflict.
    pub revision: Option<u64>,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// Puts the newest run away once it has ended, as the action `finish` does.
#[utoipa::path(delete, path = "/rollouts/{namespace}/{name}/run", tag = "runs",
    params(("namespace" = String, Path), ("name" = String, Path), FinishQuery,
        ("Idempotency-Key" = Option<String>, Header)), responses(
    (status = 202, description = "stored; the run answers it", body = ref("#/components/schemas/ActionView")),
    (status = 409, description = "another revision runs by now", body = ref("#/components/schemas/Problem"))))]
pub async fn delete_run(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<FinishQuery>,
    headers: HeaderMap,
) -> ApiResult<Stored> {
    let request = ActionRequest {
        verb: ActionVerb::Finish,
        wave: None,
        cluster: None,
        step: None,
        expected_revision: query.revision,
        weight: None,
        replicas: None,
        to_revision: None,
        reason: query.reason,
    };
    store(app, caller, (&namespace, &name), &headers, request).await
}

/// An action that was stored, and where it is.
type Stored = (StatusCode, HeaderMap, Json<ActionView>);

async fn store(
    app: Arc<App>,
    caller: Caller,
    (namespace, name): (&str, &str),
    headers: &HeaderMap,
    request: ActionRequest,
) -> ApiResult<Stored> {
    caller.may(Verb::Act, Kind::Rollout, Some(namespace))?;
    let application = application_of(&app, namespace, name).await?;
    let key = idempotency_key(headers)?;
    reason(Some(&request.reason))?;
    let set = request.set().map_err(invalid)?;
    let to_revision = request.goes_back_to().map_err(invalid)?;
    if let Some(record) = standing::find(&app, &application).await? {
        let by = &caller.principal.name;
        let view = standing::act(&app, &record, &request, set, by).await?;
        return Ok((StatusCode::ACCEPTED, HeaderMap::new(), Json(view)));
    }
    let view = newest(&app, &application).await?;
    let run = run_meant(&app, &application, &view, &request).await?;
    let cluster = match &request.cluster {
        Some(name) => Some(cluster_meant(&app, &view, name).await?),
        None => None,
    };
    require_wave(&view, request.wave.as_deref())?;
    let new = NewAction {
        id: Uuid::now_v7(),
        application,
        run,
        action: action_type(request.verb),
        wave: request.wave,
        cluster,
        step: request.step,
        expected_revision: request.expected_revision,
        set,
        to_revision,
        reason: request.reason,
        by: caller.principal.name.clone(),
        idempotency_key: key,
    };
    let mut tx = app.store.begin().await?;
    let recorded = actions::record(&mut tx, &new, app.clock.now())
        .await
        .map_err(|error| match error {
            RecordError::KeyReused => ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "KeyReused",
                "this Idempotency-Key was used for another action",
            ),
            RecordError::UnknownRun { .. } => {
                ApiError::conflict("the run was replaced a moment ago; look again")
            }
            RecordError::Store(error) => error.into(),
        })?;
    tx.commit().await?;
    app.pokes.plan.notify_one();
    let (Recorded::New(action) | Recorded::Repeated(action)) = recorded;
    tracing::info!(
        principal = %caller.principal.name,
        rollout.id = %run,
        action = ?action.said.action,
        "action stored"
    );
    let mut headers = HeaderMap::new();
    let location = format!("/api/v1/actions/{}", action.said.id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(header::LOCATION, location);
    }
    Ok((
        StatusCode::ACCEPTED,
        headers,
        Json(shown(&app, action).await?),
    ))
}

fn invalid(error: ActionFieldError) -> ApiError {
    ApiError::invalid(vec![ProblemItem {
        path: error.path.to_owned(),
        detail: error.message,
        ..ProblemItem::default()
    }])
}

fn idempotency_key(headers: &HeaderMap) -> ApiResult<String> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(Uuid::now_v7().to_string());
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY_BYTES => Ok(key.to_owned()),
        _ => Err(ApiError::bad_request(format!(
            "an Idempotency-Key has 1 to {MAX_KEY_BYTES} printable characters"
        ))),
    }
}

async fn run_meant(
    app: &App,
    application: &NamespacedName,
    view: &RunView,
    request: &ActionRequest,
) -> ApiResult<Uuid> {
    if let Some(expected) = request.expected_revision
        && expected != view.revision
    {
        return Err(ApiError::conflict(format!(
            "you saw revision {expected}, it is now {}; nothing was done. Look: bellwether rollout \
             status {}",
            view.revision, application.name
        )));
    }
    let over = match (request.verb, view.state) {
        (ActionVerb::Rollback | ActionVerb::Finish, _) => false,
        (ActionVerb::Retry, RunPhase::Superseded) => true,
        (ActionVerb::Retry, RunPhase::Succeeded) => !was_taken_back(view),
        (ActionVerb::Retry, _) => false,
        (_, state) => state.is_terminal() && !is_caught_up_with(view),
    };
    if over {
        return Err(ApiError::conflict(format!(
            "revision {} is {:?} already; there is nothing to {}",
            view.revision,
            view.state,
            request.verb.word()
        )));
    }
    if view.run.is_nil() {
        // The release of what was applied last is not made yet.
        return match runs::latest(&app.store, application).await? {
            Some(run)
                if (!run.status.is_terminal() || request.verb == ActionVerb::Rollback)
                    && request.expected_revision.is_none() =>
            {
                Ok(run.id)
            }
            _ => Err(ApiError::conflict(
                "the release of what was applied last is being made; ask again in a moment",
            )),
        };
    }
    Ok(view.run)
}

/// Tells whether a cluster catches up with a run that has ended without it: what is said of its steps is for that one.
fn is_caught_up_with(view: &RunView) -> bool {
    let ended_by_itself = matches!(view.state, RunPhase::Succeeded | RunPhase::Failed);
    let mut clusters = view.waves.iter().flat_map(|wave| &wave.clusters);
    let is_under_way = |cluster: &ClusterView| match cluster.state {
        ClusterPhase::Granted
        | ClusterPhase::Progressing
        | ClusterPhase::Suspended
        | ClusterPhase::WaitingApproval => true,
        // It is told once it is heard again.
        ClusterPhase::Unreachable => cluster.attempt > 0,
        _ => false,
    };
    ended_by_itself && clusters.any(is_under_way)
}

/// Tells whether a human took a cluster back, or is about to, after the run had succeeded.
fn was_taken_back(view: &RunView) -> bool {
    view.waves
        .iter()
        .flat_map(|wave| &wave.clusters)
        .any(|cluster| cluster.reason == "RolledBack" || cluster.state == ClusterPhase::RollingBack)
}

async fn cluster_meant(app: &App, view: &RunView, name: &str) -> ApiResult<Uuid> {
    let known: Vec<&str> = view
        .waves
        .iter()
        .flat_map(|wave| &wave.clusters)
        .map(|cluster| cluster.name.as_str())
        .collect();
    let missing = || {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "NoSuchCluster",
            format!(
                "the run has no cluster {name:?}; it has: {}",
                shorten(&known)
            ),
        )
    };
    if !known.contains(&name) {
        return Err(missing());
    }
    Ok(clusters::get(&app.store, name)
        .await?
        .ok_or_else(missing)?
        .id)
}

fn require_wave(view: &RunView, wave: Option<&str>) -> ApiResult<()> {
    let Some(wanted) = wave else { return Ok(()) };
    let known: Vec<&str> = view.waves.iter().map(|wave| wave.name.as_str()).collect();
    if known.contains(&wanted) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "NoSuchWave",
        format!(
            "the run has no wave {wanted:?}; it has: {}",
            shorten(&known)
        ),
    ))
}

fn shorten(names: &[&str]) -> String {
    const SHOWN: usize = 10;
    let mut text = names
        .iter()
        .take(SHOWN)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

async fn shown(app: &App, action: Action) -> ApiResult<ActionView> {
    let revision = match runs::get(&app.store, action.said.run).await? {
        Some(run) => releases::get(&app.store, run.release)
            .await?
            .map_or(0, |one| one.revision),
        None => 0,
    };
    let cluster = match action.said.cluster {
        Some(id) => clusters::by_id(&app.store, id)
            .await?
            .map(|cluster| cluster.name),
        None => None,
    };
    Ok(action_view(action, revision, cluster))
}

/// Reads an action with its answer.
#[utoipa::path(get, path = "/actions/{id}", tag = "runs", params(("id" = String, Path)), responses(
    (status = 200, description = "the action", body = ref("#/components/schemas/ActionView")),
    (status = 404, description = "there is none", body = ref("#/components/schemas/Problem"))))]
pub async fn get_action(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> ApiResult<Json<ActionView>> {
    let missing = || ApiError::not_found(format!("there is no action {id}"));
    let action = actions::get(&app.store, id).await?.ok_or_else(missing)?;
    caller.may(
        Verb::Get,
        Kind::Rollout,
        Some(&action.said.application.namespace),
    )?;
    Ok(Json(shown(&app, action).await?))
}
