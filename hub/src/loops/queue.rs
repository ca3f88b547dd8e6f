use std::collections::{BTreeSet, VecDeque};

use bellwether_api::reference::NamespacedName;

/// Sweeps that are under way at once: a sweep over thousands must keep no change waiting.
const SWEEPS_AT_ONCE: usize = 1;

/// Which application is looked at next: never one twice at the same time, changes before whatever
/// can wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// What something happened to, in the order in which it was told.
    told: Lane,
    /// What may have something to do: because of a cluster or a fleet, or of its own last look.
    perhaps: Lane,
    /// What is looked at for safety alone.
    sweep: Lane,
    running: BTreeSet<NamespacedName>,
    sweeping: BTreeSet<NamespacedName>,
}

/// First in, first out, each once.
#[derive(Debug, Default)]
struct Lane {
    order: VecDeque<NamespacedName>,
    members: BTreeSet<NamespacedName>,
}

impl Lane {
    fn push(&mut self, application: &NamespacedName) {
        if self.members.insert(application.clone()) {
            self.order.push_back(application.clone());
        }
    }

    /// Takes the first that is not under way.
    fn pop(&mut self, running: &BTreeSet<NamespacedName>) -> Option<NamespacedName> {
        let place = self.order.iter().position(|one| !running.contains(one))?;
        let application = self.order.remove(place)?;
        self.members.remove(&application);
        Some(application)
    }

    fn remove(&mut self, application: &NamespacedName) {
        if self.members.remove(application) {
            self.order.retain(|one| one != application);
        }
    }
}

impl Queue {
    /// Something happened to an application.
    pub fn tell(&mut self, application: &NamespacedName) {
        self.told.push(application);
    }

    /// An application may have something to do.
    pub fn suggest(&mut self, application: &NamespacedName) {
        if !self.told.members.contains(application) {
            self.perhaps.push(application);
        }
    }

    /// An application is to be looked at when nothing else is to be done.
    pub fn sweep(&mut self, application: &NamespacedName) {
        if !self.told.members.contains(application) && !self.perhaps.members.contains(application) {
            self.sweep.push(application);
        }
    }

    /// The next application, which counts as under way from now on; absent = none can begin now.
    pub fn next(&mut self) -> Option<NamespacedName> {
        let next = match self.told.pop(&self.running) {
            Some(told) => {
                self.perhaps.remove(&told);
                self.sweep.remove(&told);
                told
            }
            None => match self.perhaps.pop(&self.running) {
                Some(suggested) => {
                    self.sweep.remove(&suggested);
                    suggested
                }
                None => self.next_swept()?,
            },
        };
        self.running.insert(next.clone());
        Some(next)
    }

    fn next_swept(&mut self) -> Option<NamespacedName> {
        if self.sweeping.len() >= SWEEPS_AT_ONCE {
            return None;
        }
        let swept = self.sweep.pop(&self.running)?;
        self.sweeping.insert(swept.clone());
        Some(swept)
    }

    /// A look at an application has ended.
    pub fn done(&mut self, application: &NamespacedName) {
        self.running.remove(application);
        self.sweeping.remove(application);
    }

    /// Looks that are under way.
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use bellwether_api::reference::NamespacedName;

    use super::Queue;

    fn app(name: &str) -> NamespacedName {
        NamespacedName {
            namespace: "default".to_owned(),
            name: name.to_owned(),
        }
    }

    fn next(queue: &mut Queue) -> Option<String> {
        queue.next().map(|application| application.name)
    }

    #[test]
    fn changes_come_before_what_can_wait() {
        let mut queue = Queue::default();
        for name in ["a", "b", "c"] {
            queue.sweep(&app(name));
        }
        queue.suggest(&app("b"));
        queue.tell(&app("z"));
        queue.tell(&app("c"));
        queue.tell(&app("z"));
        assert_eq!(next(&mut queue).as_deref(), Some("z"));
        assert_eq!(next(&mut queue).as_deref(), Some("c"));
        assert_eq!(next(&mut queue).as_deref(), Some("b"));
        assert_eq!(next(&mut queue).as_deref(), Some("a"));
        assert_eq!(next(&mut queue), None, "each once");
        assert_eq!(queue.running(), 4);
    }

    #[test]
    fn nothing_is_looked_at_twice_at_the_same_time() {
        let mut queue = Queue::default();
        queue.tell(&app("a"));
        assert_eq!(next(&mut queue).as_deref(), Some("a"));
        queue.tell(&app("a"));
        queue.tell(&app("b"));
        assert_eq!(next(&mut queue).as_deref(), Some("b"), "a is under way");
        assert_eq!(next(&mut queue), None);
        queue.done(&app("a"));
        assert_eq!(
            next(&mut queue).as_deref(),
            Some("a"),
            "what happened meanwhile is looked at"
        );
    }

    #[test]
    fn a_sweep_takes_one_place_only() {
        let mut queue = Queue::default();
        for name in ["a", "b"] {
            queue.sweep(&app(name));
        }
        assert_eq!(next(&mut queue).as_deref(), Some("a"));
        assert_eq!(next(&mut queue), None);
        queue.tell(&app("c"));
        assert_eq!(next(&mut queue).as_deref(), Some("c"));
        queue.done(&app("a"));
        assert_eq!(next(&mut queue).as_deref(), Some("b"));
    }
}
