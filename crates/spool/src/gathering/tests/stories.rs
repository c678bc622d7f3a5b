//! Single things that happen, one after the other.

use model::peer::FileNames;
use model::state::Respondent;
use model::{
    Answer, CallHoldings, Declined, EndReason, Failure, NodeNumber, Note, Now, OpenSegment,
    RecordingState as S, Request, SegmentId,
};

use super::super::{CALLS_MAX, Input, Lack, Mode, Stage, Standing, Step, Synchronizer, Windows, logs};
use super::disk::{CAPACITY, Disk, Mood, rot};
use super::world::{Happens, World, id, key, place};
use crate::fixture::{segment, two_streams};
use crate::layout;
use crate::log::{self, Entry};

const CALL: u64 = 10;

fn node(n: u16) -> NodeNumber {
    NodeNumber::new(n).unwrap()
}

/// A call of two segments: the first at node 1, the second at node 2.
fn two(world: &mut World) {
    world.record(CALL, 1, &[1], EndReason::Hold, Respondent::No);
    world.record(CALL, 2, &[2], EndReason::HangUp, Respondent::No);
    world.conclude(CALL, 2, &[1, 2]);
}

fn machine(world: &World, n: usize) -> &Synchronizer {
    world.nodes[n].machine.as_ref().unwrap()
}

fn standing(world: &World, n: usize) -> Option<Standing> {
    machine(world, n).standing(key(CALL).call)
}

fn lacks(world: &World, n: usize) -> Vec<Lack> {
    standing(world, n).map(|s| s.lacks.into_iter().map(|(lack, _)| lack).collect()).unwrap_or_default()
}

fn is_only_at(world: &World, n: usize) -> bool {
    (0..world.nodes.len()).all(|other| world.nodes[other].disk.is_without(&key(CALL)) == (other != n))
}

fn log_at(world: &World, n: usize) -> Vec<log::LogLine> {
    let path = layout::log_path(&logs::directory_of(&key(CALL)));
    log::read(world.nodes[n].disk.now.bytes(&path).unwrap_or_default()).0
}

#[test]
fn a_call_on_two_servers_comes_to_the_one_of_its_first_segment() {
    let mut world = World::new(1, 2);
    two(&mut world);
    let note = Note::Put { key: "ticket".parse().unwrap(), value: "T-1".parse().unwrap() };
    world.note(CALL, 2, &Entry::Noted { note: note.clone(), by: "api".to_owned() });
    world.start_all();
    world.run(30);
    assert!(is_only_at(&world, 0), "{}", world.last_lines());
    assert_eq!(world.state_at(CALL, 0), Some(S::Complete));
    assert_eq!(world.told_of_call(CALL, 0), Some(S::Complete));
    // What was noted where the segment was is known here.
    let notes = log::notes_of(&log_at(&world, 0));
    assert!(notes.values().any(|noted| noted.note == note));
    assert_eq!((standing(&world, 0), standing(&world, 1)), (None, None));
    assert!(world.alarms.is_empty(), "{:?}", world.alarms);
}

#[test]
fn a_segment_that_was_opened_too_late_does_not_keep_its_call_from_being_gathered() {
    let mut world = World::new(1, 2);
    // Node 1 did not say in time that it opened segment 1, so node 2 was asked for another of that number.
    world.record(CALL, 1, &[1], EndReason::Internal(Failure::Process), Respondent::No);
    let open = OpenSegment {
        segment: id(CALL, 501),
        call: key(CALL).call,
        files: FileNames::ById,
        ..segment(1, 20_000, two_streams())
    };
    world.record_as(&open, &[2], EndReason::HangUp);
    world.conclude(CALL, 1, &[1, 2]);
    world.start_all();
    world.run(30);
    assert!(is_only_at(&world, 0), "{}", world.last_lines());
    assert_eq!(world.state_at(CALL, 0), Some(S::CompleteInternalError));
}

