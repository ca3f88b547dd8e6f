//! Applications that are applied in the name of a ServiceAccount.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::{ClusterPhase, ClusterView, RunPhase, RunView};
use bellwether_integration_tests::{cluster::Member, suite::Case};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_an_application_can_do_what_its_service_account_may_and_no_more",
    "accounts",
    accounts,
)];

const ACCOUNT: &str = "deployer";
const RBAC: &str = "rbac.authorization.k8s.io/v1";

fn deployment(name: &str) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "bellwether.local/demo:v1"}]},
        }},
    })
}

fn application(members: &Members, name: &str, more: &Value, manifests: &[Value]) -> String {
    let (here, there) = clusters(members);
    let mut application = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": [here, there]}, "targetNamespace": members.name,
            "waves": [{"name": "all", "maxConcurrent": "100%"}],
            "components": [{"name": "web", "manifests": manifests}],
        },
    });
    if let Some(fields) = more.as_object() {
        for (field, value) in fields {
            application["spec"][field] = value.clone();
        }
    }
    application.to_string()
}

/// A revision that is applied in the name of the ServiceAccount.
fn restricted(members: &Members, revision: u64) -> String {
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
        "data": {"revision": revision.to_string()}});
    let mut manifests = vec![settings];
    if revision > 1 {
        manifests.push(deployment("web"));
    }
    let account = json!({"serviceAccount": ACCOUNT});
    application(members, &members.name, &account, &manifests)
}

fn clusters(members: &Members) -> (&str, &str) {
    let names = members.names();
    (names[6], names[7])
}

/// Lets the ServiceAccount write these resources.
fn give(members: &Members, member: &Member, group: &str, resource: &str) -> Result<()> {
    let metadata = json!({"name": format!("{ACCOUNT}-{resource}"), "namespace": members.name});
    member.create(&json!({
        "apiVersion": RBAC, "kind": "Role", "metadata": metadata,
        "rules": [{"apiGroups": [group], "resources": [resource], "verbs": ["create", "patch"]}],
    }))?;
    member.create(&json!({
        "apiVersion": RBAC, "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
            "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": members.name}],
    }))
}

/// Gives the agent of a cluster what `register cluster --impersonate` gives.
fn let_act(members: &Members, cluster: &str) -> Result<()> {
    let (name, account) = (&members.name, format!("{}/{ACCOUNT}", members.name));
    let printed = members.cli.run(&[
        "register",
        "cluster",
        cluster,
        "--namespaces",
        name,
        "--impersonate",
        &account,
        "--print",
    ])?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&printed)?;
    let its = objects
        .iter()
        .filter(|object| object["metadata"]["name"] == "bellwether-agent-impersonate");
    let its: Vec<&Value> = its.collect();
    ensure!(its.len() == 2, "a Role and its binding: {its:?}");
    let member = members.cluster(cluster)?;
    its.into_iter().try_for_each(|object| member.create(object))
}

fn of_cluster<'a>(run: &'a RunView, name: &str) -> Option<&'a ClusterView> {
    let mut clusters = run.waves.iter().flat_map(|wave| &wave.clusters);
    clusters.find(|one| one.name == name)
}

/// Tells whether a cluster waits with these words.
fn waits(run: &RunView, cluster: &str, words: &str) -> bool {
    let waits = of_cluster(run, cluster).map(|one| one.waiting_on.as_slice());
    let mut waits = waits.into_iter().flatten();
    waits.any(|wait| wait.message.contains(words))
}

fn succeeded(run: &RunView, cluster: &str) -> bool {
    of_cluster(run, cluster).is_some_and(|one| one.state == ClusterPhase::Succeeded)
}

