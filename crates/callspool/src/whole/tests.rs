//! Calls that are one, on a disk: read from either side, whichever of the two logs says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use media::{Frame, FrameKind};
use model::{
    CallKey, Codec, EndReason, JoinReason, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, TenantId,
};
use spool::joining::note;
use spool::{FileOp, SegmentWriter, digest_of, layout};

use super::*;
use crate::clock::now;
use crate::recorder::Disk;

/// 2026-11-20T23:59:58Z: calls that begin before and after midnight.
pub(crate) const EVE: WallTime = WallTime::from_millis(1_795_219_198_000);

pub(crate) fn key(call: u64, started: WallTime) -> CallKey {
    CallKey { call: CallId::from_u64(call), call_started: started, tenant: TenantId::default() }
}

fn segment_id(call: u64, number: u16) -> SegmentId {
    SegmentId::from_u64(call * 100 + u64::from(number))
}

/// A sealed segment without media.
fn record(root: &Path, call: u64, call_started: WallTime, number: u16, end: EndReason) {
    record_of(root, (call, call_started, number), end, Vec::new());
}

/// A sealed segment, with a packet of its first stream, if it has one.
pub(crate) fn record_of(
    root: &Path,
    (call, call_started, number): (u64, WallTime, u16),
    end: EndReason,
    streams: Vec<OpenStream>,
) {
    let (disk, began) = (Disk::new(root), call_started + Duration::from_secs(u64::from(number)));
    let id = segment_id(call, number);
    let open = OpenSegment {
        number,
        total: number,
        started: began,
        ..OpenSegment::first(id, CallId::from_u64(call), call_started, streams)
    };
    let at = |ms| Now { mono: now().mono, wall: began + Duration::from_millis(ms) };
    let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, at(0));
    let mut ops = Vec::new();
    let codec = Arc::new(Codec::new("PCMU", 8_000, 1));
    if let Some(stream) = open.streams.first() {
        writer.push(&Frame {
            stream: stream.stream,
            position_us: 0,
            duration_us: Some(20_000),
            payload_type: 0,
            codec: Some(&codec),
            kind: FrameKind::Media,
            payload: &[7; 160],
            packet: &[7; 172],
            source: ([192, 0, 2, 7], 16_384).into(),
            destination_port: 40_000,
            arrival: began,
            late: false,
        });
    }
    writer.flush(at(0), Vec::new(), &mut ops);
    writer.end(at(500), began + Duration::from_millis(500), end, Vec::new(), &mut ops);
    disk.apply_all(std::mem::take(&mut ops)).unwrap();
    let files = Repository::new(root);
    let digests: Vec<_> = writer
        .files()
        .into_iter()
        .map(|path| digest_of(&files, &path).map(|d| (path, d.bytes, d.sha256)).unwrap())
        .collect();
    writer.seal(at(500), &digests, &mut ops);
    ops.retain(|op| !matches!(op, FileOp::Unmark { .. }));
    disk.apply_all(ops).unwrap();
}

/// Call 5, of two segments, on the 20th; call 7, of one, on the 21st.
pub(crate) struct Two {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) repository: Repository,
    pub(crate) disk: Disk,
    /// Not noted anywhere yet.
    pub(crate) join: Join,
}

pub(crate) fn two() -> Two {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let later = EVE + Duration::from_secs(10);
    record(root, 5, EVE, 1, EndReason::Hold);
    record(root, 5, EVE, 2, EndReason::HangUp);
    record(root, 7, later, 1, EndReason::HangUp);
    let join = Join {
        into: key(5, EVE),
        from: key(7, later),
        numbers: vec![(segment_id(7, 1), 3)],
        total: 3,
        at: later,
        why: JoinReason::SessionId,
    };
    let (repository, disk) = (Repository::new(root), Disk::new(root));
    Two { directory, repository, disk, join }
}

impl Two {
    pub(crate) fn note(&self, half: Half) {
        let lines = self.repository.log(&half.directory(&self.join)).unwrap().0;
        let (ops, _) = note(now(), NodeNumber::SINGLE, &self.join, half, &lines);
        self.disk.apply_all(ops).unwrap();
    }

    /// The numbers of the segments of a call, and the directories that they are in.
    fn seen(&self, call: u64) -> Vec<(u64, u16, u16, String)> {
        let whole = WholeCall::find(&self.repository, CallId::from_u64(call)).unwrap().unwrap();
        let segments = whole.segments(&self.repository).unwrap();
        assert_eq!(segments.problems, Vec::<String>::new());
        let seen = |(s, file): &(SegmentRecord, ManifestFile)| {
            assert_eq!(s.call, whole.call);
            (s.id.as_u64(), s.number, s.total, file.directory.clone())
        };
        segments.read.iter().map(seen).collect()
    }
}

