//! ServiceAccounts in whose names a bundle is applied, and what they may not.

use std::collections::BTreeSet;

use bellwether_api::{
    bundle::{Bundle, BundleMode},
    hooks::Hook,
    reference::{NamespacedName, ObjectRef},
};
use k8s_openapi::api::{authorization::v1::ResourceAttributes, core::v1::ServiceAccount};
use kube::Api;

use super::Admission;
use crate::sync::{
    access::{doing, may},
    cluster::{Cluster, ClusterError, within},
    keep::Wanted,
};

impl Admission<'_> {
    /// Finds out what keeps the agent from acting in the names of a bundle's ServiceAccounts, one sentence
    /// each.
    pub(super) async fn lacking_accounts(
        &self,
        bundle: &Bundle,
    ) -> Result<Vec<String>, ClusterError> {
        let components = bundle.components.iter();
        let accounts: BTreeSet<&NamespacedName> = components
            .filter_map(|component| bundle.brought_in_by(component.service_account.as_ref()))
            .collect();
        let mut lacking = Vec::new();
        for account in accounts {
            let impersonation = ResourceAttributes {
                resource: Some("serviceaccounts".to_owned()),
                namespace: Some(account.namespace.clone()),
                name: Some(account.name.clone()),
                verb: Some("impersonate".to_owned()),
                ..ResourceAttributes::default()
            };
            let name = format!("ServiceAccount {account}");
            if !may(self.cluster, impersonation, &name).await? {
                lacking.push(format!(
                    "the agent may not act in the name of {name}: run `bellwether register cluster` once \
                     more, with --impersonate {account} beside the flags that it was registered with, every \
                     other --impersonate among them"
                ));
            } else if is_missing(self.cluster, account).await? {
                lacking.push(format!(
                    "{name} does not exist: make it in the cluster, with rights on what the application \
                     brings"
                ));
            }
        }
        Ok(lacking)
    }

    /// What the ServiceAccount of an object lacks where the API server did not let it apply the object; absent =
    /// its rights are not what is wrong.
    pub(super) async fn lacking(
        &self,
        (want, account): (&Wanted, Option<&NamespacedName>),
        is_there: bool,
        refusal: &ClusterError,
    ) -> Result<Option<String>, ClusterError> {
        let Some(account) = account else {
            return Ok(None);
        };
        if refusal.code() != Some(403) {
            return Ok(None);
        }
        let verbs: &[&str] = if is_there {
            &["patch"]
        } else {
            &["create", "patch"]
        };
        let lacks = self.without_rights(account, &want.target, verbs).await?;
        Ok(lacks.map(|what| format!("{} cannot be applied: {what}", want.target)))
    }

    /// What the ServiceAccount of an object lacks to make it anew once it is deleted; absent = nothing. Trying the
    /// object out asks for `patch` alone, for it is there.
    pub(super) async fn lacking_anew(
        &self,
        (want, account): (&Wanted, Option<&NamespacedName>),
    ) -> Result<Option<String>, ClusterError> {
        let Some(account) = account else {
            return Ok(None);
        };
        let lacks = self.without_rights(account, &want.target, &["create", "patch"]);
        let lacks = lacks.await?;
        Ok(lacks.map(|what| format!("{} cannot be made anew: {what}", want.target)))
    }

    /// Finds out which hooks that are due could not be made in the names of their ServiceAccounts, one sentence
    /// each.
    pub(super) async fn lacking_for_hooks(
        &self,
        bundle: &Bundle,
    ) -> Result<Vec<String>, ClusterError> {
        let mut lacking = self.lacking_for_jobs(bundle).await?;
        for hook in self.hooks {
            let Some(account) = hook.account.as_ref().filter(|_| hook.due) else {
                continue;
            };
            let lacks = self.without_rights(account, &hook.target, &["create"]);
            let lacks = lacks.await?;
            lacking.extend(lacks.map(|what| format!("hook {} cannot run: {what}", hook.target)));
        }
        Ok(lacking)
    }

    /// The same for hooks of rollouts that run Jobs. What comes in at once has none of them run.
    async fn lacking_for_jobs(&self, bundle: &Bundle) -> Result<Vec<String>, ClusterError> {
        let mut lacking = Vec::new();
        if bundle.mode == BundleMode::Plain {
            return Ok(lacking);
        }
        for rollout in &bundle.rollouts {
            let (spec, name) = (&rollout.spec, &rollout.name);
            let component = spec.component.as_deref();
            let account = component.and_then(|component| bundle.account_of(component));
            let hooks: Vec<&Hook> = spec.hooks.iter().filter(|one| one.job.is_some()).collect();
            let Some(account) = account.filter(|_| !hooks.is_empty()) else {
                continue;
            };
            let namespace = spec.workload.namespace.as_ref();
            // Each call names its own.
            let jobs = ObjectRef {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                namespace: Some(namespace.unwrap_or(&bundle.target_namespace).clone()),
                name: String::new(),
            };
            let lacks = self.without_rights(account, &jobs, &["create", "patch"]);
            if let Some(what) = lacks.await? {
                let cannot = |hook: &&Hook| {
                    format!("hook {} of rollout {name} cannot run: {what}", hook.name)
                };
                lacking.extend(hooks.iter().map(cannot));
            }
        }
        Ok(lacking)
    }

    /// Which of `verbs` a ServiceAccount has no right to, in a sentence; absent = it has all, or may not ask.
    async fn without_rights(
        &self,
        account: &NamespacedName,
        target: &ObjectRef,
        verbs: &[&str],
    ) -> Result<Option<String>, ClusterError> {
        let served = match self.cluster.kind(&target.api_version, &target.kind).await {
            Ok(served) => served,
            // It comes with the bundle, and what the API server serves then is met where it is written.
            Err(ClusterError::NotServed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let acting = self.cluster.acting_as(Some(account));
        let mut lacking = Vec::new();
        for verb in verbs {
            match may(&acting, doing(verb, target, &served), &target.to_string()).await {
                Ok(true) => {}
                Ok(false) => lacking.push(*verb),
                // It may not even ask: what the API server says of the object itself counts.
                Err(error) if error.code() == Some(403) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let place = match &target.namespace {
            Some(namespace) if served.namespaced => format!("in namespace {namespace}"),
            _ => "in the whole cluster".to_owned(),
        };
        Ok((!lacking.is_empty()).then(|| {
            let (verbs, resource) = (lacking.join(", "), served.resource.plural);
            format!("ServiceAccount {account} may not {verbs} {resource} {place}")
        }))
    }
}

/// Tells whether there is no such ServiceAccount; `false` also where the agent may not look.
async fn is_missing(cluster: &Cluster, account: &NamespacedName) -> Result<bool, ClusterError> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), &account.namespace);
    let name = format!("ServiceAccount {account}");
    match within("get", &name, accounts.get_metadata_opt(&account.name)).await {
        Ok(found) => Ok(found.is_none()),
        Err(error) if error.code() == Some(403) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
