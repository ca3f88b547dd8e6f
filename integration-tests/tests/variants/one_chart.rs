//! The examples of docs/overrides.md: written objects, and one chart, each environment its own way.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{chart_repository::ChartRepository, suite::Case};
use serde_json::{Value, json};

use crate::{
    page::{example, fitted},
    scene::api_version,
    stage::{Afterwards, LIMIT, Members},
};

pub const TOGETHER: &[Case<Members>] = &[(
    "sc_v3_objects_and_one_chart_differ_by_environment_exactly_as_the_page_says",
    "onechart",
    overrides,
)];

/// Environment, host, pods of the written objects and of the chart's, and what a file of the written ones says.
struct Environment {
    name: &'static str,
    host: &'static str,
    pods: u64,
    level: &'static str,
}

const ENVIRONMENTS: [Environment; 3] = [
    Environment {
        name: "sit",
        host: "svc-sit.ink",
        pods: 1,
        level: "level: debug\n",
    },
    Environment {
        name: "uat",
        host: "svc-uat.ink",
        pods: 2,
        level: "level: debug\n",
    },
    Environment {
        name: "prod",
        host: "svc.ink",
        pods: 5,
        level: "level: warn\n",
    },
];

/// What the page fixes in production, for the written Service.
const ADDRESS: &str = "10.96.100.7";
/// The same, where no other test has it.
const OWN_ADDRESS: &str = "10.96.100.8";
/// What the page fixes in production for the Service of the chart.
const ADDRESS_OF_CHART: &str = "10.96.100.9";
/// What an Application of that page begins with.
const METADATA: &str = "{name: svc, namespace: default}";

/// The clusters of the three environments.
fn clusters(members: &Members) -> Vec<&str> {
    members.names()[3..6].to_vec()
}

/// An example under a name of the test's, on its clusters.
fn fit(
    members: &Members,
    application: &str,
    marker: &str,
    more: &[(&str, &str)],
) -> Result<String> {
    let name = format!("{{name: {application}, namespace: default}}");
    let namespace = format!("targetNamespace: {}", members.name);
    let mut changes = vec![
        (METADATA, name.as_str()),
        ("targetNamespace: svc", &namespace),
        ("{key: env,", "{key: charted,"),
        ("{env: ", "{charted: "),
        ("cluster.labels.env", "cluster.labels.charted"),
    ];
    changes.extend(more);
    fitted(&example("overrides.md", marker)?, &changes)
}

fn overrides(members: &Members) -> Result<()> {
    let label = |change: &str| {
        for (cluster, environment) in clusters(members).into_iter().zip(ENVIRONMENTS) {
            let change = change.replace("ENV", environment.name);
            members.cli.run(&["label", "cluster", cluster, &change])?;
        }
        anyhow::Ok(())
    };
    label("charted=ENV")?;
    let _unlabelled = Afterwards::of(|| label("charted-"));
    let mut repository = ChartRepository::start()?;
    repository.publish("web", "1.2.0", &[])?;
    let chart = format!("{}-chart", members.name);
    let more = [
        ("https://charts.example.com", repository.url()),
        (
            "version: 1.2.0}",
            // What every control-plane cluster needs beside what the page says.
            "version: 1.2.0, includeCRDs: false, values: {ingress: {enabled: true}, \
             serviceAccount: {create: false}, image: {repository: bellwether.local/demo, tag: v1}}}"
                .to_owned(),
        ),
    ];
    let more: Vec<(&str, &str)> = more.iter().map(|(from, to)| (*from, to.as_str())).collect();
    members
        .cli
        .apply(&fit(members, &chart, "chart: web", &more)?)?;
    let written = [
        (ADDRESS, OWN_ADDRESS),
        ("registry.example/svc:1.4.2", "bellwether.local/demo:v1"),
    ];
    let written = fit(members, &members.name, "clusterIP", &written)?;
    members.cli.apply(&written)?;
    for application in [&chart, &members.name] {
        members.wait_ended(application, 1, RunPhase::Succeeded, LIMIT)?;
    }
    let mut rest = Vec::new();
    for (cluster, environment) in clusters(members).into_iter().zip(&ENVIRONMENTS) {
        let as_written = written_objects(members, cluster, environment)?;
        rest.push((as_written, of_chart(members, cluster, &chart, environment)?));
    }
    ensure!(
        rest.iter().all(|one| *one == rest[0]),
        "they differ elsewhere too: {rest:#?}"
    );
    members
        .cli
        .run(&["delete", "application", &chart, "-y"])
        .map(|_| ())
}

/// What was written of an object: without what its API server and its controllers put there.
fn plain(members: &Members, cluster: &str, kind: &str, name: &str) -> Result<Value> {
    let member = members.cluster(cluster)?;
    let object = member.get(api_version(kind), kind, &members.name, name)?;
    let object = object.with_context(|| format!("{kind} {name} in {cluster}"))?;
    let labels = &object["metadata"]["labels"];
    Ok(json!({"labels": labels, "spec": object["spec"], "data": object["data"]}))
}

/// Takes a field out and fails unless it is this.
fn take(object: &mut Value, pointer: &str, expected: &Value) -> Result<()> {
    let field = object.pointer_mut(pointer).map(Value::take);
    ensure!(
        field.as_ref() == Some(expected),
        "{pointer} is {field:?}, not {expected}: {object}"
    );
    Ok(())
}

const HOST: &str = "/spec/rules/0/host";

/// Gives the written objects without what may differ.
fn written_objects(
    members: &Members,
    cluster: &str,
    environment: &Environment,
) -> Result<Vec<Value>> {
    let mut deployment = plain(members, cluster, "Deployment", "svc")?;
    take(&mut deployment, "/spec/replicas", &environment.pods.into())?;
    let mut ingress = plain(members, cluster, "Ingress", "svc")?;
    take(&mut ingress, HOST, &environment.host.into())?;
    let mut map = plain(members, cluster, "ConfigMap", "svc")?;
    take(
        &mut map,
        "/data/application.yaml",
        &environment.level.into(),
    )?;
    let service = service(members, cluster, "svc", environment, OWN_ADDRESS)?;
    Ok(vec![deployment, ingress, map, service])
}

/// Gives a Service without its address, and fails unless it is `fixed` in production, and there alone.
fn service(
    members: &Members,
    cluster: &str,
    name: &str,
    environment: &Environment,
    fixed: &str,
) -> Result<Value> {
    let mut service = plain(members, cluster, "Service", name)?;
    let address = service["spec"]["clusterIP"].take();
    service["spec"]["clusterIPs"].take();
    ensure!(
        (address == fixed) == (environment.name == "prod"),
        "{name} in {}: {address}",
        environment.name
    );
    Ok(service)
}

/// Gives what the chart made without what may differ.
fn of_chart(
    members: &Members,
    cluster: &str,
    chart: &str,
    environment: &Environment,
) -> Result<Vec<Value>> {
    let name = format!("{chart}-web");
    let mut deployment = plain(members, cluster, "Deployment", &name)?;
    take(&mut deployment, "/spec/replicas", &environment.pods.into())?;
    let mut ingress = plain(members, cluster, "Ingress", &name)?;
    take(&mut ingress, HOST, &environment.host.into())?;
    let service = service(members, cluster, &name, environment, ADDRESS_OF_CHART)?;
    let map = plain(members, cluster, "ConfigMap", &name)?;
    Ok(vec![deployment, ingress, service, map])
}
