//! Runs against a small model of a cluster.

mod by_pods;
mod commands;
mod completing;
mod faults;
mod in_force;
mod model;
mod paths;
mod refusals;
mod resume;
mod rules;
mod sharing;
mod strategies;
mod walks;