#[test]
fn what_a_call_comes_to_is_by_the_table() {
    use EndReason::{HangUp, Hold, Internal, Upstream};
    use Respondent::{No, Yes};
    let process = || Internal(Failure::Process);
    let phone = || Upstream(Failure::MediaTimeout);
    for (first, second, respondent, state, at) in [
        (Hold, HangUp, No, S::Complete, 0),
        (phone(), HangUp, No, S::CompleteExternalError, 0),
        (process(), HangUp, No, S::CompleteInternalError, 0),
        (process(), HangUp, Yes, S::CompleteInternalErrorRespondent, 1),
        (process(), phone(), Yes, S::CompleteInternalErrorRespondent, 1),
    ] {
        let mut world = World::new(2, 2);
        world.record(CALL, 1, &[1], first, No);
        world.record(CALL, 2, &[2], second, respondent);
        world.conclude(CALL, 2, &[1]);
        world.start_all();
        world.run(60);
        assert_eq!(world.state_at(CALL, at), Some(state), "{}", world.last_lines());
        assert!(is_only_at(&world, at), "{}", world.last_lines());
    }
}

#[test]
fn a_holder_that_is_away_is_waited_for_and_named_since_when() {
    let mut world = World::new(3, 3);
    two(&mut world);
    world.start(0);
    world.start(2);
    world.run(60);
    assert_eq!(lacks(&world, 0), [Lack::Number(2), Lack::Servers(1)]);
    // The catalog knows who has it.
    let held = world.holdings(1, &key(CALL));
    world.tell(0, Input::Holdings(node(2), held));
    let since = world.at().wall;
    world.run(2 * 86_400);
    let standing_now = standing(&world, 0).unwrap();
    assert_eq!(standing_now.stage, Stage::Waiting);
    assert_eq!(standing_now.lacks, [(Lack::Away(id(CALL, 2), vec![node(2)]), since)]);
    assert!(standing_now.lacks[0].0.to_string().ends_with("is at node 2, away"));
    assert!(is_unmoved(&world));
    world.start(1);
    world.run(30);
    assert!(is_only_at(&world, 0), "{}", world.last_lines());
}

fn is_unmoved(world: &World) -> bool {
    world.trace.iter().all(|line| !line.contains("Remove") && !line.contains("Settle"))
}

#[test]
fn a_live_segment_and_an_end_that_is_not_known_are_waited_for() {
    let mut world = World::new(4, 2);
    world.record(CALL, 1, &[1], EndReason::Hold, Respondent::No);
    world.record(CALL, 2, &[2], EndReason::HangUp, Respondent::No);
    world.live.insert(id(CALL, 2));
    world.start_all();
    world.run(30);
    assert_eq!(lacks(&world, 0), [Lack::NotEnded, Lack::Live(id(CALL, 2), node(2))]);
    world.conclude(CALL, 2, &[1]);
    let held = world.holdings(0, &key(CALL));
    world.tell(0, Input::Own(held));
    world.run(600);
    assert_eq!(lacks(&world, 0), [Lack::Live(id(CALL, 2), node(2))]);
    world.live.clear();
    let held = world.holdings(1, &key(CALL));
    world.tell(1, Input::Own(held));
    world.run(600);
    assert!(is_only_at(&world, 0), "{}", world.last_lines());
}

#[test]
fn what_is_live_elsewhere_is_asked_for_again_soon() {
    let mut world = World::new(4, 2);
    two(&mut world);
    world.live.insert(id(CALL, 2));
    world.start_all();
    world.run(1);
    assert_eq!(lacks(&world, 0), [Lack::Live(id(CALL, 2), node(2))]);
    // A crash is repaired there, which nobody tells here.
    world.live.clear();
    let held = world.holdings(1, &key(CALL));
    world.tell(1, Input::Own(held));
    world.run(20);
    assert!(is_only_at(&world, 0), "{}", world.last_lines());
}

/// Who is asked recalls the call: if that asked all others in its turn, questions would never end.
#[test]
fn where_all_that_is_here_is_live_nobody_else_is_asked() {
    let mut world = World::new(4, 4);
    for n in 1..=4 {
        world.record(CALL, n, &[n], EndReason::Hold, Respondent::No);
        if n > 1 {
            world.live.insert(id(CALL, n));
        }
    }
    world.start_all();
    world.run(60);
    assert!(world.steps < 1_000, "{} steps", world.steps);
}

