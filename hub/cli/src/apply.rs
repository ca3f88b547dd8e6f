//! `apply` and `delete`.

use std::io::IsTerminal as _;

use anyhow::{anyhow, bail};
use bellwether_api::call::{AppliedObject, ApplyResult, Item, Problem};
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

/// Says what the hub refused, with the places in the files that were read.
///
/// # Errors
/// Whatever else went wrong.
pub fn refused(error: anyhow::Error, documents: &Documents) -> anyhow::Result<Code> {
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

/// An object to delete.
struct Doomed {
    kind: Kind,
    namespace: String,
    name: String,
    /// Of an application: how many clusters would lose it.
    clusters: Option<u64>,
}

impl Doomed {
    fn path(&self, reason: &str) -> String {
        let path = self.kind.path(&self.namespace, &self.name);
        match (self.kind, self.clusters) {
            // Clusters are not records: nothing is released when one goes.
            (Kind::Cluster, _) => path,
            (_, Some(count)) => format!("{path}?clusters={count}{}", because('&', reason)),
            (_, None) => format!("{path}{}", because('?', reason)),
        }
    }

    fn title(&self) -> String {
        format!("{}/{}", self.kind.word().to_lowercase(), self.name)
    }

    /// The title with what goes with it.
    fn loss(&self) -> String {
        match self.clusters {
            None | Some(0) => self.title(),
            Some(1) => format!("{} (leaves 1 cluster)", self.title()),
            Some(count) => format!("{} (leaves {count} clusters)", self.title()),
        }
    }
}

/// Deletes objects.
///
/// # Errors
/// What the hub refused.
pub async fn delete(client: &Client, global: &Global, args: &DeleteArgs) -> anyhow::Result<Code> {
    let mut doomed = Vec::new();
    for (kind, namespace, name) in targets(global, args)? {
        doomed.push(count(client, args, kind, namespace, name).await?);
    }
    if !args.yes && args.clusters.is_none() && !is_confirmed(args, &doomed)? {
        note("nothing deleted.");
        return Ok(Code::Error);
    }
    for one in doomed {
        let _: serde_json::Value = client
            .call(Method::DELETE, &one.path(&args.reason), Body::Empty)
            .await?;
        print(&format!("{} deleted\n", one.title()))?;
    }
    Ok(Code::Done)
}

/// Finds out how many clusters would lose an application, unless that was said.
async fn count(
    client: &Client,
    args: &DeleteArgs,
    kind: Kind,
    namespace: String,
    name: String,
) -> anyhow::Result<Doomed> {
    let clusters = match (kind, args.clusters) {
        (Kind::Application, Some(said)) => Some(said),
        (Kind::Application, None) => {
            let item: Item = client.get(&kind.path(&namespace, &name)).await?;
            item.status.and_then(|status| status["clusters"].as_u64())
        }
        (_, Some(_)) => bail!(Failure::Usage(format!(
            "--clusters goes with applications, not with {}",
            kind.word().to_lowercase()
        ))),
        (_, None) => None,
    };
    Ok(Doomed {
        kind,
        namespace,
        name,
        clusters,
    })
}

/// Asks on a terminal. Elsewhere nobody answers: what many clusters hold is then not deleted.
fn is_confirmed(args: &DeleteArgs, doomed: &[Doomed]) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || args.files.contains(&"-".to_owned()) {
        let many = doomed
            .iter()
            .find_map(|one| Some((one, one.clusters.filter(|count| *count > 1)?)));
        return match many {
            None => Ok(true),
            Some((one, count)) => bail!(Failure::Usage(format!(
                "{} runs on {count} clusters; say --clusters {count} to take it away from all of \
                 them, or -y for whatever it runs on",
                one.title()
            ))),
        };
    }
    let losses: Vec<String> = doomed.iter().map(Doomed::loss).collect();
    confirmed(&format!("delete {}?", losses.join(", ")), false)
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
