//! A Git repository of this machine behind Git's own server program.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// The repository's folder, which is part of its address.
const NAME: &str = "fleet";

/// Serves one repository over plain HTTP on an address of this machine until it is dropped.
#[derive(Debug)]
pub struct GitServer {
    root: TempDir,
    address: SocketAddr,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl GitServer {
    /// Serves an empty repository, whose branch is `main`, on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When there is no Git, or nothing can be served.
    pub fn start() -> Result<Self> {
        let root = tempfile::tempdir()?;
        std::fs::create_dir(root.path().join(NAME))?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stops = Arc::new(AtomicBool::new(false));
        let (stopped, served) = (Arc::clone(&stops), root.path().to_owned());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    // Who breaks off asks again.
                    let _ = answer(stream, &served);
                }
            }
        });
        let server = Self {
            root,
            address,
            stops,
            thread: Some(thread),
        };
        server.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(server)
    }

    /// Its address, as a record names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/{NAME}/.git", self.address)
    }

    /// The working copy.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.root.path().join(NAME)
    }

    /// Writes a file of the working copy.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.folder().join(path);
        std::fs::create_dir_all(file.parent().context("a folder")?)?;
        std::fs::write(file, text).with_context(|| path.to_owned())
    }

    /// Commits everything as it is in the working copy, what is gone there too; gives the commit.
    ///
    /// # Errors
    /// When Git refuses.
    pub fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs Git in the working copy and gives what it printed.
    ///
    /// # Errors
    /// When Git fails; the error carries what it said.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(arguments)
            .current_dir(self.folder())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .context("failed to run git")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "git {arguments:?}: {said}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that it shall stop.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What Git's server program needs to know of a request.
#[derive(Default)]
struct Asked {
    method: String,
    path: String,
    query: String,
    kind: String,
    encoding: String,
    protocol: String,
    body: Vec<u8>,
}

fn read(stream: &TcpStream) -> Result<Asked> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let mut asked = Asked {
        method: words.next().unwrap_or_default().to_owned(),
        ..Asked::default()
    };
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (asked.path, asked.query) = (path.to_owned(), query.to_owned());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "content-type" => asked.kind = value,
            "content-encoding" => asked.encoding = value,
            "git-protocol" => asked.protocol = value,
            "content-length" => length = value.parse()?,
            "transfer-encoding" => anyhow::bail!("fetches are small and sent at once"),
            _ => {}
        }
    }
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body)?;
    Ok(asked)
}

fn answer(mut stream: TcpStream, root: &Path) -> Result<()> {
    let asked = read(&stream)?;
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("PATH_INFO", &asked.path)
        .env("QUERY_STRING", &asked.query)
        .env("REQUEST_METHOD", &asked.method)
        .env("CONTENT_TYPE", &asked.kind)
        .env("CONTENT_LENGTH", asked.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", &asked.encoding)
        .env("HTTP_GIT_PROTOCOL", &asked.protocol)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("piped")?;
    stdin.write_all(&asked.body)?;
    drop(stdin);
    let output = child.wait_with_output()?.stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.context("git http-backend answers with a header")?;
    let head = String::from_utf8_lossy(&output[..end]);
    let (mut status, mut headers) = ("200 OK".to_owned(), String::new());
    for line in head.lines() {
        match line.strip_prefix("Status: ") {
            Some(said) => said.clone_into(&mut status),
            None => headers.push_str(&format!("{line}\r\n")),
        }
    }
    let body = &output[end + 4..];
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    Ok(())
}
