//! Writing what metric templates say into a release, so that it stays as it was made.

use std::collections::BTreeMap;

use bellwether_api::{
    analysis::{BUILT_IN_TEMPLATES, Metric, TemplateRef},
    document::closest,
    metric_template::{MetricSourceKind, MetricTemplateSpec},
    query_template::QueryError,
    reference::NamespacedName,
    validate::{DEFAULT_NAMESPACE, resolved, uncounted},
};

use super::{ReleaseContent, ReleaseError};

/// Every metric template of a hub.
pub type Templates = BTreeMap<NamespacedName, MetricTemplateSpec>;

/// Why a metric cannot use the template that it names; the text is for whoever wrote it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// There is none of that name.
    #[error(
        "there is no metric template {name:?} in {}, and none is built in by that name",
        namespaces.iter().map(|one| format!("namespace {one:?}")).collect::<Vec<_>>().join(" or ")
    )]
    Missing {
        /// Its name.
        name: String,
        /// Where it was looked for, in this order.
        namespaces: Vec<String>,
        /// What was probably meant; absent = nothing is near.
        meant: Option<String>,
    },
    /// Templates of other tenants are out of reach.
    #[error(
        "templates of namespace {namespace:?} cannot be used here; use the Rollout's own \
         namespace, or {DEFAULT_NAMESPACE:?} for templates of everybody"
    )]
    OutOfReach {
        /// The namespace.
        namespace: String,
    },
    /// It does not fit the metric.
    #[error("metric template {template} does not fit: {why}")]
    Unfit {
        /// The template.
        template: NamespacedName,
        /// Why.
        why: String,
        /// What was probably meant; absent = nothing is near.
        meant: Option<String>,
    },
    /// Nobody counts the requests that the metric asks for.
    #[error("metric template {template} does not fit: {why}")]
    Uncounted {
        /// The template.
        template: NamespacedName,
        /// Why, and what to set.
        why: String,
    },
    /// What is built in does not fit the metric.
    #[error("the built-in metric template {name:?} does not fit: {why}")]
    BuiltIn {
        /// Its name.
        name: String,
        /// Why.
        why: &'static str,
    },
}

impl TemplateError {
    /// What was probably meant; `None` = nothing is near.
    #[must_use]
    pub fn meant(&self) -> Option<&str> {
        match self {
            Self::Missing { meant, .. } | Self::Unfit { meant, .. } => meant.as_deref(),
            Self::OutOfReach { .. } | Self::Uncounted { .. } | Self::BuiltIn { .. } => None,
        }
    }

    /// The field of the metric that is to be changed.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Uncounted { .. } => "minRequests",
            _ => "template",
        }
    }
}

/// Finds the template that a Rollout of `namespace` means: in its own namespace, then in
/// `default`, then what is built in (`None`).
///
/// # Errors
/// There is none, or it belongs to another tenant.
pub fn find<'a>(
    wanted: &TemplateRef,
    namespace: &str,
    templates: &'a Templates,
) -> Result<Option<(&'a NamespacedName, &'a MetricTemplateSpec)>, TemplateError> {
    let places: Vec<&str> = match wanted.namespace.as_deref() {
        Some(other) if other != namespace && other != DEFAULT_NAMESPACE => {
            return Err(TemplateError::OutOfReach {
                namespace: other.to_owned(),
            });
        }
        Some(only) => vec![only],
        None if namespace == DEFAULT_NAMESPACE => vec![namespace],
        None => vec![namespace, DEFAULT_NAMESPACE],
    };
    for place in &places {
        let key = NamespacedName {
            namespace: (*place).to_owned(),
            name: wanted.name.clone(),
        };
        if let Some(found) = templates.get_key_value(&key) {
            return Ok(Some(found));
        }
    }
    if wanted.namespace.is_none() && BUILT_IN_TEMPLATES.contains(&wanted.name.as_str()) {
        return Ok(None);
    }
    let near = templates
        .keys()
        .filter(|key| places.contains(&key.namespace.as_str()))
        .map(|key| key.name.as_str())
        .chain(BUILT_IN_TEMPLATES);
    Err(TemplateError::Missing {
        name: wanted.name.clone(),
        meant: closest(&wanted.name, near).map(str::to_owned),
        namespaces: places.iter().map(|place| (*place).to_owned()).collect(),
    })
}

