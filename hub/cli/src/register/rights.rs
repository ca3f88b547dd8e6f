//! Which kinds the agent may manage, and the rights that takes.

use anyhow::{Context as _, bail};
use bellwether_api::traffic::Provider;
use kube::discovery::{Discovery, Scope};
use serde_json::{Value, json};

/// A resource of the API: group and plural.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// The group; empty = core.
    pub group: String,
    /// The plural, such as `deployments`.
    pub plural: String,
}

/// Kinds that every Kubernetes cluster knows, and the route of the Gateway API.
const KNOWN: [(&str, &str, &str); 16] = [
    ("configmap", "", "configmaps"),
    ("cronjob", "batch", "cronjobs"),
    ("daemonset", "apps", "daemonsets"),
    ("deployment", "apps", "deployments"),
    (
        "horizontalpodautoscaler",
        "autoscaling",
        "horizontalpodautoscalers",
    ),
    ("httproute", "gateway.networking.k8s.io", "httproutes"),
    ("ingress", "networking.k8s.io", "ingresses"),
    ("job", "batch", "jobs"),
    ("limitrange", "", "limitranges"),
    ("networkpolicy", "networking.k8s.io", "networkpolicies"),
    ("persistentvolumeclaim", "", "persistentvolumeclaims"),
    ("poddisruptionbudget", "policy", "poddisruptionbudgets"),
    ("secret", "", "secrets"),
    ("service", "", "services"),
    ("serviceaccount", "", "serviceaccounts"),
    ("statefulset", "apps", "statefulsets"),
];

/// What is managed unless `--kinds` says otherwise.
const DEFAULTS: [&str; 14] = [
    "ConfigMap",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "HTTPRoute",
    "Ingress",
    "Job",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "Secret",
    "Service",
    "ServiceAccount",
    "StatefulSet",
];

