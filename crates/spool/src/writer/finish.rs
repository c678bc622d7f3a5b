//! What goes to the disk, and how a segment ends: flush, end, seal.

use std::sync::Arc;

use model::{
    Accounting, Copy, CopyOf, EndReason, Location, Now, RecordingState, SegmentRecord, StreamRecord,
    WallTime, total,
};

use super::part::{PartFlush, PartWriter, Stamp};
use super::stream::{Buffer, StreamState};
use super::{FILL_LAG_US, Phase, SegmentWriter, SidecarFlush};
use crate::layout;
use crate::log::Entry;
use crate::manifest;
use crate::op::FileOp;
use crate::sealer::Sealer;
use crate::{digest, log};

impl SegmentWriter {
    /// Moves out what is to be written: each 100 ms, and once right after `open`. `streams` replace the records
    /// of the same ids when they are due (see [`manifest_due`](Self::manifest_due)); empty is fine.
    pub fn flush(&mut self, now: Now, streams: Vec<StreamRecord>, ops: &mut Vec<FileOp>) {
        if self.phase != Phase::Live {
            return;
        }
        self.fill(now);
        self.flush_media(Stamp::WhenBehind, ops);
        if self.manifest_due(now) {
            let looked = !streams.is_empty() || self.streams.is_empty();
            let mut news = self.take_records(streams);
            if looked {
                self.looked_at = now.mono;
                let written = self.written();
                if std::mem::replace(&mut self.looked_bytes, written) == written {
                    news = News::More;
                }
            }
            if news == News::More || self.is_overdue(now) {
                self.replace_manifest(now, ops);
            }
        }
    }

    /// Silence goes into every track that has fallen behind, of held and closed streams too: all tracks of a
    /// part have one time line.
    fn fill(&mut self, now: Now) {
        let since_us = i64::try_from(now.mono.since(self.opened).as_micros()).unwrap_or(i64::MAX);
        let until_us = self.origin_us.saturating_add(since_us).saturating_sub(FILL_LAG_US);
        if let Some(part) = self.part.as_mut() {
            let streams = &self.streams;
            part.fill(until_us, |of| streams.iter().any(|s| s.id == of && s.is_awaited));
        }
    }

    fn flush_media(&mut self, stamp: Stamp, ops: &mut Vec<FileOp>) {
        ops.append(&mut std::mem::take(&mut self.ready));
        let Self { part, streams, buffers, sealer, .. } = self;
        if let Some(part) = part {
            flush_part(part, stamp, streams, buffers, &mut **sealer, ops);
        }
        match self.sidecar.flush(|| self.buffers.pop().unwrap_or_default()) {
            None => return,
            Some(SidecarFlush::Create(bytes)) => {
                let bytes = self.sealer.seal(&self.sidecar_path, bytes);
                ops.push(FileOp::Create { path: self.sidecar_path.to_string(), bytes });
                self.changed = true;
            }
            Some(SidecarFlush::Append(bytes)) => {
                let bytes = self.sealer.seal(&self.sidecar_path, bytes);
                ops.push(FileOp::Append { path: Arc::clone(&self.sidecar_path), bytes });
            }
        }
        self.streams.iter_mut().for_each(|s| s.flushed(Buffer::Sidecar));
    }

    /// A part that another follows: its bytes come first.
    pub(super) fn close_part(&mut self, mut part: PartWriter) {
        let Self { streams, buffers, sealer, ready, .. } = self;
        flush_part(&mut part, Stamp::Now, streams, buffers, &mut **sealer, ready);
        self.note_part(&part);
    }

    /// Notes how long a part is by now.
    fn note_part(&mut self, part: &PartWriter) {
        if let Some(listed) = self.record.parts.iter_mut().find(|p| p.number == part.number) {
            part.note(listed);
        }
    }

