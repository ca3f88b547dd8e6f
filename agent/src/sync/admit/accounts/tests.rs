#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::json;

use super::*;
use crate::sync::{
    access::Access,
    admit::{
        Admitted,
        tests::{admission, bundle},
    },
    cluster::double::{client, refusal},
    keep::Part,
};

/// What is found about an object that a policy of the cluster refuses to everybody, while the rights of
/// everybody are right.
async fn refused_by_a_policy(kind: &str) -> Admitted {
    let (client, _) = client(|asked| {
        if asked.path.contains("selfsubjectaccessreviews") {
            let status = json!({"allowed": true});
            return (StatusCode::OK, json!({"spec": {}, "status": status}));
        }
        match asked.method {
            Method::PATCH => refusal(StatusCode::FORBIDDEN, "denied by policy: s3cret"),
            _ => refusal(StatusCode::NOT_FOUND, "not found"),
        }
    });
    let cluster = Cluster::new(client);
    let access = Access::default();
    let admission = admission(&cluster, &access);
    let part = Part {
        account: Some(NamespacedName {
            namespace: "shop".to_owned(),
            name: "deployer".to_owned(),
        }),
        ..Part::default()
    };
    let object = json!({"apiVersion": "v1", "kind": kind,
        "metadata": {"name": "web", "namespace": "shop"}});
    let want = Wanted {
        part: Arc::new(part),
        ..Wanted::new(object).unwrap()
    };
    admission
        .review(&bundle(&json!({})), &[want])
        .await
        .unwrap()
}

#[tokio::test]
async fn what_no_right_would_help_against_is_refused_at_once_and_says_as_whom() {
    for (kind, quotes) in [("ConfigMap", true), ("Secret", false)] {
        let found = refused_by_a_policy(kind).await;
        assert_eq!(found.lacks, Vec::<String>::new());
        let said = found.refusals.join("; ");
        let who = format!("{kind}/shop/web as ServiceAccount shop/deployer");
        assert!(said.contains(&who), "{said}");
        assert_eq!(said.contains("s3cret"), quotes, "{said}");
    }
}

/// A server where the account exists and may do nothing; who may not ask for rights is refused.
fn server(may_ask: bool) -> Cluster {
    let (client, _) = client(move |asked| {
        if asked.path.contains("selfsubjectaccessreviews") {
            let own = asked.user.is_none();
            if !own && !may_ask {
                return refusal(StatusCode::FORBIDDEN, "it may not ask");
            }
            let status = json!({"allowed": own});
            return (StatusCode::OK, json!({"spec": {}, "status": status}));
        }
        match asked.method {
            Method::GET if asked.path.contains("/serviceaccounts/") => {
                let metadata = json!({"name": "deployer", "namespace": "shop"});
                (StatusCode::OK, json!({"metadata": metadata}))
            }
            Method::PATCH => refusal(StatusCode::FORBIDDEN, "it may not patch"),
            _ => refusal(StatusCode::NOT_FOUND, "not found"),
        }
    });
    Cluster::new(client)
}

async fn review(cluster: &Cluster, bundle: &Bundle, wanted: &[Wanted]) -> Admitted {
    let access = Access::default();
    let admission = admission(cluster, &access);
    admission.review(bundle, wanted).await.unwrap()
}

#[tokio::test]
async fn an_account_that_may_not_ask_for_its_rights_gets_the_api_servers_own_refusal() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "web", "namespace": "shop"}});
    let mut want = Wanted::new(object).unwrap();
    want.part = Arc::new(Part {
        account: Some(NamespacedName {
            namespace: "shop".to_owned(),
            name: "deployer".to_owned(),
        }),
        ..Part::default()
    });
    let found = review(&server(false), &bundle(&json!({})), &[want]).await;
    let said = found.refusals.join("; ");
    assert!(said.contains("it may not patch"), "{said}");
    assert_eq!(found.lacks, Vec::<String>::new());
}

#[tokio::test]
async fn jobs_of_rollouts_hooks_are_asked_for_before_a_run_begins() {
    let hooks = json!([
        {"type": "PreRollout", "name": "migrate", "job": {"template": {}}},
        {"type": "Rollout", "name": "call", "url": "http://gate"},
    ]);
    let workload = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
        "namespace": "front"});
    let spec = json!({"component": "web", "workload": workload, "hooks": hooks,
        "strategy": {"canary": {"weights": [20]}}});
    let mut bundle = bundle(&json!({}));
    bundle.rollouts = serde_json::from_value(json!([{"name": "web", "spec": spec}])).unwrap();
    bundle.components = serde_json::from_value(json!([{"name": "web", "objects": []}])).unwrap();
    let account = NamespacedName {
        namespace: "shop".to_owned(),
        name: "deployer".to_owned(),
    };
    bundle.components[0].service_account = Some(account);
    let lacks = "hook migrate of rollout web cannot run: ServiceAccount shop/deployer may not create, \
        patch jobs in namespace front";
    for (mode, lacks) in [
        (BundleMode::Rollout, vec![lacks.to_owned()]),
        (BundleMode::Plain, Vec::new()),
    ] {
        bundle.mode = mode;
        let found = review(&server(true), &bundle, &[]).await;
        assert_eq!((found.refusals, found.lacks), (Vec::new(), lacks));
    }
}
