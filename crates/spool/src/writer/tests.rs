//! What is pushed is where it belongs, gaps become silence, limits hold.

use media::FrameKind;
use model::{Codec, EndReason, GapReason, Protection, RecordingState, Side};

use super::*;
use crate::fixture::{Heard, Spool, heard, now, pcmu, segment, stream, two_streams};
use crate::memory::MemoryDisk;
use crate::mka::{self, Block, Reader};
use crate::op::Files;
use crate::pcap::SidecarReader;
use model::OpenSegment;

fn blocks(bytes: &[u8]) -> Vec<Block> {
    let mut reader = Reader::new(bytes).unwrap();
    let mut out = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        out.push(block);
    }
    assert_eq!(reader.damage(), None);
    out
}

/// Blocks as `track@ms+length`, fill with `~`.
fn picture(bytes: &[u8]) -> String {
    let show = |b: &Block| {
        let fill = if b.discardable { "~" } else { "" };
        format!("{fill}{}@{}+{}", b.track, b.position / 8, b.payload.len() / 8)
    };
    blocks(bytes).iter().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_segment_is_there_before_its_first_packet() {
    let spool = Spool::new();
    let paths: Vec<_> = spool.disk.paths().map(|p| p.rsplit('/').next().unwrap()).collect();
    let id = spool.writer.record().id.to_string();
    assert_eq!(paths, ["001-1.mka", "001.json", id.as_str()]);
    let manifest = crate::manifest::read(spool.bytes("001.json")).unwrap();
    assert!(!manifest.sealed);
    assert_eq!(manifest.record.parts[0].tracks.len(), 2);
    assert!(mka::scan(spool.bytes("001-1.mka")).unwrap().is_clean());
    // Its log begins with the first line that says more than the manifest.
    let verified = crate::verify::call(&spool.disk, spool.writer.directory()).unwrap();
    assert!(verified.is_sound(), "{:?}", verified.findings);
}

#[test]
fn the_marker_comes_first_and_goes_last() {
    let mut ops = Vec::new();
    let mut writer = SegmentWriter::open(&segment(1, 0, two_streams()), NodeNumber::SINGLE, now(0));
    writer.flush(now(0), Vec::new(), &mut ops);
    let first = ops.iter().find(|op| !matches!(op, FileOp::MakeDir { .. })).unwrap();
    assert!(first.path().starts_with("live/"), "{first:?}");
    assert_eq!(
        ops.iter().filter(|op| op.path().ends_with(".json")).count(),
        1,
        "the manifest is written once"
    );
    let mut ops = Vec::new();
    writer.end(now(10), now(10).wall, EndReason::HangUp, Vec::new(), &mut ops);
    writer.seal(now(10), &[], &mut ops);
    assert!(matches!(ops.last(), Some(FileOp::Unmark { path }) if path.starts_with("live/")));
}

#[test]
fn a_taken_number_gets_names_of_its_own() {
    let mut first = Spool::new();
    first.finish(100, EndReason::HangUp);
    let mut again = segment(1, 5_000, two_streams());
    again.segment = model::SegmentId::from_u64(99);
    let second = Spool::open(first.disk, &again);
    assert!(second.writer.manifest_path().ends_with(&format!("/001-{}.json", again.segment)));
    assert!(second.disk.paths().any(|p| p.ends_with(&format!("/001-{}-1.mka", again.segment))));
}

#[test]
fn frames_become_blocks_at_their_time() {
    let mut spool = Spool::new();
    for ms in [0, 20, 40] {
        spool.push(&heard(1, ms, 7));
        spool.push(&heard(2, ms, 8));
    }
    spool.flush(100);
    let bytes = spool.bytes("001-1.mka");
    assert_eq!(picture(bytes), "1@0+20 2@0+20 1@20+20 2@20+20 1@40+20 2@40+20");
    assert!(blocks(bytes).iter().all(|b| b.payload.iter().all(|o| *o == 6 + b.track)));
}

#[test]
fn duration_is_less_than_a_second_behind_at_first_and_right_at_the_end() {
    let mut spool = Spool::new();
    let mut patches = 0;
    for ms in (0..4_960_u32).step_by(20) {
        spool.push(&heard(1, ms.into(), 7));
        spool.push(&heard(2, ms.into(), 7));
        if ms % 100 == 80 {
            patches += spool.flush(ms.into()).iter().filter(|op| matches!(op, FileOp::Patch { .. })).count();
            let scan = mka::scan(spool.bytes("001-1.mka")).unwrap();
            let (says, _) = scan.head.duration.unwrap();
            let behind = scan.duration_ticks as f64 - says;
            assert!((0.0..8_000.0).contains(&behind), "{behind} ticks behind at {ms}");
        }
    }
    assert_eq!(patches, 4);
    spool.finish(4_960, EndReason::HangUp);
    assert!(mka::scan(spool.bytes("001-1.mka")).unwrap().is_clean());
}

#[test]
fn duration_of_a_long_call_is_stamped_each_five_seconds() {
    let mut spool = Spool::new();
    let mut patches = 0;
    for ms in (0..180_000_u32).step_by(20) {
        spool.push(&heard(1, ms.into(), 7));
        if ms % 100 == 80 {
            let ops = spool.flush(ms.into());
            let stamped = ops.iter().any(|op| matches!(op, FileOp::Patch { .. }));
            patches += u32::from(stamped && ms > 60_000);
        }
    }
    assert_eq!(patches, 24);
}

#[test]
fn a_call_in_progress_is_as_long_as_its_part_says() {
    let mut spool = Spool::new();
    for ms in (0..30_000_u32).step_by(20) {
        spool.push(&heard(1, ms.into(), 7));
        if ms % 100 == 80 {
            spool.flush(ms.into());
        }
    }
    let mut manifest = crate::manifest::read(spool.bytes("001.json")).unwrap();
    assert_eq!(manifest.record.parts[0].duration_us, 0);
    assert_eq!(manifest.growing_part(), Some("001-1.mka"));
    let growing = spool.bytes("001-1.mka");
    manifest.catch_up(growing, growing.len() as u64);
    let part = &manifest.record.parts[0];
    assert!((25_000_000..=30_000_000).contains(&part.duration_us), "{part:?}");
    assert_eq!(part.bytes, spool.bytes("001-1.mka").len() as u64);
    let sealed = spool.finish(30_000, EndReason::HangUp);
    let mut manifest = crate::manifest::read(spool.bytes("001.json")).unwrap();
    manifest.record.parts[0].duration_us -= 1;
    assert_eq!(manifest.growing_part(), None);
    manifest.catch_up(spool.bytes("001-1.mka"), 0);
    assert_eq!(
        manifest.record.parts[0].duration_us,
        sealed.parts[0].duration_us - 1,
        "what is sealed stands"
    );
}

#[test]
fn gaps_become_silence_while_they_last_and_never_as_one_huge_block() {
    let mut spool = Spool::new();
    spool.push(&heard(1, 0, 7));
    spool.push(&heard(2, 0, 7));
    let mut behind = 0;
    for ms in (100..=5_000).step_by(100) {
        let octets: usize = spool.flush(ms).iter().map(ready_bytes).sum();
        assert!(octets < 3 * 100 * 8 * 2 + 500 || ms < 1_000, "{octets} octets at {ms}");
        let end = mka::scan(spool.bytes("001-1.mka")).unwrap().duration_ticks / 8;
        behind = behind.max(i64::try_from(ms).unwrap() - end);
    }
    assert!(behind <= 1_000, "{behind} ms behind");
    let all = blocks(spool.bytes("001-1.mka"));
    assert!(all.iter().filter(|b| b.discardable).all(|b| b.payload == vec![0xFF; b.payload.len()]));
    // The stream goes on: the rest of the gap is filled before the frame.
    spool.push(&heard(1, 4_980, 7));
    spool.flush(5_100);
    let last = mka::scan(spool.bytes("001-1.mka")).unwrap().tracks[0];
    assert_eq!((last.media_blocks, last.end), (2, 5_000 * 8));
    let mut covered = vec![false; 5_000 * 8];
    for b in blocks(spool.bytes("001-1.mka")).iter().filter(|b| b.track == 1) {
        let begin = usize::try_from(b.position).unwrap();
        covered[begin..begin + b.payload.len()].fill(true);
    }
    assert!(covered.iter().all(|c| *c), "no hole is left");
}

#[test]
fn the_place_of_what_waits_for_keys_is_not_filled_and_late_it_is_in_order() {
    let mut streams = two_streams();
    streams[1].protection = Protection::Awaited;
    let mut spool = Spool::open(crate::memory::MemoryDisk::new(), &segment(1, 0, streams.clone()));
    for ms in (0..6_000).step_by(1_000) {
        spool.push(&heard(1, ms, 7));
        spool.flush(ms.unsigned_abs() + 900);
    }
    let keys = model::Keys::single(model::Suite::AeadAes128Gcm, vec![1; 28]).unwrap();
    streams[1].protection = Protection::Given(keys);
    spool.writer.change_streams(now(6_000), &streams);
    for ms in [0, 20, 5_000] {
        spool.push(&heard(2, ms, 8));
    }
    spool.finish(6_000, EndReason::HangUp);
    let second: Vec<_> = blocks(spool.bytes("001-1.mka")).into_iter().filter(|b| b.track == 2).collect();
    let times: Vec<_> = second.iter().map(|b| b.position / 8).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(second.iter().filter(|b| !b.discardable).count(), 3);
}

#[test]
fn a_jump_of_a_clock_is_a_hole_not_a_fill() {
    let mut spool = Spool::new();
    spool.push(&heard(1, 0, 7));
    spool.push(&heard(1, 3_600_000, 7));
    assert!(spool.writer.buffered() < 1_000);
}

#[test]
fn another_codec_begins_a_part_with_the_codecs_of_all() {
    let pcma = Codec::new("PCMA", 8_000, 1);
    let mut spool = Spool::new();
    for ms in [0, 20] {
        spool.push(&heard(1, ms, 7));
        spool.push(&heard(2, ms, 7));
    }
    spool.push(&Heard { codec: Some(pcma.clone()), ..heard(1, 40, 8) });
    spool.push(&heard(2, 40, 7));
    spool.flush(100);
    let record = spool.finish(200, EndReason::HangUp);
    let tracks: Vec<Vec<_>> =
        record.parts.iter().map(|p| p.tracks.iter().map(|t| t.codec.name.clone()).collect()).collect();
    assert_eq!(tracks, [["PCMU", "PCMU"], ["PCMA", "PCMU"]]);
    assert_eq!(picture(spool.bytes("001-1.mka")), "1@0+20 2@0+20 1@20+20 2@20+20");
    assert_eq!(record.parts[1].offset_us, 0, "100 ms before, but not before the segment");
    assert_eq!(picture(spool.bytes("001-2.mka")), "~1@0+40 1@40+20 ~2@0+40 2@40+20");
    assert_eq!(crate::verify::call(&spool.disk, spool.writer.directory()).unwrap().findings, []);
}

#[test]
fn a_stream_that_comes_later_gets_its_track_with_its_first_frame() {
    let mut spool = Spool::new();
    spool.push(&heard(1, 2_000, 7));
    let mut streams = two_streams();
    streams.push(stream(3, Side::Unknown, &[pcmu()]));
    spool.writer.change_streams(now(2_000), &streams);
    spool.flush(2_100);
    assert_eq!(spool.writer.record().parts.len(), 1);
    spool.push(&heard(3, 2_040, 7));
    let ops = spool.flush(2_200);
    assert_eq!(spool.writer.record().parts.len(), 2);
    assert_eq!(spool.writer.record().parts[1].tracks.len(), 3);
    let manifest = crate::manifest::read(spool.bytes("001.json")).unwrap();
    assert_eq!(manifest.record.parts.len(), 2, "a new part is in the manifest at once: {ops:?}");
}

#[test]
fn what_no_track_can_hold_goes_to_the_sidecar_whole() {
    let mut spool = Spool::new();
    let amr = Codec::new("AMR", 8_000, 1);
    spool.writer.local_address(StreamId::from_u64(1), "198.51.100.9:1".parse().unwrap());
    for (kind, codec) in [
        (FrameKind::TelephoneEvent, Some(Codec::new("TELEPHONE-EVENT", 8_000, 1))),
        (FrameKind::ComfortNoise, Some(Codec::new("CN", 8_000, 1))),
        (FrameKind::Unknown, None),
        (FrameKind::Media, Some(amr)),
    ] {
        spool.push(&Heard { kind, codec, payload: vec![1, 2, 3], ..heard(1, 20, 0) });
    }
    spool.flush(100);
    let record = spool.finish(200, EndReason::HangUp);
    let sidecar = record.sidecar.unwrap();
    assert_eq!((sidecar.packets, sidecar.bytes), (4, spool.bytes("001.pcap").len() as u64));
    let mut reader = SidecarReader::new(spool.bytes("001.pcap")).unwrap();
    let packet = reader.next_packet().unwrap().unwrap();
    assert_eq!(packet.payload.len(), 15);
    assert_eq!(
        (packet.from.to_string(), packet.to.to_string()),
        ("192.0.2.7:16384".into(), "198.51.100.9:40000".into())
    );
    assert_eq!(crate::verify::call(&spool.disk, spool.writer.directory()).unwrap().findings, []);
}

#[test]
fn streams_that_alternate_codecs_make_few_parts_and_lose_nothing() {
    let codecs = [pcmu(), Codec::new("PCMA", 8_000, 1)];
    let mut spool =
        Spool::open(crate::memory::MemoryDisk::new(), &segment(1, 0, vec![stream(1, Side::Agent, &codecs)]));
    for n in 0..1_500 {
        let codec = Some(codecs[usize::try_from(n % 2).unwrap()].clone());
        spool.push(&Heard { codec, ..heard(1, n * 20, 7) });
        spool.flush(u64::try_from(n).unwrap() * 20);
    }
    let record = spool.finish(30_000, EndReason::HangUp);
    assert!((8..=11).contains(&record.parts.len()), "{} parts", record.parts.len());
    let media: u64 = record
        .parts
        .iter()
        .flat_map(|p| mka::scan(spool.bytes(&p.file)).unwrap().tracks)
        .map(|t| t.media_blocks)
        .sum();
    assert_eq!(media + record.sidecar.unwrap().packets, 1_500);
    assert!(spool.writer.counts().parts_refused > 0);
}

#[test]
fn a_late_frame_before_its_part_goes_to_the_sidecar() {
    let mut spool = Spool::new();
    spool.push(&heard(1, 5_000, 7));
    spool.flush(5_020);
    spool.push(&Heard { codec: Some(Codec::new("PCMA", 8_000, 1)), ..heard(1, 5_020, 7) });
    spool.push(&heard(2, 1_000, 7));
    assert_eq!(spool.writer.counts().misplaced, 1);
    let record = spool.finish(6_000, EndReason::HangUp);
    assert_eq!(record.sidecar.unwrap().packets, 1);
}

#[test]
fn when_storage_stands_still_memory_does_not_grow_and_losses_are_counted() {
    let mut spool = Spool::new();
    let mut pushed = 0;
    for n in 0..20_000 {
        spool.push(&heard(1, n * 20, 7));
        pushed += 1;
    }
    assert!(spool.writer.buffered() <= BUFFER_MAX + 1_000);
    let refused = spool.writer.counts().dropped;
    assert!(refused > 0);
    let lost = spool.writer.drop_buffered();
    assert_eq!(lost + refused, pushed);
    assert_eq!(spool.writer.buffered(), 0);
    // It goes on afterwards, and the file is whole.
    spool.push(&heard(1, 400_000, 9));
    let given = spool.writer.record().streams.clone();
    let mut ops = Vec::new();
    spool.writer.flush(now(400_100), given, &mut ops);
    spool.disk.apply_all(&ops).unwrap();
    let record = spool.finish(400_200, EndReason::HangUp);
    let scan = mka::scan(spool.bytes("001-1.mka")).unwrap();
    assert!(scan.is_clean(), "{scan:?}");
    assert_eq!(scan.tracks[0].media_blocks, 1);
    assert_eq!(record.streams[0].accounting.dropped, pushed);
    let gaps: u32 =
        record.streams[0].gaps.iter().filter(|g| g.reason == GapReason::Dropped).map(|g| g.packets).sum();
    assert_eq!(u64::from(gaps), pushed);
}

#[test]
fn buffers_are_used_again() {
    let mut spool = Spool::new();
    spool.push(&heard(1, 0, 7));
    let ops = spool.flush(100);
    let Some(FileOp::Append { bytes, .. }) = ops.into_iter().find(|op| matches!(op, FileOp::Append { .. }))
    else {
        panic!("nothing was appended")
    };
    let place = bytes.as_ptr();
    spool.writer.recycle(bytes);
    spool.push(&heard(1, 20, 7));
    spool.flush(200);
    spool.push(&heard(1, 40, 7));
    let ops = spool.flush(300);
    let again = ops.iter().any(|op| matches!(op, FileOp::Append { bytes, .. } if bytes.as_ptr() == place));
    assert!(again, "the buffer given back is in use two flushes later");
}

#[test]
fn each_way_to_end_leaves_its_state_and_total() {
    use model::Failure;
    for (reason, state, total) in [
        (EndReason::Hold, RecordingState::Partial, 2),
        (EndReason::HangUp, RecordingState::Partial, 1),
        (EndReason::Upstream(Failure::MediaTimeout), RecordingState::PartialExternalError, 1),
        (EndReason::Internal(Failure::DiskFull), RecordingState::PartialInternalError, 1),
    ] {
        let mut spool = Spool::new();
        let record = spool.finish(1_000, reason.clone());
        assert_eq!((record.state, record.total), (state, total), "{reason:?}");
        assert_eq!(record.end, Some(reason));
        let lines = crate::log::read(spool.bytes("call.log")).0;
        assert_eq!(crate::log::state_of(&lines, model::CopyOf::Segment(record.id)), Some(state));
        assert_eq!(crate::verify::call(&spool.disk, spool.writer.directory()).unwrap().findings, []);
    }
}

/// When the live manifest is written in five minutes, by what the streams' records say at a time. Its part grows.
fn written(records: impl Fn(u64, &mut model::StreamRecord)) -> Vec<u64> {
    written_in(&pcmu(), records)
}

/// The same in this codec, of which nothing comes.
fn written_in(codec: &Codec, records: impl Fn(u64, &mut model::StreamRecord)) -> Vec<u64> {
    let streams = vec![stream(1, Side::Agent, std::slice::from_ref(codec))];
    let mut spool = Spool::open(crate::memory::MemoryDisk::new(), &segment(1, 0, streams));
    let mut written = Vec::new();
    for ms in (100..=300_000).step_by(100) {
        let mut ops = Vec::new();
        let due = spool.writer.manifest_due(now(ms));
        let mut given = if due { spool.writer.record().streams.clone() } else { Vec::new() };
        given.iter_mut().for_each(|record| records(ms, record));
        spool.writer.flush(now(ms), given, &mut ops);
        if ops.iter().any(|op| matches!(op, FileOp::Replace { .. })) {
            written.push(ms);
        }
    }
    written
}

#[test]
fn counts_alone_are_in_the_live_manifest_once_a_minute() {
    let counts = |ms: u64, record: &mut model::StreamRecord| {
        record.accounting.received = 1 + ms / 20;
        record.accounting.jitter_us = ms / 1_000;
    };
    assert_eq!(written(counts), [5_000, 65_000, 125_000, 185_000, 245_000]);
}

#[test]
fn while_nothing_is_written_the_live_manifest_tells_that_the_segment_is_alive() {
    let nothing = |_: u64, _: &mut model::StreamRecord| {};
    let written = written_in(&Codec::new("opus", 48_000, 2), nothing);
    assert_eq!(written, (1..=60).map(|n| n * 5_000).collect::<Vec<_>>());
}

#[test]
fn what_else_is_known_of_a_stream_is_in_the_live_manifest_within_five_seconds() {
    let gap = model::Gap { from_us: 0, until_us: 1, reason: GapReason::Loss, packets: 1 };
    let loss = |ms: u64, record: &mut model::StreamRecord| {
        record.gaps = vec![gap; usize::try_from(ms / 12_000).unwrap().min(2)];
    };
    assert_eq!(written(loss)[..3], [15_000, 25_000, 85_000]);
    let hold = |ms: u64, record: &mut model::StreamRecord| {
        let until_us = i64::try_from(ms.min(30_000)).unwrap() * 1_000;
        record.gaps = vec![model::Gap { reason: GapReason::Hold, packets: 0, until_us, ..gap }];
    };
    assert_eq!(written(hold)[5..7], [30_000, 90_000], "a hold that goes on");
    let stray = |ms: u64, record: &mut model::StreamRecord| record.accounting.other_source = ms / 20_000;
    assert_eq!(written(stray)[..2], [20_000, 80_000], "the first of its kind");
    let source = |ms: u64, record: &mut model::StreamRecord| {
        record.source = (ms >= 1_000).then(|| "192.0.2.7:4000".parse().unwrap());
    };
    assert_eq!(written(source)[..2], [5_000, 65_000]);
}

#[test]
fn a_change_is_in_the_live_manifest_within_a_second_and_not_sooner_than_the_next() {
    let mut spool = Spool::new();
    let mut written = Vec::new();
    for ms in (100..=3_000).step_by(100) {
        spool.writer.annotate(now(ms), CallData::default(), Vec::new());
        if spool.flush(ms).iter().any(|op| matches!(op, FileOp::Replace { .. })) {
            written.push(ms);
        }
    }
    assert_eq!(written, [1_000, 2_000, 3_000]);
}

#[test]
fn metadata_has_a_budget_and_the_newest_is_always_kept() {
    let body = |n: usize, kib: usize| Metadata {
        at: now(0).wall,
        method: String::new(),
        content_type: String::new(),
        text: format!("{n:04}{}", " ".repeat((kib << 10) - 4)),
        base64: None,
        problem: None,
    };
    // (KiB of each body, how many come, how many are kept)
    for (kib, come, kept) in [(1, 100, 100), (1, 1_000, 256), (16, 100, 32), (300, 5, 1), (600, 3, 1)] {
        let mut open = segment(1, 0, two_streams());
        open.metadata = vec![body(0, kib)];
        let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, now(0));
        for n in 1..come {
            writer.annotate(now(0), CallData::default(), vec![body(n, kib)]);
        }
        let all = &writer.record().metadata;
        assert_eq!(all.len(), kept, "{kib} KiB");
        assert!(all.last().unwrap().text.starts_with(&format!("{:04}", come - 1)), "the newest of {kib} KiB");
        assert_eq!(writer.counts().metadata_replaced, (come - kept) as u64, "{kib} KiB");
        assert!(kept == 1 || all[0].text.starts_with("0000"), "the first of {kib} KiB");
    }
}

#[test]
fn nothing_is_taken_after_the_end() {
    let mut spool = Spool::new();
    spool.finish(100, EndReason::HangUp);
    spool.push(&heard(1, 100, 7));
    assert_eq!(spool.writer.buffered(), 0);
    assert_eq!(spool.flush(300), []);
    assert_eq!(spool.finish(400, EndReason::Hold).end, Some(EndReason::HangUp));
}

#[test]
fn writers_and_assemblers_go_between_threads() {
    fn goes<T: Send>() {}
    goes::<SegmentWriter>();
    goes::<crate::Assembler>();
}

#[test]
fn a_segment_that_may_not_be_the_only_one_of_its_number_is_called_by_its_id() {
    let open = OpenSegment { files: FileNames::ById, ..segment(1, 0, two_streams()) };
    let spool = Spool::open(MemoryDisk::new(), &open);
    let names = spool.disk.list(spool.writer.directory()).unwrap();
    let stem = format!("001-{}", open.segment);
    assert_eq!(names, [format!("{stem}-1.mka"), format!("{stem}.json")]);
}
