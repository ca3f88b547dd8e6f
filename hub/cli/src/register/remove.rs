//! Takes the agent out of a cluster.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bellwether_api::{sync_record::SyncRecord, track::RolloutTrack};
use k8s_openapi::{
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        core::v1::{Namespace, Service},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResourceExt as _, ResourceExt as _,
    api::{DeleteParams, ListParams},
};

use super::{AGENT, NAMESPACE, WEBHOOK_SERVICE};
use crate::output::note;

/// Lets runs go back to their stable version, then removes the agent and what it kept.
///
/// # Errors
/// When runs do not end in time (nothing else is removed then), or the cluster refuses.
pub async fn remove(client: &Client) -> anyhow::Result<()> {
    end_runs(client).await?;
    // Before anything else: from here on nobody answers what the API server asks.
    webhook(client).await?;
    let params = ListParams::default().labels("app.kubernetes.io/name=bellwether");
    let delete = DeleteParams::background();
    for binding in Api::<RoleBinding>::all(client.clone())
        .list(&params)
        .await?
        .items
    {
        let namespace = binding.namespace().unwrap_or_default();
        let bindings = Api::<RoleBinding>::namespaced(client.clone(), &namespace);
        gone(
            bindings
                .delete(&binding.name_any(), &delete)
                .await
                .map(drop),
        )?;
        let roles = Api::<Role>::namespaced(client.clone(), &namespace);
        gone(roles.delete(&binding.name_any(), &delete).await.map(drop))?;
    }
    gone(
        Api::<ClusterRoleBinding>::all(client.clone())
            .delete(AGENT, &delete)
            .await
            .map(drop),
    )?;
    gone(
        Api::<ClusterRole>::all(client.clone())
            .delete(AGENT, &delete)
            .await
            .map(drop),
    )?;
    gone(
        Api::<Namespace>::all(client.clone())
            .delete(NAMESPACE, &delete)
            .await
            .map(drop),
    )?;
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    for name in [RolloutTrack::crd_name(), SyncRecord::crd_name()] {
        gone(definitions.delete(name, &delete).await.map(drop))?;
    }
    namespace_gone(client).await
}

/// Removes what makes the API server ask the agent, if there is any.
///
/// # Errors
/// When the cluster refuses.
pub async fn webhook(client: &Client) -> anyhow::Result<()> {
    let delete = DeleteParams::background();
    let configurations = Api::<MutatingWebhookConfiguration>::all(client.clone());
    let found = configurations.get_opt(AGENT).await;
    // Whoever may not even look has installed none.
    if !matches!(&found, Err(kube::Error::Api(status)) if status.code == 403) {
        found.context("failed to look for the admission webhook")?;
        gone(configurations.delete(AGENT, &delete).await.map(drop))?;
    }
    let services = Api::<Service>::namespaced(client.clone(), NAMESPACE);
    gone(services.delete(WEBHOOK_SERVICE, &delete).await.map(drop))
}

/// Waits until the agent's namespace is gone, if it is on its way.
///
/// # Errors
/// When it is still there after two minutes.
pub async fn namespace_gone(client: &Client) -> anyhow::Result<()> {
    let namespaces = Api::<Namespace>::all(client.clone());
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let found = namespaces
            .get_opt(NAMESPACE)
            .await
            .context("failed to look at the agent's namespace")?;
        if found.is_none_or(|one| one.metadata.deletion_timestamp.is_none()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "the namespace {NAMESPACE} does not end; `kubectl describe ns {NAMESPACE}` says why"
            );
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Takes what is gone already for removed.
///
/// # Errors
/// When the cluster refused.
pub(super) fn gone(result: Result<(), kube::Error>) -> anyhow::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.context("the cluster refused to remove a part of the agent"),
    }
}

/// Deleting a track tells the agent to restore traffic and pods; it lets go when that is done.
async fn end_runs(client: &Client) -> anyhow::Result<()> {
    let all: Api<RolloutTrack> = Api::all(client.clone());
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut said = false;
    loop {
        let tracks = match all.list(&ListParams::default()).await {
            Ok(tracks) => tracks.items,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error).context("failed to look for runs in the cluster"),
        };
        if tracks.is_empty() {
            return Ok(());
        }
        if !said {
            note(&format!(
                "{} runs go back to their stable version first …",
                tracks.len()
            ));
            said = true;
        }
        for track in &tracks {
            if track.metadata.deletion_timestamp.is_none() {
                let namespace = track.namespace().unwrap_or_default();
                let api = Api::<RolloutTrack>::namespaced(client.clone(), &namespace);
                gone(
                    api.delete(&track.name_any(), &DeleteParams::default())
                        .await
                        .map(drop),
                )?;
            }
        }
        if Instant::now() > deadline {
            bail!(
                "{} runs did not end within 2 min, so the agent stays; see `kubectl get \
                 rollouttracks.bellwether.dev -A`",
                tracks.len()
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
