//! What one cluster's objects are: as written, without what is bound to another cluster, and with
//! the overrides that hold there.

mod apply;
mod check;

pub use apply::{Overridden, OverrideError, OverrideFault, in_cluster};
pub(crate) use check::{ClusterKind, kind_of, told_apart};
pub use check::{InCluster, try_clusters};

#[cfg(test)]
mod tests;
