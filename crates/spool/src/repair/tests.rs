//! The process dies at any moment, inside any write, in the middle of a repair too: what was received 200 ms
//! before is readable, every part is clean, and a second repair changes nothing.

use std::collections::BTreeSet;

use media::FrameKind;
use model::{Codec, CopyOf, NodeNumber, SegmentId};
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::*;
use crate::fixture::{self, Heard, Spool, heard, now, pcmu, segment, stream, two_streams};
use crate::memory::MemoryDisk;
use crate::mka::Reader;
use crate::pcap::SidecarReader;
use crate::redo::world::{World, replay};
use crate::writer::SegmentWriter;
use crate::{digest_of, redo, verify};

/// What is said in 20 ms.
#[derive(Clone, Copy, Debug)]
enum Said {
    Nothing,
    Ulaw,
    Alaw,
    Digit,
    Amr,
}

/// A segment's life: what each 20 ms bring, how long each packet waits to be put in order (0 to 100 ms), and
/// how it ends.
#[derive(Clone, Debug)]
struct Life {
    said: Vec<(u64, Said, i64)>,
    end: Option<EndReason>,
    /// The end was noted, because others were sealed before.
    noted: bool,
}

fn life() -> impl Strategy<Value = Life> {
    let said = prop_oneof![
        10 => Just(Said::Ulaw),
        2 => Just(Said::Nothing),
        1 => Just(Said::Alaw),
        1 => Just(Said::Digit),
        1 => Just(Said::Amr),
    ];
    let end = prop_oneof![
        Just(None),
        Just(Some(EndReason::HangUp)),
        Just(Some(EndReason::Hold)),
        Just(Some(EndReason::Upstream(Failure::MediaTimeout))),
    ];
    let said = proptest::collection::vec((1_u64..=2, said, 0_i64..=100), 1..200);
    (said, end, any::<bool>()).prop_map(|(said, end, noted)| Life { said, end, noted })
}

/// A frame that was received: when, and what to find it by.
struct Received {
    at_ms: i64,
    payload: Vec<u8>,
}

/// What a life leaves: operations with the time at which they were asked for.
struct Trace {
    ops: Vec<(i64, FileOp)>,
    received: Vec<Received>,
    segment: SegmentId,
    path: ManifestPath,
}

fn live(life: &Life) -> Trace {
    let open = segment(1, 0, two_streams());
    let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, now(0));
    let path = ManifestPath::parse(&writer.manifest_path()).unwrap();
    let (mut ops, mut disk, mut received) = (Vec::new(), MemoryDisk::new(), Vec::new());
    let mut flush = |ms: i64, batch: Vec<FileOp>, disk: &mut MemoryDisk| {
        disk.apply_all(&batch).unwrap();
        ops.extend(batch.into_iter().map(|op| (ms, op)));
    };
    let mut batch = Vec::new();
    writer.flush(now(0), Vec::new(), &mut batch);
    flush(0, batch, &mut disk);

    let mut pushes: Vec<_> = life
        .said
        .iter()
        .enumerate()
        .map(|(n, (stream, said, delay))| {
            let at_ms = i64::try_from(n).unwrap() * 20;
            (at_ms + 20 + delay, at_ms, *stream, *said)
        })
        .collect();
    pushes.sort_by_key(|p| p.0);
    let last = pushes.last().map_or(0, |p| p.0);
    let mut pushes = pushes.into_iter().peekable();
    for ms in (100..=last + 100).step_by(100) {
        while let Some((_, at_ms, stream, said)) = pushes.next_if(|p| p.0 <= ms) {
            if let Some(frame) = frame(stream, at_ms, said) {
                fixture::push(&mut writer, &frame);
                received.push(Received { at_ms: at_ms + 20, payload: frame.payload });
            }
        }
        let mut batch = Vec::new();
        writer.flush(now(ms.unsigned_abs()), Vec::new(), &mut batch);
        flush(ms, batch, &mut disk);
    }
    if let Some(reason) = &life.end {
        let at = now((last + 200).unsigned_abs());
        let mut batch = Vec::new();
        writer.end(at, at.wall, reason.clone(), Vec::new(), &mut batch);
        batch.extend(life.noted.then(|| writer.ended(at)));
        flush(last + 200, batch, &mut disk);
        let digests: Vec<_> = writer
            .files()
            .into_iter()
            .map(|f| {
                let d = digest_of(&disk, &f).unwrap();
                (f, d.bytes, d.sha256)
            })
            .collect();
        let mut batch = Vec::new();
        writer.seal(at, &digests, &mut batch);
        flush(last + 200, batch, &mut disk);
    }
    Trace { ops, received, segment: open.segment, path }
}

