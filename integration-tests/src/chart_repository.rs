//! A Helm repository over plain HTTP, of the charts that lie in `integration-tests/charts`, and of charts of others.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::stock_chart::StockChart;

/// What is served, by path.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Serves an index and archives on an address of this machine until it is dropped.
#[derive(Debug)]
pub struct ChartRepository {
    address: SocketAddr,
    files: Files,
    versions: Vec<(String, String)>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ChartRepository {
    /// Serves an empty repository on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When nothing can be served.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (files, stops) = (Files::default(), Arc::new(AtomicBool::new(false)));
        let (served, stopped) = (Arc::clone(&files), Arc::clone(&stops));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                // Who breaks off asks again.
                let _ = answer(stream, &served);
            }
        });
        Ok(Self {
            address,
            files,
            versions: Vec::new(),
            stops,
            thread: Some(thread),
        })
    }

    /// Serves a chart of `integration-tests/charts` under a version, [`packed`] with these files in place of its
    /// own.
    ///
    /// # Errors
    /// When there is no such chart, or it cannot be packed.
    pub fn publish(&mut self, chart: &str, version: &str, changed: &[(&str, &str)]) -> Result<()> {
        let archive = packed(chart, version, changed)?;
        self.serve(chart, version, archive);
        Ok(())
    }

    /// Serves a chart of somebody else as it is.
    ///
    /// # Errors
    /// When it cannot be had, or is not what was pinned.
    pub fn publish_stock(&mut self, chart: &StockChart) -> Result<()> {
        self.serve(chart.name, chart.version, chart.packed()?);
        Ok(())
    }

    fn serve(&mut self, chart: &str, version: &str, archive: Vec<u8>) {
        self.versions.push((chart.to_owned(), version.to_owned()));
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(format!("/{chart}-{version}.tgz"), archive);
        files.insert("/index.yaml".to_owned(), index(&self.versions).into_bytes());
    }

    /// Its address, as a component names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Packs a chart of `integration-tests/charts` under a version, with these files in place of its own; an empty
/// text leaves the file out.
///
/// # Errors
/// When there is no such chart, or it cannot be packed.
pub fn packed(chart: &str, version: &str, changed: &[(&str, &str)]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    unpacked(chart, version, changed, folder.path())?;
    packed_folder(&folder.path().join(chart))
}

/// Packs the folder of a chart, which has the chart's name.
///
/// # Errors
/// When there is no such folder, or it cannot be packed.
pub fn packed_folder(folder: &Path) -> Result<Vec<u8>> {
    let parent = folder.parent().context("a folder within another")?;
    let packed = Command::new("tar")
        // What is read only in Go's module cache can be deleted where it is unpacked.
        .args(["--mode=u+w", "--owner=0", "--group=0", "--mtime=@0"])
        .args(["--sort=name", "-cz", "-C"])
        .arg(parent)
        .arg(folder.file_name().context("a folder with a name")?)
        .output()?;
    ensure!(packed.status.success(), "the chart cannot be packed");
    Ok(packed.stdout)
}

/// Copies a chart of `integration-tests/charts` into a folder of its name in `into`, under a version,
/// with these files in place of its own; an empty text leaves the file out.
///
/// # Errors
/// When there is no such chart, or it cannot be copied.
pub fn unpacked(chart: &str, version: &str, changed: &[(&str, &str)], into: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("charts")
        .join(chart);
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&source)
        .arg(into)
        .status()?;
    ensure!(copied.success(), "{} cannot be copied", source.display());
    let root = into.join(chart);
    let meta = root.join("Chart.yaml");
    let text = std::fs::read_to_string(&meta)?;
    std::fs::write(
        &meta,
        text.replace("version: 1.0.0", &format!("version: {version}")),
    )?;
    for (path, text) in changed {
        let file = root.join(path);
        let written = match *text {
            "" => std::fs::remove_file(file),
            text => std::fs::write(file, text),
        };
        written.with_context(|| (*path).to_owned())?;
    }
    Ok(())
}

fn index(versions: &[(String, String)]) -> String {
    let mut charts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (chart, version) in versions {
        charts.entry(chart).or_default().push(format!(
            "{{apiVersion: v2, name: {chart}, version: {version}, urls: [{chart}-{version}.tgz]}}"
        ));
    }
    let entries: Vec<String> = charts
        .into_iter()
        .map(|(chart, versions)| format!("  {chart}: [{}]\n", versions.join(", ")))
        .collect();
    format!("apiVersion: v1\nentries:\n{}", entries.concat())
}

fn answer(mut stream: TcpStream, files: &Files) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8_lossy(&request);
    let path = text.split_whitespace().nth(1).unwrap_or_default();
    let found = files
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(path)
        .cloned();
    let (status, body) = match found {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", Vec::new()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)?;
    Ok(())
}

impl Drop for ChartRepository {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that it shall stop.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
