//! A Prometheus on this machine, and the series that it scrapes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    hub::{free_port, http_status},
    process::OwnedProcess,
    wait::until,
};

/// A series as it is shown next, and by how much it rises with every scrape.
#[derive(Clone, Copy, Debug)]
struct Series {
    value: f64,
    rises_by: f64,
}

type Shown = Arc<Mutex<BTreeMap<String, Series>>>;

/// Prometheus, which asks every second for what a test shows, until it is dropped.
#[derive(Debug)]
pub struct Prometheus {
    url: String,
    shown: Shown,
    _process: OwnedProcess,
    _exporter: Exporter,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts it on a free port of `host`, with nothing to show yet.
    ///
    /// # Errors
    /// When Prometheus is not installed, or does not become ready.
    pub fn start(host: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let shown = Shown::default();
        let exporter = Exporter::start(Arc::clone(&shown))?;
        let configuration = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: test, static_configs: [{{targets: [\"{}\"]}}]}}]\n",
            exporter.address
        );
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, configuration)?;
        let address = format!("{host}:{}", free_port()?);
        let log = directory.path().join("prometheus.log");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let process = OwnedProcess::start("Prometheus", &mut command)?;
        let url = format!("http://{address}");
        let ready = format!("{url}/-/ready");
        until(Duration::from_secs(30), "Prometheus to be ready", || {
            Ok(http_status(&ready).filter(|status| *status == 200))
        })
        .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self {
            url,
            shown,
            _process: process,
            _exporter: exporter,
            _directory: directory,
        })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Shows a series, such as `orders{app="web"}`, that stays at a value.
    pub fn show(&self, series: &str, value: f64) {
        let series_shown = Series {
            value,
            rises_by: 0.0,
        };
        lock(&self.shown).insert(series.to_owned(), series_shown);
    }

    /// Shows a series no longer, and waits until Prometheus has no value of it.
    ///
    /// # Errors
    /// When it goes on having one, or cannot be asked.
    pub fn hide(&self, series: &str) -> Result<()> {
        lock(&self.shown).remove(series);
        // Another test of this program may have chosen one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Runtime::new()?;
        let client = reqwest::Client::new();
        let url = format!("{}/api/v1/query", self.url);
        let limit = Duration::from_secs(30);
        until(limit, &format!("{series} to be gone"), || {
            let query = client.post(&url).form(&[("query", series)]).send();
            let answer = runtime.block_on(async { query.await?.text().await })?;
            let answer: serde_json::Value = serde_json::from_str(&answer)?;
            ensure!(answer["status"] == "success", "{answer}");
            let values = answer["data"]["result"].as_array().map_or(1, Vec::len);
            Ok((values == 0).then_some(()))
        })
    }

    /// Lets a series rise with every scrape from where it is, from 0 if it is not shown yet; 0 = it stays.
    pub fn raise(&self, series: &str, by: f64) {
        let mut shown = lock(&self.shown);
        let entry = shown.entry(series.to_owned()).or_insert(Series {
            value: 0.0,
            rises_by: by,
        });
        entry.rises_by = by;
    }
}

fn lock(shown: &Mutex<BTreeMap<String, Series>>) -> MutexGuard<'_, BTreeMap<String, Series>> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers every request with what is shown.
#[derive(Debug)]
struct Exporter {
    address: SocketAddr,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    fn start(shown: Shown) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stops = Arc::<AtomicBool>::default();
        let ends = Arc::clone(&stops);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    // Who breaks off asks again.
                    let _ = answer(stream, &shown);
                }
            }
        });
        Ok(Self {
            address,
            stops,
            thread: Some(thread),
        })
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        // Wakes the thread, which then sees that it shall stop.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, shown: &Mutex<BTreeMap<String, Series>>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        let count = stream.read(&mut chunk)?;
        ensure!(count > 0, "the request broke off");
        request.extend_from_slice(&chunk[..count]);
    }
    let mut text = String::new();
    for (name, series) in lock(shown).iter_mut() {
        writeln!(text, "{name} {}", series.value)?;
        series.value += series.rises_by;
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{text}",
        text.len()
    )?;
    Ok(())
}
