use std::sync::{Arc, Mutex};

use bellwether_api::{root::Root, sync_record::HeldObject};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::{
    desired::{Change, Commit, CommitBlob, digest_of, pack, packed::unpack},
    sync::cluster::double::{Answer, Asked, client, refusal},
};

const SHOP: &str = "application/default/shop";

/// An API server that keeps what is created and replaced, and takes no larger object than a real one.
#[derive(Clone, Default)]
struct Server {
    kept: Arc<Mutex<BTreeMap<String, Value>>>,
    /// Its definition of SyncRecord is one of before.
    is_old: bool,
}

impl Server {
    fn answer(&self, asked: &Asked) -> Answer {
        let mut kept = self.kept.lock().unwrap();
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if asked.method == Method::DELETE {
            kept.remove(path);
            return (
                StatusCode::OK,
                json!({"kind": "Status", "status": "Success"}),
            );
        }
        if asked.method == Method::GET {
            if !path.ends_with("/secrets") && !path.ends_with("/syncrecords") {
                let found = kept.get(path).cloned();
                let gone = || refusal(StatusCode::NOT_FOUND, "there is none");
                return found.map_or_else(gone, |one| (StatusCode::OK, one));
            }
            let ours = |(at, _): &(&String, &Value)| at.starts_with(path);
            let items: Vec<&Value> = kept.iter().filter(ours).map(|(_, one)| one).collect();
            let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
            return (StatusCode::OK, list);
        }
        let mut object = asked.body.clone();
        if asked.body.to_string().len() > 1_572_864 {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "request is too large");
        }
        if self.is_old
            && let Some(units) = object["spec"]["units"].as_array_mut()
        {
            for unit in units {
                unit.as_object_mut().unwrap().remove("packedObjects");
            }
        }
        if !query.contains("dryRun") {
            object["metadata"]["resourceVersion"] = json!("1");
            let name = object["metadata"]["name"].as_str().unwrap();
            let collection = path.trim_end_matches(name).trim_end_matches('/');
            kept.insert(format!("{collection}/{name}"), object.clone());
        }
        (StatusCode::OK, object)
    }

    async fn agent(&self) -> Desired {
        let server = self.clone();
        let client = client(move |asked| server.answer(asked)).0;
        Desired::load(client, "bellwether-system").await.unwrap()
    }
}

fn objects(count: usize) -> BTreeMap<ObjectRef, String> {
    (0..count)
        .map(|at| {
            let object = ObjectRef {
                api_version: "v1".to_owned(),
                kind: "ConfigMap".to_owned(),
                namespace: Some("shop".to_owned()),
                name: format!("item-{at}"),
            };
            (object, "web".to_owned())
        })
        .collect()
}

fn bundle(key: &str) -> Vec<u8> {
    let name = key.rsplit('/').next().unwrap();
    let bundle = json!({
        "application": {"namespace": "default", "name": name}, "release": "r", "revision": 1,
        "run": uuid::Uuid::nil(), "attempt": 1, "mode": "Plain", "targetNamespace": "shop",
        "createNamespace": false, "components": [], "rollouts": [], "sync": {}, "metrics": null,
    });
    bundle.to_string().into_bytes()
}

/// Grants a content to each unit, as a hub of `epoch` 1 does.
fn commit(contents: &[(&str, &[u8])]) -> Commit {
    let digests: Vec<_> = contents
        .iter()
        .map(|(key, content)| (*key, digest_of(content)))
        .collect();
    Commit {
        incarnation: 1,
        epoch: 1,
        to: 1,
        changes: digests
            .iter()
            .map(|(key, digest)| Change {
                key: (*key).to_owned(),
                generation: 1,
                digest: Some(*digest),
                deletion: None,
            })
            .collect(),
        blobs: contents
            .iter()
            .map(|(_, content)| CommitBlob {
                digest: digest_of(content),
                zstd: pack(content).unwrap(),
            })
            .collect(),
        snapshot: true,
        root: *Root::of(digests.iter().map(|(key, digest)| (*key, digest))).as_bytes(),
    }
}

async fn granted(agent: &Desired, keys: &[&str]) {
    let contents: Vec<Vec<u8>> = keys.iter().map(|key| bundle(key)).collect();
    let granted: Vec<(&str, &[u8])> = keys
        .iter()
        .zip(&contents)
        .map(|(key, content)| (*key, content.as_slice()))
        .collect();
    let committed = agent.commit(commit(&granted)).await.unwrap();
    assert_eq!(committed.nacks, []);
}

/// Takes on objects, as is done before they are applied.
async fn take(agent: &Desired, key: &str, objects: &BTreeMap<ObjectRef, String>) {
    let taken = |unit: &mut SyncUnit| *unit = with_objects(unit, objects.iter());
    agent.update(key, taken).await.unwrap();
}

/// Another key of the record that holds `SHOP`.
fn neighbours() -> impl Iterator<Item = String> {
    let keys = (0..).map(|at| format!("application/default/other-{at}"));
    keys.filter(|key| record_name_of(key) == record_name_of(SHOP))
}

