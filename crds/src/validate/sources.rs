//! Checks of what components are rendered from.

use super::{finding::Findings, names};
use crate::{
    application::{ApplicationSpec, Component},
    document::FieldPath,
    secret::{HubSecretRef, is_key},
    source::{GitSource, HelmSource, KustomizeSource, OciSource, PluginSource},
};

/// Helm's own limit: names of objects are made of it.
const MAX_RELEASE_NAME_BYTES: usize = 53;
/// A shorter interval would ask a registry more often than it takes well.
pub(super) const MIN_INTERVAL_MS: i64 = 10_000;

/// Checks that a component has one source, and that source.
pub(super) fn source(findings: &mut Findings, path: &FieldPath, component: &Component) {
    let written = [
        ("manifests", component.manifests.is_some()),
        ("helm", component.helm.is_some()),
        ("git", component.git.is_some()),
        ("oci", component.oci.is_some()),
        ("kustomize", component.kustomize.is_some()),
        ("plugin", component.plugin.is_some()),
    ];
    exactly_one(
        findings,
        path,
        "a component has exactly one source",
        &written,
    );
    if let Some(objects) = &component.manifests
        && objects.is_empty()
    {
        findings.error(&path.key("manifests"), "the component has no objects");
    }
    if let Some(helm) = &component.helm {
        chart(findings, &path.key("helm"), helm);
    }
    if let Some(source) = &component.git {
        git(findings, &path.key("git"), source);
    }
    if let Some(source) = &component.oci {
        oci(findings, &path.key("oci"), source);
    }
    if let Some(source) = &component.kustomize {
        kustomization(findings, &path.key("kustomize"), source);
    }
    if let Some(source) = &component.plugin {
        plugin(findings, &path.key("plugin"), source);
    }
}

/// Which renderers there are, and what they take, is known at the hub alone.
fn plugin(findings: &mut Findings, path: &FieldPath, source: &PluginSource) {
    names::name(findings, &path.key("name"), &source.name);
    if source
        .params
        .as_ref()
        .is_some_and(|params| !params.is_object())
    {
        findings.error(&path.key("params"), "parameters are a map");
    }
}

/// Checks how often sources are looked at.
pub(super) fn interval(findings: &mut Findings, path: &FieldPath, spec: &ApplicationSpec) {
    let components = spec
        .components
        .iter()
        .enumerate()
        .filter_map(|(index, one)| {
            let at = path.key("components").index(index);
            Some((at, one.sync.as_ref()?.interval?))
        });
    for (at, interval) in std::iter::once((path.clone(), spec.sync.interval)).chain(components) {
        let interval = interval.as_millis();
        if interval != 0 && interval < MIN_INTERVAL_MS {
            findings.error(
                &at.key("sync").key("interval"),
                "use at least 10s, or 0s to look only when the source is changed here",
            );
        }
    }
}

fn exactly_one(findings: &mut Findings, path: &FieldPath, rule: &str, written: &[(&str, bool)]) {
    let set: Vec<&str> = written
        .iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(name, _)| *name)
        .collect();
    let all: Vec<&str> = written.iter().map(|(name, _)| *name).collect();
    match set.as_slice() {
        [_] => {}
        [] => findings.error(path, format!("{rule}: {}", all.join(", "))),
        [_, second, ..] => findings.error(
            &path.key(second),
            format!("{rule}, found {}", set.join(" and ")),
        ),
    }
}

