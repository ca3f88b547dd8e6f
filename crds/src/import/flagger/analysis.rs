use serde_json::{Map, Value, json};

use super::{Fields, canary::Canary, metrics, put, strategy, webhooks};

/// Reads how the new version is brought in and judged.
pub(super) fn translate(canary: &Canary<'_>, spec: &Fields<'_>, plan: &mut Map<String, Value>) {
    let skip = spec.flag("skipAnalysis");
    let fields = match (spec.object("analysis"), spec.object("canaryAnalysis")) {
        (Some(_), Some(_)) => {
            spec.refuse("canaryAnalysis", "analysis says it already; leave one");
            return;
        }
        (Some(fields), None) | (None, Some(fields)) => fields,
        (None, None) => {
            spec.refuse("analysis", "say how the weight rises");
            return;
        }
    };
    plan.insert("strategy".to_owned(), strategy::translate(canary, &fields));
    affinity(&fields, plan);
    for key in ["primaryReadyThreshold", "canaryReadyThreshold"] {
        if fields.count(key).is_some_and(|percent| percent != 100) {
            fields.refuse(
                key,
                "a version takes traffic once all of its pods are ready",
            );
        }
    }
    fields.without(
        &["alerts"],
        "providers of Flagger are not read: write an AlertProvider and `alerts` of the Rollout",
    );
    let mut analysis = Map::new();
    put(&mut analysis, "skip", skip.then_some(true));
    put(&mut analysis, "interval", fields.text("interval"));
    put(
        &mut analysis,
        "failureThreshold",
        fields.count("threshold").map(|count| count.max(1)),
    );
    // What Flagger does with a metric that has no value.
    analysis.insert("onNoData".to_owned(), json!("Fail"));
    let metrics = metrics::translate(canary, &fields);
    put(
        &mut analysis,
        "metrics",
        (!metrics.is_empty()).then_some(metrics),
    );
    plan.insert("analysis".to_owned(), Value::Object(analysis));
    let hooks = webhooks::translate(&fields);
    put(plan, "hooks", (!hooks.is_empty()).then_some(hooks));
    fields.done();
}

fn affinity(analysis: &Fields<'_>, plan: &mut Map<String, Value>) {
    let Some(fields) = analysis.object("sessionAffinity") else {
        return;
    };
    let mut affinity = Map::new();
    match fields.text("cookieName") {
        Some(name) => {
            affinity.insert("cookieName".to_owned(), json!(name));
        }
        None => fields.refuse("cookieName", "name the cookie"),
    }
    let age = fields.count("maxAge").map(|seconds| format!("{seconds}s"));
    put(&mut affinity, "maxAge", age);
    put(
        &mut affinity,
        "stableCookieName",
        fields.text("primaryCookieName"),
    );
    fields.done();
    plan.insert("sessionAffinity".to_owned(), Value::Object(affinity));
}
