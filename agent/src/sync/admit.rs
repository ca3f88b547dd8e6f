//! Whether a bundle may come in at all, decided before anything is changed.

mod hooks;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use bellwether_agent_core::{
    immutable::keeps_from_recreating,
    ownership::{is_held, uid_of},
};
use bellwether_api::{
    application::AdoptPolicy, bundle::Bundle, chart_hook::LeftHookObject, installation,
    reference::ObjectRef, sync_record::HeldObject,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::{
    access::Access,
    cluster::{ApplyMode, Cluster, ClusterError, SYNC_MANAGER},
    keep::{OWN, Wanted},
};

pub use hooks::HookTarget;

/// Refusals that are named; the rest is counted.
const MAX_NAMED: usize = 10;

/// Objects that are tried out at once.
const TRIED_AT_ONCE: usize = 8;

/// What a bundle is checked against.
pub struct Admission<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What the agent may do.
    pub access: &'a Access,
    /// Objects that this unit holds already.
    pub own: &'a [HeldObject],
    /// Objects that other applications hold, with their unit's key.
    pub taken: &'a BTreeMap<ObjectRef, String>,
    /// The objects of its charts' hooks.
    pub hooks: &'a [HookTarget],
    /// What hooks of this unit have left.
    pub left: &'a [LeftHookObject],
}

/// What was found out about a bundle.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    /// Why it is refused, one sentence each; empty = it may come in.
    pub refusals: Vec<String>,
    /// Live objects that are not ours and that the bundle takes over.
    pub adopts: Vec<Value>,
}

/// What came of trying one object out.
enum Tried {
    Fine,
    Adopts(Value),
    Refused(String),
}

impl Admission<'_> {
    /// Finds out whether a bundle may come in, and what it takes over then.
    ///
    /// # Errors
    /// The API server does not answer: nothing is known, and asking again may help.
    pub async fn review(
        &self,
        bundle: &Bundle,
        wanted: &[Wanted],
    ) -> Result<Admitted, ClusterError> {
        let mut adopts = Vec::new();
        let mut refusals = repeated(wanted);
        for want in wanted {
            if let Some(owner) = self.taken.get(&want.target) {
                refusals.push(format!("{} belongs to {owner} already", want.target));
            }
        }
        refusals.extend(self.refused_hooks(bundle, wanted).await?);
        let hooks = self.hooks.iter().map(|hook| &hook.target);
        let targets = wanted.iter().map(|want| &want.target);
        let targets: Vec<ObjectRef> = targets.chain(hooks).cloned().collect();
        refusals.extend(self.access.missing(self.cluster, &targets).await?);
        if refusals.is_empty() {
            let tries: Vec<_> = wanted
                .iter()
                .map(|want| self.try_out(bundle, want))
                .collect();
            let tried: Vec<Tried> = stream::iter(tries)
                .buffered(TRIED_AT_ONCE)
                .try_collect()
                .await?;
            for tried in tried {
                match tried {
                    Tried::Fine => {}
                    Tried::Adopts(live) => adopts.push(live),
                    Tried::Refused(why) => refusals.push(why),
                }
            }
        }
        Ok(Admitted {
            refusals: shortened(refusals),
            adopts,
        })
    }

    /// Asks the API server what applying one object would do.
    async fn try_out(&self, bundle: &Bundle, want: &Wanted) -> Result<Tried, ClusterError> {
        let live = self.cluster.get(&want.target).await?;
        let is_foreign = live.as_ref().is_some_and(|live| !self.holds(want, live));
        if is_foreign && live.as_ref().is_some_and(installation::is_own) {
            // Whatever the user allows: what would prune it later takes the hub or the agent away.
            let target = &want.target;
            let why = installation::said(&target.kind, &target.name);
            return Ok(Tried::Refused(why));
        }
        let object = match &live {
            Some(live) if !want.ignored.is_empty() => Cow::Owned(want.over(live, OWN)),
            _ => Cow::Borrowed(&want.object),
        };
        let planned = match self
            .cluster
            .apply(SYNC_MANAGER, &object, ApplyMode::DryRun)
            .await
        {
            Ok(planned) => Some(planned),
            Err(error) if error.is_final() => match rejected(bundle, want, live.as_ref(), &error) {
                Some(why) => return Ok(Tried::Refused(why)),
                None => None,
            },
            // Its kind comes with the bundle itself.
            Err(ClusterError::NotServed { .. }) if want.defined_by.is_some() => None,
            Err(ClusterError::NotServed { api_version, kind }) => {
                return Ok(Tried::Refused(format!(
                    "{} needs kind {kind} of {api_version}, which this cluster does not serve and no \
                     CustomResourceDefinition of the release defines",
                    want.target
                )));
            }
            // Its namespace may come with the bundle itself.
            Err(error) if error.code() == Some(404) => None,
            Err(error) => return Err(error),
        };
        let Some(live) = live.filter(|live| !self.holds(want, live)) else {
            return Ok(Tried::Fine);
        };
        let identical = planned.is_some_and(|planned| same(&live, &planned));
        let policy = want.part.adopt.unwrap_or(bundle.sync.adopt);
        let allowed = match policy {
            AdoptPolicy::Always => true,
            AdoptPolicy::IfIdentical => identical,
            AdoptPolicy::Never => false,
        };
        if allowed {
            return Ok(Tried::Adopts(live));
        }
        let why = if policy == AdoptPolicy::Never {
            "sync.adopt is Never"
        } else {
            "it differs; set sync.adopt to Always to take it over"
        };
        Ok(Tried::Refused(format!(
            "{} exists already and {why}",
            want.target
        )))
    }

    fn holds(&self, want: &Wanted, live: &Value) -> bool {
        self.own
            .iter()
            .any(|held| held.is(&want.target) && is_held(held, live, SYNC_MANAGER))
    }
}

