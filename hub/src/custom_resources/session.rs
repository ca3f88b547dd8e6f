//! What is known and to be done while this hub mirrors.

mod statuses;
mod together;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_api::{application::AdoptPolicy, document::Kind};
use bellwether_hub_core::{
    custom_resource::{Duty, Owned, Seen, Words, adoption, author, document, duty},
    ownership::Owner,
};
use bellwether_store::{ownership, records::RecordKey};
use kube::{api::DynamicObject, runtime::watcher::Event};
use serde_json::Value;

use super::{
    cache::{Cache, kind_of, rank, record_kind},
    host::Host,
    leave::{self, Left},
    write::{self, Batch, WriteFailure},
};
use crate::{
    app::App,
    http::{ApiError, Reader, StatusCode, said},
    loops::Fence,
    telemetry::chain,
};

/// Where a custom resource stands beside its record.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// The record says what it says.
    Written {
        /// The record's generation then.
        record: u64,
    },
    /// It does not, or the custom resource cannot leave.
    Refused(Words),
}

/// What became of a custom resource.
struct Outcome {
    /// What was to be written.
    document: Value,
    adopt: AdoptPolicy,
    /// The generation that it speaks of.
    generation: Value,
    standing: Standing,
    /// Whether it may fit once others come or change.
    may_fit: bool,
}

/// Everything about mirroring that is forgotten when another hub takes over.
pub(super) struct Session<'a> {
    app: &'a Arc<App>,
    host: &'a Host,
    fence: Fence,
    cache: Cache,
    outcomes: BTreeMap<RecordKey, Outcome>,
    /// To be looked at.
    due: BTreeSet<RecordKey>,
    /// Whose status may be another now.
    untold: BTreeSet<RecordKey>,
    /// What could not be done, to be tried again.
    failed: BTreeMap<RecordKey, String>,
    /// Kinds that cannot be watched.
    broken: BTreeMap<Kind, String>,
    /// Whether records changed since what is refused was tried.
    heard: bool,
    /// Whether what is refused is to be tried together.
    joins: bool,
}

impl<'a> Session<'a> {
    pub fn new(app: &'a Arc<App>, host: &'a Host, fence: Fence) -> Self {
        Self {
            app,
            host,
            fence,
            cache: Cache::default(),
            outcomes: BTreeMap::new(),
            due: BTreeSet::new(),
            untold: BTreeSet::new(),
            failed: BTreeMap::new(),
            broken: BTreeMap::new(),
            heard: false,
            joins: false,
        }
    }

    /// Takes in what the API server says.
    pub async fn take(&mut self, kind: Kind, event: Event<DynamicObject>) {
        // Told ahead of every list, also of one that fails.
        if !matches!(event, Event::Init) {
            self.broken.remove(&kind);
        }
        let news = self.cache.take(kind, event);
        self.due.extend(news.changed);
        if let Some(kind) = news.listed.and_then(record_kind) {
            // Those whose custom resources went while nobody looked.
            match ownership::of_custom_resources(&self.app.store, kind).await {
                Ok(keys) => self.due.extend(keys),
                Err(error) => tracing::warn!(error = chain(&error), "records could not be listed"),
            }
        }
    }

    /// Remembers that a kind cannot be watched: nothing is concluded of what is not seen.
    pub fn broke(&mut self, kind: Kind, error: String) {
        let text = format!(
            "{kind}: {error}; `bellwether install crds` makes the definitions and the hub's rights"
        );
        if self.broken.insert(kind, text.clone()).as_ref() != Some(&text) {
            tracing::warn!("custom resources are not seen: {text}");
        }
    }

    /// Takes in what changed of records behind `read`; gives what was read.
    pub fn hear(&mut self, reader: &Reader, read: Option<u64>) -> Option<u64> {
        if let Some((changes, last)) = read.and_then(|read| reader.since(read)) {
            for change in changes {
                self.heard = true;
                let Some(item) = change.after.or(change.before) else {
                    continue;
                };
                let key = super::cache::key_of(change.kind, &item);
                let is_ours = |key: &RecordKey| self.outcomes.contains_key(key);
                self.untold.extend(key.filter(is_ours));
            }
            return Some(last);
        }
        let (_, last) = reader.snapshot()?;
        self.heard = true;
        self.untold.extend(self.cache.keys().cloned());
        Some(last)
    }

