//! Runs against a small model of a cluster.

mod commands;
mod model;
mod paths;
mod refusals;
mod walks;
