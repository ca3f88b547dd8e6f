//! Updates node by node: nobody says how many pods there are, and nodes come and go.

use bellwether_api::command::Verb;
use serde_json::json;

use super::{
    super::{RunState, Stage, StepPart},
    in_place_model::Workload,
};
use crate::settled::TemplateVersion::New;

fn at_gate(index: u32) -> impl Fn(&RunState) -> bool {
    move |state| {
        matches!(&state.stage,
            Stage::Step { index: at, part: StepPart::Gate { .. } } if *at == index)
    }
}

fn granted(workload: &Workload) -> (u32, u32) {
    let run = workload.state.in_place.as_ref().expect("it runs");
    (run.granted, run.total)
}

fn steps() -> serde_json::Value {
    json!([{"replicas": 1}, {"replicas": "50%"}, {"replicas": "100%"}])
}

#[test]
fn shares_are_of_the_nodes_that_there_are() {
    let mut workload = Workload::by_node(&steps(), 4);
    workload.until(at_gate(0));
    assert_eq!(granted(&workload), (1, 4));
    for _ in 0..4 {
        workload.join();
    }
    workload.tick(5);
    assert_eq!(granted(&workload), (1, 8));
    workload.queue(1, Verb::Approve);
    workload.until(at_gate(1));
    assert_eq!(granted(&workload), (4, 8));
    workload.queue(2, Verb::Approve);
    workload.until(at_gate(2));
    assert_eq!((granted(&workload), workload.count(New)), ((8, 8), 8));
    workload.queue(3, Verb::Approve);
    assert_eq!(workload.finish(), &Stage::Succeeded);
    workload.assert_clean(New);
}

#[test]
fn nodes_that_leave_hold_nothing_up() {
    let mut workload = Workload::by_node(&steps(), 4);
    workload.until(at_gate(0));
    for _ in 0..3 {
        workload.leave();
    }
    workload.tick(5);
    assert_eq!(granted(&workload), (1, 1));
    for (id, index) in [(1, 0), (2, 1), (3, 2)] {
        workload.until(at_gate(index));
        workload.queue(id, Verb::Approve);
    }
    assert_eq!(workload.finish(), &Stage::Succeeded);
    workload.assert_clean(New);
}