fn frame(stream: u64, at_ms: i64, said: Said) -> Option<Heard> {
    let mark = [&at_ms.to_be_bytes()[..], &[7; 152]].concat();
    let heard = Heard { payload: mark, ..heard(stream, at_ms, 0) };
    Some(match said {
        Said::Nothing => return None,
        Said::Ulaw => heard,
        Said::Alaw => Heard { codec: Some(Codec::new("PCMA", 8_000, 1)), ..heard },
        Said::Digit => Heard { kind: FrameKind::TelephoneEvent, ..heard },
        Said::Amr => Heard { codec: Some(Codec::new("AMR", 8_000, 1)), ..heard },
    })
}

/// Everything received that can be read from a call's directory.
fn readable(disk: &MemoryDisk, directory: &str) -> BTreeSet<Vec<u8>> {
    let mut out = BTreeSet::new();
    for name in list_or_nothing(disk, directory).unwrap() {
        let file = || disk.open(&format!("{directory}/{name}")).unwrap();
        if name.ends_with(".mka") {
            let mut reader = Reader::new(file()).unwrap();
            while let Some(block) = reader.next_block().unwrap() {
                if !block.discardable {
                    out.insert(block.payload);
                }
            }
        } else if name.ends_with(".pcap") {
            let mut reader = SidecarReader::new(file()).unwrap();
            while let Some(packet) = reader.next_packet().unwrap() {
                out.insert(packet.payload[12..].to_vec());
            }
        }
    }
    out
}

/// The disk when the process dies inside operation `at`, having written `octets` of it.
fn cut(start: &MemoryDisk, ops: &[FileOp], at: usize, octets: usize) -> MemoryDisk {
    let mut disk = start.clone();
    disk.apply_all(&ops[..at]).unwrap();
    if let Some(op) = ops.get(at).filter(|_| octets > 0) {
        disk.apply_cut(op, octets).unwrap();
    }
    disk
}

fn octets(op: Option<&FileOp>) -> usize {
    match op {
        Some(
            FileOp::Mark { bytes, .. }
            | FileOp::Create { bytes, .. }
            | FileOp::Append { bytes, .. }
            | FileOp::Patch { bytes, .. }
            | FileOp::Replace { bytes, .. }
            | FileOp::AppendLine { bytes, .. },
        ) => bytes.len(),
        _ => 1,
    }
}

/// Repairs as the shell does at its start: the marker leads.
fn find_and_repair(disk: &MemoryDisk, segment: SegmentId, at_ms: i64) -> Option<Repair> {
    let marker = disk.bytes(&layout::marker_path(segment))?;
    let path = layout::read_marker(marker).ok()?;
    let later = now(at_ms.unsigned_abs() + 3_000);
    Some(repair(later, segment, &path, NodeNumber::SINGLE, disk).unwrap())
}

