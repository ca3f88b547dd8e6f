//! Components that are rendered: from a source to what a cluster is sent, with the real renderer.

#[path = "bad_input.rs"]
mod bad_input;
#[path = "cluster_losses.rs"]
mod cluster_losses;
#[path = "cluster_values.rs"]
mod cluster_values;
#[path = "foreign_records.rs"]
mod foreign_records;
#[path = "hook_overrides.rs"]
mod hook_overrides;
#[path = "placed_components.rs"]
mod placed_components;
#[path = "plugins.rs"]
mod plugins;
#[path = "render_limits.rs"]
mod render_limits;
#[path = "rollouts_by_cluster.rs"]
mod rollouts_by_cluster;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bellwether_api::{
    chart_hook::{HookDeletion, HookMoment},
    status::UnitOutcome,
};
use bellwether_hub::{
    clock::Clock,
    loops::{LoopError, plan_once_with},
    rendering::{Fetch, FetchError, Fetched, Limits, Renderer, Renderings},
};
use bellwether_sources::{Artifact, ArtifactFile, Source, SourceRequest};
use bellwether_store::records::RecordKind;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fleet::Fleet;

/// Sources whose content the test sets.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<BTreeMap<String, String>>>);

impl Shelf {
    /// Adds or replaces a file of what everybody fetches.
    pub fn put(&self, path: &str, text: &str) {
        let mut files = self.0.lock().expect("files");
        files.insert(path.to_owned(), text.to_owned());
    }

    /// Holds the chart that the repository keeps for tests.
    pub fn with_chart() -> Self {
        let shelf = Self::default();
        let root = repository().join("integration-tests/charts/web");
        shelf.read(&root, &root);
        shelf
    }

    fn read(&self, root: &Path, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                self.read(root, &path);
            } else {
                let name = path.strip_prefix(root).expect("inside").to_string_lossy();
                self.put(&name, &std::fs::read_to_string(&path).expect("a text"));
            }
        }
    }
}

impl Fetch for Shelf {
    fn fetch<'a>(
        &'a self,
        request: &'a SourceRequest,
    ) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(async move {
            let source = &request.source;
            let previous = request.previous.as_deref();
            let failed = |reason: &str, message: String| FetchError {
                reason: reason.to_owned(),
                message,
            };
            let chart = matches!(source, Source::HelmRepository { .. });
            if let Source::HelmRepository { chart, .. } = source
                && chart != "web"
            {
                let message = format!("there is no chart {chart:?} in the repository");
                return Err(failed("NotFound", message));
            }
            let files = self.0.lock().expect("files").clone();
            let file = |(path, text): (String, String)| ArtifactFile {
                path,
                contents: text.into(),
                executable: false,
            };
            let artifact = Artifact::new(String::new(), files.into_iter().map(file).collect());
            let revision = format!("1.0.0@{}", artifact.digest);
            match previous {
                Some(previous) if previous == revision => Ok(Fetched::Same),
                Some(previous) if chart => Err(failed(
                    "TagMoved",
                    format!("1.0.0 was moved: it was {previous} and is {revision} now"),
                )),
                _ => Ok(Fetched::New(Artifact {
                    revision,
                    ..artifact
                })),
            }
        })
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `make build` puts it beside the hub.
fn renderer() -> Renderer {
    renderer_within(Limits::default())
}

fn renderer_within(limits: Limits) -> Renderer {
    let program = repository().join("target/debug/bellwether-renderer");
    assert!(
        program.exists(),
        "{} is missing; build it by `make renderer`",
        program.display()
    );
    Renderer::new(Some(program), limits)
}

fn renderings(fleet: &Fleet, renderer: Renderer, fetch: Box<dyn Fetch>) -> Renderings {
    let clock = Clock::begin(Timestamp::now());
    Renderings::new(fleet.store.clone(), clock, renderer, fetch)
}

