//! Writes down what hooks of fleets are to be told, in the transaction of what they are told of.

use std::collections::BTreeMap;

use bellwether_api::fleet::FleetSpec;
use bellwether_hub_core::fleet_hooks::{Happened, Subject, body, concerned};
use bellwether_store::{
    StoreError, Tx,
    clusters::Cluster,
    fleet_hooks::{self, NewCall},
};
use uuid::Uuid;

/// Has the hooks that it concerns told what happened to a cluster. Nothing is called here: whoever
/// registers or detaches a cluster waits for nobody.
///
/// # Errors
/// The database fails.
pub(crate) async fn note(
    tx: &mut Tx,
    cluster: &Cluster,
    happened: Happened<'_>,
) -> Result<(), StoreError> {
    let known = fleet_hooks::fleets_with_hooks(tx).await?;
    let fleets: BTreeMap<String, FleetSpec> = known
        .into_iter()
        .filter_map(|(name, spec)| Some((name, serde_json::from_value(spec).ok()?)))
        .collect();
    let subject = Subject {
        id: cluster.id,
        name: &cluster.name,
        labels: &cluster.labels,
    };
    let calls: Vec<NewCall> = concerned(&fleets, subject, happened.event)
        .into_iter()
        .map(|(fleet, hook)| {
            let id = Uuid::now_v7();
            NewCall {
                id,
                fleet: fleet.to_owned(),
                hook: hook.name.clone(),
                event: happened.event,
                cluster: cluster.id,
                cluster_name: cluster.name.clone(),
                body: body(id, fleet, subject, happened),
            }
        })
        .collect();
    fleet_hooks::enqueue(tx, &calls, happened.at).await
}
