//! What one cluster's objects are: as written, without what is bound to another cluster, and with
//! the overrides that hold there.

mod apply;
mod check;
mod divided;

pub use apply::{Overridden, OverrideError, OverrideFault, in_cluster};
pub(crate) use check::{ClusterKind, kind_of, told_apart};
pub use check::{InCluster, try_clusters};
pub use divided::{Autoscaled, DividedWorkload, divided_workloads, lay_shares, share_texts};

#[cfg(test)]
mod tests;
