//! What those who follow lists of objects are told: the hub looks once for all of them.
//!
//! Data flow: `look` reads what changed → [`Feed`] keeps the objects as they are and the last
//! changes, numbered → every [`Reader`] takes what it has not seen. The feed runs while somebody
//! reads, and a little longer, so that a reader whose connection broke finds its place again.

mod look;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bellwether_api::call::Item;
use bellwether_store::records::RecordKind;
use tokio::{sync::watch, time::Instant};

use crate::app::App;

/// Changes that are kept for readers that lag or come back.
const KEPT: usize = 1_024;
/// How long the feed runs on when nobody reads.
const LINGER: Duration = Duration::from_secs(60);
/// How often it looks for changes.
const POLL: Duration = Duration::from_millis(300);

/// A kind that can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Followed {
    /// Registered clusters.
    Cluster,
    /// Records of a kind.
    Record(RecordKind),
}

/// Names one object: kind, namespace (empty for global kinds), name.
type Key = (Followed, String, String);

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Rises by one with every change of this feed.
    pub number: u64,
    /// Its kind.
    pub kind: Followed,
    /// What it was; absent = it is new.
    pub before: Option<Arc<Item>>,
    /// What it is; absent = it is gone.
    pub after: Option<Arc<Item>>,
}

/// What was read in one look.
#[derive(Debug, Default)]
struct Look {
    /// Everything of these kinds.
    whole: Vec<(Followed, Vec<Item>)>,
    /// Single objects; absent = gone.
    single: Vec<(Key, Option<Item>)>,
}

/// The objects of this hub as they are followed.
#[derive(Debug)]
pub struct Feed {
    state: Mutex<State>,
    /// The number of the last change, and how many looks succeeded.
    news: watch::Sender<(u64, u64)>,
}

#[derive(Debug, Default)]
struct State {
    readers: usize,
    is_running: bool,
    /// When the last reader left.
    left_at: Option<Instant>,
    /// Since which change each kind is followed; absent = it was asked for and not read yet.
    kinds: BTreeMap<Followed, Option<u64>>,
    items: BTreeMap<Key, Arc<Item>>,
    log: VecDeque<Change>,
    last: u64,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            news: watch::Sender::new((0, 0)),
        }
    }
}

