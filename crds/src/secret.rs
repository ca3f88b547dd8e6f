//! References to secrets that the hub keeps, and which of them an application names.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    application::{ApplicationSpec, Component, Gate},
    source::{GitSource, OciSource, RenderedSource},
};

/// The entry that is read where a reference names no other.
pub const TOKEN_KEY: &str = "token";
/// The entry of values that is read where a reference names no other.
pub const VALUES_KEY: &str = "values.yaml";

/// Tells whether `key` may name an entry of a secret: 1 to 253 letters, digits, `-`, `_` and `.`, as in
/// Kubernetes.
#[must_use]
pub fn is_key(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=253).contains(&key.len()) && key.bytes().all(plain) && key != "." && key != ".."
}

/// Names a secret that the hub keeps, in the namespace of the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HubSecretRef {
    /// The secret's name, as `bellwether secret set` has it.
    pub name: String,
}

/// Names an entry of a secret that the hub keeps, in the namespace of the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HubSecretKeyRef {
    /// The secret's name, as `bellwether secret set` has it.
    pub name: String,
    /// The key of the bearer token; `token` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl HubSecretKeyRef {
    /// Returns the key that is meant.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(TOKEN_KEY)
    }
}

/// Values of a chart that stand elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValuesFrom {
    /// What holds them.
    pub kind: ValuesFromKind,
    /// The secret's name, as `bellwether secret set` has it.
    pub name: String,
    /// The key whose value is a map in YAML; `values.yaml` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl ValuesFrom {
    /// Returns the key that is meant.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(VALUES_KEY)
    }
}

/// What holds values of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ValuesFromKind {
    /// A secret that the hub keeps, in the namespace of the application.
    Secret,
}

/// What a source is opened with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSecrets {
    /// The secret with credentials; absent = the source is public.
    pub credentials: Option<String>,
    /// The secret with known hosts, where that is another one.
    pub known_hosts: Option<String>,
}

impl SourceSecrets {
    /// Reads what the source of a component is opened with.
    #[must_use]
    pub fn of(component: &Component) -> Self {
        match component.rendered_source() {
            Some(RenderedSource::Git(source)) => Self::of_git(source),
            Some(RenderedSource::Oci(source)) => Self::of_oci(source),
            Some(RenderedSource::Kustomize(source)) => match (&source.git, &source.oci) {
                (Some(source), _) => Self::of_git(source),
                (None, Some(source)) => Self::of_oci(source),
                (None, None) => Self::default(),
            },
            Some(RenderedSource::Helm(helm)) => match &helm.git {
                Some(source) => Self::of_git(source),
                None => Self::with(helm.credentials_ref.as_ref()),
            },
            Some(RenderedSource::Plugin(_)) | None => Self::default(),
        }
    }

    /// Returns the names of the secrets.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.credentials, &self.known_hosts]
            .into_iter()
            .filter_map(Option::as_deref)
    }

    /// Reads what a Git repository is opened with.
    #[must_use]
    pub fn of_git(source: &GitSource) -> Self {
        Self {
            known_hosts: source.known_hosts_ref.as_ref().map(|one| one.name.clone()),
            ..Self::with(source.credentials_ref.as_ref())
        }
    }

    fn of_oci(source: &OciSource) -> Self {
        Self::with(source.credentials_ref.as_ref())
    }

    fn with(credentials: Option<&HubSecretRef>) -> Self {
        Self {
            credentials: credentials.map(|one| one.name.clone()),
            known_hosts: None,
        }
    }
}

/// Returns the secrets that an application names, each of its own namespace.
#[must_use]
pub fn named_by(spec: &ApplicationSpec) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for component in &spec.components {
        names.extend(SourceSecrets::of(component).names().map(str::to_owned));
        let helm = component.helm.iter();
        let values = helm.flat_map(|helm| &helm.values_from);
        names.extend(values.map(|one| one.name.clone()));
    }
    let gates = spec
        .waves
        .iter()
        .flat_map(|wave| wave.before.iter().chain(&wave.after));
    names.extend(gates.filter_map(of_gate).map(|one| one.name.clone()));
    names
}

fn of_gate(gate: &Gate) -> Option<&HubSecretKeyRef> {
    let of_metric = gate.metric.as_ref().and_then(|one| one.secret_ref.as_ref());
    let of_external = gate.external.as_ref();
    of_metric.or_else(|| of_external.and_then(|one| one.secret_ref.as_ref()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::named_by;
    use crate::application::ApplicationSpec;

    #[test]
    fn every_place_that_names_a_secret_is_found() {
        let git = json!({"url": "ssh://git@g.example/a", "branch": "b",
            "credentialsRef": {"name": "key"}, "knownHostsRef": {"name": "hosts"}});
        let spec: ApplicationSpec = serde_json::from_value(json!({
            "destination": {"fleet": "eu"},
            "components": [
                {"name": "a", "git": git},
                {"name": "b", "oci": {"url": "oci://r.example/a", "tag": "v1",
                    "credentialsRef": {"name": "registry"}}},
                {"name": "c", "kustomize": {"git": git}},
                {"name": "d", "helm": {"repository": "https://c.example", "chart": "d",
                    "version": "1.0.0", "credentialsRef": {"name": "charts"},
                    "valuesFrom": [{"kind": "Secret", "name": "values"}]}},
                {"name": "e", "helm": {"git": {"url": "https://g.example/a", "tag": "v1",
                    "credentialsRef": {"name": "token"}}}},
            ],
            "waves": [{"name": "all",
                "before": [{"external": {"url": "https://x.example", "secretRef": {"name": "ask"}}}],
                "after": [{"metric": {"query": "up", "range": {"min": "1"},
                    "secretRef": {"name": "measure", "key": "bearer"}}}],
            }],
        }))
        .expect("an application");
        let named: Vec<String> = named_by(&spec).into_iter().collect();
        assert_eq!(
            named,
            [
                "ask", "charts", "hosts", "key", "measure", "registry", "token", "values"
            ]
        );
    }
}
