//! Which writes the API server asks the agent about.
//!
//! It asks about no write that is not in danger of making pods of a governed Deployment: whatever happens
//! to the agent, nothing else in the cluster is slower or refused for it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::adopted::HELD_ANNOTATION;

/// The webhook's name within its configuration, and how those of other kinds than Deployments end.
const WEBHOOK: &str = "workloads.bellwether.dev";
/// How long the API server waits for an answer, in seconds.
const TIMEOUT_S: u32 = 2;

/// What becomes of a write that the API server cannot ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// It is let through, and caught by the agent a moment later.
    Ignore,
    /// It is refused.
    Fail,
}

impl FailurePolicy {
    /// Kubernetes' word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::Fail => "Fail",
        }
    }
}

/// A workload's place: namespace, then name.
pub type Target = (String, String);

/// A kind as the API server serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// The API group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The name in paths, such as `deployments`.
    pub plural: String,
}

impl Resource {
    fn is_deployments(&self) -> bool {
        (self.group.as_str(), self.plural.as_str()) == ("apps", "deployments")
    }

    fn webhook(&self) -> String {
        if self.is_deployments() {
            WEBHOOK.to_owned()
        } else {
            format!("{}.{}.{WEBHOOK}", self.plural, self.group)
        }
    }
}

/// What the configuration depends on.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The workloads that are governed, by their kind; empty = the API server asks about nothing.
    pub governed: &'a BTreeMap<Resource, BTreeSet<Target>>,
    /// The certificates that the API server trusts, PEM in base64.
    pub ca_bundle: &'a str,
    /// Namespace and name of the Service that leads to the agent.
    pub service: (&'a str, &'a str),
    /// The path that is served.
    pub path: &'a str,
    /// The agent's own user, about whose writes it is not asked.
    pub agent_user: &'a str,
    /// What becomes of a write while the agent does not answer.
    pub failure_policy: FailurePolicy,
}

/// Makes the configuration's list of webhooks, with every field that the API server would fill in.
#[must_use]
pub fn webhooks(wanted: &Wanted<'_>) -> Value {
    let all = wanted.governed.iter();
    all.filter_map(|(resource, targets)| webhook(wanted, resource, targets))
        .collect()
}

fn webhook(wanted: &Wanted<'_>, resource: &Resource, targets: &BTreeSet<Target>) -> Option<Value> {
    // Names become part of an expression: what is no name is not governed.
    let governed: Vec<&Target> = targets
        .iter()
        .filter(|(namespace, name)| is_name(namespace) && is_name(name))
        .collect();
    if governed.is_empty() {
        return None;
    }
    let namespaces: BTreeSet<&String> = governed.iter().map(|(namespace, _)| namespace).collect();
    let (namespace, service) = wanted.service;
    Some(json!({
        "name": resource.webhook(),
        "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "caBundle": wanted.ca_bundle,
            "service": {
                "namespace": namespace, "name": service, "path": wanted.path, "port": 443,
            },
        },
        "rules": [{
            "apiGroups": [resource.group], "apiVersions": [resource.version],
            "operations": ["UPDATE"], "resources": [resource.plural], "scope": "Namespaced",
        }],
        "namespaceSelector": {"matchExpressions": [{
            "key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces,
        }]},
        "objectSelector": {},
        "matchConditions": conditions(resource, &governed, wanted.agent_user),
        "matchPolicy": "Equivalent",
        "failurePolicy": wanted.failure_policy.word(),
        "timeoutSeconds": TIMEOUT_S,
        // The answer depends on nothing but the write and changes nothing: a dry run gets the same.
        "sideEffects": "None",
        // Whatever others change of the write later, what is held is held.
        "reinvocationPolicy": "Never",
    }))
}

fn conditions(resource: &Resource, governed: &[&Target], agent_user: &str) -> Value {
    let may_make_pods = if resource.is_deployments() {
        "!(has(object.spec.paused) && object.spec.paused) && \
         (object.spec.template != oldObject.spec.template || \
         (has(oldObject.spec.paused) && oldObject.spec.paused))"
            .to_owned()
    } else {
        format!(
            "object.spec.template != oldObject.spec.template || \
             (has(oldObject.metadata.annotations) && \
             '{HELD_ANNOTATION}' in oldObject.metadata.annotations)"
        )
    };
    let places: Vec<String> = governed
        .iter()
        .map(|(namespace, name)| format!("'{namespace}/{name}'"))
        .collect();
    json!([
        {
            "name": "is-governed",
            "expression": format!(
                "(request.namespace + '/' + request.name) in [{}]",
                places.join(", ")
            ),
        },
        {
            "name": "is-not-the-agents",
            "expression": format!("request.userInfo.username != '{agent_user}'"),
        },
        {
            "name": "may-make-pods",
            "expression": may_make_pods,
        },
    ])
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
}

#[cfg(test)]
mod tests {
    use cel::{Context, Program};

    use super::*;

    const AGENT: &str = "system:serviceaccount:bellwether-system:bellwether-agent";

    fn made(governed: &[(&str, &str)]) -> Value {
        made_of("deployments", governed)
    }

