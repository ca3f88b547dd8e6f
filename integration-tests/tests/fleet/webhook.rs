//! The admission webhook: workloads of others are held in the write that changes them. The tests that
//! take the agent away, or what makes the API server ask it, run alone.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{cluster::Member, manifests::Shop, wait::until};
use jiff::Timestamp;
use rcgen::{CertificateParams, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::{
    Case,
    foreign::{Foreign, by_hand, image, image_of},
    scene::Scene,
};

/// It is judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "foreign_update_is_held_in_the_write_that_makes_it",
    "foreignhook",
    held_as_written,
)];

pub const ALONE: &[Case] = &[
    (
        "foreign_update_is_let_through_while_the_agent_is_away",
        "hookignore",
        let_through,
    ),
    (
        "with_webhook_policy_fail_updates_of_governed_templates_alone_are_refused",
        "hookfail",
        refused,
    ),
    (
        "webhook_certificate_is_made_anew_before_it_ends_and_after",
        "hookcert",
        certificate,
    ),
    (
        "cluster_that_is_let_go_has_no_webhook_left",
        "hookgone",
        let_go,
    ),
];

const SYSTEM: &str = "bellwether-system";
const AGENT: &str = "app.kubernetes.io/name=bellwether-agent";
const LIMIT: Duration = Duration::from_secs(60);

/// A merge patch that gives the workload another version, as `kubectl set image` does.
fn version(foreign: &Foreign<'_>, version: &str) -> Result<Value> {
    let mut containers = foreign.deployment()?["spec"]["template"]["spec"]["containers"].take();
    containers[0]["image"] = json!(image_of(version));
    Ok(json!({"spec": {"template": {"spec": {"containers": containers}}}}))
}

/// What the API server would make of another version of the workload.
fn asked(foreign: &Foreign<'_>) -> Result<Value> {
    let patch = version(foreign, "never")?;
    let namespace = &foreign.scene.name;
    foreign
        .member
        .patch_dry("apps/v1", "Deployment", namespace, "web", &patch)
}

/// Waits until the API server asks the agent about the workload.
fn is_asked(foreign: &Foreign<'_>) -> Result<()> {
    until(LIMIT, "the API server to ask", || {
        // With policy Fail a dry run is refused until the agent answers.
        let paused = asked(foreign).is_ok_and(|made| made["spec"]["paused"] == json!(true));
        Ok(paused.then_some(()))
    })
}

fn webhooks(member: &Member) -> Result<Option<Value>> {
    let all = member.list_cluster(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
    )?;
    Ok(all
        .into_iter()
        .find(|one| one["metadata"]["name"] == "bellwether-agent"))
}

fn scale_agent(member: &Member, replicas: u32) -> Result<()> {
    member.scale(SYSTEM, "bellwether-agent", replicas)?;
    until(LIMIT, &format!("{replicas} agents"), || {
        let pods = member.pods(SYSTEM, AGENT)?;
        Ok((pods.len() == usize::try_from(replicas)?).then_some(()))
    })
}

/// The ReplicaSets of the workload itself that were made for a version.
fn replica_sets(foreign: &Foreign<'_>, version: &str) -> Result<usize> {
    let sets = foreign
        .member
        .list("apps/v1", "ReplicaSet", &foreign.scene.name)?;
    let is_its = |set: &&Value| {
        set["metadata"]["ownerReferences"][0]["name"] == "web" && image(set) == image_of(version)
    };
    Ok(sets.iter().filter(is_its).count())
}

fn held_as_written(scene: &Scene) -> Result<()> {
    let shop = Shop {
        // Pods that go are sent nothing any more.
        pre_stop_seconds: 3,
        ..by_hand(scene)
    };
    let foreign = Foreign::adopt(scene, shop, 0)?;
    is_asked(&foreign)?;
    let before = foreign.deployment()?;
    ensure!(
        image(&before) == image_of("v1") && before["spec"]["paused"].is_null(),
        "a dry run changed it: {before}"
    );
    let pods = foreign.own_pods("v1")?;
    let traffic = scene.traffic(&["c1"])?;
    foreign.apply("v2")?;
    // In the same write: nobody had the time to pause it afterwards.
    foreign.assert_held("v2")?;
    foreign.waits_for_a_human()?;
    is_untouched(&foreign, &pods)?;
    // Another change, by somebody at a keyboard.
    let first = scene.run(&foreign.rollout())?.run;
    let second = Shop {
        environment: vec![("CHANGE".into(), "two".into())],
        ..foreign.shop.version("v2")
    };
    let manifests = second.manifests().into_iter();
    let mut workloads = manifests.filter(|object| object["kind"] == "Deployment");
    let containers =
        workloads.next().context("the Deployment")?["spec"]["template"]["spec"]["containers"]
            .take();
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let (member, namespace) = (&foreign.member, &scene.name);
    member.patch("apps/v1", "Deployment", namespace, "web", &patch)?;
    foreign.wait_for("the newest change to wait for a human", |view| {
        view.state == RunPhase::WaitingApproval && view.run != first
    })?;
    is_untouched(&foreign, &pods)?;
    let events = foreign.events()?;
    ensure!(
        events.contains("in the write that changed it")
            && !events.contains("PodsTakenBack")
            && !events.contains("Bypassed"),
        "{events}"
    );
    foreign.say(&["approve"])?;
    foreign.in_state(RunPhase::Succeeded)?;
    foreign.stands("v2", 3)?;
    traffic.none_lost("v2")?;
    scene.assert_restored(member, &second)?;
    foreign.part()?;
    until(LIMIT, "nothing of it to be asked about", || {
        let left = webhooks(member)?.context("the configuration")?;
        Ok((!left.to_string().contains(&format!("{namespace}/web"))).then_some(()))
    })
}

