//! The golden cases of every traffic provider, against the definitions that their projects
//! release, or, where no registry has them, against schemas written from their documentation.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use bellwether_integration_tests::{cluster::Member, process::repository, suite::Case};
use serde_json::Value;

use crate::scene::Scene;

pub const CASES: &[Case<Scene>] = &[(
    "provider_definitions_take_every_golden_case_whole",
    "golden",
    taken_whole,
)];

/// The namespace that golden cases lie in.
const NAMESPACE: &str = "shop";

/// The groups that the lab's API server knows, and how many kinds of each have golden cases.
static GROUPS: [(&str, usize); 13] = [
    ("apisix.apache.org", 1),
    ("appmesh.k8s.aws", 2),
    ("gateway.solo.io", 2),
    ("gloo.solo.io", 1),
    ("gateway.networking.k8s.io", 3),
    ("kuma.io", 1),
    ("networking.istio.io", 2),
    ("networking.k8s.io", 1),
    ("policy.linkerd.io", 1),
    ("projectcontour.io", 1),
    ("serving.knative.dev", 1),
    ("split.smi-spec.io", 1),
    ("traefik.io", 3),
];

/// Fields of these values stand for what a newer version of an API may have.
const UNKNOWN: &str = "kept-unknown";

fn taken_whole(scene: &Scene) -> Result<()> {
    let member = Member::connect(&scene.lab.cluster("c1")?.kubeconfig)?;
    member.create_namespace(NAMESPACE)?;
    let mut kinds: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    let mut refused = Vec::new();
    for (file, mut object) in golden_objects()? {
        let text = |pointer: &str| {
            let found = object.pointer(pointer).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let group = api_version.split('/').next().unwrap_or_default();
        let Some((group, _)) = GROUPS.iter().find(|(known, _)| *known == group) else {
            continue;
        };
        without_unknown(&mut object);
        let outcome = member.apply_dry(&object);
        // The rest of the metadata, and the status, are the API server's own.
        let lost = outcome.map(|taken| {
            let parts = ["/spec", "/metadata/labels", "/metadata/annotations"];
            parts.iter().find_map(|part| {
                let sent = object.pointer(part)?;
                lost(sent, taken.pointer(part).unwrap_or(&Value::Null), part)
            })
        });
        match lost {
            Ok(None) => {}
            Ok(Some(lost)) => refused.push(format!("{file}: {kind}: {lost}")),
            Err(error) => refused.push(format!("{file}: {kind}: {error}")),
        }
        *kinds.entry(*group).or_default().entry(kind).or_default() += 1;
    }
    println!("{kinds:?}");
    ensure!(refused.is_empty(), "{}", refused.join("\n"));
    for (group, count) in &GROUPS {
        let found = kinds.get(group).map_or(0, BTreeMap::len);
        ensure!(found == *count, "{group}: {kinds:?}");
    }
    Ok(())
}

/// Every object of every golden case of agent/core, with its file's name.
fn golden_objects() -> Result<Vec<(String, Value)>> {
    let folder = repository().join("agent/core/src/provider");
    let mut objects = Vec::new();
    for provider in std::fs::read_dir(&folder)? {
        let snapshots = provider?.path().join("snapshots");
        let Ok(files) = std::fs::read_dir(&snapshots) else {
            continue;
        };
        for file in files {
            let path: PathBuf = file?.path();
            let text = std::fs::read_to_string(&path)?;
            let content = text
                .splitn(3, "---\n")
                .nth(2)
                .with_context(|| format!("{} has no content", path.display()))?;
            let all: Vec<Value> = serde_json::from_str(content)
                .with_context(|| format!("{} is no list of objects", path.display()))?;
            let name = path.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            objects.extend(all.into_iter().map(|object| (name.clone(), object)));
        }
    }
    Ok(objects)
}

fn without_unknown(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !is_unknown(value));
            fields.values_mut().for_each(without_unknown);
        }
        Value::Array(items) => items.iter_mut().for_each(without_unknown),
        _ => {}
    }
}

fn is_unknown(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty() && fields.values().all(is_unknown),
        other => other.as_str() == Some(UNKNOWN),
    }
}

/// The first place where what came out lacks what was sent; what the API server adds is its own.
fn lost(sent: &Value, taken: &Value, at: &str) -> Option<String> {
    match (sent, taken) {
        (Value::Object(sent), Value::Object(taken)) => sent.iter().find_map(|(key, value)| {
            let at = format!("{at}/{key}");
            lost(value, taken.get(key).unwrap_or(&Value::Null), &at)
        }),
        (Value::Array(sent), Value::Array(taken)) if sent.len() == taken.len() => sent
            .iter()
            .zip(taken)
            .enumerate()
            .find_map(|(index, (sent, taken))| lost(sent, taken, &format!("{at}/{index}"))),
        (Value::Number(sent), Value::Number(taken)) if sent.as_f64() == taken.as_f64() => None,
        _ if sent == taken => None,
        _ => Some(format!("{at}: {sent} became {taken}")),
    }
}
