//! What is wrong with an input, with its position.

use std::fmt;

use serde::Serialize;

use super::{
    node::{Position, Source},
    path::FieldPath,
};

/// One thing wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentError {
    /// The input's name: a file, or what the caller said.
    pub file: String,
    /// The line, from 1; 0 = the input as a whole.
    pub line: u32,
    /// The column, from 1; 0 = the input as a whole.
    pub column: u32,
    /// The field, such as `spec.waves[1].name`; empty = the document as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What was probably meant; absent = nothing is near.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The sort of error, for programs.
    pub code: ErrorCode,
}

/// The sort of an error, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ErrorCode {
    /// The text is neither YAML nor JSON.
    Syntax,
    /// A limit is passed.
    Limit,
    /// A key stands twice in one object, or an object twice in the input.
    Duplicate,
    /// No such kind or version.
    UnknownKind,
    /// No such field.
    UnknownField,
    /// A field that must be there is not.
    Required,
    /// A value has the wrong type.
    Type,
    /// A value is not among the allowed ones.
    Value,
    /// Fields do not agree with each other.
    Invalid,
}

impl DocumentError {
    pub(super) fn whole(file: &str, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            path: String::new(),
            message: message.into(),
            suggestion: None,
            code,
        }
    }

    pub(super) fn at(
        file: &str,
        at: Position,
        path: &FieldPath,
        code: ErrorCode,
        message: impl Into<String>,
    ) -> Self {
        Self {
            line: at.line,
            column: at.column,
            path: path.to_string(),
            ..Self::whole(file, code, message)
        }
    }

    pub(super) fn suggest(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }

    /// Makes an error of a finding of the validation.
    #[must_use]
    pub fn from_finding(source: &Source, finding: &crate::validate::Finding) -> Self {
        let at = source.position(&finding.path);
        Self::at(
            source.file(),
            at,
            &finding.path,
            ErrorCode::Invalid,
            finding.message.clone(),
        )
        .suggest(finding.suggestion.clone())
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.line, self.column, &self.path)?;
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion:?}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DocumentError {}

/// Something that a human should know about an input; it stops nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentWarning {
    /// The input's name.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// The field.
    pub path: String,
    /// What to know.
    pub message: String,
}

impl DocumentWarning {
    /// Makes a warning of a finding of the validation.
    #[must_use]
    pub fn from_finding(source: &Source, finding: &crate::validate::Finding) -> Self {
        let at = source.position(&finding.path);
        Self {
            file: source.file().to_owned(),
            line: at.line,
            column: at.column,
            path: finding.path.to_string(),
            message: finding.message.clone(),
        }
    }
}

impl fmt::Display for DocumentWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.line, self.column, &self.path)?;
        f.write_str(&self.message)
    }
}

/// Writes `file:line:column path: ` with what is there.
fn write_place(
    f: &mut fmt::Formatter<'_>,
    file: &str,
    line: u32,
    column: u32,
    path: &str,
) -> fmt::Result {
    f.write_str(file)?;
    if line > 0 {
        write!(f, ":{line}:{column}")?;
    }
    if path.is_empty() {
        f.write_str(": ")
    } else {
        write!(f, " {path}: ")
    }
}
