//! Segments that are written by way of a redo, in virtual time: the process dies at any moment, inside any write, or
//! the machine loses its power; what is promised is there.

use std::collections::{BTreeMap, BTreeSet};

use model::NodeNumber;
use model::segment::PartRecord;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::world::{Done, Takes, World, at, leaf_path, replay, write_at};
use super::*;
use crate::layout::ManifestPath;
use crate::memory::MemoryDisk;
use crate::op::{FileOp, Files};
use crate::writer::SegmentWriter;
use crate::{fixture, manifest};

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A segment's part grows.
    Append(usize, usize),
    /// Something else is done to one.
    Other(usize),
    Passes(i64),
    SyncBegins,
    SyncEnds,
    SyncFails,
    Fails(bool),
    /// A segment's own file takes nothing any more.
    FileFails(usize),
    Closes(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0_usize..3, 1_usize..3_000).prop_map(|(s, n)| Event::Append(s, n)),
        1 => (0_usize..3).prop_map(Event::Other),
        5 => (1_i64..400).prop_map(Event::Passes),
        2 => Just(Event::SyncBegins),
        2 => Just(Event::SyncEnds),
        1 => Just(Event::SyncFails),
        1 => (0_usize..9).prop_map(Event::FileFails),
        1 => (0_usize..3).prop_map(Event::Closes),
        1 => any::<bool>().prop_map(Event::Fails),
    ]
}

fn marked() -> ManifestPath {
    ManifestPath::parse("t/2026-11-20/06bqx3m8r0400/001.json").unwrap()
}

fn part(segment: usize) -> String {
    format!("{}/001-{}.mka", marked().directory, segment + 1)
}

/// What was appended to each part.
type Appended = [Vec<u8>; 3];

/// What was done, and how much of each part had been asked for when it was.
fn live(events: &[Event], leaf_max: u64) -> (Vec<Done>, Vec<[usize; 3]>, Appended, BTreeSet<usize>) {
    let (mut world, mut ms, mut syncing) = (World::new(), 0, false);
    world.shelf.limit(leaf_max);
    let (mut all, mut asked): (Appended, Vec<[usize; 3]>) = Default::default();
    let create = |segment| FileOp::Create { path: part(segment), bytes: b"head".to_vec() };
    let directory = FileOp::MakeDir { path: marked().directory };
    world.flush(0, [directory].into_iter().chain((0..3).map(create)).collect());
    all.iter_mut().for_each(|part| part.extend(b"head"));
    for (n, event) in events.iter().enumerate() {
        match *event {
            Event::Append(segment, octets) => {
                let bytes: Vec<u8> =
                    (0..octets).map(|i| u8::try_from((n * 31 + i) % 251).unwrap() + 1).collect();
                if matches!(world.files[&part(segment)].state, Takes::GivenUp { .. } | Takes::Closed) {
                    continue;
                }
                all[segment].extend(&bytes);
                world.flush(ms, vec![FileOp::Append { path: part(segment).into(), bytes }]);
            }
            Event::Other(segment) => {
                let bytes = b"h".to_vec();
                world.flush(ms, vec![FileOp::Patch { path: part(segment), offset: 0, bytes }]);
            }
            Event::Passes(by) => {
                ms += by;
                world.look(ms);
            }
            Event::SyncBegins if !syncing => {
                syncing = true;
                world.sync_begins(ms);
            }
            Event::SyncEnds if syncing => {
                syncing = false;
                world.sync_ends(ms);
            }
            Event::SyncFails if syncing => {
                syncing = false;
                world.sync_fails(ms);
            }
            Event::Fails(fails) => world.fails = fails,
            Event::FileFails(segment) => {
                let tail = world.files.get_mut(&part(segment));
                tail.into_iter()
                    .filter(|t| t.state == Takes::Everything)
                    .for_each(|t| t.state = Takes::Nothing);
            }
            Event::Closes(segment) => world.close(ms, &part(segment)),
            _ => {}
        }
        let safe = [0, 1, 2].map(|segment| world.safe(&part(segment), all[segment].len()));
        asked.resize(world.done.len(), safe);
    }
    (world.done.into_iter().map(|(_, done)| done).collect(), asked, all, world.straight)
}

