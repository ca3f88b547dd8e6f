//! Workloads that somebody scales between a decision and its first write.

use super::*;

/// A Deployment of some pods whose count is written as it is asked for, unless another version of it
/// was meant.
fn scaled(replicas: u32) -> (Cluster, Log, Arc<Mutex<Value>>) {
    let live = Arc::new(Mutex::new(
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"},
        "spec": {"replicas": replicas}}),
    ));
    let kept = Arc::clone(&live);
    let (client, log) = client(move |asked| {
        if asked.path.contains("horizontalpodautoscalers") {
            return (
                StatusCode::OK,
                json!({"apiVersion": "autoscaling/v2", "kind": "List", "metadata": {}, "items": []}),
            );
        }
        if asked.path.contains("keda.sh") {
            return refusal(StatusCode::NOT_FOUND, "no such kind");
        }
        let mut live = kept.lock().expect("no test panics here");
        if asked.method == Method::PATCH {
            let meant = asked.body.pointer("/metadata/resourceVersion");
            if meant.is_some_and(|meant| *meant != live["metadata"]["resourceVersion"]) {
                return refusal(StatusCode::CONFLICT, "the object has been modified");
            }
            live["spec"]["replicas"] = asked.body["spec"]["replicas"].clone();
            live["metadata"]["resourceVersion"] = json!("8");
        }
        (StatusCode::OK, live.clone())
    });
    (Cluster::new(client), log, live)
}

async fn share(cluster: &Cluster, over: Option<u32>) -> Result<Kept, ClusterError> {
    let mut want = Wanted::new(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": 2}}))
    .expect("it names itself");
    (want.care, want.size_over) = (Care::Run, over);
    let drift = DriftPolicy::Correct;
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let kept = keeper
        .keep(cluster, &[want], &everything(), drift, FirstLook::Apply)
        .await?;
    Ok(kept)
}

#[tokio::test]
async fn whoever_scales_before_a_total_is_shared_is_not_written_over() {
    let (cluster, log, live) = scaled(7);
    let refused = share(&cluster, Some(4)).await.expect_err("7 is not 4");
    assert_eq!(
        refused.to_string(),
        "failed to scale Deployment/shop/web: it has 7 replicas, and had 4 when that was decided"
    );
    assert_eq!(writes(&log), 0);
    // What is decided on the count that there is is written over that alone.
    share(&cluster, Some(7)).await.expect("7 is 7");
    let asked = log.lock().expect("no test panics here");
    let patch = asked.iter().find(|one| one.method == Method::PATCH);
    let version = patch.and_then(|one| one.body.pointer("/metadata/resourceVersion"));
    assert_eq!(version, Some(&json!("7")));
    let live = live.lock().expect("no test panics here");
    assert_eq!(live["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_count_that_was_shared_is_written_over_whatever_there_is() {
    for (found, over) in [(2, Some(4)), (7, None)] {
        let (cluster, log, _) = scaled(found);
        share(&cluster, over).await.expect("it is written");
        assert_eq!(writes(&log), 1, "{found} over {over:?}");
    }
}
