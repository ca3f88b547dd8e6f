//! The built-in load: requests at a bounded rate over a bounded number of connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bellwether_api::hooks::{Load, LoadProtocol};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

/// Shortest pause of a worker whose connection failed.
const PAUSE: Duration = Duration::from_millis(200);
/// Most of an answer that is read, in bytes; a longer one ends the connection.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What a load is made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadTarget {
    /// The URL, `http`.
    pub url: String,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long the load lasts; absent = until it is dropped.
    pub lasts: Option<Duration>,
}

/// Makes load while it lives.
#[derive(Debug)]
pub struct LoadGenerator {
    task: tokio::task::JoinHandle<()>,
    counted: Arc<Counted>,
}

/// What came of the requests.
#[derive(Debug, Default)]
struct Counted {
    answered: AtomicU64,
    failed: AtomicU64,
}

impl LoadGenerator {
    /// Starts. What cannot be requested at all makes no load, and says so in the log.
    #[must_use]
    pub fn start(load: Load, target: LoadTarget) -> Self {
        let counted = Arc::<Counted>::default();
        let task = tokio::spawn(run(load, target, Arc::clone(&counted)));
        Self { task, counted }
    }

    /// Requests that were answered, whatever the status, and those that were not.
    #[must_use]
    pub fn counted(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.counted.answered), read(&self.counted.failed))
    }
}

impl Drop for LoadGenerator {
    fn drop(&mut self) {
        self.task.abort();
        let (answered, failed) = self.counted();
        tracing::info!(answered, failed, "load ended");
    }
}

async fn run(load: Load, target: LoadTarget, counted: Arc<Counted>) {
    let Some(request) = Prepared::of(&load, &target.url) else {
        tracing::warn!("a load cannot be made: its URL, method or headers are none");
        return;
    };
    let request = Arc::new(request);
    let mut workers = JoinSet::new();
    let connections = load.concurrency.max(1);
    let beat = Duration::from_secs(1) * connections / load.rate.max(1);
    for number in 0..connections {
        // Spread over the beat, so that the rate is even.
        let first = Instant::now() + beat * number / connections;
        let (request, counted) = (Arc::clone(&request), Arc::clone(&counted));
        workers.spawn(work(
            request,
            load.protocol,
            target.timeout,
            (first, beat),
            counted,
        ));
    }
    let all = async { while workers.join_next().await.is_some() {} };
    match target.lasts {
        Some(lasts) => {
            let _over = timeout(lasts, all).await;
        }
        None => all.await,
    }
}

/// One request as it is sent again and again.
struct Prepared {
    method: Method,
    uri: Uri,
    host: HeaderValue,
    address: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Prepared {
    fn of(load: &Load, url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?.clone();
        let port = authority.port_u16().unwrap_or(80);
        let headers = load
            .headers
            .iter()
            .map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
            .collect::<Option<Vec<(HeaderName, HeaderValue)>>>()?;
        let named = headers.iter().find(|(name, _)| name == HOST);
        let host = match named {
            Some((_, host)) => host.clone(),
            None => HeaderValue::from_str(authority.as_str()).ok()?,
        };
        Some(Self {
            method: load.method.parse().ok()?,
            address: format!("{}:{port}", authority.host()),
            host,
            headers: headers
                .into_iter()
                .filter(|(name, _)| name != HOST)
                .collect(),
            uri,
        })
    }

    fn request(&self, protocol: LoadProtocol) -> Option<Request<Empty<Bytes>>> {
        let path = self.uri.path_and_query()?.as_str();
        let mut builder = Request::builder().method(self.method.clone());
        builder = match protocol {
            LoadProtocol::Http1 => builder.uri(path).header(HOST, self.host.clone()),
            // HTTP/2 names the host in the URI.
            LoadProtocol::Http2 => {
                builder.uri(format!("http://{}{path}", self.host.to_str().ok()?))
            }
        };
        for (name, value) in &self.headers {
            builder = builder.header(name.clone(), value.clone());
        }
        builder.body(Empty::new()).ok()
    }
}

enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Connection {
    async fn is_open(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}

async fn work(
    prepared: Arc<Prepared>,
    protocol: LoadProtocol,
    limit: Duration,
    (first, beat): (Instant, Duration),
    counted: Arc<Counted>,
) {
    let mut beat = interval_at(first, beat);
    // What is late is not made up for: the rate is the most there is.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = None;
    loop {
        beat.tick().await;
        let sent = timeout(limit, once(&prepared, protocol, &mut connection)).await;
        if sent == Ok(Some(())) {
            counted.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            counted.failed.fetch_add(1, Ordering::Relaxed);
            connection = None;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Sends one request, over a new connection where there is none; `None` = it was not answered.
async fn once(
    prepared: &Prepared,
    protocol: LoadProtocol,
    connection: &mut Option<Connection>,
) -> Option<()> {
    let kept = match connection.take() {
        // Many servers end a connection after a number of requests.
        Some(mut kept) => kept.is_open().await.then_some(kept),
        None => None,
    };
    let mut open = match kept {
        Some(open) => open,
        None => connect(&prepared.address, protocol).await?,
    };
    let request = prepared.request(protocol)?;
    let answer = match &mut open {
        Connection::Http1(sender) => sender.send_request(request).await,
        Connection::Http2(sender) => sender.send_request(request).await,
    };
    let mut body = answer.ok()?.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.ok()?.data_ref().map_or(0, Bytes::len);
        if read > MAX_ANSWER_BYTES {
            return Some(());
        }
    }
    *connection = Some(open);
    Some(())
}

async fn connect(address: &str, protocol: LoadProtocol) -> Option<Connection> {
    let stream = TcpStream::connect(address).await.ok()?;
    let io = TokioIo::new(stream);
    // The driver ends with its connection.
    match protocol {
        LoadProtocol::Http1 => {
            let (sender, driver) = http1::handshake(io).await.ok()?;
            tokio::spawn(driver);
            Some(Connection::Http1(sender))
        }
        LoadProtocol::Http2 => {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.ok()?;
            tokio::spawn(driver);
            Some(Connection::Http2(sender))
        }
    }
}

#[cfg(test)]
mod tests;
