//! Lays the shares of a division into the objects of one cluster, as overrides of replicas would be.

use std::collections::BTreeMap;

use bellwether_api::pod_requests::pod_requests;
use serde_json::Value;

use crate::{placement::Divisible, release::ReleaseContent};

/// Kinds that have one pod where they do not say how many, as (group, kind). Any other kind with a pod
/// template is divided where it says so.
const ONE_UNLESS_SAID: &[(&str, &str)] = &[
    ("", "ReplicationController"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
];

/// A workload with replicas to divide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DividedWorkload {
    /// The component.
    pub component: String,
    /// As people read it, as `Deployment/web`.
    pub name: String,
    /// How many there are, and what each asks for.
    pub all: Divisible,
    /// The autoscaler that sets its size in every cluster, so that it is not divided; absent = none.
    pub autoscaler: Option<String>,
}

/// Who scales what: the autoscalers of a release, by kind, namespace and name of what they scale.
#[derive(Clone, Debug, Default)]
pub struct Autoscaled(BTreeMap<(String, String, String), String>);

impl Autoscaled {
    /// Finds the autoscalers of a release.
    #[must_use]
    pub fn of(content: &ReleaseContent) -> Self {
        let mut found = BTreeMap::new();
        for component in &content.components {
            let home = component.target_namespace.as_deref();
            let home = home.unwrap_or(&content.target_namespace);
            for object in &component.objects {
                let Some(target) = object.pointer("/spec/scaleTargetRef") else {
                    continue;
                };
                let kind = match text(target, "/kind") {
                    "" => "Deployment",
                    kind => kind,
                };
                let scaled = text(target, "/name").to_owned();
                let key = (kind.to_owned(), lives_in(object, home), scaled);
                found.insert(key, label(object));
            }
        }
        Self(found)
    }

    fn scaler(&self, object: &Value, home: &str) -> Option<&String> {
        let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
        self.0
            .get(&(kind.to_owned(), lives_in(object, home), name.to_owned()))
    }
}

/// Returns the workloads of a release that are divided, and those that are not because they are
/// autoscaled, as far as their objects are known before they are rendered.
#[must_use]
pub fn divided_workloads(content: &ReleaseContent) -> Vec<DividedWorkload> {
    let autoscaled = Autoscaled::of(content);
    let mut found = Vec::new();
    for component in &content.components {
        let home = component.target_namespace.as_deref();
        let home = home.unwrap_or(&content.target_namespace);
        for object in &component.objects {
            if let Some(all) = divisible(object) {
                found.push(DividedWorkload {
                    component: component.name.clone(),
                    name: label(object),
                    all,
                    autoscaler: autoscaled.scaler(object, home).cloned(),
                });
            }
        }
    }
    found
}

/// Says in a few words what one cluster gets of every workload, as `Deployment/web 3 of 10`, and by what
/// it is divided. What is rendered is divided once it is. Empty = nothing is divided.
#[must_use]
pub fn share_texts(content: &ReleaseContent, cluster: &str) -> Vec<String> {
    let Some(division) = &content.division else {
        return Vec::new();
    };
    let Some(member) = division.clusters.iter().find(|one| one.name == cluster) else {
        return vec!["none before the next release".to_owned()];
    };
    let mut texts = Vec::new();
    for workload in divided_workloads(content) {
        let DividedWorkload {
            component,
            name,
            all,
            autoscaler,
        } = workload;
        if member.without.contains(&component) {
            continue;
        }
        texts.push(match autoscaler {
            Some(scaler) => format!("{name} as written, {scaler} sizes it"),
            None => match division.share(cluster, &component, all) {
                0 => format!("{name} none of {}", all.replicas),
                share => format!("{name} {share} of {}", all.replicas),
            },
        });
    }
    texts.push(match (member.weight, member.free) {
        (Some(weight), _) => format!("weight {weight}"),
        (None, Some(free)) => format!(
            "had {}m CPU and {}Mi free",
            free.cpu_milli,
            free.memory_bytes >> 20
        ),
        (None, None) => "what it has free is not known".to_owned(),
    });
    texts
}

/// Gives every workload of a component the share of one cluster. What an autoscaler sizes stays as it is
/// written. `namespace` is where objects live that name none.
pub fn lay_shares(
    content: &ReleaseContent,
    autoscaled: &Autoscaled,
    (component, namespace): (&str, &str),
    cluster: &str,
    objects: &mut [Value],
) {
    let Some(division) = &content.division else {
        return;
    };
    for object in objects {
        if autoscaled.scaler(object, namespace).is_some() {
            continue;
        }
        if let Some(all) = divisible(object) {
            let share = division.share(cluster, component, all);
            object["spec"]["replicas"] = Value::from(share);
        }
    }
}

/// What there is to divide; absent = nothing.
fn divisible(object: &Value) -> Option<Divisible> {
    let pod = object.pointer("/spec/template/spec")?;
    let group = text(object, "/apiVersion").split_once('/');
    let kind = (group.map_or("", |(group, _)| group), text(object, "/kind"));
    let replicas = match object.pointer("/spec/replicas") {
        Some(Value::Number(written)) => u32::try_from(written.as_u64()?).ok()?,
        None | Some(Value::Null) if ONE_UNLESS_SAID.contains(&kind) => 1,
        _ => return None,
    };
    Some(Divisible {
        replicas,
        pod: pod_requests(pod),
    })
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}

fn lives_in(object: &Value, home: &str) -> String {
    match text(object, "/metadata/namespace") {
        "" => home.to_owned(),
        written => written.to_owned(),
    }
}

fn label(object: &Value) -> String {
    format!(
        "{}/{}",
        text(object, "/kind"),
        text(object, "/metadata/name")
    )
}
