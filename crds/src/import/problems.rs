use std::{cell::RefCell, fmt};

use super::systems::System;

/// Something about one field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field.
    pub path: String,
    /// What is to say of it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Why a record of another system is not translated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to translate {kind} {name} of {}: {}", system.name(), list(problems))]
pub struct ImportError {
    /// Whose record it is.
    pub system: System,
    /// The record's kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Everything that has no counterpart; never empty.
    pub problems: Vec<Problem>,
}

fn list(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// What is found while one record is read.
#[derive(Debug, Default)]
pub(super) struct Problems {
    errors: RefCell<Vec<Problem>>,
    notes: RefCell<Vec<Problem>>,
}

impl Problems {
    pub fn add(&self, path: String, message: impl Into<String>) {
        self.errors.borrow_mut().push(Problem {
            path,
            message: message.into(),
        });
    }

    /// Says what is left out because it has nothing to do here.
    pub fn note(&self, path: String, message: impl Into<String>) {
        self.notes.borrow_mut().push(Problem {
            path,
            message: message.into(),
        });
    }

    /// What was noted, with the record before each path.
    pub fn named_notes(&self, name: &str) -> Vec<Problem> {
        let notes = self.notes.borrow();
        let named = notes.iter().map(|note| Problem {
            path: format!("{name} {}", note.path),
            message: note.message.clone(),
        });
        named.collect()
    }

    pub fn into_result(self, system: System, kind: &str, name: &str) -> Result<(), ImportError> {
        let problems = self.errors.into_inner();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ImportError {
            system,
            kind: kind.to_owned(),
            name: name.to_owned(),
            problems,
        })
    }
}
