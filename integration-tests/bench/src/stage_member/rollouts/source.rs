//! The source of the rollouts' metric: a server that answers at once.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use axum::{Json, Router, extract::Path, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// A server on loopback; it stops when it is dropped.
pub struct Source {
    /// Its base URL.
    pub address: String,
    asked: Arc<Mutex<BTreeSet<String>>>,
    server: JoinHandle<()>,
}

impl Source {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let asked = Arc::<Mutex<BTreeSet<String>>>::default();
        let noted = Arc::clone(&asked);
        let router = Router::new().route(
            "/errors/{workload}",
            get(move |Path(workload): Path<String>| {
                noted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(workload);
                std::future::ready(Json::<Value>(json!({"percent": 0})))
            }),
        );
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router)
                .await
                .context("the source of metrics ended")
            {
                eprintln!("{error:#}");
            }
        });
        Ok(Self {
            address,
            asked,
            server,
        })
    }

    /// Of how many workloads it was asked so far.
    pub fn asked_of(&self) -> usize {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.server.abort();
    }
}
