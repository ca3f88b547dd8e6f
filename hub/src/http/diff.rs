//! How two sides of an application differ in its clusters, and which override set what there.

mod sides;

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use bellwether_api::{
    call::{NotCompared, OverridesExplained, ReleaseDiff},
    reference::NamespacedName,
};
use bellwether_hub_core::{
    addons::Fleets,
    authorize::{Kind, Verb},
    diff::{Compared, Reading, compare, count_values, defaults, explain, explain_values},
    placement::ClusterFacts,
    release::ReleaseContent,
};
use serde::Deserialize;
use uuid::Uuid;

use sides::{Side, Sides};

use super::{
    auth::Caller,
    extract::{LimitedBody, Path, Query},
    problem::{ApiError, ApiResult},
};
use crate::{
    app::App,
    loops::{Comparing, Contents, LoopError},
};

/// What is compared with what.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiffQuery {
    /// The left side: a revision, `stored`, or `running`, which it is unless given.
    pub from: Option<String>,
    /// The right side: a revision, `running`, or `stored`, which it is unless given. With documents
    /// in the body it is those.
    pub to: Option<String>,
    /// Only these clusters, by name, with commas between them; all unless given.
    pub clusters: Option<String>,
}

/// What is explained.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
    /// The cluster, by name.
    pub cluster: String,
    /// A revision, or `stored`, which it is unless given.
    pub of: Option<String>,
}

/// Compares what clusters have on two sides, overrides applied, grouped by what differs.
#[utoipa::path(post, path = "/rollouts/{namespace}/{name}/diff", tag = "runs",
    params(("namespace" = String, Path), ("name" = String, Path), DiffQuery),
    request_body(content = String, content_type = "application/yaml",
        description = "documents that are compared instead of what is stored; may be empty"),
    responses(
    (status = 200, description = "the differences", body = ref("#/components/schemas/ReleaseDiff")),
    (status = 404, description = "no such application or revision", body = ref("#/components/schemas/Problem")),
    (status = 422, description = "a side makes no release", body = ref("#/components/schemas/Problem"))))]
pub async fn run_diff(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<DiffQuery>,
    LimitedBody(body): LimitedBody,
) -> ApiResult<Json<ReleaseDiff>> {
    caller.may(Verb::Get, Kind::Rollout, Some(&namespace))?;
    if !body.is_empty() && query.to.is_some() {
        return Err(ApiError::bad_request(
            "the right side is what is in the body; leave out `to`, or the body",
        ));
    }
    let from = Side::parse(query.from.as_deref().unwrap_or("running"))?;
    let to = if body.is_empty() {
        Side::parse(query.to.as_deref().unwrap_or("stored"))?
    } else {
        Side::Documents
    };
    let sides = Sides::load(&app, &namespace, &name, &body).await?;
    let application = sides.application.clone();
    let comparing = comparing(&app, &application).await?;
    let mut clusters = sides.clusters(&comparing, to).await?;
    if let Some(names) = &query.clusters {
        clusters = only(clusters, names)?;
    }
    let left = sides.contents(&comparing, from, &clusters).await?;
    let right = sides.contents(&comparing, to, &clusters).await?;
    let fleets = comparing.fleets().clone();
    let answer = ReleaseDiff {
        from: from.words(),
        to: to.words(),
        application,
        groups: Vec::new(),
        same: Vec::new(),
        unknown: Vec::new(),
    };
    let compared =
        tokio::task::spawn_blocking(move || filled(answer, &clusters, &fleets, &left, &right));
    compared
        .await
        .map(Json)
        .map_err(|error| ApiError::internal(&error))
}

/// Says which override set which field of what a cluster gets.
#[utoipa::path(get, path = "/rollouts/{namespace}/{name}/explain", tag = "runs",
    params(("namespace" = String, Path), ("name" = String, Path), ExplainQuery), responses(
    (status = 200, description = "overrides and fields", body = ref("#/components/schemas/OverridesExplained")),
    (status = 404, description = "no such application, revision or cluster", body = ref("#/components/schemas/Problem")),
    (status = 422, description = "an override does not fit there", body = ref("#/components/schemas/Problem"))))]
