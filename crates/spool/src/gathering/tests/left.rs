//! Calls of which nobody says how they came out.

use model::state::Respondent::{No, Yes};
use model::{EndReason, Failure, NodeNumber, RecordingState as S};

use super::super::{Lack, Synchronizer};
use super::world::{Happens, World, id, key};
use crate::layout;
use crate::log;

const CALL: u64 = 10;
/// Longer than it takes until a call is taken to be left, with all that is asked then.
const LONG: u64 = 600;

fn lacks(world: &World, at: usize) -> Vec<Lack> {
    let standing = world.nodes[at].machine.as_ref().and_then(|m: &Synchronizer| m.standing(key(CALL).call));
    standing.map(|s| s.lacks.into_iter().map(|(lack, _)| lack).collect()).unwrap_or_default()
}

/// Where the call is, and as what.
fn outcome(world: &World) -> Vec<(usize, Option<S>)> {
    let holders = (0..world.nodes.len()).filter(|n| !world.nodes[*n].disk.is_without(&key(CALL)));
    holders.map(|n| (n, world.state_at(CALL, n))).collect()
}

fn total(world: &World, at: usize) -> Option<u16> {
    let path = layout::log_path(&super::super::logs::directory_of(&key(CALL)));
    let octets = world.nodes[at].disk.now.bytes(&path).unwrap_or_default();
    log::total_of(&log::read(octets).0, key(CALL).call)
}

fn told(world: &World) -> Vec<&String> {
    world.alarms.iter().filter(|text| text.contains("is not whole")).collect()
}

/// Three nodes that say who has what, and nobody who says how a call came out.
fn world(seed: u64) -> World {
    let mut world = World::new(seed, 3);
    world.says_care = true;
    world
}

#[test]
fn what_nobody_says_is_concluded_by_who_recorded_it() {
    let check = |segments: &[(u16, u16, EndReason)], at: usize, state: S| {
        let mut world = world(1);
        for (number, node, end) in segments {
            let respondent =
                if *number > 1 && state == S::CompleteInternalErrorRespondent { Yes } else { No };
            world.record(CALL, *number, &[*node], end.clone(), respondent);
        }
        world.start_all();
        world.run(60);
        assert_eq!(lacks(&world, at), [Lack::NotEnded], "not at once");
        world.run(LONG);
        assert_eq!(outcome(&world), [(at, Some(state))], "{}", world.last_lines());
        assert_eq!(usize::from(total(&world, at).unwrap()), segments.len());
        assert!(told(&world).is_empty(), "nothing is missing");
    };
    let failed = || EndReason::Internal(Failure::Process);
    check(&[(1, 2, EndReason::HangUp)], 1, S::Complete);
    check(&[(1, 3, EndReason::Upstream(Failure::MediaTimeout))], 2, S::CompleteExternalError);
    check(&[(1, 1, EndReason::Hold), (2, 2, EndReason::HangUp)], 0, S::Complete);
    check(&[(1, 1, failed()), (2, 3, EndReason::HangUp)], 2, S::CompleteInternalErrorRespondent);
}

#[test]
fn what_is_missing_is_tagged_and_told() {
    let check = |segments: &[(u16, u16, EndReason)], concluded: Option<u16>, missing: &str| {
        let mut world = world(2);
        for (number, node, end) in segments {
            world.record(CALL, *number, &[*node], end.clone(), No);
        }
        if let Some(total) = concluded {
            world.conclude(CALL, total, &[1]);
        }
        world.start_all();
        world.run(LONG);
        assert_eq!(outcome(&world), [(0, Some(S::CompleteInternalError))], "{}", world.last_lines());
        let told = told(&world);
        assert!(told.len() == 1 && told[0].contains(missing), "{told:?}");
    };
    // The second was lost with its record server's power, whoever says that there was one.
    check(&[(1, 1, EndReason::Hold), (3, 2, EndReason::HangUp)], None, "segment number 2");
    check(&[(1, 1, EndReason::Hold), (3, 2, EndReason::HangUp)], Some(3), "segment number 2");
    check(&[(1, 1, EndReason::Hold)], Some(2), "segment number 2");
    // The call was on hold when its proxy died.
    check(&[(1, 1, EndReason::Hold)], None, "segment number 2");
}

