use serde_json::{Map, Value, json};

use super::{Fields, GROUP, Problems, canary::Canary, label_of, put, query};
use crate::{analysis::METRIC_NAMES, document::FieldPath};

/// Reads the metrics of a Canary.
pub(super) fn translate(canary: &Canary<'_>, analysis: &Fields<'_>) -> Vec<Value> {
    let items = analysis.items("metrics");
    items.into_iter().map(|item| one(canary, item)).collect()
}

fn one(canary: &Canary<'_>, fields: Fields<'_>) -> Value {
    let mut metric = Map::new();
    let name = fields.text("name").unwrap_or_default();
    let name = if METRIC_NAMES.contains(&name) {
        name.to_owned()
    } else {
        label_of(name)
    };
    metric.insert("name".to_owned(), json!(name));
    put(&mut metric, "window", fields.text("interval"));
    let variables = fields.text_map("templateVariables");
    put(
        &mut metric,
        "variables",
        (!variables.is_empty()).then_some(variables),
    );
    asked(canary, &fields, &mut metric);
    limits(&fields, &mut metric);
    fields.done();
    Value::Object(metric)
}

/// Where the value comes from: a template, a query, or what the provider counts.
fn asked(canary: &Canary<'_>, fields: &Fields<'_>, metric: &mut Map<String, Value>) {
    let written = fields.text("query");
    let template = fields.object("templateRef");
    if let Some(reference) = template {
        if written.is_some() {
            fields.refuse("query", "the template says it already; leave one");
        }
        let name = reference.text("name").unwrap_or_default();
        let namespace = reference.text("namespace").unwrap_or(canary.namespace);
        match canary.scene.find(GROUP, "MetricTemplate", namespace, name) {
            Some(found) => from_template(canary, &reference, found, metric),
            None => {
                if namespace != canary.namespace {
                    reference.note(
                        "namespace",
                        "templates that are not rendered beside the Canary are those of the hub",
                    );
                }
                metric.insert("template".to_owned(), json!({"name": name}));
            }
        }
        reference.done();
        return;
    }
    if let Some(text) = written {
        let filled = query::translate(canary, text);
        match filled {
            Ok(filled) => {
                metric.insert("query".to_owned(), json!(filled));
            }
            Err(why) => fields.refuse("query", why),
        }
    }
    if let Some(address) = canary.metrics_server {
        let source = json!({"type": "Prometheus", "address": address});
        metric.insert("source".to_owned(), source);
    }
}

/// Writes what a template says into the metric: a template that a chart brings is none of the hub's.
fn from_template(
    canary: &Canary<'_>,
    reference: &Fields<'_>,
    template: &Value,
    metric: &mut Map<String, Value>,
) {
    // What is wrong with the template itself is said where it is looked at.
    let silent = Problems::default();
    let Some(read) = template_of(template, &silent) else {
        return;
    };
    let mut source = Map::new();
    source.insert("type".to_owned(), json!("Prometheus"));
    put(&mut source, "address", read.address);
    if let Some(secret) = read.secret {
        if read.namespace.is_some_and(|one| one != canary.namespace) {
            let message = format!(
                "its Secret {secret} is read in the workload's namespace; put the template there"
            );
            reference.refuse("namespace", message);
        }
        source.insert("secretRef".to_owned(), json!({"name": secret}));
    }
    metric.insert("source".to_owned(), Value::Object(source));
    match query::translate(canary, read.query) {
        Ok(query) => {
            metric.insert("query".to_owned(), json!(query));
        }
        Err(why) => reference.refuse("name", format!("the query of this template: {why}")),
    }
}

struct Template<'a> {
    namespace: Option<&'a str>,
    address: Option<&'a str>,
    secret: Option<&'a str>,
    query: &'a str,
}

/// Says what of a MetricTemplate has no counterpart.
pub(super) fn check_template(record: &Value, problems: &Problems) {
    template_of(record, problems);
}

fn template_of<'a>(record: &'a Value, problems: &Problems) -> Option<Template<'a>> {
    let spec = record.get("spec");
    let provider = spec.and_then(|spec| spec.get("provider"));
    let fields = Fields::of(problems, FieldPath::spec(), spec);
    fields.get("provider");
    let query = text_in(spec, "query");
    if fields.text("query").is_none() {
        fields.refuse("query", "it is empty");
    }
    let from = Fields::of(problems, FieldPath::spec().key("provider"), provider);
    let kind = from.text("type").unwrap_or_default();
    if kind != "prometheus" {
        let message = format!(
            "only prometheus is translated, not {kind:?}; apply a MetricTemplate of Bellwether of \
             this name to the hub and leave this one out"
        );
        from.refuse("type", message);
    }
    from.text("address");
    if let Some(secret) = from.object("secretRef") {
        secret.text("name");
        secret.done();
    }
    from.done();
    fields.done();
    let secret = provider.and_then(|provider| provider.get("secretRef"));
    Some(Template {
        namespace: record
            .pointer("/metadata/namespace")
            .and_then(Value::as_str),
        address: text_in(provider, "address"),
        secret: text_in(secret, "name"),
        query: query?,
    })
}

fn text_in<'a>(object: Option<&'a Value>, key: &str) -> Option<&'a str> {
    object?.get(key)?.as_str().filter(|text| !text.is_empty())
}

fn limits(fields: &Fields<'_>, metric: &mut Map<String, Value>) {
    let threshold = fields.decimal("threshold");
    let Some(range) = fields.object("thresholdRange") else {
        // Flagger takes 0 where nothing is said.
        let limit = threshold.unwrap_or_else(|| "0".to_owned());
        metric.insert("threshold".to_owned(), json!(limit));
        return;
    };
    // Flagger reads the range alone where both are there.
    if threshold.is_some() {
        fields.note("threshold", "thresholdRange is set, and counts alone");
    }
    let mut limits = Map::new();
    for key in ["min", "max"] {
        put(&mut limits, key, range.decimal(key));
    }
    range.done();
    metric.insert("range".to_owned(), Value::Object(limits));
}
