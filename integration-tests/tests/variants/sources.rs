//! Components that come from elsewhere, over the whole fleet.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    chart_repository::{ChartRepository, packed, unpacked},
    git_server::GitServer,
    oci_registry::{OciRegistry, PASSWORD, USER},
    suite::Case,
    wait::until,
};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[
    (
        "control_plane_one_chart_from_repository_registry_and_git_is_the_same_everywhere",
        "charted",
        one_chart,
    ),
    (
        "control_plane_hooks_of_a_chart_run_in_each_cluster_as_its_overrides_say",
        "hooked",
        hooks,
    ),
    (
        "control_plane_diff_tells_by_cluster_what_publishing_would_change",
        "compared",
        compared,
    ),
];

/// An Application on the whole fleet at once, with more fields.
fn application(members: &Members, components: &Value, overrides: &Value) -> Value {
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {
            "destination": {"fleet": "breadth"}, "targetNamespace": members.name,
            "waves": [{"name": "all", "maxConcurrent": "100%"}],
            "components": components, "overrides": overrides,
        },
    })
}

/// The chart `web` of a source, with these values beside those that every cluster needs.
fn helm(mut source: Value, release: &str, values: &Value) -> Value {
    let mut all = json!({
        "serviceAccount": {"create": false},
        "image": {"repository": "bellwether.local/demo", "tag": "v1", "pullPolicy": "Never"},
    });
    for (key, value) in values.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    source["releaseName"] = release.into();
    source["includeCRDs"] = false.into();
    source["values"] = all;
    source
}

/// Waits until the application is held back with these words.
fn wait_stalled(members: &Members, words: &str) -> Result<()> {
    members.stalled_by(&members.name, words).map(|_| ())
}

fn one_chart(members: &Members) -> Result<()> {
    let mut repository = ChartRepository::start()?;
    repository.publish("web", "1.0.0", &[])?;
    let registry = OciRegistry::start()?;
    registry.push_chart("web", "1.0.0", packed("web", "1.0.0", &[])?)?;
    let git = GitServer::start()?;
    let folder = git.folder().join("charts");
    std::fs::create_dir(&folder)?;
    unpacked("web", "1.0.0", &[], &folder)?;
    git.commit("a chart")?;

    let secret = members.name.as_str();
    let sources = [
        (
            "fromhttp",
            json!({"repository": repository.url(), "chart": "web", "version": "1.0.0"}),
        ),
        (
            "fromoci",
            json!({"repository": registry.charts(), "chart": "web", "version": "1.0.0",
                "credentialsRef": {"name": secret}}),
        ),
        (
            "fromgit",
            json!({"git": {"url": git.url(), "branch": "main", "path": "charts/web"}}),
        ),
    ];
    let components: Vec<Value> = sources
        .iter()
        .map(|(name, source)| json!({"name": name, "helm": helm(source.clone(), name, &json!({}))}))
        .collect();
    let overrides = json!([
        {"name": "everywhere", "values": {"podAnnotations": {"at": "{{ cluster.name }}"}}},
        {"name": "us", "selector": {"matchLabels": {"region": "us"}}, "values": {"replicaCount": 3}},
    ]);
    let document = application(members, &json!(components), &overrides);
    members.cli.apply(&document.to_string())?;
    wait_stalled(members, "SecretNotFound")?;
    for (password, says) in [("wrong", Some("Unauthorised")), (PASSWORD, None)] {
        let user = format!("username={USER}");
        let password = format!("password={password}");
        let set = ["secret", "set", secret, "--from-literal", &user];
        members
            .cli
            .run(&[&set[..], &["--from-literal", &password]].concat())?;
        if let Some(says) = says {
            wait_stalled(members, says)?;
        }
    }
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    for cluster in members.names() {
        let first = rendered(members, cluster, sources[0].0)?;
        for (name, _) in &sources[1..] {
            ensure!(
                rendered(members, cluster, name)? == first,
                "{cluster}, {name}"
            );
        }
    }
    let gone = ["delete", "application", &members.name, "-y"];
    members.cli.run(&gone)?;
    members.cli.run(&["secret", "delete", secret]).map(|_| ())
}

