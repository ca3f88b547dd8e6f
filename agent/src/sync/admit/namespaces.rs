//! Namespaces that a release needs and its cluster lacks.

use bellwether_api::{bundle::Bundle, reference::ObjectRef};

use super::{Cluster, ClusterError, Wanted};

/// Tells whether a namespace exists; absent = the agent may not look.
///
/// # Errors
/// The API server does not answer.
pub async fn exists(cluster: &Cluster, name: &str) -> Result<Option<bool>, ClusterError> {
    let namespace = ObjectRef {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        namespace: None,
        name: name.to_owned(),
    };
    match cluster.get(&namespace).await {
        Ok(found) => Ok(Some(found.is_some())),
        Err(error) if error.code() == Some(403) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why an object that the API server found no place for refuses the bundle; absent = its namespace
/// comes with the bundle, or is there by now.
pub(super) async fn refusal(
    cluster: &Cluster,
    bundle: &Bundle,
    wanted: &[Wanted],
    target: &ObjectRef,
) -> Result<Option<String>, ClusterError> {
    let Some(namespace) = target.namespace.as_deref() else {
        return Ok(None);
    };
    if comes(bundle, wanted, namespace) || exists(cluster, namespace).await? == Some(true) {
        return Ok(None);
    }
    let hint = if bundle.target_namespace == namespace {
        "set createNamespace, or make it there"
    } else {
        "add it to the release, or make it there"
    };
    Ok(Some(format!(
        "{target} needs namespace {namespace}, which this cluster lacks and the release does not make: {hint}"
    )))
}

fn comes(bundle: &Bundle, wanted: &[Wanted], namespace: &str) -> bool {
    let is_it = |object: &ObjectRef| {
        object.api_version == "v1" && object.kind == "Namespace" && object.name == namespace
    };
    bundle.create_namespace && bundle.target_namespace == namespace
        || wanted.iter().any(|want| is_it(&want.target))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::{Method, StatusCode};
    use serde_json::{Value, json};

    use super::*;
    use crate::sync::{
        access::Access,
        admit::tests::admission,
        cluster::double::{client, refusal},
    };

    /// What a cluster says of its namespaces.
    #[derive(Clone, Copy)]
    struct Place {
        /// How it answers to who reads one.
        namespace: StatusCode,
        /// Whether the agent may work in it.
        allowed: bool,
    }

    fn want(object: Value) -> Wanted {
        Wanted::new(object).unwrap()
    }

    fn map() -> Wanted {
        want(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "apart", "namespace": "shop"}}))
    }

    /// Why a release with `wanted` is refused where its namespace is not to be found.
    async fn refusals(place: Place, wanted: &[Wanted], spec: &Value) -> Vec<String> {
        let (client, _) = client(move |asked| {
            if asked.path.contains("selfsubjectaccessreviews") {
                let status = json!({"allowed": place.allowed});
                return (StatusCode::OK, json!({"spec": {}, "status": status}));
            }
            let is_namespace = asked.path.starts_with("/api/v1/namespaces/shop?")
                || asked.path == "/api/v1/namespaces/shop";
            match (&asked.method, is_namespace) {
                (&Method::GET, true) if place.namespace == StatusCode::OK => (
                    StatusCode::OK,
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
                ),
                (&Method::GET, true) => refusal(place.namespace, "not for you"),
                (&Method::PATCH, true) => (StatusCode::OK, asked.body.clone()),
                _ => refusal(StatusCode::NOT_FOUND, "namespaces \"shop\" not found"),
            }
        });
        let mut bundle = json!({
            "application": {"namespace": "default", "name": "shop"}, "release": "r", "revision": 1,
            "run": uuid::Uuid::nil(), "attempt": 1, "mode": "Plain", "targetNamespace": "web",
            "createNamespace": true, "components": [], "rollouts": [], "sync": {}, "metrics": null,
        });
        for (key, value) in spec.as_object().unwrap() {
            bundle[key] = value.clone();
        }
        let access = Access::default();
        let cluster = Cluster::new(client);
        let admission = admission(&cluster, &access);
        let bundle = serde_json::from_value(bundle).unwrap();
        admission.review(&bundle, wanted).await.unwrap().refusals
    }

    #[tokio::test]
    async fn a_namespace_that_neither_cluster_nor_release_has_is_named_before_anything() {
        let lacks = Place {
            namespace: StatusCode::NOT_FOUND,
            allowed: true,
        };
        let said = refusals(lacks, &[map()], &json!({})).await;
        assert_eq!(
            said,
            [
                "ConfigMap/shop/apart needs namespace shop, which this cluster lacks and the release does \
                 not make: add it to the release, or make it there"
            ]
        );
        let target = json!({"targetNamespace": "shop", "createNamespace": false});
        let said = refusals(lacks, &[map()], &target).await;
        assert!(
            said[0].ends_with("set createNamespace, or make it there"),
            "{said:?}"
        );
        // One that cannot be looked at is where the API server finds it.
        let hidden = Place {
            namespace: StatusCode::FORBIDDEN,
            ..lacks
        };
        assert_eq!(refusals(hidden, &[map()], &json!({})).await.len(), 1);

        let makes = json!({"targetNamespace": "shop"});
        let brings = want(json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "shop"}}));
        for (wanted, spec) in [(vec![map()], makes), (vec![brings, map()], json!({}))] {
            assert_eq!(refusals(lacks, &wanted, &spec).await, Vec::<String>::new());
        }
        let since = Place {
            namespace: StatusCode::OK,
            ..lacks
        };
        let said = refusals(since, &[map()], &json!({})).await;
        assert_eq!(said, Vec::<String>::new(), "it has come meanwhile");
    }

    #[tokio::test]
    async fn rights_that_went_with_their_namespace_are_told_from_rights_that_were_never_given() {
        let gone = Place {
            namespace: StatusCode::NOT_FOUND,
            allowed: false,
        };
        let said = refusals(gone, &[map()], &json!({})).await;
        assert_eq!(
            said,
            [
                "ConfigMap/shop/apart needs namespace shop, which this cluster lacks: `bellwether register \
                 cluster` with it among --namespaces, and with every --impersonate of before, makes it and \
                 lets the agent work in it"
            ]
        );
        for namespace in [StatusCode::OK, StatusCode::FORBIDDEN] {
            let there = Place { namespace, ..gone };
            let said = refusals(there, &[map()], &json!({})).await;
            assert_eq!(
                said,
                ["may not get, list, watch, create, patch, delete configmaps in namespace shop"]
            );
        }
    }
}
