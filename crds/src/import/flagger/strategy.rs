use serde_json::{Map, Value, json};

use super::{Fields, canary::Canary, matching, put};

/// Flagger's own way to tell strategies apart: by which fields are set.
pub(super) fn translate(canary: &Canary<'_>, analysis: &Fields<'_>) -> Value {
    let matches = matching::translate(canary, analysis);
    let iterations = analysis.count("iterations").unwrap_or_default();
    if iterations == 0 {
        if !matches.is_empty() {
            analysis.refuse(
                "match",
                "beside weights Flagger splits the matching requests alone, which is not done here; \
                 set iterations for an A/B test",
            );
        }
        return json!({"canary": weights(analysis)});
    }
    analysis.without(
        &[
            "stepWeight",
            "stepWeights",
            "maxWeight",
            "stepWeightPromotion",
        ],
        "a plan has iterations or weights, not both",
    );
    let mirror = analysis.flag("mirror");
    if analysis
        .count("mirrorWeight")
        .is_some_and(|share| share != 100)
    {
        analysis.refuse("mirrorWeight", "with iterations every request is mirrored");
    }
    if matches.is_empty() {
        // Stock Flagger sends no request of a user there before the checks have passed.
        let traffic = if mirror { "Mirror" } else { "None" };
        return json!({"blueGreen": {"iterations": iterations, "analysisTraffic": traffic}});
    }
    if mirror {
        analysis.refuse("mirror", "an A/B test mirrors nothing");
    }
    json!({"abTest": {"iterations": iterations, "match": matches}})
}

fn weights(analysis: &Fields<'_>) -> Map<String, Value> {
    let mut plan = Map::new();
    let step = analysis.count("stepWeight").filter(|step| *step > 0);
    let max = analysis.count("maxWeight").filter(|max| *max > 0);
    let listed = analysis.get("stepWeights").and_then(Value::as_array);
    let listed: Vec<u64> = listed
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    let is_mirrored = analysis.flag("mirror");
    let share = analysis.count("mirrorWeight").filter(|_| is_mirrored);
    match (step, listed.is_empty()) {
        (None, true) => analysis.refuse(
            "stepWeight",
            "nothing says how the weight rises: set stepWeight, stepWeights or iterations",
        ),
        (Some(_), false) => {
            analysis.refuse("stepWeights", "stepWeight says it already; leave one");
        }
        (Some(step), true) => match share {
            Some(share) => mirrored(&mut plan, share, &linear(step, max.unwrap_or(100))),
            None => {
                plan.insert("stepWeight".to_owned(), json!(step));
                put(&mut plan, "maxWeight", max);
            }
        },
        (None, false) => {
            if max.is_some() {
                analysis.note("maxWeight", "stepWeights end where they end");
            }
            match share {
                Some(share) => mirrored(&mut plan, share, &listed),
                None => {
                    plan.insert("weights".to_owned(), json!(listed));
                }
            }
        }
    }
    if is_mirrored && share.is_none() {
        plan.insert("mirror".to_owned(), json!(true));
    }
    let back = analysis
        .count("stepWeightPromotion")
        .filter(|step| *step > 0);
    put(&mut plan, "stepWeightPromotion", back);
    plan
}

/// A first step of mirrored requests alone needs the weights one by one.
fn mirrored(plan: &mut Map<String, Value>, share: u64, weights: &[u64]) {
    let mut steps = vec![json!({"weight": 0, "mirror": share})];
    steps.extend(weights.iter().map(|weight| json!({"weight": weight})));
    plan.insert("steps".to_owned(), Value::Array(steps));
    plan.insert("advance".to_owned(), json!("Auto"));
}

fn linear(step: u64, max: u64) -> Vec<u64> {
    let mut weights = Vec::new();
    let mut weight = step.min(max);
    while weight < max {
        weights.push(weight);
        weight = (weight + step).min(max);
    }
    weights.push(max);
    weights
}
