//! The index of a Helm repository.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::{Options, options::DuplicateKeyPolicy};

use crate::{SourceError, request::parse_range, version::parse_version};

/// The versions of each chart.
pub(super) type Entries = BTreeMap<String, Vec<Entry>>;

/// One version of a chart. Everything else that an index says of it is skipped as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub urls: Vec<String>,
    #[serde(default)]
    pub digest: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    entries: Option<Entries>,
}

/// Reads an index of at most so many bytes.
pub(super) fn read(bytes: &[u8], limit_bytes: u64) -> Result<Entries, String> {
    let mut options = Options::default();
    options.with_snippet = false;
    // As Helm reads them.
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    if let Some(budget) = &mut options.budget {
        // The indexes of large repositories have millions of nodes; their size bounds them.
        budget.max_events = 20_000_000;
        budget.max_nodes = 20_000_000;
        budget.max_total_scalar_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    }
    let index: Index = serde_saphyr::from_slice_with_options(bytes, options)
        .map_err(|error| error.to_string().chars().take(200).collect::<String>())?;
    index.entries.ok_or_else(|| "it has no entries".to_owned())
}

/// Returns the entry of an exact version, with or without its leading `v`, or the highest in a range.
pub(super) fn select<'a>(
    entries: &'a [Entry],
    wanted: &str,
) -> Result<Option<&'a Entry>, SourceError> {
    let by_name = |name: &str| entries.iter().find(|entry| entry.version == name);
    if let Some(exact) = by_name(wanted) {
        return Ok(Some(exact));
    }
    if let Some(version) = parse_version(wanted) {
        let same = |entry: &&Entry| parse_version(&entry.version).as_ref() == Some(&version);
        return Ok(entries.iter().find(same));
    }
    let range = parse_range("version", wanted)?;
    let highest = range.highest(entries.iter().map(|entry| entry.version.as_str()));
    Ok(highest.and_then(by_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = r#"
apiVersion: v1
generated: "2026-01-01T00:00:00Z"
entries:
  web:
  - {name: web, version: 1.2.3, digest: aa, urls: [web-1.2.3.tgz], maintainers: [{name: x}]}
  - {name: web, version: v1.10.0, urls: ["https://cdn.example/web.tgz"]}
  - {name: web, version: 2.0.0-rc.1, urls: []}
  other:
  - {name: other, created: 2026-01-01T00:00:00Z, annotations: {a: b, a: c}}
"#;

    #[test]
    fn versions_are_chosen_exactly_or_by_range() {
        let entries = read(INDEX.as_bytes(), 1 << 20).expect("an index");
        let web = &entries["web"];
        let chosen = |wanted: &str| {
            let entry = select(web, wanted).expect("a version or range");
            entry.map(|entry| entry.version.as_str())
        };
        assert_eq!(chosen("1.2.3"), Some("1.2.3"));
        assert_eq!(chosen("1.10.0"), Some("v1.10.0"));
        assert_eq!(chosen("^1"), Some("v1.10.0"));
        assert_eq!(chosen("~1.2"), Some("1.2.3"));
        assert_eq!(chosen(">=1.0.0-0"), Some("2.0.0-rc.1"));
        assert_eq!(chosen("1.2.4"), None);
        assert_eq!(chosen("^3"), None);
        assert_eq!(web[0].digest.as_deref(), Some("aa"));
    }

    #[test]
    fn what_is_no_index_is_said_to_be_none() {
        for text in [
            "<html>",
            "entries: []",
            "entries: {web: [{version: [}]}",
            "apiVersion: v1",
        ] {
            read(text.as_bytes(), 1 << 20).expect_err(text);
        }
    }

    #[test]
    fn a_large_index_is_read() {
        let mut text = "apiVersion: v1\nentries:\n".to_owned();
        for chart in 0..400 {
            text += &format!("  chart-{chart}:\n");
            for version in 0..60 {
                text += &format!(
                    "  - version: 1.{version}.0\n    urls: [a.tgz]\n    annotations: {{a: b, c: d, e: f}}\n"
                );
            }
        }
        assert_eq!(
            read(text.as_bytes(), 64 << 20).expect("an index").len(),
            400
        );
    }
}
