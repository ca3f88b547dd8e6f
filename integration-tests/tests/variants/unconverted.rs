//! A kind whose objects the API server cannot convert: its definition names a webhook that is not there.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::{RunPhase, RunView};
use bellwether_integration_tests::{
    cluster::Member, fixture::cluster_view, suite::Case, wait::until,
};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const CASES: &[Case<Members>] = &[
    (
        "control_plane_object_without_its_conversion_webhook_is_named_and_its_run_ends_by_the_deadline",
        "unconverted",
        by_rollout,
    ),
    (
        "control_plane_release_without_a_conversion_webhook_brings_in_the_rest_and_ends_by_its_timeout",
        "unconvertedplain",
        at_once,
    ),
];

const DEFINITION: &str = "apiextensions.k8s.io/v1";
/// What API servers say, with the name of the Service that nobody made.
const SAID: &str = "service \"conversion\" not found";

/// The kind of one test, in the last cluster but one.
struct Coupons<'a> {
    members: &'a Members,
    cluster: &'a str,
    member: &'a Member,
    group: String,
}

impl<'a> Coupons<'a> {
    /// Defines the kind with two versions, which are the same, and lets the agent manage it.
    fn introduce(members: &'a Members) -> Result<Self> {
        let cluster = members.names()[6];
        let member = members.cluster(cluster)?;
        let group = format!("{}.example", members.name);
        let version = |name: &str, storage: bool| {
            json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
        };
        member.create_cluster_scoped(&json!({
            "apiVersion": DEFINITION, "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("coupons.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"kind": "Coupon", "listKind": "CouponList", "plural": "coupons",
                    "singular": "coupon"},
                "versions": [version("v1", true), version("v1beta1", false)],
            },
        }))?;
        members.allow(member, &[(group.clone(), "coupons".to_owned())])?;
        let coupons = Self {
            members,
            cluster,
            member,
            group,
        };
        coupons.converts(true)?;
        Ok(coupons)
    }

    fn api_version(&self) -> String {
        format!("{}/v1beta1", self.group)
    }

    /// Has the API server convert by itself, or ask a webhook that is not there; waits until it does.
    fn converts(&self, by_itself: bool) -> Result<()> {
        let conversion = if by_itself {
            json!({"strategy": "None", "webhook": null})
        } else {
            json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
                "clientConfig": {"service": {"name": "conversion", "namespace": self.members.name}}}})
        };
        let name = format!("coupons.{}", self.group);
        let patch = json!({"spec": {"conversion": conversion}});
        self.member
            .patch_cluster(DEFINITION, "CustomResourceDefinition", &name, &patch)?;
        until(LIMIT, "the definition to be in force", || {
            let tried = self.member.apply_dry(&json!({
                "apiVersion": self.api_version(), "kind": "Coupon",
                "metadata": {"name": "probe", "namespace": self.members.name},
            }));
            Ok((tried.is_ok() == by_itself).then_some(()))
        })
    }

    fn coupon(&self, name: &str, version: &str) -> Value {
        json!({"apiVersion": self.api_version(), "kind": "Coupon", "metadata": {"name": name},
            "spec": {"version": version}})
    }

    fn live(&self, name: &str) -> Result<Option<Value>> {
        self.member
            .get(&self.api_version(), "Coupon", &self.members.name, name)
    }

    /// The version that ConfigMap `settings` is of.
    fn settings(&self) -> Result<Option<Value>> {
        let found = self.members.read(self.cluster, "ConfigMap", "settings")?;
        Ok(found.map(|object| object["data"]["version"].clone()))
    }

    fn application(&self, manifests: &Value, timeout: &str) -> String {
        json!({
            "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
            "metadata": {"name": self.members.name, "namespace": "default"},
            "spec": {
                "destination": {"clusters": [self.cluster]}, "targetNamespace": self.members.name,
                "sync": {"timeout": timeout},
                "components": [{"name": "web", "manifests": manifests}],
            },
        })
        .to_string()
    }

    /// Fails unless the run, its events and `why` name the Coupon and say what is the matter with it.
    fn is_named(&self, run: &RunView, name: &str) -> Result<()> {
        let shown = cluster_view(run, self.cluster)?;
        let said = format!("{} {}", shown.reason, shown.message);
        let subject = format!("rollout/{}", self.members.name);
        let events = self.members.cli.run(&["events", &subject])?;
        for (place, text) in [("the run", &said), ("events", &events)] {
            ensure!(
                text.contains(&format!("Coupon/{}/{name}", self.members.name))
                    && text.contains(SAID),
                "{place}: {text}"
            );
        }
        Ok(())
    }
}

