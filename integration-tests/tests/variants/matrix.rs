//! How objects are kept: every drift policy with every adoption and every deletion policy, where there was
//! nothing before, the same object, and another one.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::ClusterPhase;
use bellwether_integration_tests::{suite::Case, wait::until};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_every_drift_adoption_and_deletion_policy_does_as_it_says_and_no_more",
    "matrix",
    matrix,
)];

const DRIFT: [&str; 3] = ["Correct", "Report", "Off"];
const ADOPT: [&str; 3] = ["Never", "IfIdentical", "Always"];
const DELETION: [&str; 3] = ["Delete", "Orphan", "SelectivelyOrphan"];
const CLAIM: &str = "PersistentVolumeClaim";

/// What a cluster had before the application came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Same,
    Other,
}

/// A cluster for each.
const BEFORE: [Before; 3] = [Before::Nothing, Before::Same, Before::Other];

/// One application of one ConfigMap, and of a claim where what holds data stays.
#[derive(Clone, Debug)]
struct Row {
    application: String,
    object: String,
    drift: &'static str,
    adopt: &'static str,
    deletion: &'static str,
}

impl Row {
    fn claims(&self) -> bool {
        self.deletion == "SelectivelyOrphan"
    }

    /// Whether a cluster takes the release, and if not, why.
    fn refusal(&self, before: Before) -> Option<&'static str> {
        match (self.adopt, before) {
            ("Never", Before::Same | Before::Other) => {
                Some("exists already and sync.adopt is Never")
            }
            ("IfIdentical", Before::Other) => Some("exists already and it differs"),
            _ => None,
        }
    }

    fn document(&self, members: &Members, clusters: &[&str]) -> String {
        let mut manifests = vec![json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.object},
            "data": released(),
        })];
        if self.claims() {
            manifests.push(json!({
                "apiVersion": "v1", "kind": CLAIM, "metadata": {"name": self.object},
                "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "",
                    "volumeName": self.volume(members), "resources": {"requests": {"storage": "1Mi"}}},
            }));
        }
        json!({
            "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
            "metadata": {"name": self.application, "namespace": "default"},
            "spec": {
                "destination": {"clusters": clusters}, "targetNamespace": members.name,
                // What one cluster refuses holds up no other.
                "waves": [{"name": "all", "maxConcurrent": "100%"}], "onFailure": "Continue",
                "sync": {"drift": self.drift, "adopt": self.adopt, "deletion": self.deletion},
                "components": [{"name": "one", "manifests": manifests}],
            },
        })
        .to_string()
    }

    fn volume(&self, members: &Members) -> String {
        format!("{}-{}", members.name, self.object)
    }
}

fn released() -> Value {
    json!({"a": "released"})
}

fn rows(members: &Members) -> Vec<Row> {
    let mut rows = Vec::new();
    for drift in DRIFT {
        for adopt in ADOPT {
            for deletion in DELETION {
                let number = rows.len();
                rows.push(Row {
                    application: format!("{}-{number}", members.name),
                    object: format!("row-{number}"),
                    drift,
                    adopt,
                    deletion,
                });
            }
        }
    }
    rows
}

/// The clusters of the test, each with what it had before.
fn places(members: &Members) -> Vec<(&str, Before)> {
    let clusters = members.names()[4..7].to_vec();
    clusters.into_iter().zip(BEFORE).collect()
}

fn matrix(members: &Members) -> Result<()> {
    let rows = rows(members);
    let places = places(members);
    let clusters: Vec<&str> = places.iter().map(|(cluster, _)| *cluster).collect();
    let mut found = Vec::new();
    for row in &rows {
        found.push(prepare(members, row, &places)?);
    }
    let documents: Vec<String> = rows
        .iter()
        .map(|row| row.document(members, &clusters))
        .collect();
    members.cli.apply(&documents.join("\n---\n"))?;
    for (row, before) in rows.iter().zip(&found) {
        taken_or_refused(members, row, before).with_context(|| format!("{row:?}"))?;
    }
    drifts(members, &rows)?;
    for row in &rows {
        let delete = ["delete", "application", &row.application, "-y"];
        members
            .cli
            .run(&delete)
            .with_context(|| format!("{row:?}"))?;
    }
    for (row, before) in rows.iter().zip(&found) {
        left(members, row, before).with_context(|| format!("{row:?}"))?;
    }
    Ok(())
}

/// What a cluster had of a row; `Null` = nothing.
type Places<'a> = Vec<(&'a str, Before, Value)>;

/// Makes what is there before, and the volume of a claim.
fn prepare<'a>(members: &Members, row: &Row, places: &[(&'a str, Before)]) -> Result<Places<'a>> {
    let mut found = Vec::new();
    for (cluster, before) in places {
        let member = members.cluster(cluster)?;
        let data = match before {
            Before::Nothing => None,
            Before::Same => Some(released()),
            Before::Other => Some(json!({"a": "mine", "b": "mine"})),
        };
        if let Some(data) = data {
            member.create(&json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": row.object, "namespace": members.name}, "data": data,
            }))?;
        }
        if row.claims() {
            member.create_cluster_scoped(&json!({
                "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": row.volume(members)},
                "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Mi"},
                    "storageClassName": "", "hostPath": {"path": "/var/empty"},
                    "claimRef": {"namespace": members.name, "name": row.object}},
            }))?;
        }
        let object = members.read(cluster, "ConfigMap", &row.object)?;
        found.push((*cluster, *before, object.unwrap_or_default()));
    }
    Ok(found)
}

