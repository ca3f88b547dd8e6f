//! The example of docs/gitops.md: records as custom resources of the cluster that hosts the hub.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use bellwether_integration_tests::{
    hub::free_port,
    hub_chart::ACCOUNT,
    lab::{Lab, lab_command},
    suite::Case,
    wait::until,
};
use serde_json::Value;

use crate::{
    hosting,
    stage::{LIMIT, Members},
};

/// It starts the hub again.
pub const ALONE: &[Case<Members>] = &[(
    "control_plane_custom_resources_become_records_say_how_they_stand_and_leave_when_allowed",
    "mirrored",
    mirrored,
)];

const API: &str = "bellwether.dev/v1alpha1";

/// Has the hub mirror the custom resources of the first control-plane cluster, if there is one, with the rights
/// of its ServiceAccount there.
pub fn hub_flags(lab: &Lab, directory: &Path) -> Result<Vec<String>> {
    let clusters = lab.control_plane();
    let Some(host) = clusters.first() else {
        return Ok(Vec::new());
    };
    let port = free_port()?;
    let kubeconfig = hosting::account(lab, host, directory)?;
    let flags = [
        "--custom-resources",
        "--kubeconfig",
        &kubeconfig,
        "--admission-listen",
        &format!("0.0.0.0:{port}"),
        "--admission-address",
        &format!("{}:{port}", lab.bridge_address),
    ];
    Ok(flags.map(str::to_owned).to_vec())
}

fn mirrored(members: &Members) -> Result<()> {
    let host = Host::of(members);
    host.install()?;
    let documents = example(&members.name)?;
    host.apply(&documents)?;
    let resource = format!("applications.bellwether.dev/{}", members.name);
    host.kubectl(&["wait", "--for=condition=Ready", &resource, "--timeout=90s"])?;
    changed_there_alone(&host, &documents)?;
    refused_as_by_apply(&host, &documents)?;
    started_again(&host)?;
    leaves_when_allowed(&host)
}

/// The page's example, under the test's own names and on the fleet's clusters.
pub fn example(name: &str) -> Result<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gitops.md");
    let text = fs::read_to_string(page)?;
    let section = text
        .split("## Custom resources")
        .nth(1)
        .context("a section")?;
    let example = section
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .context("an example")?;
    Ok(example
        .replace("name: everywhere", &format!("name: {name}"))
        .replace("fleet: everywhere", &format!("fleet: {name}"))
        .replace("env: production", "fleet: breadth")
        .replace(
            "name: settings, namespace",
            &format!("name: {name}, namespace"),
        )
        .replace("targetNamespace: web", &format!("targetNamespace: {name}")))
}

/// The cluster that hosts the hub.
pub struct Host<'a> {
    pub members: &'a Members,
    pub cluster: &'a str,
}

impl<'a> Host<'a> {
    pub fn of(members: &'a Members) -> Self {
        Self {
            members,
            cluster: members.names()[0],
        }
    }

    pub fn install(&self) -> Result<()> {
        let lab = &self.members.lab;
        let kubeconfig = lab.cluster(self.cluster)?.kubeconfig.display().to_string();
        let account = format!("{}/{ACCOUNT}", hosting::NAMESPACE);
        let install = [
            "install",
            "crds",
            "--kubeconfig",
            &kubeconfig,
            "--service-account",
            &account,
        ];
        self.members.cli.run(&install)?;
        // A second time changes nothing, and takes nothing away that the hub wrote there.
        self.members.cli.run(&install)?;
        let member = self.members.cluster(self.cluster)?;
        until(LIMIT, "the API server to ask the hub", || {
            let all = member.list_cluster(
                "admissionregistration.k8s.io/v1",
                "ValidatingWebhookConfiguration",
            )?;
            let asks = all.iter().any(|one| {
                one["metadata"]["name"] == "bellwether-records"
                    && !one["webhooks"][0]["clientConfig"]["caBundle"].is_null()
            });
            Ok(asks.then_some(()))
        })
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.members.lab.kubectl(self.cluster, arguments)
    }

    pub fn apply(&self, documents: &str) -> Result<()> {
        let file = self.file(documents)?;
        self.kubectl(&["apply", "-f", &file]).map(|_| ())
    }

