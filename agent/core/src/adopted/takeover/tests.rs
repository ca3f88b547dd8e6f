//! What is taken over alike, whatever the kind: each case is read of a Deployment, which a pause holds, and
//! of a StatefulSet, which its partition holds.

use bellwether_api::workload_adapter::WorkloadAdapter;
use serde_json::{Value, json};

use super::*;
use crate::{
    adopted::{
        HELD_ANNOTATION, PARTITION_ANNOTATION, WRITTEN_ANNOTATION,
        in_place::{InPlaceSight, Pod, Recorded, look_in_place},
    },
    merge_patch::merged,
};

/// What is on a workload beside its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Nothing,
    /// Its owner keeps pods back by the same field.
    Owners,
    Held,
    /// The mark alone: somebody took what holds it.
    Resumed,
    /// It has the template of before, and its owner's is noted.
    Owed,
}

struct Scene {
    /// `2` stands for the template `v2`, and so on.
    template: char,
    mark: Mark,
    /// Whether its controller has seen its last change.
    seen: bool,
    /// A digit for each pod, of the version that it has; a `-` after one that is not ready.
    pods: &'static str,
}

fn template(version: char) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"image": version}]}})
}

impl Scene {
    fn pods(&self) -> Vec<(char, bool)> {
        let mut pods: Vec<(char, bool)> = Vec::new();
        for letter in self.pods.chars() {
            match (letter, pods.last_mut()) {
                ('-', Some(last)) => last.1 = false,
                _ => pods.push((letter, true)),
            }
        }
        pods
    }

    fn object(&self, mark: &Value) -> Value {
        let generation = if self.seen { 2 } else { 3 };
        let object = json!({
            "metadata": {"name": "db", "uid": "u", "generation": generation},
            "spec": {"replicas": 3, "template": template(self.template)},
            "status": {"observedGeneration": 2, "currentRevision": "db-1",
                "updateRevision": format!("db-{}", self.template)},
        });
        merged(&object, mark)
    }

    fn of_deployment(&self, known: bool) -> Look {
        let held = json!({HELD_ANNOTATION: "shop"});
        let mark = match self.mark {
            Mark::Nothing => json!({}),
            Mark::Owners => json!({"spec": {"paused": true}}),
            Mark::Held => json!({"metadata": {"annotations": held}, "spec": {"paused": true}}),
            Mark::Resumed => json!({"metadata": {"annotations": held}}),
            Mark::Owed => json!({"metadata": {"annotations": {WRITTEN_ANNOTATION: "{}"}}}),
        };
        let sets: Vec<Value> = ['1', '2', '3']
            .into_iter()
            .map(|version| {
                let pods = self.pods();
                let own = pods.iter().filter(|pod| pod.0 == version);
                let ready = own.clone().filter(|pod| pod.1).count();
                json!({
                    "metadata": {"name": format!("db-{version}"),
                        "annotations": {"deployment.kubernetes.io/revision": version},
                        "ownerReferences": [{"controller": true, "uid": "u"}]},
                    "spec": {"replicas": own.clone().count(), "template": template(version)},
                    "status": {"replicas": own.count(), "readyReplicas": ready},
                })
            })
            .collect();
        look(&Sight::of(&self.object(&mark), &sets), known)
    }

    fn of_stateful_set(&self, known: bool) -> Look {
        let partition = |value: i32| json!({"updateStrategy": {"rollingUpdate": {"partition": value}, "type": "RollingUpdate"}});
        let held = |value: i32| {
            let note = json!({"users": 0, "ours": i32::MAX}).to_string();
            json!({
                "metadata": {"annotations": {HELD_ANNOTATION: "shop", PARTITION_ANNOTATION: note}},
                "spec": partition(value),
            })
        };
        let mark = match self.mark {
            Mark::Nothing => json!({"spec": partition(0)}),
            Mark::Owners => json!({"spec": partition(2)}),
            Mark::Held => held(i32::MAX),
            Mark::Resumed => held(0),
            Mark::Owed => merged(
                &held(0),
                &json!({"metadata": {"annotations": {WRITTEN_ANNOTATION: "{}"}}}),
            ),
        };
        let pods = self.pods().into_iter().enumerate();
        let pods = pods.map(|(number, (version, ready))| Pod {
            name: format!("db-{number}"),
            label: format!("db-{version}"),
            ready,
            ..Pod::default()
        });
        let recorded = ['1', '2', '3'].into_iter().zip(1..);
        let recorded: Vec<Recorded> = recorded
            .map(|(version, number)| Recorded {
                name: format!("db-{version}"),
                number,
                template: template(version),
            })
            .collect();
        let adapter = WorkloadAdapter::known("apps/v1", "StatefulSet").expect("known");
        let sight = InPlaceSight::of(&self.object(&mark), &adapter, pods.collect(), &recorded);
        look_in_place(&sight, known)
    }
}

/// A scene (what it is, live template, mark, whether the controller has seen it, pods), and what it calls for.
type Case = (&'static str, char, Mark, bool, &'static str, Look);

fn cases() -> Vec<Case> {
    use Mark::{Held, Nothing, Owed, Owners, Resumed};
    let undo = || Look::Undo {
        replica_set: "db-2".into(),
    };
    vec![
        ("no pods yet", '1', Nothing, true, "", Look::Rest),
        ("at rest", '1', Nothing, true, "111", Look::Rest),
        (
            "scaled, which is not seen",
            '1',
            Nothing,
            false,
            "111",
            Look::Rest,
        ),
        ("changed", '2', Nothing, true, "111", Look::Catch),
        (
            "changed, which is not seen",
            '2',
            Nothing,
            false,
            "111",
            Look::Catch,
        ),
        (
            "changed, and a pod ends",
            '2',
            Nothing,
            true,
            "11",
            Look::Catch,
        ),
        (
            "changed, and a pod is made",
            '2',
            Nothing,
            true,
            "112-",
            Look::Catch,
        ),
        (
            "a pod of it serves",
            '2',
            Nothing,
            true,
            "112",
            Look::Bypassed,
        ),
        (
            "another update is under way",
            '3',
            Nothing,
            true,
            "112",
            Look::Bypassed,
        ),
        (
            "kept back by its owner",
            '2',
            Owners,
            true,
            "111",
            Look::PausedByOthers,
        ),
        ("held with a pod of it", '2', Held, true, "1112-", undo()),
        (
            "the hold is not seen",
            '2',
            Held,
            false,
            "111",
            Look::Settling,
        ),
        ("held", '2', Held, true, "111", Look::Stands),
        (
            "somebody took the hold away",
            '2',
            Resumed,
            true,
            "111",
            Look::Catch,
        ),
        (
            "taken back by its owner",
            '1',
            Held,
            true,
            "111",
            Look::Release,
        ),
        (
            "its owner's template is owed",
            '1',
            Owed,
            true,
            "111",
            Look::Completes,
        ),
    ]
}

#[test]
fn an_update_is_taken_over_before_a_pod_of_it_serves() {
    for (what, template, mark, seen, pods, expected) in cases() {
        let scene = Scene {
            template,
            mark,
            seen,
            pods,
        };
        assert_eq!(scene.of_deployment(true), expected, "a Deployment: {what}");
        assert_eq!(
            scene.of_stateful_set(true),
            expected,
            "a StatefulSet: {what}"
        );
    }
    // What is seen for the first time is where everything begins.
    let changed = Scene {
        template: '2',
        mark: Mark::Nothing,
        seen: true,
        pods: "111",
    };
    assert_eq!(changed.of_deployment(false), Look::NotSettled);
    assert_eq!(changed.of_stateful_set(false), Look::NotSettled);
}
