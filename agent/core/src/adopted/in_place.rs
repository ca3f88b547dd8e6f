//! Workloads of others that are updated in place: StatefulSets, DaemonSets, and every kind whose
//! partition an adapter names.
//!
//! What holds one back is a field of its own that its owner may write too. What the owner wrote there
//! stands in an annotation beside it for as long as the field is ours, so that whoever dies in between,
//! or writes the object meanwhile, loses nothing.

mod field;
mod hold;
mod look;
mod note;
mod sight;

pub use field::set;
pub use hold::{
    Wanted, as_owners, as_standing, completed, freed, hold, is_as_wanted, released, version,
    workload_hold,
};
pub use look::look_in_place;
pub use note::{PARTITION_ANNOTATION, adapter_of};
pub use sight::{InPlaceSight, Pod, Recorded, Version};

pub(crate) use field::{holding, of, value};
pub(crate) use note::{By, Note};
pub(crate) use sight::keeps_its_own_pace;

#[cfg(test)]
mod tests;
