//! Runs against a small model of a cluster.

mod approvals;
mod by_node;
mod by_pods;
mod commands;
mod completing;
mod configuration;
mod faults;
mod hooks;
mod in_force;
mod in_place;
mod in_place_adopted;
mod in_place_model;
mod in_place_split;
mod model;
mod paths;
mod promises;
mod refusals;
mod resume;
mod rhythm;
mod rules;
mod scaling;
mod sharing;
mod strategies;
mod walks;
