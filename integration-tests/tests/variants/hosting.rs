//! The cluster that hosts the hub, as a member: it gets applications as any other, and what the hub consists of
//! is nobody's to take.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::ClusterPhase;
use bellwether_integration_tests::{
    agent_process::{self, AgentProcess},
    hub_chart::{self, ACCOUNT},
    lab::{Lab, LabCluster},
    process::workspace_binary,
    suite::Case,
    wait::until,
};
use serde_json::{Value, json};

use crate::{
    custom_resources::{Host, example},
    stage::{LIMIT, Members},
};

/// They detach a cluster and stop the hub.
pub const ALONE: &[Case<Members>] = &[
    (
        "control_plane_cluster_that_hosts_the_hub_is_a_member_as_any_other",
        "hosting",
        hosting,
    ),
    (
        "control_plane_custom_resources_are_refused_while_no_hub_answers_and_nothing_else_is",
        "closed",
        closed,
    ),
];

/// The hub's namespace in the cluster that hosts it.
pub const NAMESPACE: &str = "bellwether";
/// Rights that an administrator gave the agent beside those of `register cluster`.
const RIGHTS: &str = "hosting-namespaces";

/// Makes the hub's ServiceAccount with exactly the rights that are documented, and gives a kubeconfig that speaks
/// as it: the hub is no administrator there.
pub fn account(lab: &Lab, host: &LabCluster, directory: &Path) -> Result<String> {
    fs::create_dir_all(directory)?;
    let account = format!("{NAMESPACE}/{ACCOUNT}");
    let output = Command::new(workspace_binary("bellwether")?)
        .args(["install", "crds", "--print", "--service-account", &account])
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let printed: Vec<Value> = serde_saphyr::from_multiple(std::str::from_utf8(&output.stdout)?)?;
    let is_right = |kind: &str| ["Namespace", "ClusterRole", "ClusterRoleBinding"].contains(&kind);
    let mut objects: Vec<Value> = printed
        .into_iter()
        .filter(|one| one["kind"].as_str().is_some_and(is_right))
        .collect();
    ensure!(objects.len() == 3, "{objects:?}");
    let chart = hub_chart::render(NAMESPACE, &values())?;
    let accounts = chart
        .into_iter()
        .filter(|one| one["kind"] == "ServiceAccount");
    objects.extend(accounts);
    let file = directory.join("hub-account.json");
    fs::write(&file, list(&objects))?;
    let file = file.to_str().context("UTF-8")?;
    lab.kubectl(&host.name, &["apply", "-f", file])?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let client = agent_process::administrator(host).await?;
        let file = directory.join("hub-kubeconfig");
        agent_process::write_kubeconfig(&client, host, (NAMESPACE, ACCOUNT), &file).await
    })
}

fn values() -> Value {
    json!({
        "image": "registry.example/hub:1", "agentAddresses": ["hub.example.com:7701"],
        "customResources": {"enabled": true}, "env": {"BELLWETHER_SOURCE_NETWORKS": "10.0.0.0/8"},
    })
}

fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

fn hosting(members: &Members) -> Result<()> {
    let host = Host::of(members);
    host.install()?;
    the_chart_is_taken(&host)?;
    // The page's example, for the cluster that hosts the hub alone.
    let documents =
        example(&members.name)?.replace("{fleet: breadth}", "{fleet: breadth, tier: canary}");
    host.apply(&documents)?;
    let resource = format!("applications.bellwether.dev/{}", members.name);
    host.kubectl(&["wait", "--for=condition=Ready", &resource, "--timeout=90s"])?;
    let settings = members
        .read(host.cluster, "ConfigMap", "settings")?
        .context("it is a member as any other")?;
    definitions_are_nobodys(&host, &documents)?;
    the_namespace_is_nobodys(&host)?;
    detached(&host)?;
    let after = members.read(host.cluster, "ConfigMap", "settings")?;
    ensure!(
        after.is_some_and(|one| one["metadata"]["uid"] == settings["metadata"]["uid"]),
        "it kept what it had"
    );
    spoke_as_its_account(&host)?;
    let fleet = format!("fleets.bellwether.dev/{}", members.name);
    host.kubectl(&["delete", &resource, &fleet, "--timeout=90s"])
        .map(|_| ())
}

