//! Every route of the API, and what all of them pass.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    actions, apply, auth, checks, clusters, compliance, diff, events, health, objects, openapi,
    placement, plan,
    problem::{ApiError, REQUEST_ID},
    runs, secrets, tokens, watch, webhooks,
};
use crate::app::App;

/// How long an answer may take to begin.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Makes the API's router.
pub fn router(app: Arc<App>) -> Router {
    let (api, _) = api().split_for_parts();
    let api = api
        .route(
            "/api/v1/openapi.json",
            get(|| async { Json(openapi::document()) }),
        )
        .layer(from_fn_with_state(Arc::clone(&app), auth::authenticate));
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/api/v1/webhooks/{sender}", post(webhooks::receive))
        .merge(api)
        .fallback(|| async { ApiError::not_found("there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "this address does not take that method; see /api/v1/openapi.json",
            )
        })
        .layer(from_fn(observe))
        .with_state(app)
}

/// Returns the routes of `/api/v1` with their descriptions.
pub fn api() -> OpenApiRouter<Arc<App>> {
    let v1 = OpenApiRouter::new()
        .routes(routes!(apply::apply))
        .routes(routes!(objects::list_fleets))
        .routes(routes!(
            objects::get_fleet,
            objects::put_fleet,
            objects::delete_fleet
        ))
        .routes(routes!(objects::all_applications))
        .routes(routes!(objects::list_applications))
        .routes(routes!(
            objects::get_application,
            objects::put_application,
            objects::delete_application
        ))
        .routes(routes!(objects::all_rollouts))
        .routes(routes!(objects::list_rollouts))
        .routes(routes!(
            objects::get_rollout,
            objects::put_rollout,
            objects::delete_rollout
        ))
        .routes(routes!(objects::all_alert_providers))
        .routes(routes!(objects::list_alert_providers))
        .routes(routes!(
            objects::get_alert_provider,
            objects::put_alert_provider,
            objects::delete_alert_provider
        ))
        .routes(routes!(objects::all_metric_templates))
        .routes(routes!(objects::list_metric_templates))
        .routes(routes!(
            objects::get_metric_template,
            objects::put_metric_template,
            objects::delete_metric_template
        ))
        .routes(routes!(objects::list_repositories))
        .routes(routes!(
            objects::get_repository,
            objects::put_repository,
            objects::delete_repository
        ))
        .routes(routes!(clusters::list_clusters))
        .routes(routes!(clusters::get_cluster, clusters::delete_cluster))
        .routes(routes!(clusters::label_cluster))
        .routes(routes!(clusters::revoke_cluster))
        .routes(routes!(clusters::create_token))
        .routes(routes!(compliance::compliance))
        .routes(routes!(
            placement::cordon_cluster,
            placement::uncordon_cluster
        ))
        .routes(routes!(placement::drain_status))
        .routes(routes!(placement::explain_placement))
        .routes(routes!(plan::plan))
        .routes(routes!(checks::run_measurements))
        .routes(routes!(runs::run_status))
        .routes(routes!(runs::run_watch))
        .routes(routes!(runs::run_clusters))
        .routes(routes!(runs::run_why))
        .routes(routes!(runs::run_history))
        .routes(routes!(diff::run_diff))
        .routes(routes!(diff::run_explain))
        .routes(routes!(actions::create_action))
        .routes(routes!(actions::delete_run))
        .routes(routes!(actions::get_action))
        .routes(routes!(events::run_events))
        .routes(routes!(events::all_events))
        .routes(routes!(watch::watch))
        .routes(routes!(tokens::create_api_token, tokens::list_api_tokens))
        .routes(routes!(tokens::revoke_api_token))
        .routes(routes!(secrets::all_secrets))
        .routes(routes!(secrets::list_secrets))
        .routes(routes!(secrets::put_secret, secrets::delete_secret))
        .routes(routes!(health::version));
    OpenApiRouter::new().nest("/api/v1", v1)
}

/// Gives every request an id and a limit, and writes one line on it.
async fn observe(request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().simple().to_string();
    let start = Instant::now();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "-".to_owned(), |path| path.as_str().to_owned());
    let answer = REQUEST_ID.scope(id.clone(), async {
        match tokio::time::timeout(ANSWER_LIMIT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "Timeout",
                "the hub did not manage within 30 s",
            )
            .into_response(),
        }
    });
    let mut response = answer.await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-request-id"), value);
    }
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(
        request.id = %id,
        method = %method,
        route = %route,
        status = response.status().as_u16(),
        duration_ms,
        "request"
    );
    response
}
