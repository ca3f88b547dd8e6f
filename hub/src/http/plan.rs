//! What would change where if documents were applied; nothing is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{Json, extract::State};
use bellwether_api::{
    application::ApplicationSpec,
    call::{ApplicationPlan, PlacementChange, PlanView, PlannedChange},
    custom_resource::ALLOW_REMOVAL,
    document::Document,
    fleet::FleetSpec,
    reference::NamespacedName,
    validate::DEFAULT_NAMESPACE,
};
use bellwether_hub_core::{
    addons,
    allowance::Allowance,
    ownership::Writer,
    placement::{Choice, Chosen, ClusterFacts, Removal, removal, sentence},
    plan::{INSTALL_WAVE, ONLY_WAVE, assign},
};
use bellwether_store::{
    Tx, desired,
    records::{self, RecordKey, RecordKind},
};
use uuid::Uuid;

use super::{
    apply::{ApplyQuery, Scope, Written, write_body},
    auth::Caller,
    division::shares,
    extract::{LimitedBody, Query},
    items::Scene,
    placement::{condition, shown},
    problem::ApiResult,
    references,
};
use crate::{
    app::App,
    loops::{planned_clusters, removal_allowance},
};

/// Says what would change where if documents were applied: which clusters get, keep and lose which
/// applications, why, and in which wave. Nothing is stored.
#[utoipa::path(
    post, path = "/plan", params(ApplyQuery), tag = "placement",
    request_body(content = String, content_type = "application/yaml"),
    responses(
        (status = 200, description = "what would change", body = ref("#/components/schemas/PlanView")),
        (status = 413, description = "the body is too large", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "documents are wrong", body = ref("#/components/schemas/Problem")),
    ),
)]
pub async fn plan(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<ApplyQuery>,
    LimitedBody(body): LimitedBody,
) -> ApiResult<Json<PlanView>> {
    let scope = Scope {
        namespace: query.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE),
        dry_run: true,
        reason: "",
        writer: Writer::Person,
    };
    let scene = Scene::load(&app).await?;
    // Dropped without a commit: everything is seen as it would be, and nothing stays.
    let Written {
        mut tx,
        documents,
        result,
    } = write_body(&app, &caller, &body, &scope, None).await?;
    let mut view = PlanView {
        warnings: result.warnings,
        ..PlanView::default()
    };
    let everything = documents
        .iter()
        .any(|document| matches!(document, Document::Cluster(_)));
    let named = references::named(&mut tx, &documents, scope.namespace).await?;
    let specs = if everything {
        references::applications(&mut tx).await?
    } else {
        named.clone()
    };
    let known = Known {
        fleets: references::fleets(&mut tx).await?,
        clusters: references::all_facts(&mut tx).await?,
        scene,
    };
    for (name, spec) in &specs {
        let plan = known.plan(&app, &mut tx, name, spec).await?;
        let kept = |one: &PlannedChange| one.change == PlacementChange::Kept;
        if named.contains_key(name) || !plan.clusters.iter().all(kept) {
            view.applications.push(plan);
        }
    }
    Ok(Json(view))
}

/// What the hub would know if the documents were applied.
struct Known {
    fleets: BTreeMap<String, FleetSpec>,
    clusters: Vec<ClusterFacts>,
    scene: Scene,
}

