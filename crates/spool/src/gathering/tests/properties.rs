//! What holds whatever happens: no copy is given up before another is there for certain (looked after by the world at each
//! step), and once everything works each call is whole at one node and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use model::state::Respondent;
use model::{EndReason, Failure, Note, RecordingState, SegmentId, copy};

use super::super::known::Recording;
use super::super::logs;
use super::disk::{CAPACITY, rot};
use super::world::{Faults, Happens, World, key};
use crate::log::{self, Entry};
use crate::op::Files;
use crate::{layout, manifest, verify};

/// A cluster with calls on it, and what is to happen to it.
fn any(seed: u64) -> (World, Vec<u64>) {
    let mut world = World::new(seed, 2);
    let nodes = 2 + world.rng.below(3);
    world = World::new(seed ^ 0xabcd, u16::try_from(nodes).unwrap());
    world.says_care = true;
    let calls: Vec<u64> = (1..=1 + world.rng.below(3)).map(|n| n * 10).collect();
    for call in &calls {
        any_call(&mut world, *call, nodes);
    }
    world.faults = Faults {
        lost: world.rng.below(100),
        doubled: world.rng.below(100),
        failing: world.rng.below(40),
        killed: world.rng.below(12),
    };
    for _ in 0..world.rng.below(6) {
        let (a, b) = (world.rng.below(nodes), world.rng.below(nodes));
        let (a, b) = (usize::try_from(a).unwrap(), usize::try_from(b).unwrap());
        let (from, to) = (world.rng.below(60_000), world.rng.below(120_000));
        world.later(from, Happens::Cut(a, b));
        world.later(from + to, Happens::Mend(a, b));
    }
    if world.rng.chance(300) {
        let (node, at) = (usize::try_from(world.rng.below(nodes)).unwrap(), world.rng.below(120_000));
        world.later(at, Happens::Continue(node, calls[0]));
    }
    if world.rng.chance(300) {
        let node = usize::try_from(world.rng.below(nodes)).unwrap();
        world.nodes[node].disk.capacity = world.nodes[node].disk.used() + world.rng.below(4_000);
    }
    (world, calls)
}

fn any_call(world: &mut World, call: u64, nodes: u64) {
    let total = 1 + u16::try_from(world.rng.below(4)).unwrap();
    let mut holders = BTreeSet::new();
    let mut answers = Respondent::No;
    for number in 1..=total {
        let mut at = vec![u16::try_from(1 + world.rng.below(nodes)).unwrap()];
        let other = u16::try_from(1 + world.rng.below(nodes)).unwrap();
        if other != at[0] && world.rng.chance(250) {
            at.push(other);
        }
        let is_double = other != at[0] && world.rng.chance(300);
        let end = match world.rng.below(6) {
            0 if number < total => EndReason::Internal(Failure::Process),
            1 => EndReason::Upstream(Failure::MediaTimeout),
            _ if number < total => EndReason::Hold,
            _ => EndReason::HangUp,
        };
        let is_failure = matches!(end, EndReason::Internal(_));
        if is_double {
            // Two record servers recorded it. One of them may have failed, which is no failure of the segment then.
            at.truncate(1);
            let other_end =
                if world.rng.chance(300) { EndReason::Internal(Failure::Process) } else { end.clone() };
            world.record(call, number, &[other], other_end, answers);
            holders.insert(other);
        }
        world.record(call, number, &at, end, answers);
        answers = if is_failure && world.rng.chance(700) { Respondent::Yes } else { Respondent::No };
        holders.extend(at);
    }
    let holders: Vec<u16> = holders.into_iter().collect();
    let one = usize::try_from(world.rng.below(holders.len() as u64)).unwrap();
    match world.rng.below(10) {
        // Its proxy died before it said so.
        0 | 1 => {}
        2..=4 => world.conclude(call, total, &holders[one..=one]),
        _ => world.conclude(call, total, &holders),
    }
    world.noted.insert(call, holders.len());
    for at in holders {
        let note = Note::Put { key: format!("note-{at}").parse().unwrap(), value: "1".parse().unwrap() };
        world.note(call, at, &Entry::Noted { note, by: "api".to_owned() });
    }
}

/// Lets it happen, then lets everything work.
fn live(seed: u64) -> (World, Vec<u64>) {
    let (mut world, calls) = any(seed);
    let away = usize::try_from(world.rng.below(world.nodes.len() as u64 * 3)).unwrap();
    for node in 0..world.nodes.len() {
        if node == away {
            // For six hours.
            world.later(21_600_000, Happens::Start(node));
        } else {
            world.start(node);
        }
    }
    world.run(300);
    if away < world.nodes.len() {
        world.run(21_600);
    }
    for node in &mut world.nodes {
        node.disk.capacity = CAPACITY;
    }
    world.heal();
    world.run(2 * 3_600);
    (world, calls)
}