/// What a release of the chart is in a cluster, with the name of the release taken out of it.
fn rendered(members: &Members, cluster: &str, release: &str) -> Result<Vec<String>> {
    let name = format!("{release}-web");
    let mut found = Vec::new();
    for kind in ["Deployment", "Service", "ConfigMap"] {
        let object = members.read(cluster, kind, &name)?;
        let mut object = object.with_context(|| format!("{kind} {name} in {cluster}"))?;
        if kind == "Deployment" {
            let us = members.region("us").contains(&cluster);
            let pods = if us { 3 } else { 2 };
            let at = &object["spec"]["template"]["metadata"]["annotations"]["at"];
            ensure!(
                object["spec"]["replicas"] == pods && *at == cluster,
                "{cluster}: {object}"
            );
        }
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.retain(|key, _| !key.starts_with("clusterIP"));
        }
        let written = json!([object["metadata"]["labels"], object["spec"], object["data"]]);
        found.push(written.to_string().replace(release, "RELEASE"));
    }
    Ok(found)
}

/// A Job before everything else.
const MIGRATE: &str = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations:\n    \
    helm.sh/hook: pre-install,pre-upgrade\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      \
    restartPolicy: Never\n      containers:\n      - {name: main, image: 'bellwether.local/demo:v1', \
    args: [nowhere]}\n";

fn hooks(members: &Members) -> Result<()> {
    let mut repository = ChartRepository::start()?;
    repository.publish("web", "1.0.0", &[("templates/migrate.yaml", MIGRATE)])?;
    let source = json!({"repository": repository.url(), "chart": "web", "version": "1.0.0"});
    let components = json!([{"name": "web", "helm": helm(source, "web", &json!({}))}]);
    let names = members.names();
    let (without, with) = names.split_last().context("clusters")?;
    let job = json!({"kind": "Job", "name": "migrate"});
    let overrides = json!([
        {"name": "everywhere", "args": [{"target": job, "args": ["{{ cluster.name }}"]}]},
        {"name": "eu", "selector": {"matchLabels": {"region": "eu"}},
            "patches": [{"target": job, "merge": {"spec": {"activeDeadlineSeconds": 300}}}]},
        {"name": "none", "clusters": [without], "remove": [job]},
    ]);
    let document = application(members, &components, &overrides);
    members.cli.apply(&document.to_string())?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    for cluster in with {
        let member = members.cluster(cluster)?;
        let live = member.get("batch/v1", "Job", &members.name, "migrate")?;
        let live = live.with_context(|| format!("the Job in {cluster}"))?;
        ensure!(live["status"]["succeeded"] == 1, "{cluster}: {live}");
        let args = &live["spec"]["template"]["spec"]["containers"][0]["args"];
        ensure!(*args == json!([cluster]), "{cluster}: {live}");
        let deadline = live["spec"]["activeDeadlineSeconds"].as_u64();
        let eu = members.region("eu").contains(cluster);
        ensure!(deadline == eu.then_some(300), "{cluster}: {live}");
    }
    let member = members.cluster(without)?;
    let none = member.get("batch/v1", "Job", &members.name, "migrate")?;
    ensure!(none.is_none(), "{without}: {none:?}");
    members
        .read(without, "Deployment", "web")?
        .with_context(|| format!("the Deployment in {without}"))?;
    Ok(())
}

