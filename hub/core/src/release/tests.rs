use std::collections::BTreeMap;

use bellwether_api::{
    application::ApplicationSpec,
    chart_hook::{ChartHook, HookMoment},
    rollout::{OnDeletion, RolloutSpec},
};
use serde_json::{Value, json};

use super::{Change, ReleaseError, RolloutRecord, content};

fn application(image: &str) -> ApplicationSpec {
    serde_json::from_value(json!({
        "destination": {"fleet": "quickstart"},
        "components": [{
            "name": "web",
            "manifests": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                 "spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}},
                {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}},
            ],
        }],
    }))
    .expect("an application")
}

fn rollout() -> RolloutSpec {
    serde_json::from_value(json!({
        "application": "shop",
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "strategy": {"canary": {"stepWeight": 10}},
    }))
    .expect("a rollout")
}

fn record(name: &str, spec: RolloutSpec) -> RolloutRecord {
    RolloutRecord {
        name: name.to_owned(),
        spec,
        rendered_as: None,
    }
}

#[test]
fn equal_content_is_the_same_release() {
    let records = [record("shop-web", rollout())];
    let one = content("shop", &application("web:1"), &records).expect("content");
    let mut other = application("web:1");
    other.history_limit = 3;
    other.waves = serde_json::from_value(json!([{"name": "all"}])).expect("waves");
    let steered = RolloutSpec {
        suspend: true,
        history_limit: 4,
        ..rollout()
    };
    let same = content("shop", &other, &[record("shop-web", steered)]).expect("content");
    assert_eq!(
        one.digest(),
        same.digest(),
        "waves, limits and suspend make no release"
    );
    assert_eq!(one.change_to(&same), Change::None);
    let next = content("shop", &application("web:2"), &records).expect("content");
    assert_ne!(one.digest(), next.digest());
    assert_eq!(one.change_to(&next), Change::Content);
}

/// What a run does is pinned by its release: a plan that is changed while it is carried out makes the
/// next release, which takes the place of this one.
#[test]
fn a_changed_plan_is_another_release() {
    let made = |spec: RolloutSpec| {
        content("shop", &application("web:1"), &[record("shop-web", spec)]).expect("content")
    };
    let before = made(rollout());
    let strategy = serde_json::from_value(json!({"canary": {"stepWeight": 20}}));
    let mut stricter = rollout();
    stricter.analysis.failure_threshold += 1;
    for changed in [
        RolloutSpec {
            strategy: strategy.expect("a strategy"),
            ..rollout()
        },
        stricter,
        RolloutSpec {
            progress_deadline: "20m".parse().expect("a duration"),
            ..rollout()
        },
    ] {
        let after = made(changed);
        assert_ne!(before.digest(), after.digest());
        assert_eq!(before.change_to(&after), Change::Content);
    }
}

#[test]
fn taking_a_rollout_away_is_told_from_a_new_release() {
    let with = content(
        "shop",
        &application("web:1"),
        &[record("shop-web", rollout())],
    );
    let with = with.expect("content");
    let without = content("shop", &application("web:1"), &[]).expect("content");
    assert_eq!(with.change_to(&without), Change::RolloutsRemoved);
    assert_eq!(without.change_to(&with), Change::Content);
    let both = content("shop", &application("web:2"), &[]).expect("content");
    assert_eq!(with.change_to(&both), Change::Content);
}

#[test]
fn a_run_is_completed_when_every_removed_rollout_says_so() {
    let complete = RolloutSpec {
        on_deletion: OnDeletion::Complete,
        ..rollout()
    };
    let without = content("shop", &application("web:1"), &[]).expect("content");
    let names = |spec| {
        let with = content("shop", &application("web:1"), &[record("shop-web", spec)]);
        with.expect("content").completes_without(&without)
    };
    assert_eq!(names(complete), ["shop-web"]);
    assert!(names(rollout()).is_empty());
}

#[test]
fn inline_rollouts_are_named_after_their_component() {
    let mut spec = application("web:1");
    spec.components[0].rollout = Some(RolloutSpec {
        application: None,
        ..rollout()
    });
    let made = content("shop", &spec, &[]).expect("content");
    assert_eq!(made.rollouts[0].name, "shop-web");
    assert_eq!(made.rollouts[0].spec.application.as_deref(), Some("shop"));
    assert_eq!(made.rollouts[0].spec.component.as_deref(), Some("web"));
    let twice = content("shop", &spec, &[record("other", rollout())]);
    assert!(
        matches!(twice, Err(ReleaseError::GovernedTwice { .. })),
        "{twice:?}"
    );
    let clash = content("shop", &spec, &[record("shop-web", rollout())]);
    assert_eq!(
        clash,
        Err(ReleaseError::SameName {
            name: "shop-web".to_owned()
        })
    );
}

