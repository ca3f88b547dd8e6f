//! Secrets of the hub on the command line: what is wrong is said, and no value ever is.

use anyhow::{Context as _, Result, ensure};
use bellwether_integration_tests::{cli::Answer, suite::Case};

use crate::Scene;

const VALUE: &str = "hunter2-correct-horse";

pub const CASES: &[Case<Scene>] = &[(
    "secret_is_kept_and_never_shown_and_not_deleted_while_it_is_named",
    "secrets",
    kept_and_never_shown,
)];

fn is_silent(answer: &Answer) -> Result<()> {
    let shown = format!("{}{}", answer.stdout, answer.stderr);
    ensure!(!shown.contains("hunter2"), "a value is shown: {shown}");
    Ok(())
}

fn kept_and_never_shown(scene: &Scene) -> Result<()> {
    let call = |arguments: &[&str], input: Option<&str>, code: i32, needed: &str| {
        let answer = scene.cli.call(arguments, input)?;
        let shown = format!("{}{}", answer.stdout, answer.stderr);
        ensure!(
            answer.code == code,
            "{arguments:?}: {}: {shown}",
            answer.code
        );
        ensure!(shown.contains(needed), "{needed:?} is not in: {shown}");
        is_silent(&answer)?;
        Ok(shown)
    };
    let file = scene.directory.join("username");
    std::fs::write(&file, "git").context("failed to write a file")?;
    let file = file.to_str().context("the folder's name is no text")?;
    let set = [
        "secret",
        "set",
        "git",
        "--from-file",
        "password=-",
        "--from-file",
        file,
    ];
    call(
        &set,
        Some(VALUE),
        0,
        "secret/git created (password, username)",
    )?;
    call(&set, Some(VALUE), 0, "secret/git unchanged")?;
    call(&["secret", "list"], None, 0, "password,username")?;
    call(&["secret", "list", "-o", "json"], None, 0, "changedBy")?;
    call(
        &["secret", "set", "git", "--from-literal", VALUE],
        None,
        2,
        "KEY=VALUE",
    )?;
    let upper = ["secret", "set", "Git", "--from-literal", "a=hunter2"];
    call(&upper, None, 1, "is no name")?;
    call(
        &["secret", "delete", "gti"],
        None,
        1,
        "there is no secret \"gti\"",
    )?;
    let private = "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {name: private, namespace: default}
spec:
  destination: {selector: {matchLabels: {nobody: has-this}}}
  components:
  - name: web
    git: {url: 'https://git.example/web', branch: main, credentialsRef: {name: git}}
";
    scene.cli.apply(private)?;
    call(&["secret", "delete", "git"], None, 6, "application/private")?;
    call(
        &["secret", "delete", "git", "--force"],
        None,
        0,
        "secret/git deleted",
    )?;
    scene
        .cli
        .run(&["delete", "application", "private", "--yes"])?;
    Ok(())
}
