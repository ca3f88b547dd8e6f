//! `lint`: everything that can be said of documents without a hub.

use bellwether_api::document::{DocumentError, DocumentWarning, load};
use serde::Serialize;

use crate::{
    args::{Format, LintArgs},
    documents::Documents,
    failure::Code,
    output::{document, print},
};

/// What came of it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Findings {
    /// How many documents there are; 0 where one of them cannot be read.
    documents: usize,
    /// What is wrong, in the order of lines.
    errors: Vec<DocumentError>,
    /// What is accepted and probably not meant.
    warnings: Vec<DocumentWarning>,
}

/// Checks documents as the hub checks them before it looks at what it holds, without a hub.
///
/// # Errors
/// What could not be read.
pub fn lint(args: &LintArgs) -> anyhow::Result<Code> {
    let found = check(&Documents::read(&args.files)?);
    match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => document(&found, format)?,
        _ => print(&drawn(&found))?,
    }
    Ok(if found.errors.is_empty() {
        Code::Done
    } else {
        Code::Error
    })
}

fn check(documents: &Documents) -> Findings {
    let mut found = match load("", documents.body.as_bytes()) {
        Ok(loaded) => Findings {
            documents: loaded.documents.len(),
            errors: Vec::new(),
            warnings: loaded.warnings,
        },
        Err(errors) => Findings {
            errors,
            ..Findings::default()
        },
    };
    let places = found
        .errors
        .iter_mut()
        .map(|error| (&mut error.file, &mut error.line))
        .chain(
            found
                .warnings
                .iter_mut()
                .map(|warning| (&mut warning.file, &mut warning.line)),
        );
    for (file, line) in places {
        (*file, *line) = match *line {
            // It is about all of it.
            0 => (documents.place(1).0, 0),
            line => documents.place(line),
        };
    }
    found
}

fn drawn(found: &Findings) -> String {
    let mut text = String::new();
    for error in &found.errors {
        text.push_str(&format!("error: {error}\n"));
    }
    for warning in &found.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text.push_str(&match (found.errors.len(), found.documents) {
        (0, 1) => "1 document is right\n".to_owned(),
        (0, count) => format!("{count} documents are right\n"),
        (1, _) => "1 error\n".to_owned(),
        (count, _) => format!("{count} errors\n"),
    });
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{check, drawn};
    use crate::documents::Documents;

    const FLEET: &str = "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\nmetadata: {name: all}\n\
                         spec: {selector: {}}\n";

    #[test]
    fn every_error_names_its_file_line_column_and_what_is_near() {
        let dir = tempfile::tempdir().expect("a directory");
        let (good, bad) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
        fs::write(&good, FLEET).expect("written");
        fs::write(
            &bad,
            FLEET
                .replace("selector", "selektor")
                .replace("name: all", "name: All"),
        )
        .expect("written");
        let read = |paths: &[&std::path::Path]| {
            let paths: Vec<String> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            Documents::read(&paths).expect("read")
        };
        assert_eq!(drawn(&check(&read(&[&good]))), "1 document is right\n");
        let found = check(&read(&[&good, &bad]));
        let text = drawn(&found);
        let place = format!("error: {}:4:8 spec.selektor: ", bad.display());
        assert!(text.contains(&place), "{text}");
        assert!(text.contains("did you mean \"selector\"?"), "{text}");
        assert!(
            text.ends_with("error\n") || text.ends_with("errors\n"),
            "{text}"
        );
        let value = serde_json::to_value(&found).expect("JSON");
        assert_eq!(value["errors"][0]["line"], 4, "{value}");
        assert_eq!(value["errors"][0]["suggestion"], "selector", "{value}");
    }

    #[test]
    fn what_only_fields_together_say_is_checked_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a.yaml");
        let empty = FLEET.replace("{selector: {}}", "{clusters: [a, a]}");
        fs::write(&file, empty).expect("written");
        let documents = Documents::read(&[file.display().to_string()]).expect("read");
        let text = drawn(&check(&documents));
        assert!(
            text.contains(":4:22 spec.clusters[1]: \"a\" stands here twice"),
            "{text}"
        );
    }
}
