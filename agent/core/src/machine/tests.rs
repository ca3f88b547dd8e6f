//! Runs against a small model of a cluster.

mod commands;
mod completing;
mod configuration;
mod faults;
mod model;
mod paths;
mod refusals;
mod resume;
mod rules;
mod scaling;
mod sharing;
mod strategies;
mod walks;
