//! Runs of a Deployment that somebody else writes, who goes on writing it: the object itself is what is
//! held, by the patches that the shell writes.

mod controller;
mod world;

use bellwether_api::command::AbortCause;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

use super::{
    super::{RollbackPart, Stage},
    field_managers::Writer,
};
use controller::Set;
use world::{Controller, NEW, OLD, World, Write};

#[test]
fn a_held_update_comes_in_and_a_broken_one_goes_back() {
    let mut world = World::new();
    world.ends();
    assert_eq!(world.state.stage, Stage::Succeeded);
    world.check_end();
    assert_eq!(world.object["spec"], world.written());
    let mut world = World::new();
    world.new_works = false;
    world.ends();
    assert!(matches!(world.state.stage, Stage::Failed { .. }));
    world.check_end();
    assert_ne!(world.object["spec"], world.written(), "it is held");
}

/// What the owner changes in a write of theirs.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The same once more.
    Nothing,
    Image(&'static str),
    Replicas(u32),
}

#[derive(Clone, Debug)]
enum Event {
    Tick,
    /// The process dies before it saves what it decided.
    Crash,
    /// The workload's controller is slow.
    Lag,
    Write(Change, Writer, bool),
    /// A pod is lost with its node.
    Lose(usize),
    NewWorks(bool),
    Abort,
}

fn events() -> impl Strategy<Value = Event> {
    let change = prop_oneof![
        1 => Just(Change::Nothing),
        3 => prop_oneof![Just(OLD), Just(NEW), Just("v3")].prop_map(Change::Image),
        1 => (1u32..6).prop_map(Change::Replicas),
    ];
    let writer = prop_oneof![Just(Writer::Updates), Just(Writer::Applies)];
    prop_oneof![
        20 => Just(Event::Tick),
        2 => Just(Event::Crash),
        2 => Just(Event::Lag),
        4 => (change, writer, prop::bool::weighted(0.8))
            .prop_map(|(change, by, asks)| Event::Write(change, by, asks)),
        1 => (0usize..3).prop_map(Event::Lose),
        1 => any::<bool>().prop_map(Event::NewWorks),
        1 => Just(Event::Abort),
    ]
}

fn write(world: &mut World, change: Change, by: Writer, asks: bool) {
    let mut write = Write {
        by,
        asks,
        ..world.wrote
    };
    match change {
        Change::Nothing => {}
        Change::Image(image) => write.image = image,
        Change::Replicas(replicas) => write.replicas = replicas,
    }
    world.write(write);
    if !asks {
        // The watch shows every write that the agent was not asked about before the next comes.
        world.tick(true, Controller::Lags);
    }
}

fn live(world: &mut World, history: &[Event]) {
    for event in history {
        match event {
            Event::Tick => world.tick(true, Controller::Works),
            Event::Crash => world.tick(false, Controller::Works),
            Event::Lag => world.tick(true, Controller::Lags),
            Event::Write(change, by, asks) => write(world, *change, *by, *asks),
            Event::Lose(number) => {
                if let Some(set) = world.sets.get_mut(*number) {
                    set.ready = set.ready.saturating_sub(1);
                }
            }
            Event::NewWorks(works) => world.new_works = *works,
            Event::Abort => world.abort(AbortCause::Manual),
        }
    }
    world.ends();
    world.check_end();
}

#[test]
fn a_third_version_over_a_second_that_is_in_already_goes_back_to_the_first() {
    for replicas in [1, 3] {
        let mut world = World::new();
        write(
            &mut world,
            Change::Replicas(replicas),
            Writer::Updates,
            true,
        );
        let all_new = |world: &World| {
            let mut old = world.sets.iter().filter(|set| set.image == OLD);
            old.all(|set| set.wanted == 0)
        };
        while !all_new(&world) {
            world.tick(true, Controller::Works);
        }
        live(
            &mut world,
            &[Event::Write(Change::Image("v3"), Writer::Updates, true)],
        );
        let old = world.sets.iter().find(|set| set.image == OLD);
        assert_eq!(old.map(|set| set.ready), Some(replicas));
        assert_ne!(world.object["spec"], world.written(), "it is held");
    }
}

/// The third template comes unasked, and a pod of it is ready in the place of one of the old version before
/// the agent sees it.
fn overtake(world: &mut World) {
    world.write(Write {
        image: "v3",
        asks: false,
        ..world.wrote
    });
    world.overtaken = true;
    let old = world.sets.iter_mut().find(|set| set.image == OLD);
    let old = old.expect("the old version has pods");
    (old.wanted, old.ready) = (2, 2);
    world.sets.push(Set {
        revision: 9,
        ready: 1,
        ..Set::first("v3", 2)
    });
}

#[test]
fn pods_that_overtook_the_end_of_a_run_go_without_a_gap_and_what_was_written_stays() {
    let ends: [fn(&RollbackPart) -> bool; 3] = [
        |part| matches!(part, RollbackPart::Removing),
        |part| matches!(part, RollbackPart::Releasing),
        |part| matches!(part, RollbackPart::Unpausing),
    ];
    for is_there in ends {
        let mut world = World::new();
        while !matches!(&world.state.stage, Stage::Step { .. }) {
            world.tick(true, Controller::Works);
        }
        world.abort(AbortCause::Manual);
        let ends = |stage: &Stage| match stage {
            Stage::RollingBack { part, .. } => is_there(part),
            stage => panic!("it is over: {stage:?}"),
        };
        while matches!(world.state.stage, Stage::Step { .. }) || !ends(&world.state.stage) {
            world.tick(true, Controller::Works);
        }
        overtake(&mut world);
        while !world.state.is_terminal() {
            world.tick(true, Controller::Works);
            let ready: u32 = world.sets.iter().map(|set| set.ready).sum();
            assert!(ready >= 3, "{:?}: {:?}", world.state.stage, world.sets);
        }
        world.check_end();
        assert_ne!(world.object["spec"], world.written(), "it is held");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]
    #[test]
    fn whatever_its_owner_writes_only_what_the_run_lets_go_has_pods_and_it_is_given_back(
        history in prop::collection::vec(events(), 0..80),
    ) {
        live(&mut World::new(), &history);
    }
}
