//! Copies of DaemonSets: whether a second pod may stand beside the first on each node.

use serde_json::Value;

use crate::rollout::RolloutSpec;

const NEAREST: &str = "use strategy.batch, which updates it in place, node by node";

impl RolloutSpec {
    /// Tells whether a copy of a DaemonSet runs beside it while a run lasts.
    #[must_use]
    pub fn copies_daemon_set(&self) -> bool {
        let workload = &self.workload;
        let group = workload.api_version.split_once('/').map(|(group, _)| group);
        self.strategy.batch.is_none()
            && (group, workload.kind.as_str()) == (Some("apps"), "DaemonSet")
    }
}

/// Says why no copy of a DaemonSet can run beside it, as its manifest has it; `None` = one can. What
/// needs the cluster to be known, such as devices, shows as pods that do not become ready.
#[must_use]
pub fn unfit(manifest: &Value) -> Option<String> {
    if manifest.pointer("/spec/updateStrategy/type") == Some(&Value::from("OnDelete")) {
        return Some(format!(
            "its updateStrategy is OnDelete, so that it would never take the new version from its \
             copy; use RollingUpdate, or {NEAREST}"
        ));
    }
    let (field, why) = of_node(manifest)
        .or_else(|| host_port(manifest))
        .or_else(|| host_path(manifest))?;
    Some(format!(
        "no copy can run beside it: {field}{why}; {NEAREST}"
    ))
}

/// What is wrong, by the field that says so.
type Claim = (String, String);

const POD: &str = "spec.template.spec";

fn of_node(manifest: &Value) -> Option<Claim> {
    let claims = ["hostNetwork", "hostPID", "hostIPC"];
    let is_set = |field: &&str| {
        manifest.pointer(&format!("/spec/template/spec/{field}")) == Some(&Value::Bool(true))
    };
    let field = claims.into_iter().find(is_set)?;
    Some((
        format!("{POD}.{field}"),
        " is the node's own, which two pods cannot share safely".to_owned(),
    ))
}

fn list<'a>(
    object: &'a Value,
    pointer: &str,
) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    let found = object.pointer(pointer).and_then(Value::as_array);
    found.into_iter().flatten().enumerate()
}

/// The containers of the template with the fields that hold them.
fn containers(manifest: &Value) -> impl Iterator<Item = (String, &Value)> {
    let lists = ["containers", "initContainers"].into_iter();
    lists.flat_map(move |name| {
        list(manifest, &format!("/spec/template/spec/{name}"))
            .map(move |(index, container)| (format!("{POD}.{name}[{index}]"), container))
    })
}

fn host_port(manifest: &Value) -> Option<Claim> {
    containers(manifest).find_map(|(at, container)| {
        let claims = |(_, port): &(usize, &Value)| {
            port.get("hostPort").and_then(Value::as_u64).unwrap_or(0) > 0
        };
        let (index, _) = list(container, "/ports").find(claims)?;
        Some((
            format!("{at}.ports[{index}].hostPort"),
            " is a port of the node, which one pod alone can have".to_owned(),
        ))
    })
}

/// A path of the node is shared as long as no container may write to it.
fn host_path(manifest: &Value) -> Option<Claim> {
    let name_of = |object: &Value| {
        object
            .get("name")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let volumes = list(manifest, "/spec/template/spec/volumes");
    let mut paths =
        volumes.filter(|(_, volume)| volume.get("hostPath").is_some_and(|at| !at.is_null()));
    paths.find_map(|(index, volume)| {
        let volume = name_of(volume)?;
        let writes = |container: &Value| {
            list(container, "/volumeMounts").any(|(_, mount)| {
                name_of(mount).as_ref() == Some(&volume)
                    && mount.get("readOnly") != Some(&Value::Bool(true))
            })
        };
        let (_, container) = containers(manifest).find(|(_, container)| writes(container))?;
        let container = name_of(container).unwrap_or_default();
        Some((
            format!("{POD}.volumes[{index}].hostPath"),
            format!(
                " is a path of the node that container {container} may write to; mount it \
                 readOnly if it only reads"
            ),
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_pod(spec: Value) -> Option<String> {
        unfit(&json!({"spec": {"template": {"spec": spec}}}))
    }

    #[test]
    fn pods_that_share_nothing_of_their_node_may_stand_beside_each_other() {
        for spec in [
            json!({}),
            json!({"hostNetwork": false, "hostPID": false}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}, {"hostPort": 0}]}]}),
            json!({"volumes": [{"name": "logs", "hostPath": {"path": "/var/log"}}],
                "containers": [{"name": "a",
                    "volumeMounts": [{"name": "logs", "mountPath": "/l", "readOnly": true}]}]}),
            json!({"volumes": [{"name": "tmp", "emptyDir": {}}],
                "containers": [{"name": "a", "volumeMounts": [{"name": "tmp", "mountPath": "/t"}]}]}),
        ] {
            assert_eq!(of_pod(spec.clone()), None, "{spec}");
        }
    }

    #[test]
    fn what_two_pods_of_a_node_cannot_share_is_named_by_its_field() {
        let path = |mounts: Value| {
            json!({"volumes": [{"name": "tmp", "emptyDir": {}},
                    {"name": "logs", "hostPath": {"path": "/var/log"}}],
                "containers": [{"name": "a"}, {"name": "b", "volumeMounts": mounts}]})
        };
        for (spec, field) in [
            (
                json!({"hostNetwork": true}),
                "spec.template.spec.hostNetwork",
            ),
            (json!({"hostPID": true}), "spec.template.spec.hostPID"),
            (json!({"hostIPC": true}), "spec.template.spec.hostIPC"),
            (
                json!({"containers": [{"name": "a"}, {"name": "b", "ports": [{}, {"hostPort": 80}]}]}),
                "spec.template.spec.containers[1].ports[1].hostPort",
            ),
            (
                json!({"initContainers": [{"name": "a", "ports": [{"hostPort": 80}]}]}),
                "spec.template.spec.initContainers[0].ports[0].hostPort",
            ),
            (
                path(json!([{"name": "logs", "readOnly": true}, {"name": "logs"}])),
                "spec.template.spec.volumes[1].hostPath",
            ),
        ] {
            let why = of_pod(spec.clone()).expect("unfit");
            assert!(why.contains(&format!(": {field} ")), "{spec}: {why}");
            assert!(why.contains("strategy.batch"), "{why}");
        }
        let why = of_pod(path(json!([{"name": "logs"}]))).expect("unfit");
        assert!(why.contains("container b may write"), "{why}");
    }

    #[test]
    fn one_that_never_updates_itself_is_unfit() {
        let why = unfit(&json!({"spec": {"updateStrategy": {"type": "OnDelete"}}}));
        assert!(why.expect("unfit").contains("OnDelete"));
    }
}
