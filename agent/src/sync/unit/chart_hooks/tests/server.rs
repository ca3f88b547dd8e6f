//! An API server that keeps objects of any namespace, ends Jobs as it is told, and dies when it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::sync::cluster::double::{Answer, Asked, client, refusal};

/// When the server stops to answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::sync::unit) enum Death {
    /// That many writes were made, and the answer to the last is lost.
    After(usize),
    /// That many writes were answered; the next is not made.
    Before(usize),
}

#[derive(Default)]
pub(in crate::sync::unit) struct Kept {
    /// By path from the namespace on, such as `shop/jobs/migrate`.
    pub(in crate::sync::unit) objects: BTreeMap<String, Value>,
    /// The condition that ends each Job; a Job that is not named goes on.
    pub(in crate::sync::unit) ends: BTreeMap<String, &'static str>,
    /// Jobs that were made: name and mark.
    pub(in crate::sync::unit) made: Vec<(String, String)>,
    /// Resources that nobody may touch.
    pub(in crate::sync::unit) forbidden: BTreeSet<String>,
    /// Resources that others than the agent may write, by the user.
    pub(in crate::sync::unit) rights: BTreeMap<String, BTreeSet<&'static str>>,
    /// What was done in the names of others than the agent: method, path, user.
    pub(in crate::sync::unit) acted: Vec<(Method, String, String)>,
    /// What is said instead of a write, by path.
    pub(in crate::sync::unit) refused: BTreeMap<String, Answer>,
    pub(in crate::sync::unit) death: Option<Death>,
    writes: usize,
    version: u64,
}

/// The server; clones are the same.
#[derive(Clone, Default)]
pub(in crate::sync::unit) struct Server(Arc<Mutex<Kept>>);

impl Server {
    pub(in crate::sync::unit) fn client(&self) -> kube::Client {
        let server = self.clone();
        client(move |asked| server.lock().answer(asked)).0
    }

    pub(in crate::sync::unit) fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0
            .lock()
            .expect("no test panics while it holds the lock")
    }

    pub(in crate::sync::unit) fn get(&self, at: &str) -> Option<Value> {
        self.lock().objects.get(at).cloned()
    }

    pub(in crate::sync::unit) fn end(&self, job: &str, condition: &'static str) {
        let mut kept = self.lock();
        kept.ends.insert(job.to_owned(), condition);
        if let Some(live) = kept.objects.get_mut(&format!("shop/jobs/{job}")) {
            live["status"] = ended(condition);
        }
    }

    /// How many writes were asked for since it was last told when to die.
    pub(in crate::sync::unit) fn writes(&self) -> usize {
        self.lock().writes
    }

    /// Dies at a later write; gives back whether it died at the last one.
    pub(in crate::sync::unit) fn dies(&self, death: Option<Death>) -> bool {
        let mut kept = self.lock();
        let died = match kept.death {
            Some(Death::After(writes)) => kept.writes >= writes,
            Some(Death::Before(writes)) => kept.writes > writes,
            None => false,
        };
        (kept.death, kept.writes) = (death, 0);
        died
    }
}

fn ended(condition: &str) -> Value {
    json!({"conditions": [{"type": condition, "status": "True", "reason": "BackoffLimitExceeded"}]})
}

