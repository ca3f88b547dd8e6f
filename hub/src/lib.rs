//! The hub: records in Postgres, decisions over them, and the streams to the agents.
//!
//! Data flow: [`http`] writes what users want → [`loops`] load, call the pure decisions of
//! `bellwether-hub-core` and save by compare-and-set → [`grpc`] streams each cluster's desired state
//! to its agent and takes status back. Entry point: [`app::run`].

pub mod app;
pub mod clock;
pub mod config;
pub mod custom_resources;
mod fleet_hooks;
pub mod grpc;
pub mod http;
pub mod loops;
pub mod pki;
pub mod rendering;
mod scheduling;
pub mod secrets;
pub mod telemetry;
