//! Logs, figures, and the endpoints that tell whether the agent lives.

mod figures;
mod health_server;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

pub use figures::{Figures, Share};
pub use health_server::{HealthServerError, Readiness, listen, serve};

/// Starts logging; `RUST_LOG` chooses what, `info` unless set.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
