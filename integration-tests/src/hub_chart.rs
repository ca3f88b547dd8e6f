//! The hub's chart, rendered as `helm template` does.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::process::{repository, workspace_binary};

/// The ServiceAccount of the chart's pods.
pub const ACCOUNT: &str = "bellwether-hub";

/// Renders the chart for a namespace, with these values over its own.
///
/// # Errors
/// What the chart says to its user, or the renderer was not built.
pub fn render(namespace: &str, values: &Value) -> Result<Vec<Value>> {
    let root = repository().join("helm/bellwether-hub");
    let mut files = Vec::new();
    read(&root, &root, &mut files)?;
    let request = json!({
        "kind": "helm", "files": files, "values": values, "releaseName": "hub",
        "namespace": namespace, "kubeVersion": "v1.33.0",
    });
    let mut child = Command::new(workspace_binary("bellwether-renderer")?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start the renderer")?;
    let mut stdin = child.stdin.take().context("its input")?;
    stdin.write_all(request.to_string().as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let answer: Value = serde_json::from_slice(&output.stdout).context("no answer")?;
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        bail!("{error}");
    }
    let objects = answer["objects"].as_array().context("objects")?;
    Ok(objects.clone())
}

fn read(root: &Path, folder: &Path, files: &mut Vec<Value>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root)?.to_str().context("UTF-8")?;
            let contents = STANDARD.encode(std::fs::read(&path)?);
            files.push(json!({"path": name, "contents": contents}));
        }
    }
    Ok(())
}
