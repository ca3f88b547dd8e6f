//! Components that programs make which the hub's operator registered.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use bellwether_hub::rendering::Plugins;

use super::*;

const APIS: [&str; 3] = ["apps/v1", "v1", "gateway.networking.k8s.io/v1/HTTPRoute"];

/// A hub with those programs registered, and two clusters that serve routes.
async fn staged(programs: &[(&str, &Path)], limits: Limits) -> Stage {
    let mut stage = Stage::rendering_with(registered(programs, limits)).await;
    for cluster in ["canary-1", "prod-1"] {
        stage.fleet.connect_as(cluster, "v1.33.1", &APIS).await;
    }
    stage
}

fn registered(programs: &[(&str, &Path)], limits: Limits) -> Renderer {
    let programs: Vec<(String, PathBuf)> = programs
        .iter()
        .map(|(name, program)| ((*name).to_owned(), (*program).to_owned()))
        .collect();
    let plugins = Plugins::register(&programs).expect("programs");
    renderer_within(limits).with_plugins(plugins)
}

fn example() -> PathBuf {
    repository().join("docs/examples/renderers/web-service")
}

/// A program of the shell in a folder of the test.
pub(super) fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a file");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, executable).expect("it may be executed");
    path
}

fn component(params: Value) -> Value {
    json!({"name": "web", "plugin": {"name": "web-service", "params": params}})
}

async fn held(stage: &Stage) -> String {
    stage.settle().await.expect_err("held").chain()
}

#[tokio::test]
async fn op2_a_program_hides_deployment_service_and_route_behind_five_parameters() {
    let stage = staged(&[("web-service", &example())], Limits::default()).await;
    let mut web = component(json!({
        "image": "shop:1.0", "host": "shop.example", "port": 9000, "replicas": 3, "gateway": "edge",
    }));
    web["rollout"] = json!({
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-web"},
        "strategy": {"canary": {"weights": [20, 50]}},
    });
    let overrides = json!([{
        "name": "canary", "clusters": ["canary-1"],
        "values": {"host": "{{ cluster.name }}.shop.example", "replicas": 1},
    }]);
    stage
        .apply_components(json!([web]), json!({}), overrides)
        .await;
    stage.settle().await.expect("released");

    let objects = stage.objects("prod-1").await;
    let kinds: Vec<&Value> = objects.iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["Deployment", "Service", "HTTPRoute"]);
    let deployment = &objects[0];
    assert_eq!(deployment["metadata"]["namespace"], "shop");
    assert_eq!(deployment["spec"]["replicas"], 3);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "shop:1.0");
    assert_eq!(objects[1]["spec"]["ports"][0]["targetPort"], 9000);
    assert_eq!(objects[2]["spec"]["hostnames"], json!(["shop.example"]));
    assert_eq!(objects[2]["spec"]["parentRefs"][0]["name"], "edge");
    let (_, bundle) = stage.fleet.bundle("prod-1").await.expect("a bundle");
    assert_eq!(bundle.rollouts.len(), 1, "it is rolled as anything else");

    let canary = stage.objects("canary-1").await;
    assert_eq!(canary[0]["spec"]["replicas"], 1);
    assert_eq!(
        canary[2]["spec"]["hostnames"],
        json!(["canary-1.shop.example"])
    );
}

#[tokio::test]
async fn op2_what_a_program_refuses_is_said_with_its_field() {
    let mut stage = staged(&[("web-service", &example())], Limits::default()).await;
    stage
        .apply(component(json!({"image": "shop:1.0", "port": "http"})))
        .await;
    let error = held(&stage).await;
    assert!(
        error.contains("component \"web\"")
            && error.contains("ParamsRefused: ")
            && error.contains("plugin.params: missing property 'host'")
            && error.contains("plugin.params.port: got string, want integer"),
        "{error}"
    );
    assert!(stage.fleet.bundle("prod-1").await.is_none());

    // One cluster lacks what the program needs there: the others get it.
    stage
        .fleet
        .connect_as("prod-1", "v1.33.1", &["apps/v1", "v1"])
        .await;
    stage
        .apply(component(json!({"image": "shop:1.0", "host": "a.example"})))
        .await;
    stage.settle().await.expect("released");
    assert_eq!(stage.fleet.granted(1).await, ["canary-1"]);
    let view = stage.fleet.view_with(&stage.renderings).await;
    let shown = serde_json::to_string(&view).expect("JSON");
    assert!(
        shown.contains("PluginFailed") && shown.contains("this cluster serves no HTTPRoute"),
        "{shown}"
    );
}