pub struct Stage {
    pub fleet: Fleet,
    pub renderings: Renderings,
}

impl Stage {
    pub async fn new(shelf: &Shelf) -> Self {
        Self::fetching(Box::new(shelf.clone())).await
    }

    pub async fn fetching(fetch: Box<dyn Fetch>) -> Self {
        Self::made_of(renderer(), fetch).await
    }

    /// Nothing is fetched.
    async fn rendering_with(renderer: Renderer) -> Self {
        Self::made_of(renderer, Box::new(Shelf::default())).await
    }

    async fn made_of(renderer: Renderer, fetch: Box<dyn Fetch>) -> Self {
        let fleet = Fleet::new(1).await;
        let renderings = renderings(&fleet, renderer, fetch);
        Self { fleet, renderings }
    }

    /// Another hub goes on.
    fn render_with(&mut self, renderer: Renderer) {
        self.renderings = renderings(&self.fleet, renderer, Box::new(Shelf::default()));
    }

    /// Looks, and does what is asked for, until nothing more is.
    pub async fn settle(&self) -> Result<(), LoopError> {
        let mut last = Ok(());
        for _ in 0..6 {
            let (fleet, renderings) = (&self.fleet, &self.renderings);
            // Its lease lasts no longer than the longest rendering.
            fleet.be_alive(fleet.hub).await;
            last = plan_once_with(&fleet.store, renderings, fleet.hub, fleet.now()).await;
            renderings.run_dry().await;
        }
        last
    }

    pub async fn apply(&self, component: Value) {
        self.apply_with(component, json!({})).await;
    }

    pub async fn apply_with(&self, component: Value, sync: Value) {
        self.apply_components(json!([component]), sync, json!([]))
            .await;
    }

    async fn apply_components(&self, components: Value, sync: Value, overrides: Value) {
        let spec = application(components, sync, overrides);
        self.fleet
            .record(RecordKind::Application, "default", "shop", spec, &[])
            .await;
    }

    async fn apply_annotated(
        &self,
        components: Value,
        overrides: Value,
        annotations: &[(&str, &str)],
    ) {
        let spec = application(components, json!({}), overrides);
        self.fleet
            .record(
                RecordKind::Application,
                "default",
                "shop",
                spec,
                annotations,
            )
            .await;
    }

    pub async fn objects(&self, cluster: &str) -> Vec<Value> {
        let (_, bundle) = self.fleet.bundle(cluster).await.expect("a bundle");
        bundle.components[0].objects.clone()
    }

    pub async fn object(&self, cluster: &str, kind: &str, name: &str) -> Value {
        let objects = self.objects(cluster).await;
        let found = objects
            .iter()
            .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found
            .cloned()
            .unwrap_or_else(|| panic!("no {kind} {name} in {objects:#?}"))
    }
}

fn application(components: Value, sync: Value, overrides: Value) -> Value {
    json!({
        "destination": {"fleet": "quickstart"},
        "targetNamespace": "shop",
        "components": components,
        "sync": sync,
        "overrides": overrides,
        "waves": [{"name": "all", "maxConcurrent": "100%"}],
    })
}

pub fn chart(change: impl FnOnce(&mut Value)) -> Value {
    let mut component = json!({"name": "web", "helm": {
        "repository": "https://charts.example", "chart": "web", "version": "1.0.0",
        "releaseName": "web",
    }});
    change(&mut component["helm"]);
    component
}