fn settings(version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
        "data": {"version": version}})
}

fn database(version: &str) -> Value {
    let labels = json!({"app": "db"});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {
            "replicas": 2, "serviceName": "db", "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers":
                    [{"name": "db", "image": format!("bellwether.local/demo:{version}")}]},
            },
        },
    })
}

/// One Coupon is there when the webhook goes missing, another one comes with the release.
fn by_rollout(members: &Members) -> Result<()> {
    let name = &members.name;
    let coupons = Coupons::introduce(members)?;
    let release = |version: &str| {
        let mut manifests = vec![
            coupons.coupon("kept", "v1"),
            database(version),
            settings(version),
        ];
        if version == "v2" {
            manifests.insert(0, coupons.coupon("fresh", "v2"));
        }
        format!(
            "{}\n---\napiVersion: bellwether.dev/v1alpha1\nkind: Rollout\n\
             metadata: {{name: {name}-db, namespace: default}}\nspec:\n  application: {name}\n  \
             workload: {{apiVersion: apps/v1, kind: StatefulSet, namespace: {name}, name: db}}\n  \
             strategy: {{batch: {{steps: [{{replicas: 1, advance: Auto}}, \
             {{replicas: 100%, advance: Auto}}]}}}}\n  \
             analysis: {{interval: 1s}}\n  progressDeadline: 20s\n",
            coupons.application(&Value::from(manifests), "10m"),
        )
    };
    members.cli.apply(&release("v1"))?;
    members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;
    let before = coupons.live("kept")?.context("the Coupon")?;

    coupons.converts(false)?;
    members.cli.apply(&release("v2"))?;
    until(LIMIT, "what else the release has", || {
        Ok((coupons.settings()? == Some(json!("v2"))).then_some(()))
    })?;
    let run = members.wait_ended(name, 2, RunPhase::Failed, LIMIT)?;
    coupons.is_named(&run, "fresh")?;
    until(LIMIT, "the release before", || {
        Ok((coupons.settings()? == Some(json!("v1"))).then_some(()))
    })?;
    let live = members.wait_object(coupons.cluster, "StatefulSet", "db")?;
    let written = database("v1");
    members.assert_equals_fresh(coupons.member, &written, &live)?;

    coupons.converts(true)?;
    ensure!(
        coupons.live("fresh")?.is_none(),
        "it was written all the same"
    );
    let after = coupons.live("kept")?.context("the Coupon")?;
    ensure!(after["spec"] == before["spec"], "{after}");
    ensure!(
        after["metadata"]["uid"] == before["metadata"]["uid"],
        "what could not be read was made anew: {after}"
    );
    members.cli.run(&["rollout", "retry", name])?;
    members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    coupons.live("fresh")?.context("the Coupon")?;
    Ok(())
}

fn at_once(members: &Members) -> Result<()> {
    let name = &members.name;
    let coupons = Coupons::introduce(members)?;
    let release = |version: &str| {
        let manifests = json!([coupons.coupon("kept", version), settings(version)]);
        coupons.application(&manifests, "20s")
    };
    members.cli.apply(&release("v1"))?;
    members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;

    coupons.converts(false)?;
    members.cli.apply(&release("v2"))?;
    until(LIMIT, "what else the release has", || {
        Ok((coupons.settings()? == Some(json!("v2"))).then_some(()))
    })?;
    let what = "the release to go back at its deadline";
    let run = members.wait_run(name, 2, LIMIT, what, |run| {
        let shown = cluster_view(run, coupons.cluster);
        shown.is_ok_and(|shown| {
            format!("{} {}", shown.reason, shown.message).contains("not healthy")
        })
    })?;
    coupons.is_named(&run, "kept")?;
    until(LIMIT, "the release before", || {
        Ok((coupons.settings()? == Some(json!("v1"))).then_some(()))
    })?;

    // Once it can be read again, the release before is whole, and that one has failed.
    coupons.converts(true)?;
    members.wait_ended(name, 2, RunPhase::Failed, LIMIT)?;
    let kept = coupons.live("kept")?.context("the Coupon")?;
    ensure!(kept["spec"]["version"] == "v1", "{kept}");
    members.cli.run(&["rollout", "retry", name])?;
    members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    let kept = coupons.live("kept")?.context("the Coupon")?;
    ensure!(kept["spec"]["version"] == "v2", "{kept}");
    Ok(())
}
