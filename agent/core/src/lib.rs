//! Every decision of an agent, as pure functions: no IO, no clock, no randomness.
//!
//! [`machine::decide`] drives one run of one workload; everything else serves it or the sync of
//! objects: arithmetic ([`weights`], [`sizes`], [`autoscaling`]), objects ([`canary_copy`], [`effective`],
//! [`provider`], [`restore`], [`tracked_config`], [`ignored`]), judgements ([`settled`], [`analysis`], [`health`],
//! [`ownership`], [`selection`], [`contention`], [`immutable`], [`stuck_pods`]) and order ([`apply_order`],
//! [`component_order`], [`definitions`]).

pub mod admission;
pub mod adopted;
pub mod analysis;
pub mod apply_order;
pub mod autoscaling;
pub mod by_node;
pub mod canary_copy;
pub mod chart_hooks;
pub mod compliance;
pub mod component_order;
pub mod config_stamp;
pub mod contention;
pub mod covers;
pub mod definitions;
pub mod effective;
pub mod health;
pub mod hooks;
pub mod ignored;
pub mod immutable;
pub mod live_state;
pub mod machine;
pub mod merge_patch;
pub mod names;
pub mod node_properties;
pub mod ownership;
pub mod provider;
pub mod pruning;
pub mod restore;
pub mod rights;
pub mod selection;
pub mod settled;
pub mod sizes;
pub mod stuck_pods;
pub mod template_digest;
pub mod tracked_config;
pub mod weights;