    /// Tells whether anything happened after which what is refused may fit.
    pub const fn has_heard(&self) -> bool {
        self.heard
    }

    /// Has what is refused, held or failed looked at again. `all` = and every status.
    pub fn retry(&mut self, all: bool) {
        self.heard = false;
        self.joins = true;
        let refused = self
            .outcomes
            .iter()
            .filter(|(_, one)| matches!(one.standing, Standing::Refused(_)));
        self.due.extend(refused.map(|(key, _)| key.clone()));
        self.due.extend(self.failed.keys().cloned());
        if all {
            self.untold.extend(self.cache.keys().cloned());
        }
    }

    /// Does what is due.
    pub async fn work(&mut self, is_young: bool) {
        let mut due: Vec<RecordKey> = std::mem::take(&mut self.due).into_iter().collect();
        due.sort_by_key(|key| rank(key.kind));
        for key in due {
            match self.look_at(&key).await {
                Ok(()) => {
                    self.failed.remove(&key);
                }
                Err(error) => self.fail(key, error),
            }
        }
        if std::mem::take(&mut self.joins) {
            self.write_together().await;
        }
        self.tell(is_young).await;
    }

    fn fail(&mut self, key: RecordKey, error: String) {
        let text = format!("{}: {error}", said(&key));
        if self.failed.insert(key, text.clone()).as_ref() != Some(&text) {
            tracing::warn!("a custom resource is tried again: {text}");
        }
    }

    /// What was done, in one line.
    pub fn did(&self) -> String {
        let unlisted: Vec<&str> = self.cache.unlisted().map(Kind::name).collect();
        let seen = self.cache.keys().count();
        match unlisted.as_slice() {
            [] => format!("mirrors {seen} custom resources"),
            _ => format!(
                "mirrors {seen} custom resources; waits for {}",
                unlisted.join(", ")
            ),
        }
    }

    /// What went wrong, in one line each.
    pub fn errors(&self) -> Vec<String> {
        let all = self.broken.values().chain(self.failed.values());
        all.cloned().collect()
    }

    /// Does what one custom resource calls for.
    async fn look_at(&mut self, key: &RecordKey) -> Result<(), String> {
        let object = self.cache.get(key);
        if object.is_none() && !self.cache.knows(key.kind) {
            return Ok(());
        }
        let owner = ownership::owner(&self.app.store, key).await;
        let owned = match owner.map_err(|error| chain(&error))? {
            Some(Owner::CustomResource { missing }) => Some(Owned { missing }),
            Some(Owner::Repository(_)) | None => None,
        };
        let what = duty(Seen {
            object: object.as_deref(),
            owned,
        });
        let Some(object) = object else {
            self.outcomes.remove(key);
            if what == Duty::Missing {
                return told(leave::missing(self.app, &self.fence, key).await);
            }
            return Ok(());
        };
        if matches!(what, Duty::Nothing | Duty::LetGo | Duty::Orphan) {
            // Nothing is written of it any more.
            self.outcomes.remove(key);
        }
        self.perform(key, &object, owned, what).await
    }

