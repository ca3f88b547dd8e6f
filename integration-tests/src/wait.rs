//! Waiting for conditions, never for time.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Asks `condition` until it gives a value; fails after `limit`, naming what was waited for.
///
/// # Errors
/// When the time is up, or when `condition` fails.
pub fn until<T>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {limit:?} for {what} in vain");
        }
        sleep(Duration::from_millis(100));
    }
}
