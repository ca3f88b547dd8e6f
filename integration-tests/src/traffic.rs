//! Steady live traffic through the clusters' gateways, and its accounting.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{
    lab::{Lab, lab_command},
    process::OwnedProcess,
    request::answering_version,
    wait::until,
    weights::now_ms,
};

/// How long a data plane may take to serve what was installed.
const SERVED_LIMIT: Duration = Duration::from_secs(60);

/// How many requests a second go to each of a test's clusters, half of them on kept connections and half on
/// one of their own each. No test that counts lost requests sends fewer: a pod is gone for a moment only, and a
/// trickle misses that moment.
///
/// In one cluster it is 200 of each kind; in more of them it is 110 of each in each of them. Two cores have to carry
/// generator, gateways and pods beside the clusters themselves: two tests with 400 a second at a time take six tenths
/// of one core for them (gateway 0.27, generator 0.18, pods 0.12), 660 a second in three clusters seven (0.38, 0.19
/// and 0.10).
#[must_use]
pub const fn full_rate(clusters: usize) -> u32 {
    if clusters <= 1 { 400 } else { 220 }
}

/// How long requests go on after what a test is about.
const TAIL: Duration = Duration::from_secs(3);

/// Running traffic.
#[derive(Debug)]
pub struct Traffic {
    out: PathBuf,
    process: OwnedProcess,
}

/// What every request of a stream is.
#[derive(Clone, Copy, Debug)]
pub struct Requests<'a> {
    /// The host that is asked for.
    pub host: &'a str,
    /// The method, such as `GET`; none has a body.
    pub method: &'a str,
    /// Path and query, such as `/?debug=1`.
    pub path: &'a str,
}

/// Answers of one second, one cluster, one way of connecting, one version and status.
#[derive(Clone, Debug, Deserialize)]
pub struct Second {
    /// Start of the second, Unix milliseconds.
    pub t: i64,
    /// The cluster.
    pub cluster: String,
    /// `keepalive` or `close`.
    pub mode: String,
    /// The version that answered; empty when none did.
    #[serde(default)]
    pub version: String,
    /// The HTTP status; 0 when the connection failed.
    pub status: u16,
    /// How many answers.
    pub count: u64,
    /// How many of them came to a request that had to be sent again, as its kept connection ended.
    #[serde(default)]
    pub resent: u64,
    /// The first error's text; empty without one.
    #[serde(default)]
    pub error: String,
}

/// Answers over a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers by version, failed ones included.
    pub by_version: BTreeMap<String, u64>,
    /// Answers in all.
    pub total: u64,
    /// Answers that were no 2xx, or none at all.
    pub failed: u64,
    /// Requests that were sent again, as their kept connection ended before an answer began.
    pub resent: u64,
    /// The failures, by cluster, status and error.
    pub failures: BTreeMap<String, u64>,
}

impl Tally {
    /// Returns the share of one version in percent; 0 without requests.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "request counts stay far below 2^52"
    )]
    pub fn share_percent(&self, version: &str) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        *self.by_version.get(version).unwrap_or(&0) as f64 * 100.0 / self.total as f64
    }
}

impl Traffic {
    /// Starts `rate` requests a second to each of `clusters` for `host`, half on kept connections.
    ///
    /// # Errors
    /// As [`Self::start_through`].
    pub fn start(lab: &Lab, clusters: &[&str], host: &str, rate: u32, out: &Path) -> Result<Self> {
        Self::start_through("gateway", lab, clusters, host, rate, out)
    }

    /// Starts traffic through a data plane by its name in the lab: `gateway`, `nginx` or `contour`, once
    /// it serves `host`. It may follow what was installed just now only seconds later, and no rollout is to blame
    /// for what it answers until then.
    ///
    /// # Errors
    /// When `host` is not served within a minute, or the generator cannot be started.
    pub fn start_through(
        data_plane: &str,
        lab: &Lab,
        clusters: &[&str],
        host: &str,
        rate: u32,
        out: &Path,
    ) -> Result<Self> {
        let requests = Requests {
            host,
            method: "GET",
            path: "/",
        };
        Self::start_requests(data_plane, lab, clusters, requests, rate, out)
    }