#[test]
fn a_virtual_call_stays_where_it_is() {
    let mut world = World::new(5, 2);
    two(&mut world);
    world.nodes.iter_mut().for_each(|node| node.mode = Mode::Virtual);
    let before = world.nodes[1].disk.now.clone();
    world.start_all();
    world.run(3_600);
    assert!(is_unmoved(&world) && world.nodes[1].disk.now == before);
    assert_eq!(world.state_at(CALL, 0), None);
}

#[test]
fn a_copy_that_is_not_what_was_sealed_is_told_of_and_nothing_goes() {
    let mut world = World::new(6, 2);
    two(&mut world);
    world.is_checked = false;
    rot(&mut world.nodes[1].disk, &format!("{}/002-1.mka", logs::directory_of(&key(CALL))));
    world.start_all();
    world.run(3_600);
    assert_eq!(lacks(&world, 0), [Lack::Spoiled(id(CALL, 2), vec![node(2)])]);
    assert_eq!(world.alarms.len(), 1, "{:?}", world.alarms);
    assert_eq!(world.state_at(CALL, 0), None);
    assert!(is_unmoved_at(&world, 1));
}

fn is_unmoved_at(world: &World, n: usize) -> bool {
    world.trace.iter().all(|line| !(line.contains(&format!("node {}: Remove", n + 1))))
}

#[test]
fn of_two_copies_the_good_one_is_taken() {
    let mut world = World::new(7, 3);
    world.record(CALL, 1, &[1], EndReason::Hold, Respondent::No);
    world.record(CALL, 2, &[2, 3], EndReason::HangUp, Respondent::No);
    world.conclude(CALL, 2, &[1]);
    rot(&mut world.nodes[1].disk, &format!("{}/002-1.mka", logs::directory_of(&key(CALL))));
    world.start_all();
    world.run(3_600);
    assert_eq!(world.state_at(CALL, 0), Some(S::Complete), "{}", world.last_lines());
    // The other one has the digest that was asked for, by its manifest: it is given up like any.
    assert!(is_only_at(&world, 0), "{}", world.last_lines());
}

#[test]
fn nobody_gives_up_a_copy_for_one_that_is_spoiled() {
    let mut world = World::new(8, 2);
    world.record(CALL, 1, &[1, 2], EndReason::HangUp, Respondent::No);
    world.conclude(CALL, 1, &[1]);
    rot(&mut world.nodes[0].disk, &format!("{}/001-1.mka", logs::directory_of(&key(CALL))));
    world.start_all();
    world.run(3_600);
    assert!(is_unmoved_at(&world, 1), "{}", world.last_lines());
    assert_eq!(world.alarms.len(), 1, "{:?}", world.alarms);
    assert_eq!(lacks(&world, 0), [Lack::Copies(node(2))]);
}

#[test]
fn copies_that_differ_both_stay_and_it_is_told_once() {
    let mut world = World::new(9, 2);
    world.is_checked = false;
    world.record(CALL, 1, &[1, 2], EndReason::HangUp, Respondent::No);
    world.nodes[0].disk = Disk::new(CAPACITY);
    world.record(CALL, 1, &[1], EndReason::Upstream(Failure::MediaTimeout), Respondent::No);
    world.conclude(CALL, 1, &[1]);
    let before = world.nodes[1].disk.now.clone();
    world.start_all();
    world.run(20);
    let differ = Lack::Differs(id(CALL, 1), vec![node(1), node(2)]);
    assert_eq!(lacks(&world, 0), std::slice::from_ref(&differ), "{}", world.last_lines());
    assert!(world.nodes[1].disk.now == before);
    is_at_rest(&mut world);
    assert_eq!(world.alarms, [differ.to_string(), differ.to_string()], "once at each node");
}

/// Nothing is left to be done, and nobody keeps it in mind or asks any more.
fn is_at_rest(world: &mut World) {
    world.run(3_600);
    assert_eq!((standing(world, 0), standing(world, 1)), (None, None), "{}", world.last_lines());
    let steps = world.steps;
    world.run(2 * 86_400);
    assert_eq!(world.steps, steps, "{}", world.last_lines());
}