#[test]
fn a_call_that_somebody_has_or_that_is_live_is_left_alone() {
    let mut world = world(3);
    world.record(CALL, 1, &[1], EndReason::HangUp, No);
    world.cared.insert((2, CALL));
    world.start_all();
    world.run(LONG);
    assert_eq!(outcome(&world), [(0, None)], "node 3 has nothing of it but who has it");
    world.cared = [(0, CALL)].into();
    world.run(LONG);
    assert_eq!(outcome(&world), [(0, None)], "{}", world.last_lines());
    world.cared.clear();
    world.record(CALL, 2, &[2], EndReason::HangUp, No);
    world.live.insert(id(CALL, 2));
    world.run(LONG);
    assert_eq!(outcome(&world), [(0, None), (1, None)], "{}", world.last_lines());
    world.live.clear();
    world.run(2 * LONG);
    assert_eq!(outcome(&world), [(0, Some(S::Complete))], "{}", world.last_lines());
    assert_eq!(total(&world, 0), Some(2));
}

#[test]
fn what_is_not_said_is_not_taken_for_nobody() {
    let mut world = world(4);
    world.says_care = false;
    world.record(CALL, 1, &[1], EndReason::HangUp, No);
    world.start_all();
    world.run(86_400);
    assert_eq!(outcome(&world), [(0, None)], "a node of an older version");
    world.says_care = true;
    world.run(LONG);
    assert_eq!(outcome(&world), [(0, Some(S::Complete))]);
}

#[test]
fn a_record_server_that_is_away_is_waited_for_a_day_and_what_it_has_is_gathered_all_the_same() {
    let mut world = world(5);
    world.record(CALL, 1, &[1], EndReason::HangUp, No);
    world.record(CALL, 2, &[2], EndReason::HangUp, No);
    world.start(0);
    world.start(2);
    world.run(80_000);
    assert_eq!(lacks(&world, 0), [Lack::NotEnded, Lack::Servers(1)]);
    assert_eq!(world.state_at(CALL, 0), None);
    world.run(7_000);
    assert_eq!(world.state_at(CALL, 0), Some(S::CompleteInternalError), "{}", world.last_lines());
    assert!(told(&world)[0].contains("1 record servers could not be asked"), "{:?}", told(&world));
    world.start(1);
    world.run(LONG);
    assert_eq!(outcome(&world), [(0, Some(S::CompleteInternalError))], "{}", world.last_lines());
    assert_eq!(total(&world, 0), Some(2));
}

#[test]
fn two_that_conclude_apart_come_to_one_state_in_one_place() {
    let mut world = world(6);
    world.record(CALL, 1, &[1], EndReason::Hold, No);
    world.record(CALL, 2, &[2], EndReason::HangUp, No);
    world.start_all();
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        world.later(1, Happens::Cut(a, b));
        world.later(100_000_000, Happens::Mend(a, b));
    }
    world.run(90_000);
    let apart = outcome(&world);
    assert_eq!(apart, [(0, Some(S::CompleteInternalError)), (1, Some(S::CompleteInternalError))]);
    world.run(20_000);
    assert_eq!(outcome(&world), [(0, Some(S::CompleteInternalError))], "{}", world.last_lines());
    assert_eq!(total(&world, 0), Some(2));
}

#[test]
fn a_proxy_that_says_it_after_all_changes_nothing() {
    let mut world = world(7);
    world.record(CALL, 1, &[1], EndReason::Hold, No);
    world.record(CALL, 2, &[2], EndReason::HangUp, No);
    world.start_all();
    world.run(LONG);
    let before = outcome(&world);
    assert_eq!(before, [(0, Some(S::Complete))]);
    world.conclude(CALL, 2, &[1]);
    let held = world.holdings(0, &key(CALL));
    world.tell(0, super::super::Input::Own(held));
    world.run(LONG);
    assert_eq!(outcome(&world), before);
    assert_eq!(world.nodes[0].number, NodeNumber::new(1).unwrap());
}