/// Each part is what was appended to it, at least so far.
fn expect(disk: &MemoryDisk, all: &Appended, at_least: [usize; 3], whole: bool) -> Result<(), String> {
    for (segment, least) in at_least.into_iter().enumerate() {
        let Some(found) = disk.bytes(&part(segment)) else {
            if least == 0 { continue } else { return Err(format!("part {segment} is gone")) }
        };
        let right = found.iter().zip(&all[segment]).take_while(|(a, b)| a == b).count();
        if right < least || (whole && right < found.len()) {
            return Err(format!("part {segment}: {right} of {} are right, {least} are to be", found.len()));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_killed_process_loses_only_what_it_was_writing(
        events in proptest::collection::vec(event(), 1..120),
        leaf_max in 1_u64..40_000,
        at in any::<prop::sample::Index>(),
        inside in any::<prop::sample::Index>(),
        again in any::<prop::sample::Index>(),
    ) {
        let (done, asked, all, _) = live(&events, leaf_max);
        let at = at.index(done.len() + 1);
        let mut disk = MemoryDisk::new();
        done[..at].iter().for_each(|done| done.apply(&mut disk, usize::MAX));
        if let Some(cut) = done.get(at) {
            let octets = inside.index(cut.octets() + 1);
            if octets > 0 { cut.apply(&mut disk, octets); }
        }
        // All that was asked for before the last that was done; at the beginning there is nothing yet.
        let least = if at < 5 { [0; 3] } else { asked[at - 1] };
        let before = disk.clone();
        replay(&mut disk, &[marked()]);
        // In the midst of several writes of one flush the last one asked for is not complete.
        let least = if done[at.min(done.len())..].first().is_some_and(|next| {
            asked.get(at).is_some_and(|a| *a == least) && matches!(next, Done::Redo { .. } | Done::Op(_))
        }) { asked[..at].iter().rev().find(|a| **a != least).copied().unwrap_or([0; 3]) } else { least };
        prop_assert_eq!(expect(&disk, &all, least, true), Ok(()));
        // A replay that dies is done again.
        let mut half = before;
        let kept: Vec<String> = half.paths().filter(|p| p.starts_with(DIR)).map(ToOwned::to_owned).collect();
        let parts: Vec<String> = disk.paths().filter(|p| p.ends_with(".mka")).map(ToOwned::to_owned).collect();
        if let Some(path) = parts.get(again.index(parts.len().max(1))) {
            half.put(path, disk.bytes(path).unwrap().to_vec());
        }
        prop_assert!(kept.len() <= LEAVES_MAX);
        replay(&mut half, &[marked()]);
        prop_assert_eq!(half, disk);
    }

    #[test]
    fn a_loss_of_power_loses_only_what_was_not_synced(
        events in proptest::collection::vec(event(), 1..120),
        leaf_max in 1_u64..40_000,
        at in any::<prop::sample::Index>(),
        chance in proptest::collection::vec(any::<u8>(), 64),
    ) {
        let (done, asked, all, straight) = live(&events, leaf_max);
        let at = at.index(done.len()) + 1;
        let ended = done[..at].iter().rev().find_map(|d| if let Done::Ends(n) = d { Some(*n) } else { None });
        let begun = done[..at].iter().position(|d| matches!(d, Done::Begins(n) if Some(*n) == ended));
        let synced = begun.unwrap_or(0);
        let mut disk = MemoryDisk::new();
        let dropped = dropped(&done[..at], &straight, &chance);
        for (index, done) in done[..synced].iter().enumerate() {
            if dropped.contains(&index) { done.zeros().apply(&mut disk, usize::MAX) } else { done.apply(&mut disk, usize::MAX) }
        }
        // Of each file any number of later operations, and of what they wrote any part, with zeros in its place.
        let mut chances = chance.iter().cycle();
        let mut lost: BTreeMap<String, bool> = BTreeMap::new();
        for done in &done[synced..at] {
            let Some(path) = done.path() else { continue };
            let is_lost = lost.entry(path.clone()).or_default();
            // Of directories those that were made first.
            *is_lost |= chances.next().unwrap() % 6 == 0 && !matches!(done, Done::Op(FileOp::MakeDir { .. }));
            let made = !matches!(done, Done::Op(FileOp::Append { .. } | FileOp::Patch { .. }))
                || disk.bytes(&path).is_some();
            if *is_lost || !made {
                continue;
            }
            match done {
                Done::Redo { leaf, offset, bytes } if chances.next().unwrap() % 4 == 0 => {
                    write_at(&mut disk, &leaf_path(*leaf), *offset, &vec![0; bytes.len()]);
                }
                Done::Op(FileOp::Append { path, bytes }) if chances.next().unwrap() % 4 == 0 => {
                    let zeros = FileOp::Append { path: path.clone(), bytes: vec![0; bytes.len()] };
                    disk.apply(&zeros).unwrap();
                }
                other => other.apply(&mut disk, usize::MAX),
            }
        }
        replay(&mut disk, &[marked()]);
        let least = synced.checked_sub(1).map_or([0; 3], |last| asked[last]);
        prop_assert_eq!(expect(&disk, &all, least, false), Ok(()));
    }

    #[test]
    fn records_are_read_as_they_were_written_up_to_the_first_that_is_not_whole(
        written in proptest::collection::vec(("[a-z/.]{0,40}", any::<u64>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..10),
        cut in any::<prop::sample::Index>(),
        spoiled in any::<Option<prop::sample::Index>>(),
        run in any::<u64>(),
    ) {
        let number = Number { run, file: 3 };
        let (mut file, mut ends) = (number.head().to_vec(), Vec::new());
        for (path, offset, bytes) in &written {
            let range = put(&mut file, number, &Record { path, offset: *offset, bytes }).unwrap();
            prop_assert_eq!(&file[range], bytes.as_slice());
            ends.push(file.len());
        }
        prop_assert_eq!(number_of(&file), Ok(Some(number)));
        let mut left = cut.index(file.len() + 1);
        file.resize(left, 0);
        if let Some(at) = spoiled.map(|s| s.index(left.max(1))).filter(|at| *at < left) {
            file[at] ^= 1;
            left = at;
        }
        let whole = if left < HEAD_OCTETS { 0 } else { ends.iter().filter(|end| **end <= left).count() };
        // What is spoiled may be the version.
        let read: Vec<_> = records(&file).map(Iterator::collect).unwrap_or_default();
        let expected: Vec<_> = written[..whole].iter().map(|(p, o, b)| Record { path: p, offset: *o, bytes: b }).collect();
        prop_assert_eq!(read, expected);
    }
}

/// What a sync that failed did not make durable, and none after it does: of what was written since the last that ended
/// well, any part. (What no redo has is lost then, and nobody can tell: it is left out.)
fn dropped(done: &[Done], straight: &BTreeSet<usize>, chance: &[u8]) -> BTreeSet<usize> {
    let (mut durable, mut begun, mut dropped) = (0, 0, BTreeSet::new());
    for (index, done) in done.iter().enumerate() {
        match done {
            Done::Begins(_) => begun = index,
            Done::Ends(_) | Done::EndsInVain => durable = begun,
            Done::Fails => dropped.extend(
                (durable..index)
                    .filter(|i| !chance[i % chance.len()].is_multiple_of(3) && !straight.contains(i)),
            ),
            _ => {}
        }
    }
    dropped
}

/// A segment that failed may be sealed without what the redo still has.
#[test]
fn a_sealed_segment_is_left_as_it_was_sealed() {
    let writer = SegmentWriter::open(
        &fixture::segment(1, 0, fixture::two_streams()),
        NodeNumber::SINGLE,
        fixture::now(0),
    );
    let mut record = writer.record().clone();
    record.parts = vec![PartRecord {
        number: 1,
        file: "001-1.mka".to_owned(),
        tracks: Vec::new(),
        offset_us: 0,
        duration_us: 0,
        bytes: 6,
        sha256: None,
        marks: Vec::new(),
    }];
    let number = Number { run: 1, file: 1 };
    let lacks = |sealed: bool, there: &[u8], name: &str| {
        let mut disk = MemoryDisk::new();
        let path = format!("{}/{name}", marked().directory);
        disk.put(&path, there.to_vec());
        disk.put(&marked().path(), manifest::to_bytes(&record, sealed, record.started));
        let mut file = number.head().to_vec();
        for (offset, bytes) in [(4, &b"abcd"[..]), (8, b"ef")] {
            put(&mut file, number, &Record { path: &path, offset, bytes }).unwrap();
        }
        let found = missing(records(&file).unwrap(), &[marked()], &disk).unwrap();
        found.iter().map(|m| (m.offset, m.bytes.to_vec())).collect::<Vec<_>>()
    };
    let behind = [(6, b"cd".to_vec()), (8, b"ef".to_vec())];
    assert_eq!(lacks(false, b"headab", "001-1.mka"), behind);
    assert_eq!(lacks(true, b"headab", "001-1.mka"), []);
    // A loss of power took what had been sealed, and the redo has it.
    assert_eq!(lacks(true, b"head", "001-1.mka"), [(4, b"ab".to_vec())]);
    assert_eq!(lacks(true, b"head\0\0", "001-1.mka"), [(4, b"ab".to_vec())]);
    // What is not of what was sealed.
    assert_eq!(lacks(true, b"head", "001-2.mka"), []);
    assert_eq!(lacks(false, b"headab", "001-2.mka"), behind);
}

#[test]
fn what_little_is_recorded_is_out_of_the_redo_after_some_seconds() {
    let mut world = World::new();
    let path = part(0);
    world.flush(0, vec![FileOp::MakeDir { path: marked().directory }]);
    world.flush(0, vec![FileOp::Create { path: path.clone(), bytes: vec![1] }]);
    let mut longest = 0;
    let mut since: BTreeMap<usize, i64> = BTreeMap::new();
    for ms in (0..60_000).step_by(100) {
        if ms < 30_000 {
            world.flush(ms, vec![FileOp::Append { path: path.as_str().into(), bytes: vec![7; 400] }]);
        }
        match ms % 1_000 {
            0 => world.sync_begins(ms),
            200 => world.sync_ends(ms),
            _ => {}
        }
        world.look(ms);
        for (_, done) in world.done.drain(..) {
            match done {
                Done::Redo { leaf, .. } => _ = since.entry(leaf).or_insert(ms),
                Done::Emptied(leaf) => longest = longest.max(ms - since.remove(&leaf).unwrap()),
                _ => {}
            }
        }
    }
    assert!(longest <= 4_000, "{longest} ms");
    assert_eq!(since, BTreeMap::new());
    assert!(!world.shelf.is_in_use() && world.shelf.waiting() == 0);
}

#[test]
fn a_segments_file_is_written_a_sixth_as_often_and_the_redo_once_for_all() {
    let mut world = World::new();
    world.flush(0, vec![FileOp::MakeDir { path: marked().directory }]);
    let names: Vec<String> = (0..50).map(part).collect();
    let create = |path: &String| FileOp::Create { path: path.clone(), bytes: vec![1] };
    world.flush(0, names.iter().map(create).collect());
    world.done.clear();
    for ms in (0..10_000).step_by(100) {
        let append = |path: &String| FileOp::Append { path: path.as_str().into(), bytes: vec![7; 2_000] };
        world.flush(ms, names.iter().map(append).collect());
    }
    let redo = world.done.iter().filter(|(_, done)| matches!(done, Done::Redo { .. })).count();
    assert_eq!((redo, world.done.len() - redo), (100, 50 * 16));
}

#[test]
fn nothing_is_written_where_no_marked_segment_is() {
    let mut disk = MemoryDisk::new();
    let inside = part(0);
    disk.put(&inside, b"head".to_vec());
    disk.put("t/2026-11-20/06bqx3m8r0400/002-1.mka", b"head".to_vec());
    let number = Number { run: 1, file: 1 };
    let lacks = |path: &str, offset, bytes: &[u8]| {
        let mut file = number.head().to_vec();
        put(&mut file, number, &Record { path, offset, bytes }).unwrap();
        let found = missing(records(&file).unwrap(), &[marked()], &disk).unwrap();
        found.iter().map(|m| (m.offset, m.bytes.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(lacks(&inside, 4, b"more"), [(4, b"more".to_vec())]);
    assert_eq!(lacks(&inside, 2, b"admore"), [(4, b"more".to_vec())]);
    assert_eq!(lacks(&inside, 2, b"xymore"), [(2, b"xymore".to_vec())]);
    assert_eq!(lacks(&inside, 0, b"head"), []);
    assert_eq!(lacks(&inside, 5, b"behind a hole"), []);
    assert_eq!(lacks(&inside, u64::MAX, b"beyond"), []);
    for other in [
        "t/2026-11-20/06bqx3m8r0400/002-1.mka",
        "t/2026-11-20/06bqx3m8r0400/001.json",
        "t/2026-11-20/06bqx3m8r0400/001-9.mka",
        "t/2026-11-20/06bqx3m8r0400/../06bqx3m8r0400/001-1.mka",
        "../001-1.mka",
        "/etc/passwd",
        "001-1.mka",
        "",
    ] {
        assert_eq!(lacks(other, 4, b"more"), [], "{other}");
    }
    assert!(disk.open(&inside).is_ok());
}

#[test]
fn where_no_sync_ends_the_redo_fills_up_and_no_further() {
    let mut world = World::new();
    let path = part(0);
    world.flush(0, vec![FileOp::MakeDir { path: marked().directory }]);
    world.flush(0, vec![FileOp::Create { path: path.clone(), bytes: vec![1] }]);
    world.shelf.limit(10_000);
    for ms in (0..60_000).step_by(100) {
        world.flush(ms, vec![FileOp::Append { path: path.as_str().into(), bytes: vec![7; 2_000] }]);
    }
    let redo: usize =
        world.done.iter().map(|(_, d)| if let Done::Redo { bytes, .. } = d { bytes.len() } else { 0 }).sum();
    assert!(redo <= LEAVES_MAX * 13_000, "{redo} octets");
    assert_eq!(world.shelf.room(at(60_000)), Room::Nowhere);
    // With a sync there is room again.
    world.look(60_600);
    world.sync_begins(60_700);
    world.sync_ends(60_800);
    world.look(60_900);
    assert_eq!(world.shelf.room(at(60_900)), Room::There);
}