pub async fn run_explain(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<ExplainQuery>,
) -> ApiResult<Json<OverridesExplained>> {
    caller.may(Verb::Get, Kind::Rollout, Some(&namespace))?;
    let of = Side::parse(query.of.as_deref().unwrap_or("stored"))?;
    if matches!(of, Side::Running) {
        return Err(ApiError::bad_request(
            "what is explained is a revision, or `stored`",
        ));
    }
    let sides = Sides::load(&app, &namespace, &name, &[]).await?;
    let application = sides.application.clone();
    let comparing = comparing(&app, &application).await?;
    let clusters = sides.clusters(&comparing, of).await?;
    let clusters = only(clusters, &query.cluster)?;
    let [cluster] = clusters.as_slice() else {
        return Err(ApiError::bad_request("name one cluster"));
    };
    let mut contents = sides.contents(&comparing, of, &clusters).await?;
    let content = match contents.remove(&cluster.id) {
        Some(Ok(content)) => content,
        Some(Err(why)) => return Err(unprocessable(why)),
        None => {
            return Err(ApiError::not_found(format!(
                "{application} is not meant for cluster {:?}",
                cluster.name
            )));
        }
    };
    let salt = rand::random::<[u8; 32]>();
    let reading = Reading {
        fleets: comparing.fleets(),
        salt: &salt,
    };
    let (mut overrides, fields) = explain(&content, cluster, reading).map_err(|error| {
        let cause = &error.source;
        unprocessable(format!("{error}: {cause}"))
    })?;
    let values = explain_values(&content, cluster, reading).map_err(|error| {
        let cause = &error.source;
        unprocessable(format!("{error}: {cause}"))
    })?;
    count_values(&mut overrides, &values);
    let defaults = defaults(
        &content,
        cluster,
        sides.alerts(),
        sides.fleet(comparing.fleets()),
    );
    Ok(Json(OverridesExplained {
        application: application.clone(),
        cluster: cluster.name.clone(),
        of: of.words(),
        overrides,
        fields,
        values,
        defaults,
    }))
}

async fn comparing<'a>(app: &'a App, application: &'a NamespacedName) -> ApiResult<Comparing<'a>> {
    Comparing::load(
        &app.store,
        Some(&app.renderings),
        application,
        app.clock.now(),
    )
    .await
    .map_err(told)
}

/// Keeps the clusters that are named.
fn only(clusters: Vec<ClusterFacts>, names: &str) -> ApiResult<Vec<ClusterFacts>> {
    let mut found = Vec::new();
    for name in names.split(',').map(str::trim) {
        let Some(cluster) = clusters.iter().find(|cluster| cluster.name == name) else {
            let known: Vec<&str> = clusters
                .iter()
                .map(|one| one.name.as_str())
                .take(20)
                .collect();
            let known = match known.as_slice() {
                [] => "there is none".to_owned(),
                known => format!("there are {}", known.join(", ")),
            };
            return Err(ApiError::not_found(format!(
                "cluster {name:?} neither has the application nor shall get it; {known}"
            )));
        };
        found.push(cluster.clone());
    }
    Ok(found)
}

fn filled(
    mut answer: ReleaseDiff,
    clusters: &[ClusterFacts],
    fleets: &Fleets,
    from: &Contents,
    to: &Contents,
) -> ReleaseDiff {
    let mut pairs = Vec::with_capacity(clusters.len());
    for cluster in clusters {
        match (
            from.get(&cluster.id).map(known),
            to.get(&cluster.id).map(known),
        ) {
            (Some(Err(why)), _) | (_, Some(Err(why))) => answer.unknown.push(NotCompared {
                cluster: cluster.name.clone(),
                why: why.to_owned(),
            }),
            (left, right) => pairs.push(Compared {
                cluster,
                from: left.and_then(Result::ok),
                to: right.and_then(Result::ok),
            }),
        }
    }
    let salt = rand::random::<[u8; 32]>();
    let reading = Reading {
        fleets,
        salt: &salt,
    };
    let found = compare(&pairs, reading);
    answer.groups = found.groups;
    answer.same = found.same;
    answer.unknown.extend(found.unknown);
    answer
}

fn known(content: &Result<Arc<ReleaseContent>, String>) -> Result<&ReleaseContent, &str> {
    content.as_deref().map_err(String::as_str)
}

/// What keeps a side from being known, as whoever asked reads it.
fn told(error: LoopError) -> ApiError {
    match error {
        LoopError::Rendering { .. } => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Rendering",
            format!("{}; ask again", error.chain()),
        ),
        LoopError::Place { .. }
        | LoopError::Release { .. }
        | LoopError::Unrendered { .. }
        | LoopError::Refused { .. } => unprocessable(error.chain()),
        other => other.into(),
    }
}

fn unprocessable(detail: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", detail)
}

/// The clusters of one list, and those of another that are not in it.
fn united(
    mut one: Vec<ClusterFacts>,
    other: impl IntoIterator<Item = ClusterFacts>,
) -> Vec<ClusterFacts> {
    let known: BTreeSet<Uuid> = one.iter().map(|cluster| cluster.id).collect();
    one.extend(
        other
            .into_iter()
            .filter(|cluster| !known.contains(&cluster.id)),
    );
    one.sort_by(|a, b| a.name.cmp(&b.name));
    one
}