/// What a canary takes beside the user's kinds, read only.
const READ: [(&str, &str); 8] = [
    ("", "pods"),
    // Which version a workload had before, and of which a DaemonSet's template is.
    ("apps", "controllerrevisions"),
    ("apps", "daemonsets"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("discovery.k8s.io", "endpointslices"),
    ("keda.sh", "scaledobjects"),
];

/// Groups whose objects give rights or change what others may do.
const FORBIDDEN_GROUPS: [&str; 5] = [
    // Of the cluster that hosts the hub: who writes a record speaks to the whole fleet.
    bellwether_api::GROUP,
    "rbac.authorization.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "certificates.k8s.io",
];

fn resource(group: &str, plural: &str) -> Resource {
    Resource {
        group: group.to_owned(),
        plural: plural.to_owned(),
    }
}

fn lookup(word: &str) -> Option<Resource> {
    let wanted = word.to_lowercase();
    KNOWN
        .iter()
        .find(|(kind, _, plural)| *kind == wanted || *plural == wanted)
        .map(|(_, group, plural)| resource(group, plural))
        .or_else(|| route_kind(&wanted))
        .or_else(|| {
            wanted
                .split_once('.')
                .map(|(plural, group)| resource(group, plural))
        })
}

/// The kinds of traffic providers; the first provider of a kind has its name.
fn route_kind(wanted: &str) -> Option<Resource> {
    let resources = Provider::ALL
        .into_iter()
        .filter(|provider| provider.is_supported())
        .map(|provider| (provider.kind().to_lowercase(), provider.resource()));
    resources
        .filter_map(|(kind, name)| {
            let (plural, group) = name.split_once('.')?;
            (kind == wanted || plural == wanted).then(|| resource(group, plural))
        })
        .next()
}

fn wanted(kinds: &[String]) -> Vec<String> {
    if kinds.is_empty() {
        DEFAULTS.map(str::to_owned).to_vec()
    } else {
        kinds.to_vec()
    }
}

/// Reads `--kinds` without a cluster: known kinds and `resource.group`.
///
/// # Errors
/// A kind that only a cluster could explain, or one that gives rights.
pub fn known(kinds: &[String]) -> anyhow::Result<Vec<Resource>> {
    let found = wanted(kinds)
        .iter()
        .map(|word| lookup(word).with_context(|| unknown(word)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    finish(found)
}

/// Reads `--kinds`, asking the cluster for kinds that are not known everywhere.
///
/// # Errors
/// A kind that the cluster does not serve, that is not namespaced, or that gives rights.
pub async fn resolve(client: &kube::Client, kinds: &[String]) -> anyhow::Result<Vec<Resource>> {
    let words = wanted(kinds);
    let mut found: Vec<Resource> = words.iter().filter_map(|word| lookup(word)).collect();
    let unclear: Vec<&String> = words.iter().filter(|word| lookup(word).is_none()).collect();
    if !unclear.is_empty() {
        let served = Discovery::new(client.clone())
            .run()
            .await
            .context("failed to ask the cluster for its kinds")?;
        for word in unclear {
            let (kind, capabilities) = served
                .groups()
                .flat_map(|group| group.recommended_resources())
                .find(|(kind, _)| kind.kind.eq_ignore_ascii_case(word) || kind.plural == **word)
                .with_context(|| unknown(word))?;
            if capabilities.scope == Scope::Cluster {
                bail!("{word} is not namespaced; agents manage namespaced kinds only");
            }
            found.push(resource(&kind.group, &kind.plural));
        }
    }
    finish(found)
}

fn unknown(word: &str) -> String {
    format!("{word:?} is no kind that this cluster serves; write it as Kind or resource.group")
}

fn finish(mut found: Vec<Resource>) -> anyhow::Result<Vec<Resource>> {
    if let Some(bad) = found
        .iter()
        .find(|kind| FORBIDDEN_GROUPS.contains(&kind.group.as_str()))
    {
        bail!(
            "{}.{} gives rights; agents never manage it",
            bad.plural,
            bad.group
        );
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Makes the rules for one namespace that the agent works in.
#[must_use]
pub fn rules(kinds: &[Resource]) -> Vec<Value> {
    let manage = [
        "get", "list", "watch", "create", "update", "patch", "delete",
    ];
    let read = ["get", "list", "watch"];
    let mut rules: Vec<Value> = by_group(kinds)
        .into_iter()
        .map(|(group, plurals)| rule(&group, &plurals, &manage))
        .collect();
    let tracks = [
        "rollouttracks".to_owned(),
        "rollouttracks/status".to_owned(),
    ];
    rules.push(rule(bellwether_api::GROUP, &tracks, &manage));
    let reads: Vec<Resource> = READ
        .iter()
        .map(|(group, plural)| resource(group, plural))
        .filter(|one| !kinds.contains(one))
        .collect();
    // A pod that never becomes ready keeps its controller from taking the version before back: going
    // back deletes it.
    rules.push(rule("", &["pods".to_owned()], &["delete"]));
    if kinds.contains(&resource("apps", "daemonsets")) {
        // Held back, a DaemonSet's controller replaces no pod.
        rules.push(rule("", &["pods/eviction".to_owned()], &["create"]));
    }
    rules.extend(
        by_group(&reads)
            .into_iter()
            .map(|(group, plurals)| rule(&group, &plurals, &read)),
    );
    if kinds.contains(&resource("apps", "deployments")) {
        // Of a Deployment that somebody else writes, pods may be made before it is paused.
        rules.push(rule("apps", &["replicasets/scale".to_owned()], &["patch"]));
    }
    rules
}

fn by_group(kinds: &[Resource]) -> std::collections::BTreeMap<String, Vec<String>> {
    let mut groups = std::collections::BTreeMap::<String, Vec<String>>::new();
    for kind in kinds {
        groups
            .entry(kind.group.clone())
            .or_default()
            .push(kind.plural.clone());
    }
    groups
}

fn rule(group: &str, plurals: &[String], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": plurals, "verbs": verbs})
}

#[cfg(test)]
mod tests {
    use super::{Resource, known, rules};

    #[test]
    fn kinds_are_read_in_every_form() {
        let kinds = known(&[
            "Deployment".into(),
            "services".into(),
            "widgets.example.com".into(),
        ])
        .expect("known kinds");
        let names: Vec<String> = kinds
            .iter()
            .map(|Resource { group, plural }| format!("{plural}.{group}"))
            .collect();
        assert_eq!(
            names,
            ["services.", "deployments.apps", "widgets.example.com"]
        );
    }

    #[test]
    fn kinds_of_traffic_providers_need_no_cluster() {
        for (word, expected) in [
            ("TraefikService", "traefikservices.traefik.io"),
            ("VirtualService", "virtualservices.networking.istio.io"),
            ("HTTPProxy", "httpproxies.projectcontour.io"),
            ("httproute", "httproutes.gateway.networking.k8s.io"),
            (
                "httproutes.policy.linkerd.io",
                "httproutes.policy.linkerd.io",
            ),
        ] {
            let kinds = known(&[word.into()]).expect(word);
            let Resource { group, plural } = &kinds[0];
            assert_eq!(format!("{plural}.{group}"), expected);
        }
    }

    #[test]
    fn what_a_service_may_select_is_readable_whatever_is_managed() {
        let kinds = known(&["Deployment".into(), "Service".into()]).expect("known kinds");
        let read = rules(&kinds)
            .into_iter()
            .filter(|rule| rule["verbs"] == serde_json::json!(["get", "list", "watch"]))
            .find(|rule| rule["apiGroups"] == serde_json::json!(["apps"]))
            .expect("kinds of apps are read");
        let expected = [
            "controllerrevisions",
            "daemonsets",
            "replicasets",
            "statefulsets",
        ];
        assert_eq!(read["resources"], serde_json::json!(expected));
    }

    #[test]
    fn pods_are_evicted_where_daemon_sets_are_managed_alone() {
        let evicts = |kinds: &[&str]| {
            let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
            rules(&known(&kinds).expect("known kinds"))
                .iter()
                .any(|rule| rule["resources"] == serde_json::json!(["pods/eviction"]))
        };
        assert!(evicts(&["DaemonSet"]));
        assert!(!evicts(&["Deployment", "StatefulSet", "Service"]));
    }

    #[test]
    fn kinds_that_give_rights_are_refused() {
        let error = known(&["roles.rbac.authorization.k8s.io".into()]).expect_err("refused");
        assert!(error.to_string().contains("gives rights"), "{error}");
        assert!(known(&["Widget".into()]).is_err());
    }
}