    /// As [`Self::start_through`], with requests of any kind.
    ///
    /// # Errors
    /// As [`Self::start_through`].
    pub fn start_requests(
        data_plane: &str,
        lab: &Lab,
        clusters: &[&str],
        requests: Requests<'_>,
        rate: u32,
        out: &Path,
    ) -> Result<Self> {
        let host = requests.host;
        for name in clusters {
            let cluster = lab.cluster(name)?;
            let url = match data_plane {
                "nginx" => &cluster.nginx_url,
                "contour" => &cluster.contour_url,
                _ => &cluster.gateway_url,
            };
            until(SERVED_LIMIT, &format!("{name} to serve {host}"), || {
                Ok(answering_version(url, host, &[]).ok())
            })?;
        }
        let clusters = clusters.join(",");
        let rate = rate.to_string();
        let file = out.to_str().context("paths are UTF-8")?;
        let mut command = lab_command(&[
            "traffic",
            "--name",
            &lab.name,
            "--clusters",
            &clusters,
            "--through",
            data_plane,
            "--host",
            host,
            "--method",
            requests.method,
            "--path",
            requests.path,
            "--rate",
            &rate,
            "--keepalive",
            "both",
            // It ends by itself even when whoever started it was killed.
            "--duration",
            "10m",
            "--out",
            file,
        ]);
        let log = File::create(out.with_extension("log"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = OwnedProcess::start("the traffic generator", &mut command)?;
        Ok(Self {
            out: out.to_owned(),
            process,
        })
    }

    /// Stops the traffic and returns everything that was counted.
    ///
    /// # Errors
    /// When the generator does not stop or its file cannot be read.
    pub fn stop(mut self) -> Result<Vec<Second>> {
        self.process.stop(Duration::from_secs(30))?;
        read(&self.out)
    }

    /// Goes on for a moment, so that it is counted who answers once everything is over, and stops. Returns
    /// everything that was counted.
    ///
    /// # Errors
    /// When a request was lost, or when another version than `version` answered in that moment.
    pub fn none_lost(self, version: &str) -> Result<Vec<Second>> {
        let ended_ms = now_ms();
        std::thread::sleep(TAIL);
        let seconds = self.stop()?;
        let all = tally(&seconds, None, 0, i64::MAX);
        println!(
            "{} requests, {} failed, {} sent again",
            all.total, all.failed, all.resent
        );
        ensure!(
            all.total > 0 && all.failed == 0,
            "requests failed: {:?} of {}",
            all.failures,
            all.total
        );
        answered_by(&seconds, ended_ms, version)?;
        Ok(seconds)
    }

    /// Returns everything that was counted so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn so_far(&self) -> Result<Vec<Second>> {
        read(&self.out)
    }
}

fn read(path: &Path) -> Result<Vec<Second>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))?;
    // The last line may be half written while the generator runs.
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// Fails unless `version` alone answered in the whole seconds that begin at or after `from_ms`.
///
/// # Errors
/// When another one answered, or none.
pub fn answered_by(seconds: &[Second], from_ms: i64, version: &str) -> Result<()> {
    let after = tally(seconds, None, from_ms, i64::MAX);
    ensure!(
        after.total > 0 && after.share_percent(version) >= 100.0,
        "{version} does not answer alone in the end: {after:?}"
    );
    Ok(())
}

/// Adds up the whole seconds that begin at or after `from_ms` and end at or before `to_ms`.
#[must_use]
pub fn tally(seconds: &[Second], cluster: Option<&str>, from_ms: i64, to_ms: i64) -> Tally {
    let mut tally = Tally::default();
    for second in seconds {
        let inside = second.t >= from_ms && second.t + 1_000 <= to_ms;
        if !inside || cluster.is_some_and(|name| name != second.cluster) {
            continue;
        }
        tally.total += second.count;
        tally.resent += second.resent;
        *tally.by_version.entry(second.version.clone()).or_default() += second.count;
        if !(200..300).contains(&second.status) {
            tally.failed += second.count;
            let key = format!(
                "{} {} {} {} {}",
                second.cluster, second.mode, second.version, second.status, second.error
            );
            *tally.failures.entry(key).or_default() += second.count;
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::{Second, tally};

    fn second(t: i64, version: &str, status: u16, count: u64) -> Second {
        Second {
            t,
            cluster: "c1".into(),
            mode: "close".into(),
            version: version.into(),
            status,
            count,
            resent: count / 5,
            error: String::new(),
        }
    }

    #[test]
    fn counts_only_whole_seconds_inside_the_span() {
        let seconds = [
            second(0, "v1", 200, 5),
            second(1_000, "v2", 200, 7),
            second(2_000, "v2", 503, 1),
        ];
        let inside = tally(&seconds, Some("c1"), 500, 3_000);
        assert_eq!((inside.total, inside.failed, inside.resent), (8, 1, 1));
        assert_eq!(inside.by_version["v2"], 8);
        assert_eq!(tally(&seconds, Some("c2"), 0, 3_000).total, 0);
    }

    #[test]
    fn shares_are_percent() {
        let seconds = [second(0, "v1", 200, 30), second(0, "v2", 200, 10)];
        assert!((tally(&seconds, None, 0, 1_000).share_percent("v2") - 25.0).abs() < 1e-9);
    }
}
