use bellwether_api::{
    analysis::BUILT_IN_TEMPLATES,
    application::{ApplicationSpec, Gate, MetricGate, Wave},
    fleet::FleetDefaults,
    metric_template::MetricSourceKind,
    query_template::{self, Placeholders},
    validate::means_the_hub,
};

use crate::release::{DEFAULT_TARGET_NAMESPACE, Templates, find};

/// Why a gate cannot be asked.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to plan: the metric gate of wave {wave:?}: {why}")]
pub struct MetricGateError {
    /// The wave.
    pub wave: String,
    /// Why.
    pub why: String,
}

/// Writes into every metric gate what it asks and whom, so that a plan stays as it was frozen.
/// `application` is the application's name, `namespace` its namespace at the hub.
///
/// # Errors
/// A template is missing or does not fit, or nobody says whom to ask.
pub fn with_queries(
    application: &str,
    namespace: &str,
    spec: &ApplicationSpec,
    fleet: &FleetDefaults,
    templates: &Templates,
) -> Result<Vec<Wave>, MetricGateError> {
    let mut waves = spec.waves.clone();
    let target = spec
        .target_namespace
        .as_deref()
        .unwrap_or(DEFAULT_TARGET_NAMESPACE);
    for wave in &mut waves {
        let name = wave.name.clone();
        let gates: Vec<&mut Gate> = wave.before.iter_mut().chain(&mut wave.after).collect();
        for metric in gates.into_iter().filter_map(|gate| gate.metric.as_mut()) {
            fill(metric, application, namespace, target, fleet, templates).map_err(|why| {
                MetricGateError {
                    wave: name.clone(),
                    why,
                }
            })?;
        }
    }
    Ok(waves)
}

fn fill(
    metric: &mut MetricGate,
    application: &str,
    namespace: &str,
    target: &str,
    fleet: &FleetDefaults,
    templates: &Templates,
) -> Result<(), String> {
    let mut query = metric.query.clone().unwrap_or_default();
    if let Some(wanted) = metric.template.take() {
        let found = find(&wanted, namespace, templates).map_err(|error| error.to_string())?;
        let Some((name, template)) = found else {
            return Err(format!(
                "the built-in template {:?} measures a canary and no fleet; built in are {}",
                wanted.name,
                BUILT_IN_TEMPLATES.join(", ")
            ));
        };
        if template.kind != MetricSourceKind::Prometheus {
            return Err(format!(
                "template {name} is not one that the hub can ask: it takes type Prometheus"
            ));
        }
        if template.secret_ref.is_some() && metric.secret_ref.is_none() {
            return Err(format!(
                "template {name} has a secretRef, which is a Secret of member clusters; name one of \
                 the hub's by the gate's own secretRef"
            ));
        }
        query.clone_from(&template.query);
        metric.address = metric.address.take().or_else(|| template.address.clone());
    }
    let has_token = metric.secret_ref.is_some();
    let defaults = fleet
        .metrics
        .as_ref()
        .filter(|one| has_token || one.secret_ref.is_none());
    metric.address = metric
        .address
        .take()
        .or_else(|| defaults.map(|one| one.address.clone()));
    let address = metric
        .address
        .as_deref()
        .ok_or("set its address: no template and no fleet says which Prometheus answers")?;
    if means_the_hub(address) {
        return Err(format!(
            "the address {address} means the hub itself, which no gate asks; set its address"
        ));
    }
    let values = Placeholders {
        namespace: target.to_owned(),
        target: application.to_owned(),
        interval: format!("{}ms", metric.window.as_millis()),
        ..Placeholders::default()
    };
    let filled = query_template::fill(MetricSourceKind::Prometheus, &query, &values)
        .map_err(|error| error.to_string())?;
    metric.query = Some(filled);
    Ok(())
}

#[cfg(test)]
mod tests {
    use bellwether_api::{
        application::ApplicationSpec,
        fleet::{FleetDefaults, MetricsDefaults},
        reference::NamespacedName,
    };
    use serde_json::{Value, json};

