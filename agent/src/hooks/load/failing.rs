//! Why a load fails, and when that is told.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use super::Tell;
use crate::{desired::chain, metrics::SecretError};

/// Requests that fail one after the other until that is told: single ones fail while pods come and go.
const MANY: u64 = 10;

/// Why a load, or one request of it, failed. It holds no word of a path, a query or a header but `Host`.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// What the load says makes no request.
    #[error("failed to make requests: their {what} cannot be used")]
    NoRequest {
        /// What of it.
        what: &'static str,
    },
    /// The Secret with the authorities could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It holds none.
    #[error("failed to trust anybody: caSecretRef holds no certificates as PEM")]
    NoCertificates,
    /// The system names nobody to trust.
    #[error(
        "failed to trust anybody: the agent's system has no authorities; name yours in caSecretRef"
    )]
    NoAuthorities(#[source] rustls::Error),
    /// TLS itself is not to be had.
    #[error("failed to set up TLS")]
    NoTls(#[source] rustls::Error),
    /// There is nobody at the address.
    #[error("failed to connect to {address}")]
    Connect {
        /// As `host:port`.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The server's certificate was refused.
    #[error("failed to agree on TLS with {name}: its certificate is refused: {why}")]
    Certificate {
        /// Who the server should be.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server does not speak what the load speaks.
    #[error("failed to agree on TLS with {name}: it does not choose {wanted} by ALPN")]
    Protocol {
        /// Who the server should be.
        name: String,
        /// The protocol by its name in ALPN.
        wanted: &'static str,
    },
    /// TLS failed in another way.
    #[error("failed to agree on TLS with {name}")]
    Tls {
        /// Who the server should be.
        name: String,
        /// Why.
        source: rustls::Error,
    },
    /// The connection broke.
    #[error("failed to get an answer from {address}")]
    Broken {
        /// As `host:port`.
        address: String,
        /// Why.
        source: hyper::Error,
    },
    /// There was no answer in time.
    #[error("failed to get an answer from {address} in {limit:?}")]
    Late {
        /// As `host:port`.
        address: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

impl LoadError {
    /// Whether the next request will fail too, unless somebody does something about it.
    const fn lasts(&self) -> bool {
        !matches!(
            self,
            Self::Connect { .. } | Self::Broken { .. } | Self::Late { .. }
        )
    }
}

/// Tells why a load fails, once.
pub(super) struct Failing {
    tell: Tell,
    in_a_row: AtomicU64,
    told: AtomicBool,
}

impl Failing {
    pub(super) fn new(tell: Tell) -> Self {
        Self {
            tell,
            in_a_row: AtomicU64::new(0),
            told: AtomicBool::new(false),
        }
    }

    /// Takes note of a request that was answered.
    pub(super) fn answered(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
    }

    /// Takes note of a failure.
    pub(super) fn failed(&self, error: &LoadError) {
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if !error.lasts() && in_a_row < MANY {
            return;
        }
        if !self.told.swap(true, Ordering::Relaxed) {
            let why = chain(error);
            tracing::warn!(why, "a load fails");
            (self.tell)(&why);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn failing() -> (Failing, Arc<Mutex<Vec<String>>>) {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&told);
        let tell = move |why: &str| {
            heard
                .lock()
                .expect("no test panics here")
                .push(why.to_owned());
        };
        (Failing::new(Box::new(tell)), told)
    }

    fn late() -> LoadError {
        LoadError::Late {
            address: "web:80".into(),
            limit: Duration::from_secs(5),
        }
    }

    #[test]
    fn single_failures_are_not_told_and_many_in_a_row_are_once() {
        let (failing, told) = failing();
        for _ in 0..MANY * 3 {
            for _ in 1..MANY {
                failing.failed(&late());
            }
            failing.answered();
        }
        assert_eq!(told.lock().expect("no test panics here").len(), 0);
        for _ in 0..MANY * 3 {
            failing.failed(&late());
        }
        let told = told.lock().expect("no test panics here").clone();
        assert_eq!(told, ["failed to get an answer from web:80 in 5s"]);
    }

    #[test]
    fn what_does_not_mend_by_itself_is_told_at_once() {
        let (failing, told) = failing();
        failing.failed(&LoadError::NoCertificates);
        failing.failed(&LoadError::NoCertificates);
        assert_eq!(told.lock().expect("no test panics here").len(), 1);
    }
}
