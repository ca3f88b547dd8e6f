//! Memory and processor time of processes, from /proc.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

/// Clock ticks a second in /proc/PID/stat: fixed on Linux for user space.
const TICKS_PER_SECOND: u64 = 100;

/// Resident memory of a process, in KiB.
///
/// # Errors
/// When the process is gone.
pub fn rss_kib(pid: u32) -> Result<u64> {
    field_kib(pid, "smaps_rollup", "Rss:")
}

/// Proportional resident memory of a process (shared pages counted by share), in KiB.
///
/// # Errors
/// When the process is gone.
pub fn pss_kib(pid: u32) -> Result<u64> {
    field_kib(pid, "smaps_rollup", "Pss:")
}

/// The most resident memory that a process ever had, in KiB.
///
/// # Errors
/// When the process is gone.
pub fn peak_rss_kib(pid: u32) -> Result<u64> {
    field_kib(pid, "status", "VmHWM:")
}

/// An amount of memory for people.
#[expect(clippy::cast_precision_loss, reason = "memory in KiB fits 52 bits")]
pub fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1_024.0)
}

fn field_kib(pid: u32, file: &str, field: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix(field)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .with_context(|| format!("{path} has no {field}"))
}

/// How many threads a process has.
///
/// # Errors
/// When the process is gone.
pub fn threads(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

/// Processor time of the threads that a process has now, to the nanosecond: clock ticks miss what
/// wakes for less than one.
///
/// # Errors
/// When the process is gone, or the kernel keeps no such account.
pub fn cpu_of_threads(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path().join("schedstat");
        // A thread may end between the two reads.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let running = text.split_whitespace().next();
        nanos += running
            .and_then(|text| text.parse::<u64>().ok())
            .with_context(|| format!("{} is not understood", path.display()))?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Processor time of a process so far, its ended children's included.
///
/// # Errors
/// When the process is gone.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = Stat::read(pid)?;
    Ok(stat.cpu)
}

/// Processor time of a process and everything below it.
///
/// # Errors
/// When the process is gone.
pub fn cpu_of_tree(root: u32) -> Result<Duration> {
    let mut total = cpu(root)?;
    let all: Vec<(u32, Stat)> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Stat::read(pid).ok()?)))
        .collect();
    let mut level = vec![root];
    while !level.is_empty() {
        let below: Vec<&(u32, Stat)> = all
            .iter()
            .filter(|(_, stat)| level.contains(&stat.parent))
            .collect();
        total += below.iter().map(|(_, stat)| stat.cpu).sum::<Duration>();
        level = below.iter().map(|(pid, _)| *pid).collect();
    }
    Ok(total)
}

struct Stat {
    parent: u32,
    cpu: Duration,
}

impl Stat {
    fn read(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&text).with_context(|| format!("/proc/{pid}/stat is not understood"))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name stands in brackets and may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks: u64 = fields
            .get(11..15)?
            .iter()
            .filter_map(|text| text.parse::<u64>().ok())
            .sum();
        let cpu = Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            cpu,
        })
    }
}

/// The postmaster of the Postgres that a hub runs for itself, by its data folder.
///
/// # Errors
/// When none is found.
pub fn postmaster(hub_data: &Path) -> Result<u32> {
    let folder = hub_data.join("postgres");
    let mut folders = vec![folder.clone()];
    folders.extend(
        fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .filter_map(|e| Some(e.ok()?.path())),
    );
    folders
        .iter()
        .find_map(|folder| {
            let text = fs::read_to_string(folder.join("postmaster.pid")).ok()?;
            text.lines().next()?.trim().parse().ok()
        })
        .with_context(|| format!("no Postgres runs in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Stat;

    #[test]
    fn names_with_brackets_are_read() {
        let text = "7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 100 50 7 3 20 0 1 0 5 0 0";
        let stat = Stat::parse(text).expect("it is understood");
        assert_eq!((stat.parent, stat.cpu), (3, Duration::from_millis(1_600)));
    }
}
