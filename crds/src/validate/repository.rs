//! Checks of repositories of records.

use super::{finding::Findings, names, sources};
use crate::{
    document::{FieldPath, Kind, Object},
    repository::RepositorySpec,
};

pub(super) fn check(object: &Object<RepositorySpec>) -> Findings {
    let mut findings = Findings::default();
    names::metadata(&mut findings, Kind::Repository, &object.metadata);
    let (spec, path) = (&object.spec, FieldPath::spec());
    sources::git(&mut findings, &path.key("git"), &spec.git);
    if spec.interval.as_millis() < sources::MIN_INTERVAL_MS {
        findings.error(&path.key("interval"), "use at least 10s");
    }
    if let Some(namespace) = &spec.namespace {
        names::name(&mut findings, &path.key("namespace"), namespace);
    }
    findings
}
