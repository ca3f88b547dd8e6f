//! Against an API server that forgets where a watch was.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::sync::cluster::double::{client, refusal};

/// What was deleted while no watch was open shows by its absence alone: whoever waits for it looks
/// again after every new list.
#[tokio::test(start_paused = true)]
async fn a_watch_that_lost_its_place_has_everything_looked_at_again() {
    let lists = Arc::new(AtomicUsize::new(0));
    let listed = Arc::clone(&lists);
    let (client, _) = client(move |asked| {
        if asked.path.contains("watch=true") {
            let (_, status) = refusal(StatusCode::GONE, "too old resource version");
            return (StatusCode::OK, json!({"type": "ERROR", "object": status}));
        }
        listed.fetch_add(1, Ordering::Relaxed);
        let items: [Value; 0] = [];
        let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": "7"}, "items": items});
        (StatusCode::OK, list)
    });
    let watches = Watches::new(Arc::new(Cluster::new(client)));
    let poke = Arc::new(Poke::default());
    let target = ObjectRef {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("shop".to_owned()),
        name: "web".to_owned(),
    };
    let names = Wants::Names([target.name.clone()].into());
    watches.set("unit", [(WatchKey::of(&target), names)].into(), &poke);
    for round in 1..=3 {
        let woken = tokio::time::timeout(Duration::from_secs(600), poke.woken()).await;
        assert!(woken.is_ok(), "nobody was woken in round {round}");
        assert_eq!(poke.take().objects, BTreeSet::from([target.clone()]));
        assert!(lists.load(Ordering::Relaxed) >= round, "listed anew");
    }
}