#[test]
fn it_is_done_in_windows_or_when_somebody_wants_it() {
    let mut world = World::new(10, 2);
    two(&mut world);
    world.start_all();
    let closed = Windows { gather: false, purge: false };
    (0..2).for_each(|n| world.tell(n, Input::Windows(closed)));
    world.run(600);
    assert_eq!(standing(&world, 0).unwrap().stage, Stage::Window, "{}", world.last_lines());
    world.tell(0, Input::Wanted(key(CALL).call));
    world.run(60);
    assert_eq!(world.state_at(CALL, 0), Some(S::Complete), "{}", world.last_lines());
    let held = world.holdings(1, &key(CALL));
    assert_eq!(held.copies().map(|(_, copy)| copy.state).collect::<Vec<_>>(), [S::Delete]);
    assert!(is_unmoved_at(&world, 1));
    world.tell(1, Input::Windows(Windows { purge: true, ..closed }));
    world.run(10);
    assert!(is_only_at(&world, 0), "{}", world.last_lines());
}

#[test]
fn a_log_that_says_more_since_stays_and_it_is_told() {
    let mut world = World::new(11, 2);
    two(&mut world);
    world.start_all();
    world.tell(1, Input::Windows(Windows { gather: true, purge: false }));
    world.run(60);
    let note = Note::Tagged { tag: "late".parse().unwrap() };
    world.note(CALL, 2, &Entry::Noted { note, by: "api".to_owned() });
    world.tell(1, Input::Windows(Windows { gather: true, purge: true }));
    world.run(10);
    let left: Vec<&str> = world.nodes[1].disk.now.paths().filter(|p| p.starts_with("default")).collect();
    assert_eq!(left, [layout::log_path(&logs::directory_of(&key(CALL)))]);
    assert!(world.alarms.iter().any(|a| a.contains("stays")), "{:?}", world.alarms);
}

#[test]
fn whoever_has_no_room_does_not_lead() {
    let mut world = World::new(12, 2);
    two(&mut world);
    world.nodes[0].disk.capacity = world.nodes[0].disk.used() + 1_500;
    world.start_all();
    world.run(60);
    assert!(is_only_at(&world, 1), "{}", world.last_lines());
}

#[test]
fn of_two_that_gathered_the_same_call_the_lower_number_stays() {
    let mut world = World::new(13, 2);
    world.record(CALL, 1, &[2, 1], EndReason::Hold, Respondent::No);
    world.record(CALL, 2, &[1, 2], EndReason::HangUp, Respondent::No);
    world.conclude(CALL, 2, &[1, 2]);
    world.start(0);
    world.run(60);
    world.kill(0, false);
    world.start(1);
    world.run(60);
    assert_eq!((world.state_at(CALL, 0), world.state_at(CALL, 1)), (Some(S::Complete), Some(S::Complete)));
    world.start(0);
    world.run(60);
    assert!(is_only_at(&world, 0), "{}", world.last_lines());
    assert_eq!(world.told_of_call(CALL, 1), Some(S::Delete));
}

#[test]
fn a_call_that_goes_on_is_gathered_again() {
    let mut world = World::new(14, 3);
    two(&mut world);
    world.start_all();
    world.later(60_000, Happens::Continue(2, CALL));
    world.run(59);
    assert_eq!(world.state_at(CALL, 0), Some(S::Complete));
    world.run(600);
    assert!(is_only_at(&world, 0), "{}", world.last_lines());
    let states: Vec<S> = log_at(&world, 0)
        .into_iter()
        .filter_map(|line| match line.entry {
            Entry::State { copy, .. } if matches!(copy.of, model::CopyOf::Call(_)) => Some(copy.state),
            _ => None,
        })
        .collect();
    assert_eq!(states, [S::Complete, S::Partial, S::Complete]);
}