impl Feed {
    /// Begins to follow these kinds.
    pub fn join(app: &Arc<App>, kinds: &[Followed]) -> Reader {
        let feed = &app.feed;
        let mut state = feed.state();
        state.readers += 1;
        state.left_at = None;
        for kind in kinds {
            state.kinds.entry(*kind).or_default();
        }
        let starts = !std::mem::replace(&mut state.is_running, true);
        drop(state);
        if starts {
            app.tasks.spawn(run(Arc::clone(app)));
        }
        Reader {
            app: Arc::clone(app),
            kinds: kinds.to_vec(),
            news: feed.news.subscribe(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, look: Look) {
        let mut state = self.state();
        state.take(look);
        let last = state.last;
        drop(state);
        self.news
            .send_modify(|(number, looks)| (*number, *looks) = (last, *looks + 1));
    }

    /// Ends the feed if nobody has read for long; gives whether it did.
    fn end_if_idle(&self) -> bool {
        let mut state = self.state();
        let idle = state.readers == 0 && state.left_at.is_some_and(|at| at.elapsed() >= LINGER);
        if idle {
            let last = state.last;
            *state = State {
                last,
                ..State::default()
            };
        }
        idle
    }
}

impl State {
    fn take(&mut self, look: Look) {
        for (kind, items) in look.whole {
            let mut former: Vec<Key> = self.keys_of(kind);
            let mut kept = Vec::new();
            for item in items {
                let key = key_of(kind, &item);
                kept.push(key.clone());
                self.set(key, Some(item));
            }
            kept.sort_unstable();
            former.retain(|key| kept.binary_search(key).is_err());
            for key in former {
                self.set(key, None);
            }
            let last = self.last;
            self.kinds.entry(kind).or_default().get_or_insert(last);
        }
        for (key, item) in look.single {
            self.set(key, item);
        }
    }

    fn keys_of(&self, kind: Followed) -> Vec<Key> {
        let from = (kind, String::new(), String::new());
        self.items
            .range(from..)
            .map(|(key, _)| key)
            .take_while(|key| key.0 == kind)
            .cloned()
            .collect()
    }

    fn set(&mut self, key: Key, item: Option<Item>) {
        let after = item.map(Arc::new);
        let kind = key.0;
        let before = match &after {
            Some(item) => self.items.insert(key, Arc::clone(item)),
            None => self.items.remove(&key),
        };
        let is_news = match (&before, &after) {
            (Some(before), Some(after)) => is_news(before, after),
            (None, None) => false,
            _ => true,
        };
        if !is_news {
            return;
        }
        self.last += 1;
        self.log.push_back(Change {
            number: self.last,
            kind,
            before,
            after,
        });
        if self.log.len() > KEPT {
            self.log.pop_front();
        }
    }
}

/// Objects with the number of the last change that they hold.
pub type Snapshot = (Vec<(Followed, Arc<Item>)>, u64);

/// One who follows some kinds.
pub struct Reader {
    app: Arc<App>,
    kinds: Vec<Followed>,
    news: watch::Receiver<(u64, u64)>,
}

impl Reader {
    /// Everything of the reader's kinds, in their order, with the number of the last change that it
    /// holds; absent = not all of them have been read yet.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let state = self.app.feed.state();
        let is_read = |kind| state.kinds.get(kind).is_some_and(Option::is_some);
        if !self.kinds.iter().all(is_read) {
            return None;
        }
        let mut items = Vec::new();
        for kind in &self.kinds {
            let from = (*kind, String::new(), String::new());
            let of_kind = state
                .items
                .range(from..)
                .take_while(|(key, _)| key.0 == *kind);
            items.extend(of_kind.map(|(_, item)| (*kind, Arc::clone(item))));
        }
        Some((items, state.last))
    }

    /// The changes of the reader's kinds behind `number`; absent = they are not all kept any more,
    /// or never were known to this feed, and only a snapshot helps.
    pub fn since(&self, number: u64) -> Option<(Vec<Change>, u64)> {
        let state = self.app.feed.state();
        let is_followed = |kind| {
            let since = state.kinds.get(kind).copied().flatten();
            since.is_some_and(|since| since <= number)
        };
        let oldest = state
            .log
            .front()
            .map_or(state.last + 1, |change| change.number);
        if number > state.last || number + 1 < oldest || !self.kinds.iter().all(is_followed) {
            return None;
        }
        let behind = usize::try_from(state.last - number).unwrap_or(usize::MAX);
        let changes = state
            .log
            .iter()
            .skip(state.log.len().saturating_sub(behind))
            .filter(|change| self.kinds.contains(&change.kind))
            .cloned()
            .collect();
        Some((changes, state.last))
    }

    /// Waits until a look found something, or was the first.
    pub async fn news(&mut self) {
        // The feed lives as long as the app, which this reader holds.
        let _ = self.news.changed().await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.app.feed.state();
        state.readers -= 1;
        if state.readers == 0 {
            state.left_at = Some(Instant::now());
        }
    }
}

/// A heartbeat alone is no news: it would send every cluster every second.
fn is_news(old: &Item, new: &Item) -> bool {
    old.metadata != new.metadata
        || old.spec != new.spec
        || without_last_seen(old) != without_last_seen(new)
}

fn without_last_seen(item: &Item) -> Option<serde_json::Value> {
    let mut status = item.status.clone()?;
    if let Some(fields) = status.as_object_mut() {
        fields.remove("lastSeen");
    }
    for member in status
        .get_mut("members")
        .and_then(|all| all.as_array_mut())
        .into_iter()
        .flatten()
    {
        if let Some(fields) = member.as_object_mut() {
            fields.remove("lastSeen");
        }
    }
    Some(status)
}

fn key_of(kind: Followed, item: &Item) -> Key {
    let namespace = item.metadata.namespace.clone().unwrap_or_default();
    (kind, namespace, item.metadata.name.clone())
}

/// Looks until nobody reads any more, or the hub stops.
async fn run(app: Arc<App>) {
    let mut looker = look::Looker::new(app.store.clone());
    loop {
        let wanted: Vec<Followed> = {
            let state = app.feed.state();
            state.kinds.keys().copied().collect()
        };
        match looker.look(&app, &wanted).await {
            Ok(Some(look)) => app.feed.take(look),
            Ok(None) => {}
            // Where the database is away, the next look tries again.
            Err(error) => tracing::debug!(error = ?error, "objects could not be read"),
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
        }
        if app.feed.end_if_idle() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use bellwether_api::call::{Item, ItemMeta};
    use bellwether_store::records::RecordKind;

    use super::{Followed, KEPT, Look, State, key_of};

    const FLEET: Followed = Followed::Record(RecordKind::Fleet);

    fn item(name: &str, last_seen: u32) -> Item {
        Item {
            api_version: "v".to_owned(),
            kind: "Fleet".to_owned(),
            metadata: ItemMeta {
                name: name.to_owned(),
                ..ItemMeta::default()
            },
            spec: serde_json::Value::Null,
            status: Some(serde_json::json!({"lastSeen": last_seen})),
        }
    }

    fn whole(items: Vec<Item>) -> Look {
        Look {
            whole: vec![(FLEET, items)],
            ..Look::default()
        }
    }

    #[test]
    fn only_news_is_numbered() {
        let mut state = State::default();
        state.take(whole(vec![item("a", 1), item("b", 1)]));
        assert_eq!(state.last, 2);
        assert_eq!(state.kinds[&FLEET], Some(2), "followed from then on");
        state.take(whole(vec![item("a", 2), item("b", 2)]));
        assert_eq!(state.last, 2, "a heartbeat is no news");
        let kept = &state.items[&key_of(FLEET, &item("a", 0))];
        assert_eq!(kept.status, item("a", 2).status, "and is kept all the same");
        state.take(whole(vec![item("a", 3)]));
        let gone = state.log.back().expect("a change");
        assert_eq!((gone.number, gone.after.is_none()), (3, true));
    }

    #[test]
    fn the_log_is_bounded() {
        let mut state = State::default();
        for number in 0..KEPT + 10 {
            let name = format!("f{number}");
            let key = (FLEET, String::new(), name.clone());
            state.take(Look {
                single: vec![(key, Some(item(&name, 0)))],
                ..Look::default()
            });
        }
        assert_eq!(state.log.len(), KEPT);
        assert_eq!(state.log.front().map(|change| change.number), Some(11));
    }
}
