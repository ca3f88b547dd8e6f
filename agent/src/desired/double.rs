//! An API server that keeps what an agent holds, and fails where a test says.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Desired;
use crate::sync::cluster::double::{Answer, Asked, client, refusal};

pub(crate) const SYSTEM: &str = "bellwether-system";

/// When an agent dies, or its API server's answer is lost, at its next write of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    BeforeTheWrite,
    AfterTheWrite,
}

/// What can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reads {
    #[default]
    Everything,
    /// No single object, as contents are.
    Lists,
    Nothing,
}

#[derive(Default)]
struct Kept {
    /// By path.
    objects: BTreeMap<String, Value>,
    version: u64,
    death: Option<Death>,
    /// The only record whose writes fail; empty = those of each do.
    of: String,
    reads: Reads,
    /// Deletions are made, and their answers lost.
    loses_deletions: bool,
}

/// Replaces by compare-and-set; clones share what is kept.
#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<Kept>>);

impl Server {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("no test panics here")
    }

    pub(crate) fn client(&self) -> kube::Client {
        let server = self.clone();
        client(move |asked| server.kept().answer(asked)).0
    }

    pub(crate) async fn agent(&self) -> Desired {
        let loaded = Desired::load(self.client(), SYSTEM).await;
        loaded.expect("what is held can be read")
    }

    pub(crate) fn dies(&self, death: Option<Death>) {
        self.dies_at("", death);
    }

    /// Lets the writes of one record fail.
    pub(crate) fn dies_at(&self, record: &str, death: Option<Death>) {
        let mut kept = self.kept();
        kept.death = death;
        record.clone_into(&mut kept.of);
    }

    pub(crate) fn loses_deletions(&self, loses: bool) {
        self.kept().loses_deletions = loses;
    }

    pub(crate) fn reads(&self, reads: Reads) {
        self.kept().reads = reads;
    }

    pub(crate) fn epoch(&self) -> u64 {
        let kept = self.kept();
        let mut records = kept.objects.iter();
        records
            .find(|(path, _)| path.ends_with("/syncrecords/bellwether-sync-00"))
            .map_or(0, |(_, record)| {
                record["spec"]["epoch"].as_u64().unwrap_or(0)
            })
    }
}

impl Kept {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if query.contains("watch=") {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "no watches");
        }
        if asked.method == Method::GET {
            return self.read(path);
        }
        if asked.method == Method::DELETE {
            self.objects.remove(path);
            if self.loses_deletions {
                return refusal(StatusCode::INTERNAL_SERVER_ERROR, "its answer is lost");
            }
            return (
                StatusCode::OK,
                json!({"kind": "Status", "status": "Success"}),
            );
        }
        let name = asked.body["metadata"]["name"].as_str().unwrap_or_default();
        let fails = path.contains("/syncrecords") && (self.of.is_empty() || self.of == name);
        match self.death.filter(|_| fails) {
            Some(Death::BeforeTheWrite) => {
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "it is not made")
            }
            Some(Death::AfterTheWrite) => {
                let _ = self.write(path, name, &asked.body);
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "its answer is lost")
            }
            None => self.write(path, name, &asked.body),
        }
    }

    fn read(&self, path: &str) -> Answer {
        let is_list = path.ends_with("/secrets") || path.ends_with("/syncrecords");
        if self.reads == Reads::Nothing || (self.reads == Reads::Lists && !is_list) {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "it is away");
        }
        if !is_list {
            let found = self.objects.get(path).cloned();
            let gone = || refusal(StatusCode::NOT_FOUND, "there is none");
            return found.map_or_else(gone, |object| (StatusCode::OK, object));
        }
        let under = self.objects.iter().filter(|(at, _)| at.starts_with(path));
        let items: Vec<&Value> = under.map(|(_, object)| object).collect();
        let list = json!({"apiVersion": "v1", "kind": "List",
            "metadata": {"resourceVersion": "1"}, "items": items});
        (StatusCode::OK, list)
    }

    fn write(&mut self, path: &str, name: &str, written: &Value) -> Answer {
        let collection = path.trim_end_matches(name).trim_end_matches('/');
        let at = format!("{collection}/{name}");
        let before = self.objects.get(&at);
        let stands = before.map_or(&Value::Null, |one| &one["metadata"]["resourceVersion"]);
        if written["metadata"]["resourceVersion"] != *stands {
            return refusal(StatusCode::CONFLICT, "it was written in between");
        }
        self.version += 1;
        let mut object = written.clone();
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(at, object.clone());
        (StatusCode::OK, object)
    }
}
