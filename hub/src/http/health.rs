//! Whether the hub lives, whether it can work, and its figures.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bellwether_api::{API_VERSION, call::VersionInfo, reference::NamespacedName};
use serde_json::{Map, Value, json};

use super::{auth::Caller, problem::ApiResult};
use crate::app::App;

/// How long the database may take to answer.
const DATABASE_LIMIT: Duration = Duration::from_secs(2);

/// Lives: the process answers. Never touches the database.
pub async fn livez() -> &'static str {
    "ok\n"
}

/// Ready: every named check holds. The loops' errors are shown and do not make it unready.
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    let database = tokio::time::timeout(DATABASE_LIMIT, app.store.ping()).await;
    let mut checks = Map::new();
    let mut ready = true;
    let mut check = |name: &str, problem: Option<&str>| {
        ready &= problem.is_none();
        let detail = problem.map_or(
            json!({"ok": true}),
            |text| json!({"ok": false, "why": text}),
        );
        checks.insert(name.to_owned(), detail);
    };
    check(
        "database",
        match database {
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some("it refuses or cannot be reached; see the hub's log"),
            Err(_) => Some("it did not answer within 2 s"),
        },
    );
    check(
        "shutdown",
        app.shutdown.is_cancelled().then_some("the hub stops"),
    );
    let loops: Map<String, Value> = app
        .loops
        .all()
        .into_iter()
        .map(|(name, state)| {
            let told =
                json!({"at": state.at.to_string(), "did": state.did, "errors": state.errors.len()});
            (name.to_owned(), told)
        })
        .collect();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({"ready": ready, "checks": checks, "loops": loops})),
    )
        .into_response()
}

/// Figures in the OpenMetrics text format.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.encode()).into_response()
}

/// Says what runs and who asks.
#[utoipa::path(get, path = "/version", tag = "hub", responses(
    (status = 200, description = "the hub's version", body = ref("#/components/schemas/VersionInfo"))))]
pub async fn version(caller: Caller) -> ApiResult<Json<VersionInfo>> {
    Ok(Json(VersionInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api_version: API_VERSION.to_owned(),
        principal: caller.principal.name,
    }))
}

/// What keeps a loop from doing its work on an application; absent = nothing.
pub fn trouble_of(app: &App, application: &NamespacedName) -> Option<String> {
    let name = application.to_string();
    let names = |text: &str| {
        text.split(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | ';'))
            .any(|word| word == name)
    };
    app.loops
        .all()
        .into_values()
        .flat_map(|state| state.errors)
        .find(|error| names(error))
}
