//! Objects that are applied in the name of a ServiceAccount which may not everything.

use serde_json::json;

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

async fn look(
    scene: &Scene,
    keeper: &mut Keeper,
    wanted: &[Wanted],
    drift: DriftPolicy,
) -> Result<Kept, ClusterError> {
    let nothing = Dirty::default();
    let kept = keeper.keep(&scene.cluster, wanted, &nothing, drift, FirstLook::ByPolicy);
    kept.await.map_err(ClusterError::from)
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

const SETTINGS: &str = "/api/v1/namespaces/shop/configmaps/settings";

/// An object of an account, and one of the agent's own after it, which an earlier process has applied.
async fn applied(scene: &Scene) -> [Wanted; 2] {
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "shop"}, "data": {"a": "1"}});
    let settings = Wanted::new(settings).expect("it names itself");
    let both = [by_account(wanted()), settings];
    give(scene, &["create", "patch"]);
    let (all, drift) = (everything(), DriftPolicy::Correct);
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let kept = keeper.keep(&scene.cluster, &both, &all, drift, FirstLook::Apply);
    kept.await.expect("it may");
    scene.writes();
    both
}

#[tokio::test]
async fn a_restart_after_its_rights_are_gone_finds_what_nobody_changed_as_it_was() {
    let scene = Scene::new();
    let both = applied(&scene).await;
    give(&scene, &[]);
    for drift in [DriftPolicy::Correct, DriftPolicy::Report] {
        let mut keeper = Keeper::new(SYNC_MANAGER);
        let kept = look(&scene, &mut keeper, &both, drift).await;
        assert_eq!(kept.expect("nothing is to be written"), Kept::default());
        assert_eq!(keeper.statuses().len(), 2);
        assert_eq!(scene.writes(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_its_account_may_not_write_back_keeps_nothing_else_from_being_looked_at() {
    let scene = Scene::new();
    let both = applied(&scene).await;
    give(&scene, &[]);
    scene.edit(WEB, |live| live["spec"]["paused"] = json!(true));
    let reported = look(
        &scene,
        &mut Keeper::new(SYNC_MANAGER),
        &both,
        DriftPolicy::Report,
    )
    .await;
    let drifted = reported.expect("nothing is to be written").drifted;
    assert_eq!(drifted, [both[0].target.clone()]);

    scene.edit(SETTINGS, |live| live["data"]["a"] = json!("2"));
    let mut keeper = Keeper::new(SYNC_MANAGER);
    for round in 0..2 {
        let kept = look(&scene, &mut keeper, &both, DriftPolicy::Correct).await;
        assert!(kept.expect_err("it may not").lacks_rights(), "{round}");
        assert_eq!(scene.live(SETTINGS).expect("it stays")["data"]["a"], "1");
        assert!(keeper.health_of(&both[0].target).is_some());
    }
    give(&scene, &["patch"]);
    let kept = look(&scene, &mut keeper, &both, DriftPolicy::Correct).await;
    kept.expect("it may again");
    assert_eq!(scene.live(WEB).expect("web")["spec"]["paused"], false);
}
