//! What the API server is answered about a custom resource that is to be written.

use bellwether_api::{custom_resource::KINDS, validate::DEFAULT_NAMESPACE};
use bellwether_hub_core::{
    custom_resource::{adoption, document, is_written_by_user},
    ownership::Writer,
};
use serde_json::{Value, json};

use super::write::{body, caller};
use crate::{
    app::App,
    http::{ApiError, Scope, StatusCode, check_document},
};

/// Characters of one warning that an API server passes on; more than a few thousand in all are cut.
const MAX_WARNING: usize = 240;
/// Warnings that are passed on.
const MAX_WARNINGS: usize = 10;

/// Answers a review; absent = it is none.
pub(super) async fn answer(app: &App, review: &Value) -> Option<Value> {
    let request = review.get("request")?;
    let uid = request.get("uid")?.as_str()?;
    let mut response = json!({"uid": uid, "allowed": true});
    match judge(app, request).await {
        Ok(warnings) => {
            let warnings: Vec<String> = warnings
                .iter()
                .take(MAX_WARNINGS)
                .map(|text| text.chars().take(MAX_WARNING).collect())
                .collect();
            if !warnings.is_empty() {
                response["warnings"] = json!(warnings);
            }
        }
        Err(refusal) => {
            response["allowed"] = Value::from(false);
            response["status"] = json!({
                "code": refusal.code, "reason": refusal.reason, "message": refusal.message,
            });
        }
    }
    Some(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
    }))
}

/// Why a custom resource is not taken.
struct Refusal {
    code: u16,
    reason: &'static str,
    message: String,
}

impl Refusal {
    fn invalid(message: String) -> Self {
        Self {
            code: 422,
            reason: "Invalid",
            message,
        }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self {
            message: error.text(),
            // What belongs to somebody else is no conflict that trying again resolves, as API servers and
            // kubectl do with 409.
            ..match error.status() {
                StatusCode::CONFLICT => Self {
                    code: 403,
                    reason: "Forbidden",
                    message: String::new(),
                },
                _ => Self::invalid(String::new()),
            }
        }
    }
}

async fn judge(app: &App, request: &Value) -> Result<Vec<String>, Refusal> {
    let object = request.get("object").unwrap_or(&Value::Null);
    let kind = KINDS
        .into_iter()
        .find(|kind| request["kind"]["kind"] == kind.name());
    let Some(kind) = kind else {
        return Ok(Vec::new());
    };
    let is_leaving = object.pointer("/metadata/deletionTimestamp").is_some();
    let old = request.get("oldObject").filter(|old| !old.is_null());
    if is_leaving || old.is_some_and(|old| !is_written_by_user(old, object)) {
        return Ok(Vec::new());
    }
    let adopt = adoption(object).map_err(Refusal::invalid)?;
    let scope = Scope {
        namespace: DEFAULT_NAMESPACE,
        dry_run: true,
        reason: "",
        writer: Writer::CustomResource { adopt },
    };
    let user = request
        .pointer("/userInfo/username")
        .and_then(Value::as_str);
    let caller = caller(format!("custom-resource:{}", user.unwrap_or_default()));
    let body = body(&[document(kind, object)]);
    match check_document(app, &caller, &body, &scope).await {
        Ok(warnings) => Ok(warnings),
        // What the hub cannot check now it checks once it mirrors.
        Err(error) if error.status().is_server_error() => Ok(vec![format!(
            "the hub could not check this and does so once it is stored: {}",
            error.text()
        )]),
        Err(error) => Err(error.into()),
    }
}