#[test]
fn calls_that_are_one_come_together_each_in_its_directory() {
    let mut world = World::new(15, 2);
    world.record(CALL, 1, &[1], EndReason::HangUp, Respondent::No);
    world.record(20, 1, &[2], EndReason::HangUp, Respondent::No);
    world.joined.insert(20, CALL);
    world.numbers.insert(id(20, 1), 2);
    world.conclude(CALL, 2, &[1]);
    world.start_all();
    world.run(60);
    assert_eq!(world.state_at(CALL, 0), Some(S::Complete), "{}", world.last_lines());
    let (of, sealed) = &world.sealed[&(id(20, 1), node(2))];
    assert!(world.nodes[0].disk.has(node(1), of, id(20, 1), sealed));
    assert!(world.nodes[1].disk.is_without(&key(20)), "{}", world.last_lines());
}

#[test]
fn a_call_that_was_gathered_before_it_turned_out_to_be_another_is_leaned_on_as_before() {
    let mut world = World::new(15, 2);
    world.record(20, 1, &[2], EndReason::HangUp, Respondent::No);
    world.conclude(20, 1, &[2]);
    world.start(1);
    world.run(60);
    assert_eq!(world.state_at(20, 1), Some(S::Complete), "{}", world.last_lines());
    world.record(CALL, 1, &[1], EndReason::HangUp, Respondent::No);
    world.joined.insert(20, CALL);
    let held = world.holdings(1, &key(CALL));
    assert_eq!((held.copies().count(), held.gathered), (1, true));
    assert!(!world.holdings(0, &key(CALL)).gathered);
}

#[test]
fn ranges_that_never_come_are_asked_for_again_and_a_person_is_told() {
    let mut world = World::new(16, 2);
    two(&mut world);
    world.start_all();
    world.faults.lost = 1_000;
    world.run(3_600);
    assert!(lacks(&world, 0).contains(&Lack::Unheard(node(2))), "{:?}", lacks(&world, 0));
    world.faults.lost = 0;
    world.faults.failing = 1_000;
    world.run(3_600);
    assert!(world.alarms.iter().any(|a| a.contains("after many tries")), "{:?}", world.alarms);
    assert!(standing(&world, 0).unwrap().failures > 7);
    world.faults.failing = 0;
    world.run(1_200);
    assert!(is_only_at(&world, 0), "{}", world.last_lines());
}

/// A machine that knows of a call of two segments, the second at node 2, and what it asks.
fn asking(world: &mut World) -> (Synchronizer, Vec<Step>) {
    two(world);
    let terms = super::super::Terms {
        node: node(1),
        volume: model::VolumeName::default(),
        mode: Mode::Gather,
        range: 400,
        octets_in_flight: 1_000,
        octets_per_second: 1 << 20,
        reserve: 0,
        others: 1,
        conclude_after: std::time::Duration::from_secs(120),
    };
    let mut machine = Synchronizer::new(terms, 0);
    let now = world.at();
    machine.handle(now, Input::Room(1 << 30));
    machine.handle(now, Input::Up(node(2)));
    machine.handle(now, Input::Own(world.holdings(0, &key(CALL))));
    let steps = std::iter::from_fn(|| machine.poll()).collect();
    (machine, steps)
}

