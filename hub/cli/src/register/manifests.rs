//! What is installed in a member cluster. Pure: the same input gives the same objects.
//!
//! The fixed part lies in helm/bellwether-agent; what depends on the cluster is filled in here.

use bellwether_api::reference::NamespacedName;
use serde_json::{Value, json};

use super::{AGENT, NAMESPACE, impersonation, rights, rights::Resource};

const FIXED: [&str; 4] = [
    include_str!("../../../../helm/bellwether-agent/manifests/namespace.yaml"),
    include_str!("../../../../helm/bellwether-agent/manifests/roles.yaml"),
    include_str!("../../../../helm/bellwether-agent/manifests/deployment.yaml"),
    include_str!("../../../../helm/bellwether-agent/manifests/webhook.yaml"),
];

/// The annotation that names the cluster as the hub knows it.
pub const CLUSTER_ANNOTATION: &str = "bellwether.dev/cluster";

/// What the manifests depend on.
#[derive(Clone)]
pub struct Agent {
    /// The cluster's name in the fleet.
    pub cluster: String,
    /// The agent's image.
    pub image: String,
    /// When it is pulled.
    pub pull_policy: String,
    /// Where the hub is, `host:port`.
    pub hub_addresses: Vec<String>,
    /// SHA-256 of the hub's CA.
    pub ca_hash: String,
    /// The one-time join token.
    pub token: String,
    /// Namespaces that the agent may work in.
    pub namespaces: Vec<String>,
    /// Kinds that it may manage there.
    pub kinds: Vec<Resource>,
    /// ServiceAccounts in whose names it may apply.
    pub impersonate: Vec<NamespacedName>,
    /// Whether it may list what policy engines report.
    pub policy_reports: bool,
    /// What becomes of updates of workloads of others while the agent does not answer; absent = the
    /// API server does not ask it.
    pub webhook: Option<String>,
    /// Whether it may list every pod, to add up what they ask for.
    pub count_pods: bool,
}

/// Makes every object, in the order in which they are applied.
#[must_use]
pub fn objects(agent: &Agent) -> Vec<Value> {
    let mut objects = fixed(FIXED[0]);
    objects.extend(definitions());
    objects.extend(namespaces(agent));
    objects.extend(fixed(FIXED[1]));
    objects.extend(cluster_reader(agent));
    for namespace in &agent.namespaces {
        objects.extend(namespace_role(namespace, &agent.kinds));
        objects.extend(impersonation::role(namespace, &agent.impersonate));
    }
    objects.push(join_secret(agent));
    if agent.webhook.is_some() {
        objects.extend(fixed(FIXED[3]));
    }
    objects.push(deployment(agent));
    objects
}

fn fixed(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).expect("the manifests in helm/bellwether-agent are YAML")
}

fn definitions() -> Vec<Value> {
    let mut all = bellwether_api::schema::custom_resource_definitions();
    ["rollouttracks", "syncrecords"]
        .iter()
        .filter_map(|plural| all.remove(*plural))
        .collect()
}

pub(super) fn labels() -> Value {
    json!({"app.kubernetes.io/name": "bellwether"})
}

/// The namespaces exist before the agent comes, so that it needs no right to make any.
fn namespaces(agent: &Agent) -> Vec<Value> {
    agent
        .namespaces
        .iter()
        .filter(|name| *name != "default")
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect()
}

/// The only rights beyond namespaces: to see that its namespaces exist, and the cluster's own UID, to count
/// nodes for placement, to let go of its own tracks, and to say about which workloads the API server asks it.
fn cluster_reader(agent: &Agent) -> Vec<Value> {
    let mut names: Vec<&str> = agent.namespaces.iter().map(String::as_str).collect();
    names.extend(["kube-system", NAMESPACE]);
    names.sort_unstable();
    names.dedup();
    let mut rules = vec![json!({
        "apiGroups": [""], "resources": ["namespaces"], "resourceNames": names,
        "verbs": ["get", "watch"],
    })];
    rules.push(json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}));
    // A namespace that is deleted takes the agent's role in it along, maybe before the track of a run there,
    // which would hold the namespace for ever.
    rules.push(json!({
        "apiGroups": [bellwether_api::GROUP], "resources": ["rollouttracks"],
        "verbs": ["get", "patch", "delete"],
    }));
    if agent.policy_reports {
        rules.extend(policy_report_rules());
    }
    if agent.count_pods {
        rules.push(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}));
    }
    if agent.webhook.is_some() {
        rules.push(json!({
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations"], "resourceNames": [AGENT],
            "verbs": ["get", "update"],
        }));
    }
    vec![
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": AGENT, "labels": labels()},
            "rules": rules,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": AGENT, "labels": labels()},
            "roleRef": role_ref("ClusterRole"),
            "subjects": subjects(),
        }),
    ]
}