fn chart(findings: &mut Findings, path: &FieldPath, helm: &HelmSource) {
    let written = [
        ("repository", helm.repository.is_some()),
        ("git", helm.git.is_some()),
    ];
    exactly_one(
        findings,
        path,
        "a chart comes from exactly one of",
        &written,
    );
    if let Some(repository) = &helm.repository {
        address(
            findings,
            &path.key("repository"),
            repository,
            &["https", "oci", "http"],
        );
        if helm.chart.as_deref().is_none_or(str::is_empty) {
            findings.error(&path.key("chart"), "name the chart in the repository");
        }
        if helm
            .version
            .as_deref()
            .is_none_or(|version| version.trim().is_empty())
        {
            findings.error(
                &path.key("version"),
                "say which version, exactly or as a range such as ~1.2",
            );
        }
    }
    if let Some(source) = &helm.git {
        git(findings, &path.key("git"), source);
        for (field, is_set) in [
            ("chart", helm.chart.is_some()),
            ("version", helm.version.is_some()),
        ] {
            if is_set {
                let message = "only a repository has it; in Git the folder is git.path, and the \
                               version is what stands there";
                findings.error(&path.key(field), message);
            }
        }
        if helm.credentials_ref.is_some() {
            let message = "these are for a repository; those of Git stand at git.credentialsRef";
            findings.error(&path.key("credentialsRef"), message);
        }
    }
    secret(
        findings,
        &path.key("credentialsRef"),
        helm.credentials_ref.as_ref(),
    );
    for (index, from) in helm.values_from.iter().enumerate() {
        let at = path.key("valuesFrom").index(index);
        names::name(findings, &at.key("name"), &from.name);
        key(findings, &at.key("key"), from.key());
    }
    if let Some(name) = &helm.release_name {
        let at = path.key("releaseName");
        names::name(findings, &at, name);
        if name.len() > MAX_RELEASE_NAME_BYTES {
            findings.error(
                &at,
                format!("Helm allows at most {MAX_RELEASE_NAME_BYTES} characters"),
            );
        }
    }
    if helm
        .values
        .as_ref()
        .is_some_and(|values| !values.is_object())
    {
        findings.error(&path.key("values"), "values are a map");
    }
}

pub(super) fn git(findings: &mut Findings, path: &FieldPath, source: &GitSource) {
    let url = path.key("url");
    if is_ssh(&source.url) {
        ssh(findings, path, source);
    } else {
        address(findings, &url, &source.url, &["https", "ssh", "http"]);
        if source.known_hosts_ref.is_some() {
            findings.error(
                &path.key("knownHostsRef"),
                "known hosts are for ssh://USER@HOST/PATH; https trusts by certificate",
            );
        }
    }
    secret(
        findings,
        &path.key("credentialsRef"),
        source.credentials_ref.as_ref(),
    );
    let written = [
        ("branch", source.branch.is_some()),
        ("tag", source.tag.is_some()),
        ("semver", source.semver.is_some()),
        ("commit", source.commit.is_some()),
    ];
    exactly_one(findings, path, "a revision is exactly one of", &written);
    if let Some(commit) = &source.commit {
        let is_hash =
            matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash {
            findings.error(
                &path.key("commit"),
                "a commit is its whole hash, 40 hexadecimal digits",
            );
        }
    }
    folder(findings, &path.key("path"), source.path.as_deref());
}

/// Tells whether a repository is reached by SSH: `ssh://…` or `USER@HOST:PATH`.
fn is_ssh(url: &str) -> bool {
    url.starts_with("ssh://") || (!url.contains("://") && url.contains('@'))
}

fn ssh(findings: &mut Findings, path: &FieldPath, source: &GitSource) {
    let url = path.key("url");
    let rest = source.url.strip_prefix("ssh://");
    let (authority, folder) = match rest {
        Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
        None => source.url.split_once(':').unwrap_or((&source.url, "")),
    };
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    if user.is_some_and(|user| user.contains(':')) {
        findings.error(&url, "an address holds no password");
    } else if user.is_none_or(str::is_empty) || authority.ends_with('@') || folder.is_empty() {
        let message = format!(
            "{:?} is no address; use ssh://USER@HOST/PATH or USER@HOST:PATH",
            source.url
        );
        findings.error(&url, message);
    }
    if source.credentials_ref.is_none() {
        findings.error(
            path,
            "ssh needs credentialsRef: a secret with identity, the private key (bellwether secret set)",
        );
    }
    secret(
        findings,
        &path.key("knownHostsRef"),
        source.known_hosts_ref.as_ref(),
    );
}