fn accounts(members: &Members) -> Result<()> {
    let (here, there) = clusters(members);
    for cluster in [here, there] {
        let member = members.cluster(cluster)?;
        member.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": members.name}}))?;
        give(members, member, "", "configmaps")?;
    }
    let_act(members, here)?;
    members.cli.apply(&restricted(members, 1))?;
    let command = format!("--impersonate {}/{ACCOUNT}", members.name);
    let what = "one cluster to have it and the other to say what its agent lacks";
    members.wait_run(&members.name, 1, LIMIT, what, |run| {
        succeeded(run, here) && waits(run, there, &command)
    })?;
    members.assert_absent(&[there], "ConfigMap", "settings")?;
    let_act(members, there)?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    in_its_name(members, here)?;
    beyond_its_rights(members)?;
    gone_without_it(members)
}

/// The API server took the ConfigMap from the ServiceAccount, and nothing else was asked in its name.
fn in_its_name(members: &Members, cluster: &str) -> Result<()> {
    let account = format!("system:serviceaccount:{}:{ACCOUNT}", members.name);
    let requests = members.lab.audit(cluster)?;
    let its: Vec<_> = requests
        .iter()
        .filter(|request| request.in_name_of.as_deref() == Some(&account))
        .collect();
    ensure!(
        its.iter().any(|request| {
            request.verb == "patch"
                && request.object == "settings"
                && !request.uri.contains("dryRun")
        }),
        "the ConfigMap was applied in another name: {its:?}"
    );
    let reads_or_deletes = its
        .iter()
        .find(|request| !["patch", "create"].contains(&request.verb.as_str()));
    ensure!(reads_or_deletes.is_none(), "{reads_or_deletes:?}");
    Ok(())
}

/// What the ServiceAccount may not is named before anything is applied, and comes in where it may.
fn beyond_its_rights(members: &Members) -> Result<()> {
    let ((here, there), name) = (clusters(members), &members.name);
    members.cli.apply(&restricted(members, 2))?;
    let lacks = format!(
        "Deployment/{name}/web cannot be applied: ServiceAccount {name}/{ACCOUNT} may not create, patch \
         deployments in namespace {name}"
    );
    members.wait_run(name, 2, LIMIT, "both to name the right", |run| {
        waits(run, here, &lacks) && waits(run, there, &lacks)
    })?;
    let why = members.cli.call(&["why", name], None)?.stdout;
    ensure!(why.contains(&lacks), "{why}");
    for cluster in [here, there] {
        let settings = members.read(cluster, "ConfigMap", "settings")?;
        let settings = settings.context("the release before")?;
        ensure!(settings["data"]["revision"] == "1", "{settings}");
    }
    members.assert_absent(&[here, there], "Deployment", "web")?;

    // Nobody else is kept from anything: the agent itself may.
    let free = format!("{name}-free");
    let objects = [deployment("free")];
    members
        .cli
        .apply(&application(members, &free, &json!({}), &objects))?;
    members.wait_ended(&free, 1, RunPhase::Succeeded, LIMIT)?;

    give(members, members.cluster(here)?, "apps", "deployments")?;
    members.wait_run(name, 2, LIMIT, "the one that was given it", |run| {
        succeeded(run, here) && waits(run, there, &lacks)
    })?;
    members.assert_absent(&[there], "Deployment", "web")?;
    give(members, members.cluster(there)?, "apps", "deployments")?;
    members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    Ok(())
}

/// What is deleted takes no rights of an account that is gone.
fn gone_without_it(members: &Members) -> Result<()> {
    let ((here, there), name) = (clusters(members), &members.name);
    for cluster in [here, there] {
        let member = members.cluster(cluster)?;
        for resource in ["configmaps", "deployments"] {
            let role = format!("{ACCOUNT}-{resource}");
            member.delete(RBAC, "RoleBinding", name, &role)?;
        }
        member.delete("v1", "ServiceAccount", name, ACCOUNT)?;
    }
    for application in [name.clone(), format!("{name}-free")] {
        members
            .cli
            .run(&["delete", "application", &application, "-y"])?;
    }
    for cluster in [here, there] {
        members.wait_gone(cluster, "ConfigMap", "settings")?;
        members.wait_gone(cluster, "Deployment", "web")?;
        members.wait_gone(cluster, "Deployment", "free")?;
    }
    Ok(())
}