    /// Forgets what waits for the disk, when storage cannot keep up. How many packets that is; they are in the
    /// streams' accounting, their time becomes a gap. Heads of files and log lines stay: they are owed.
    pub fn drop_buffered(&mut self) -> u64 {
        if let Some(part) = self.part.as_mut() {
            part.drop_buffered();
        }
        self.sidecar.drop_buffered();
        let lost = self.streams.iter_mut().map(StreamState::lose_waiting).sum();
        self.counts.dropped += lost;
        self.changed |= lost > 0;
        lost
    }

    /// Takes over what is known of the streams, with what was dropped here.
    fn take_records(&mut self, streams: Vec<StreamRecord>) -> News {
        let mut news = News::Counts;
        for mut given in streams {
            if let Some(state) = self.streams.iter().find(|s| s.id == given.id) {
                state.account(&mut given);
            }
            match self.record.streams.iter_mut().find(|s| s.id == given.id) {
                Some(record) => {
                    if tells_more(record, &given) {
                        news = News::More;
                    }
                    *record = given;
                }
                None => {
                    news = News::More;
                    self.record.streams.push(given);
                }
            }
        }
        self.record.sidecar = self.sidecar.record(&layout::sidecar_name(&self.stem));
        if let Some(part) = self.part.take() {
            self.note_part(&part);
            self.part = Some(part);
        }
        news
    }

    fn replace_manifest(&mut self, now: Now, ops: &mut Vec<FileOp>) {
        let bytes = manifest::to_bytes(&self.record, false, now.wall);
        ops.push(FileOp::Replace { path: self.manifest_path(), bytes });
        self.manifest_at = now.mono;
        (self.changed, self.manifest_now) = (false, false);
    }

    /// Ends the segment with the last flush. The shell then digests [`files`](Self::files) and calls
    /// [`seal`](Self::seal); if that is not at once, it writes [`ended`](Self::ended) before. A second end changes nothing.
    pub fn end(
        &mut self,
        _now: Now,
        at: WallTime,
        reason: EndReason,
        streams: Vec<StreamRecord>,
        ops: &mut Vec<FileOp>,
    ) {
        if self.phase != Phase::Live {
            return;
        }
        self.phase = Phase::Ended;
        if let Some(part) = self.part.as_mut() {
            part.level();
        }
        self.flush_media(Stamp::Now, ops);
        self.take_records(streams);
        self.record.total = total::at_end(self.record.number, self.record.total, &reason);
        // A live segment is in one of the two states from which every end is possible.
        self.record.state = self.record.state.apply(reason.transition()).unwrap_or(self.record.state);
        self.record.ended = Some(at.max(self.record.started));
        self.record.end = Some(reason);
    }

    /// The manifest of a segment that has ended, before it is sealed: a process that dies until then would not know how
    /// it ended.
    #[must_use]
    pub fn ended(&self, now: Now) -> FileOp {
        let bytes = manifest::to_bytes(&self.record, false, now.wall);
        FileOp::Replace { path: self.manifest_path(), bytes }
    }

    /// Writes the final manifest with the files' digests (name or path, octets, SHA-256), notes state and seal
    /// in the log, and removes the live marker. Ends the segment if nobody did: as an internal failure.
    pub fn seal(
        &mut self,
        now: Now,
        digests: &[(String, u64, String)],
        ops: &mut Vec<FileOp>,
    ) -> SegmentRecord {
        if self.phase == Phase::Live {
            let why = EndReason::Internal(model::Failure::Process);
            self.end(now, now.wall, why, Vec::new(), ops);
        }
        if self.phase == Phase::Ended {
            self.phase = Phase::Sealed;
            for (name, bytes, sha256) in digests {
                self.digested(name.rsplit('/').next().unwrap_or(name), *bytes, sha256);
            }
            let sealed = manifest::to_bytes(&self.record, true, now.wall);
            let sha256 = digest::of_bytes(&sealed).sha256;
            ops.push(FileOp::Replace { path: self.manifest_path(), bytes: sealed });
            let mut bytes = std::mem::take(&mut self.unlogged);
            bytes.extend(seal_lines(now, &self.record, &self.stem, sha256, &[]));
            ops.push(FileOp::AppendLine { path: layout::log_path(&self.directory), bytes });
            ops.push(FileOp::Unmark { path: layout::marker_path(self.record.id) });
        }
        self.record.clone()
    }