#[tokio::test]
async fn a_chart_reaches_a_cluster_as_objects_rendered_for_it() {
    let mut stage = Stage::new(&Shelf::with_chart()).await;
    stage
        .fleet
        .connect_as("prod-1", "v1.31.4", &["apps/v1", "v1"])
        .await;
    stage
        .apply(chart(|helm| {
            helm["values"] = json!({"replicaCount": 3, "cache": {"enabled": true}})
        }))
        .await;
    stage.settle().await.expect("released");

    let deployment = stage.object("canary-1", "Deployment", "web").await;
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(deployment["metadata"]["namespace"], "shop");
    let volume = &deployment["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(
        volume["configMap"]["defaultMode"], 420,
        "0644 as Kubernetes reads it"
    );
    stage.object("canary-1", "ConfigMap", "web-cache").await;
    stage
        .object(
            "canary-1",
            "CustomResourceDefinition",
            "widgets.charts.example",
        )
        .await;
    let kinds: Vec<Value> = stage
        .objects("canary-1")
        .await
        .iter()
        .map(|one| one["kind"].clone())
        .collect();
    assert!(
        !kinds.contains(&json!("Pod")),
        "a test is no object: {kinds:?}"
    );

    let version = |object: &Value| object["data"]["kubernetes"].clone();
    let canary = stage.object("canary-1", "ConfigMap", "web").await;
    let prod = stage.object("prod-1", "ConfigMap", "web").await;
    assert_eq!(version(&canary), "v1.33");
    assert_eq!(version(&prod), "v1.31.4");
}

#[tokio::test]
async fn a_chart_that_does_not_render_names_file_and_line_and_the_old_release_stays() {
    let shelf = Shelf::with_chart();
    let mut stage = Stage::new(&shelf).await;
    stage.apply(chart(|_| {})).await;
    stage.settle().await.expect("released");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");

    shelf.put(
        "templates/service.yaml",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Values.acceptance-test.name }}\n",
    );
    stage
        .apply(chart(|helm| helm["version"] = json!("~1.0")))
        .await;
    let error = stage.settle().await.expect_err("held").chain();
    assert!(
        error.contains("web")
            && error.contains("templates/service.yaml:4")
            && error.contains("U+002D"),
        "{error}"
    );
    assert_eq!(
        stage.fleet.granted(1).await.len(),
        2,
        "everybody keeps revision 1"
    );
}

#[tokio::test]
async fn a_version_that_means_other_files_is_said_and_what_was_fetched_first_stays() {
    let shelf = Shelf::with_chart();
    let mut stage = Stage::new(&shelf).await;
    stage.apply(chart(|_| {})).await;
    stage.settle().await.expect("released");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");
    shelf.put("templates/NOTES.txt", "replaced");
    stage.fleet.wait(301).await;
    let error = stage.settle().await.expect_err("said").chain();
    assert!(
        error.contains("TagMoved") && error.contains("1.0.0"),
        "{error}"
    );
    assert!(stage.fleet.granted(2).await.is_empty());
    stage
        .apply(chart(|helm| helm["values"] = json!({"replicaCount": 4})))
        .await;
    stage.settle().await.expect_err("still said");
    assert_eq!(
        stage.fleet.granted(2).await.len(),
        2,
        "with the files as they were"
    );
}

#[tokio::test]
async fn values_beyond_the_charts_schema_are_refused_by_name() {
    let stage = Stage::new(&Shelf::with_chart()).await;
    stage
        .apply(chart(|helm| {
            helm["values"] = json!({"replicaCount": "many"})
        }))
        .await;
    let error = stage.settle().await.expect_err("held").chain();
    assert!(
        error.contains("ValuesRefused") && error.contains("/replicaCount"),
        "{error}"
    );
    assert!(stage.fleet.bundle("canary-1").await.is_none());
}

#[tokio::test]
async fn a_source_that_cannot_be_fetched_says_why() {
    let stage = Stage::new(&Shelf::with_chart()).await;
    stage
        .apply(chart(|helm| helm["chart"] = json!("wbe")))
        .await;
    let error = stage.settle().await.expect_err("held").chain();
    assert!(
        error.contains("NotFound") && error.contains("wbe"),
        "{error}"
    );
}

