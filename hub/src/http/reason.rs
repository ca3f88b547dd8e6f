//! Why somebody does something, in their own words.

use serde::Deserialize;

use super::problem::{ApiError, ApiResult};

/// Bytes of a reason at most.
const MAX_REASON_BYTES: usize = 4_096;

/// A reason beside a request that has no body for it.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReasonQuery {
    /// Why; kept with what changes.
    pub reason: Option<String>,
}

/// Takes a reason as it may be kept; empty when nothing was said.
///
/// # Errors
/// 400 when it is too long, or holds what no text has.
pub fn reason(said: Option<&str>) -> ApiResult<&str> {
    let said = said.unwrap_or_default();
    if said.len() > MAX_REASON_BYTES {
        return Err(ApiError::bad_request(format!(
            "a reason has at most {MAX_REASON_BYTES} bytes"
        )));
    }
    if said.contains('\0') {
        return Err(ApiError::bad_request("a reason holds no NUL"));
    }
    Ok(said)
}