/// A strict dry run of everything that the chart makes, and of its pod under the strictest standard.
fn the_chart_is_taken(host: &Host<'_>) -> Result<()> {
    let mut objects = hub_chart::render(NAMESPACE, &values())?;
    let deployment = objects.iter().find(|one| one["kind"] == "Deployment");
    let template = &deployment.context("a Deployment")?["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": template["metadata"],
    });
    pod["metadata"]["name"] = json!("hub");
    pod["metadata"]["namespace"] = json!(NAMESPACE);
    objects.push(pod);
    let namespace = format!("namespace/{NAMESPACE}");
    let standard = "pod-security.kubernetes.io/enforce";
    host.kubectl(&["label", &namespace, &format!("{standard}=restricted")])?;
    let file = host.file(&list(&objects))?;
    let taken = host.kubectl(&[
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        // The ServiceAccount is there already.
        "--force-conflicts",
        "-f",
        &file,
    ])?;
    host.kubectl(&["label", &namespace, &format!("{standard}-")])?;
    ensure!(
        taken.lines().count() == objects.len(),
        "not everything: {taken}"
    );
    Ok(())
}

/// A release that brings one of the hub's own definitions is refused before it is stored.
fn definitions_are_nobodys(host: &Host<'_>, documents: &str) -> Result<()> {
    let application = documents.split("---\n").last().context("an application")?;
    let wrong = application.replace(
        "    manifests:\n",
        "    manifests:\n    - apiVersion: apiextensions.k8s.io/v1\n      kind: CustomResourceDefinition\n      \
         metadata: {name: fleets.bellwether.dev}\n",
    );
    ensure!(wrong != application, "it is not wrong");
    let refusal = host.refusal(&wrong)?;
    for words in [
        "spec.components[0].manifests[0].metadata.name",
        "fleets.bellwether.dev is part of Bellwether's own installation",
    ] {
        ensure!(refusal.contains(words), "{words}: {refusal}");
    }
    Ok(())
}

/// An application that takes over whatever there is does not get the hub's namespace, also with the right to.
fn the_namespace_is_nobodys(host: &Host<'_>) -> Result<()> {
    let members = host.members;
    let name = format!("{}-takes", members.name);
    let namespace = || {
        let all = members
            .cluster(host.cluster)?
            .list_cluster("v1", "Namespace")?;
        let found = all
            .into_iter()
            .find(|one| one["metadata"]["name"] == NAMESPACE);
        found.context("the hub's namespace")
    };
    let before = namespace()?;
    let role = format!("--clusterrole={RIGHTS}");
    let agent = "--serviceaccount=bellwether-system:bellwether-agent";
    host.kubectl(&[
        "create",
        "clusterrole",
        RIGHTS,
        "--verb=*",
        "--resource=namespaces",
    ])?;
    host.kubectl(&["create", "clusterrolebinding", RIGHTS, &role, agent])?;
    let application = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": [host.cluster]},
            "targetNamespace": members.name,
            "sync": {"adopt": "Always"},
            "components": [{"name": "takes", "manifests": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "beside"}},
                {"apiVersion": "v1", "kind": "Namespace",
                 "metadata": {"name": NAMESPACE, "labels": {"team": "mine"}}},
            ]}],
        },
    });
    host.apply(&application.to_string())?;
    let run = members.wait_run(&name, 1, LIMIT, "the cluster to refuse it", |run| {
        let mut clusters = run.waves.iter().flat_map(|wave| &wave.clusters);
        clusters.any(|one| one.state == ClusterPhase::Failed)
    })?;
    let said = serde_json::to_string(&run)?;
    ensure!(
        said.contains("Namespace bellwether is part of Bellwether's own installation"),
        "{said}"
    );
    let beside = members.read(host.cluster, "ConfigMap", "beside")?;
    ensure!(beside.is_none(), "nothing is half applied: {beside:?}");
    let resource = format!("applications.bellwether.dev/{name}");
    host.kubectl(&[
        "wait",
        "--for=condition=Stalled",
        &resource,
        "--timeout=90s",
    ])?;
    host.kubectl(&["delete", &resource, "--timeout=90s"])?;
    host.kubectl(&["delete", "clusterrolebinding,clusterrole", RIGHTS])?;
    let after = namespace()?;
    ensure!(
        after["metadata"] == before["metadata"],
        "{before}\nbecame {after}"
    );
    Ok(())
}

