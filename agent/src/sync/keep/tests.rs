//! Against an API server on which others write too.

mod accounts;
mod scenes;
mod sizes;

use std::sync::{Arc, Mutex};

use bellwether_api::reference::NamespacedName;
use http::{Method, StatusCode};

use super::*;
use crate::sync::cluster::{
    SYNC_MANAGER,
    double::{Log, client, refusal},
};

/// What is live: what was applied, with what an admission webhook put there and what a controller
/// wrote into fields of its own.
fn server() -> (Cluster, Log, Arc<Mutex<Value>>) {
    let live = Arc::new(Mutex::new(Value::Null));
    let kept = Arc::clone(&live);
    let (client, log) = client(move |asked| {
        let mut live = kept.lock().expect("no test panics here");
        if asked.method == Method::PATCH {
            let mut object = asked.body.clone();
            object["metadata"]["annotations"] = json!({"sidecar.example.com/injected": "true"});
            // Owned by whoever scales: applying what does not name it leaves it alone.
            if let Some(replicas) = live.pointer("/spec/replicas") {
                object["spec"]["replicas"] = replicas.clone();
            }
            *live = object;
        }
        (StatusCode::OK, live.clone())
    });
    (Cluster::new(client), log, live)
}

fn wanted() -> Wanted {
    Wanted::new(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": {"paused": false}}))
    .expect("it names itself")
}

fn everything() -> Dirty {
    Dirty {
        all: true,
        ..Dirty::default()
    }
}

fn writes(log: &Log) -> usize {
    let asked = log.lock().expect("no test panics here");
    asked
        .iter()
        .filter(|one| one.method == Method::PATCH)
        .count()
}

async fn keep(keeper: &mut Keeper, cluster: &Cluster) -> Kept {
    let drift = DriftPolicy::Correct;
    keeper
        .keep(cluster, &[wanted()], &everything(), drift, FirstLook::Apply)
        .await
        .expect("the server answers")
}

#[tokio::test]
async fn what_a_webhook_adds_is_no_drift() {
    let (cluster, log, _) = server();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    for _ in 0..5 {
        assert_eq!(keep(&mut keeper, &cluster).await, Kept::default());
    }
    assert_eq!(writes(&log), 1, "applied once, and looked at ever after");
}

#[tokio::test]
async fn fields_of_others_are_left_to_them() {
    let (cluster, log, live) = server();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    keep(&mut keeper, &cluster).await;
    for replicas in [7, 9] {
        live.lock().expect("no test panics here")["spec"]["replicas"] = json!(replicas);
        for _ in 0..3 {
            assert_eq!(keep(&mut keeper, &cluster).await, Kept::default());
        }
        let now = live.lock().expect("no test panics here").clone();
        assert_eq!(now["spec"]["replicas"], replicas, "whoever scales has it");
    }
    assert_eq!(writes(&log), 3, "one look into each change, and no more");
    live.lock().expect("no test panics here")["spec"]["paused"] = json!(true);
    let kept = keep(&mut keeper, &cluster).await;
    assert_eq!(kept.corrected.len(), 1, "what was applied is put back");
}

#[tokio::test]
async fn what_is_as_it_is_wanted_is_settled_until_something_says_otherwise() {
    let (cluster, _, live) = server();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let (want, calm) = (wanted(), Dirty::default());
    assert!(!keeper.is_settled(&want, &calm), "it was never seen");
    keep(&mut keeper, &cluster).await;
    assert!(keeper.is_settled(&want, &calm));
    assert!(!keeper.is_settled(&want, &everything()));
    let mut changed = Dirty::default();
    changed.objects.insert(want.target.clone());
    assert!(!keeper.is_settled(&want, &changed), "it was heard of");
    let mut other = wanted();
    other.object["spec"]["paused"] = json!(true);
    assert!(!keeper.is_settled(&other, &calm), "it is wanted otherwise");

    live.lock().expect("no test panics here")["spec"]["paused"] = json!(true);
    let (all, report) = ([wanted()], DriftPolicy::Report);
    let kept = keeper
        .keep(&cluster, &all, &everything(), report, FirstLook::Apply)
        .await
        .expect("the server answers");
    assert!(kept.drifted.iter().eq([&want.target]));
    assert!(!keeper.is_settled(&want, &calm), "somebody changed it");
}

/// A policy denies one object of a run: a route beside it must be able to fall to weight 0 all the
/// same.
#[tokio::test]
async fn an_object_that_is_denied_keeps_no_other_of_a_run_back() {
    let (client, log) = client(|asked| {
        if asked.path.contains("/configmaps/") {
            refusal(
                StatusCode::FORBIDDEN,
                "denied the request: no such settings",
            )
        } else {
            (StatusCode::OK, asked.body.clone())
        }
    });
    let cluster = Cluster::new(client);
    let denied = Wanted::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "shop"}}))
    .expect("it names itself");
    for (care, written) in [(Care::Run, 1), (Care::Policy, 0)] {
        log.lock().expect("no test panics here").clear();
        let of_run = Wanted { care, ..wanted() };
        let all = [denied.clone(), of_run];
        let mut keeper = Keeper::new(SYNC_MANAGER);
        let drift = DriftPolicy::Correct;
        let kept = keeper
            .keep(&cluster, &all, &everything(), drift, FirstLook::Apply)
            .await;
        let said = kept.expect_err("it is told").error.answer();
        assert!(said.contains("no such settings"), "{said}");
        assert_eq!(writes(&log), 1 + written, "{care:?}");
    }
}

#[tokio::test]
async fn what_is_applied_in_an_accounts_name_goes_back_in_the_agents_own_and_is_read_in_it() {
    let (cluster, log, _) = server();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let account = NamespacedName {
        namespace: "shop".to_owned(),
        name: "deployer".to_owned(),
    };
    let part = Part {
        account: Some(account),
        ..Part::default()
    };
    let wanted = [Wanted {
        part: Arc::new(part),
        ..wanted()
    }];
    let (all, drift) = (everything(), DriftPolicy::Correct);
    for goes_back in [false, true, false] {
        keeper.set_goes_back(goes_back);
        keeper.forget();
        // Applied once, and looked at.
        for _ in 0..2 {
            let kept = keeper.keep(&cluster, &wanted, &all, drift, FirstLook::Apply);
            kept.await.expect("the server answers");
        }
    }
    let asked = std::mem::take(&mut *log.lock().expect("no test panics here"));
    let (writes, reads): (Vec<_>, Vec<_>) =
        asked.iter().partition(|one| one.method == Method::PATCH);
    let users: Vec<Option<&str>> = writes.iter().map(|one| one.user.as_deref()).collect();
    let account = Some("system:serviceaccount:shop:deployer");
    assert_eq!(users, [account, None, account]);
    assert!(!reads.is_empty() && reads.iter().all(|one| one.user.is_none()));
}
