//! Tokens of the API.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use bellwether_api::call::{ApiTokenList, ApiTokenRequest, ApiTokenView};
use bellwether_hub_core::authorize::{EVERY_NAMESPACE, Kind, Role, Verb};
use bellwether_store::api_tokens::{self, ApiToken, CreateError};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    auth::{Caller, hash, new_token},
    clusters::never_stored,
    extract::{JsonBody, Path},
    problem::{ApiError, ApiResult},
};
use crate::app::App;

/// Characters of a token's name at most.
const MAX_NAME: usize = 63;

fn shown(token: &ApiToken, secret: Option<String>) -> ApiTokenView {
    ApiTokenView {
        name: token.name.clone(),
        role: token.role.clone(),
        namespaces: token.namespaces.clone(),
        token: secret,
        created_at: token.created_at.to_string(),
    }
}

/// Makes a token; it is shown once.
#[utoipa::path(post, path = "/tokens", tag = "tokens",
    request_body = ref("#/components/schemas/ApiTokenRequest"), responses(
    (status = 201, description = "shown only now", body = ref("#/components/schemas/ApiTokenView")),
    (status = 409, description = "the name is taken", body = ref("#/components/schemas/Problem"))))]
pub async fn create_api_token(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(request): JsonBody<ApiTokenRequest>,
) -> ApiResult<(StatusCode, HeaderMap, Json<ApiTokenView>)> {
    caller.may(Verb::Apply, Kind::ApiToken, None)?;
    let role: Role = request
        .role
        .parse()
        .map_err(|_| ApiError::bad_request("role is admin, editor or viewer"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if request.name.is_empty() || request.name.len() > MAX_NAME || !request.name.chars().all(plain)
    {
        return Err(ApiError::bad_request(
            "a name has 1 to 63 letters, digits, '-', '_', '.' or '@'",
        ));
    }
    let secret = new_token();
    let token = ApiToken {
        id: Uuid::now_v7(),
        name: request.name,
        role: role.as_str().to_owned(),
        namespaces: request
            .namespaces
            .into_iter()
            .filter(|one| one != EVERY_NAMESPACE)
            .collect(),
        hash: hash(&secret),
        created_at: app.clock.now(),
        created_by: caller.principal.name.clone(),
        revoked_at: None,
    };
    let mut tx = app.store.begin().await?;
    api_tokens::create(&mut tx, &token)
        .await
        .map_err(|error| match error {
            CreateError::Exists { name } => ApiError::conflict(format!(
                "there is a token named {name:?}; revoke it or choose another"
            )),
            CreateError::Store(error) => error.into(),
        })?;
    tx.commit().await?;
    tracing::info!(principal = %caller.principal.name, token = %token.name, "API token made");
    Ok((
        StatusCode::CREATED,
        never_stored(),
        Json(shown(&token, Some(secret))),
    ))
}

/// Lists tokens that are good, without their secrets.
#[utoipa::path(get, path = "/tokens", tag = "tokens", responses(
    (status = 200, description = "by name", body = ref("#/components/schemas/ApiTokenList"))))]
pub async fn list_api_tokens(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> ApiResult<Json<ApiTokenList>> {
    caller.may(Verb::List, Kind::ApiToken, None)?;
    let items = api_tokens::list(&app.store)
        .await?
        .iter()
        .filter(|token| token.revoked_at.is_none())
        .map(|token| shown(token, None))
        .collect();
    Ok(Json(ApiTokenList { items }))
}

/// Takes a token away.
#[utoipa::path(delete, path = "/tokens/{name}", tag = "tokens", params(("name" = String, Path)),
    responses((status = 200, description = "it is refused from now on"),
    (status = 404, description = "there is none", body = ref("#/components/schemas/Problem"))))]
pub async fn revoke_api_token(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<Value>> {
    caller.may(Verb::Delete, Kind::ApiToken, None)?;
    let mut tx = app.store.begin().await?;
    let revoked = api_tokens::revoke(&mut tx, &name, app.clock.now()).await?;
    tx.commit().await?;
    if !revoked {
        return Err(ApiError::not_found(format!("there is no token {name:?}")));
    }
    tracing::info!(principal = %caller.principal.name, token = %name, "API token revoked");
    Ok(Json(json!({"name": name, "revoked": true})))
}