#[tokio::test]
async fn a_cluster_that_cannot_have_it_holds_nobody_else() {
    let mut stage = Stage::new(&Shelf::with_chart()).await;
    stage
        .fleet
        .connect_as("prod-1", "v1.27.9", &["apps/v1", "v1"])
        .await;
    stage.apply(chart(|_| {})).await;
    stage.settle().await.expect("released");
    assert_eq!(stage.fleet.granted(1).await, ["canary-1"]);
    let view = stage.fleet.view_with(&stage.renderings).await;
    let shown = serde_json::to_string(&view).expect("JSON");
    assert!(
        shown.contains("RenderFailed") && shown.contains("needs Kubernetes >=1.28"),
        "{shown}"
    );

    // It was upgraded: it gets what the others have.
    stage.fleet.report("canary-1", UnitOutcome::Succeeded).await;
    stage
        .fleet
        .connect_as("prod-1", "v1.30.1", &["apps/v1", "v1"])
        .await;
    stage.settle().await.expect("granted");
    assert_eq!(stage.fleet.granted(1).await, ["canary-1", "prod-1"]);
}

#[tokio::test]
async fn a_cluster_that_changes_is_no_new_release_and_goes_back_to_what_it_had() {
    let shelf = Shelf::with_chart();
    let mut stage = Stage::new(&shelf).await;
    stage.apply(chart(|_| {})).await;
    stage.settle().await.expect("released");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");
    let (before, _) = stage.fleet.bundle("prod-1").await.expect("a bundle");

    stage
        .fleet
        .connect_as("prod-1", "v1.34.0", &["apps/v1", "v1"])
        .await;
    stage.settle().await.expect("nothing to do");
    let (after, bundle) = stage.fleet.bundle("prod-1").await.expect("a bundle");
    assert_eq!(
        (before, 1),
        (after, bundle.revision),
        "an upgrade alone changes nothing"
    );

    stage
        .apply(chart(|helm| helm["values"] = json!({"replicaCount": 5})))
        .await;
    stage.settle().await.expect("released");
    let map = stage.object("prod-1", "ConfigMap", "web").await;
    assert_eq!(map["data"]["kubernetes"], "v1.34.0");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");

    stage.fleet.roll_back(Some(1)).await;
    stage.settle().await.expect("restored");
    let map = stage.object("prod-1", "ConfigMap", "web").await;
    assert_eq!(
        map["data"]["kubernetes"], "v1.33",
        "what it had of revision 1"
    );
    assert_eq!(
        stage.object("prod-1", "Deployment", "web").await["spec"]["replicas"],
        2
    );
}

#[tokio::test]
async fn what_differs_each_time_is_said_and_settles_all_the_same() {
    let shelf = Shelf::with_chart();
    shelf.put(
        "templates/secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData: {password: '{{ randAlphaNum 20 }}'}\n",
    );
    let stage = Stage::new(&shelf).await;
    stage.apply(chart(|_| {})).await;
    stage.settle().await.expect("released");
    let secret = |object: Value| object["stringData"]["password"].clone();
    let first = secret(stage.object("canary-1", "Secret", "web").await);
    stage.settle().await.expect("nothing to do");
    assert_eq!(
        first,
        secret(stage.object("canary-1", "Secret", "web").await)
    );
    assert_eq!(stage.fleet.granted(1).await.len(), 2, "no second release");
    let remarks = bellwether_store::renderings::remarks(&stage.fleet.store, &crate::fleet::shop())
        .await
        .expect("remarks");
    let said: Vec<String> = remarks
        .iter()
        .map(|one| format!("{}: {}", one.kind, one.message))
        .collect();
    assert_eq!(
        said,
        ["NotSettling: Secret/web /stringData/password differs each time it is rendered"]
    );
}

const MIGRATION: &str = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations:\n    \
    helm.sh/hook: pre-install,pre-upgrade\n    helm.sh/hook-weight: \"-3\"\n    \
    helm.sh/hook-delete-policy: hook-succeeded\n";

