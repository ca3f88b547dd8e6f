//! A hub that dies between any two writes of a look: what it had begun is undone, and the next one does all of
//! it, once.

use bellwether_api::{root::Root, view::ClusterPhase};
use bellwether_hub::loops::run_view;
use bellwether_store::{
    desired,
    events::{self, EventFilter, Order},
};
use serde_json::json;

use crate::fleet::{Fleet, shop};

/// Looks until nothing is left to do; `dies` = at each look it dies before its first write, then before its
/// second, and so on, until one comes through. Gives at how many writes it died.
async fn look(fleet: &Fleet, dies: bool) -> usize {
    let mut deaths = 0;
    for _ in 0..2 {
        for write in 1.. {
            fleet.database.cut_at_write(dies.then_some(write)).await;
            let looked = fleet.look().await;
            let begun = fleet.database.cut_at_write(None).await;
            assert_whole(fleet).await;
            match looked {
                Ok(()) => break,
                Err(error) if dies && begun >= write => {
                    let said = error.chain();
                    assert!(said.contains("the hub died here"), "{said}");
                    deaths += 1;
                }
                Err(error) => panic!("{}", error.chain()),
            }
        }
    }
    deaths
}

/// What clusters shall hold is whole, and the run says the same of it.
async fn assert_whole(fleet: &Fleet) {
    let view = run_view(&fleet.store, None, &shop(), None, fleet.now()).await;
    let view = view.expect("an answer");
    for (name, cluster) in &fleet.clusters {
        let snapshot = desired::snapshot(&fleet.store, cluster.id).await;
        let snapshot = snapshot.expect("an answer").expect("a cluster");
        let live = snapshot
            .units
            .iter()
            .filter_map(|unit| Some((unit.key.as_str(), unit.digest.as_ref()?.as_bytes())));
        assert_eq!(snapshot.root, Root::of(live), "{name}");
        let newest = snapshot.units.iter().map(|unit| unit.generation).max();
        assert_eq!(newest.unwrap_or(0), snapshot.generation, "{name}");
        // Reading it finds what it names.
        let bundle = fleet.bundle(name).await.map(|(_, bundle)| bundle);
        let Some(view) = &view else { continue };
        let mut clusters = view.waves.iter().flat_map(|wave| &wave.clusters);
        let Some(told) = clusters.find(|one| one.name == *name) else {
            continue;
        };
        let is_granted = bundle.is_some_and(|bundle| bundle.run == view.run);
        let (unsaid, untrue) = match told.state {
            ClusterPhase::Queued => (is_granted, false),
            ClusterPhase::Granted | ClusterPhase::Progressing => (false, !is_granted),
            _ => (false, false),
        };
        assert!(!unsaid && !untrue, "{name}: {told:?}");
    }
}

/// What is said of the newest run.
async fn told_of_the_run(fleet: &Fleet) -> Vec<String> {
    let run = fleet.view().await;
    let number = run.revision;
    let mut told = vec![format!(
        "{number} {:?} {}/{}",
        run.state, run.done, run.total
    )];
    let of_run = EventFilter::Run(run.run);
    let events = events::list(&fleet.store, &of_run, Order::Oldest, None, 1000).await;
    for row in events.expect("events") {
        told.push(format!(
            "{number} {}: {}",
            row.event.reason, row.event.message
        ));
    }
    told
}

/// Installs, releases, leaves clusters, and deletes; gives what was told, and at how many writes it died.
async fn play(dies: bool) -> (Vec<String>, usize) {
    let mut fleet = Fleet::new(1).await;
    let (mut told, mut deaths) = (Vec::new(), 0);
    for version in ["1", "2"] {
        fleet.apply(version).await;
        for _ in 0..3 {
            deaths += look(&fleet, dies).await;
            fleet.succeed_all().await;
        }
        told.extend(told_of_the_run(&fleet).await);
    }
    let allowed = [("bellwether.dev/allow-removal", "1")];
    let fewer = json!({"clusters": ["canary-1"]});
    fleet.apply_to("2", fewer, &allowed).await;
    deaths += look(&fleet, dies).await;
    assert_eq!(fleet.holders("shop").await, ["canary-1"]);
    fleet.delete().await;
    deaths += look(&fleet, dies).await;
    assert_eq!(fleet.holders("shop").await, [""; 0]);
    // Which of several clusters is told of first is nobody's affair.
    told.sort();
    (told, deaths)
}

#[tokio::test]
async fn a_hub_that_dies_at_any_write_leaves_nothing_half_done_and_does_nothing_twice() {
    let (expected, _) = play(false).await;
    assert!(expected.len() > 10, "{expected:?}");
    let (told, deaths) = play(true).await;
    assert_eq!(told, expected);
    assert!(deaths > 50, "it dies at every write: {deaths}");
}
