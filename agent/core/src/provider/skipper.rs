//! Skipper: an Ingress whose paths stand once for each version, with an annotation of weights.

use bellwether_api::number::Weight;
use serde_json::{Map, Value, json};

use super::{
    Names, RenderError, Renderer, Split,
    tree::{items, items_mut, namespace_of, object, text},
};

/// Ingress of Skipper.
#[derive(Clone, Copy, Debug)]
pub struct Skipper;

const WEIGHTS: &str = "zalando.org/backend-weights";

impl Renderer for Skipper {
    fn render(&self, ingress: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        if !names.rules.is_empty() {
            return Err(RenderError::Unsplittable {
                what: "single rules".to_owned(),
                why: "Skipper's weights hold for the whole Ingress; leave traffic[].rules out",
            });
        }
        if namespace_of(ingress) != names.namespace {
            return Err(RenderError::NoBackend {
                service: names.apex.clone(),
            });
        }
        let mut out = ingress.clone();
        let mut found = Vec::new();
        let rules = items_mut(&mut out, "/spec/rules").into_iter().flatten();
        for (index, rule) in rules.enumerate() {
            let Some(paths) = items_mut(rule, "/http/paths") else {
                continue;
            };
            let before = paths.len();
            *paths = paths.drain(..).flat_map(|path| both(path, names)).collect();
            if paths.len() > before {
                found.push((index, None));
            }
        }
        names.all_found(&found)?;
        let mut weights = weights_of(ingress)?;
        let own = weights
            .get(&names.apex)
            .and_then(Value::as_f64)
            .unwrap_or(100.0);
        let share = f64::from(split.weight.percent()) / 100.0;
        weights.insert(names.apex.clone(), number(own * (1.0 - share)));
        weights.insert(names.canary.clone(), number(own * share));
        if let Some(annotations) = object(&mut out["metadata"], "annotations") {
            annotations.insert(WEIGHTS.to_owned(), json!(json!(weights).to_string()));
        }
        Ok(out)
    }

    fn observed_weight(&self, ingress: &Value, _own: &[&Value], names: &Names) -> Option<Weight> {
        let leads = items(ingress, "/spec/rules")
            .iter()
            .flat_map(|rule| items(rule, "/http/paths"))
            .any(|path| is(path, &names.apex));
        if !leads {
            return None;
        }
        let weights = weights_of(ingress).ok()?;
        let of = |service: &str| weights.get(service).and_then(Value::as_f64);
        let Some(canary) = of(&names.canary) else {
            return Some(Weight::ZERO);
        };
        let total = of(&names.apex)? + canary;
        (total > 0.0).then(|| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of 100 is between 0 and 100"
            )]
            let percent = (canary * 100.0 / total).round() as u32;
            Weight::clamped(percent)
        })
    }
}

fn is(path: &Value, service: &str) -> bool {
    path.pointer("/backend/service")
        .is_some_and(|own| text(own, "name") == service)
}

/// A path of the apex for each version; others as they are.
fn both(path: Value, names: &Names) -> Vec<Value> {
    if !is(&path, &names.apex) {
        return vec![path];
    }
    let mut canary = path.clone();
    canary["backend"]["service"]["name"] = json!(names.canary);
    vec![path, canary]
}

fn weights_of(ingress: &Value) -> Result<Map<String, Value>, RenderError> {
    let written = ingress
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(WEIGHTS)?.as_str());
    let Some(written) = written else {
        return Ok(Map::new());
    };
    serde_json::from_str(written).map_err(|_| RenderError::Unsplittable {
        what: format!("annotation {WEIGHTS}"),
        why: "it is no JSON object of weights",
    })
}

/// Whole where it can be: 80 and not 80.0.
fn number(value: f64) -> Value {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded.fract() == 0.0 && rounded.abs() < 9.0e15 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the range is checked before"
        )]
        let whole = rounded as i64;
        return json!(whole);
    }
    json!(rounded)
}

#[cfg(test)]
mod tests;