/// Returns a metric with the query and source of the template that it names; one without, and one
/// whose template is built in, stays as it is. `min_requests` are what its analysis asks for.
///
/// # Errors
/// There is no such template, or it does not fit.
pub fn fill(
    metric: &Metric,
    min_requests: u32,
    namespace: &str,
    templates: &Templates,
) -> Result<Metric, TemplateError> {
    let Some(wanted) = &metric.template else {
        return Ok(metric.clone());
    };
    let Some((name, template)) = find(wanted, namespace, templates)? else {
        return match unlike_built_in(metric) {
            None => Ok(metric.clone()),
            Some(why) => Err(TemplateError::BuiltIn {
                name: wanted.name.clone(),
                why,
            }),
        };
    };
    let filled = resolved(metric, template).map_err(|error| TemplateError::Unfit {
        template: name.clone(),
        why: error.to_string(),
        meant: match error {
            QueryError::Unknown { meant, .. } => meant,
            _ => None,
        },
    })?;
    match uncounted(&filled, min_requests) {
        None => Ok(filled),
        Some(why) => Err(TemplateError::Uncounted {
            template: name.clone(),
            why,
        }),
    }
}

/// Why a metric cannot use a template that is built in; absent = it can.
fn unlike_built_in(metric: &Metric) -> Option<&'static str> {
    let kind = metric.source.as_ref().map(|source| source.kind);
    if kind.is_some_and(|kind| kind != MetricSourceKind::Prometheus) {
        return Some(
            "it is a query of Prometheus; for another source write a template of your own",
        );
    }
    (!metric.variables.is_empty()).then_some("it uses no variables")
}

