//! What a check finds.

use crate::document::FieldPath;

/// One thing that a check found, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The field.
    pub path: FieldPath,
    /// What is wrong, or what to know.
    pub message: String,
    /// What was probably meant; absent = nothing is near.
    pub suggestion: Option<String>,
}

/// Everything that a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What must be mended.
    pub errors: Vec<Finding>,
    /// What a human should know; it stops nothing.
    pub warnings: Vec<Finding>,
}

impl Findings {
    pub(super) fn error(&mut self, path: &FieldPath, message: impl Into<String>) {
        self.error_with(path, message, None);
    }

    pub(super) fn error_with(
        &mut self,
        path: &FieldPath,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.errors.push(Finding {
            path: path.clone(),
            message: message.into(),
            suggestion,
        });
    }

    pub(super) fn warn(&mut self, path: &FieldPath, message: impl Into<String>) {
        let message = message.into();
        self.warnings.push(Finding {
            path: path.clone(),
            message,
            suggestion: None,
        });
    }

    pub(super) fn into_validated<T>(self, value: T) -> Result<Validated<T>, Vec<Finding>> {
        if self.errors.is_empty() {
            Ok(Validated {
                value,
                warnings: self.warnings,
            })
        } else {
            Err(self.errors)
        }
    }
}

/// A value that passed its checks.
#[derive(Clone, Debug)]
pub struct Validated<T> {
    /// The value.
    pub value: T,
    /// What a human should know; it stops nothing.
    pub warnings: Vec<Finding>,
}
