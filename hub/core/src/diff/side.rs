use std::collections::BTreeMap;

use bellwether_api::reference::ObjectRef;
use serde_json::{Value, json};

use super::mask::mask;
use crate::{
    bundle::components, overrides::OverrideError, placement::ClusterFacts, release::ReleaseContent,
};

/// What is compared with what: the same object of both sides, whatever version of its API it is
/// written in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// Objects before how they are rolled out, that before how all of it is kept.
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
    salt: &[u8],
) -> Result<Side, OverrideError> {
    let mut side = Side::new();
    let Some(content) = content else {
        return Ok(side);
    };
    for component in components(content, cluster)? {
        for mut value in component.objects {
            mask(&mut value, salt);
            let title = title(&value);
            side.insert(key_of(&value), Document { title, value });
        }
    }
    for rollout in &content.rollouts {
        let value = serde_json::to_value(&rollout.spec).expect("types of the API always serialise");
        let title = format!("Rollout/{}", rollout.name);
        side.insert(own_key(1, &rollout.name), Document { title, value });
    }
    let mut kept = json!({
        "targetNamespace": content.target_namespace,
        "createNamespace": content.create_namespace,
        "sync": content.sync,
    });
    if let Some(version) = &content.publish_version {
        kept["publishVersion"] = Value::from(version.as_str());
    }
    let title = "Release".to_owned();
    side.insert(own_key(2, ""), Document { title, value: kept });
    Ok(side)
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

pub(super) fn key_of(object: &Value) -> Key {
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
pub(super) fn title(object: &Value) -> String {
    let namespace = text(object, "/metadata/namespace");
    ObjectRef {
        api_version: text(object, "/apiVersion").to_owned(),
        kind: text(object, "/kind").to_owned(),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        name: text(object, "/metadata/name").to_owned(),
    }
    .to_string()
}