impl ReleaseContent {
    /// Writes the templates that its metrics name into the content. `namespace` is the
    /// application's.
    ///
    /// # Errors
    /// [`ReleaseError::Template`] when one is missing or does not fit.
    pub fn with_templates(
        mut self,
        namespace: &str,
        templates: &Templates,
    ) -> Result<Self, ReleaseError> {
        for rollout in &mut self.rollouts {
            let analysis = &mut rollout.spec.analysis;
            for metric in &mut analysis.metrics {
                let filled = fill(metric, analysis.min_requests, namespace, templates);
                *metric = filled.map_err(|source| ReleaseError::Template {
                    rollout: rollout.name.clone(),
                    metric: metric.name.clone(),
                    source: Box::new(source),
                })?;
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use bellwether_api::{analysis::MetricSource, metric_template::SecretKeyRef};

    use super::*;

    fn template(query: &str) -> MetricTemplateSpec {
        MetricTemplateSpec {
            kind: MetricSourceKind::Prometheus,
            address: Some("http://prometheus".into()),
            secret_ref: Some(SecretKeyRef {
                name: "token".into(),
                key: None,
            }),
            query: query.to_owned(),
        }
    }

    fn templates(all: &[(&str, &str, &str)]) -> Templates {
        all.iter()
            .map(|(namespace, name, query)| {
                let key = NamespacedName {
                    namespace: (*namespace).to_owned(),
                    name: (*name).to_owned(),
                };
                (key, template(query))
            })
            .collect()
    }

    fn metric(name: &str, namespace: Option<&str>) -> Metric {
        Metric {
            name: "m".into(),
            template: Some(TemplateRef {
                name: name.to_owned(),
                namespace: namespace.map(str::to_owned),
            }),
            ..Metric::default()
        }
    }

    #[test]
    fn own_namespace_comes_first_then_everybodys_then_what_is_built_in() {
        let held = templates(&[
            ("shop", "errors", "own"),
            ("default", "errors", "everybodys"),
            ("default", "cpu-usage", "overridden"),
        ]);
        let query = |name, at, namespace| {
            fill(&metric(name, at), 0, namespace, &held).map(|metric| metric.query)
        };
        assert_eq!(query("errors", None, "shop"), Ok(Some("own".to_owned())));
        assert_eq!(
            query("errors", None, "bank"),
            Ok(Some("everybodys".to_owned()))
        );
        assert_eq!(
            query("errors", Some("default"), "shop"),
            Ok(Some("everybodys".to_owned()))
        );
        assert_eq!(
            query("cpu-usage", None, "shop"),
            Ok(Some("overridden".to_owned()))
        );
        assert_eq!(query("memory-usage", None, "shop"), Ok(None), "built in");
    }

    #[test]
    fn what_is_built_in_takes_no_other_source_and_no_variables() {
        let why = |metric: &Metric| match fill(metric, 0, "shop", &Templates::new()) {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        };
        let mut metric = metric("cpu-usage", None);
        assert_eq!(why(&metric), "");
        metric.variables.insert("team".into(), "blue".into());
        assert_eq!(
            why(&metric),
            "the built-in metric template \"cpu-usage\" does not fit: it uses no variables"
        );
        metric.source = Some(MetricSource {
            kind: MetricSourceKind::Datadog,
            address: Some("http://datadog".into()),
            secret_ref: None,
        });
        assert!(why(&metric).contains("a query of Prometheus"));
        // One of the hub's own is taken instead.
        let own = templates(&[("shop", "cpu-usage", "x{t=\"{{ variables.team }}\"}")]);
        metric.source = None;
        assert!(fill(&metric, 0, "shop", &own).is_ok());
    }

    /// What a template says of the source decides who counts requests, also where the hub finds it.
    #[test]
    fn requests_are_not_asked_for_of_a_source_that_counts_none() {
        let mut held = templates(&[("default", "orders", "/orders#/mean")]);
        for template in held.values_mut() {
            template.kind = MetricSourceKind::Http;
        }
        let mut metric = metric("orders", None);
        let error = fill(&metric, 20, "shop", &held).expect_err("nobody counts");
        assert_eq!(error.field(), "minRequests");
        assert_eq!(
            error.to_string(),
            "metric template default/orders does not fit: nobody counts requests for a metric of Http: \
             with minRequests 20 every check of it would be Unknown; set minRequests: 0 on this metric"
        );
        assert!(fill(&metric, 0, "shop", &held).is_ok());
        metric.min_requests = Some(0);
        assert!(fill(&metric, 20, "shop", &held).is_ok());
    }

    #[test]
    fn a_missing_one_is_named_with_where_it_was_looked_for() {
        let held = templates(&[("default", "errors", "x")]);
        let error = fill(&metric("erors", None), 0, "shop", &held).expect_err("missing");
        assert_eq!(
            error.to_string(),
            "there is no metric template \"erors\" in namespace \"shop\" or namespace \"default\", \
             and none is built in by that name"
        );
        assert_eq!(error.meant(), Some("errors"));
        let away = fill(&metric("errors", Some("bank")), 0, "shop", &held).expect_err("a tenant's");
        assert!(matches!(away, TemplateError::OutOfReach { .. }));
    }

    #[test]
    fn what_the_metric_says_wins_and_an_address_brings_its_own_secret() {
        let held = templates(&[("shop", "errors", "x{t=\"{{ variables.team }}\"}")]);
        let mut metric = metric("errors", None);
        let error = fill(&metric, 0, "shop", &held).expect_err("a variable is missing");
        assert!(
            error.to_string().contains("variables.team is not set"),
            "{error}"
        );
        metric.variables.insert("team".into(), "blue".into());
        let filled = fill(&metric, 0, "shop", &held).expect("it fits");
        let source = filled.source.expect("the template's");
        assert_eq!(source.address.as_deref(), Some("http://prometheus"));
        assert!(source.secret_ref.is_some());
        metric.source = Some(MetricSource {
            kind: MetricSourceKind::Prometheus,
            address: Some("http://other".into()),
            secret_ref: None,
        });
        let source = fill(&metric, 0, "shop", &held).expect("it fits").source;
        let source = source.expect("the metric's");
        assert_eq!(source.address.as_deref(), Some("http://other"));
        assert_eq!(
            source.secret_ref, None,
            "the template's Secret is not for it"
        );
        metric.variables.insert("tem".into(), "x".into());
        let error = fill(&metric, 0, "shop", &held).expect_err("a variable too many");
        assert_eq!(error.meant(), Some("variables.team"));
    }
}
