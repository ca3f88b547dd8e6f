//! What a bundle wants the cluster to hold.

use std::sync::Arc;

use bellwether_agent_core::{
    apply_order,
    config_stamp::AsFound,
    definitions::{BroughtKind, brought_kind, brought_kinds},
    health::CustomHealth,
    ignored::Ignored,
};
use bellwether_api::{bundle::Bundle, reference::ObjectRef};
use serde_json::{Value, json};

use super::Unit;
use crate::{
    rollout,
    sync::{
        cluster::{ClusterError, reference},
        keep::{Part, Wanted},
    },
};

impl Unit {
    /// The objects of a bundle as they are applied when no run is under way, in order.
    pub(super) async fn wanted(&self, bundle: &Bundle) -> Result<Vec<Wanted>, ClusterError> {
        let unit = match bundle.rollouts.is_empty() {
            true => None,
            false => self.shell.desired.unit(&self.key),
        };
        let found = unit.as_ref().map(AsFound::of).unwrap_or_default();
        self.wanted_with(bundle, &found).await
    }

    /// As [`Self::wanted`], with what is to be taken over with its pods.
    pub(super) async fn wanted_with(
        &self,
        bundle: &Bundle,
        found: &AsFound,
    ) -> Result<Vec<Wanted>, ClusterError> {
        let kinds = brought_kinds(bundle.components.iter().flat_map(|one| &one.objects));
        let governed = rollout::governed_by(bundle);
        let mut wanted = Vec::new();
        for component in &bundle.components {
            let custom = Arc::new(CustomHealth::read(&component.health));
            let part = Arc::new(Part::of(component));
            for object in &component.objects {
                let mut object = object.clone();
                self.name_namespace(bundle, &kinds, &mut object).await?;
                let is_governed = reference(&object).is_some_and(|one| governed.contains(&one));
                if is_governed {
                    object = rollout::stamped(bundle, &object, found);
                }
                let ignored = Ignored::of(bundle.ignored_of(component), &object);
                wanted.extend(Wanted::new(object).map(|want| {
                    Wanted {
                        defined_by: definition(&kinds, &want.target),
                        ignored,
                        recreates: self
                            .recreates(bundle, &component.name, &want.target)
                            .filter(|_| !is_governed),
                        custom: Arc::clone(&custom),
                        part: Arc::clone(&part),
                        ..want
                    }
                }));
            }
        }
        apply_order::sort_for_apply(&mut wanted, |want| &want.target.kind);
        Ok(wanted)
    }

    /// The uid of the object that may be deleted and made anew: one that the agent made itself. What a
    /// release with `sync.force` brought goes back the same way, also to one without.
    fn recreates(&self, bundle: &Bundle, component: &str, target: &ObjectRef) -> Option<String> {
        let mut named = self.bundles.values();
        if !bundle.forces(component) && !named.any(|bundle| bundle.forces(component)) {
            return None;
        }
        let unit = self.shell.desired.unit(&self.key)?;
        let held = unit.objects.into_iter().find(|held| held.is(target))?;
        held.uid.filter(|_| held.adopted.is_none())
    }

    /// Fills in the namespace of an object that needs one and names none.
    pub(super) async fn name_namespace(
        &self,
        bundle: &Bundle,
        kinds: &[BroughtKind],
        object: &mut Value,
    ) -> Result<(), ClusterError> {
        let text = |path: &str| {
            object
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if !text("/metadata/namespace").is_empty() {
            return Ok(());
        }
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let namespaced = match brought_kind(kinds, api_version, kind) {
            Some(brought) => brought.namespaced,
            None => match self.shell.cluster.kind(api_version, kind).await {
                Ok(kind) => kind.namespaced,
                Err(ClusterError::NotServed { .. }) => false,
                Err(error) => return Err(error),
            },
        };
        if namespaced {
            object["metadata"]["namespace"] = json!(bundle.target_namespace);
        }
        Ok(())
    }
}

fn definition(kinds: &[BroughtKind], target: &ObjectRef) -> Option<ObjectRef> {
    let brought = brought_kind(kinds, &target.api_version, &target.kind)?;
    Some(ObjectRef {
        api_version: "apiextensions.k8s.io/v1".to_owned(),
        kind: "CustomResourceDefinition".to_owned(),
        namespace: None,
        name: brought.definition.clone(),
    })
}
