//! Where applications are placed and why, and closing clusters for what is placed anew.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State};
use bellwether_api::{
    application::ApplicationSpec,
    bundle::UnitKey,
    call::{
        ClusterPlacement, Condition, CordonRequest, DrainView, DrainedApplication, Item,
        PlacementView,
    },
    cluster::Cordon,
    placement::{Pick, PlacementPolicy},
    reference::NamespacedName,
};
use bellwether_hub_core::{
    addons::{self, Fleets, Unread, choose},
    authorize::{Kind, Verb},
    placement::{
        Choice, Chosen, ClusterFacts, PlacementCondition, PlacementError, Verdict, group_texts,
        score_texts, sentence,
    },
};
use bellwether_store::{
    StoreError,
    clusters::{self, Cluster},
    desired,
    records::{self, RecordKind},
};
use uuid::Uuid;

use super::{
    auth::Caller,
    division::shares,
    extract::{OptionalJsonBody, Path},
    items::{Scene, application_spec},
    problem::{ApiError, ApiResult},
    reason::reason,
};
use crate::{app::App, loops::planned_clusters};

/// Chooses the clusters of an application as they are now.
///
/// # Errors
/// The database fails.
pub async fn chosen(
    app: &App,
    scene: &Scene,
    name: &NamespacedName,
    spec: &ApplicationSpec,
) -> ApiResult<Result<Chosen, PlacementError>> {
    let holders = desired::holders(&app.store, &format!("application/{name}")).await?;
    // Without a policy what is planned decides nothing, and a plan is long.
    let planned = match spec.placement {
        Some(_) => planned_clusters(&app.store, name).await?,
        None => BTreeSet::new(),
    };
    let standing = scene.standing(spec, holders.into_keys().collect(), planned);
    let (fleets, unread) = fleets(app).await?;
    if let Err(error) = unread.has_none(name) {
        return Ok(Err(error));
    }
    let fleet = spec.destination.fleet.as_ref();
    let choice = Choice {
        destination: &spec.destination,
        policy: spec.placement.as_ref(),
        fleet: fleet.and_then(|name| fleets.get(name)),
        clusters: &scene.facts(),
        standing: &standing,
    };
    Ok(choose(name, choice, &fleets))
}

/// Every fleet, since one may have the application as an add-on; and those that cannot be read.
async fn fleets(app: &App) -> Result<(Fleets, Unread), StoreError> {
    let records = records::list_all(&app.store, RecordKind::Fleet).await?;
    let specs = records.into_iter().map(|one| (one.key.name, one.spec));
    // The loops tell of them.
    Ok(addons::read(specs, |_, _| {}))
}

/// Returns what people should know of where an application is placed.
///
/// # Errors
/// The database fails.
pub async fn placement_conditions(
    app: &App,
    scene: &Scene,
    name: &NamespacedName,
    spec: &ApplicationSpec,
) -> ApiResult<Vec<Condition>> {
    Ok(match chosen(app, scene, name, spec).await? {
        Err(error) => vec![condition("Unplaceable", error.to_string())],
        Ok(found) => {
            let moving = moving(app, scene, name, &found).await?;
            shown(&found.placement.conditions())
                .into_iter()
                .chain(moving)
                .collect()
        }
    })
}

/// What is to be said of an application that moves from one cluster to another.
async fn moving(
    app: &App,
    scene: &Scene,
    name: &NamespacedName,
    found: &Chosen,
) -> ApiResult<Option<Condition>> {
    let moving = found.moving();
    if moving.is_empty() {
        return Ok(None);
    }
    let holding = desired::holders(&app.store, &format!("application/{name}")).await?;
    let leaves = |one: &&Cluster| moving.contains(&one.id) && holding.contains_key(&one.id);
    let leaving = scene.clusters.iter().filter(leaves);
    let names: Vec<&str> = leaving.map(|cluster| cluster.name.as_str()).collect();
    Ok((!names.is_empty()).then(|| {
        let names = names.join(", ");
        condition(
            "Moving",
            format!("it leaves {names} once every cluster that is chosen has it and is healthy"),
        )
    }))
}

