//! Segments that two nodes recorded at the same time.

use model::state::Respondent;
use model::{EndReason, Failure, NodeNumber, RecordingState as S};

use super::super::{Input, Lack, Stage, Standing, Windows, logs};
use super::world::{Happens, World, id, key};
use crate::op::Files;
use crate::{layout, verify};

const CALL: u64 = 10;
const KILLED: EndReason = EndReason::Internal(Failure::Process);

fn node(n: u16) -> NodeNumber {
    NodeNumber::new(n).unwrap()
}

/// Both recorded all of a call of one segment, which ended so at each.
fn doubled(seed: u64, ends: [EndReason; 2]) -> World {
    let mut world = World::new(seed, 2);
    for (n, end) in [1, 2].into_iter().zip(ends) {
        world.record(CALL, 1, &[n], end, Respondent::No);
    }
    // The second waits for the first to say that it is over.
    world.conclude(CALL, 1, &[1]);
    world
}

fn standing(world: &World, n: usize) -> Option<Standing> {
    world.nodes[n].machine.as_ref().unwrap().standing(key(CALL).call)
}

fn lacks(world: &World, n: usize) -> Vec<Lack> {
    standing(world, n).map(|s| s.lacks.into_iter().map(|(lack, _)| lack).collect()).unwrap_or_default()
}

/// All that was recorded is at one node, as it was sealed, the copies side by side, and nothing at the others.
fn assert_side_by_side(world: &World, at: usize, state: S) {
    let lines = || world.last_lines();
    for (n, node) in world.nodes.iter().enumerate() {
        assert_eq!(node.disk.is_without(&key(CALL)), n != at, "node {}\n{}", n + 1, lines());
    }
    let node = &world.nodes[at];
    for ((segment, by), (of, sealed)) in &world.sealed {
        assert!(node.disk.has(node.number, of, *segment, sealed), "{segment} of {by:?}\n{}", lines());
    }
    assert_eq!(world.state_at(CALL, at), Some(state), "{}", lines());
    assert_eq!(world.told_of_call(CALL, at), Some(state), "{}", lines());
    let of_call = logs::directory_of(&key(CALL));
    for within in [&of_call, &layout::twin_directory(&of_call)] {
        let found = verify::call(&node.disk.now, within).unwrap();
        assert!(
            found.is_sound() && !found.segments.is_empty(),
            "{within}: {:?}\n{}",
            found.findings,
            lines()
        );
    }
    assert_eq!(standing(world, at), None, "{}", lines());
    assert!(world.alarms.is_empty(), "{:?}", world.alarms);
}

#[test]
fn what_two_nodes_recorded_comes_to_lie_at_one_side_by_side() {
    let mut world = World::new(9, 3);
    for number in [1, 2] {
        let end = if number == 1 { EndReason::Hold } else { EndReason::HangUp };
        world.record(CALL, number, &[2], end.clone(), Respondent::No);
        world.record(CALL, number, &[1], end, Respondent::No);
    }
    // A third, of which one copy is left.
    world.record(CALL, 3, &[2], EndReason::HangUp, Respondent::No);
    world.conclude(CALL, 3, &[1, 2]);
    world.start_all();
    world.run(60);
    assert_side_by_side(&world, 0, S::Complete);
    let of_call = logs::directory_of(&key(CALL));
    let names = |within: &str| {
        let all = world.nodes[0].disk.now.list(within).unwrap();
        all.into_iter().filter(|name| name.ends_with(".json")).collect::<Vec<_>>()
    };
    assert_eq!(names(&of_call), ["001.json", "002.json", "003.json"]);
    assert_eq!(names(&layout::twin_directory(&of_call)), ["001.json", "002.json"]);
}

#[test]
fn a_node_that_recorded_neither_copy_keeps_them_side_by_side_too() {
    let mut world = World::new(9, 3);
    for n in [2, 3] {
        world.record(CALL, 1, &[n], KILLED, Respondent::No);
    }
    world.record(CALL, 2, &[1], EndReason::HangUp, Respondent::Yes);
    world.conclude(CALL, 2, &[1, 2, 3]);
    world.start_all();
    world.run(60);
    assert_side_by_side(&world, 0, S::CompleteInternalErrorRespondent);
}

#[test]
fn one_that_failed_while_the_other_did_not_is_no_failure_of_the_call() {
    for (seed, ends) in [(1, [KILLED, EndReason::HangUp]), (2, [EndReason::HangUp, KILLED])] {
        let mut world = doubled(seed, ends);
        world.start_all();
        world.run(60);
        assert_side_by_side(&world, 0, S::Complete);
        assert!(world.trace.iter().any(|line| line.contains("purged")), "{}", world.last_lines());
    }
    let mut world = doubled(3, [KILLED, KILLED]);
    world.start_all();
    world.run(60);
    assert_side_by_side(&world, 0, S::CompleteInternalError);
}

#[test]
fn a_copy_that_comes_after_a_failed_one_was_gathered_makes_the_call_whole() {
    let mut world = doubled(4, [KILLED, EndReason::HangUp]);
    world.start(0);
    world.run(60);
    assert_eq!(world.state_at(CALL, 0), Some(S::CompleteInternalError), "{}", world.last_lines());
    world.start(1);
    world.run(600);
    assert_side_by_side(&world, 0, S::Complete);
}

#[test]
fn a_second_copy_that_is_away_is_not_waited_for_and_comes_later() {
    let mut world = doubled(5, [EndReason::HangUp, KILLED]);
    (0..2).rev().for_each(|n| world.start(n));
    let closed = Windows { gather: false, purge: true };
    world.tell(0, Input::Windows(closed));
    world.run(10);
    assert_eq!(standing(&world, 0).unwrap().stage, Stage::Window);
    world.kill(1, false);
    world.tell(0, Input::Windows(Windows { gather: true, ..closed }));
    world.run(60);
    assert_eq!(world.state_at(CALL, 0), Some(S::Complete), "{}", world.last_lines());
    assert_eq!(lacks(&world, 0), [Lack::Copies(node(2))]);
    world.later(1_000, Happens::Start(1));
    world.run(600);
    assert_side_by_side(&world, 0, S::Complete);
}

#[test]
fn one_that_ended_better_and_is_away_is_waited_for() {
    let mut world = doubled(6, [KILLED, EndReason::HangUp]);
    (0..2).rev().for_each(|n| world.start(n));
    let closed = Windows { gather: false, purge: true };
    world.tell(0, Input::Windows(closed));
    world.run(10);
    world.kill(1, false);
    world.tell(0, Input::Windows(Windows { gather: true, ..closed }));
    world.run(60);
    assert_eq!(world.state_at(CALL, 0), None, "{}", world.last_lines());
    assert_eq!(lacks(&world, 0), [Lack::Away(id(CALL, 1), vec![node(2)])]);
    world.later(1_000, Happens::Start(1));
    world.run(600);
    assert_side_by_side(&world, 0, S::Complete);
}
