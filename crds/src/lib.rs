//! Every kind that a user of Bellwether writes, and the kinds that an agent keeps in its cluster.
//!
//! One file a kind. This crate holds types, their validation and their schemas, and nothing else:
//! no IO, no clock. The hub, the agent and the command line all read documents through
//! [`document`], so that the same YAML gives the same result and the same errors everywhere.

pub mod adapted_copy;
pub mod alert_provider;
pub mod analysis;
pub mod apex_service;
pub mod application;
pub mod bundle;
pub mod call;
pub mod chart_hook;
pub mod cluster;
pub mod cluster_bound;
pub mod cluster_template;
pub mod command;
pub mod compliance;
pub mod custom_resource;
pub mod defaults;
pub mod division;
pub mod document;
pub mod duration;
pub mod fleet;
pub mod fleet_hook;
pub mod health_rule;
pub mod hooks;
pub mod import;
pub mod installation;
pub mod legacy;
pub mod matching;
pub mod metric_template;
pub mod node_copy;
pub mod number;
pub mod overrides;
pub mod placement;
pub mod pod_requests;
pub mod prometheus_answer;
pub mod publish_version;
pub mod quantity;
pub mod query_freshness;
pub mod query_template;
pub mod reference;
pub mod regex;
pub mod repository;
pub mod rollout;
pub mod root;
pub mod schedule;
pub mod schema;
pub mod secret;
pub mod selector;
pub mod source;
pub mod standing_grant;
pub mod status;
pub mod steady;
pub mod strategic;
pub mod strategy;
pub mod sync_policy;
pub mod sync_record;
pub mod track;
pub mod traffic;
pub mod validate;
pub mod view;
pub mod workload_adapter;

/// The API group of every kind.
pub const GROUP: &str = "bellwether.dev";
/// The version of every kind.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` as it stands in documents.
pub const API_VERSION: &str = "bellwether.dev/v1alpha1";
