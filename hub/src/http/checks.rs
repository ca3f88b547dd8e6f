//! What the checks of an application's rollouts measured.

use std::sync::Arc;

use axum::{Json, extract::State};
use bellwether_api::call::{Measurement, MeasurementList};
use bellwether_proto::wire::Sample;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    auth::Caller,
    extract::{Path, Query},
    items::Scene,
    problem::{ApiError, ApiResult},
    runs::{may_read, unit_key},
};
use crate::app::App;

/// Measurements of one answer, unless it is asked for fewer.
const MOST: u32 = 5_000;

/// Which measurements.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MeasurementQuery {
    /// Only of this cluster.
    pub cluster: Option<String>,
    /// Only of this metric.
    pub metric: Option<String>,
    /// How many of the newest; 5,000 unless given, and at most.
    pub limit: Option<u32>,
}

/// Lists what checks measured, with the limit and the verdict of each, oldest first. The hub keeps the
/// newest 240 of an application in each cluster, in memory.
#[utoipa::path(get, path = "/rollouts/{namespace}/{name}/measurements", tag = "runs",
    params(("namespace" = String, Path), ("name" = String, Path), MeasurementQuery), responses(
    (status = 200, description = "the measurements", body = ref("#/components/schemas/MeasurementList")),
    (status = 404, description = "no such application or cluster", body = ref("#/components/schemas/Problem"))))]
pub async fn run_measurements(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<MeasurementQuery>,
) -> ApiResult<Json<MeasurementList>> {
    let application = may_read(&app, &caller, &namespace, &name).await?;
    let key = unit_key(&app, &application).await?;
    let scene = Scene::load(&app).await?;
    if let Some(wanted) = &query.cluster
        && !scene.clusters.iter().any(|one| one.name == *wanted)
    {
        return Err(ApiError::not_found(format!(
            "there is no cluster {wanted:?} here"
        )));
    }
    let mut items = Vec::new();
    for cluster in &scene.clusters {
        if query
            .cluster
            .as_ref()
            .is_none_or(|one| *one == cluster.name)
        {
            let samples = app.sessions.samples().of(cluster.id, &key);
            items.extend(samples.into_iter().map(|one| (one, cluster.name.clone())));
        }
    }
    items.retain(|(one, _)| query.metric.as_ref().is_none_or(|name| *name == one.metric));
    items.sort_by_key(|(one, _)| one.at_ms);
    let most = query.limit.unwrap_or(MOST).min(MOST) as usize;
    let items = items.split_off(items.len().saturating_sub(most));
    Ok(Json(MeasurementList {
        items: items.into_iter().filter_map(shown).collect(),
    }))
}

/// Shows a sample; what an agent cannot have meant (no run, a time beyond all times) is left out.
fn shown((sample, cluster): (Sample, String)) -> Option<Measurement> {
    Some(Measurement {
        at: Timestamp::from_millisecond(sample.at_ms).ok()?.to_string(),
        cluster,
        rollout: sample.rollout,
        run: sample.run.parse().ok()?,
        attempt: sample.attempt,
        step: sample.step,
        weight: sample.weight,
        metric: sample.metric,
        value: sample.value,
        stable: sample.stable,
        limit: sample.limit,
        verdict: sample.verdict,
    })
}
