//! What the agent may do in a namespace, against what registering its cluster gives it today: a cluster
//! that was registered by an older version lacks what was added since.

/// What a rule of the API server's authorizer lets the agent do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Groups; empty text = core, `*` = all.
    pub groups: Vec<String>,
    /// Resources, with sub-resources as `pods/eviction`; `*` = all.
    pub resources: Vec<String>,
    /// Verbs; `*` = all.
    pub verbs: Vec<String>,
    /// Names that it is restricted to; empty = it is not.
    pub names: Vec<String>,
}

/// A group, a resource of it, and what is done to it.
type Need = (&'static str, &'static str, &'static [&'static str]);

const READ: &[&str] = &["get", "list", "watch"];
const MANAGE: &[&str] = &[
    "get", "list", "watch", "create", "update", "patch", "delete",
];

/// In every namespace that the agent works in.
const EVERYWHERE: [Need; 10] = [
    ("", "pods", READ),
    ("", "pods", &["delete"]),
    ("apps", "daemonsets", READ),
    ("apps", "replicasets", READ),
    ("apps", "statefulsets", READ),
    ("autoscaling", "horizontalpodautoscalers", READ),
    ("discovery.k8s.io", "endpointslices", READ),
    ("keda.sh", "scaledobjects", READ),
    ("bellwether.dev", "rollouttracks", MANAGE),
    ("bellwether.dev", "rollouttracks/status", MANAGE),
];
/// Where it manages Deployments.
const WITH_DEPLOYMENTS: [Need; 1] = [("apps", "replicasets/scale", &["patch"])];
/// Where it manages DaemonSets.
const WITH_DAEMON_SETS: [Need; 2] = [
    ("apps", "controllerrevisions", READ),
    ("", "pods/eviction", &["create"]),
];
/// In its own namespace, and in the cluster as a whole.
const AT_HOME: [Need; 4] = [
    ("", "secrets", MANAGE),
    ("bellwether.dev", "syncrecords", MANAGE),
    ("", "nodes", &["list"]),
    (
        "bellwether.dev",
        "rollouttracks",
        &["get", "patch", "delete"],
    ),
];

/// Lists what the agent may not do in a namespace that it works in, as `delete pods`; empty = nothing.
#[must_use]
pub fn missing_at_work(rules: &[Allowed]) -> Vec<String> {
    let manages = |resource| may(rules, "apps", resource, "update");
    let mut needs: Vec<Need> = EVERYWHERE.into();
    if manages("deployments") {
        needs.extend(WITH_DEPLOYMENTS);
    }
    if manages("daemonsets") {
        needs.extend(WITH_DAEMON_SETS);
    }
    missing(rules, &needs)
}

/// Lists what the agent may not do in its own namespace and in the cluster as a whole; empty = nothing.
#[must_use]
pub fn missing_at_home(rules: &[Allowed]) -> Vec<String> {
    missing(rules, &AT_HOME)
}

fn missing(rules: &[Allowed], needs: &[Need]) -> Vec<String> {
    let lacking = needs.iter().filter_map(|(group, resource, verbs)| {
        let lacking: Vec<&str> = verbs
            .iter()
            .filter(|verb| !may(rules, group, resource, verb))
            .copied()
            .collect();
        (!lacking.is_empty()).then(|| {
            let dot = if group.is_empty() { "" } else { "." };
            format!("{} {resource}{dot}{group}", lacking.join(", "))
        })
    });
    lacking.collect()
}

fn may(rules: &[Allowed], group: &str, resource: &str, verb: &str) -> bool {
    let has = |list: &[String], one: &str| list.iter().any(|held| held == one || held == "*");
    rules.iter().any(|rule| {
        rule.names.is_empty()
            && has(&rule.groups, group)
            && has(&rule.resources, resource)
            && has(&rule.verbs, verb)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Allowed {
        let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        Allowed {
            groups: vec![group.to_owned()],
            resources: owned(resources),
            verbs: owned(verbs),
            names: Vec::new(),
        }
    }

    fn all() -> Vec<Allowed> {
        let needs = EVERYWHERE
            .iter()
            .chain(&WITH_DEPLOYMENTS)
            .chain(&WITH_DAEMON_SETS);
        let mut rules: Vec<Allowed> = needs
            .map(|(group, resource, verbs)| rule(group, &[*resource], verbs))
            .collect();
        rules.push(rule("apps", &["deployments", "daemonsets"], MANAGE));
        rules
    }

    #[test]
    fn an_agent_that_was_registered_today_lacks_nothing() {
        assert_eq!(missing_at_work(&all()), Vec::<String>::new());
        assert_eq!(
            missing_at_work(&[rule("*", &["*"], &["*"])]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_was_added_since_is_named() {
        let before: Vec<Allowed> = all()
            .into_iter()
            .filter(|rule| {
                !rule.resources.contains(&"replicasets/scale".to_owned())
                    && *rule.verbs != ["delete"]
                    && !rule.resources.contains(&"pods/eviction".to_owned())
            })
            .collect();
        assert_eq!(
            missing_at_work(&before),
            [
                "delete pods",
                "patch replicasets/scale.apps",
                "create pods/eviction"
            ]
        );
    }

    #[test]
    fn what_its_kinds_do_not_take_is_not_missed() {
        let rules: Vec<Allowed> = EVERYWHERE
            .iter()
            .map(|(group, resource, verbs)| rule(group, &[*resource], verbs))
            .collect();
        assert_eq!(missing_at_work(&rules), Vec::<String>::new());
    }

    #[test]
    fn a_right_to_one_name_is_not_the_right() {
        let named = Allowed {
            names: vec!["one".to_owned()],
            ..rule("", &["nodes"], &["list"])
        };
        let home = [
            rule("", &["secrets"], MANAGE),
            rule("bellwether.dev", &["syncrecords"], MANAGE),
            rule("bellwether.dev", &["rollouttracks"], MANAGE),
            named,
        ];
        assert_eq!(missing_at_home(&home), ["list nodes"]);
    }
}
