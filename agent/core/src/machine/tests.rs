//! Runs against a small model of a cluster.

mod commands;
mod completing;
mod faults;
mod in_place;
mod in_place_model;
mod model;
mod paths;
mod refusals;
mod resume;
mod rules;
mod sharing;
mod strategies;
mod walks;