impl Known {
    async fn plan(
        &self,
        app: &App,
        tx: &mut Tx,
        name: &NamespacedName,
        spec: &ApplicationSpec,
    ) -> ApiResult<ApplicationPlan> {
        let holders = desired::holders_in(tx, &format!("application/{name}")).await?;
        let holding: BTreeSet<Uuid> = holders.into_keys().collect();
        let planned = planned_clusters(&app.store, name).await?;
        let standing = self.scene.standing(spec, holding.clone(), planned);
        let fleet = spec.destination.fleet.as_ref();
        let choice = Choice {
            destination: &spec.destination,
            policy: spec.placement.as_ref(),
            fleet: fleet.and_then(|name| self.fleets.get(name)),
            clusters: &self.clusters,
            standing: &standing,
        };
        let found = addons::choose(name, choice, &self.fleets);
        let planned = Planned {
            name,
            spec,
            clusters: &self.clusters,
            holding: &holding,
            allowance: allowance(tx, name).await?,
        };
        Ok(match found {
            Ok(found) => {
                let clusters = &found.placement.clusters;
                let mut shares = shares(app, name, spec, clusters, &self.fleets).await?;
                let mut plan = planned.view(&found);
                for change in &mut plan.clusters {
                    change.replicas = shares.take(&change.cluster);
                }
                plan.conditions.extend(shares.condition);
                plan
            }
            Err(error) => ApplicationPlan {
                conditions: vec![condition("Unplaceable", error.to_string())],
                ..planned.view(&Chosen::default())
            },
        })
    }
}

/// Reads what allows clusters to lose the application at once; absent = there is no such application. Nothing is
/// used up.
async fn allowance(tx: &mut Tx, name: &NamespacedName) -> ApiResult<Option<Allowance>> {
    let key = RecordKey {
        kind: RecordKind::Application,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    };
    Ok(match records::lock(tx, &key).await? {
        Some(record) => Some(removal_allowance(tx, &record).await?),
        None => None,
    })
}

/// What the plan for one application is made from.
struct Planned<'a> {
    name: &'a NamespacedName,
    spec: &'a ApplicationSpec,
    clusters: &'a [ClusterFacts],
    holding: &'a BTreeSet<Uuid>,
    /// Absent = there is no such application.
    allowance: Option<Allowance>,
}