    async fn perform(
        &mut self,
        key: &RecordKey,
        object: &Arc<Value>,
        owned: Option<Owned>,
        what: Duty,
    ) -> Result<(), String> {
        match what {
            Duty::Nothing | Duty::Missing => Ok(()),
            Duty::Finalizer => {
                if let Some(object) = self.set_finalizer(key, object, true).await? {
                    self.write(key, &object, owned).await?;
                }
                Ok(())
            }
            Duty::Write => self.write(key, object, owned).await,
            Duty::LetGo => self.set_finalizer(key, object, false).await.map(|_| ()),
            Duty::Orphan => {
                told(leave::let_go(self.app, &self.fence, key).await)?;
                self.set_finalizer(key, object, false).await.map(|_| ())
            }
            Duty::Hold(message) => {
                self.hold(key, object, "InvalidAnnotation", message);
                Ok(())
            }
            Duty::Delete => match leave::delete(self.app, &self.fence, key, object).await {
                Ok(Left::Gone) => self.set_finalizer(key, object, false).await.map(|_| ()),
                Ok(Left::Waits { reason, message }) => {
                    self.hold(key, object, reason, message);
                    Ok(())
                }
                Err(failure) => told(Err(failure)),
            },
        }
    }

    /// Puts the finalizer on or takes it off; absent = it changed meanwhile, which the watch tells.
    async fn set_finalizer(
        &mut self,
        key: &RecordKey,
        object: &Arc<Value>,
        wanted: bool,
    ) -> Result<Option<Arc<Value>>, String> {
        let kind = kind_of(key.kind);
        match self.host.set_finalizer(kind, object, wanted).await {
            Ok(written) => {
                self.cache.put(key, object, written);
                Ok(self.cache.get(key))
            }
            Err(error) if error.is_late() => Ok(None),
            Err(error) => Err(chain(&error)),
        }
    }

    /// Makes the record what the custom resource says, unless it is that already.
    async fn write(
        &mut self,
        key: &RecordKey,
        object: &Arc<Value>,
        owned: Option<Owned>,
    ) -> Result<(), String> {
        let wanted = document(kind_of(key.kind), object);
        let adopt = match adoption(object) {
            Ok(adopt) => adopt,
            Err(message) => {
                self.hold(key, object, "InvalidAnnotation", message);
                return Ok(());
            }
        };
        let generation = object["metadata"]["generation"].clone();
        if let Some(known) = self.outcomes.get_mut(key)
            && known.document == wanted
            && owned == Some(Owned { missing: false })
            && matches!(known.standing, Standing::Written { .. })
        {
            known.generation = generation;
            self.untold.insert(key.clone());
            return Ok(());
        }
        let batch = Batch {
            documents: std::slice::from_ref(&wanted),
            author: author(object),
            reason: format!("custom resource at generation {generation}"),
            adopt,
        };
        let (standing, may_fit) = match write::write(self.app, &self.fence, batch).await {
            Ok(generations) => {
                let record = generations.first().copied().unwrap_or_default();
                self.heard = true;
                (Standing::Written { record }, false)
            }
            Err(WriteFailure::Refused(error)) => refused(&error),
            Err(failure) => return told(Err(failure)),
        };
        if may_fit && !self.outcomes.contains_key(key) {
            self.joins = true;
        }
        let outcome = Outcome {
            document: wanted,
            adopt,
            generation,
            standing,
            may_fit,
        };
        self.outcomes.insert(key.clone(), outcome);
        self.untold.insert(key.clone());
        Ok(())
    }

    fn hold(&mut self, key: &RecordKey, object: &Value, reason: &str, message: String) {
        let outcome = Outcome {
            document: Value::Null,
            adopt: AdoptPolicy::default(),
            generation: object["metadata"]["generation"].clone(),
            standing: Standing::Refused(Words::new(reason, message)),
            may_fit: false,
        };
        self.outcomes.insert(key.clone(), outcome);
        self.untold.insert(key.clone());
    }
}

/// How a refusal is told, and whether what is refused may fit once others come or change.
fn refused(error: &ApiError) -> (Standing, bool) {
    let may_fit = error.status() == StatusCode::UNPROCESSABLE_ENTITY;
    (
        Standing::Refused(Words::new(error.code(), error.text())),
        may_fit,
    )
}

fn told(result: Result<(), WriteFailure>) -> Result<(), String> {
    result.map_err(|failure| match failure {
        WriteFailure::Refused(error) => error.text(),
        WriteFailure::Failed(text) => text,
    })
}
