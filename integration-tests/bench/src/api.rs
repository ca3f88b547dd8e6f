//! The hub's public HTTP API, as a program with a token uses it.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use bellwether_api::call::{JoinMaterial, JoinTokenRequest};
use serde_json::Value;

/// A client of one hub; clones share connections.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Api {
    /// Makes a client with the token that the hub keeps in its data folder.
    ///
    /// # Errors
    /// When there is no such token.
    pub fn new(base: String, hub_data: &Path) -> Result<Self> {
        let token = std::fs::read_to_string(hub_data.join("token")).context("the local token")?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .context("failed to make an HTTP client")?;
        Ok(Self {
            base,
            token: token.trim().to_owned(),
            client,
        })
    }

    /// Applies one document; returns when the hub has committed it.
    ///
    /// # Errors
    /// When the hub refuses it or does not answer.
    pub async fn apply(&self, document: String) -> Result<()> {
        let request = self
            .client
            .post(format!("{}/api/v1/apply", self.base))
            .body(document);
        let _: Value = self.send(request).await?;
        Ok(())
    }

    /// Gets a token by which a cluster joins.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn join_token(
        &self,
        cluster: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<JoinMaterial> {
        let request = JoinTokenRequest {
            cluster: cluster.to_owned(),
            labels,
            metrics_address: None,
            ttl: None,
        };
        self.send(
            self.client
                .post(format!("{}/api/v1/join-tokens", self.base))
                .json(&request),
        )
        .await
    }

    /// Reads something.
    ///
    /// # Errors
    /// When it is not there, or the hub does not answer.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send(self.client.get(format!("{}{path}", self.base)))
            .await
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T> {
        let answer = request.bearer_auth(&self.token).send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            bail!(
                "the hub answered {status}: {}",
                String::from_utf8_lossy(&body)
            );
        }
        Ok(serde_json::from_slice(&body)?)
    }
}
