//! Keeps two agents with one identity out, until somebody says which is the right one.

use bellwether_api::call::Condition;
use bellwether_hub_core::clones::{Presenter, Shown, another_cluster, shown, two_agents, way_out};
use bellwether_proto::wire::Hello;
use bellwether_store::{
    StoreError,
    clusters::{self, Cluster},
};
use tonic::Status;
use uuid::Uuid;

use crate::{app::App, telemetry::chain};

/// Refuses an agent whose cluster's identity somebody else shows too. `address` is where it connects from;
/// empty = not known.
pub(super) async fn keep_out(
    app: &App,
    cluster: &Cluster,
    hello: &Hello,
    address: String,
) -> Result<(), Status> {
    if let Some(cloned) = &cluster.cloned {
        let way_out = way_out(&cluster.name);
        return Err(Status::permission_denied(format!(
            "{}; {way_out}",
            cloned.message
        )));
    }
    let now = app.clock.now();
    let enrolled = cluster.kube_uid.as_deref().unwrap_or_default();
    if enrolled != hello.cluster_uid {
        let known = cluster.presence.as_ref();
        let why = another_cluster(enrolled, known, &hello.cluster_uid, &address, now);
        quarantine(app, cluster, &why).await?;
        return Err(Status::permission_denied(
            "this cluster is not the one that enrolled (its kube-system namespace differs): \
             it is a copy; register it under a name of its own",
        ));
    }
    // Agents of older versions do not say who they are.
    let Ok(instance) = Uuid::from_slice(&hello.instance) else {
        return Ok(());
    };
    let known = cluster.presence.as_ref();
    match shown(known, Presenter { instance, address }, now) {
        Shown::Same => Ok(()),
        Shown::Another(presence) => {
            let recorded =
                clusters::record_presence(&app.store, cluster.id, known, &presence).await;
            recorded.map(|_| ()).map_err(|error| unavailable(&error))
        }
        Shown::Both(presence) => {
            let why = two_agents(enrolled, &presence);
            quarantine(app, cluster, &why).await?;
            let way_out = way_out(&cluster.name);
            Err(Status::permission_denied(format!(
                "{}; {way_out}",
                why.message
            )))
        }
    }
}

async fn quarantine(app: &App, cluster: &Cluster, why: &Condition) -> Result<(), Status> {
    let write = async {
        let mut tx = app.store.begin().await?;
        let is_news = clusters::quarantine(&mut tx, cluster, why, app.clock.now()).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(is_news)
    };
    if write.await.map_err(|error| unavailable(&error))? {
        tracing::error!(
            cluster.id = %cluster.id,
            cluster.name = cluster.name,
            reason = why.reason,
            "{}",
            why.message
        );
        app.pokes.plan.notify_one();
    }
    Ok(())
}

fn unavailable(error: &StoreError) -> Status {
    tracing::warn!(error = %chain(error), "who shows an identity could not be recorded");
    Status::unavailable("the hub's database does not answer; try again")
}