/// Shows what is to be said of a placement.
pub fn shown(conditions: &[PlacementCondition]) -> Vec<Condition> {
    let shown = conditions.iter();
    shown
        .map(|one| condition(one.kind(), one.message()))
        .collect()
}

/// Makes a condition that holds.
pub fn condition(kind: &str, message: String) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: "True".to_owned(),
        reason: kind.to_owned(),
        message,
    }
}

/// Shows where an application is placed, and of every cluster why or why not.
#[utoipa::path(get, path = "/namespaces/{namespace}/applications/{name}/placement", tag = "placement",
    params(("namespace" = String, Path), ("name" = String, Path)), responses(
    (status = 200, description = "every cluster of the destination", body = ref("#/components/schemas/PlacementView")),
    (status = 404, description = "there is no such application", body = ref("#/components/schemas/Problem"))))]
pub async fn explain_placement(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
) -> ApiResult<Json<PlacementView>> {
    caller.may(Verb::Get, Kind::Application, Some(&namespace))?;
    let name = NamespacedName { namespace, name };
    let Some(spec) = application_spec(&app.store, &name).await? else {
        return Err(ApiError::not_found(format!(
            "there is no application {:?} in namespace {:?}",
            name.name, name.namespace
        )));
    };
    let scene = Scene::load(&app).await?;
    let found = chosen(&app, &scene, &name, &spec)
        .await?
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let holding = desired::holders(&app.store, &format!("application/{name}")).await?;
    let policy = spec.placement.clone().unwrap_or_default();
    let facts = scene.facts();
    let (fleets, _) = fleets(&app).await?;
    let mut shares = shares(&app, &name, &spec, &found.placement.clusters, &fleets).await?;
    let mut conditions = placement_conditions(&app, &scene, &name, &spec).await?;
    conditions.extend(shares.condition.take());
    let clusters = found.verdicts.iter().filter_map(|(id, verdict)| {
        let cluster = facts.iter().find(|one| one.id == *id)?;
        let has_it = holding.contains_key(id);
        Some(ClusterPlacement {
            replicas: shares.take(&cluster.name),
            ..explained(&policy, cluster, *verdict, has_it)
        })
    });
    Ok(Json(PlacementView {
        clusters: clusters.collect(),
        chosen: u32::try_from(found.placement.clusters.len()).unwrap_or(u32::MAX),
        wanted: policy.count.filter(|_| policy.pick == Pick::N),
        conditions,
        application: name.name,
        namespace: name.namespace,
    }))
}

fn explained(
    policy: &PlacementPolicy,
    cluster: &ClusterFacts,
    verdict: Verdict,
    has_it: bool,
) -> ClusterPlacement {
    ClusterPlacement {
        cluster: cluster.name.clone(),
        chosen: verdict.is_chosen(),
        has_it,
        why: sentence(verdict, policy, cluster),
        scores: score_texts(policy, cluster),
        groups: group_texts(policy, cluster),
        replicas: Vec::new(),
    }
}

async fn find(app: &App, name: &str) -> ApiResult<Cluster> {
    clusters::get(&app.store, name)
        .await?
        .ok_or_else(|| ApiError::not_found(format!("there is no cluster {name:?}")))
}

/// Closes a cluster for what is placed anew; with `drain` it also gives away what another cluster
/// can take. The body may be left out.
#[utoipa::path(put, path = "/clusters/{name}/cordon", params(("name" = String, Path)),
    tag = "placement", request_body = ref("#/components/schemas/CordonRequest"),
    responses((status = 200, description = "the cluster", body = ref("#/components/schemas/Item")),
    (status = 404, description = "there is none", body = ref("#/components/schemas/Problem"))))]
pub async fn cordon_cluster(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    OptionalJsonBody(request): OptionalJsonBody<CordonRequest>,
) -> ApiResult<Json<Item>> {
    let cordon = Cordon {
        drain: request.drain,
        by: caller.principal.name.clone(),
        reason: reason(Some(&request.reason))?.to_owned(),
        since: app.clock.now().to_string(),
    };
    set_cordon(&app, &caller, &name, Some(&cordon)).await
}

/// Opens a cluster again.
#[utoipa::path(delete, path = "/clusters/{name}/cordon", params(("name" = String, Path)),
    tag = "placement",
    responses((status = 200, description = "the cluster", body = ref("#/components/schemas/Item")),
    (status = 404, description = "there is none", body = ref("#/components/schemas/Problem"))))]