    use super::with_queries;
    use crate::release::Templates;

    fn spec(metric: Value) -> ApplicationSpec {
        serde_json::from_value(json!({
            "destination": {"fleet": "eu"}, "targetNamespace": "shop-ns",
            "components": [{"name": "web", "manifests": []}],
            "waves": [{"name": "a", "after": [{"metric": metric}]}],
        }))
        .expect("an application")
    }

    fn filled(metric: Value, fleet: Option<&str>) -> Result<(String, String), String> {
        let mut templates = Templates::new();
        let template =
            json!({"query": "errors{app=\"{{ target }}\"}", "address": "http://central"});
        let private =
            json!({"query": "up", "address": "http://central", "secretRef": {"name": "prom"}});
        for (name, template) in [("errors", template), ("private", private)] {
            let name = NamespacedName {
                namespace: "default".to_owned(),
                name: name.to_owned(),
            };
            templates.insert(name, serde_json::from_value(template).expect("a template"));
        }
        let fleet = FleetDefaults {
            metrics: fleet.map(|address| MetricsDefaults {
                address: address.to_owned(),
                ..MetricsDefaults::default()
            }),
            ..FleetDefaults::default()
        };
        let waves = with_queries("shop", "team", &spec(metric), &fleet, &templates)
            .map_err(|error| error.to_string())?;
        let metric = waves[0].after[0].metric.clone().expect("the gate");
        Ok((
            metric.address.unwrap_or_default(),
            metric.query.unwrap_or_default(),
        ))
    }

    #[test]
    fn a_gate_asks_its_own_then_its_templates_then_the_fleets_prometheus() {
        let range = json!({"max": "1"});
        let ok = |address: &str, query: &str| Ok((address.to_owned(), query.to_owned()));
        assert_eq!(
            filled(
                json!({"range": range, "query": "up{ns=\"{{ namespace }}\"}[{{ interval }}]"}),
                Some("http://fleet")
            ),
            ok("http://fleet", "up{ns=\"shop-ns\"}[60000ms]")
        );
        assert_eq!(
            filled(
                json!({"range": range, "template": {"name": "errors"}}),
                Some("http://fleet")
            ),
            ok("http://central", "errors{app=\"shop\"}")
        );
        assert_eq!(
            filled(
                json!({"range": range, "template": {"name": "errors"}, "address": "http://own"}),
                None
            ),
            ok("http://own", "errors{app=\"shop\"}")
        );
    }

    #[test]
    fn a_template_with_a_secret_of_clusters_needs_one_of_the_hub() {
        let range = json!({"max": "1"});
        let error = filled(
            json!({"range": range, "template": {"name": "private"}}),
            None,
        );
        let error = error.expect_err("nobody has its token here");
        assert!(error.contains("the gate's own secretRef"), "{error}");
        assert_eq!(
            filled(
                json!({"range": range, "template": {"name": "private"}, "secretRef": {"name": "prom"}}),
                None
            ),
            Ok(("http://central".to_owned(), "up".to_owned()))
        );
    }

    #[test]
    fn a_gate_that_nobody_can_answer_is_refused() {
        let range = json!({"max": "1"});
        for (metric, fleet, why) in [
            (
                json!({"range": range, "query": "up"}),
                None,
                "set its address",
            ),
            (
                json!({"range": range, "query": "up"}),
                Some("http://127.0.0.1:9090"),
                "means the hub itself",
            ),
            (
                json!({"range": range, "template": {"name": "erors"}}),
                None,
                "there is no metric template",
            ),
            (
                json!({"range": range, "template": {"name": "cpu-usage"}}),
                None,
                "measures a canary",
            ),
        ] {
            let error = filled(metric.clone(), fleet).expect_err("nobody answers");
            assert!(error.contains(why), "{metric}: {error}");
        }
    }
}
