//! What is shown of clusters whose agents come and go: those who follow lists, and statuses that are written
//! back, are not told of every cut. Nothing is decided by it: runs and placement go by what was heard.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// Returns within [`WINDOW`] that are shown at once.
pub const AT_ONCE: usize = 2;
/// How long a return counts.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// How long a cluster that came back more often has to be heard before it is shown as heard.
pub const STEADY: SignedDuration = SignedDuration::from_secs(30);
/// Returns of one cluster that are remembered; older ones are forgotten.
const REMEMBERED: usize = 64;

/// Which clusters were heard when somebody looked last, and when they came back.
#[derive(Clone, Debug, Default)]
pub struct Flapping {
    clusters: BTreeMap<Uuid, Heard>,
}

#[derive(Clone, Debug)]
struct Heard {
    is_heard: bool,
    since: Timestamp,
    /// Oldest first.
    returns: VecDeque<Timestamp>,
}

impl Flapping {
    /// Takes note of which clusters are heard at `now`, all of them, and gives those that are to be shown
    /// as not heard although they are, each with how often it came back lately. That a cluster is not heard
    /// is always shown at once, and so is a cluster that is seen for the first time.
    pub fn look(
        &mut self,
        now: Timestamp,
        heard: impl IntoIterator<Item = (Uuid, bool)>,
    ) -> BTreeMap<Uuid, usize> {
        let mut before = std::mem::take(&mut self.clusters);
        let mut held = BTreeMap::new();
        for (id, is_heard) in heard {
            let mut one = before.remove(&id).unwrap_or(Heard {
                is_heard,
                since: now,
                returns: VecDeque::new(),
            });
            if let Some(returns) = one.look(now, is_heard) {
                held.insert(id, returns);
            }
            self.clusters.insert(id, one);
        }
        held
    }
}

impl Heard {
    fn look(&mut self, now: Timestamp, is_heard: bool) -> Option<usize> {
        if is_heard != self.is_heard {
            (self.is_heard, self.since) = (is_heard, now);
            if is_heard {
                self.returns.push_back(now);
            }
        }
        self.returns.retain(|at| now.duration_since(*at) < WINDOW);
        let surplus = self.returns.len().saturating_sub(REMEMBERED);
        self.returns.drain(..surplus);
        let often = self.returns.len() > AT_ONCE;
        let lately = now.duration_since(self.since) < STEADY;
        (is_heard && often && lately).then_some(self.returns.len())
    }
}

/// Says why a cluster that is heard is shown as one that is not.
#[must_use]
pub fn sentence(returns: usize) -> String {
    format!(
        "its agent comes and goes: it came back {returns} times in the last {} minutes; it counts as \
         there once it has stayed for {} s",
        WINDOW.as_mins(),
        STEADY.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    /// What is shown in each second, of a cluster that is heard in those that `heard` says.
    fn shown(seconds: i64, heard: impl Fn(i64) -> bool) -> Vec<bool> {
        let mut flapping = Flapping::default();
        (0..seconds)
            .map(|second| {
                let is_heard = heard(second);
                let held = flapping.look(at(second), [(ID, is_heard)]);
                assert!(is_heard || held.is_empty(), "nobody is held twice");
                is_heard && held.is_empty()
            })
            .collect()
    }

    fn changes(shown: &[bool]) -> usize {
        shown.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    #[test]
    fn one_that_comes_and_goes_is_shown_as_not_heard_until_it_stays() {
        let flaps = |second: i64| second % 10 < 5;
        let seen = shown(600, flaps);
        assert_eq!(changes(&seen), 2 * AT_ONCE + 1, "and not 119 times");
        assert!(seen[600 - 100..].iter().all(|shown| !shown));
        let stays = shown(700, |second| second >= 600 || flaps(second));
        assert!(
            !stays[600 + 29] && stays[600 + 30],
            "it stayed for half a minute"
        );
    }

    #[test]
    fn what_is_cut_is_never_shown_as_heard() {
        for period in 2..200 {
            let heard = |second: i64| second % period < period / 2;
            let all = (0..1_200).zip(shown(1_200, heard));
            assert!(
                all.into_iter()
                    .all(|(second, shown)| heard(second) || !shown)
            );
        }
    }

    #[test]
    fn a_cut_now_and_then_is_shown_as_it_is() {
        let heard = |second: i64| second % 400 >= 30;
        let all: Vec<bool> = (0..4_000).map(heard).collect();
        assert_eq!(shown(4_000, heard), all);
    }

    #[test]
    fn clusters_that_are_gone_are_forgotten_and_returns_are_bounded() {
        let mut flapping = Flapping::default();
        for second in 0..1_000 {
            flapping.look(at(second), [(ID, second % 2 == 0)]);
        }
        assert_eq!(flapping.clusters[&ID].returns.len(), REMEMBERED);
        assert!(flapping.look(at(1_000), []).is_empty());
        assert!(flapping.clusters.is_empty());
    }
}
