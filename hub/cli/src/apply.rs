//! `apply` and `delete`.

use anyhow::{anyhow, bail};
use bellwether_api::call::{AppliedObject, ApplyResult, Problem};
use http::Method;

use crate::{
    args::{ApplyArgs, DeleteArgs, Format, Global},
    client::{Body, Client},
    documents::Documents,
    failure::{Code, Failure, problem_lines},
    kind::{Kind, one_target, segment},
    output::{confirmed, document, note, print},
};

/// Applies documents, all of them or none.
///
/// # Errors
/// What the hub refused, or what could not be read.
pub async fn apply(client: &Client, global: &Global, args: &ApplyArgs) -> anyhow::Result<Code> {
    let mut documents = Documents::read(&args.files)?;
    documents.fill_manifests(&args.manifests)?;
    let dry_run = if args.dry_run { "&dryRun=All" } else { "" };
    let path = format!(
        "/api/v1/apply?namespace={}{dry_run}{}",
        segment(&global.namespace),
        because('&', &args.reason)
    );
    let body = Body::Bytes("application/yaml", documents.body.clone().into());
    let result: ApplyResult = match client.call(Method::POST, &path, body).await {
        Ok(result) => result,
        Err(error) => return refused(error, &documents),
    };
    for warning in &result.warnings {
        note(&format!("warning: {warning}"));
    }
    match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => document(&result, format)?,
        _ => print(&summary(&result, global))?,
    }
    Ok(Code::Done)
}

fn refused(error: anyhow::Error, documents: &Documents) -> anyhow::Result<Code> {
    let problem: Box<Problem> = match error.downcast::<Failure>() {
        Ok(Failure::Refused(problem)) => problem,
        Ok(other) => bail!(other),
        Err(error) => return Err(error),
    };
    for line in problem_lines(&problem, &|line| documents.place(line)) {
        note(&line);
    }
    note("nothing applied.");
    Ok(Failure::Refused(problem).code())
}

/// A reason as a part of an address; empty when nothing was said.
fn because(separator: char, reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!("{separator}reason={}", segment(reason))
    }
}

fn object_line(object: &AppliedObject) -> String {
    format!(
        "{}/{} {}",
        object.kind.to_lowercase(),
        object.name,
        object.result
    )
}

fn summary(result: &ApplyResult, global: &Global) -> String {
    let mut lines: Vec<String> = result.objects.iter().map(object_line).collect();
    if result.dry_run {
        lines
            .iter_mut()
            .for_each(|line| line.push_str(" (dry run)"));
    } else if let Some(object) = result
        .objects
        .iter()
        .find(|object| object.kind == "Application" && object.result != "unchanged")
    {
        let namespace = object.namespace.as_deref().unwrap_or("default");
        let flag = if namespace == global.namespace {
            String::new()
        } else {
            format!(" -n {namespace}")
        };
        lines.push(format!(
            "watch: bellwether get rollout {} -w{flag}",
            object.name
        ));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Deletes objects.
///
/// # Errors
/// What the hub refused.
pub async fn delete(client: &Client, global: &Global, args: &DeleteArgs) -> anyhow::Result<Code> {
    let targets = targets(global, args)?;
    if !args.files.contains(&"-".to_owned()) {
        let names: Vec<String> = targets
            .iter()
            .map(|(kind, _, name)| format!("{}/{name}", kind.word().to_lowercase()))
            .collect();
        let question = format!(
            "delete {}? applications leave their clusters.",
            names.join(", ")
        );
        if !confirmed(&question, args.yes)? {
            note("nothing deleted.");
            return Ok(Code::Error);
        }
    }
    for (kind, namespace, name) in targets {
        let path = kind.path(&namespace, &name);
        // Clusters are not records: nothing is released when one goes.
        let path = match kind {
            Kind::Cluster => path,
            _ => format!("{path}{}", because('?', &args.reason)),
        };
        let _: serde_json::Value = client.call(Method::DELETE, &path, Body::Empty).await?;
        print(&format!("{}/{name} deleted\n", kind.word().to_lowercase()))?;
    }
    Ok(Code::Done)
}

fn targets(global: &Global, args: &DeleteArgs) -> anyhow::Result<Vec<(Kind, String, String)>> {
    if let Some(kind) = &args.kind {
        let (kind, name) = one_target(kind, args.name.as_deref())?;
        return Ok(vec![(kind, global.namespace.clone(), name)]);
    }
    let mut found = Vec::new();
    for value in Documents::read(&args.files)?.values()? {
        let text = |pointer: &str| value.pointer(pointer).and_then(serde_json::Value::as_str);
        let (Some(kind), Some(name)) = (text("/kind"), text("/metadata/name")) else {
            return Err(anyhow!("a document has no kind or no metadata.name"));
        };
        let namespace = text("/metadata/namespace").unwrap_or(&global.namespace);
        found.push((Kind::parse(kind)?, namespace.to_owned(), name.to_owned()));
    }
    // Users before what they use.
    found.reverse();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use bellwether_api::call::{AppliedObject, ApplyResult};
    use clap::Parser as _;

    use super::summary;
    use crate::args::Cli;

    #[test]
    fn summary_names_the_next_command() {
        let cli = Cli::try_parse_from(["bellwether", "-n", "shop", "version"]).expect("parses");
        let object = |kind: &str, result: &str| AppliedObject {
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: "web".into(),
            result: result.into(),
            resource_version: "4".into(),
            generation: 1,
        };
        let mut result = ApplyResult {
            objects: vec![
                object("Application", "configured"),
                object("Rollout", "created"),
            ],
            ..ApplyResult::default()
        };
        assert_eq!(
            summary(&result, &cli.global),
            "application/web configured\nrollout/web created\nwatch: bellwether get rollout web -w\n"
        );
        result.dry_run = true;
        assert!(!summary(&result, &cli.global).contains("watch"));
    }
}
