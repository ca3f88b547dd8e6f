//! Logs and metrics of the hub.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogFormat;

/// Starts logging to standard error; `RUST_LOG` chooses what, `info` unless set. A second call
/// changes nothing.
pub fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,h2=warn,hyper=warn"));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A test harness may have set a subscriber already.
    let _ = match format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
}

/// Metrics of the wire, and the registry in which every other part of the hub registers its own.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Sessions that are open now.
    pub sessions: Gauge,
    /// Connections of agents that are open now, sessions or not.
    pub connections: Gauge,
    /// Handshakes that were refused.
    pub refused_handshakes: Counter,
    /// Rows of status that were written.
    pub status_rows: Counter,
    /// Seconds that one flush of statuses and acknowledgements took.
    pub flush_seconds: Histogram,
    /// Age of the oldest transaction that the tailer waits for, in milliseconds.
    pub tailer_lag_ms: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("bellwether");
        let buckets = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];
        let flush_seconds = Histogram::new(buckets);
        let (sessions, connections, tailer_lag_ms) =
            (Gauge::default(), Gauge::default(), Gauge::default());
        let (refused_handshakes, status_rows) = (Counter::default(), Counter::default());
        registry.register(
            "agent_sessions",
            "Open sessions of agents",
            sessions.clone(),
        );
        registry.register(
            "agent_connections",
            "Open connections of agents",
            connections.clone(),
        );
        registry.register(
            "agent_refused_handshakes",
            "Connections that ended before TLS was agreed",
            refused_handshakes.clone(),
        );
        registry.register("status_rows", "Rows of status written", status_rows.clone());
        registry.register(
            "ingest_flush_seconds",
            "Time to write one batch of statuses and acknowledgements",
            flush_seconds.clone(),
        );
        registry.register(
            "tailer_lag_ms",
            "Age of the oldest open transaction that changes of desired state wait for",
            tailer_lag_ms.clone(),
        );
        Self {
            registry: Arc::new(Mutex::new(registry)),
            sessions,
            connections,
            refused_handshakes,
            status_rows,
            flush_seconds,
            tailer_lag_ms,
        }
    }
}

impl Metrics {
    /// Registers further metrics.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Every metric in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// An error with its causes, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
