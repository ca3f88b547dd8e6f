//! Components of every kind that comes from elsewhere, in real API servers: what is there is what was
//! rendered, and what did not change is not written again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    chart_repository::ChartRepository,
    git_server::GitServer,
    oci_registry::{OciRegistry, PASSWORD, USER},
    process::repository,
    suite::Case,
    wait::until,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    page::{example, fitted},
    scene::api_version,
    stage::{LIMIT, Members},
};

pub const TOGETHER: &[Case<Members>] = &[
    (
        "control_plane_kustomization_git_and_artifact_arrive_and_pushes_and_looks_bring_what_changed",
        "everysource",
        every_source,
    ),
    (
        "control_plane_examples_of_sources_bring_a_chart_and_what_a_program_makes",
        "programs",
        examples,
    ),
];

/// The secret of the hub that webhooks are believed by.
const PUSHES: &str = "pushes";
/// What it holds.
const SIGNED_WITH: &str = "4f1d7a";
const ROUTE: &str = "HTTPRoute";

/// What the hub is started with: who signs pushes, and the program of docs/sources.md.
pub fn hub_flags() -> Result<Vec<String>> {
    let program = repository().join("docs/examples/renderers/web-service");
    let program = program.to_str().context("paths are UTF-8")?;
    let plugin = format!("web-service={program}");
    let flags = [
        "--webhook-secret",
        &format!("default/{PUSHES}"),
        "--plugin",
        &plugin,
    ];
    Ok(flags.map(str::to_owned).to_vec())
}

fn map(name: &str, value: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"value": value}})
    .to_string()
}

/// What the test's objects hold in a cluster, by name.
type Held = BTreeMap<String, (Value, String)>;

/// Every ConfigMap of the test's namespace but Kubernetes' own: its data, and the version of its last write.
fn held(members: &Members, cluster: &str) -> Result<Held> {
    let listed = members.cluster(cluster)?;
    let listed = listed.list("v1", "ConfigMap", &members.name)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = listed.iter().map(|object| {
        let name = text(&object["metadata"]["name"]);
        let version = text(&object["metadata"]["resourceVersion"]);
        (name, (object["data"].clone(), version))
    });
    Ok(all.filter(|(name, _)| name != "kube-root-ca.crt").collect())
}

/// Waits until the cluster has these ConfigMaps, with these values, and no other.
fn wait_exactly(members: &Members, cluster: &str, expected: &[(&str, &str)]) -> Result<Held> {
    let wanted: BTreeMap<&str, Value> = expected
        .iter()
        .map(|(name, value)| (*name, json!({"value": value})))
        .collect();
    let mut last = Held::new();
    until(LIMIT, &format!("{cluster} to have {wanted:?}"), || {
        last = held(members, cluster)?;
        let is_equal = last.len() == wanted.len()
            && last
                .iter()
                .all(|(name, (data, _))| wanted.get(name.as_str()) == Some(data));
        Ok(is_equal.then(|| last.clone()))
    })
    .with_context(|| format!("{last:?}"))
}

/// Fails unless of what there was only `changed` was written since.
fn wrote_only(before: &Held, after: &Held, changed: &str) -> Result<()> {
    for (name, (_, version)) in before {
        let now = after.get(name).map(|(_, version)| version);
        ensure!(
            (now == Some(version)) == (name != changed),
            "{name} was at {version} and is at {now:?}; {changed} alone changed"
        );
    }
    Ok(())
}

