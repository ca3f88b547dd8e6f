//! Processes that cannot start, and callers that are not let in.

use std::{
    net::TcpListener,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use bellwether_integration_tests::{hub::free_port, process::workspace_binary, suite::Case};

use crate::Scene;

pub const CASES: &[Case<Scene>] = &[
    (
        "hub_without_postgres_says_what_to_install",
        "postgresless",
        hub_without_postgres,
    ),
    (
        "hub_whose_api_port_is_taken_says_which_flag",
        "apiport",
        api_port_taken,
    ),
    (
        "hub_whose_agent_port_is_taken_says_which_flag",
        "agentport",
        agent_port_taken,
    ),
    ("wrong_token_is_told", "wrongtoken", wrong_token),
    ("hub_that_is_not_there_is_told", "nohub", no_hub),
    (
        "kubeconfig_that_is_not_there_is_told",
        "nokubeconfig",
        no_kubeconfig,
    ),
];

/// Fails unless `output` is a failure with exactly one line of error that has all of `needed`.
fn one_sentence(output: &Output, needed: &[&str]) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {text}", output.status);
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    ensure!(errors.len() == 1, "not one sentence: {text}");
    println!("{}", errors[0]);
    for part in needed {
        ensure!(errors[0].contains(part), "{part:?} is not in: {text}");
    }
    Ok(())
}

fn start_hub(scene: &Scene, api: &str, agents: &str, more: &[&str]) -> Result<Output> {
    let mut command = Command::new(workspace_binary("bellwether-hub")?);
    command
        .arg("serve")
        .arg("--data-dir")
        .arg(scene.directory.join("hub"))
        .args(["--listen", api, "--agent-listen", agents])
        .args(more);
    command.output().context("failed to run the hub")
}

fn hub_without_postgres(scene: &Scene) -> Result<()> {
    let any = "127.0.0.1:0";
    let output = start_hub(scene, any, any, &["--postgres-bin", "/nowhere/at/all"])?;
    one_sentence(
        &output,
        &["/nowhere/at/all", "apt-get install -y postgresql"],
    )
}

fn api_port_taken(scene: &Scene) -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = start_hub(scene, &address, "127.0.0.1:0", &[])?;
    one_sentence(&output, &[&address, "--listen"])
}

fn agent_port_taken(scene: &Scene) -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = start_hub(scene, "127.0.0.1:0", &address, &[])?;
    one_sentence(&output, &[&address, "--agent-listen"])
}

fn call(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(workspace_binary("bellwether")?);
    command.args(arguments).env("NO_COLOR", "1");
    command.output().context("failed to run bellwether")
}

fn wrong_token(scene: &Scene) -> Result<()> {
    let output = call(&["--hub", &scene.url, "--token", "of-nobody", "get", "fleets"])?;
    one_sentence(
        &output,
        &[
            "does not know this token",
            "bellwether token create",
            "--token",
        ],
    )
}

fn no_hub(_: &Scene) -> Result<()> {
    let url = format!("http://127.0.0.1:{}", free_port()?);
    let output = call(&["--hub", &url, "get", "fleets"])?;
    one_sentence(&output, &[&url, "bellwether hub dev", "--hub"])
}

fn no_kubeconfig(scene: &Scene) -> Result<()> {
    let file = scene.directory.join("no-kubeconfig");
    let file = file.to_string_lossy();
    let output = call(&[
        "--hub",
        &scene.url,
        "register",
        "cluster",
        "c1",
        "--kubeconfig",
        &file,
        "--namespaces",
        "shop",
    ])?;
    one_sentence(&output, &[&file, "No such file"])?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(
        text.matches("No such file").count() == 1,
        "said twice: {text}"
    );
    Ok(())
}
