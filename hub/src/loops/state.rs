use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use super::LoopError;

/// What every loop did last, for `/readyz`.
#[derive(Debug, Default)]
pub struct LoopStates {
    loops: Mutex<BTreeMap<&'static str, LoopState>>,
}

/// What one loop did last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopState {
    /// When its last turn ended.
    pub at: Timestamp,
    /// What that turn did, in one line.
    pub did: String,
    /// What went wrong, one line an application; empty = nothing.
    pub errors: Vec<String>,
}

impl LoopState {
    /// How a turn ended that either did all of its work or failed.
    #[must_use]
    pub fn of(at: Timestamp, ended: Result<String, LoopError>) -> Self {
        let (did, errors) = match ended {
            Ok(did) => (did, Vec::new()),
            Err(error) => (String::new(), vec![error.chain()]),
        };
        Self { at, did, errors }
    }
}

impl LoopStates {
    /// Remembers what a loop did.
    pub fn set(&self, name: &'static str, state: LoopState) {
        self.loops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, state);
    }

    /// Returns what every loop did last, by its name; a loop that has not ended a turn is missing.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, LoopState> {
        self.loops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
