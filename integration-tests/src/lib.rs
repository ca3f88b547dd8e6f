//! What the tests on real clusters and the demo share: the lab, a hub process, the command line,
//! live traffic and its accounting.
//!
//! Everything here drives the shipped binaries from outside, as their users do. Whatever a value
//! starts, it stops when it is dropped.

pub mod agent_process;
pub mod answered;
pub mod chart_repository;
pub mod cli;
pub mod cluster;
pub mod demo;
pub mod fixture;
pub mod git_server;
pub mod go_module;
pub mod hook_double;
pub mod hub;
pub mod hub_chart;
pub mod lab;
pub mod manifests;
pub mod oci_registry;
pub mod process;
pub mod process_figures;
pub mod prometheus;
pub mod relay;
pub mod request;
pub mod stock_chart;
pub mod suite;
pub mod tester;
pub mod traffic;
pub mod wait;
pub mod weights;
