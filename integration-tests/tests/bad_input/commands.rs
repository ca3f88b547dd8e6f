//! Commands that end otherwise than with 0: their exit codes are part of what they say.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use anyhow::{Result, ensure};
use bellwether_integration_tests::{cli::Answer, process::workspace_binary, suite::Case};

use crate::Scene;

pub const CASES: &[Case<Scene>] = &[
    ("lint_needs_no_hub_and_says_where", "linted", lint),
    (
        "diff_ends_as_kubectl_diff_does_where_it_cannot_tell",
        "compared",
        diff,
    ),
    ("wait_ends_in_time_and_by_code", "waited", wait),
    (
        "detach_says_why_and_keeps_the_clusters_place",
        "detached",
        detach,
    ),
];

const APPLICATION: &str = "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {name: NAME, namespace: default}
spec:
  destination: {selector: {matchLabels: {nobody: has-this}}}
  components:
  - name: web
    manifests: [{apiVersion: v1, kind: ConfigMap, metadata: {name: web}}]
";

fn ended(answer: &Answer, code: i32, needed: &str) -> Result<()> {
    let text = format!("{}{}", answer.stdout, answer.stderr);
    ensure!(answer.code == code, "exit code {}: {text}", answer.code);
    ensure!(text.contains(needed), "{needed:?} is not in: {text}");
    Ok(())
}

fn lint(scene: &Scene) -> Result<()> {
    let nowhere = bellwether_integration_tests::cli::Cli::at(
        workspace_binary("bellwether")?,
        scene.directory.join("no.sock"),
    );
    let file = scene.directory.join("app.yaml");
    let name = file.display().to_string();
    std::fs::write(&file, APPLICATION.replace("NAME", "linted"))?;
    let right = nowhere.call(&["lint", &name], None)?;
    ended(&right, 0, "1 document is right")?;
    let wrong = APPLICATION.replace("NAME", "linted");
    std::fs::write(&file, wrong.replace("destination", "destinatoin"))?;
    let refused = nowhere.call(&["lint", &name], None)?;
    let place = format!("{name}:5:3 spec.destinatoin: ");
    ended(&refused, 1, &place)?;
    ended(&refused, 1, "did you mean \"destination\"?")?;
    let found = nowhere.call(&["lint", &name, "-o", "json"], None)?;
    let value: serde_json::Value = serde_json::from_str(&found.stdout)?;
    ensure!(
        found.code == 1 && value["errors"][0]["line"] == 5,
        "{value}"
    );
    Ok(())
}

fn diff(scene: &Scene) -> Result<()> {
    let documents = APPLICATION.replace("NAME", "compared");
    let unknown = scene.cli.call(&["diff", "compared"], None)?;
    ended(
        &unknown,
        2,
        "there is no application or rollout \"compared\"",
    )?;
    let new = scene.cli.call(&["diff", "-f", "-"], Some(&documents))?;
    ended(&new, 0, "no cluster has it or shall get it")?;
    let wrong = documents.replace("destination", "destinatoin");
    let refused = scene.cli.call(&["diff", "-f", "-"], Some(&wrong))?;
    ended(&refused, 2, "stdin:5:3 spec.destinatoin: ")?;
    scene.cli.apply(&documents)?;
    let none = scene.cli.call(&["diff", "compared", "--from", "3"], None)?;
    ended(&none, 2, "there is no revision 3; none is kept")
}

fn wait(scene: &Scene) -> Result<()> {
    let missing = scene
        .cli
        .call(&["wait", "application/waited", "--for=Healthy"], None)?;
    ended(&missing, 1, "waited")?;
    scene.cli.apply(&APPLICATION.replace("NAME", "waited"))?;
    let nonsense = scene.cli.call(&["wait", "waited", "--for=Done"], None)?;
    ended(&nonsense, 2, "Succeeded")?;
    let arguments = ["wait", "waited", "--for=Succeeded", "--timeout=1s"];
    let late = scene.cli.call(&arguments, None)?;
    ended(&late, 5, "it is Pending")?;
    let arguments = ["wait", "rollout", "waited", "--for=pending", "--timeout=9s"];
    ended(
        &scene.cli.call(&arguments, None)?,
        0,
        "rollout/waited Pending",
    )?;
    let run = ["wait", "application", "waited", "--for=failed,pending"];
    let run = scene.cli.call(&run, None)?;
    ended(&run, 0, "application/waited Pending")?;
    let mixed = ["wait", "application/waited", "--for=Healthy,Failed"];
    ended(&scene.cli.call(&mixed, None)?, 2, "a command each")?;
    let missing = ["wait", "application/nobody", "--for=succeeded"];
    ended(&scene.cli.call(&missing, None)?, 1, "nobody")
}

/// Announces a cluster, whose agent never comes.
fn announce(scene: &Scene, name: &str) -> Result<()> {
    let mut hub = UnixStream::connect(scene.cli.socket())?;
    let body = format!("{{\"cluster\": \"{name}\"}}");
    write!(
        hub,
        "POST /api/v1/join-tokens HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    hub.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    Ok(())
}

fn detach(scene: &Scene) -> Result<()> {
    let call = |arguments: &[&str]| scene.cli.call(arguments, None);
    let unknown = call(&["cluster", "detach", "detached", "-y"])?;
    ended(&unknown, 1, "there is no cluster \"detached\"")?;
    announce(scene, "detached")?;
    let done = call(&["cluster", "detach", "detached", "-y", "--reason", "retired"])?;
    ended(&done, 0, "cluster/detached detached")?;
    ended(&done, 0, "register cluster detached")?;
    let shown = scene.cli.json(&["get", "cluster", "detached"])?;
    ensure!(
        shown["status"]["condition"] == "Revoked",
        "it keeps its place: {shown}"
    );
    let described = call(&["describe", "cluster", "detached"])?;
    ended(&described, 0, "retired")?;
    ended(&described, 0, "events")?;
    // Announced again by whoever registers it, it waits for its agent.
    announce(scene, "detached")
}
