use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use bellwether_api::reference::NamespacedName;

/// Which applications waited for which at their last look: what happens to one concerns the others.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Whom an application waits for.
    after: BTreeMap<NamespacedName, BTreeSet<NamespacedName>>,
    /// Who waits for an application.
    by: BTreeMap<NamespacedName, BTreeSet<NamespacedName>>,
}

impl Waiters {
    /// Notes whom an application waits for; empty = nobody.
    pub fn set(&self, application: &NamespacedName, after: BTreeSet<NamespacedName>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiting.after.remove(application).unwrap_or_default();
        for one in before.difference(&after) {
            if let Some(by) = waiting.by.get_mut(one) {
                by.remove(application);
                if by.is_empty() {
                    waiting.by.remove(one);
                }
            }
        }
        for one in after.difference(&before) {
            let by = waiting.by.entry(one.clone()).or_default();
            by.insert(application.clone());
        }
        if !after.is_empty() {
            waiting.after.insert(application.clone(), after);
        }
    }

    /// Who waits for an application, sorted.
    pub fn of(&self, application: &NamespacedName) -> Vec<NamespacedName> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let by = waiting.by.get(application);
        by.into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> NamespacedName {
        NamespacedName {
            namespace: "default".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn only_who_waits_now_is_named() {
        let waiters = Waiters::default();
        let set = |name: &str, after: &[&str]| {
            waiters.set(&app(name), after.iter().map(|one| app(one)).collect());
        };
        set("web", &["db", "queue"]);
        set("batch", &["db"]);
        assert_eq!(waiters.of(&app("db")), [app("batch"), app("web")]);
        assert_eq!(waiters.of(&app("queue")), [app("web")]);
        set("web", &["db"]);
        assert_eq!(waiters.of(&app("queue")), []);
        set("batch", &[]);
        set("web", &[]);
        assert_eq!(waiters.of(&app("db")), []);
        let kept = waiters.0.into_inner().expect("no panic");
        assert!(kept.after.is_empty() && kept.by.is_empty());
    }
}
