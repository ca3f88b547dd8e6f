//! Against an API server that cannot convert objects of one kind: the conversion webhook of their
//! definition is not there.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{Method, StatusCode};

use super::*;
use crate::sync::cluster::double::{Log, client, refusal};

const SAID: &str = "conversion webhook for apps/v1, Kind=StatefulSet failed: Post \
    \"https://conversion.shop.svc:443/convert?timeout=30s\": service \"conversion\" not found";

/// StatefulSets cannot be converted unless it is said that they can.
fn server() -> (Cluster, Log, Arc<AtomicBool>) {
    server_without("")
}

/// The same, which also denies what is written under paths that contain `denied`, if that is not empty.
fn server_without(denied: &'static str) -> (Cluster, Log, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let converts = Arc::clone(&mended);
    let (client, log) = client(move |asked| {
        let concerned = asked.path.contains("/statefulsets/");
        if concerned && !converts.load(Ordering::SeqCst) {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, SAID);
        }
        if !denied.is_empty() && asked.path.contains(denied) {
            return refusal(StatusCode::FORBIDDEN, "no such thing here");
        }
        if asked.method == Method::GET {
            let name = asked.path.rsplit('/').next().unwrap_or_default();
            let live = json!({"metadata": {"name": name, "namespace": "shop"}});
            return (StatusCode::OK, live);
        }
        (StatusCode::OK, asked.body.clone())
    });
    (Cluster::new(client), log, mended)
}

fn wanted(care: Care) -> Vec<Wanted> {
    let named = |kind: &str, api_version: &str, name: &str| {
        let object = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": "shop"}});
        Wanted::new(object).expect("it names itself")
    };
    let route = Wanted {
        care,
        ..named("Service", "v1", "after")
    };
    vec![
        named("ConfigMap", "v1", "before"),
        named("StatefulSet", "apps/v1", "broken"),
        route,
    ]
}

/// The names of what was written since the last look, oldest first.
fn written(log: &Log) -> Vec<String> {
    let asked = std::mem::take(&mut *log.lock().expect("no test panics here"));
    let writes = asked.iter().filter(|one| one.method == Method::PATCH);
    let name = |path: &str| {
        let path = path.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default().to_owned()
    };
    writes.map(|one| name(&one.path)).collect()
}

async fn keep(
    keeper: &mut Keeper,
    cluster: &Cluster,
    wanted: &[Wanted],
    look: FirstLook,
) -> Result<Kept, Box<Unkept>> {
    let drift = DriftPolicy::Correct;
    keeper
        .keep(cluster, wanted, &Dirty::default(), drift, look)
        .await
}

fn broken() -> ObjectRef {
    wanted(Care::Policy)[1].target.clone()
}

#[tokio::test]
async fn an_object_that_cannot_be_converted_is_waited_for_by_name_and_keeps_no_other_back() {
    let (cluster, log, mended) = server();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let all = wanted(Care::Policy);
    let kept = keep(&mut keeper, &cluster, &all, FirstLook::Apply).await;
    let kept = kept.expect("it is no error");
    assert_eq!(written(&log), ["before", "broken", "after"]);
    assert_eq!(kept.look_in, Some(CONVERSION_PAUSE));
    let [(object, said)] = kept.unconverted.as_slice() else {
        panic!("it is told: {kept:?}");
    };
    assert_eq!(*object, broken());
    assert!(said.contains("service \"conversion\" not found"), "{said}");
    let status = |keeper: &Keeper| {
        let statuses = keeper.statuses();
        let found = statuses.into_iter().find(|one| one.object == broken());
        found.expect("it is reported")
    };
    assert_eq!(status(&keeper).health, Health::Unknown);
    assert_eq!(status(&keeper).reason, NOT_CONVERTED);
    assert_eq!(keeper.health(), Health::Unknown);
    assert!(!keeper.holds(&all[1]));

    // Tried again, told once.
    let kept = keep(&mut keeper, &cluster, &all, FirstLook::Apply).await;
    assert_eq!(kept.expect("it is no error").unconverted, []);
    assert_eq!(written(&log), ["broken"]);
    mended.store(true, Ordering::SeqCst);
    keep(&mut keeper, &cluster, &all, FirstLook::Apply)
        .await
        .expect("it is mended");
    assert_eq!(written(&log), ["broken"]);
    assert!(keeper.holds(&all[1]));
    assert_ne!(status(&keeper).reason, NOT_CONVERTED);
}

#[tokio::test]
async fn another_error_takes_nothing_from_what_is_told_of_an_object_that_cannot_be_converted() {
    let (cluster, _, _) = server_without("/services/");
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let all = wanted(Care::Policy);
    let kept = keep(&mut keeper, &cluster, &all, FirstLook::Apply).await;
    let unkept = kept.expect_err("the Service is denied");
    let said = unkept.error.answer();
    assert!(said.contains("no such thing here"), "{said}");
    let [(object, _)] = unkept.kept.unconverted.as_slice() else {
        panic!("it is told: {unkept:?}");
    };
    assert_eq!(*object, broken());
}

/// What a process before applied is not written where nobody wants its drift corrected, and is not
/// taken for missing.
#[tokio::test]
async fn an_object_that_cannot_be_converted_is_only_looked_at_where_that_was_all() {
    let (cluster, log, mended) = server();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let all = wanted(Care::Policy);
    for _ in 0..2 {
        keeper
            .keep(
                &cluster,
                &all,
                &Dirty::default(),
                DriftPolicy::Off,
                FirstLook::ByPolicy,
            )
            .await
            .expect("it is no error");
        assert_eq!(keeper.health_of(&broken()), Some(Health::Unknown));
    }
    mended.store(true, Ordering::SeqCst);
    keeper
        .keep(
            &cluster,
            &all,
            &Dirty::default(),
            DriftPolicy::Off,
            FirstLook::ByPolicy,
        )
        .await
        .expect("it is mended");
    assert_eq!(written(&log), [""; 0]);
    assert_ne!(keeper.health_of(&broken()), Some(Health::Unknown));
}

/// A run that brings it in is not to promote without it; one during which it breaks goes on.
#[tokio::test]
async fn a_run_waits_for_what_cannot_be_converted_unless_it_was_taken_before() {
    let (cluster, log, mended) = server();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let all = wanted(Care::Run);
    let kept = keep(&mut keeper, &cluster, &all, FirstLook::Apply).await;
    let error = kept.expect_err("it is told").error;
    assert!(error.answer().contains("broken"), "{}", error.answer());
    assert_eq!(written(&log), ["before", "broken", "after"]);

    mended.store(true, Ordering::SeqCst);
    keep(&mut keeper, &cluster, &all, FirstLook::Apply)
        .await
        .expect("it is mended");
    mended.store(false, Ordering::SeqCst);
    let changed = Dirty {
        all: true,
        ..Dirty::default()
    };
    let kept = keeper
        .keep(
            &cluster,
            &all,
            &changed,
            DriftPolicy::Correct,
            FirstLook::Apply,
        )
        .await;
    assert_eq!(kept.expect("it was taken").unconverted.len(), 1);
    assert!(keeper.holds(&all[1]));
    assert_eq!(keeper.health_of(&broken()), Some(Health::Unknown));
}
