//! What policy engines found, by cluster and over all of them.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use bellwether_api::{
    call::{ClusterCompliance, ComplianceList},
    compliance::{Compliance, PolicyCounts, PolicySource, ResultCounts},
    fleet::FleetSpec,
};
use bellwether_hub_core::{
    authorize::{Kind, Verb},
    placement::is_member,
};
use bellwether_store::{
    clusters::{self, Cluster},
    records::{self, RecordKey, RecordKind},
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    auth::Caller,
    extract::Query,
    items::Scene,
    problem::{ApiError, ApiResult},
};
use crate::{
    app::App,
    scheduling::{Kinds, facts_of},
};

/// Of which clusters.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ComplianceQuery {
    /// Only members of this fleet.
    pub fleet: Option<String>,
    /// Only this cluster.
    pub cluster: Option<String>,
}

/// Says what policy engines found in clusters.
#[utoipa::path(get, path = "/compliance", params(ComplianceQuery), tag = "clusters", responses(
    (status = 200, description = "the clusters", body = ref("#/components/schemas/ComplianceList")),
    (status = 404, description = "there is no such fleet or cluster",
        body = ref("#/components/schemas/Problem"))))]
pub async fn compliance(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<ComplianceQuery>,
) -> ApiResult<Json<ComplianceList>> {
    caller.may(Verb::List, Kind::Cluster, None)?;
    let fleet = match &query.fleet {
        Some(name) => Some(fleet(&app, name).await?),
        None => None,
    };
    let scene = Scene::load(&app).await?;
    let mut found = clusters::compliance(&app.store).await?;
    let mut kinds = Kinds::new();
    let mut items = Vec::new();
    for cluster in &scene.clusters {
        let named = query
            .cluster
            .as_ref()
            .is_none_or(|name| *name == cluster.name);
        let within = |fleet: &FleetSpec| is_member(fleet, &facts_of(cluster, &mut kinds));
        if named && fleet.as_ref().is_none_or(within) {
            items.push(shown(&scene, cluster, found.remove(&cluster.id)));
        }
    }
    if let Some(name) = query.cluster.filter(|_| items.is_empty()) {
        return Err(ApiError::not_found(format!(
            "there is no cluster {name:?} here"
        )));
    }
    let policies = together(&items);
    Ok(Json(ComplianceList { items, policies }))
}

async fn fleet(app: &App, name: &str) -> ApiResult<FleetSpec> {
    let key = RecordKey {
        kind: RecordKind::Fleet,
        namespace: String::new(),
        name: name.to_owned(),
    };
    let record = records::get(&app.store, &key).await?;
    let spec = record.and_then(|record| serde_json::from_value(record.spec).ok());
    spec.ok_or_else(|| ApiError::not_found(format!("there is no fleet {name:?}")))
}

fn shown(
    scene: &Scene,
    cluster: &Cluster,
    found: Option<(Compliance, Timestamp)>,
) -> ClusterCompliance {
    let since = found.as_ref().map(|(_, at)| at.to_string());
    let found = found.map(|(found, _)| found).unwrap_or_default();
    let counts = found.policies.iter().map(|one| one.counts);
    ClusterCompliance {
        cluster: cluster.name.clone(),
        condition: scene.condition(cluster).0,
        since,
        total: counts.fold(ResultCounts::default(), ResultCounts::plus),
        policies: found.policies,
        more: found.more,
        problem: found.problem,
    }
}

fn together(items: &[ClusterCompliance]) -> Vec<PolicyCounts> {
    let mut sums: BTreeMap<(&str, PolicySource), ResultCounts> = BTreeMap::new();
    for one in items.iter().flat_map(|item| &item.policies) {
        let sum = sums.entry((one.policy.as_str(), one.source)).or_default();
        *sum = sum.plus(one.counts);
    }
    sums.into_iter()
        .map(|((policy, source), counts)| PolicyCounts {
            policy: policy.to_owned(),
            source,
            counts,
        })
        .collect()
}
