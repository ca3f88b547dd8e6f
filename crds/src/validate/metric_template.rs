//! Checks of metric templates.

use super::{
    analysis::{endpoint, query_error},
    finding::{Finding, Findings, Validated},
    names,
};
use crate::{
    analysis::METRIC_NAMES,
    document::{FieldPath, Kind, Object},
    metric_template::{MetricSourceKind, MetricTemplateSpec},
    query_template,
};

/// A metric template that passed its checks.
#[derive(Clone, Debug)]
pub struct ValidatedMetricTemplate(Object<MetricTemplateSpec>);

impl ValidatedMetricTemplate {
    /// Returns the template.
    #[must_use]
    pub fn into_inner(self) -> Object<MetricTemplateSpec> {
        self.0
    }
}

/// Checks a metric template: its query is filled in with stand-ins and read.
///
/// # Errors
///
/// Returns everything that is wrong with it.
pub fn metric_template(
    object: Object<MetricTemplateSpec>,
) -> Result<Validated<ValidatedMetricTemplate>, Vec<Finding>> {
    check(&object).into_validated(ValidatedMetricTemplate(object))
}

pub(super) fn check(object: &Object<MetricTemplateSpec>) -> Findings {
    let mut findings = Findings::default();
    names::metadata(&mut findings, Kind::MetricTemplate, &object.metadata);
    let (spec, path) = (&object.spec, FieldPath::spec());
    if METRIC_NAMES.contains(&object.metadata.name.as_str()) {
        findings.error(
            &FieldPath::metadata("name"),
            format!("{} is built in and no template", object.metadata.name),
        );
    }
    if spec.kind == MetricSourceKind::Probe {
        findings.error(
            &path.key("type"),
            format!(
                "a Probe takes no query and needs no template; name {} in the Rollout",
                METRIC_NAMES.join(" or ")
            ),
        );
        return findings;
    }
    let (address, secret) = (spec.address.as_deref(), spec.secret_ref.as_ref());
    endpoint(&mut findings, &path, spec.kind, address, secret, false);
    if let Err(error) = query_template::check_open(spec.kind, &spec.query) {
        query_error(&mut findings, &path.key("query"), &error);
    }
    findings
}