#[test]
fn whatever_a_node_answers_nothing_grows_and_nothing_is_believed() {
    let mut world = World::new(17, 2);
    let (mut machine, mut steps) = asking(&mut world);
    let good = world.holdings(1, &key(CALL));
    let mut rng = super::world::Rng(5);
    let mut written = 0;
    for turn in 0..5_000_u64 {
        let now = world.at() + std::time::Duration::from_secs(turn * 2);
        machine.handle_timeout(now);
        if turn % 100 == 99 {
            machine.handle(now, Input::Down(node(2)));
            machine.handle(now, Input::Up(node(2)));
        }
        steps.extend(std::iter::from_fn(|| machine.poll()));
        let Some(step) = steps.pop() else { continue };
        match step {
            Step::Ask { to, ticket, request } => {
                let answer = match (request, rng.below(8)) {
                    (Request::List { .. }, 0..=5) => Answer::Held { room: 9, held: good.clone() },
                    (_, 0) => Answer::Deleted,
                    (_, 1) => Answer::Octets { octets: vec![7; 100_000], is_end: false },
                    (_, 2) => Answer::Octets { octets: vec![7; 400], is_end: rng.chance(500) },
                    (_, 3) => Answer::Octets { octets: Vec::new(), is_end: false },
                    (_, 4) => Answer::Held { room: 0, held: CallHoldings::nothing(key(99)) },
                    (_, 5) => Answer::Declined(Declined::Unknown),
                    _ => Answer::Declined(Declined::Busy),
                };
                // Others who answer in its place are not heard.
                machine.handle(now, Input::Answered { from: node(3), ticket, answer: Answer::Deleted });
                machine.handle(now, Input::Answered { from: to, ticket, answer: answer.clone() });
                machine.handle(now, Input::Answered { from: to, ticket, answer });
            }
            Step::Local { ticket, local, .. } => {
                let mut again = super::world::Rng(turn);
                written += usize::from(matches!(local, super::super::Local::File(_)));
                let result = world.nodes[0].disk.carry_out(&local, Mood::Well, &mut |n| again.below(n));
                machine.handle(now, Input::Done { ticket, result: result.clone() });
                machine.handle(now, Input::Done { ticket, result });
            }
            _ => {}
        }
    }
    assert!(written > 10, "it never came to that: {written}");
    assert_eq!(machine.standings().count(), 1);
    let state = machine.standing(key(CALL).call).unwrap();
    assert_ne!(state.stage, Stage::Gathered);
    let settled = world.nodes[0].disk.now.paths().any(|path| path.ends_with("/002.json"));
    assert!(!settled, "what was not verified has its name");
}

#[test]
fn whatever_a_node_asks_for_only_what_is_there_is_read_and_nothing_goes_without_proof() {
    let mut world = World::new(18, 2);
    let (mut machine, _) = asking(&mut world);
    let now = world.at();
    let own = world.holdings(0, &key(CALL));
    let digest = own.copies().next().unwrap().1.digest().unwrap().to_owned();
    let log = logs::mark(
        world.nodes[0].disk.now.bytes(&layout::log_path(&logs::directory_of(&key(CALL)))).unwrap(),
    );
    let delete = |segment: SegmentId, digest: &str, log: &model::LogMark| Request::Delete {
        place: place(CALL),
        copies: vec![(segment, digest.to_owned())],
        log: log.clone(),
        state: S::Complete,
    };
    let less = model::LogMark { octets: 0, sha256: logs::mark(b"").sha256 };
    let read =
        |file: &str| Request::Read { place: place(CALL), file: file.to_owned(), offset: 0, length: u32::MAX };
    for (request, expected) in [
        (read("../../x"), Answer::Declined(Declined::Unknown)),
        (read("002.json"), Answer::Declined(Declined::Unknown)),
        (delete(id(CALL, 1), "ab", &log), Answer::Declined(Declined::Differs)),
        (delete(id(CALL, 1), &digest, &less), Answer::Declined(Declined::LogGrew)),
        (delete(id(CALL, 1), &digest, &log), Answer::Deleted),
        (delete(id(CALL, 1), &digest, &log), Answer::Deleted),
        // What is not here is not given up any more than that.
        (delete(id(CALL, 7), &digest, &log), Answer::Deleted),
    ] {
        machine.handle(now, Input::Windows(Windows { gather: false, purge: false }));
        machine.handle(now, Input::Asked { from: node(2), ticket: 5, request: request.clone() });
        let mut answer = None;
        while let Some(step) = machine.poll() {
            match step {
                Step::Local { ticket, local, .. } => {
                    let mut rng = super::world::Rng(0);
                    let result = world.nodes[0].disk.carry_out(&local, Mood::Well, &mut |n| rng.below(n));
                    machine.handle(now, Input::Done { ticket, result });
                }
                Step::Answer { answer: said, .. } => answer = Some(said),
                _ => {}
            }
        }
        assert_eq!(answer, Some(expected), "{request:?}");
    }
    // Who gathered it keeps it, whoever of a higher number asks.
    let gathered = CallHoldings { gathered: true, ..own };
    // The same seed: the same segments.
    let mut world = World::new(18, 2);
    let (mut machine, _) = asking(&mut world);
    machine.handle(now, Input::Own(gathered));
    machine
        .handle(now, Input::Asked { from: node(2), ticket: 6, request: delete(id(CALL, 1), &digest, &log) });
    let kept = Answer::Declined(Declined::Kept);
    let answers = std::iter::from_fn(|| machine.poll());
    assert!(answers.into_iter().any(|step| matches!(step, Step::Answer { answer, .. } if answer == kept)));
}