fn every_source(members: &Members) -> Result<()> {
    let name = members.name.as_str();
    let git = GitServer::start()?;
    git.write("plain/one.yaml", &map("plain-one", "1"))?;
    git.write("plain/more/two.json", &map("plain-two", "1"))?;
    git.write("overlay/base.yaml", &map("settings", "1"))?;
    let kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
                         namePrefix: built-\nresources: [base.yaml]\n";
    git.write("overlay/kustomization.yaml", kustomization)?;
    git.commit("one")?;
    let registry = OciRegistry::start()?;
    let artifact = registry.push_file("artifacts", "v1", "packed.yaml", &map("packed", "1"))?;
    let credentials = format!("{name}-registry");
    let set = ["secret", "set", &credentials, "--from-literal"];
    let (user, password) = (format!("username={USER}"), format!("password={PASSWORD}"));
    members
        .cli
        .run(&[&set[..], &[&user, "--from-literal", &password]].concat())?;
    members
        .cli
        .apply(&document(members, &git, &artifact).to_string())?;
    members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;
    let expected = |plain: &'static str, built: &'static str| {
        [
            ("plain-one", plain),
            ("plain-two", "1"),
            ("built-settings", built),
            ("packed", "1"),
        ]
    };
    let mut first = Vec::new();
    for cluster in members.names() {
        first.push(wait_exactly(members, cluster, &expected("1", "1"))?);
    }

    // Looked at once an hour, if nobody says that something was pushed.
    git.write("plain/one.yaml", &map("plain-one", "2"))?;
    git.write("elsewhere.yaml", &map("elsewhere", "1"))?;
    git.commit("two")?;
    pushed(members, &git.url())?;
    let mut second = Vec::new();
    for (cluster, before) in members.names().into_iter().zip(&first) {
        let after = wait_exactly(members, cluster, &expected("2", "1"))?;
        wrote_only(before, &after, "plain-one")?;
        second.push(after);
    }

    // Looked at every ten seconds.
    git.write("overlay/base.yaml", &map("settings", "2"))?;
    git.commit("three")?;
    for (cluster, before) in members.names().into_iter().zip(&second) {
        let after = wait_exactly(members, cluster, &expected("2", "2"))?;
        wrote_only(before, &after, "built-settings")?;
    }
    members.cli.run(&["delete", "application", name, "-y"])?;
    for cluster in members.names() {
        until(LIMIT, &format!("nothing to be left in {cluster}"), || {
            Ok(held(members, cluster)?.is_empty().then_some(()))
        })?;
    }
    members
        .cli
        .run(&["secret", "delete", &credentials])
        .map(|_| ())
}

fn document(members: &Members, git: &GitServer, artifact: &str) -> Value {
    let branch = |path: Value| {
        let mut source = json!({"url": git.url(), "branch": "main"});
        if !path.is_null() {
            source["path"] = path;
        }
        source
    };
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {
            "destination": {"fleet": "breadth"}, "targetNamespace": members.name,
            "waves": [{"name": "all", "maxConcurrent": "100%"}],
            "components": [
                {"name": "plain", "git": branch(json!("plain")), "sync": {"interval": "1h"}},
                {"name": "built", "kustomize": {"git": branch(Value::Null), "path": "overlay"},
                    "sync": {"interval": "10s"}},
                {"name": "packed", "sync": {"interval": "1h"}, "oci": {"url": artifact, "tag": "v1",
                    "credentialsRef": {"name": format!("{}-registry", members.name)}}},
            ],
        },
    })
}

/// Tells the hub of a push as GitHub does; a signature by another secret is not believed.
fn pushed(members: &Members, url: &str) -> Result<()> {
    let literal = format!("github={SIGNED_WITH}");
    let set = ["secret", "set", PUSHES, "--from-literal", &literal];
    members.cli.run(&set)?;
    let hub = members.hub.lock().expect("no panic while held").url();
    let body = json!({"ref": "refs/heads/main", "repository": {"clone_url": url}}).to_string();
    for (secret, status) in [("another", 401), (SIGNED_WITH, 202)] {
        let answered = call(&hub, secret, &body)?;
        ensure!(answered == status, "{secret}: {answered}");
    }
    Ok(())
}

fn call(hub: &str, secret: &str, body: &str) -> Result<u16> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(body.as_bytes());
    let digest = mac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let request = reqwest::Client::new()
        .post(format!("{hub}/api/v1/webhooks/github"))
        .header("x-github-event", "push")
        .header("x-hub-signature-256", format!("sha256={hex}"))
        .header("content-type", "application/json")
        .body(body.to_owned());
    let runtime = tokio::runtime::Runtime::new()?;
    Ok(runtime.block_on(request.send())?.status().as_u16())
}