impl Kept {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if query.contains("watch=") || path.matches("watch").count() > 0 {
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, "no watches");
        }
        if path.ends_with("/selfsubjectaccessreviews") {
            let of = &asked.body["spec"]["resourceAttributes"]["resource"];
            let of = of.as_str().unwrap_or_default();
            let allowed = match &asked.user {
                None => !self.forbidden.contains(of),
                Some(user) => self.may(user, of),
            };
            let mut review = asked.body.clone();
            review["status"] = json!({"allowed": allowed});
            return (StatusCode::CREATED, review);
        }
        let Some((_, at)) = path.split_once("/namespaces/") else {
            return refusal(StatusCode::NOT_FOUND, "no such kind");
        };
        let is_write = asked.method != Method::GET && !query.contains("dryRun=");
        let dead = refusal(StatusCode::INTERNAL_SERVER_ERROR, "the agent is dead");
        self.writes += usize::from(is_write);
        match self.death {
            Some(Death::Before(writes)) if self.writes > writes => return dead,
            Some(Death::After(writes)) if self.writes > writes => return dead,
            Some(Death::After(writes)) if self.writes == writes && !is_write => return dead,
            _ => {}
        }
        let refused = self.refused.get(at).filter(|_| is_write).cloned();
        let answer = refused.unwrap_or_else(|| self.work(asked, at, query));
        match self.death {
            Some(Death::After(writes)) if self.writes == writes => dead,
            _ => answer,
        }
    }

    fn may(&self, user: &str, resource: &str) -> bool {
        let rights = self.rights.get(user);
        rights.is_some_and(|rights| rights.contains(resource))
    }

    fn work(&mut self, asked: &Asked, at: &str, query: &str) -> Answer {
        if let Some(user) = &asked.user {
            let resource = at.split('/').nth(1).unwrap_or_default();
            if !self.may(user, resource) {
                let said = format!("{resource} is forbidden: User \"{user}\" cannot write it");
                return refusal(StatusCode::FORBIDDEN, &said);
            }
            if !query.contains("dryRun=") {
                let done = (asked.method.clone(), at.to_owned(), user.clone());
                self.acted.push(done);
            }
        }
        let found = self.objects.get(at).cloned();
        match asked.method {
            Method::GET if at == "shop" => {
                let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
                    "metadata": {"name": at}});
                (StatusCode::OK, namespace)
            }
            Method::GET if at.matches('/').count() == 1 => {
                let prefix = format!("{at}/");
                let of = self
                    .objects
                    .iter()
                    .filter(|(key, _)| key.starts_with(&prefix));
                let items: Vec<&Value> = of.map(|(_, object)| object).collect();
                let list = json!({"apiVersion": "v1", "kind": "List",
                    "metadata": {"resourceVersion": "1"}, "items": items});
                (StatusCode::OK, list)
            }
            Method::GET => found.map_or_else(missing, |object| (StatusCode::OK, object)),
            Method::POST => {
                let name = asked.body["metadata"]["name"].as_str().unwrap_or_default();
                let at = format!("{at}/{name}");
                if self.objects.contains_key(&at) {
                    return refusal(StatusCode::CONFLICT, "it is there already");
                }
                self.make(&at, asked.body.clone())
            }
            Method::DELETE => {
                let uid = asked.body.pointer("/preconditions/uid");
                match found {
                    None => missing(),
                    Some(object) if uid.is_some_and(|uid| *uid != object["metadata"]["uid"]) => {
                        refusal(StatusCode::CONFLICT, "it is another one")
                    }
                    Some(_) => {
                        self.objects.remove(at);
                        (
                            StatusCode::OK,
                            json!({"kind": "Status", "status": "Success"}),
                        )
                    }
                }
            }
            _ => {
                let sent = &asked.body["metadata"]["resourceVersion"];
                if let Some(found) = &found
                    && asked.method == Method::PUT
                    && *sent != found["metadata"]["resourceVersion"]
                {
                    return refusal(StatusCode::CONFLICT, "it was written in between");
                }
                let mut object = found.unwrap_or_else(|| json!({}));
                merge(&mut object, &asked.body);
                if query.contains("dryRun=") {
                    return (StatusCode::OK, object);
                }
                self.make(at, object)
            }
        }
    }

    fn make(&mut self, at: &str, mut object: Value) -> Answer {
        self.version += 1;
        let metadata = object["metadata"].as_object_mut().expect("metadata");
        metadata.insert(
            "resourceVersion".to_owned(),
            json!(self.version.to_string()),
        );
        let uid = json!(format!("uid-{}", self.version));
        metadata.entry("uid").or_insert(uid);
        let manager = json!([{"manager": "bellwether-sync", "operation": "Apply"}]);
        metadata.entry("managedFields").or_insert(manager);
        if let Some(name) = at.strip_prefix("shop/jobs/") {
            let mark = object["metadata"]["labels"]["bellwether.dev/hook"].as_str();
            let mark = mark.unwrap_or_default().to_owned();
            self.made.push((name.to_owned(), mark));
            if let Some(condition) = self.ends.get(name) {
                object["status"] = ended(condition);
            }
        }
        self.objects.insert(at.to_owned(), object.clone());
        (StatusCode::OK, object)
    }
}

fn missing() -> Answer {
    refusal(StatusCode::NOT_FOUND, "not found")
}

fn merge(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(fields), Value::Object(patch)) => {
            for (field, value) in patch {
                if value.is_null() {
                    fields.remove(field);
                } else {
                    merge(fields.entry(field.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (object, patch) => *object = patch.clone(),
    }
}
