//! How long what comes in at once may take to be healthy.

use std::sync::Arc;

use bellwether_api::duration::Dur;

use super::{
    order::{FIRST, ordered},
    *,
};

/// Gives the database so long, and everything else what the application says.
fn hurried(database_s: u64, all_s: Option<u64>) -> Arc<Bundle> {
    let mut bundle = Bundle::clone(&ordered("v2"));
    bundle.sync.timeout = all_s.map(Dur::from_secs);
    let database = bundle
        .components
        .iter_mut()
        .find(|one| one.name == FIRST)
        .expect("the database");
    database.sync = Some(bellwether_api::application::ComponentSync {
        timeout: Some(Dur::from_secs(database_s)),
        ..Default::default()
    });
    Arc::new(bundle)
}

impl House {
    async fn hurried(database_s: u64, all_s: Option<u64>) -> Self {
        let mut house = Self::ordered().await;
        let bundles = &mut house.unit.bundles;
        bundles.insert("new".to_owned(), hurried(database_s, all_s));
        house
    }

    /// One pass; whether it came to an end of any kind, and what it waits for.
    async fn look(&mut self) -> (bool, Vec<String>) {
        let fresh = self.unit.poke.take();
        self.unit.dirty.add(fresh);
        let pass = self.unit.apply(&self.record, "new").await.expect("a pass");
        let waits = pass.waiting_on.into_iter().map(|wait| wait.message);
        (pass.again, waits.collect())
    }
}

#[tokio::test(start_paused = true)]
async fn a_component_has_the_time_that_its_timeout_says() {
    let mut house = House::hurried(30, None).await;
    house.set_database(false);
    let (ended, waits) = house.look().await;
    assert!(!ended);
    assert!(
        waits
            .iter()
            .any(|wait| wait.contains("StatefulSet/shop/db")),
        "{waits:?}"
    );
    tokio::time::advance(Duration::from_secs(29)).await;
    assert!(!house.look().await.0, "its time is not over");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(house.look().await.0, "it has failed");
}

#[tokio::test(start_paused = true)]
async fn a_component_that_is_done_hurries_nobody() {
    let mut house = House::hurried(30, Some(120)).await;
    house.set_database(true);
    // What comes after it is opened, and is not healthy.
    house.look().await;
    house.look().await;
    let wanted = house
        .unit
        .wanted(&hurried(30, Some(120)))
        .await
        .expect("objects");
    let limit = house.unit.time_limit(&hurried(30, Some(120)), &wanted);
    assert_eq!(limit, Dur::from_secs(120));
}