/// Both applications of docs/sources.md, on the fleet's clusters.
fn examples(members: &Members) -> Result<()> {
    let name = members.name.as_str();
    let chart = format!("{name}-chart");
    let mut repository = ChartRepository::start()?;
    repository.publish("web", "1.2.0", &[])?;
    let places = |application: &str| {
        [
            (
                "{name: shop, namespace: default}",
                format!("{{name: {application}, namespace: default}}"),
            ),
            ("fleet: quickstart", "fleet: breadth".to_owned()),
            ("targetNamespace: shop", format!("targetNamespace: {name}")),
            ("name: shop-web", format!("name: {application}-web")),
        ]
    };
    let fit = |marker: &str, application: &str, more: &[(&str, &str)]| -> Result<String> {
        let places = places(application);
        let mut changes: Vec<(&str, &str)> = places.iter().map(|(a, b)| (*a, b.as_str())).collect();
        changes.extend(more);
        let text = example("sources.md", marker)?;
        ensure!(text.starts_with("apiVersion"), "a whole document: {text}");
        fitted(&text, &changes)
    };
    // What every control-plane cluster needs beside what the page says.
    let values = "values: {replicaCount: 3, serviceAccount: {create: false}, \
                  image: {repository: bellwether.local/demo, tag: v1}}\n      includeCRDs: false";
    let url = repository.url();
    let of_chart = [
        ("https://charts.example.com", url.as_str()),
        ("values: {replicaCount: 3}", values),
    ];
    members
        .cli
        .apply(&fit("    helm:\n      repository", &chart, &of_chart)?)?;
    let image = [(
        "image: \"shop:1.4.2\"",
        "image: \"bellwether.local/demo:v1\"",
    )];
    members.cli.apply(&fit("plugin:", name, &image)?)?;
    made_by_the_program(members)?;
    members.wait_ended(&chart, 1, RunPhase::Succeeded, LIMIT)?;
    let released = format!("{chart}-web");
    for cluster in members.names() {
        let live = members.read(cluster, "Deployment", &released)?;
        let live = live.with_context(|| format!("{released} in {cluster}"))?;
        ensure!(live["spec"]["replicas"] == 3, "{cluster}: {live}");
    }
    members
        .cli
        .run(&["delete", "application", &chart, "-y"])
        .map(|_| ())
}

/// A Deployment, a Service and a route, healthy once a gateway takes the route.
fn made_by_the_program(members: &Members) -> Result<()> {
    let web = format!("{}-web", members.name);
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": kind, "message": "",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let accepted = json!({"status": {"parents": [{
        "parentRef": {"name": "shared"}, "controllerName": "gateway.example/controller",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    }]}});
    for cluster in members.names() {
        members.wait_object(cluster, ROUTE, &web)?;
        let member = members.cluster(cluster)?;
        member.patch_status(api_version(ROUTE), ROUTE, &members.name, &web, &accepted)?;
    }
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    for cluster in members.names() {
        // The page's override is for the clusters of the tier `canary`.
        let (pods, host) = match cluster == members.names()[0] {
            true => (1, "canary.shop.example"),
            false => (3, "shop.example"),
        };
        let read = |kind: &str| -> Result<Value> {
            let found = members.read(cluster, kind, &web)?;
            found.with_context(|| format!("{kind} {web} in {cluster}"))
        };
        let (deployment, service, route) = (read("Deployment")?, read("Service")?, read(ROUTE)?);
        ensure!(
            deployment["spec"]["replicas"] == pods,
            "{cluster}: {deployment}"
        );
        ensure!(
            service["spec"]["ports"][0]["targetPort"] == 8080,
            "{service}"
        );
        ensure!(
            route["spec"]["hostnames"] == json!([host]),
            "{cluster}: {route}"
        );
        let listed = members.cluster(cluster)?;
        let listed = listed.list(api_version(ROUTE), ROUTE, &members.name)?;
        let names: BTreeSet<&str> = listed
            .iter()
            .filter_map(|one| one["metadata"]["name"].as_str())
            .collect();
        ensure!(
            names == BTreeSet::from([web.as_str()]),
            "{cluster}: {names:?}"
        );
    }
    Ok(())
}