/// What the table says that a call comes to whose segments were sealed so.
fn expected(world: &World, call: u64) -> RecordingState {
    let of_call = world.sealed.values().filter(|(k, _)| *k == key(call));
    let mut copies: BTreeMap<SegmentId, Vec<RecordingState>> = BTreeMap::new();
    for (_, files) in of_call {
        let (_, bytes) = files.iter().find(|(path, _)| path.ends_with(".json")).unwrap();
        let record = manifest::read(bytes).unwrap().record;
        copies.entry(record.id).or_default().push(record.state);
    }
    let states: Vec<_> = copies.into_values().filter_map(copy::ended_best).collect();
    RecordingState::gathered(copy::gathered_outcome(&states).unwrap())
}

fn assert_whole(world: &World, call: u64) {
    let lines = || world.last_lines();
    let holders: Vec<usize> =
        (0..world.nodes.len()).filter(|n| !world.nodes[*n].disk.is_without(&key(call))).collect();
    let there: Vec<Vec<&str>> = world.nodes.iter().map(|n| n.disk.now.paths().collect()).collect();
    assert_eq!(holders.len(), 1, "call {call} is at {holders:?}: {there:#?}\n{}", lines());
    let (at, node) = (holders[0], &world.nodes[holders[0]]);
    for ((segment, _), (of, sealed)) in world.sealed.iter().filter(|(_, (of, _))| *of == key(call)) {
        assert!(node.disk.has(node.number, of, *segment, sealed), "{segment} at {at}\n{}", lines());
    }
    let state = expected(world, call);
    assert_eq!(world.state_at(call, at), Some(state), "call {call} at {at}\n{}", lines());
    assert_eq!(world.told_of_call(call, at), Some(state), "told of call {call}\n{}", lines());
    let directory = logs::directory_of(&key(call));
    let twins = layout::twin_directory(&directory);
    for within in [&directory, &twins].into_iter().filter(|d| node.disk.now.list(d).is_ok()) {
        let found = verify::call(&node.disk.now, within).unwrap();
        assert!(found.is_sound(), "{within}: {:?}\n{}", found.findings, lines());
    }
    // What people noted anywhere is here.
    let log = node.disk.now.bytes(&layout::log_path(&directory)).unwrap();
    assert_eq!(log::notes_of(&log::read(log).0).len(), world.noted[&call], "notes\n{}", lines());
    for (n, node) in world.nodes.iter().enumerate() {
        let machine = node.machine.as_ref().unwrap();
        assert_eq!(machine.standing(key(call).call), None, "at {n}\n{}", lines());
        let told = world.told_of_call(call, n).filter(|_| n != at);
        assert!(told.is_none_or(|t| !t.is_gathered() && !t.is_segment()), "call {call} at {n} is {told:?}");
    }
}

#[test]
fn whatever_happens_each_call_is_whole_at_one_node_in_the_end_and_always_somewhere() {
    // More of them are lived by `./dev sim`.
    let seeds = 60;
    let (mut purged, mut killed, mut doubled) = (0, 0, 0);
    for seed in 0..seeds {
        let (world, calls) = live(seed);
        for call in calls {
            assert_whole(&world, call);
        }
        purged += world.trace.iter().filter(|line| line.contains("purged")).count() as u64;
        let twice = |(segment, by): &&Recording| world.sealed.keys().any(|(s, b)| s == segment && b < by);
        doubled += world.sealed.keys().filter(twice).count() as u64;
        killed += world.trace.iter().filter(|line| line.contains("killed")).count() as u64;
    }
    // Some calls are of one server, some lives are quiet; most are not.
    let is_lively = purged > seeds && killed > seeds / 4 && doubled > seeds / 4;
    assert!(is_lively, "{purged} purged, {killed} killed, {doubled} segments recorded twice");
}

#[test]
fn one_seed_twice_is_the_same_life() {
    for seed in [3, 7] {
        assert_eq!(live(seed).0.trace, live(seed).0.trace);
    }
}

#[test]
#[should_panic(expected = "is nowhere for certain")]
fn what_is_looked_after_at_each_step_is_seen_when_it_is_not_so() {
    let mut world = World::new(1, 2);
    world.record(10, 1, &[1], EndReason::HangUp, Respondent::No);
    world.check();
    let path = format!("{}/001-1.mka", logs::directory_of(&key(10)));
    rot(&mut world.nodes[0].disk, &path);
    world.check();
}
