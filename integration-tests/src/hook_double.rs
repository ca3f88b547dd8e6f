//! A receiver of hooks that answers as a test says, and keeps what it was told.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result};

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The path, such as `/gate`.
    pub path: String,
    /// Headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Call {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| self.body.clone())
    }
}

#[derive(Debug, Default)]
struct Told {
    calls: Vec<Call>,
    /// By path: from which call on, from 1, it answers with which status.
    answers: BTreeMap<String, BTreeMap<usize, u16>>,
}

/// Where a redirect leads.
pub const ELSEWHERE: &str = "/elsewhere";

/// Answers on an address of the host until it is dropped. Paths without an answer get 200; redirects lead
/// [`ELSEWHERE`].
#[derive(Debug)]
pub struct HookDouble {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HookDouble {
    /// Listens on a free port of `host`.
    ///
    /// # Errors
    /// When the host has no such address.
    pub fn start(host: &str) -> Result<Self> {
        let listener = TcpListener::bind((host, 0)).with_context(|| host.to_owned())?;
        let address = listener.local_addr()?;
        let told = Arc::<Mutex<Told>>::default();
        let stops = Arc::<AtomicBool>::default();
        let (seen, ends) = (Arc::clone(&told), Arc::clone(&stops));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    // Who breaks off is the agent's affair.
                    let _ = answer(stream, &seen);
                }
            }
        });
        Ok(Self {
            address,
            told,
            stops,
            thread: Some(thread),
        })
    }

    /// The URL of a path, such as `/gate`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers every further call of a path with `status`.
    pub fn answers(&self, path: &str, status: u16) {
        let mut told = lock(&self.told);
        let next = told.calls.iter().filter(|call| call.path == path).count() + 1;
        told.answers
            .entry(path.to_owned())
            .or_default()
            .insert(next, status);
    }

    /// Answers a path with `status` from its call number `call` on, from 1.
    pub fn answers_from(&self, path: &str, call: usize, status: u16) {
        let mut told = lock(&self.told);
        told.answers
            .entry(path.to_owned())
            .or_default()
            .insert(call, status);
    }

    /// The calls of a path, oldest first.
    #[must_use]
    pub fn calls(&self, path: &str) -> Vec<Call> {
        let told = lock(&self.told);
        told.calls
            .iter()
            .filter(|call| call.path == path)
            .cloned()
            .collect()
    }
}

impl Drop for HookDouble {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(mut stream: TcpStream, told: &Mutex<Told>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    let call = loop {
        if let Some(call) = read(&text) {
            break call;
        }
        let count = stream.read(&mut chunk)?;
        anyhow::ensure!(count > 0, "the call broke off");
        text.extend_from_slice(&chunk[..count]);
    };
    let status = {
        let mut told = lock(told);
        let path = call.path.clone();
        told.calls.push(call);
        let number = told.calls.iter().filter(|call| call.path == path).count();
        let answers = told.answers.get(&path);
        let found = answers.and_then(|answers| answers.range(..=number).next_back());
        found.map_or(200, |(_, status)| *status)
    };
    let location = if (300..400).contains(&status) {
        format!("location: {ELSEWHERE}\r\n")
    } else {
        String::new()
    };
    let head =
        format!("HTTP/1.1 {status} -\r\n{location}content-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    Ok(())
}

/// Reads a whole request; `None` while a part of it is missing.
fn read(bytes: &[u8]) -> Option<Call> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    (body.len() >= length).then(|| Call {
        path,
        headers,
        body: body.to_owned(),
    })
}