fn compared(members: &Members) -> Result<()> {
    let mut repository = ChartRepository::start()?;
    repository.publish("web", "1.0.0", &[])?;
    let names = members.names();
    let (pinned, others) = names.split_first().context("clusters")?;
    let at = |published: &str, tag: &str| {
        let source = json!({"repository": repository.url(), "chart": "web", "version": "1.0.0"});
        let mut helm = helm(source, "web", &json!({}));
        helm["values"]["image"]["tag"] = tag.into();
        let overrides = json!([{"name": "pinned", "clusters": [pinned],
            "images": [{"name": "bellwether.local/demo", "newTag": "v1"}]}]);
        let components = json!([{"name": "web", "helm": helm}]);
        let mut document = application(members, &components, &overrides);
        document["spec"]["publishVersion"] = published.into();
        document.to_string()
    };
    members.cli.apply(&at("one", "v1"))?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    wait_same(members)?;

    members.cli.apply(&at("one", "v2"))?;
    let told = until(LIMIT, "the draft to be compared", || {
        let (code, told) = diff(members, &[])?;
        let known = told["unknown"].is_null() && told["groups"] != json!([]);
        Ok((known && code == 1).then_some(told))
    })?;
    assert_told(&told, pinned, others)?;
    for cluster in &names {
        let live = image(members, cluster)?;
        ensure!(
            live.ends_with(":v1"),
            "a draft changes nothing: {cluster} {live}"
        );
    }
    members.cli.apply(&at("two", "v2"))?;
    members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    for cluster in others {
        ensure!(image(members, cluster)?.ends_with(":v2"), "{cluster}");
    }
    ensure!(image(members, pinned)?.ends_with(":v1"), "{pinned}");
    wait_same(members)?;
    let (code, told) = until(LIMIT, "the releases to be compared", || {
        let answer = diff(members, &["--from", "1", "--to", "2"])?;
        Ok((!answer.1.is_null()).then_some(answer))
    })?;
    // Their published versions differ everywhere.
    let pinned_alone = json!([pinned]);
    let groups = told["groups"].as_array().context("groups")?;
    let of_pinned = groups.iter().find(|one| one["clusters"] == pinned_alone);
    let of_pinned = &of_pinned.with_context(|| told.to_string())?["objects"];
    ensure!(
        code == 1 && groups.len() == 2 && of_pinned[0]["object"] == "Release",
        "{told:#}"
    );
    ensure!(of_pinned[1].is_null(), "{told:#}");
    Ok(())
}

/// Exit code and answer of `diff`; while what is stored is being rendered there is none.
fn diff(members: &Members, more: &[&str]) -> Result<(i32, Value)> {
    let arguments = ["diff", &members.name, "-o", "json"];
    let answer = members.cli.call(&[&arguments[..], more].concat(), None)?;
    if answer.stdout.is_empty() && answer.stderr.contains("ask again") {
        return Ok((answer.code, Value::Null));
    }
    let told = serde_json::from_str(&answer.stdout).with_context(|| format!("{answer:?}"))?;
    Ok((answer.code, told))
}

/// Waits until every cluster says that it runs what is stored.
fn wait_same(members: &Members) -> Result<()> {
    until(LIMIT, "no cluster to differ from what is stored", || {
        Ok((diff(members, &[])?.0 == 0).then_some(()))
    })
}

/// One difference, of the image of one Deployment, in all clusters but the pinned one.
fn assert_told(told: &Value, pinned: &str, others: &[&str]) -> Result<()> {
    let groups = told["groups"].as_array().context("groups")?;
    ensure!(groups.len() == 1, "{told:#}");
    let mut others = others.to_vec();
    others.sort_unstable();
    ensure!(groups[0]["clusters"] == json!(others), "{told:#}");
    ensure!(told["same"] == json!([pinned]), "{told:#}");
    let objects = groups[0]["objects"].as_array().context("objects")?;
    let text = objects[0]["text"].as_str().unwrap_or_default();
    let changed: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with(['+', '-']))
        .collect();
    ensure!(
        objects.len() == 1
            && changed.len() == 2
            && changed[0].ends_with("bellwether.local/demo:v1")
            && changed[1].ends_with("bellwether.local/demo:v2"),
        "{told:#}"
    );
    Ok(())
}

fn image(members: &Members, cluster: &str) -> Result<String> {
    let live = members.read(cluster, "Deployment", "web")?;
    let live = live.with_context(|| format!("the Deployment in {cluster}"))?;
    let image = live["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    image.map(str::to_owned).context("an image")
}
