//! Objects that are applied in the name of a ServiceAccount which may not everything.

use super::{
    scenes::{Scene, WEB, selecting},
    *,
};

fn by_account(want: Wanted) -> Wanted {
    let part = Part {
        account: Some(NamespacedName {
            namespace: "shop".to_owned(),
            name: "deployer".to_owned(),
        }),
        ..Part::default()
    };
    Wanted {
        part: Arc::new(part),
        ..want
    }
}

fn give(scene: &Scene, rights: &[&'static str]) {
    let mut api = scene.api.lock().expect("no test panics here");
    api.rights = rights.iter().copied().collect();
}

#[tokio::test]
async fn what_its_account_could_not_make_anew_is_not_deleted() {
    let scene = Scene::new();
    give(&scene, &["create", "patch"]);
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let (all, drift, look) = (everything(), DriftPolicy::Correct, FirstLook::Apply);
    let first = [by_account(selecting("a", None))];
    let kept = keeper.keep(&scene.cluster, &first, &all, drift, look).await;
    kept.expect("it may");
    scene.writes();

    give(&scene, &["patch"]);
    let changed = [by_account(selecting("b", Some("uid-1")))];
    let kept = keeper.keep(&scene.cluster, &changed, &all, drift, look);
    let error = kept.await.expect_err("it may not make it").error;
    let said =
        "failed to make Deployment/shop/web anew: ServiceAccount shop/deployer may not create it";
    assert_eq!(error.to_string(), said);
    assert!(error.is_final());
    assert!(scene.writes().iter().all(|one| !one.starts_with("DELETE")));
    assert_eq!(
        scene.live(WEB).expect("it stays")["metadata"]["uid"],
        "uid-1"
    );

    give(&scene, &["create", "patch"]);
    let kept = keeper
        .keep(&scene.cluster, &changed, &all, drift, look)
        .await;
    assert_eq!(kept.expect("it may").recreated.len(), 1);
    assert_eq!(scene.live(WEB).expect("made")["metadata"]["uid"], "uid-2");
}