#[tokio::test]
async fn op2_a_name_that_nobody_registered_lists_those_that_are() {
    let stage = staged(
        &[("job", &example()), ("web", &example())],
        Limits::default(),
    )
    .await;
    stage.apply(component(json!({}))).await;
    let error = held(&stage).await;
    assert!(
        error.contains("PluginNotFound: plugin.name: no renderer \"web-service\"")
            && error.contains("registered: job, web"),
        "{error}"
    );
}

#[tokio::test]
async fn op2_another_program_is_another_release_and_an_earlier_one_comes_back_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = |version: u32| {
        format!(
            "printf '{{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {{\"name\": \"made\"}}, \
             \"data\": {{\"by\": \"{version}\"}}}}'"
        )
    };
    let program = script(folder.path(), "program", &text(1));
    let mut stage = staged(&[("web-service", &program)], Limits::default()).await;
    stage.apply(component(json!({}))).await;
    stage.settle().await.expect("released");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");

    script(folder.path(), "program", &text(2));
    stage.apply(component(json!({"any": "thing"}))).await;
    let error = held(&stage).await;
    assert!(
        error.contains("PluginChanged") && error.contains("restart the hub"),
        "it is not run before it is registered: {error}"
    );
    // The hub starts again.
    stage.render_with(registered(&[("web-service", &program)], Limits::default()));
    stage.settle().await.expect("released");
    let by = |object: Value| object["data"]["by"].clone();
    assert_eq!(by(stage.object("prod-1", "ConfigMap", "made").await), "2");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");

    stage.fleet.roll_back(Some(1)).await;
    stage.settle().await.expect("restored");
    assert_eq!(by(stage.object("prod-1", "ConfigMap", "made").await), "1");
}

#[tokio::test]
async fn op2_a_program_has_no_network_and_no_environment_and_its_time_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let lonely = script(
        folder.path(),
        "lonely",
        "cat >/dev/null\n\
         printf '{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"seen\"}, \"data\": {'\n\
         printf '\"routes\": \"%s\", ' \"$(tail -n +2 /proc/net/route | tr '\\n' ' ')\"\n\
         printf '\"environment\": \"%s\"}}' \"$(tr '\\0' ' ' </proc/$$/environ)\"",
    );
    // Nothing else of this machine sleeps for so long.
    let sleeping = script(
        folder.path(),
        "sleeping",
        "sleep 31557600 &\nsleep 31557601",
    );
    let limits = Limits {
        time: Duration::from_secs(5),
        ..Limits::default()
    };
    let programs = [
        ("web-service", lonely.as_path()),
        ("slow", sleeping.as_path()),
    ];
    let stage = staged(&programs, limits).await;
    stage.apply(component(json!({}))).await;
    stage.settle().await.expect("released");
    let seen = stage.object("prod-1", "ConfigMap", "seen").await;
    assert_eq!(
        seen["data"],
        json!({"routes": "", "environment": ""}),
        "no way out, and no variable"
    );

    stage
        .apply(json!({"name": "web", "plugin": {"name": "slow"}}))
        .await;
    let error = held(&stage).await;
    assert!(error.contains("did not answer within 5 s"), "{error}");
    let mut left = sleepers();
    for _ in 0..100 {
        if left == 0 {
            break;
        }
        // A signal takes its time to arrive.
        tokio::time::sleep(Duration::from_millis(50)).await;
        left = sleepers();
    }
    assert_eq!(left, 0, "what it started ends with it");
}

/// Processes of the slow program that are there.
fn sleepers() -> usize {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .filter(|words| {
            let words = String::from_utf8_lossy(words);
            words.contains("3155760")
        })
        .count()
}
