//! How two releases differ in each cluster, overrides applied, and which override set what. No value
//! of a Secret is in any of it.

mod compare;
mod defaults;
mod explain;
mod leaves;
mod mask;
mod side;
mod values;

pub use compare::{Compared, compare};
pub use defaults::defaults;
pub use explain::explain;
pub use values::{count_values, explain_values};

use crate::addons::Fleets;

/// What releases are read with.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Every fleet, by name: components name the clusters that get them.
    pub fleets: &'a Fleets,
    /// Used once and kept nowhere: it keeps the digests of Secrets from being guessed back.
    pub salt: &'a [u8],
}

#[cfg(test)]
mod tests;