/// Why an object that the API server does not take refuses the bundle; `None` = it is deleted and made
/// anew.
fn rejected(
    bundle: &Bundle,
    want: &Wanted,
    live: Option<&Value>,
    error: &ClusterError,
) -> Option<String> {
    let (target, answer) = (&want.target, error.answer());
    let (Some(field), Some(live)) = (error.immutable_field(), live) else {
        return Some(format!("{target} was refused: {answer}"));
    };
    let keeps = keeps_from_recreating(live);
    let is_ours = want.recreates.is_some() && want.recreates.as_ref() == uid_of(live);
    let hint = match keeps {
        Some(why) => why,
        None if !bundle.sync.force => "set sync.force to have it deleted and made anew",
        None if !is_ours => {
            "sync.force does not make anew what a Rollout governs, or what the agent did not make"
        }
        None => return None,
    };
    Some(format!(
        "{target} was refused: {field} cannot be changed; {hint} ({answer})"
    ))
}

fn same(live: &Value, planned: &Value) -> bool {
    let strip = |object: &Value| {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["managedFields", "resourceVersion", "generation"] {
                metadata.remove(field);
            }
        }
        object
    };
    strip(live) == strip(planned)
}

fn repeated(wanted: &[Wanted]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    wanted
        .iter()
        .filter(|want| !seen.insert(&want.target))
        .map(|want| format!("{} stands in the release twice", want.target))
        .collect()
}

fn shortened(mut refusals: Vec<String>) -> Vec<String> {
    if refusals.len() > MAX_NAMED {
        let rest = refusals.len() - MAX_NAMED;
        refusals.truncate(MAX_NAMED);
        refusals.push(format!("and {rest} more"));
    }
    refusals
}

#[cfg(test)]
mod own_tests;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::{Method, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::sync::cluster::double::{client, refusal};

    #[test]
    fn bookkeeping_is_no_difference() {
        let live = json!({"metadata": {"name": "a", "resourceVersion": "1", "managedFields": []},
            "spec": {"x": 1}, "status": {"y": 1}});
        let planned = json!({"metadata": {"name": "a", "resourceVersion": "2"}, "spec": {"x": 1}});
        assert!(same(&live, &planned));
        assert!(!same(
            &live,
            &json!({"metadata": {"name": "a"}, "spec": {"x": 2}})
        ));
    }