/// Reads what policy engines report. Every ConstraintTemplate of Gatekeeper makes a kind of its own in the
/// group of constraints, so that they cannot be named.
fn policy_report_rules() -> [Value; 2] {
    [
        json!({"apiGroups": ["wgpolicyk8s.io"],
            "resources": ["clusterpolicyreports", "policyreports"], "verbs": ["list"]}),
        json!({"apiGroups": ["constraints.gatekeeper.sh"], "resources": ["*"], "verbs": ["list"]}),
    ]
}

fn namespace_role(namespace: &str, kinds: &[Resource]) -> Vec<Value> {
    // The agent's own namespace has a Role of that name already.
    let name = if namespace == NAMESPACE {
        "bellwether-agent-work"
    } else {
        AGENT
    };
    bound_role(name, namespace, &json!(rights::rules(kinds))).into()
}

/// A Role of the agent's in a namespace, and its binding.
pub(super) fn bound_role(name: &str, namespace: &str, rules: &Value) -> [Value; 2] {
    let metadata = json!({"name": name, "namespace": namespace, "labels": labels()});
    let mut role_ref = role_ref("Role");
    role_ref["name"] = json!(name);
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": rules,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": role_ref,
            "subjects": subjects(),
        }),
    ]
}

pub(super) fn role_ref(kind: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": AGENT})
}

pub(super) fn subjects() -> Value {
    json!([{"kind": "ServiceAccount", "name": AGENT, "namespace": NAMESPACE}])
}

fn join_secret(agent: &Agent) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bellwether-agent-join", "namespace": NAMESPACE, "labels": labels()},
        "type": "bellwether.dev/join",
        "stringData": {"token": agent.token},
    })
}

fn deployment(agent: &Agent) -> Value {
    let mut object = fixed(FIXED[2])
        .pop()
        .expect("deployment.yaml holds one object");
    object["metadata"]["annotations"] = json!({CLUSTER_ANNOTATION: agent.cluster});
    let template = &mut object["spec"]["template"];
    // A new hub or a new registration starts a new pod, which reads the new token.
    template["metadata"]["annotations"] = json!({
        CLUSTER_ANNOTATION: agent.cluster,
        "bellwether.dev/join": short_digest(&agent.token),
    });
    let container = &mut template["spec"]["containers"][0];
    container["image"] = json!(agent.image);
    container["imagePullPolicy"] = json!(agent.pull_policy);
    container["env"] = json!([
        {"name": "BELLWETHER_HUB_ADDRESS", "value": agent.hub_addresses.join(",")},
        {"name": "BELLWETHER_HUB_CA_HASH", "value": agent.ca_hash},
        {"name": "BELLWETHER_TOKEN_FILE", "value": "/var/run/bellwether/token"},
        {"name": "BELLWETHER_NAMESPACE", "value": NAMESPACE},
        {"name": "BELLWETHER_LOG_FORMAT", "value": "json"},
    ]);
    if let Some(failure_policy) = &agent.webhook
        && let Some(env) = container["env"].as_array_mut()
    {
        env.extend([
            json!({"name": "BELLWETHER_WEBHOOK_LISTEN", "value": "0.0.0.0:9443"}),
            json!({"name": "BELLWETHER_WEBHOOK_FAILURE_POLICY", "value": failure_policy}),
        ]);
    }
    object
}