#[test]
fn no_more_calls_are_kept_in_mind_than_there_is_room_for_and_what_waits_keeps_none_out() {
    let mut world = World::new(20, 2);
    let (mut machine, _) = asking(&mut world);
    let now = world.at();
    let held = world.holdings(0, &key(CALL));
    let take_in = |machine: &mut Synchronizer, call: u64, at: Now| {
        machine.handle(at, Input::Own(CallHoldings { call: key(call), ..held.clone() }));
        while machine.poll().is_some() {}
    };
    let max = CALLS_MAX as u64;
    (1..max).for_each(|call| take_in(&mut machine, 1_000 + call, now));
    assert!(!machine.has_put_off());
    // All of them wait for node 2, which says nothing. What happens now is not kept out, what is found waits for its turn.
    assert!(machine.has_room() && !machine.has_room_for_found(now.mono));
    let later = now + std::time::Duration::from_secs(60);
    assert!(machine.has_room_for_found(later.mono));
    take_in(&mut machine, 1_000 + max, later);
    assert_eq!(machine.calls_in_mind(), CALLS_MAX);
    assert!(machine.standing(key(1_000 + max).call).is_some());
    assert_eq!(machine.standing(key(CALL).call), None, "the one that waited longest, of these the first");
    assert!(machine.has_put_off() && !machine.has_put_off());
    (1..=50).for_each(|call| take_in(&mut machine, 1_000 + max + call, later));
    assert_eq!(machine.standings().count(), CALLS_MAX);
    assert_eq!(machine.waits.len(), CALLS_MAX);
}

#[test]
fn what_cannot_be_read_is_said_to_be_so_and_keeps_nobody_out() {
    let mut world = World::new(21, 2);
    let (mut machine, _) = asking(&mut world);
    let now = world.at();
    let ask = |machine: &mut Synchronizer, call: u64, ticket: u64| {
        machine
            .handle(now, Input::Asked { from: node(2), ticket, request: Request::List { call: key(call) } });
        let answers = std::iter::from_fn(|| machine.poll()).filter_map(|step| match step {
            Step::Answer { answer, .. } => Some(answer),
            _ => None,
        });
        answers.collect::<Vec<_>>()
    };
    let said = |machine: &mut Synchronizer| {
        std::iter::from_fn(|| machine.poll()).find_map(|step| match step {
            Step::Answer { ticket, answer, .. } => Some((ticket, answer)),
            _ => None,
        })
    };
    assert_eq!(ask(&mut machine, 77, 1), []);
    let busy = Answer::Declined(Declined::Busy);
    for ticket in 2..2_000 {
        assert_eq!(ask(&mut machine, 77, ticket), std::slice::from_ref(&busy), "the one before");
    }
    assert_eq!(ask(&mut machine, 78, 2_000), []);
    machine.handle(now, Input::Unread { call: key(77).call, why: "torn".to_owned() });
    assert_eq!(said(&mut machine), Some((1_999, Answer::Declined(Declined::Disk("torn".to_owned())))));
    // What cannot be is as good as unread.
    let mut odd = CallHoldings { call: key(78), ..world.holdings(0, &key(CALL)) };
    odd.directories[0].copies[0].number = 0;
    machine.handle(now, Input::Own(odd));
    let answer = said(&mut machine);
    assert!(matches!(answer, Some((2_000, Answer::Declined(Declined::Disk(_))))), "{answer:?}");
    // What nobody says anything of does not stay.
    assert_eq!(ask(&mut machine, 79, 3_000), []);
    machine.handle_timeout(now + std::time::Duration::from_secs(20));
    assert_eq!(said(&mut machine), Some((3_000, busy)));
}
