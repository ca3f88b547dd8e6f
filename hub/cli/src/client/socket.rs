//! One request over a Unix socket.

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::Body;

/// Sends one request on a connection of its own.
///
/// # Errors
/// When the socket does not answer.
pub async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: Body,
    headers: &[(&'static str, &'static str)],
) -> anyhow::Result<(StatusCode, BoxStream<'static, anyhow::Result<Bytes>>)> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .context("the socket speaks no HTTP")?;
    // Ends with the connection, which ends when the answer is read or dropped.
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = match body {
        Body::Empty => request.body(Full::new(Bytes::new()))?,
        Body::Bytes(kind, bytes) => request
            .header("content-type", kind)
            .body(Full::new(bytes))?,
    };
    let response = sender.send_request(request).await?;
    let status = response.status();
    let chunks = response
        .into_body()
        .into_data_stream()
        .map(|chunk| Ok(chunk?))
        .boxed();
    Ok((status, chunks))
}