/// Fails where anything but the write itself has paused the workload, or a pod of it has changed.
fn is_untouched(foreign: &Foreign<'_>, pods: &BTreeSet<String>) -> Result<()> {
    let managers = foreign.deployment()?["metadata"]["managedFields"].to_string();
    ensure!(!managers.contains("bellwether"), "paused late: {managers}");
    ensure!(replica_sets(foreign, "v2")? == 0, "a ReplicaSet was made");
    ensure!(foreign.own_pods("v1")? == *pods, "its pods changed");
    foreign.assert_held("v2")
}

fn let_through(scene: &Scene) -> Result<()> {
    let foreign = Foreign::adopt(scene, by_hand(scene), 0)?;
    is_asked(&foreign)?;
    scale_agent(&foreign.member, 0)?;
    // Kubernetes rolls it as ever.
    foreign.apply("v2")?;
    foreign.stands("v2", 3)?;
    scale_agent(&foreign.member, 1)?;
    is_asked(&foreign)?;
    foreign.apply("v3")?;
    foreign.waits_for_a_human()?;
    ensure!(foreign.own_pods("v2")?.len() == 3, "its pods changed");
    foreign.say(&["approve"])?;
    foreign.in_state(RunPhase::Succeeded)?;
    foreign.assert_restored("v3")?;
    foreign.part()
}

/// Gives the agent of a cluster another policy, as registering again does.
fn set_policy(member: &Member, policy: &str) -> Result<()> {
    let agent = member
        .get("apps/v1", "Deployment", SYSTEM, "bellwether-agent")?
        .context("the agent")?;
    let mut containers = agent["spec"]["template"]["spec"]["containers"].clone();
    let env = containers[0]["env"].as_array_mut().context("its env")?;
    for variable in env {
        if variable["name"] == "BELLWETHER_WEBHOOK_FAILURE_POLICY" {
            variable["value"] = json!(policy);
        }
    }
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    member.patch("apps/v1", "Deployment", SYSTEM, "bellwether-agent", &patch)?;
    until(LIMIT, &format!("policy {policy}"), || {
        let found = webhooks(member)?.context("the configuration")?;
        Ok((found["webhooks"][0]["failurePolicy"] == policy).then_some(()))
    })
}

fn refused(scene: &Scene) -> Result<()> {
    let foreign = Foreign::adopt(scene, by_hand(scene), 0)?;
    let (member, namespace) = (&foreign.member, scene.name.as_str());
    is_asked(&foreign)?;
    set_policy(member, "Fail")?;
    is_asked(&foreign)?;
    scale_agent(member, 0)?;
    let pods = foreign.own_pods("v1")?;
    let error = foreign.apply("v2").err().context("it was let through")?;
    ensure!(
        format!("{error:?}").contains("workloads.bellwether.dev"),
        "{error:?}"
    );
    ensure!(
        image(&foreign.deployment()?) == image_of("v1") && foreign.own_pods("v1")? == pods,
        "it changed"
    );
    // Whatever makes no pods of a governed template is nobody's business.
    let label = json!({"metadata": {"labels": {"team": "shop"}}});
    member.patch("apps/v1", "Deployment", namespace, "web", &label)?;
    member.scale(namespace, "web", 4)?;
    foreign.stands("v1", 4)?;
    let mut other = foreign.deployment()?;
    other["metadata"] = json!({"name": "other", "namespace": namespace});
    other["spec"]["replicas"] = json!(0);
    other["status"] = Value::Null;
    member.create(&other)?;
    let patch = version(&foreign, "v2")?;
    member.patch("apps/v1", "Deployment", namespace, "other", &patch)?;
    member.delete("apps/v1", "Deployment", namespace, "other")?;
    scale_agent(member, 1)?;
    until(LIMIT, "the agent to answer", || {
        Ok(foreign.apply("v2").is_ok().then_some(()))
    })?;
    foreign.assert_held("v2")?;
    foreign.waits_for_a_human()?;
    foreign.say(&["approve"])?;
    foreign.in_state(RunPhase::Succeeded)?;
    set_policy(member, "Ignore")?;
    foreign.part()
}

