//! Decisions of the hub: who may do what, which clusters get a release, in which waves, and what a
//! run does next.
//!
//! Everything here is a synchronous pure function of its arguments: no IO, no clock, no randomness.
//! Data flow: records → [`release`] and [`placement`] → [`plan`] (frozen) → [`run::decide`], whose
//! grants become [`bundle`]s; [`view`] renders all of it for people, [`check`] judges histories.

pub mod addons;
pub mod alert;
pub mod allowance;
pub mod authorize;
pub mod brake;
pub mod bundle;
pub mod chart_hooks;
pub mod check;
pub mod clock;
pub mod clones;
pub mod cluster_defaults;
pub mod components;
pub mod custom_resource;
pub mod dependencies;
pub mod diff;
pub mod flapping;
pub mod fleet_hooks;
pub mod metrics_sources;
pub mod overrides;
pub mod ownership;
pub mod placement;
pub mod plan;
pub mod promoted;
pub mod recipe;
pub mod records;
pub mod release;
pub mod repository;
pub mod rollback;
pub mod run;
pub mod standing;
pub mod view;
