//! Runs in place of a StatefulSet that somebody else writes, who goes on writing it: the object itself is
//! what is held, by the patches that the shell writes.

mod controller;
mod world;

use bellwether_api::command::AbortCause;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

use super::{
    super::Stage,
    field_managers::{PARTITION, Writer},
};
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
    Partition(u64),
    /// Exactly the partition that stands there.
    LivePartition,
    Image(&'static str),
    Replicas(usize),
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

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => (0u64..3).prop_map(Change::Partition),
        1 => Just(Change::LivePartition),
        2 => prop_oneof![Just(OLD), Just(NEW), Just("v3")].prop_map(Change::Image),
        2 => (1usize..6).prop_map(Change::Replicas),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let writer = prop_oneof![Just(Writer::Updates), Just(Writer::Applies)];
    prop_oneof![
        20 => Just(Event::Tick),
        2 => Just(Event::Crash),
        2 => Just(Event::Lag),
        5 => (changes(), writer, prop::bool::weighted(0.8))
            .prop_map(|(change, by, asks)| Event::Write(change, by, asks)),
        1 => (0usize..4).prop_map(Event::Lose),
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
        Change::Partition(partition) => write.partition = partition,
        Change::LivePartition => {
            let live = world.object.pointer(PARTITION);
            write.partition = live.and_then(serde_json::Value::as_u64).expect("a count");
        }
        Change::Image(image) => write.image = image,
        Change::Replicas(replicas) => write.replicas = replicas,
    }
    world.write(write);
    if !asks {
        // The watch shows every write that the agent was not asked about before the next comes.
        world.tick(true, Controller::Lags);
    }
}

fn live_on(world: &mut World, history: &[Event]) {
    for event in history {
        match event {
            Event::Tick => world.tick(true, Controller::Works),
            Event::Crash => world.tick(false, Controller::Works),
            Event::Lag => world.tick(true, Controller::Lags),
            Event::Write(change, by, asks) => write(world, *change, *by, *asks),
            Event::Lose(number) => world.lose(*number),
            Event::NewWorks(works) => world.new_works = *works,
            Event::Abort => world.abort(AbortCause::Manual),
        }
    }
}

fn live(world: &mut World, history: &[Event]) {
    live_on(world, history);
    world.ends();
    world.check_end();
}

/// Ticks until every pod is of the new version and ready, so that its controller counts it as complete.
fn brought_in() -> World {
    let mut world = World::new();
    while world.object["status"]["currentRevision"] != "web-v2" {
        world.tick(true, Controller::Works);
    }
    world
}

#[test]
fn pods_that_come_when_a_third_version_was_written_over_a_second_are_of_the_first() {
    let asks = |change| Event::Write(change, Writer::Updates, true);
    let third = asks(Change::Image("v3"));
    // Whenever the third is written again while pods go back, and somebody scales it when they have.
    for ticks in 0..30 {
        let mut history = vec![third.clone()];
        history.extend(vec![Event::Tick; ticks]);
        history.push(third.clone());
        let mut world = brought_in();
        live(&mut world, &history);
        live(&mut world, &[asks(Change::Replicas(4))]);
        assert_ne!(world.object["spec"], world.written(), "it is held");
    }
}

#[test]
fn a_held_workload_that_lost_every_pod_gets_those_of_the_version_before() {
    let one = Event::Write(Change::Replicas(1), Writer::Updates, true);
    let mut world = World::new();
    world.new_works = false;
    live(&mut world, &[one, Event::Abort]);
    live(&mut world, &[Event::Lose(0), Event::Tick]);
    assert_eq!(world.object["status"]["currentRevision"], "web-v1");
    assert_ne!(world.object["spec"], world.written(), "it is held");
}

#[test]
fn an_owner_who_applies_what_stands_there_gets_that() {
    for (by, expected) in [(Writer::Applies, 0), (Writer::Updates, 1)] {
        let mut world = World::new();
        while world.object.pointer(PARTITION) != Some(&serde_json::json!(0)) {
            if world.object.pointer(PARTITION) == Some(&serde_json::json!(2)) {
                write(&mut world, Change::Partition(1), by, true);
            }
            world.tick(true, Controller::Works);
        }
        live(&mut world, &[Event::Write(Change::LivePartition, by, true)]);
        assert_eq!(world.wrote.partition, expected, "{by:?}");
        assert_eq!(world.object["spec"], world.written());
    }
}

#[test]
fn an_owner_who_goes_back_to_what_pods_come_of_anyway_is_let_go() {
    let unseen = |change| Event::Write(change, Writer::Updates, false);
    let (all, back) = (unseen(Change::Partition(0)), unseen(Change::Image(NEW)));
    // Caught before a pod of what they tried serves, then written back; or written back at once.
    for writes in [vec![all.clone(), back.clone()], vec![back, all]] {
        let mut world = brought_in();
        live(&mut world, &[]);
        let tries = [Change::Partition(1), Change::Image(OLD)].map(unseen);
        live(&mut world, &tries);
        world.new_works = false;
        // The first comes again of the version that was last complete, and is not ready.
        let lost = (0..3).map(Event::Lose).chain([Event::Tick]);
        live_on(&mut world, &lost.collect::<Vec<_>>());
        assert_eq!(world.pods[&0].image, NEW);
        live(&mut world, &writes);
        assert_eq!(world.object["spec"], world.written(), "{writes:?}");
        world.new_works = true;
        live(&mut world, &[]);
        assert!(world.pods.values().all(|pod| pod.image == NEW));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]
    #[test]
    fn whatever_its_owner_writes_only_granted_pods_change_and_it_is_given_back(
        history in prop::collection::vec(events(), 0..60),
    ) {
        live(&mut World::new(), &history);
    }
}