proptest! {
    // Cases of some seconds of virtual time each: a few seconds of ours.
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_crash_anywhere_loses_at_most_200_ms(
        life in life(),
        at in any::<prop::sample::Index>(),
        inside in any::<prop::sample::Index>(),
        again_at in any::<prop::sample::Index>(),
        again_inside in any::<prop::sample::Index>(),
    ) {
        let Trace { ops, received, segment, path } = live(&life);
        let at = at.index(ops.len() + 1);
        let died_ms = ops.get(at).or(ops.last()).unwrap().0;
        let ops: Vec<_> = ops.into_iter().map(|(_, op)| op).collect();
        let disk = cut(&MemoryDisk::new(), &ops, at, inside.index(octets(ops.get(at)) + 1));
        let Some(first) = find_and_repair(&disk, segment, died_ms) else {
            // Nothing of it was there yet, or all of it is sealed.
            prop_assert!(at <= 1 || at >= ops.len() - 1);
            return Ok(());
        };

        // The repair dies too, is run again, and comes to the same.
        let again_at = again_at.index(first.ops.len() + 1);
        let again_octets = again_inside.index(octets(first.ops.get(again_at)) + 1);
        let mut disk_again = cut(&disk, &first.ops, again_at, again_octets);
        let mut disk = disk;
        disk.apply_all(&first.ops).unwrap();
        if let Some(second) = find_and_repair(&disk_again, segment, died_ms) {
            disk_again.apply_all(&second.ops).unwrap();
            prop_assert_eq!(&second.record, &first.record);
        }
        for disk in [&disk, &disk_again] {
            prop_assert_eq!(disk.bytes(&layout::marker_path(segment)), None);
            let Some(record) = &first.record else { continue };
            prop_assert!(!record.is_live());
            let verified = verify::call(disk, &path.directory).unwrap();
            prop_assert!(verified.is_sound(), "{:?}", verified.findings);
            prop_assert_eq!(&verified.segments, std::slice::from_ref(record));
            let heard = readable(disk, &path.directory);
            for r in received.iter().filter(|r| r.at_ms <= died_ms - 200) {
                prop_assert!(heard.contains(&r.payload), "received at {} is lost; died at {}", r.at_ms, died_ms);
            }
            // Repaired once more, although no marker asks for it: nothing.
            let once_more = repair(now(99_000), segment, &path, NodeNumber::SINGLE, disk).unwrap();
            prop_assert_eq!(once_more.ops, vec![]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_crash_anywhere_loses_no_more_by_way_of_the_redo(
        life in life(),
        at in any::<prop::sample::Index>(),
        inside in any::<prop::sample::Index>(),
    ) {
        let Trace { ops, received, segment, path } = live(&life);
        let (mut world, last) = (World::new(), ops.last().unwrap().0);
        let mut ops = ops.into_iter().peekable();
        for ms in (0..=last).step_by(100) {
            let mut batch = Vec::new();
            while let Some((_, op)) = ops.next_if(|(asked, _)| *asked <= ms) {
                batch.push(op);
            }
            match ms % 1_000 {
                100 => world.sync_begins(ms),
                400 => world.sync_ends(ms),
                _ => {}
            }
            world.flush(ms, batch);
        }
        let at = at.index(world.done.len());
        let (died_ms, cut) = &world.done[at];
        let mut disk = MemoryDisk::new();
        world.done[..at].iter().for_each(|(_, done)| done.apply(&mut disk, usize::MAX));
        let octets = inside.index(cut.octets() + 1);
        if octets > 0 {
            cut.apply(&mut disk, octets);
        }
        let before = disk.clone();
        replay(&mut disk, std::slice::from_ref(&path));
        if matches!(world.done[at..], [(_, redo::world::Done::Op(FileOp::Unmark { .. }))]) {
            // It was sealed, and nothing was missing.
            before.paths().filter(|p| p.ends_with(".mka")).for_each(|p| assert_eq!(before.bytes(p), disk.bytes(p)));
        }
        let Some(repaired) = find_and_repair(&disk, segment, *died_ms) else { return Ok(()) };
        disk.apply_all(&repaired.ops).unwrap();
        if repaired.record.is_none() {
            return Ok(());
        }
        let verified = verify::call(&disk, &path.directory).unwrap();
        prop_assert!(verified.is_sound(), "{:?}", verified.findings);
        let heard = readable(&disk, &path.directory);
        for r in received.iter().filter(|r| r.at_ms <= died_ms - 200) {
            prop_assert!(heard.contains(&r.payload), "received at {} is lost; died at {}", r.at_ms, died_ms);
        }
        prop_assert_eq!(repair(now(99_000), segment, &path, NodeNumber::SINGLE, &disk).unwrap().ops, vec![]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_sealed_segment_that_was_never_synced_is_closed_as_what_is_left_of_it(
        life in life().prop_filter("it ended", |life| life.end.is_some()),
        lost in any::<prop::sample::Index>(),
        octets in any::<prop::sample::Index>(),
        all in any::<bool>(),
    ) {
        let Trace { ops, segment, path, .. } = live(&life);
        let (unmark, before) = ops.split_last().unwrap();
        let is_unmarked = matches!(unmark.1, FileOp::Unmark { .. });
        prop_assert!(is_unmarked);
        let mut disk = MemoryDisk::new();
        disk.apply_all(before.iter().map(|(_, op)| op)).unwrap();
        let media = |p: &str| p.ends_with(".mka") || p.ends_with(".pcap");
        let files: Vec<String> = disk.paths().filter(|p| media(p)).map(ToOwned::to_owned).collect();
        let file = &files[lost.index(files.len())];
        let whole = disk.bytes(file).unwrap().to_vec();
        let kept = octets.index(whole.len());
        match all {
            true => disk.apply(&FileOp::Remove { path: file.clone() }).unwrap(),
            false => disk.put(file, whole[..kept].to_vec()),
        }
        let closed = find_and_repair(&disk, segment, 9_000).unwrap();
        disk.apply_all(&closed.ops).unwrap();
        let record = closed.record.unwrap();
        prop_assert_eq!(record.state, RecordingState::PartialInternalError);
        let lines = log::read(disk.bytes(&layout::log_path(&path.directory)).unwrap()).0;
        prop_assert_eq!(log::state_of(&lines, CopyOf::Segment(segment)), Some(record.state));
        let verified = verify::call(&disk, &path.directory).unwrap();
        prop_assert!(verified.is_sound(), "{:?}", verified.findings);
        prop_assert_eq!(repair(now(99_000), segment, &path, NodeNumber::SINGLE, &disk).unwrap().ops, vec![]);
    }
}

/// A spool that dies at `ms`, with its segment's path.
fn dies(mut spool: Spool, ms: u64) -> (MemoryDisk, SegmentId, ManifestPath) {
    for n in 0..ms / 20 {
        spool.push(&heard(1, i64::try_from(n).unwrap() * 20, 7));
        if n % 5 == 4 {
            spool.flush((n + 1) * 20);
        }
    }
    let path = ManifestPath::parse(&spool.writer.manifest_path()).unwrap();
    (spool.disk, spool.writer.record().id, path)
}

fn repaired(disk: &mut MemoryDisk, segment: SegmentId, path: &ManifestPath) -> Repair {
    let repair = repair(now(100_000), segment, path, NodeNumber::SINGLE, disk).unwrap();
    disk.apply_all(&repair.ops).unwrap();
    repair
}

#[test]
fn what_was_open_ends_as_an_internal_error_where_its_media_end() {
    let (mut disk, segment, path) = dies(Spool::new(), 12_000);
    let repair = repaired(&mut disk, segment, &path);
    let record = repair.record.unwrap();
    assert_eq!(record.state, RecordingState::PartialInternalError);
    assert_eq!(record.end, Some(EndReason::Internal(Failure::Process)));
    assert_eq!(record.ended, Some(now(12_000).wall));
    assert_eq!(record.parts[0].duration_us, 12_000_000);
    assert_eq!(record.streams[0].accounting.received, 600, "no fewer than there are");
    assert!(repair.what.iter().any(|w| w.contains("older than its media")), "{:?}", repair.what);
    assert_eq!(record.parts[0].sha256.as_ref().map(String::len), Some(64));
    let lines = log::read(disk.bytes(&layout::log_path(&path.directory)).unwrap()).0;
    assert_eq!(log::state_of(&lines, CopyOf::Segment(segment)), Some(record.state));
    assert!(lines.iter().any(|l| matches!(l.entry, Entry::Repaired { .. })));
}

#[test]
fn a_segment_that_its_own_process_gives_up_says_why() {
    let (mut disk, segment, path) = dies(Spool::new(), 2_000);
    let part = format!("{}/001-1.mka", path.directory);
    disk.apply(&FileOp::Append { path: part.into(), bytes: vec![0xA3, 0x40, 0xA4, 0x81] }).unwrap();
    let full =
        repair_after(now(3_000), segment, &path, NodeNumber::SINGLE, Failure::DiskFull, &disk).unwrap();
    disk.apply_all(&full.ops).unwrap();
    assert_eq!(full.record.unwrap().end, Some(EndReason::Internal(Failure::DiskFull)));
    assert!(verify::call(&disk, &path.directory).unwrap().is_sound());
}

#[test]
fn a_respondents_segment_ends_in_the_state_of_the_table() {
    let mut open = segment(2, 0, two_streams());
    open.respondent = model::state::Respondent::Yes;
    let (mut disk, segment, path) = dies(Spool::open(MemoryDisk::new(), &open), 1_000);
    assert_eq!(
        repaired(&mut disk, segment, &path).record.unwrap().state,
        RecordingState::PartialInternalError
    );
}

#[test]
fn a_lost_manifest_is_rebuilt_from_the_parts() {
    for bytes in [None, Some(vec![]), Some(b"{\n  \"format\"".to_vec()), Some(vec![0; 4_096])] {
        let (mut disk, segment, path) = dies(Spool::new(), 2_000);
        let before = manifest::read(disk.bytes(&path.path()).unwrap()).unwrap().record;
        disk.apply(&FileOp::Remove { path: path.path() }).unwrap();
        if let Some(bytes) = bytes {
            disk.put(&path.path(), bytes);
        }
        let record = repaired(&mut disk, segment, &path).record.unwrap();
        assert_eq!((record.id, record.call, &record.tenant), (before.id, before.call, &before.tenant));
        assert_eq!((record.number, record.started), (before.number, before.started));
        let streams = |r: &SegmentRecord| r.streams.iter().map(|s| (s.id, s.side)).collect::<Vec<_>>();
        assert_eq!(streams(&record), streams(&before));
        assert_eq!(record.parts[0].tracks, before.parts[0].tracks);
        assert!(verify::call(&disk, &path.directory).unwrap().is_sound());
    }
}

#[test]
fn an_unknown_version_is_left_alone() {
    let (mut disk, segment, path) = dies(Spool::new(), 1_000);
    let text = String::from_utf8(disk.bytes(&path.path()).unwrap().to_vec()).unwrap();
    disk.put(&path.path(), text.replace("\"version\": 1,", "\"version\": 9,").into_bytes());
    let result = repair(now(9_000), segment, &path, NodeNumber::SINGLE, &disk);
    assert!(matches!(result, Err(RepairError::UnknownVersion(9))));
}

#[test]
fn after_a_power_cut_zeros_are_cut_off_and_duration_is_corrected() {
    let (mut disk, segment, path) = dies(Spool::new(), 4_000);
    let part = format!("{}/001-1.mka", path.directory);
    let whole = disk.bytes(&part).unwrap().len();
    let mut bytes = disk.bytes(&part).unwrap().to_vec();
    bytes.truncate(whole - 5_000);
    bytes.resize(whole + 300_000, 0);
    disk.put(&part, bytes);
    let repair = repaired(&mut disk, segment, &path);
    assert!(disk.bytes(&part).unwrap().len() < whole);
    assert!(mka::scan(disk.bytes(&part).unwrap()).unwrap().is_clean(), "{:?}", repair.what);
}

#[test]
fn what_lies_behind_damage_in_the_middle_is_kept() {
    let (mut disk, segment, path) = dies(Spool::new(), 60_000);
    let part = format!("{}/001-1.mka", path.directory);
    let mut bytes = disk.bytes(&part).unwrap().to_vec();
    let length = bytes.len();
    bytes[20_000..20_500].fill(0);
    disk.put(&part, bytes);
    let repair = repaired(&mut disk, segment, &path);
    assert_eq!(disk.bytes(&part).unwrap().len(), length);
    assert!(repair.what.iter().any(|w| w.contains("are kept")), "{:?}", repair.what);
    assert!(!verify::call(&disk, &path.directory).unwrap().is_sound());
}

#[test]
fn a_part_that_nobody_can_open_is_removed() {
    let (mut disk, segment, path) = dies(Spool::new(), 0);
    let part = format!("{}/001-1.mka", path.directory);
    let cluster = 15; // its head, its length, its timestamp
    let whole = disk.bytes(&part).unwrap().len() as u64;
    disk.apply(&FileOp::Truncate { path: part.clone(), bytes: whole - cluster }).unwrap();
    let record = repaired(&mut disk, segment, &path).record.unwrap();
    assert!(record.parts.is_empty() && disk.bytes(&part).is_none(), "{record:?}");
    assert!(verify::call(&disk, &path.directory).unwrap().is_sound());
}

#[test]
fn a_segment_of_no_packets_is_told_of_all_the_same() {
    let spool =
        Spool::open(MemoryDisk::new(), &segment(1, 0, vec![stream(1, model::Side::Agent, &[pcmu()])]));
    let (mut disk, segment, path) = dies(spool, 0);
    let record = repaired(&mut disk, segment, &path).record.unwrap();
    assert_eq!((record.state, record.parts.len()), (RecordingState::PartialInternalError, 1));
    assert_eq!(record.ended, Some(record.started));
}