#[tokio::test]
async fn ten_thousand_objects_fit_and_are_known_after_a_restart() {
    let server = Server::default();
    let agent = server.agent().await;
    let neighbour = neighbours().next().unwrap();
    granted(&agent, &[SHOP, &neighbour]).await;
    let many = objects(10_000);
    assert_eq!(agent.no_room_for(SHOP, &many).await.unwrap(), None);
    take(&agent, SHOP, &many).await;
    take(&agent, &neighbour, &objects(3)).await;
    let again = server.agent().await;
    let known = again.unit(SHOP).unwrap();
    assert_eq!(known, agent.unit(SHOP).unwrap());
    let names: BTreeMap<ObjectRef, String> = known
        .objects
        .iter()
        .map(|held| (held.object(), held.component.clone().unwrap()))
        .collect();
    assert_eq!(names, many);
    assert_eq!(again.unit(&neighbour).unwrap().objects.len(), 3);
}

#[tokio::test]
async fn what_does_not_fit_is_said_before_and_units_of_the_same_record_go_on() {
    let server = Server::default();
    let agent = server.agent().await;
    let keys: Vec<String> = neighbours().take(8).collect();
    let mut names: Vec<&str> = keys.iter().map(String::as_str).collect();
    names.push(SHOP);
    granted(&agent, &names).await;
    let many = objects(10_000);
    let mut full = None;
    for key in &keys {
        if let Some(why) = agent.no_room_for(key, &many).await.unwrap() {
            full = Some((key, why));
            break;
        }
        take(&agent, key, &many).await;
    }
    let (key, why) = full.expect("80,000 objects fit no record");
    assert!(
        why.contains("of 10000 objects") && why.contains(&record_name_of(SHOP)),
        "{why}"
    );
    assert!(why.contains("divide the application into two"), "{why}");
    assert_eq!(agent.unit(key).unwrap().objects, Vec::<HeldObject>::new());
    let few = objects(50);
    assert_eq!(agent.no_room_for(SHOP, &few).await.unwrap(), None);
    take(&agent, SHOP, &few).await;
    // What it holds already is no reason against the next release of the same objects.
    let first = &keys[0];
    assert_eq!(agent.no_room_for(first, &many).await.unwrap(), None);
}

#[tokio::test]
async fn an_older_definition_that_would_drop_packed_objects_is_not_given_any() {
    let server = Server {
        is_old: true,
        ..Server::default()
    };
    let agent = server.agent().await;
    granted(&agent, &[SHOP]).await;
    let fitting = objects(2_000);
    assert_eq!(agent.no_room_for(SHOP, &fitting).await.unwrap(), None);
    take(&agent, SHOP, &fitting).await;
    let known = server.agent().await.unit(SHOP).unwrap();
    assert_eq!(known.objects.len(), 2_000);
    let why = agent.no_room_for(SHOP, &objects(10_000)).await.unwrap();
    let why = why.expect("unpacked they do not fit");
    assert!(why.contains("install the definitions"), "{why}");
}

#[tokio::test]
async fn one_unit_that_is_too_large_leaves_the_rest_of_its_commit() {
    let server = Server::default();
    let agent = server.agent().await;
    let neighbour = neighbours().next().unwrap();
    let good = bundle(&neighbour);
    // It packs to nothing, and is more than what is read of one unit.
    let large = vec![b' '; (16 << 20) + 1];
    let sent = commit(&[(SHOP, &large), (&neighbour, &good)]);
    let committed = agent.commit(sent).await.unwrap();
    assert_eq!(committed.held.generation, 1);
    let [nack] = committed.nacks.as_slice() else {
        panic!("{:?}", committed.nacks)
    };
    assert_eq!(nack.key, SHOP);
    assert!(
        nack.error
            .contains("16777217 bytes are more than the 16777216"),
        "{}",
        nack.error
    );
    let read = |key: &str| agent.unit(key).unwrap().digest.unwrap();
    agent.bundle(&read(&neighbour)).await.unwrap();
    assert!(agent.bundle(&read(SHOP)).await.is_err(), "it is not kept");
}

#[tokio::test]
async fn contents_that_do_not_unpack_or_are_others_refuse_their_unit_alone() {
    let server = Server::default();
    let agent = server.agent().await;
    let keys: Vec<String> = neighbours().take(3).collect();
    let contents: Vec<Vec<u8>> = keys.iter().map(|key| bundle(key)).collect();
    let granted: Vec<(&str, &[u8])> = keys
        .iter()
        .zip(&contents)
        .map(|(key, content)| (key.as_str(), content.as_slice()))
        .collect();
    let mut sent = commit(&granted);
    sent.blobs[0].zstd = b"no zstd".to_vec();
    sent.blobs[1].zstd = pack(b"{}").unwrap();
    let committed = agent.commit(sent).await.unwrap();
    let mut nacks = committed.nacks.iter().map(|nack| nack.error.as_str());
    assert!(nacks.next().unwrap().contains("failed to unpack blob"));
    assert!(nacks.next().unwrap().contains("failed to match a blob"));
    assert_eq!(nacks.next(), None);
    let last = agent.unit(&keys[2]).unwrap();
    agent.bundle(&last.digest.unwrap()).await.unwrap();
}

#[test]
fn packed_objects_that_cannot_be_read_are_an_error() {
    let mut unit: SyncUnit = serde_json::from_value(json!({
        "key": SHOP, "generation": 1, "digest": null, "packedObjects": "bm8genN0ZA==",
    }))
    .unwrap();
    assert!(unpack(&mut unit).is_err());
}