    /// What kubectl says to documents that must be refused.
    pub fn refusal(&self, documents: &str) -> Result<String> {
        let file = self.file(documents)?;
        let lab = &self.members.lab.name;
        let output = lab_command(&["kubectl", "--name", lab, self.cluster, "apply", "-f", &file])
            .output()?;
        ensure!(!output.status.success(), "it was taken");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub fn file(&self, documents: &str) -> Result<String> {
        let path = self.members.directory.join("mirrored.yaml");
        fs::write(&path, documents)?;
        Ok(path.display().to_string())
    }

    pub fn application(&self) -> Result<Option<Value>> {
        let name = &self.members.name;
        let member = self.members.cluster(self.cluster)?;
        member.get(API, "Application", "default", name)
    }

    fn condition(&self, kind: &str) -> Result<Value> {
        let object = self.application()?.context("the custom resource")?;
        let conditions = object["status"]["conditions"].as_array();
        let found = conditions
            .into_iter()
            .flatten()
            .find(|one| one["type"] == kind);
        Ok(found.cloned().unwrap_or_default())
    }

    pub fn record(&self, kind: &str) -> Result<Value> {
        self.members.cli.json(&["get", kind, &self.members.name])
    }
}

/// The record is what the custom resource says, by whoever wrote that, and nobody else changes it.
fn changed_there_alone(host: &Host<'_>, documents: &str) -> Result<()> {
    let object = host.application()?.context("the custom resource")?;
    let status = &object["status"];
    ensure!(
        status["observedGeneration"] == object["metadata"]["generation"]
            && status["state"] == "Succeeded"
            && status["done"] == host.members.names().len(),
        "the API's own summary: {status}"
    );
    let stalled = host.condition("Stalled")?;
    ensure!(stalled["status"] == "False", "{stalled}");
    let record = host.record("application")?;
    ensure!(
        record["metadata"]["managedBy"] == "CustomResource",
        "{record}"
    );
    let history = host.members.cli.run(&["history", &host.members.name])?;
    ensure!(history.contains("custom-resource:kubectl"), "{history}");
    let other = documents.replace("greeting: hello", "greeting: bye");
    let answer = host.members.cli.call(&["apply", "-f", "-"], Some(&other))?;
    ensure!(
        answer.code == 6 && answer.stderr.contains("it comes from the custom resource"),
        "{answer:?}"
    );
    let delete = ["delete", "application", &host.members.name, "-y"];
    let answer = host.members.cli.call(&delete, None)?;
    ensure!(answer.stderr.contains("kubectl delete"), "{answer:?}");
    // Applying what is there already does no harm.
    let answer = host
        .members
        .cli
        .call(&["apply", "-f", "-"], Some(documents))?;
    ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

/// What is wrong is said in the same words as by `bellwether apply`, and nothing is stored.
fn refused_as_by_apply(host: &Host<'_>, documents: &str) -> Result<()> {
    let name = &host.members.name;
    let cases = [
        // An unknown field, which the API server alone would drop.
        documents.replace("targetNamespace:", "targetNamespce:"),
        // What no schema can say.
        documents.replace(
            "  components:",
            "  waves: [{name: a, maxConcurrent: 1}, {name: a, maxConcurrent: 1}]\n  components:",
        ),
    ];
    for wrong in cases {
        ensure!(wrong != documents, "it is not wrong");
        // The fleet is right, and not what is looked at.
        let wrong = wrong.split("---\n").last().context("documents")?;
        let said = host.members.cli.call(&["apply", "-f", "-"], Some(wrong))?;
        // `error: FILE:LINE:COLUMN spec.…: …`
        let told = said.stderr.lines().next().context("an error")?;
        let words = told
            .find("spec.")
            .map(|at| &told[at..])
            .context("a field's path")?;
        let refusal = host.refusal(wrong)?;
        ensure!(
            refusal.contains("records.bellwether.dev") && refusal.contains(words),
            "not {words:?}: {refusal}"
        );
    }
    let object = host.application()?.context("the custom resource")?;
    ensure!(object["metadata"]["generation"] == 1, "{name}: {object}");
    Ok(())
}

/// A hub that is started again writes nothing, here or there.
fn started_again(host: &Host<'_>) -> Result<()> {
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let before = (
        host.application()?.as_ref().map(version),
        version(&host.record("application")?),
    );
    {
        let mut hub = host.members.hub.lock().expect("no panic while held");
        hub.restart()?;
    }
    let fleet = format!("fleets.bellwether.dev/{}", host.members.name);
    host.kubectl(&["label", &fleet, "touched=yes"])?;
    until(LIMIT, "the hub to mirror again", || {
        let record = host.record("fleet")?;
        Ok((record["metadata"]["labels"]["touched"] == "yes").then_some(()))
    })?;
    for name in host.members.names() {
        host.members.wait_ready(name)?;
    }
    let after = (
        host.application()?.as_ref().map(version),
        version(&host.record("application")?),
    );
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}

/// A deletion that takes an application from many clusters waits for their number, and then leaves nothing.
fn leaves_when_allowed(host: &Host<'_>) -> Result<()> {
    let name = &host.members.name;
    let resource = format!("applications.bellwether.dev/{name}");
    let fleet = format!("fleets.bellwether.dev/{name}");
    host.kubectl(&["delete", &fleet, &resource, "--wait=false"])?;
    let message = until(LIMIT, "the deletion to say what it waits on", || {
        let stalled = host.condition("Stalled")?;
        Ok((stalled["reason"] == "Unconfirmed").then(|| stalled["message"].to_string()))
    })?;
    let clusters = host.members.names().len();
    ensure!(
        message.contains(&format!("{clusters} clusters")),
        "{message}"
    );
    host.record("application")?;
    host.record("fleet")?;
    let allowed = format!("bellwether.dev/allow-removal={clusters}");
    host.kubectl(&["annotate", &resource, &allowed])?;
    until(LIMIT, "the custom resource to go", || {
        Ok(host.application()?.is_none().then_some(()))
    })?;
    let get = ["get", "application", name];
    ensure!(
        host.members.cli.call(&get, None)?.code != 0,
        "its finalizer went before its record"
    );
    for cluster in host.members.names() {
        until(LIMIT, "its objects to go", || {
            let found = host.members.read(cluster, "ConfigMap", "settings")?;
            Ok(found.is_none().then_some(()))
        })?;
    }
    let member = host.members.cluster(host.cluster)?;
    until(LIMIT, "the fleet that nobody uses to go", || {
        let fleets = member.list_cluster(API, "Fleet")?;
        Ok(fleets.is_empty().then_some(()))
    })
}
