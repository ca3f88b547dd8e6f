//! `diff` and `explain`.

use anyhow::bail;
use bellwether_api::call::{OverridesExplained, Problem, ReleaseDiff};
use http::Method;
use serde_json::Value;

use crate::{
    args::{DiffArgs, Format, Global, OverridesArgs},
    client::{Body, Client},
    documents::Documents,
    failure::{Code, Failure, problem_lines},
    kind::{run_path, segment},
    output::{Screen, document, note, print},
    render,
};

/// Compares what clusters have on two sides. As with `kubectl diff` the exit code is 0 where nothing
/// differs, 1 where something does, and more where that cannot be said.
///
/// # Errors
/// What the hub refused, or what could not be read.
pub async fn diff(client: &Client, global: &Global, args: &DiffArgs) -> anyhow::Result<Code> {
    let documents = Documents::read(&args.files)?;
    let mut found = Vec::new();
    for (namespace, name) in targets(global, args, &documents)? {
        let place = Global {
            namespace,
            ..global.clone()
        };
        let mut path = run_path(&place, &name, "diff");
        path.push_str(&format!("?from={}", segment(&args.from)));
        if let Some(to) = &args.to {
            path.push_str(&format!("&to={}", segment(to)));
        }
        if !args.cluster.is_empty() {
            path.push_str(&format!("&clusters={}", segment(&args.cluster.join(","))));
        }
        let body = if documents.body.is_empty() {
            Body::Empty
        } else {
            Body::Bytes("application/yaml", documents.body.clone().into())
        };
        match client.call(Method::POST, &path, body).await {
            Ok(one) => found.push(one),
            Err(error) => return refused(error, &documents),
        }
    }
    show(&found, args.output, Screen::new(global))?;
    Ok(code_of(&found))
}

/// Fails as a command whose exit code 1 means that something differs.
fn refused(error: anyhow::Error, documents: &Documents) -> anyhow::Result<Code> {
    let problem: Box<Problem> = match error.downcast::<Failure>() {
        Ok(Failure::Refused(problem)) => problem,
        Ok(other) => bail!(other),
        Err(error) => return Err(error),
    };
    for line in problem_lines(&problem, &|line| documents.place(line)) {
        note(&line);
    }
    Ok(trouble(Failure::Refused(problem).code()))
}

/// An error's exit code where 1 means something else.
#[must_use]
pub const fn trouble(code: Code) -> Code {
    match code {
        Code::Error => Code::Usage,
        other => other,
    }
}

fn code_of(found: &[ReleaseDiff]) -> Code {
    if found.iter().any(|one| !one.groups.is_empty()) {
        Code::Error
    } else if found.iter().any(|one| !one.unknown.is_empty()) {
        // Whether they differ is not known.
        Code::Usage
    } else {
        Code::Done
    }
}

/// The applications that are compared, with their namespaces.
fn targets(
    global: &Global,
    args: &DiffArgs,
    documents: &Documents,
) -> anyhow::Result<Vec<(String, String)>> {
    if let Some(name) = &args.name {
        return Ok(vec![(global.namespace.clone(), name.clone())]);
    }
    let mut found = Vec::new();
    for value in documents.values()? {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        if text("/kind") != Some("Application") {
            continue;
        }
        if let Some(name) = text("/metadata/name") {
            let namespace = text("/metadata/namespace").unwrap_or(&global.namespace);
            found.push((namespace.to_owned(), name.to_owned()));
        }
    }
    if found.is_empty() {
        bail!(Failure::Usage(
            "the files hold no application; name the one that they are about".into()
        ));
    }
    Ok(found)
}

fn show(found: &[ReleaseDiff], format: Option<Format>, screen: Screen) -> anyhow::Result<()> {
    match (format, found) {
        (Some(format @ (Format::Json | Format::Yaml)), [only]) => document(only, format),
        (Some(format @ (Format::Json | Format::Yaml)), many) => document(&many, format),
        (_, many) => {
            for one in many {
                print(&render::diff::diff(one, screen.style))?;
            }
            Ok(())
        }
    }
}

/// Says which override set which field in a cluster.
///
/// # Errors
/// What the hub refused.
pub async fn explain(
    client: &Client,
    global: &Global,
    args: &OverridesArgs,
) -> anyhow::Result<Code> {
    let path = format!(
        "{}?cluster={}&of={}",
        run_path(global, &args.name, "explain"),
        segment(&args.cluster),
        segment(&args.of)
    );
    let answer: OverridesExplained = client.get(&path).await?;
    match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => document(&answer, format)?,
        _ => print(&render::explain::explain(
            &answer,
            Screen::new(global).style,
        ))?,
    }
    Ok(Code::Done)
}

#[cfg(test)]
mod tests {
    use bellwether_api::{
        call::{DiffGroup, NotCompared, ReleaseDiff},
        reference::NamespacedName,
    };

    use super::{code_of, trouble};
    use crate::failure::Code;

    #[test]
    fn exit_codes_are_those_of_kubectl_diff() {
        let found = |groups: usize, unknown: usize| ReleaseDiff {
            application: NamespacedName {
                namespace: "shop".into(),
                name: "web".into(),
            },
            from: "revision 1".into(),
            to: "revision 2".into(),
            groups: vec![
                DiffGroup {
                    clusters: vec!["c1".into()],
                    objects: Vec::new(),
                };
                groups
            ],
            same: Vec::new(),
            unknown: vec![
                NotCompared {
                    cluster: "c2".into(),
                    why: "it is silent".into(),
                };
                unknown
            ],
        };
        for (groups, unknown, code) in [
            (0, 0, Code::Done),
            (1, 0, Code::Error),
            (1, 1, Code::Error),
            (0, 1, Code::Usage),
        ] {
            assert_eq!(code_of(&[found(groups, unknown)]), code);
        }
        assert_eq!(code_of(&[found(0, 0), found(1, 0)]), Code::Error);
        assert_eq!(trouble(Code::Error), Code::Usage, "1 says that they differ");
        assert_eq!(trouble(Code::Conflict), Code::Conflict);
    }
}
