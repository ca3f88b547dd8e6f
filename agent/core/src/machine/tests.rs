//! Runs against a small model of a cluster.

mod commands;
mod completing;
mod faults;
mod model;
mod paths;
mod promises;
mod refusals;
mod resume;
mod rules;
mod sharing;
mod strategies;
mod walks;
