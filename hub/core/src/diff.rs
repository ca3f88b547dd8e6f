//! How two releases differ in each cluster, overrides applied, and which override set what. No value
//! of a Secret is in any of it.

mod compare;
mod explain;
mod leaves;
mod mask;
mod side;

pub use compare::{Compared, compare};
pub use explain::explain;

#[cfg(test)]
mod tests;