fn short_digest(token: &str) -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(Sha256::digest(token.as_bytes()))[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::{Agent, objects, rights};

    fn agent() -> Agent {
        Agent {
            cluster: "eu-edge-1".into(),
            image: "agent:test".into(),
            pull_policy: "IfNotPresent".into(),
            hub_addresses: vec!["10.0.0.1:7701".into()],
            ca_hash: "ab".repeat(32),
            token: "secret-token".into(),
            namespaces: vec!["payments".into(), "web".into()],
            kinds: rights::known(&[]).expect("the defaults are known"),
            impersonate: Vec::new(),
            policy_reports: false,
            webhook: Some("Ignore".into()),
            count_pods: false,
        }
    }

    /// One line a right, as `kubectl auth can-i --list` prints them.
    fn rights_of(objects: &[Value]) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for object in objects {
            let place = object["metadata"]["namespace"].as_str().unwrap_or("*");
            for rule in object["rules"].as_array().into_iter().flatten() {
                let words = |key: &str| -> Vec<String> {
                    rule[key]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|word| word.as_str().map(str::to_owned))
                        .collect()
                };
                for resource in words("resources") {
                    lines.insert(format!(
                        "{place:18} {resource}.{}  {:?} {:?}",
                        words("apiGroups").join(","),
                        words("resourceNames"),
                        words("verbs")
                    ));
                }
            }
        }
        lines
    }

    #[test]
    fn rights_are_exactly_these() {
        let lines: Vec<String> = rights_of(&objects(&agent())).into_iter().collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn nothing_is_granted_by_wildcard_or_beyond_the_named_namespaces() {
        for object in objects(&agent()) {
            let text = object["rules"].to_string();
            assert!(!text.contains("\"*\""), "{object}");
            assert!(!text.contains("rbac.authorization"), "{object}");
            let rules = object["rules"].as_array().into_iter().flatten();
            for rule in rules.filter(|_| object["kind"] == "ClusterRole") {
                let counts_nodes = rule["resources"] == serde_json::json!(["nodes"])
                    && rule["verbs"] == serde_json::json!(["list"]);
                let lets_go = rule["resources"] == serde_json::json!(["rollouttracks"])
                    && rule["verbs"] == serde_json::json!(["get", "patch", "delete"]);
                let named = rule["resourceNames"].is_array();
                assert!(counts_nodes || lets_go || named, "{rule}");
            }
            assert!(
                !text.contains("escalate") && !text.contains("impersonate"),
                "{object}"
            );
        }
    }

    #[test]
    fn policy_reports_are_listed_where_that_is_asked_for_and_nothing_else_is() {
        let with = Agent {
            policy_reports: true,
            ..agent()
        };
        let (with, without) = (rights_of(&objects(&with)), rights_of(&objects(&agent())));
        let more: Vec<&String> = with.iter().filter(|one| !without.contains(*one)).collect();
        assert_eq!(more.len(), 3, "{more:?}");
        assert!(
            more.iter().all(|one| one.ends_with("[\"list\"]")),
            "{more:?}"
        );
    }

    #[test]
    fn pods_are_listed_only_where_that_is_asked_for() {
        let counting = Agent {
            count_pods: true,
            ..agent()
        };
        let more = rights_of(&objects(&counting));
        let without = rights_of(&objects(&agent()));
        let more: Vec<&String> = more.difference(&without).collect();
        let [line] = more.as_slice() else {
            panic!("{more:?}");
        };
        assert!(line.contains("pods") && line.contains("list"), "{line}");
    }

    #[test]
    fn without_a_webhook_nothing_of_it_is_installed() {
        let without = Agent {
            webhook: None,
            ..agent()
        };
        let text = |agent: &Agent| serde_json::json!(objects(agent)).to_string().to_lowercase();
        for word in [
            "mutatingwebhookconfiguration",
            "agent-webhook",
            "webhook_listen",
        ] {
            assert!(text(&agent()).contains(word), "{word}");
            assert!(!text(&without).contains(word), "{word}");
        }
        // What the agent writes into it is not taken out by registering again.
        let webhooks = objects(&agent())
            .iter()
            .filter(|object| object.get("webhooks").is_some())
            .count();
        assert_eq!(webhooks, 0);
    }

    #[test]
    fn agent_pod_is_what_the_restricted_standard_wants() {
        let deployment = objects(&agent()).pop().expect("the last object");
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], "agent:test");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"],
            false
        );
        assert!(!deployment.to_string().contains("secret-token"));
    }

    #[test]
    fn every_object_names_itself() {
        let names: Vec<String> = objects(&agent())
            .iter()
            .map(|object| {
                format!(
                    "{} {} {}/{}",
                    object["apiVersion"].as_str().expect("apiVersion"),
                    object["kind"].as_str().expect("kind"),
                    object["metadata"]["namespace"].as_str().unwrap_or("-"),
                    object["metadata"]["name"].as_str().expect("name"),
                )
            })
            .collect();
        insta::assert_snapshot!(names.join("\n"));
    }
}
