//! How many fetches go to one host at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns of fetches: so many in all, and so many a host.
#[derive(Debug)]
pub(crate) struct Hosts {
    all: Arc<Semaphore>,
    each: usize,
    by_host: Mutex<BTreeMap<String, Weak<Semaphore>>>,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _host: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Hosts {
    pub fn new(all: usize, each: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all.max(1))),
            each: each.max(1),
            by_host: Mutex::default(),
        }
    }

    /// Waits for a turn. The host's own comes first, so that a slow host holds nothing of others.
    pub async fn turn(&self, host: &str) -> Turn {
        let semaphore = self.of(host);
        let host = semaphore.acquire_owned().await.expect("it is never closed");
        let all = Arc::clone(&self.all);
        let all = all.acquire_owned().await.expect("it is never closed");
        Turn {
            _host: host,
            _all: all,
        }
    }

    fn of(&self, host: &str) -> Arc<Semaphore> {
        let mut by_host = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = by_host.get(host).and_then(Weak::upgrade) {
            return semaphore;
        }
        by_host.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.each));
        by_host.insert(host.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn turns_are_bounded_by_host_and_in_all() {
        let hosts = Hosts::new(3, 2);
        let take = |host: &'static str| hosts.turn(host).now_or_never();
        let first = take("a").expect("free");
        let _second = take("a").expect("free");
        assert!(take("a").is_none(), "two a host");
        let _third = take("b").expect("another host is free");
        assert!(take("c").is_none(), "three in all");
        drop(first);
        let _fourth = take("c").expect("one has ended");
        assert!(hosts.by_host.lock().expect("no panic").len() <= 3);
    }
}
