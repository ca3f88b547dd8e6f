//! The crates depend on each other only as the architecture allows, and there is one TLS provider.

use std::{collections::BTreeSet, process::Command};

use cargo_metadata::MetadataCommand;

/// Every crate edge that docs/ARCHITECTURE.md allows.
const ALLOWED: &[(&str, &[&str])] = &[
    ("bellwether-api", &[]),
    ("bellwether-proto", &["bellwether-api"]),
    ("bellwether-hub-core", &["bellwether-api"]),
    (
        "bellwether-store",
        &["bellwether-api", "bellwether-hub-core"],
    ),
    (
        "bellwether-hub",
        &[
            "bellwether-api",
            "bellwether-hub-core",
            "bellwether-proto",
            "bellwether-sources",
            "bellwether-store",
        ],
    ),
    ("bellwether-sources", &[]),
    ("bellwether", &["bellwether-api"]),
    ("bellwether-agent-core", &["bellwether-api"]),
    (
        "bellwether-agent",
        &[
            "bellwether-agent-core",
            "bellwether-api",
            "bellwether-proto",
        ],
    ),
];

/// Crates that only test and may depend on anything.
const TESTING: &[&str] = &[
    "bellwether-integration-tests",
    "bellwether-sim",
    "bellwether-bench",
];

#[test]
fn crates_depend_only_as_the_architecture_allows() {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let ours: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let known: BTreeSet<&str> = ALLOWED
        .iter()
        .map(|(name, _)| *name)
        .chain(TESTING.iter().copied())
        .collect();
    assert_eq!(
        ours, known,
        "a crate was added or removed: say what it may depend on"
    );
    for package in &metadata.packages {
        let Some((_, allowed)) = ALLOWED
            .iter()
            .find(|(name, _)| *name == package.name.as_str())
        else {
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != cargo_metadata::DependencyKind::Development)
        {
            let edge = dependency.name.as_str();
            assert!(
                !ours.contains(edge) || allowed.contains(&edge),
                "{} must not depend on {edge}",
                package.name
            );
        }
    }
}

#[test]
fn pure_crates_have_no_io_crates() {
    for package in ["bellwether-hub-core", "bellwether-agent-core"] {
        for forbidden in ["tokio", "sqlx", "reqwest", "rand"] {
            let output = Command::new(env!("CARGO"))
                .args([
                    "tree", "-p", package, "-e", "normal", "--depth", "1", "--prefix", "none",
                ])
                .output()
                .expect("cargo tree");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains(package),
                "cargo tree: {text}"
            );
            assert!(
                !text
                    .lines()
                    .any(|line| line.split(' ').next() == Some(forbidden)),
                "{package} must not depend on {forbidden}"
            );
        }
    }
}

#[test]
fn ring_is_not_in_the_graph() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "-e",
            "normal",
            "--target",
            "all",
            "--prefix",
            "none",
        ])
        .output()
        .expect("cargo tree");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("aws-lc-rs "),
        "cargo tree: {text}"
    );
    assert!(
        !text.lines().any(|line| line.starts_with("ring v")),
        "ring is in the graph"
    );
}