#[test]
fn two_calls_are_read_as_one_from_either_side_of_midnight() {
    let two = two();
    assert_eq!((two.seen(5).len(), two.seen(7).len()), (2, 1));
    two.note(Half::From);
    two.note(Half::Into);
    let own = layout::call_directory(&TenantId::default(), EVE, CallId::from_u64(5));
    let other = Half::From.directory(&two.join);
    assert!(own.contains("2026-11-20") && other.contains("2026-11-21"));
    let expected = vec![(501, 1, 2, own.clone()), (502, 2, 2, own), (701, 3, 3, other)];
    assert_eq!(two.seen(5), expected);
    assert_eq!(two.seen(7), expected);
    let whole = WholeCall::find(&two.repository, CallId::from_u64(7)).unwrap().unwrap();
    let segments = whole.segments(&two.repository).unwrap().read;
    assert_eq!((whole.call, whole.total(&segments)), (CallId::from_u64(5), 3));
    assert_eq!(segments[2].1.recorded_as, Some((CallId::from_u64(7), 1)));
    assert!(segments.iter().all(|(_, file)| file.sealed));
}

#[test]
fn a_tag_that_was_taken_away_of_the_one_does_not_come_back_by_the_other() {
    let two = two();
    two.note(Half::From);
    two.note(Half::Into);
    let tag: model::Tag = "vip".parse().unwrap();
    let (tagged, untagged) = (model::Note::Tagged { tag: tag.clone() }, model::Note::Untagged { tag });
    for (half, ms, note) in [(Half::From, 1, tagged), (Half::Into, 2, untagged.clone())] {
        let entry = Entry::Noted { note, by: "test".to_owned() };
        let at = now().wall + Duration::from_millis(ms);
        let path = layout::log_path(&half.directory(&two.join));
        two.disk.apply_all(vec![FileOp::AppendLine { path, bytes: spool::log::line(at, &entry) }]).unwrap();
    }
    // Whichever directory is told last.
    for half in [Half::From, Half::Into] {
        let said = crate::reindex::changes_of(&two.repository, &half.directory(&two.join)).unwrap();
        let notes: Vec<_> = said
            .changes
            .into_iter()
            .filter_map(|(_, kind)| match kind {
                model::ChangeKind::Noted { note, .. } => Some(note),
                _ => None,
            })
            .collect();
        assert_eq!(notes, std::slice::from_ref(&untagged), "{half:?}");
    }
}

#[test]
fn one_line_is_enough_where_it_stands() {
    for half in [Half::From, Half::Into] {
        let two = two();
        two.note(half);
        assert_eq!(two.seen(half.key(&two.join).call.as_u64()).len(), 3, "{half:?}");
    }
}

#[test]
fn what_is_said_twice_counts_once_and_foreign_tenants_not_at_all() {
    let two = two();
    (0..3).for_each(|_| two.note(Half::Into));
    let lines = two.repository.log(&Half::Into.directory(&two.join)).unwrap().0;
    assert_eq!(joins_of(&lines).len(), 1);
    let mut foreign = two.join.clone();
    foreign.into.tenant = "other".parse().unwrap();
    foreign.from.tenant = "other".parse().unwrap();
    let entry = Entry::JoinedInto(foreign);
    let path = layout::log_path(&Half::From.directory(&two.join));
    let bytes = spool::log::line(EVE, &entry);
    two.disk.apply_all(vec![FileOp::AppendLine { path, bytes }]).unwrap();
    assert_eq!(two.seen(7).len(), 1);
}

/// The sides of the streams of a call's segments, by what the logs say: recorded are none, so it is the parties'.
#[test]
fn what_was_said_of_a_call_before_it_was_joined_counts_for_its_own_segments_and_for_later_ones() {
    let two = two();
    let said = model::Correction {
        calls: vec![two.join.from.call],
        from: model::Sides::default(),
        to: model::Sides { swapped: true, ..model::Sides::default() },
        at: two.join.at - Duration::from_secs(1),
        by: "test".to_owned(),
    };
    let path = layout::log_path(&Half::From.directory(&two.join));
    let bytes = spool::log::line(said.at, &Entry::Sides(said.clone()));
    two.disk.apply_all(vec![FileOp::AppendLine { path, bytes }]).unwrap();
    two.note(Half::From);
    two.note(Half::Into);
    // Begun when they were known to be one.
    record(two.directory.path(), 5, EVE, 12, EndReason::HangUp);
    let whole = WholeCall::find(&two.repository, CallId::from_u64(5)).unwrap().unwrap();
    let lines = whole.lines();
    let seen = |(s, file): &(SegmentRecord, ManifestFile)| {
        (s.id.as_u64(), whole.correction(&lines, s, file).is_some())
    };
    let seen: Vec<_> = whole.recorded(&two.repository).unwrap().read.iter().map(seen).collect();
    assert_eq!(seen, [(501, false), (502, false), (701, true), (512, true)]);
}
