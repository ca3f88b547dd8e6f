//! Against a real server on a socket.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

/// A kubeconfig of a server without TLS, for as long as its directory is kept.
pub(crate) fn kubeconfig(server: SocketAddr) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kubeconfig");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": format!("http://{server}")}}],
        "users": [{"name": "agent", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "agent"}}],
    });
    std::fs::write(&path, kubeconfig.to_string()).expect("a file");
    (directory, path)
}

fn version() -> String {
    json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0",
        "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "",
        "compiler": "", "platform": ""})
    .to_string()
}

/// 429 with `Retry-After` is no failure of what was asked: it is asked again when the server said.
#[tokio::test]
async fn a_busy_api_server_is_asked_again_when_it_says() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut chunk = [0; 4096];
            let _ = stream.read(&mut chunk).await;
            let body = version();
            let head = match count.fetch_add(1, Ordering::Relaxed) {
                0 => "429 Too Many Requests\r\nretry-after: 1",
                _ => "200 OK\r\ncontent-type: application/json",
            };
            let answer = format!(
                "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let (_directory, path) = kubeconfig(address);
    let requests = Counter::default();
    let client = client(Some(&path), requests).await.expect("a client");
    let began = Instant::now();
    let version = client.apiserver_version().await.expect("an answer at last");
    assert_eq!(version.git_version, "v1.33.0");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "it waited as it was told: {:?}",
        began.elapsed()
    );
}

/// A connection that lay idle for nearly as long as the API server may be silent is as good as a new one.
#[tokio::test]
async fn the_time_that_a_connection_lay_idle_is_not_the_next_answers() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let limit = Duration::from_secs(2);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut chunk = [0; 4096];
        let mut pause = Duration::ZERO;
        while stream.read(&mut chunk).await.is_ok_and(|count| count > 0) {
            tokio::time::sleep(pause).await;
            pause = limit / 2;
            let body = version();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let (_directory, path) = kubeconfig(address);
    let read = Kubeconfig::read_from(&path).expect("it was just written");
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let client = Client::try_from(bounded(config.expect("a whole one"), limit)).expect("a client");
    client.apiserver_version().await.expect("an answer");
    tokio::time::sleep(limit * 3 / 4).await;
    client
        .apiserver_version()
        .await
        .expect("the answer came in half of its time");
}
