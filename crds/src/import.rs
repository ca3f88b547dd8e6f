//! Records of other systems, read as records of ours.

mod fields;
mod flagger;
mod kruise;
mod problems;
mod rendered;
mod systems;

pub use problems::{ImportError, Problem};
pub use rendered::Translated;
pub use systems::{System, translate};
