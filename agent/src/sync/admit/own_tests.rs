//! What Bellwether itself consists of, met by a release.
#![expect(clippy::unwrap_used, reason = "tests")]

use http::StatusCode;
use serde_json::json;

use super::{
    tests::{admission, bundle},
    *,
};
use crate::sync::cluster::double::client;

#[tokio::test]
async fn what_bellwether_consists_of_is_taken_over_by_nobody() {
    for (labels, sync, taken) in [
        (
            json!({"app.kubernetes.io/part-of": "bellwether"}),
            json!({"adopt": "Always"}),
            false,
        ),
        (
            json!({"app.kubernetes.io/name": "bellwether"}),
            json!({"adopt": "IfIdentical"}),
            false,
        ),
        (json!({"team": "web"}), json!({"adopt": "Always"}), true),
    ] {
        let live = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
            {"name": "web", "namespace": "shop", "uid": "a", "labels": labels}});
        let answer = live.clone();
        let (client, _) = client(move |asked| {
            if asked.path.contains("selfsubjectaccessreviews") {
                return (
                    StatusCode::OK,
                    json!({"spec": {}, "status": {"allowed": true}}),
                );
            }
            (StatusCode::OK, answer.clone())
        });
        let cluster = Cluster::new(client);
        let access = Access::default();
        let admission = admission(&cluster, &access);
        let want = Wanted::new(live).unwrap();
        let admitted = admission.review(&bundle(&sync), &[want]).await.unwrap();
        assert_eq!(admitted.refusals.is_empty(), taken, "{admitted:?}");
        assert_eq!(!admitted.adopts.is_empty(), taken, "{admitted:?}");
        if !taken {
            let said = &admitted.refusals[0];
            assert!(
                said.contains("ConfigMap web is part of Bellwether's own"),
                "{said}"
            );
        }
    }
}
