//! Filling facts of a cluster into the texts of an override.

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior, Value, syntax::SyntaxConfig};

use crate::document::closest;

/// Steps that filling in one text may take; an ordinary one takes a few dozen.
const FUEL: u64 = 10_000;
/// The longest text that comes of it, in bytes: an object may have 1.5 MiB.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// What texts may know of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct ClusterValues<'a> {
    /// `cluster.name`.
    pub name: &'a str,
    /// `cluster.labels.KEY`; of keys with other characters `cluster.labels["KEY"]`.
    pub labels: &'a BTreeMap<String, String>,
}

/// Why a text cannot be filled in.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClusterTemplateError {
    /// It is no template.
    #[error("failed to fill in {text:?}: {why}")]
    Template {
        /// The text.
        text: String,
        /// Why.
        why: String,
    },
    /// It asks for something that there is not.
    #[error(
        "failed to fill in {text:?}: there is no placeholder {name:?}; there are cluster.name and \
         cluster.labels.KEY"
    )]
    Unknown {
        /// The text.
        text: String,
        /// The placeholder.
        name: String,
        /// What was probably meant; absent = nothing is near.
        meant: Option<&'static str>,
    },
    /// The cluster lacks a label that it asks for.
    #[error("failed to fill in {text:?}: cluster {cluster:?} lacks a label that it asks for")]
    MissingLabel {
        /// The text.
        text: String,
        /// The cluster.
        cluster: String,
    },
    /// What comes of it is too long.
    #[error("failed to fill in {text:?}: what comes of it has more than {MAX_TEXT_BYTES} bytes")]
    TooLong {
        /// The text.
        text: String,
    },
}

/// Tells whether a text has placeholders at all; any other stays as it is.
#[must_use]
pub fn has_placeholders(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// Reads a text without filling it in.
///
/// # Errors
/// It is no template, or asks for something that no cluster has.
pub fn check(text: &str) -> Result<(), ClusterTemplateError> {
    if !has_placeholders(text) {
        return Ok(());
    }
    let mut environment = environment();
    parse(&mut environment, text)
}

/// Fills in a text; one without placeholders is returned as it is.
///
/// # Errors
/// It is no template, the cluster lacks a label that it asks for, or what comes of it is too long.
pub fn fill(text: &str, cluster: ClusterValues<'_>) -> Result<String, ClusterTemplateError> {
    if !has_placeholders(text) {
        return Ok(text.to_owned());
    }
    let mut environment = environment();
    parse(&mut environment, text)?;
    let labels = cluster.labels.iter();
    let labels = labels.map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    let values = [
        ("name", Value::from(cluster.name)),
        ("labels", Value::from_pairs(labels)),
    ];
    let context = Value::from_pairs([("cluster", Value::from_pairs(values))]);
    let template = environment
        .get_template("text")
        .map_err(|error| no_template(text, &error))?;
    let filled = template.render(context).map_err(|error| {
        if error.kind() == minijinja::ErrorKind::UndefinedError {
            ClusterTemplateError::MissingLabel {
                text: text.to_owned(),
                cluster: cluster.name.to_owned(),
            }
        } else {
            no_template(text, &error)
        }
    })?;
    if filled.len() > MAX_TEXT_BYTES {
        return Err(ClusterTemplateError::TooLong {
            text: text.to_owned(),
        });
    }
    Ok(filled)
}

fn environment<'a>() -> Environment<'a> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    // The end of a file in a ConfigMap is its own.
    let mut syntax = SyntaxConfig::builder();
    syntax.keep_trailing_newline(true);
    environment.set_syntax(syntax.build().expect("only how white space is kept is set"));
    environment
}

fn parse<'a>(environment: &mut Environment<'a>, text: &'a str) -> Result<(), ClusterTemplateError> {
    environment
        .add_template("text", text)
        .map_err(|error| no_template(text, &error))?;
    let template = environment
        .get_template("text")
        .map_err(|error| no_template(text, &error))?;
    let mut unknown: Vec<String> = template
        .undeclared_variables(true)
        .into_iter()
        .filter(|name| {
            !(name == "cluster.name"
                || name == "cluster.labels"
                || name.starts_with("cluster.labels."))
        })
        .collect();
    unknown.sort();
    match unknown.into_iter().next() {
        None => Ok(()),
        Some(name) => Err(ClusterTemplateError::Unknown {
            meant: closest(&name, ["cluster.name", "cluster.labels"]),
            text: text.to_owned(),
            name,
        }),
    }
}

fn no_template(text: &str, error: &minijinja::Error) -> ClusterTemplateError {
    ClusterTemplateError::Template {
        text: text.to_owned(),
        why: error
            .detail()
            .map_or_else(|| error.kind().to_string(), str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{ClusterTemplateError, ClusterValues, check, fill};

    fn filled(text: &str) -> Result<String, ClusterTemplateError> {
        let labels = BTreeMap::from([
            ("region".to_owned(), "eu".to_owned()),
            ("topology.kubernetes.io/zone".to_owned(), "eu-1".to_owned()),
        ]);
        let name = "c1";
        fill(
            text,
            ClusterValues {
                name,
                labels: &labels,
            },
        )
    }

    #[test]
    fn facts_of_the_cluster_are_filled_in() {
        for (text, expected) in [
            ("svc-{{ cluster.labels.region }}.ink", "svc-eu.ink"),
            ("{{ cluster.name }}", "c1"),
            (
                "{{ cluster.labels[\"topology.kubernetes.io/zone\"] }}\n",
                "eu-1\n",
            ),
            ("no placeholder, { or }", "no placeholder, { or }"),
            ("{{ '{{' }} stays", "{{ stays"),
            ("", ""),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_no_cluster_has_is_refused_before_any_is_asked() {
        let error = check("{{ cluster.nam }}").expect_err("a typo");
        assert!(
            matches!(
                error,
                ClusterTemplateError::Unknown {
                    meant: Some("cluster.name"),
                    ..
                }
            ),
            "{error}"
        );
        assert!(check("{{ region }}").is_err(), "no such word");
        assert!(check("{{ cluster.name").is_err(), "not closed");
        assert_eq!(check("{{ cluster.labels.anything }}"), Ok(()));
    }

    #[test]
    fn a_label_that_the_cluster_lacks_is_no_empty_text() {
        let error = filled("{{ cluster.labels.zone }}").expect_err("it has none");
        assert!(
            matches!(error, ClusterTemplateError::MissingLabel { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("\"c1\""), "{error}");
    }

    #[test]
    fn a_text_cannot_use_up_the_hub() {
        let endless = "{% for a in cluster.labels %}".repeat(8) + &"{% endfor %}".repeat(8);
        let many = format!("{}{}", endless, "{{ cluster.name }}".repeat(3_000));
        assert!(filled(&many).is_err());
    }
}