    fn made_of(plural: &str, governed: &[(&str, &str)]) -> Value {
        let targets: BTreeSet<Target> = governed
            .iter()
            .map(|(namespace, name)| ((*namespace).to_owned(), (*name).to_owned()))
            .collect();
        let resource = Resource {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            plural: plural.to_owned(),
        };
        webhooks(&Wanted {
            governed: &[(resource, targets)].into(),
            ca_bundle: "Q0E=",
            service: ("bellwether-system", "bellwether-agent-webhook"),
            path: "/admit",
            agent_user: AGENT,
            failure_policy: FailurePolicy::Ignore,
        })
    }

    /// Whether the API server would ask about a write, by the conditions as it evaluates them.
    fn asks(webhooks: &Value, place: (&str, &str), user: &str, old: &Value, new: &Value) -> bool {
        let conditions = webhooks[0]["matchConditions"].as_array().expect("a list");
        conditions.iter().all(|condition| {
            let expression = condition["expression"].as_str().expect("an expression");
            let program = Program::compile(expression).expect(expression);
            let mut context = Context::default();
            let request = json!({
                "namespace": place.0, "name": place.1, "userInfo": {"username": user},
            });
            for (name, value) in [("request", &request), ("object", new), ("oldObject", old)] {
                context.add_variable(name, value).expect("a variable");
            }
            program.execute(&context).expect(expression) == cel::Value::Bool(true)
        })
    }

    #[test]
    fn nobody_is_asked_about_what_is_not_governed() {
        assert_eq!(made(&[]), json!([]));
        assert_eq!(made(&[("shop", "it's'] || true || ['")]), json!([]));
        let made = made(&[("shop", "web"), ("pay", "api")]);
        let (v1, v2) = (
            json!({"spec": {"template": {"image": "v1"}}}),
            json!({"spec": {"template": {"image": "v2"}}}),
        );
        for (place, expected) in [
            (("shop", "web"), true),
            (("pay", "api"), true),
            (("shop", "api"), false),
            (("shop", "web2"), false),
        ] {
            assert_eq!(asks(&made, place, "flux", &v1, &v2), expected, "{place:?}");
        }
        assert!(
            !asks(&made, ("shop", "web"), AGENT, &v1, &v2),
            "its own writes"
        );
        let selector = &made[0]["namespaceSelector"]["matchExpressions"][0]["values"];
        assert_eq!(selector, &json!(["pay", "shop"]));
    }

    #[test]
    fn only_a_write_that_may_make_pods_is_asked_about() {
        let made = made(&[("shop", "web")]);
        let spec = |image: &str, paused: Option<bool>| {
            let mut object = json!({"spec": {"replicas": 3, "template": {"image": image}}});
            if let Some(paused) = paused {
                object["spec"]["paused"] = json!(paused);
            }
            object
        };
        let mut scaled = spec("v1", None);
        scaled["spec"]["replicas"] = json!(5);
        let cases = [
            (
                "the template changes",
                spec("v1", None),
                spec("v2", None),
                true,
            ),
            ("its size does", spec("v1", None), scaled, false),
            (
                "paused by whoever writes it",
                spec("v1", None),
                spec("v2", Some(true)),
                false,
            ),
            (
                "changed while paused",
                spec("v1", Some(true)),
                spec("v2", Some(true)),
                false,
            ),
            (
                "resumed",
                spec("v2", Some(true)),
                spec("v2", Some(false)),
                true,
            ),
            (
                "the pause is left out",
                spec("v2", Some(true)),
                spec("v2", None),
                true,
            ),
            (
                "nothing changes",
                spec("v1", Some(false)),
                spec("v1", None),
                false,
            ),
        ];
        for (what, old, new, expected) in cases {
            let asked = asks(&made, ("shop", "web"), "flux", &old, &new);
            assert_eq!(asked, expected, "{what}");
        }
    }

    #[test]
    fn of_workloads_in_place_templates_and_what_is_held_are_asked_about() {
        let made = made_of("statefulsets", &[("shop", "db")]);
        assert_eq!(
            made[0]["name"],
            "statefulsets.apps.workloads.bellwether.dev"
        );
        assert_eq!(made[0]["rules"][0]["resources"], json!(["statefulsets"]));
        let object = |image: &str, partition: u32, annotations: Value| {
            json!({"metadata": {"annotations": annotations}, "spec": {
                "template": {"image": image},
                "updateStrategy": {"rollingUpdate": {"partition": partition}},
            }})
        };
        let held = json!({HELD_ANNOTATION: "shop-db"});
        let none = json!({});
        let cases = [
            (
                "the template changes",
                object("v1", 0, none.clone()),
                object("v2", 0, none.clone()),
                true,
            ),
            (
                "a partition of their own",
                object("v1", 0, none.clone()),
                object("v1", 2, none.clone()),
                false,
            ),
            (
                "what is held is let go",
                object("v2", 9, held.clone()),
                object("v2", 0, none.clone()),
                true,
            ),
            (
                "what is held is scaled",
                object("v2", 9, held.clone()),
                object("v2", 9, held),
                true,
            ),
            (
                "nothing changes",
                object("v1", 0, none.clone()),
                object("v1", 0, none),
                false,
            ),
        ];
        for (what, old, new, expected) in cases {
            let asked = asks(&made, ("shop", "db"), "flux", &old, &new);
            assert_eq!(asked, expected, "{what}");
        }
        let mut bare = object("v1", 0, Value::Null);
        bare["metadata"] = json!({});
        assert!(!asks(&made, ("shop", "db"), "flux", &bare, &bare));
    }
}