    #[test]
    fn object_that_stands_twice_is_named() {
        let want = || {
            Wanted::new(json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web", "namespace": "shop"}}))
            .unwrap()
        };
        assert!(repeated(&[want()]).is_empty());
        assert_eq!(
            repeated(&[want(), want()]),
            ["Service/shop/web stands in the release twice"]
        );
    }

    pub(super) fn bundle(sync: &Value) -> Bundle {
        serde_json::from_value(json!({
            "application": {"namespace": "default", "name": "shop"}, "release": "r", "revision": 1,
            "run": uuid::Uuid::nil(), "attempt": 1, "mode": "Plain", "targetNamespace": "shop",
            "createNamespace": false, "components": [], "rollouts": [], "sync": sync, "metrics": null,
        }))
        .unwrap()
    }

    /// What a cluster that has Deployment `web` of uid `a` says to a release with `object`.
    async fn refusals(sync: &Value, want: Wanted, own: &[HeldObject]) -> Vec<String> {
        let (client, _) = client(|asked| {
            let live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata":
                {"name": "web", "namespace": "shop", "uid": "a"}, "spec": {"selector": "old"}});
            if asked.path.contains("selfsubjectaccessreviews") {
                return (
                    StatusCode::OK,
                    json!({"spec": {}, "status": {"allowed": true}}),
                );
            }
            if asked.method == Method::GET {
                return if asked.path.contains("/deployments/web") {
                    (StatusCode::OK, live)
                } else {
                    refusal(StatusCode::NOT_FOUND, "page not found")
                };
            }
            let (code, mut said) = refusal(StatusCode::UNPROCESSABLE_ENTITY, "it is invalid");
            said["details"] = json!({"causes": [{"field": "spec.selector",
                "message": "Invalid value: field is immutable"}]});
            (code, said)
        });
        let cluster = Cluster::new(client);
        let admission = Admission {
            cluster: &cluster,
            access: &Access::default(),
            own,
            taken: &BTreeMap::new(),
            hooks: &[],
            left: &[],
        };
        admission
            .review(&bundle(sync), &[want])
            .await
            .unwrap()
            .refusals
    }

    #[tokio::test]
    async fn a_kind_that_neither_cluster_nor_release_has_is_named() {
        let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"name": "w", "namespace": "shop"}});
        let want = Wanted::new(widget).unwrap();
        let sync = json!({"prune": true});
        let said = refusals(&sync, want.clone(), &[]).await;
        assert_eq!(
            said,
            [
                "Widget/shop/w needs kind Widget of example.com/v1, which this cluster does not serve and \
              no CustomResourceDefinition of the release defines"
            ]
        );
        let brought = Wanted {
            defined_by: Some(want.target.clone()),
            ..want
        };
        assert_eq!(refusals(&sync, brought, &[]).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_field_that_cannot_be_changed_is_named_with_what_would_help() {
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": "new"}});
        let want = |uid: Option<&str>| Wanted {
            recreates: uid.map(str::to_owned),
            ..Wanted::new(web.clone()).unwrap()
        };
        let mut held = HeldObject::from(want(None).target);
        held.uid = Some("a".to_owned());
        let own = [held];
        for (force, uid, expected) in [
            (
                false,
                None,
                Some("spec.selector cannot be changed; set sync.force"),
            ),
            (
                true,
                None,
                Some("sync.force does not make anew what a Rollout governs"),
            ),
            (true, Some("another"), Some("sync.force does not make anew")),
            (true, Some("a"), None),
        ] {
            let said = refusals(&json!({"force": force}), want(uid), &own).await;
            match expected {
                Some(expected) => assert!(said[0].contains(expected), "{said:?}"),
                None => assert_eq!(said, Vec::<String>::new()),
            }
        }
    }
}
