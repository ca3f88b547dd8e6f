//! Whose records are translated.

use serde_json::Value;

use super::{flagger, kruise, problems::ImportError, rendered::Translated};

/// A system whose records are read as records of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Flagger.
    Flagger,
    /// Kruise Rollout.
    KruiseRollout,
}

impl System {
    /// The system that kinds of this group belong to; `None` = none whose records are translated.
    #[must_use]
    pub fn of_group(group: &str) -> Option<Self> {
        match group {
            flagger::GROUP => Some(Self::Flagger),
            kruise::GROUP => Some(Self::KruiseRollout),
            _ => None,
        }
    }

    /// The system's name, as people know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flagger => "Flagger",
            Self::KruiseRollout => "Kruise Rollout",
        }
    }
}

/// Translates every record of another system among `objects`, which hold everything that is rendered
/// together: the workload, its Service, its routes.
///
/// # Errors
/// Everything in the first record that has no counterpart.
pub fn translate(objects: &[Value]) -> Result<Translated, ImportError> {
    let mut translated = flagger::translate(objects)?;
    translated.extend(kruise::translate(objects)?);
    Ok(translated)
}
