//! The hub's HTTP API as this program calls it: over TCP, or over a Unix socket on the hub's own
//! machine.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bellwether_api::call::Problem;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use http::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::{args::Global, failure::Failure};

mod events;
mod socket;

pub use events::{ServerEvent, server_events};

/// Where the hub listens unless told otherwise.
pub const DEFAULT_HUB: &str = "http://127.0.0.1:7700";

/// A hub that can be called.
#[derive(Clone, Debug)]
pub struct Client {
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Socket(PathBuf),
    Tcp {
        client: reqwest::Client,
        base: String,
        token: Option<String>,
    },
}

/// A request's body.
#[derive(Clone, Debug)]
pub enum Body {
    /// None.
    Empty,
    /// Bytes with their content type.
    Bytes(&'static str, Bytes),
}

impl Body {
    /// Makes a JSON body.
    ///
    /// # Errors
    /// When `value` is no JSON.
    pub fn json<T: Serialize>(value: &T) -> anyhow::Result<Self> {
        Ok(Self::Bytes(
            "application/json",
            serde_json::to_vec(value)?.into(),
        ))
    }
}

type Chunks = BoxStream<'static, anyhow::Result<Bytes>>;

impl Client {
    /// Chooses the way to the hub: `--hub` if given, else a socket that exists, else TCP.
    ///
    /// # Errors
    /// When the URL or token cannot be used.
    pub fn new(global: &Global) -> anyhow::Result<Self> {
        if global.hub.is_none()
            && let Some(path) = global.socket.clone().or_else(default_socket)
        {
            return Ok(Self {
                way: Way::Socket(path),
            });
        }
        let base = global.hub.clone().unwrap_or_else(|| DEFAULT_HUB.to_owned());
        let base = base.trim_end_matches('/').to_owned();
        let token = match &global.token {
            Some(token) => Some(token.trim().to_owned()),
            None => token_file(),
        };
        let mut builder =
            reqwest::Client::builder().connect_timeout(std::time::Duration::from_secs(5));
        if base.starts_with("http://") {
            // Without TLS the machine's own CA certificates do not matter, not even their absence.
            builder = builder.tls_certs_only([]);
        }
        let client = builder
            .build()
            .context("failed to set up the HTTP client")?;
        Ok(Self {
            way: Way::Tcp {
                client,
                base,
                token,
            },
        })
    }

    /// Says where the hub is, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.way {
            Way::Socket(path) => path.display().to_string(),
            Way::Tcp { base, .. } => base.clone(),
        }
    }

    /// Calls and reads the JSON answer.
    ///
    /// # Errors
    /// [`Failure::Refused`] when the hub refuses; otherwise what broke on the way.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> anyhow::Result<T> {
        let (_, mut chunks) = self.send(method, path, body, &[]).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        serde_json::from_slice(&bytes)
            .with_context(|| format!("the hub at {} answered {path} oddly", self.place()))
    }

    /// Reads one resource.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call(Method::GET, path, Body::Empty).await
    }

    /// Writes JSON and reads the answer.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> anyhow::Result<T> {
        self.call(Method::POST, path, Body::json(body)?).await
    }

    /// Opens a stream of server-sent events.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn events(
        &self,
        path: &str,
    ) -> anyhow::Result<BoxStream<'static, anyhow::Result<ServerEvent>>> {
        let accept = [("accept", "text/event-stream")];
        let (_, chunks) = self.send(Method::GET, path, Body::Empty, &accept).await?;
        Ok(server_events(chunks).boxed())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
        headers: &[(&'static str, &'static str)],
    ) -> anyhow::Result<(StatusCode, Chunks)> {
        let (status, mut chunks) = match &self.way {
            Way::Socket(socket) => socket::send(socket, method, path, body, headers)
                .await
                .with_context(|| unreachable_hub(&socket.display().to_string()))?,
            Way::Tcp {
                client,
                base,
                token,
            } => {
                let mut request = client.request(method, format!("{base}{path}"));
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                if let Body::Bytes(kind, bytes) = body {
                    request = request.header("content-type", kind).body(bytes);
                }
                let response = request
                    .send()
                    .await
                    .with_context(|| unreachable_hub(base))?;
                let status = response.status();
                (
                    status,
                    response.bytes_stream().map(|chunk| Ok(chunk?)).boxed(),
                )
            }
        };
        if status.is_success() {
            return Ok((status, chunks));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        let problem = serde_json::from_slice(&bytes).unwrap_or_else(|_| Problem {
            status: status.as_u16(),
            detail: format!("the hub at {} answered {status}", self.place()),
            ..Problem::default()
        });
        Err(anyhow!(Failure::Refused(Box::new(problem))))
    }
}

fn unreachable_hub(place: &str) -> String {
    format!("no hub answers at {place}; start one with `bellwether hub dev`, or name it with --hub")
}

/// Data directories of a hub on this machine, the running user's first.
#[must_use]
pub fn data_directories() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if !nix::unistd::geteuid().is_root()
        && let Some(home) = std::env::var_os("HOME")
    {
        found.push(Path::new(&home).join(".local/share/bellwether"));
    }
    found.push(PathBuf::from("/var/lib/bellwether"));
    found
}

fn default_socket() -> Option<PathBuf> {
    data_directories()
        .into_iter()
        .map(|dir| dir.join("hub.sock"))
        .find(|path| path.exists())
}

fn token_file() -> Option<String> {
    data_directories()
        .into_iter()
        .find_map(|dir| std::fs::read_to_string(dir.join("token")).ok())
        .map(|token| token.trim().to_owned())
}