/// A host that is detached is no member any more, and mirrors on.
fn detached(host: &Host<'_>) -> Result<()> {
    let members = host.members;
    let mut agents = members.agents.lock().expect("no panic while held");
    let mut all = agents.iter_mut();
    let is_host = |agent: &&mut AgentProcess| agent.cluster == host.cluster;
    let agent = all.find(is_host).context("its agent")?;
    let written = |object: &Value| {
        let metadata = &object["metadata"];
        let kept = ["uid", "generation", "finalizers", "deletionTimestamp"];
        kept.map(|field| metadata[field].clone())
    };
    let before = host.application()?.context("the custom resource")?;
    let record = host.record("application")?;
    let detach = ["cluster", "detach", host.cluster, "-y", "--reason", "moved"];
    members.cli.run(&detach)?;
    let fleet = format!("fleets.bellwether.dev/{}", members.name);
    host.kubectl(&["label", &fleet, "touched=while-detached"])?;
    until(LIMIT, "the hub to mirror on", || {
        let shown = host.record("fleet")?;
        Ok((shown["metadata"]["labels"]["touched"] == "while-detached").then_some(()))
    })?;
    let after = host.application()?.context("the custom resource stays")?;
    ensure!(written(&after) == written(&before), "{before}\n{after}");
    let still = host.record("application")?;
    ensure!(
        still["spec"] == record["spec"] && still["metadata"]["managedBy"] == "CustomResource",
        "{still}"
    );
    members.register_again(agent)?;
    members.wait_ready(host.cluster)
}

/// Every request of the hub was made as its ServiceAccount.
fn spoke_as_its_account(host: &Host<'_>) -> Result<()> {
    let audit = host.members.lab.audit(host.cluster)?;
    let hubs = audit
        .iter()
        .filter(|one| one.user_agent.starts_with("bellwether-hub/"));
    let account = format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}");
    let (own, others): (Vec<_>, Vec<_>) = hubs.partition(|one| one.user == account);
    ensure!(others.is_empty(), "as another: {others:?}");
    ensure!(own.iter().any(|one| one.is_write()), "it wrote nothing");
    Ok(())
}

fn closed(members: &Members) -> Result<()> {
    let host = Host::of(members);
    host.install()?;
    let mut hub = members.hub.lock().expect("no panic while held");
    hub.restart_with(&["--admission-failure-policy", "fail"])?;
    let documents =
        example(&members.name)?.replace("{fleet: breadth}", "{fleet: breadth, tier: canary}");
    let (bare, late) = (
        format!("{}-bare", members.name),
        format!("{}-late", members.name),
    );
    host.apply(&fleet(&bare))?;
    host.apply(&documents)?;
    let resource = format!("applications.bellwether.dev/{}", members.name);
    host.kubectl(&["wait", "--for=condition=Ready", &resource, "--timeout=90s"])?;
    let bare_fleet = format!("fleets.bellwether.dev/{bare}");
    host.kubectl(&[
        "wait",
        "--for=condition=Ready",
        &bare_fleet,
        "--timeout=90s",
    ])?;
    until(LIMIT, "the API server to fail closed", || {
        let policy = "jsonpath={.webhooks[0].failurePolicy}";
        let kind = "validatingwebhookconfigurations/bellwether-records";
        let found = host.kubectl(&["get", kind, "-o", policy])?;
        Ok((found == "Fail").then_some(()))
    })?;

    hub.kill()?;
    let refusal = host.refusal(&fleet(&late))?;
    ensure!(
        refusal.contains("failed calling webhook \"records.bellwether.dev\""),
        "{refusal}"
    );
    // Nothing else is refused, nor any deletion, nor taking a finalizer off by hand.
    let namespace = format!("--namespace={}", members.name);
    host.kubectl(&["create", "configmap", "other", &namespace])?;
    host.kubectl(&["delete", &resource, &bare_fleet, "--wait=false"])?;
    let none = "{\"metadata\":{\"finalizers\":null}}";
    host.kubectl(&["patch", &bare_fleet, "--type=merge", "-p", none])?;
    ensure!(host.application()?.is_some(), "it waits for the hub");

    hub.restart()?;
    until(LIMIT, "what was deleted meanwhile to go", || {
        Ok(host.application()?.is_none().then_some(()))
    })?;
    host.apply(&fleet(&late))?;
    let late_fleet = format!("fleets.bellwether.dev/{late}");
    host.kubectl(&[
        "wait",
        "--for=condition=Ready",
        &late_fleet,
        "--timeout=90s",
    ])?;
    let record = members.cli.json(&["get", "fleet", &bare])?;
    ensure!(
        record.to_string().contains("CustomResourcePresent"),
        "absence deletes nothing: {record}"
    );
    members.cli.run(&["delete", "fleet", &bare, "-y"])?;
    let own = format!("fleets.bellwether.dev/{}", members.name);
    host.kubectl(&["delete", &late_fleet, &own, "--timeout=90s"])?;
    hub.restart_with(&[])?;
    drop(hub);
    for name in members.names() {
        members.wait_ready(name)?;
    }
    Ok(())
}

fn fleet(name: &str) -> String {
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Fleet",
        "metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"nobody": "has"}}},
    })
    .to_string()
}