#[tokio::test]
async fn hooks_reach_a_cluster_beside_its_objects_unless_they_are_left_out() {
    let shelf = Shelf::with_chart();
    shelf.put("templates/migrate.yaml", MIGRATION);
    let stage = Stage::new(&shelf).await;
    let kinds = |objects: &[Value]| -> Vec<Value> {
        objects.iter().map(|one| one["kind"].clone()).collect()
    };
    stage.apply(chart(|_| {})).await;
    stage.settle().await.expect("released");
    let (_, bundle) = stage.fleet.bundle("canary-1").await.expect("a bundle");
    let hooks = &bundle.components[0].hooks;
    assert_eq!(hooks.len(), 1, "the test of the chart is none: {hooks:?}");
    assert_eq!(
        (hooks[0].weight, hooks[0].moments.as_slice()),
        (
            -3,
            [HookMoment::PreInstall, HookMoment::PreUpgrade].as_slice()
        )
    );
    assert_eq!(hooks[0].delete, [HookDeletion::HookSucceeded]);
    assert_eq!(hooks[0].object["metadata"]["namespace"], "shop");
    let objects = kinds(&stage.objects("canary-1").await);
    assert!(!objects.contains(&json!("Job")), "{objects:?}");

    // An override may be for a hook alone; for what is neither hook nor object it is a typo.
    let named = |job: &str| {
        let mut spec = chart(|_| {});
        let annotation = json!({"metadata": {"annotations": {"at": "{{ cluster.name }}"}}});
        spec["overrides"] = json!([{"name": "hook", "patches": [
            {"target": {"kind": "Job", "name": job}, "merge": annotation}]}]);
        spec
    };
    stage.apply(named("migrat")).await;
    let refused = stage.settle().await.expect_err("a typo").chain();
    assert!(refused.contains("is Job migrat"), "{refused}");
    stage.apply(named("migrate")).await;
    stage.settle().await.expect("released");
    let (digest, bundle) = stage.fleet.bundle("canary-1").await.expect("a bundle");
    let hook = &bundle.components[0].hooks[0].object;
    assert_eq!(hook["metadata"]["annotations"]["at"], "canary-1");

    stage
        .apply(chart(|helm| helm["hooks"] = json!(false)))
        .await;
    stage.settle().await.expect("released");
    let (without, bundle) = stage.fleet.bundle("canary-1").await.expect("a bundle");
    assert_ne!(digest, without, "hooks are a part of what is granted");
    assert_eq!(bundle.components[0].hooks, []);
    let remarks = bellwether_store::renderings::remarks(&stage.fleet.store, &crate::fleet::shop())
        .await
        .expect("remarks");
    let said: Vec<String> = remarks
        .iter()
        .map(|one| format!("{}: {}", one.kind, one.message))
        .collect();
    assert_eq!(
        said,
        ["HooksLeftOut: Job/migrate is not run: pre-install, pre-upgrade"]
    );
}

#[tokio::test]
async fn a_hook_that_cannot_be_run_is_refused_by_name() {
    let shelf = Shelf::with_chart();
    shelf.put(
        "templates/migrate.yaml",
        &MIGRATION.replace("pre-upgrade", "mid-upgrade"),
    );
    let stage = Stage::new(&shelf).await;
    stage.apply(chart(|_| {})).await;
    let error = stage.settle().await.expect_err("held").chain();
    assert!(
        error.contains("HookRefused") && error.contains("Job/migrate in templates/migrate.yaml"),
        "{error}"
    );
    assert!(
        error.contains("mid-upgrade") && error.contains("helm.hooks"),
        "{error}"
    );
}