fn secret(member: &Member) -> Result<Value> {
    member
        .get("v1", "Secret", SYSTEM, "bellwether-agent-webhook")?
        .context("the certificate")
}

/// Puts a certificate in place of the agent's, valid for days from and until now, and waits until there
/// is another one.
fn replace(member: &Member, from: i64, until_day: i64) -> Result<()> {
    let stored = secret(member)?;
    let text = |key: &str| -> Result<String> {
        let encoded = stored["data"][key].as_str().context("a field")?;
        Ok(String::from_utf8(STANDARD.decode(encoded)?)?)
    };
    let key = KeyPair::from_pem(&text("ca.key")?)?;
    let issuer = Issuer::from_ca_cert_pem(&text("ca.crt")?, key)?;
    let key = KeyPair::generate()?;
    let names = vec![format!("bellwether-agent-webhook.{SYSTEM}.svc")];
    let mut params = CertificateParams::new(names)?;
    let day = |days: i64| {
        let seconds = Timestamp::now().as_second() + days * 86_400;
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    };
    (params.not_before, params.not_after) = (day(from), day(until_day));
    let ours = params.signed_by(&key, &issuer)?.pem();
    let patch = json!({"stringData": {"tls.crt": ours, "tls.key": key.serialize_pem()}});
    let name = "bellwether-agent-webhook";
    member.patch("v1", "Secret", SYSTEM, name, &patch)?;
    until(LIMIT, "a new certificate", || {
        let now = secret(member)?["data"]["tls.crt"].take();
        Ok(
            (now != json!(STANDARD.encode(&ours)) && now != stored["data"]["tls.crt"])
                .then_some(()),
        )
    })
}

fn certificate(scene: &Scene) -> Result<()> {
    let foreign = Foreign::adopt(scene, by_hand(scene), 0)?;
    let member = &foreign.member;
    is_asked(&foreign)?;
    let trusted = || -> Result<Value> {
        let found = webhooks(member)?.context("the configuration")?;
        Ok(found["webhooks"][0]["clientConfig"]["caBundle"].clone())
    };
    let before = trusted()?;
    replace(member, -70, 20)?;
    let early = foreign.events()?;
    ensure!(!early.contains("WebhookCertificateExpired"), "{early}");
    is_asked(&foreign)?;
    replace(member, -100, -10)?;
    until(LIMIT, "its end to be told of", || {
        let events = foreign.events()?;
        Ok(events.contains("WebhookCertificateExpired").then_some(()))
    })?;
    is_asked(&foreign)?;
    ensure!(trusted()? == before, "its authority is the same");
    // With the Secret the authority goes: the API server is told to trust the next.
    member.delete("v1", "Secret", SYSTEM, "bellwether-agent-webhook")?;
    until(LIMIT, "another authority", || {
        Ok((trusted()? != before).then_some(()))
    })?;
    is_asked(&foreign)?;
    foreign.apply("v2")?;
    foreign.assert_held("v2")?;
    foreign.waits_for_a_human()?;
    ensure!(replica_sets(&foreign, "v2")? == 0, "a ReplicaSet was made");
    foreign.say(&["approve"])?;
    foreign.in_state(RunPhase::Succeeded)?;
    foreign.part()
}

fn let_go(scene: &Scene) -> Result<()> {
    let cluster = &scene.lab.real()[0];
    let foreign = Foreign::adopt(scene, by_hand(scene), 0)?;
    is_asked(&foreign)?;
    let kubeconfig = cluster.kubeconfig.to_str().context("paths are UTF-8")?;
    scene.cli.run(&[
        "unregister",
        "cluster",
        &cluster.name,
        "--kubeconfig",
        kubeconfig,
    ])?;
    ensure!(webhooks(&foreign.member)?.is_none(), "it was left");
    foreign.apply("v2")?;
    foreign.stands("v2", 3)?;
    // Whoever removes the agent's namespace by hand removes it, too.
    scene.register_again(0)?;
    foreign.govern()?;
    is_asked(&foreign)?;
    foreign.member.delete_namespace(SYSTEM)?;
    until(LIMIT * 2, "the configuration to be gone", || {
        Ok(webhooks(&foreign.member)?.is_none().then_some(()))
    })?;
    foreign.apply("v1")?;
    foreign.stands("v1", 3)?;
    scene.register_again(0)?;
    foreign.govern()?;
    foreign.part()
}
