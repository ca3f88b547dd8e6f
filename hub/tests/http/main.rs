//! The HTTP API over TCP and the Unix socket, on a real Postgres, without agents.
#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod actions;
mod alerts;
mod applying;
mod authors;
mod cluster_traffic;
mod custom_resources;
mod dependencies;
mod harness;
mod health;
mod metric_templates;
mod placement;
mod plugins;
mod promoted;
mod reading;
mod releases;
mod repositories;
mod secrets;
mod standing;
mod watching;
mod webhooks;