impl Planned<'_> {
    fn view(&self, found: &Chosen) -> ApplicationPlan {
        let waves = self.waves(found);
        let policy = self.spec.placement.clone().unwrap_or_default();
        let verdicts: BTreeMap<Uuid, _> = found.verdicts.iter().copied().collect();
        let mut changes = Vec::new();
        for cluster in self.clusters {
            let verdict = verdicts.get(&cluster.id).copied();
            let chosen = verdict.is_some_and(|verdict| verdict.is_chosen());
            let change = match (self.holding.contains(&cluster.id), chosen) {
                (false, true) => PlacementChange::Added,
                (true, true) => PlacementChange::Kept,
                (true, false) => PlacementChange::Removed,
                (false, false) => continue,
            };
            changes.push(PlannedChange {
                cluster: cluster.name.clone(),
                change,
                why: verdict.map_or_else(
                    || "the destination does not name it".to_owned(),
                    |verdict| sentence(verdict, &policy, cluster),
                ),
                wave: waves.get(&cluster.id).cloned(),
                replicas: Vec::new(),
            });
        }
        let mut conditions = shown(&found.placement.conditions());
        conditions.extend(self.brake(found));
        ApplicationPlan {
            application: self.name.name.clone(),
            namespace: self.name.namespace.clone(),
            clusters: changes,
            conditions,
        }
    }

    /// The waves in which a release reaches the clusters. Nothing runs before the first one, which
    /// goes everywhere at once.
    fn waves(&self, found: &Chosen) -> BTreeMap<Uuid, String> {
        let clusters = found.placement.clusters.iter();
        let all = |name: &str| {
            clusters
                .clone()
                .map(|one| (one.id, name.to_owned()))
                .collect()
        };
        if self.holding.is_empty() {
            return all(INSTALL_WAVE);
        }
        if self.spec.waves.is_empty() {
            return all(ONLY_WAVE);
        }
        // What is wrong with the waves was refused before.
        let (members, _) = assign(&self.spec.waves, &found.placement.clusters).unwrap_or_default();
        let waves = self.spec.waves.iter().zip(members);
        waves
            .flat_map(|(wave, members)| {
                let named = move |id| (id, wave.name.clone());
                members.into_iter().map(move |cluster| named(cluster.id))
            })
            .collect()
    }

    fn brake(&self, found: &Chosen) -> Option<bellwether_api::call::Condition> {
        let placed = found.placement.clusters.iter().map(|one| one.id).collect();
        let known: BTreeSet<Uuid> = self.clusters.iter().map(|one| one.id).collect();
        let holding = self.holding.intersection(&known).copied().collect();
        let nobody = || Allowance::read(ALLOW_REMOVAL, None, &[]);
        let allowance = self.allowance.clone().unwrap_or_else(nobody);
        match removal(&holding, &placed, allowance.count()) {
            Removal::Allowed(_) => None,
            Removal::Held { leaving, holding } => Some(condition(
                "RemovalHeld",
                format!(
                    "{leaving} of {holding} clusters would lose it at once; nothing is taken away \
                     without the annotation {}",
                    allowance.ask(leaving)
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use bellwether_hub_core::placement::Standing;
    use serde_json::json;

    use super::*;

    fn cluster(number: u128) -> ClusterFacts {
        ClusterFacts {
            id: Uuid::from_u128(number),
            name: format!("c{number}"),
            labels: BTreeMap::from([(
                "tier".to_owned(),
                if number == 1 { "canary" } else { "prod" }.to_owned(),
            )]),
            metrics: None,
            traffic: Vec::new(),
            scheduling: Arc::default(),
        }
    }

    fn plan_of(destination: &serde_json::Value, holding: &[u128]) -> ApplicationPlan {
        let spec: ApplicationSpec = serde_json::from_value(json!({
            "destination": destination,
            "components": [],
            "waves": [{"name": "canary", "selector": {"matchLabels": {"tier": "canary"}}},
                      {"name": "rest"}]}))
        .expect("an application");
        let clusters: Vec<ClusterFacts> = (1..=4).map(cluster).collect();
        let holding: BTreeSet<Uuid> = holding.iter().map(|one| Uuid::from_u128(*one)).collect();
        let standing = Standing {
            holding: holding.clone(),
            ..Standing::default()
        };
        let found = bellwether_hub_core::placement::choose(Choice {
            destination: &spec.destination,
            policy: None,
            fleet: None,
            clusters: &clusters,
            standing: &standing,
        })
        .expect("a choice");
        let name = NamespacedName {
            namespace: "default".to_owned(),
            name: "shop".to_owned(),
        };
        let planned = Planned {
            name: &name,
            spec: &spec,
            clusters: &clusters,
            holding: &holding,
            allowance: None,
        };
        planned.view(&found)
    }

    fn changes(plan: &ApplicationPlan) -> Vec<(&str, PlacementChange, Option<&str>)> {
        let changes = plan.clusters.iter();
        changes
            .map(|one| (one.cluster.as_str(), one.change, one.wave.as_deref()))
            .collect()
    }

    #[test]
    fn a_plan_says_who_loses_it_and_in_which_wave_the_others_are() {
        let plan = plan_of(&json!({"clusters": ["c1", "c2", "c3"]}), &[1, 2, 4]);
        assert_eq!(
            changes(&plan),
            [
                ("c1", PlacementChange::Kept, Some("canary")),
                ("c2", PlacementChange::Kept, Some("rest")),
                ("c3", PlacementChange::Added, Some("rest")),
                ("c4", PlacementChange::Removed, None),
            ]
        );
        assert_eq!(plan.clusters[3].why, "the destination does not name it");
        assert_eq!(plan.conditions, []);
        let first = plan_of(&json!({"clusters": ["c1"]}), &[]);
        assert_eq!(
            changes(&first),
            [("c1", PlacementChange::Added, Some("install"))]
        );
    }

    #[test]
    fn a_plan_says_that_a_brake_would_hold() {
        let plan = plan_of(&json!({"clusters": ["c1"]}), &[1, 2, 3, 4]);
        let [held] = plan.conditions.as_slice() else {
            panic!("{:?}", plan.conditions);
        };
        assert_eq!(held.kind, "RemovalHeld");
        assert!(held.message.contains("3 of 4 clusters"), "{}", held.message);
    }
}