#[test]
fn a_workload_must_be_rendered() {
    let mut stray = rollout();
    stray.workload.name = "wbe".to_owned();
    let error = content("shop", &application("web:1"), &[record("shop-web", stray)]);
    assert_eq!(
        error.map_err(|error| error.to_string()),
        Err(
            "failed to make a release: rollout \"shop-web\" governs Deployment/wbe, which no \
             component renders"
                .to_owned()
        )
    );
    let mut lost = rollout();
    lost.component = Some("db".to_owned());
    let error = content("shop", &application("web:1"), &[record("shop-web", lost)]);
    assert!(matches!(error, Err(ReleaseError::NoSuchComponent { .. })));
}

#[test]
fn secrets_are_noticed() {
    let mut spec = application("web:1");
    assert!(!content("shop", &spec, &[]).expect("content").has_secret());
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    let hook = ChartHook {
        object: secret.clone(),
        moments: vec![HookMoment::PreInstall],
        weight: 0,
        delete: Vec::new(),
    };
    let plain = content("shop", &spec, &[]).expect("content");
    let hooked = plain.with_hooks([("web".to_owned(), vec![hook])].into());
    assert!(hooked.has_secret(), "a hook may be one");
    spec.components[0]
        .manifests
        .as_mut()
        .expect("manifests")
        .push(secret);
    assert!(content("shop", &spec, &[]).expect("content").has_secret());
}

#[test]
fn an_old_ingress_is_released_as_one_of_today() {
    let mut spec = application("web:1");
    let old = json!({"apiVersion": "extensions/v1beta1", "kind": "Ingress", "metadata": {"name": "web"},
        "spec": {"backend": {"serviceName": "web", "servicePort": 80}}});
    spec.components[0]
        .manifests
        .get_or_insert_default()
        .push(old);
    let content = content("shop", &spec, &[]).expect("content");
    let ingress = content.components[0].objects.last().expect("an object");
    assert_eq!(ingress["apiVersion"], "networking.k8s.io/v1");
    assert_eq!(
        ingress["spec"],
        json!({"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}})
    );
}

#[test]
fn what_other_clusters_render_makes_no_other_release() {
    let from = |artifact: &str| crate::recipe::RenderedFrom {
        revision: "1.0.0".to_owned(),
        recipe: crate::recipe::Recipe {
            kind: crate::recipe::RecipeKind::Helm,
            artifact: artifact.to_owned(),
            path: String::new(),
            values: serde_json::Map::new(),
            values_from: Vec::new(),
            release_name: "shop-web".to_owned(),
            namespace: "shop".to_owned(),
            include_crds: true,
            hooks: true,
            images: Vec::new(),
            patches: Vec::new(),
            plugin: None,
        },
    };
    let content = |objects: Value, artifact: &str| {
        let spec: ApplicationSpec = serde_json::from_value(json!({
            "destination": {"fleet": "all"},
            "components": [{"name": "web", "manifests": objects}],
        }))
        .expect("a spec");
        let rendered = BTreeMap::from([("web".to_owned(), from(artifact))]);
        content("shop", &spec, &[])
            .expect("a content")
            .with_rendered(rendered)
    };
    let map =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let before = content(json!([map("a")]), "sha256:1");
    let newer_cluster = content(json!([map("a"), map("b")]), "sha256:1");
    assert_eq!(before.digest(), newer_cluster.digest());
    assert_eq!(before.change_to(&newer_cluster), Change::None);
    let newer_chart = content(json!([map("a")]), "sha256:2");
    assert_ne!(before.digest(), newer_chart.digest());
    assert_eq!(before.change_to(&newer_chart), Change::Content);

    let objects = BTreeMap::from([("web".to_owned(), vec![map("c")])]);
    let sent = newer_cluster
        .for_cluster(&objects, &[])
        .expect("no rollout");
    assert_eq!(sent.components[0].objects, vec![map("c")]);
    assert_eq!(sent.digest(), before.digest());
}

#[test]
fn holding_releases_back_and_who_is_told_make_none() {
    let before = content("shop", &application("web:1"), &[]).expect("content");
    let mut spec = application("web:1");
    spec.sync.suspend = true;
    spec.alerts = serde_json::from_value(json!([{"provider": {"name": "team"}}])).expect("alerts");
    let after = content("shop", &spec, &[]).expect("content");
    assert_eq!(before.digest(), after.digest());
    assert_eq!(before.change_to(&after), Change::None);
}
