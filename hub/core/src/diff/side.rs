use std::collections::BTreeMap;

use bellwether_api::{application::ComponentSync, health_rule::HealthRule, reference::ObjectRef};
use serde_json::{Value, json};

use super::Reading;
use super::mask::{mask, mask_all};
use crate::{
    bundle::components, overrides::OverrideError, placement::ClusterFacts, release::ReleaseContent,
};

/// What is compared with what: the same object of both sides, whatever version of its API it is
/// written in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// Objects before what is run at some moment, that before how objects are rolled out, that before
    /// how all of it is kept.
    rank: u8,
    group: String,
    kind: String,
    namespace: String,
    name: String,
}

/// One thing of a side.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// As people read it.
    pub title: String,
    /// Its content, without what Secrets hold.
    pub value: Value,
}

/// What one cluster has of a release, by what it is compared by.
pub(super) type Side = BTreeMap<Key, Document>;

/// Says what a cluster has of a release; absent = nothing.
pub(super) fn side(
    content: Option<&ReleaseContent>,
    cluster: &ClusterFacts,
    reading: Reading<'_>,
) -> Result<Side, OverrideError> {
    let mut side = Side::new();
    let Some(content) = content else {
        return Ok(side);
    };
    side.extend(objects(content, cluster, reading)?);
    for rollout in &content.rollouts {
        let value = serde_json::to_value(&rollout.spec).expect("types of the API always serialise");
        let title = format!("Rollout/{}", rollout.name);
        side.insert(own_key(2, &rollout.name), Document { title, value });
    }
    let mut kept = json!({
        "targetNamespace": content.target_namespace,
        "createNamespace": content.create_namespace,
        "sync": content.sync,
    });
    if let Some(account) = &content.service_account {
        kept["serviceAccount"] = Value::from(account.as_str());
    }
    if let Some(version) = &content.publish_version {
        kept["publishVersion"] = Value::from(version.as_str());
    }
    let components = content.components.iter();
    let health: BTreeMap<&str, &[HealthRule]> = components
        .filter(|one| !one.health.is_empty())
        .map(|one| (one.name.as_str(), one.health.as_slice()))
        .collect();
    if !health.is_empty() {
        kept["health"] = json!(health);
    }
    let components = content.components.iter();
    let own: BTreeMap<&str, &ComponentSync> = components
        .filter_map(|one| Some((one.name.as_str(), one.sync.as_ref()?)))
        .collect();
    if !own.is_empty() {
        kept["componentSync"] = json!(own);
    }
    let components = content.components.iter();
    let accounts: BTreeMap<&str, &str> = components
        .filter_map(|one| Some((one.name.as_str(), one.service_account.as_deref()?)))
        .collect();
    if !accounts.is_empty() {
        kept["componentServiceAccounts"] = json!(accounts);
    }
    let title = "Release".to_owned();
    side.insert(own_key(3, ""), Document { title, value: kept });
    Ok(side)
}

/// The objects that a cluster gets, and what its charts want run, without what is secret.
pub(super) fn objects(
    content: &ReleaseContent,
    cluster: &ClusterFacts,
    reading: Reading<'_>,
) -> Result<Side, OverrideError> {
    let mut found = Side::new();
    for component in components(content, cluster, reading.fleets)? {
        let is_secret = is_made_of_secrets(content, &component.name);
        let hide = |value: &mut Value| match is_secret {
            true => mask_all(value, reading.salt),
            false => mask(value, reading.salt),
        };
        for mut value in component.objects {
            hide(&mut value);
            let title = title(&value);
            found.insert(key_of(&value), Document { title, value });
        }
        for mut hook in component.hooks {
            hide(&mut hook.object);
            let key = Key {
                rank: 1,
                ..key_of(&hook.object)
            };
            let title = format!("{} (hook)", title(&hook.object));
            let value = serde_json::to_value(&hook).expect("types of the API always serialise");
            found.insert(key, Document { title, value });
        }
    }
    Ok(found)
}

/// Tells whether a component was rendered with values of secrets, which may stand anywhere in it then.
fn is_made_of_secrets(content: &ReleaseContent, component: &str) -> bool {
    let components = content.components.iter();
    components
        .filter(|one| one.name == component)
        .filter_map(|one| one.rendered.as_ref())
        .any(|from| !from.recipe.values_from.is_empty())
}

fn own_key(rank: u8, name: &str) -> Key {
    Key {
        rank,
        group: String::new(),
        kind: String::new(),
        namespace: String::new(),
        name: name.to_owned(),
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn key_of(object: &Value) -> Key {
    let group = text(object, "/apiVersion").split_once('/');
    Key {
        rank: 0,
        group: group.map_or("", |(group, _)| group).to_owned(),
        kind: text(object, "/kind").to_owned(),
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(object, "/metadata/name").to_owned(),
    }
}

/// Names an object as people read it.
fn title(object: &Value) -> String {
    let namespace = text(object, "/metadata/namespace");
    ObjectRef {
        api_version: text(object, "/apiVersion").to_owned(),
        kind: text(object, "/kind").to_owned(),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        name: text(object, "/metadata/name").to_owned(),
    }
    .to_string()
}
