//! A Git repository made for a test, and Git's own server program behind HTTP.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Response, StatusCode, header},
};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

pub struct Repository {
    root: TempDir,
}

impl Repository {
    /// Makes a repository with a first commit on `main`: a chart-like tree with a script.
    pub fn new() -> Self {
        let repository = Self {
            root: tempfile::tempdir().expect("a directory"),
        };
        std::fs::create_dir(repository.path()).expect("a directory");
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.write("deploy/app.yaml", "version: 1\n");
        repository.write("deploy/run.sh", "#!/bin/sh\n");
        let script = repository.path().join("deploy/run.sh");
        std::fs::set_permissions(script, Permissions::from_mode(0o755)).expect("a mode");
        repository.write("README.md", "read me\n");
        repository.commit("one");
        repository
    }

    pub fn path(&self) -> PathBuf {
        self.root.path().join("shop")
    }

    pub fn write(&self, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, contents).expect("a file");
    }

    /// Commits everything and returns the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .expect("git");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {complaint}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .to_owned()
    }

    /// Returns a server of this repository at `/shop/.git`, and what it has seen.
    pub fn app(&self, authorization: Option<&str>) -> (Router, Seen) {
        let seen = Seen::default();
        let backend = Backend {
            root: self.root.path().to_owned(),
            authorization: authorization.map(str::to_owned),
            seen: seen.clone(),
        };
        (Router::new().fallback(answer).with_state(backend), seen)
    }
}

/// What a server has seen.
#[derive(Clone, Default)]
pub struct Seen {
    pub requests: Arc<Mutex<Vec<String>>>,
    /// Command lines of this machine that had the secret in them while a request with it was served.
    pub leaks: Arc<Mutex<Vec<String>>>,
}

impl Seen {
    pub fn count(&self, part: &str) -> usize {
        let requests = self.requests.lock().expect("no panic");
        requests
            .iter()
            .filter(|request| request.contains(part))
            .count()
    }
}

#[derive(Clone)]
struct Backend {
    root: PathBuf,
    authorization: Option<String>,
    seen: Seen,
}

async fn answer(State(backend): State<Backend>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri);
    backend.seen.requests.lock().expect("no panic").push(line);
    if let Some(expected) = &backend.authorization {
        let sent = parts.headers.get(header::AUTHORIZATION);
        if sent.map(|value| value.as_bytes()) != Some(expected.as_bytes()) {
            return Response::builder()
                .status(StatusCode::UNAUTHORIZED)
                .header(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")
                .body(Body::empty())
                .expect("an answer");
        }
        let secret = expected.split(' ').next_back().expect("a secret");
        let leaks = command_lines()
            .into_iter()
            .filter(|line| line.contains(secret));
        backend.seen.leaks.lock().expect("no panic").extend(leaks);
    }
    let body = body.collect().await.expect("a body").to_bytes();
    let output = git_backend(
        &backend.root,
        &parts.method,
        &parts.uri,
        &parts.headers,
        &body,
    )
    .await;
    cgi(&output)
}

fn command_lines() -> Vec<String> {
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .collect()
}

async fn git_backend(
    root: &Path,
    method: &axum::http::Method,
    uri: &axum::http::Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Vec<u8> {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("HTTP_GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("git http-backend");
    let mut stdin = child.stdin.take().expect("piped");
    let body = body.clone();
    let write = tokio::spawn(async move { stdin.write_all(&body).await });
    let output = child.wait_with_output().await.expect("git http-backend");
    let _ = write.await;
    output.stdout
}

fn cgi(output: &[u8]) -> Response<Body> {
    let end = output.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.expect("git http-backend answers with a header");
    let head = String::from_utf8_lossy(&output[..end]);
    let mut response = Response::builder();
    for line in head.lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        response = match name {
            "Status" => response.status(&value[..3]),
            name => response.header(name, value),
        };
    }
    let body = Body::from(output[end + 4..].to_vec());
    response.body(body).expect("an answer")
}
