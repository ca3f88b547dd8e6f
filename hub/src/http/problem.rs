//! Errors as RFC 9457 problems.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bellwether_api::{
    call::{Problem, ProblemItem},
    document::DocumentError,
};
use bellwether_hub_core::authorize::Denied;
use bellwether_store::{StoreError, records::WriteError};

use crate::loops::LoopError;

/// Why a request failed.
#[derive(Clone, Debug)]
pub struct ApiError {
    problem: Box<Problem>,
}

/// What a handler gives back.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// Makes an error of a status, a CamelCase code and a sentence.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            problem: Box::new(Problem {
                kind: format!("https://bellwether.dev/problems/{code}"),
                title: status.canonical_reason().unwrap_or("Error").to_owned(),
                status: status.as_u16(),
                detail: detail.into(),
                code: code.to_owned(),
                retryable: matches!(status.as_u16(), 429 | 503 | 504),
                ..Problem::default()
            }),
        }
    }

    /// Adds what exactly is wrong.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<ProblemItem>) -> Self {
        self.problem.errors = errors;
        self
    }

    /// The request makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", detail)
    }

    /// The thing does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", detail)
    }

    /// Something else came first.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", detail)
    }

    /// The documents are wrong.
    pub fn invalid(errors: Vec<ProblemItem>) -> Self {
        let detail = match errors.as_slice() {
            [only] => match only.path.as_str() {
                "" => only.detail.clone(),
                path => format!("{path}: {}", only.detail),
            },
            many => format!("{} errors; nothing was applied", many.len()),
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", detail).with_errors(errors)
    }

    /// The hub itself failed; the cause goes to the log and not to the caller.
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(error = %chain(cause), "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal",
            "the hub failed to do this; its log says why",
        )
    }

    /// One word that stays what it is.
    pub fn code(&self) -> &str {
        &self.problem.code
    }

    /// What is wrong, in words: every error with where it is.
    pub fn text(&self) -> String {
        if self.problem.errors.is_empty() {
            return self.problem.detail.clone();
        }
        let lines = self.problem.errors.iter().map(|one| {
            let place = match one.file.as_str() {
                "" => String::new(),
                file => format!("{file}:{} ", one.line),
            };
            let meant = match &one.suggestion {
                Some(meant) if !one.detail.contains("did you mean") => {
                    format!("; did you mean {meant:?}?")
                }
                _ => String::new(),
            };
            match one.path.as_str() {
                "" => format!("{place}{}{meant}", one.detail),
                path => format!("{place}{path}: {}{meant}", one.detail),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", denied.to_string())
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Conflict {
                expected,
                actual: Some(actual),
            } => Self::conflict(format!(
                "it changed in the meantime: you saw version {expected}, it is {actual} now; nothing \
                 was written"
            )),
            WriteError::Conflict {
                expected,
                actual: None,
            } => Self::conflict(format!(
                "it is gone: you saw version {expected}; nothing was written"
            )),
            WriteError::Store(error) => error.into(),
        }
    }
}

impl From<LoopError> for ApiError {
    fn from(error: LoopError) -> Self {
        match error {
            LoopError::Store(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %chain(&error), "the database failed a request");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "DatabaseUnavailable",
            "the hub's database did not do this; the hub's log says why",
        )
    }
}

tokio::task_local! {
    /// The id of the request that is being answered.
    pub static REQUEST_ID: String;
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        // Outside a request there is no id.
        let _ = REQUEST_ID.try_with(|id| self.problem.instance.clone_from(id));
        let mut response = (self.status(), Json(&*self.problem)).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status() == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.problem.retryable {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Says what is wrong with a document as the API says it.
pub fn problem_item(error: &DocumentError) -> ProblemItem {
    ProblemItem {
        path: error.path.clone(),
        file: error.file.clone(),
        pointer: pointer_of(&error.path),
        line: error.line,
        column: error.column,
        detail: error.message.clone(),
        suggestion: error.suggestion.clone(),
        code: format!("{:?}", error.code),
    }
}

/// Turns `spec.waves[1].labels["a.b/c"]` into `/spec/waves/1/labels/a.b~1c`.
fn pointer_of(path: &str) -> String {
    let mut pointer = String::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (segment, tail) = if let Some(inner) = rest.strip_prefix("[\"") {
            inner.split_once("\"]").unwrap_or((inner, ""))
        } else if let Some(inner) = rest.strip_prefix('[') {
            inner.split_once(']').unwrap_or((inner, ""))
        } else {
            let plain = rest.strip_prefix('.').unwrap_or(rest);
            plain.split_at(plain.find(['.', '[']).unwrap_or(plain.len()))
        };
        pointer.push('/');
        pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        rest = tail;
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::pointer_of;

    #[test]
    fn paths_become_pointers() {
        for (path, pointer) in [
            ("", ""),
            ("spec.waves[1].selector", "/spec/waves/1/selector"),
            ("metadata.labels[\"a.b/c\"]", "/metadata/labels/a.b~1c"),
        ] {
            assert_eq!(pointer_of(path), pointer);
        }
    }
}