#[tokio::test]
async fn a_source_that_moved_is_a_new_release() {
    let shelf = Shelf::default();
    let map = |value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{octal: 0{value}, text: '{value}'}}\n"
        )
    };
    shelf.put("deploy/a.yaml", &map("644"));
    let mut stage = Stage::new(&shelf).await;
    let source =
        json!({"name": "web", "git": {"url": "https://git.example/shop", "branch": "main"}});
    stage
        .apply_with(source.clone(), json!({"interval": "10s"}))
        .await;
    stage.settle().await.expect("released");
    assert_eq!(
        stage.object("prod-1", "ConfigMap", "a").await["data"]["octal"],
        420
    );
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");

    shelf.put("deploy/a.yaml", &map("600"));
    let suspended = json!({"interval": "10s", "suspend": true});
    stage.apply_with(source.clone(), suspended).await;
    stage.fleet.wait(11).await;
    stage.settle().await.expect("nothing: it is not looked at");
    assert!(stage.fleet.granted(2).await.is_empty());
    stage
        .apply_with(source.clone(), json!({"interval": "1h"}))
        .await;
    stage.settle().await.expect("nothing: it is not time");
    assert!(stage.fleet.granted(2).await.is_empty());
    stage.apply_with(source, json!({"interval": "10s"})).await;
    stage.settle().await.expect("looked");
    assert_eq!(
        stage.object("prod-1", "ConfigMap", "a").await["data"]["text"],
        "600"
    );
    assert_eq!(stage.fleet.granted(2).await.len(), 2);
}

#[tokio::test]
async fn a_rollout_in_a_chart_becomes_the_plan_of_its_workload() {
    let shelf = Shelf::with_chart();
    shelf.put(
        "templates/rollout.yaml",
        "apiVersion: bellwether.dev/v1alpha1\nkind: Rollout\nmetadata:\n  name: web\nspec:\n  workload: {apiVersion: apps/v1, kind: Deployment, name: web}\n  strategy: {canary: {weights: [20, 50]}}\n",
    );
    let stage = Stage::new(&shelf).await;
    stage.apply(chart(|_| {})).await;
    stage.settle().await.expect("released");
    let (_, bundle) = stage.fleet.bundle("canary-1").await.expect("a bundle");
    assert_eq!(bundle.rollouts.len(), 1);
    let kinds: Vec<Value> = stage
        .objects("canary-1")
        .await
        .iter()
        .map(|one| one["kind"].clone())
        .collect();
    assert!(!kinds.contains(&json!("Rollout")), "{kinds:?}");
}

#[tokio::test]
async fn a_kustomization_is_built_with_what_the_component_lays_over_it() {
    let shelf = Shelf::default();
    shelf.put("base/kustomization.yaml", "resources: [deployment.yaml]\n");
    shelf.put(
        "base/deployment.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: web, image: shop}]}}}\n",
    );
    shelf.put(
        "prod/kustomization.yaml",
        "resources: [../base]\nnamePrefix: prod-\n",
    );
    let stage = Stage::new(&shelf).await;
    let source = |change: fn(&mut Value)| {
        let mut component = json!({"name": "web", "kustomize": {
            "git": {"url": "https://git.example/shop", "tag": "v1"}, "path": "prod",
            "images": [{"name": "shop", "newTag": "v2"}],
            "patches": [{"patch": "- {op: add, path: /spec/replicas, value: 4}",
                         "target": {"kind": "Deployment"}}],
        }});
        change(&mut component["kustomize"]);
        component
    };
    stage.apply(source(|_| {})).await;
    stage.settle().await.expect("released");
    let deployment = stage.object("canary-1", "Deployment", "prod-web").await;
    assert_eq!(deployment["spec"]["replicas"], 4);
    assert_eq!(
        deployment["spec"]["template"]["spec"]["containers"][0]["image"],
        "shop:v2"
    );

    shelf.put(
        "prod/kustomization.yaml",
        "resources: ['https://example.com/base']\n",
    );
    stage
        .apply(source(|one| one["git"]["tag"] = json!("v2")))
        .await;
    let error = stage.settle().await.expect_err("held").chain();
    assert!(
        error.contains("Forbidden") && error.contains("https://example.com/base"),
        "{error}"
    );
}
