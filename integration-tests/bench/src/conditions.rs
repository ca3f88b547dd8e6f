//! Under which conditions the figures came to be.

use std::{fs, process::Command};

use bellwether_integration_tests::process::repository;
use jiff::Timestamp;

use crate::plan::Plan;

/// What has to be known to read the figures.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// When the run began.
    pub at: Timestamp,
    /// The commit, with `+` where the tree differs from it.
    pub commit: String,
    /// Lines for people: machine, sharing, versions, profile.
    pub lines: Vec<String>,
}

impl Conditions {
    /// Looks at this machine.
    pub fn of_this_machine(plan: &Plan) -> Self {
        let profile = if cfg!(debug_assertions) {
            "dev profile: NOT comparable with the targets"
        } else {
            "release profile"
        };
        let mut lines = vec![
            format!("machine: {}", machine()),
            "hub, its Postgres, the load generator and (P3, P7, P9 agent, P10) the Kubernetes \
             clusters share these cores; all traffic stays on the machine (loopback and a bridge)"
                .to_owned(),
            format!(
                "built in the {profile}, {}",
                first_line("rustc", &["--version"])
            ),
            format!(
                "Postgres: {}, the hub's own with its default settings",
                postgres()
            ),
            "TLS 1.3, mutual, P-256 keys, a certificate per agent; aws-lc-rs".to_owned(),
            format!("load average when it began: {}", load_average()),
        ];
        if !plan.note.is_empty() {
            lines.push(format!("meanwhile: {}", plan.note));
        }
        Self {
            at: Timestamp::now(),
            commit: commit(),
            lines,
        }
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("model name"))?
                .to_owned();
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let memory_kib: u64 = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| text.lines().next()?.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores ({model}), {} GiB RAM, Linux {}",
        memory_kib / 1024 / 1024,
        kernel.trim()
    )
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

fn postgres() -> String {
    let newest = fs::read_dir("/usr/lib/postgresql").ok().and_then(|folder| {
        folder
            .filter_map(|entry| Some(entry.ok()?.path().join("bin/postgres")))
            .filter(|path| path.is_file())
            .max()
    });
    newest
        .and_then(|path| Some(first_line(path.to_str()?, &["--version"])))
        .unwrap_or_default()
}

fn commit() -> String {
    let head = git(&["rev-parse", "--short", "HEAD"]);
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    format!("{head}{}", if changed.is_empty() { "" } else { "+" })
}

fn git(arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(repository())
        .args(arguments)
        .output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .map(|output| {
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .unwrap_or_default()
}
