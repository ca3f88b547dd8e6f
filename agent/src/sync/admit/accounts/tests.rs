#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, sync::Arc};

use http::{Method, StatusCode};
use serde_json::json;

use super::*;
use crate::sync::{
    access::Access,
    admit::{Admitted, tests::bundle},
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
    let admission = Admission {
        cluster: &cluster,
        access: &Access::default(),
        own: &[],
        taken: &BTreeMap::new(),
        hooks: &[],
        left: &[],
    };
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