pub async fn uncordon_cluster(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<Item>> {
    set_cordon(&app, &caller, &name, None).await
}

async fn set_cordon(
    app: &App,
    caller: &Caller,
    name: &str,
    cordon: Option<&Cordon>,
) -> ApiResult<Json<Item>> {
    caller.may(Verb::Apply, Kind::Cluster, None)?;
    let cluster = find(app, name).await?;
    let mut tx = app.store.begin().await?;
    clusters::set_cordon(&mut tx, cluster.id, cordon).await?;
    tx.commit().await?;
    app.pokes.plan.notify_one();
    tracing::info!(
        cluster.id = %cluster.id, cluster.name = %name, principal = %caller.principal.name,
        cordoned = cordon.is_some(), draining = cordon.is_some_and(|one| one.drain),
        reason = cordon.map(|one| one.reason.as_str()), "cluster cordoned or opened"
    );
    let cluster = find(app, name).await?;
    Ok(Json(Scene::load(app).await?.cluster(&cluster)))
}

/// Shows what a cluster has, and whether a drain moves it.
#[utoipa::path(get, path = "/clusters/{name}/drain", params(("name" = String, Path)),
    tag = "placement",
    responses((status = 200, description = "its applications", body = ref("#/components/schemas/DrainView")),
    (status = 404, description = "there is none", body = ref("#/components/schemas/Problem"))))]
pub async fn drain_status(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Json<DrainView>> {
    caller.may(Verb::Get, Kind::Cluster, None)?;
    let cluster = find(&app, &name).await?;
    let held = desired::applications_of(&app.store, &[cluster.id]).await?;
    let keys = held.into_values().next().unwrap_or_default();
    let scene = Scene::load(&app).await?;
    let mut applications = Vec::new();
    for key in keys {
        let Ok(UnitKey::Application(application)) = key.parse() else {
            continue;
        };
        if caller
            .may(Verb::Get, Kind::Application, Some(&application.namespace))
            .is_err()
        {
            continue;
        }
        applications.push(drained(&app, &scene, &cluster, application).await?);
    }
    applications
        .sort_by(|a, b| (&a.namespace, &a.application).cmp(&(&b.namespace, &b.application)));
    Ok(Json(DrainView {
        cluster: name,
        draining: cluster.cordon.is_some_and(|cordon| cordon.drain),
        applications,
    }))
}

async fn drained(
    app: &App,
    scene: &Scene,
    cluster: &Cluster,
    application: NamespacedName,
) -> ApiResult<DrainedApplication> {
    let (moves, why) = match application_spec(&app.store, &application).await? {
        None => (true, "it was deleted".to_owned()),
        Some(spec) => match chosen(app, scene, &application, &spec).await? {
            Err(error) => (false, error.to_string()),
            Ok(found) => judged(&found, cluster.id, &spec),
        },
    };
    Ok(DrainedApplication {
        application: application.name,
        namespace: application.namespace,
        moves,
        why,
    })
}

/// Says whether an application moves away from a cluster that has it.
fn judged(found: &Chosen, cluster: Uuid, spec: &ApplicationSpec) -> (bool, String) {
    let verdict = found.verdicts.iter().find(|(id, _)| *id == cluster);
    match verdict.map(|(_, verdict)| *verdict) {
        Some(verdict) if verdict.moves() => {
            let clusters = found.placement.clusters.iter();
            let names: BTreeSet<&str> = clusters.map(|cluster| cluster.name.as_str()).collect();
            let names: Vec<&str> = names.into_iter().collect();
            let names = names.join(", ");
            (
                true,
                format!("it leaves once {names} have it and are healthy"),
            )
        }
        Some(verdict) if verdict.is_chosen() => {
            let counts = spec.placement.as_ref().map(|policy| policy.pick) == Some(Pick::N);
            let why = if counts {
                "no other cluster fits its placement"
            } else {
                "it goes to every cluster of its destination; only placement.pick: N moves"
            };
            (false, why.to_owned())
        }
        _ => (true, "its records do not place it here any more".to_owned()),
    }
}
