//! Whether a bundle may come in at all, decided before anything is changed.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_agent_core::ownership::is_held;
use bellwether_api::{
    application::AdoptPolicy, bundle::Bundle, reference::ObjectRef, sync_record::HeldObject,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::{
    access::Access,
    cluster::{ApplyMode, Cluster, ClusterError, SYNC_MANAGER},
    keep::Wanted,
};

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
        let targets: Vec<ObjectRef> = wanted.iter().map(|want| want.target.clone()).collect();
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
        let planned = match self
            .cluster
            .apply(SYNC_MANAGER, &want.object, ApplyMode::DryRun)
            .await
        {
            Ok(planned) => Some(planned),
            Err(error) if error.is_final() => {
                return Ok(Tried::Refused(format!(
                    "{} was refused: {}",
                    want.target,
                    error.answer()
                )));
            }
            // Its namespace or its kind may come with the bundle itself.
            Err(ClusterError::NotServed { .. }) if brings_kinds(bundle) => None,
            Err(ClusterError::NotServed { api_version, kind }) => {
                return Ok(Tried::Refused(format!(
                    "{} needs kind {kind} of {api_version}, which this cluster does not serve",
                    want.target
                )));
            }
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

fn brings_kinds(bundle: &Bundle) -> bool {
    bundle
        .components
        .iter()
        .flat_map(|component| &component.objects)
        .any(|object| {
            object.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinition")
        })
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
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

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
}
