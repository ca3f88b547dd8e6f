//! Sources that render something which cannot be delivered: who is told what, and who gets it all the same.

use super::*;

pub(super) const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ";

/// A chart of that one template.
pub(super) fn chart_of(template: &str) -> Shelf {
    let shelf = Shelf::default();
    shelf.put(
        "Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: '>=1.28-0'\n",
    );
    shelf.put("templates/all.yaml", template);
    shelf
}

async fn connected(shelf: &Shelf, prod: &[&str]) -> Stage {
    let mut stage = Stage::new(shelf).await;
    for (cluster, serves) in [("canary-1", &["v1"][..]), ("prod-1", prod)] {
        stage.fleet.connect_as(cluster, "v1.33.1", serves).await;
    }
    stage
}

#[tokio::test]
async fn an_object_that_no_api_server_takes_is_named_in_the_one_cluster_that_would_get_it() {
    let shelf = chart_of(&format!(
        "{MAP}small}}\n---\n{{{{ if .Capabilities.APIVersions.Has \"big/v1\" }}}}{MAP}big}}\n\
         data: {{all: {{{{ repeat 1500000 \"a\" }}}}}}\n{{{{ end }}}}"
    ));
    let stage = connected(&shelf, &["v1", "big/v1"]).await;
    stage.apply(chart(|_| {})).await;
    stage.settle().await.expect("released");
    assert_eq!(stage.fleet.granted(1).await, ["canary-1"]);
    let view = stage.fleet.view_with(&stage.renderings).await;
    let shown = serde_json::to_string(&view).expect("JSON");
    assert!(
        shown.contains("RenderFailed") && shown.contains("ConfigMap/big has 1500"),
        "{shown}"
    );
    assert!(stage.fleet.bundle("prod-1").await.is_none());
}

#[tokio::test]
async fn ten_thousand_objects_are_a_release_and_one_more_is_said() {
    let of = |count: usize| {
        format!(
            "{{{{ range $at := until {count} }}}}---\n{MAP}'item-{{{{ $at }}}}'}}\n{{{{ end }}}}"
        )
    };
    let stage = connected(&chart_of(&of(10_001)), &["v1"]).await;
    stage.apply(chart(|_| {})).await;
    let error = stage.settle().await.expect_err("held").chain();
    assert!(
        error.contains("TooLarge: it renders 10001 objects; at most 10000 are delivered"),
        "{error}"
    );
    assert!(stage.fleet.bundle("canary-1").await.is_none());
    let stage = connected(&chart_of(&of(10_000)), &["v1"]).await;
    stage.apply(chart(|_| {})).await;
    stage.settle().await.expect("released");
    assert_eq!(stage.objects("prod-1").await.len(), 10_000);
}

#[tokio::test]
async fn two_components_that_render_one_object_are_named() {
    let stage = connected(&chart_of(&format!("{MAP}shared}}\n")), &["v1"]).await;
    let mut other = chart(|_| {});
    other["name"] = json!("db");
    stage
        .apply_components(json!([chart(|_| {}), other]), json!({}), json!([]))
        .await;
    let error = stage.settle().await.expect_err("held").chain();
    assert!(
        error.contains("components[1].manifests[0]")
            && error.contains("ConfigMap shared")
            && error.contains("components[0]"),
        "{error}"
    );
    assert!(stage.fleet.bundle("canary-1").await.is_none());
}

#[tokio::test]
async fn a_manifest_without_a_kind_names_its_file() {
    let shelf = Shelf::default();
    shelf.put("good.yaml", &format!("{MAP}good}}\n"));
    shelf.put("deploy/bad.yaml", "metadata: {name: bad}\n");
    let stage = connected(&shelf, &["v1"]).await;
    stage
        .apply(json!({"name": "web", "git": {"url": "https://git.example/web", "branch": "main"}}))
        .await;
    let error = stage.settle().await.expect_err("held").chain();
    assert!(
        error.contains("BadYAML: deploy/bad.yaml") && error.contains("needs apiVersion and kind"),
        "{error}"
    );
    assert!(stage.fleet.bundle("canary-1").await.is_none());
}

/// Text that packs badly: six bits and a half of eight are chance.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Neither quotes nor what YAML or a template would read.
        char::from(b'(' + u8::try_from((state >> 33) % 80).expect("below 80"))
    };
    (0..bytes).map(|_| next()).filter(|c| *c != '\\').collect()
}

#[tokio::test]
async fn an_object_that_packs_badly_is_said_before_anything_is_granted() {
    let shelf = chart_of(&format!(
        "{MAP}large}}\ndata: {{noise: {{{{ .Files.Get \"noise\" | quote }}}}}}"
    ));
    shelf.put("noise", "short");
    let mut stage = connected(&shelf, &["v1"]).await;
    stage.apply(chart(|_| {})).await;
    stage.settle().await.expect("released");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("it runs");
    // Any API server takes it, and no agent keeps it.
    shelf.put("noise", &noise(1_470_000));
    stage
        .apply(chart(|helm| helm["version"] = json!("1.0.1")))
        .await;
    let error = stage.settle().await.expect_err("held").chain();
    assert!(
        error.contains("gets of default/shop: TooLarge: 1")
            && error.contains("bytes when packed are more than the 1000000")
            && error.contains("let pods fetch large files themselves"),
        "{error}"
    );
    assert_eq!(stage.fleet.granted(2).await, [""; 0]);
    assert_eq!(stage.fleet.granted(1).await, ["canary-1", "prod-1"]);
}