    fn digested(&mut self, name: &str, bytes: u64, sha256: &str) {
        if let Some(part) = self.record.parts.iter_mut().find(|p| p.file == name) {
            (part.bytes, part.sha256) = (bytes, Some(sha256.to_owned()));
        }
        if let Some(sidecar) = self.record.sidecar.as_mut().filter(|s| s.file == name) {
            (sidecar.bytes, sidecar.sha256) = (bytes, Some(sha256.to_owned()));
        }
    }
}

/// Takes what a part buffered among the operations.
fn flush_part(
    part: &mut PartWriter,
    stamp: Stamp,
    streams: &mut [StreamState],
    buffers: &mut Vec<Vec<u8>>,
    sealer: &mut dyn Sealer,
    ops: &mut Vec<FileOp>,
) {
    let Some(PartFlush { bytes, duration }) = part.flush(stamp, || buffers.pop().unwrap_or_default()) else {
        return;
    };
    if !bytes.is_empty() {
        let bytes = sealer.seal(&part.path, bytes);
        ops.push(FileOp::Append { path: Arc::clone(&part.path), bytes });
    }
    if let Some((offset, bytes)) = duration.filter(|_| sealer.allows_patches()) {
        ops.push(FileOp::Patch { path: part.path.to_string(), offset, bytes: bytes.to_vec() });
    }
    streams.iter_mut().for_each(|s| s.flushed(Buffer::Part));
}

/// What is new in the records of streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum News {
    /// Higher counts.
    Counts,
    /// What a listener or a repair would miss.
    More,
}

/// Whether a record says more than higher counts: a gap that goes on is longer, something was counted for the first time.
fn tells_more(before: &StreamRecord, now: &StreamRecord) -> bool {
    let lists = |r: &StreamRecord| (r.ssrcs.len(), r.codecs.len(), r.anchors.len(), r.gaps.len());
    before.source != now.source
        || lists(before) != lists(now)
        || before.gaps.last() != now.gaps.last()
        || before.gaps_unlisted != now.gaps_unlisted
        || counted(&before.accounting) != counted(&now.accounting)
}

/// What was counted at all, and changes, which are few.
const fn counted(a: &Accounting) -> ([bool; 12], [u32; 3]) {
    let whether = [
        a.received > 0,
        a.lost > 0,
        a.reordered > 0,
        a.duplicate > 0,
        a.late > 0,
        a.invalid > 0,
        a.unauthenticated > 0,
        a.rtcp_unauthenticated > 0,
        a.other_source > 0,
        a.dropped > 0,
        a.discarded > 0,
        a.masked > 0,
    ];
    (whether, [a.ssrc_changes, a.source_changes, a.codec_changes])
}

/// State and seal of a segment, as lines of its call's log. Those that the log holds already (`lines`) are not
/// repeated, so that a repair may be cut and run again.
pub(crate) fn seal_lines(
    now: Now,
    record: &SegmentRecord,
    stem: &str,
    manifest_sha256: String,
    lines: &[log::LogLine],
) -> Vec<u8> {
    let of = CopyOf::Segment(record.id);
    let logged = log::state_of(lines, of);
    let state = Entry::State {
        copy: Copy { of, at: Location::Node(record.node), state: record.state },
        // Also of a segment that is closed once more: its end is decided anew, the first one did not hold.
        from: Some(RecordingState::begin(record.respondent)),
        why: record.end.as_ref().map(EndReason::describe).unwrap_or_default(),
    };
    let manifest = layout::manifest_name(stem);
    let sealed = Entry::Sealed { segment: record.id, manifest, sha256: manifest_sha256 };
    let mut due = Vec::new();
    if logged != Some(record.state) {
        due.extend(log::line(now.wall, &state));
    }
    if !lines.iter().any(|l| l.entry == sealed) {
        due.extend(log::line(now.wall, &sealed));
    }
    due
}
