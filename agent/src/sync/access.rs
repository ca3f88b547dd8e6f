//! Whether the agent may do what a release asks for, asked before anything is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bellwether_api::reference::ObjectRef;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, api::PostParams};
use tokio::time::Instant;

use super::{
    admit::namespace_exists,
    cluster::{Cluster, ClusterError, ServedKind, within},
};

/// How long an answer holds.
const FRESH: Duration = Duration::from_secs(300);
/// What applying, watching and pruning an object takes.
const VERBS: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    group: String,
    resource: String,
    namespace: String,
    verb: &'static str,
}

/// The answers of access reviews.
#[derive(Default)]
pub struct Access {
    answers: Mutex<BTreeMap<Question, (bool, Instant)>>,
}

impl Access {
    /// Lists what the agent lacks to hold these objects, one sentence each; empty = nothing.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn missing(
        &self,
        cluster: &Cluster,
        objects: &[ObjectRef],
    ) -> Result<Vec<String>, ClusterError> {
        let mut lacking = BTreeSet::new();
        let mut asked = BTreeSet::new();
        for object in objects {
            let served = match cluster.kind(&object.api_version, &object.kind).await {
                Ok(served) => served,
                // The release may bring the kind itself.
                Err(ClusterError::NotServed { .. }) => continue,
                Err(error) => return Err(error),
            };
            let namespace = if served.namespaced {
                object.namespace.clone()
            } else {
                None
            }
            .unwrap_or_default();
            let key = (served.resource.group, served.resource.plural, namespace);
            if !asked.insert(key.clone()) {
                continue;
            }
            let refused = self.refused(cluster, &key, object).await?;
            if refused.is_empty() {
                continue;
            }
            // Its rights were in it, and went with it.
            if !key.2.is_empty() && namespace_exists(cluster, &key.2).await? == Some(false) {
                lacking.insert(format!(
                    "{object} needs namespace {}, which this cluster lacks: `bellwether register \
                     cluster` with it among --namespaces, and with every --impersonate of before, makes it and \
                     lets the agent work in it",
                    key.2
                ));
            } else {
                let place = if key.2.is_empty() {
                    "in the whole cluster".to_owned()
                } else {
                    format!("in namespace {}", key.2)
                };
                lacking.insert(format!("may not {} {} {place}", refused.join(", "), key.1));
            }
        }
        Ok(lacking.into_iter().collect())
    }

    async fn refused(
        &self,
        cluster: &Cluster,
        (group, resource, namespace): &(String, String, String),
        object: &ObjectRef,
    ) -> Result<Vec<&'static str>, ClusterError> {
        let by_name = group.is_empty() && resource == "secrets";
        let mut refused = Vec::new();
        for verb in VERBS {
            // Secrets are watched by name: listing all of them is not asked for.
            if by_name && matches!(verb, "list" | "watch") {
                continue;
            }
            let question = Question {
                group: group.clone(),
                resource: resource.clone(),
                namespace: namespace.clone(),
                verb,
            };
            if !self.allowed(cluster, question, object).await? {
                refused.push(verb);
            }
        }
        Ok(refused)
    }

    async fn allowed(
        &self,
        cluster: &Cluster,
        question: Question,
        object: &ObjectRef,
    ) -> Result<bool, ClusterError> {
        if let Some((allowed, at)) = self.answers().get(&question)
            && at.elapsed() < FRESH
            && *allowed
        {
            return Ok(true);
        }
        let attributes = ResourceAttributes {
            group: Some(question.group.clone()),
            resource: Some(question.resource.clone()),
            namespace: Some(question.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            verb: Some(question.verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let allowed = may(cluster, attributes, &object.to_string()).await?;
        self.answers().insert(question, (allowed, Instant::now()));
        Ok(allowed)
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, BTreeMap<Question, (bool, Instant)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names what is done to an object of a kind; one without a name stands for whichever.
#[must_use]
pub fn doing(verb: &str, target: &ObjectRef, served: &ServedKind) -> ResourceAttributes {
    ResourceAttributes {
        group: Some(served.resource.group.clone()),
        resource: Some(served.resource.plural.clone()),
        namespace: target.namespace.clone().filter(|_| served.namespaced),
        name: Some(target.name.clone()).filter(|name| !name.is_empty()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    }
}

/// Asks the API server whether whoever objects are applied as may do something to an object.
///
/// # Errors
/// The API server does not answer, or does not say.
pub async fn may(
    cluster: &Cluster,
    attributes: ResourceAttributes,
    object: &str,
) -> Result<bool, ClusterError> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.acting_client().clone());
    let params = PostParams::default();
    let request = api.create(&params, &review);
    let answer = within("review access to", object, request).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
