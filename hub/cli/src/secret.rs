//! Secrets that the hub keeps.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_api::{
    call::{SecretList, SecretRequest, SecretView},
    secret::is_key,
};
use http::Method;
use jiff::Timestamp;

use crate::{
    args::{Format, Global, SecretCommand, SetArgs},
    client::{Body, Client},
    failure::{Code, Failure},
    kind::segment,
    output::print,
    render::{list::grid, span::ago},
};

/// Runs a sub-command of `secret`.
///
/// # Errors
/// What the hub refused, or a file that cannot be read.
pub async fn run(
    client: &Client,
    global: &Global,
    command: &SecretCommand,
) -> anyhow::Result<Code> {
    match command {
        SecretCommand::Set(args) => set(client, global, args).await,
        SecretCommand::List {
            all_namespaces,
            output,
        } => {
            let path = if *all_namespaces {
                "/api/v1/secrets".to_owned()
            } else {
                place(global)
            };
            let found: SecretList = client.get(&path).await?;
            print(&listed(&found, *output)?)?;
            Ok(Code::Done)
        }
        SecretCommand::Delete { name, force } => {
            let path = format!("{}/{}?force={force}", place(global), segment(name));
            let _: SecretView = client.call(Method::DELETE, &path, Body::Empty).await?;
            print(&format!("secret/{name} deleted\n"))?;
            Ok(Code::Done)
        }
    }
}

async fn set(client: &Client, global: &Global, args: &SetArgs) -> anyhow::Result<Code> {
    let request = SecretRequest {
        entries: entries(args, || {
            let mut value = Vec::new();
            std::io::stdin().read_to_end(&mut value)?;
            Ok(value)
        })?,
    };
    let path = format!("{}/{}", place(global), segment(&args.name));
    let written: SecretView = client
        .call(Method::PUT, &path, Body::json(&request)?)
        .await?;
    print(&format!(
        "secret/{} {} ({})\n",
        args.name,
        written.result.as_deref().unwrap_or("written"),
        written.keys.join(", ")
    ))?;
    Ok(Code::Done)
}

fn place(global: &Global) -> String {
    format!("/api/v1/namespaces/{}/secrets", segment(&global.namespace))
}

/// Reads the entries that the arguments name, in base64.
fn entries(
    args: &SetArgs,
    stdin: impl FnOnce() -> std::io::Result<Vec<u8>>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut stdin = Some(stdin);
    let mut put = |key: &str, value: &[u8]| {
        if !is_key(key) {
            return Err(Failure::Usage(format!(
                "{key:?} is no key; it has 1 to 253 letters, digits, '-', '_' or '.'"
            )));
        }
        match found.insert(key.to_owned(), STANDARD.encode(value)) {
            None => Ok(()),
            Some(_) => Err(Failure::Usage(format!("the key {key:?} is given twice"))),
        }
    };
    for literal in &args.from_literal {
        // What is wrong with it may be the value: it is not shown.
        let (key, value) = literal.split_once('=').ok_or_else(|| {
            Failure::Usage("--from-literal is KEY=VALUE, such as username=git".to_owned())
        })?;
        put(key, value.as_bytes())?;
    }
    for file in &args.from_file {
        let (key, file) = match file.split_once('=') {
            Some((key, file)) => (key.to_owned(), file),
            None if file == "-" => {
                let message = "name the key of what stdin holds: --from-file KEY=-".to_owned();
                return Err(Failure::Usage(message).into());
            }
            None => {
                let name = Path::new(file).file_name().unwrap_or_default();
                (name.to_string_lossy().into_owned(), file.as_str())
            }
        };
        let value = if file == "-" {
            let stdin = stdin.take().ok_or_else(|| {
                Failure::Usage("stdin is one value; it is named twice".to_owned())
            })?;
            stdin().context("failed to read stdin")?
        } else {
            std::fs::read(file).with_context(|| format!("failed to read {file}"))?
        };
        put(&key, &value)?;
    }
    Ok(found)
}

fn listed(found: &SecretList, output: Option<Format>) -> anyhow::Result<String> {
    Ok(match output {
        Some(Format::Json) => format!("{}\n", serde_json::to_string_pretty(found)?),
        Some(Format::Yaml) => serde_saphyr::to_string(found)?,
        Some(Format::Name) => {
            let names = found
                .items
                .iter()
                .map(|one| format!("secret/{}\n", one.name));
            names.collect()
        }
        Some(Format::Wide) | None => {
            let now = Timestamp::now();
            let rows = found.items.iter().map(|one| {
                vec![
                    one.namespace.clone(),
                    one.name.clone(),
                    one.keys.join(","),
                    one.changed_by.clone(),
                    ago(Some(&one.changed_at), now),
                ]
            });
            grid(&["NAMESPACE", "NAME", "KEYS", "BY", "AGE"], rows)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(from_file: &[&str], from_literal: &[&str]) -> SetArgs {
        let texts = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        SetArgs {
            name: "git".to_owned(),
            from_file: texts(from_file),
            from_literal: texts(from_literal),
        }
    }

    fn read(args: &SetArgs) -> anyhow::Result<BTreeMap<String, String>> {
        entries(args, || Ok(b"from stdin".to_vec()))
    }

    #[test]
    fn entries_come_from_files_stdin_and_arguments() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("identity");
        std::fs::write(&file, "KEY\n").expect("a file");
        let path = file.to_str().expect("text");
        let named = format!("other={path}");
        let found = read(&args(&[path, &named, "in=-"], &["username=git", "empty="]));
        let expected = [
            ("empty", ""),
            ("identity", "KEY\n"),
            ("in", "from stdin"),
            ("other", "KEY\n"),
            ("username", "git"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), STANDARD.encode(value)));
        assert_eq!(found.expect("entries"), expected.into());
    }

    #[test]
    fn what_is_wrong_is_said_without_a_value() {
        for (files, literals, said) in [
            (vec![], vec!["hunter2"], "KEY=VALUE"),
            (vec![], vec!["a=hunter2", "a=hunter2"], "given twice"),
            (vec![], vec!["a/b=hunter2"], "is no key"),
            (vec!["-"], vec![], "KEY=-"),
            (vec!["a=-", "b=-"], vec![], "named twice"),
            (vec!["a=/nowhere"], vec![], "failed to read /nowhere"),
        ] {
            let error = read(&args(&files, &literals)).expect_err("refused");
            let text = format!("{error:#}");
            assert!(text.contains(said), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
