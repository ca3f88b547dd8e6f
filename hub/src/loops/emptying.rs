use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use bellwether_api::reference::NamespacedName;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Which applications leave one cluster, and how many it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaving {
    /// Those that leave without anybody's word.
    pub applications: BTreeSet<NamespacedName>,
    /// Those that it holds.
    pub holding: usize,
}

/// What clusters would lose, found out once a cluster for all applications that look at it. Whoever
/// learns of a change of the records begins anew.
#[derive(Debug, Default)]
pub(super) struct Emptying(Mutex<BTreeMap<Uuid, Arc<OnceCell<Leaving>>>>);

impl Emptying {
    /// What a cluster would lose; `find` is asked if nobody has found out yet.
    ///
    /// # Errors
    /// Whatever `find` fails with; the next who asks tries again.
    pub async fn of<E, F>(&self, cluster: Uuid, find: impl FnOnce() -> F) -> Result<Leaving, E>
    where
        F: Future<Output = Result<Leaving, E>>,
    {
        let cell = {
            let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(cells.entry(cluster).or_default())
        };
        cell.get_or_try_init(find).await.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_cluster_is_looked_at_once() {
        let emptying = Emptying::default();
        let looks = Mutex::new(Vec::new());
        let ask = async |number: u128, works: bool| {
            emptying
                .of(Uuid::from_u128(number), || async {
                    looks.lock().expect("no panic").push(number);
                    let found = Leaving {
                        holding: 7,
                        ..Leaving::default()
                    };
                    works.then_some(found).ok_or("the database is away")
                })
                .await
        };
        assert!(ask(1, false).await.is_err(), "a failure is not kept");
        for _ in 0..100 {
            assert_eq!(ask(1, true).await.map(|found| found.holding), Ok(7));
        }
        ask(2, true).await.expect("found");
        assert_eq!(*looks.lock().expect("no panic"), [1, 1, 2]);
    }
}