fn secret(findings: &mut Findings, path: &FieldPath, secret: Option<&HubSecretRef>) {
    if let Some(secret) = secret {
        names::name(findings, &path.key("name"), &secret.name);
    }
}

/// Checks the key of a secret's entry.
pub(super) fn key(findings: &mut Findings, path: &FieldPath, key: &str) {
    if !is_key(key) {
        findings.error(path, "a key has 1 to 253 letters, digits, '-', '_' or '.'");
    }
}

fn oci(findings: &mut Findings, path: &FieldPath, source: &OciSource) {
    address(findings, &path.key("url"), &source.url, &["oci"]);
    secret(
        findings,
        &path.key("credentialsRef"),
        source.credentials_ref.as_ref(),
    );
    let written = [
        ("tag", source.tag.is_some()),
        ("semver", source.semver.is_some()),
        ("digest", source.digest.is_some()),
    ];
    exactly_one(findings, path, "a revision is exactly one of", &written);
    if let Some(digest) = &source.digest {
        let is_digest = digest
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if !is_digest {
            findings.error(
                &path.key("digest"),
                "a digest is sha256: and 64 hexadecimal digits",
            );
        }
    }
    folder(findings, &path.key("path"), source.path.as_deref());
}

fn kustomization(findings: &mut Findings, path: &FieldPath, source: &KustomizeSource) {
    let written = [("git", source.git.is_some()), ("oci", source.oci.is_some())];
    exactly_one(
        findings,
        path,
        "a kustomization comes from exactly one of",
        &written,
    );
    folder(findings, &path.key("path"), source.path.as_deref());
    // A kustomization may use what lies beside its folder: all of the source is fetched.
    let inner = "name the folder by kustomize.path: what lies beside it is needed too";
    if let Some(source) = &source.git {
        git(findings, &path.key("git"), source);
        if source.path.is_some() {
            findings.error(&path.key("git").key("path"), inner);
        }
    }
    if let Some(source) = &source.oci {
        oci(findings, &path.key("oci"), source);
        if source.path.is_some() {
            findings.error(&path.key("oci").key("path"), inner);
        }
    }
    for (index, image) in source.images.iter().enumerate() {
        if !image.get("name").is_some_and(serde_json::Value::is_string) {
            findings.error(
                &path.key("images").index(index),
                "an image to replace has a name, and newName, newTag or digest",
            );
        }
    }
    for (index, patch) in source.patches.iter().enumerate() {
        // A path would name a file of the source, which has its own kustomization for that.
        if !patch.get("patch").is_some_and(serde_json::Value::is_string) {
            findings.error(
                &path.key("patches").index(index),
                "a patch stands inline, in the field patch",
            );
        }
    }
}

fn address(findings: &mut Findings, path: &FieldPath, url: &str, schemes: &[&str]) {
    let scheme = url.split_once("://");
    let Some((_, rest)) = scheme.filter(|(scheme, _)| schemes.contains(scheme)) else {
        let wanted: Vec<String> = schemes
            .iter()
            .filter(|scheme| **scheme != "http")
            .map(|scheme| format!("{scheme}://…"))
            .collect();
        findings.error(
            path,
            format!("{url:?} is no address; use {}", wanted.join(" or ")),
        );
        return;
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        findings.error(path, "an address holds no user and no password");
    } else if host.is_empty() || url.contains(char::is_whitespace) {
        findings.error(path, format!("{url:?} names no host"));
    }
}

fn folder(findings: &mut Findings, path: &FieldPath, folder: Option<&str>) {
    let Some(folder) = folder else { return };
    if folder.starts_with('/') || folder.split('/').any(|part| part == "..") {
        findings.error(
            path,
            "a folder is named from the root of its source, without ..",
        );
    }
}
