//! What stands before several hubs, as a Service does: agents dial one address and reach one of them.

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context, Result};

/// A connection that is led on.
#[derive(Debug)]
struct Led {
    from: TcpStream,
    to: TcpStream,
    hub: u16,
    ended: Arc<AtomicBool>,
}

/// Leads connections on, to one hub after the other, until it is dropped. Who does not listen is passed over.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    led: Arc<Mutex<Vec<Led>>>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on `port` of every address of this machine and leads to the ports `hubs` of it, never empty.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(port: u16, hubs: &[u16]) -> Result<Self> {
        let listener = TcpListener::bind(("0.0.0.0", port))
            .with_context(|| format!("failed to listen on port {port}"))?;
        let led = Arc::<Mutex<Vec<Led>>>::default();
        let stops = Arc::<AtomicBool>::default();
        let (hubs, list, ends) = (hubs.to_vec(), Arc::clone(&led), Arc::clone(&stops));
        let thread = std::thread::spawn(move || {
            for (next, from) in listener.incoming().enumerate() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                // Who cannot be led on is cut off, and dials again.
                if let Ok(from) = from
                    && let Some((to, hub)) = first_that_listens(&hubs, next)
                    && let Ok(one) = lead(from, to, hub)
                {
                    lock(&list).push(one);
                }
            }
        });
        Ok(Self {
            port,
            led,
            stops,
            thread: Some(thread),
        })
    }

    /// Counts the connections to the hub at port `hub` that last.
    #[must_use]
    pub fn connections(&self, hub: u16) -> usize {
        let led = lock(&self.led);
        led.iter()
            .filter(|one| one.hub == hub && !one.ended.load(Ordering::Relaxed))
            .count()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for one in lock(&self.led).iter() {
            end(&one.from, &one.to);
        }
    }
}

fn lock(led: &Mutex<Vec<Led>>) -> MutexGuard<'_, Vec<Led>> {
    led.lock().unwrap_or_else(PoisonError::into_inner)
}

fn first_that_listens(hubs: &[u16], next: usize) -> Option<(TcpStream, u16)> {
    let from_next = hubs.iter().cycle().skip(next % hubs.len());
    from_next.take(hubs.len()).find_map(|hub| {
        let stream = TcpStream::connect(("127.0.0.1", *hub)).ok()?;
        Some((stream, *hub))
    })
}

/// Copies both ways until one end is done; then both are.
fn lead(from: TcpStream, to: TcpStream, hub: u16) -> Result<Led> {
    let ended = Arc::<AtomicBool>::default();
    for (one, other) in [(&from, &to), (&to, &from)] {
        one.set_nodelay(true)?;
        let (mut source, mut sink) = (one.try_clone()?, other.try_clone()?);
        let over = Arc::clone(&ended);
        std::thread::spawn(move || {
            let _broken = std::io::copy(&mut source, &mut sink);
            over.store(true, Ordering::Relaxed);
            end(&source, &sink);
        });
    }
    Ok(Led {
        from,
        to,
        hub,
        ended,
    })
}

fn end(one: &TcpStream, other: &TcpStream) {
    for stream in [one, other] {
        // It may be closed already.
        let _closed = stream.shutdown(Shutdown::Both);
    }
}
