//! Against an API server that refuses.

use http::StatusCode;
use serde_json::json;

use super::{
    double::{client, refusal},
    *,
};

const QUOTED: &str = "s3cret-c0ntent";

fn object(kind: &str) -> ObjectRef {
    ObjectRef {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: Some("shop".to_owned()),
        name: "db".to_owned(),
    }
}

/// Every way to write says as little as the others of a Secret that is refused.
#[tokio::test]
async fn no_write_of_a_secret_repeats_what_the_api_server_says() {
    let message = format!("admission denied: data.password {QUOTED} is too short");
    let (client, log) = client(move |_| refusal(StatusCode::UNPROCESSABLE_ENTITY, &message));
    let cluster = Cluster::new(client);
    for (kind, withheld) in [("Secret", true), ("ConfigMap", false)] {
        let target = object(kind);
        let wanted = json!({"apiVersion": "v1", "kind": kind, "spec": {"template": {"a": 1}},
            "metadata": {"name": "db", "namespace": "shop"}});
        let patch = json!({"data": {"password": "x"}});
        let errors = [
            (
                "apply",
                cluster
                    .apply(SYNC_MANAGER, &wanted, ApplyMode::Force)
                    .await
                    .err(),
            ),
            ("merge", cluster.merge(&target, &patch).await.err()),
            (
                "merge_exactly",
                cluster.merge_exactly(&target, &wanted, &patch).await.err(),
            ),
            (
                "restore_template",
                cluster
                    .restore_template(&target, &json!({}), &wanted)
                    .await
                    .err(),
            ),
        ];
        for (write, error) in errors {
            let error = error.expect("it is refused");
            assert!(error.is_final(), "{write}");
            let said = format!("{} {error:?}", error.answer());
            assert!(said.contains(&target.to_string()), "{write}: {said}");
            assert_eq!(
                said.contains(QUOTED),
                !withheld,
                "{write} of {kind}: {said}"
            );
        }
    }
    assert_eq!(log.lock().expect("no test panics here").len(), 8);
}

/// That something is not there is the API server's word, and nothing else is taken for it.
#[tokio::test]
async fn what_is_not_answered_is_not_absent() {
    for (code, absent) in [
        (StatusCode::NOT_FOUND, true),
        (StatusCode::UNAUTHORIZED, false),
        (StatusCode::FORBIDDEN, false),
        (StatusCode::CONFLICT, false),
        (StatusCode::GONE, false),
        (StatusCode::TOO_MANY_REQUESTS, false),
        (StatusCode::INTERNAL_SERVER_ERROR, false),
        (StatusCode::SERVICE_UNAVAILABLE, false),
        (StatusCode::GATEWAY_TIMEOUT, false),
    ] {
        let (client, _) = client(move |_| refusal(code, "no"));
        let cluster = Cluster::new(client);
        let target = object("ConfigMap");
        let got = cluster.get(&target).await;
        assert_eq!(matches!(got, Ok(None)), absent, "get {code}: {got:?}");
        let merged = cluster.merge(&target, &json!({})).await;
        assert_eq!(
            matches!(merged, Ok(None)),
            absent,
            "merge {code}: {merged:?}"
        );
        let listed = cluster.list("v1", "ConfigMap", Some("shop"), None).await;
        assert!(listed.is_err(), "list {code}: {listed:?}");
        let deleted = cluster.delete(&target, None).await;
        // Deleting what another object's name stands for now deletes nothing.
        let over = absent || code == StatusCode::CONFLICT;
        assert_eq!(deleted.is_ok(), over, "delete {code}: {deleted:?}");
    }
}

/// Discovery that fails is not taken for a kind that does not exist, or what is of that kind would
/// count as gone.
#[tokio::test]
async fn a_kind_is_missing_only_by_the_api_servers_word() {
    let of_kind = |kind: &str| ObjectRef {
        api_version: "example.com/v1".to_owned(),
        ..object(kind)
    };
    for (code, missing) in [
        (StatusCode::NOT_FOUND, true),
        (StatusCode::FORBIDDEN, false),
        (StatusCode::INTERNAL_SERVER_ERROR, false),
        (StatusCode::SERVICE_UNAVAILABLE, false),
    ] {
        let (client, _) = client(move |_| refusal(code, "no"));
        let cluster = Cluster::new(client);
        let got = cluster.get(&of_kind("Widget")).await;
        assert_eq!(matches!(got, Ok(None)), missing, "{code}: {got:?}");
        let wanted = json!({"apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"name": "db", "namespace": "shop"}});
        let error = cluster.apply(SYNC_MANAGER, &wanted, ApplyMode::Force).await;
        let error = error.expect_err("it cannot be applied");
        let named = "failed to find kind Widget of example.com/v1 in this cluster";
        assert_eq!(error.to_string() == named, missing, "{code}: {error}");
    }
}

/// Growing a workload and restoring its template write in the user's objects as applying them does.
#[tokio::test]
async fn what_is_patched_is_patched_in_the_name_of_whoever_it_is_applied_as() {
    let (client, log) = client(|_| {
        let metadata = json!({"name": "db", "namespace": "shop"});
        (StatusCode::OK, json!({"metadata": metadata}))
    });
    let account = NamespacedName {
        namespace: "shop".to_owned(),
        name: "deployer".to_owned(),
    };
    let target = ObjectRef {
        api_version: "apps/v1".to_owned(),
        ..object("Deployment")
    };
    let (small, wanted) = (
        json!({"spec": {"replicas": 1}}),
        json!({"spec": {"template": {"a": 1}}}),
    );
    for account in [None, Some(&account)] {
        let cluster = Cluster::new(client.clone()).acting_as(account);
        let grown = cluster.grow(SYNC_MANAGER, &target, &small, 2).await;
        assert!(grown.expect("it may"));
        let restored = cluster.restore_template(&target, &small, &wanted).await;
        restored.expect("it may");
        let user = account.map(|_| "system:serviceaccount:shop:deployer");
        let asked = std::mem::take(&mut *log.lock().expect("no test panics here"));
        let users: Vec<_> = asked.iter().map(|one| one.user.as_deref()).collect();
        assert_eq!(users, [user, user]);
    }
}