fn live(members: &Members, cluster: &str, row: &Row) -> Result<Value> {
    let found = members.read(cluster, "ConfigMap", &row.object)?;
    found.with_context(|| format!("{} in {cluster}", row.object))
}

fn version(object: &Value) -> &Value {
    &object["metadata"]["resourceVersion"]
}

/// Who takes the release has it, with the object that was there; who refuses it says why, and nothing was
/// written there.
fn taken_or_refused(members: &Members, row: &Row, places: &Places<'_>) -> Result<()> {
    let ends = |before: Before| match row.refusal(before) {
        None => ClusterPhase::Succeeded,
        Some(_) => ClusterPhase::Failed,
    };
    let run = members.wait_run(&row.application, 1, LIMIT, "every cluster to say", |run| {
        places.iter().all(|(cluster, before, _)| {
            let mut clusters = run.waves.iter().flat_map(|wave| &wave.clusters);
            clusters.any(|one| one.name == *cluster && one.state == ends(*before))
        })
    })?;
    let said = serde_json::to_string(&run)?;
    for (cluster, before, had) in places {
        if let Some(words) = row.refusal(*before) {
            let named = format!("{} {words}", row.object);
            ensure!(said.contains(&named), "{named}: {said}");
            let now = live(members, cluster, row)?;
            ensure!(version(&now) == version(had), "{cluster}: {had} {now}");
            members.assert_absent(&[*cluster], CLAIM, &row.object)?;
            continue;
        }
        let now = live(members, cluster, row)?;
        let kept = had.is_null() || now["metadata"]["uid"] == had["metadata"]["uid"];
        let mut data = had["data"].as_object().cloned().unwrap_or_default();
        data.insert("a".to_owned(), "released".into());
        ensure!(
            kept && now["data"] == Value::from(data),
            "{cluster}: {had} {now}"
        );
        ensure!(is_held(&now), "{cluster}: {now}");
    }
    Ok(())
}

fn is_held(object: &Value) -> bool {
    let managers = object["metadata"]["managedFields"].to_string();
    managers.contains("bellwether-sync")
}

/// The clusters that took a row.
fn takers<'a>(members: &'a Members, row: &Row) -> Vec<&'a str> {
    let places = places(members).into_iter();
    places
        .filter(|(_, before)| row.refusal(*before).is_none())
        .map(|(cluster, _)| cluster)
        .collect()
}

/// Somebody changes every object: it is put back, or told of, or neither.
fn drifts(members: &Members, rows: &[Row]) -> Result<()> {
    let by_hand = json!({"data": {"a": "by hand"}});
    // Those last that are to be put back: what is left alone has had its time by then.
    let mut order: Vec<&Row> = rows.iter().collect();
    order.sort_by_key(|row| row.drift == "Correct");
    for row in &order {
        for cluster in takers(members, row) {
            let member = members.cluster(cluster)?;
            member.patch("v1", "ConfigMap", &members.name, &row.object, &by_hand)?;
        }
    }
    for row in rows.iter().filter(|row| row.drift == "Correct") {
        for cluster in takers(members, row) {
            until(LIMIT, &format!("{row:?} to be put back"), || {
                let object = live(members, cluster, row)?;
                Ok((object["data"]["a"] == "released").then_some(()))
            })?;
        }
    }
    let told = |row: &Row| -> Result<usize> {
        let arguments = ["tree", "application", row.application.as_str()];
        let tree = members.cli.run(&arguments)?;
        let words = format!("{} was changed by somebody else", row.object);
        Ok(tree.matches(&words).count())
    };
    for row in rows.iter().filter(|row| row.drift == "Report") {
        let wanted = takers(members, row).len();
        let what = format!("{row:?} to be told of in {wanted} clusters");
        until(LIMIT, &what, || Ok((told(row)? == wanted).then_some(())))?;
    }
    for row in rows.iter().filter(|row| row.drift == "Off") {
        ensure!(told(row)? == 0, "{row:?} is told of");
    }
    for row in rows.iter().filter(|row| row.drift != "Correct") {
        for cluster in takers(members, row) {
            let object = live(members, cluster, row)?;
            ensure!(object["data"]["a"] == "by hand", "{row:?}: {object}");
        }
    }
    Ok(())
}

/// What becomes of the objects once the application is deleted.
fn left(members: &Members, row: &Row, places: &Places<'_>) -> Result<()> {
    for (cluster, before, had) in places {
        if row.refusal(*before).is_some() {
            let now = live(members, cluster, row)?;
            ensure!(version(&now) == version(had), "{cluster}: {had} {now}");
            continue;
        }
        if row.deletion == "Orphan" {
            let what = format!("{cluster} to let go of {}", row.object);
            until(LIMIT, &what, || {
                Ok((!is_held(&live(members, cluster, row)?)).then_some(()))
            })?;
            continue;
        }
        members.wait_gone(cluster, "ConfigMap", &row.object)?;
        if row.claims() {
            // Objects are parted with one after the other.
            let what = format!("{cluster} to let go of the claim {}", row.object);
            until(LIMIT, &what, || {
                let claim = members.read(cluster, CLAIM, &row.object)?;
                let claim = claim.with_context(|| format!("the claim in {cluster}"))?;
                let goes = &claim["metadata"]["deletionTimestamp"];
                ensure!(goes.is_null(), "{cluster}: {claim}");
                Ok((!is_held(&claim)).then_some(()))
            })?;
        }
    }
    Ok(())
}
