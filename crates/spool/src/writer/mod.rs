//! The segment that is being written: frames in, file operations out.
//!
//! ```text
//!  open ──► push, push, … ──► flush each 100 ms ──► end ──► (the shell digests the files) ──► seal
//!             │ no allocation        │ operations: first the marker, directory, manifest,
//!             ▼                      │ head of part 1; then what was buffered, Duration, manifest
//!        part or sidecar             ▼
//! ```
//!
//! A part holds one track per stream, in one codec each. A frame in another codec, or of a stream that came
//! later, begins a new part with the current codecs of all streams. What no track can hold goes to the
//! sidecar as a whole packet: telephone-event, comfort noise, unknown payload types, codecs that players do
//! not know, frames from before a part's beginning. Nothing that is pushed vanishes uncounted.
//!
//! It never opens a file and never waits; it is told the time. What it buffers is bounded, and what it had to
//! drop is in the stream's accounting.

mod begin;
mod finish;
mod marks;
mod part;
mod pauses;
mod sidecar;
mod stream;

use media::{Frame, FrameKind};
use model::peer::FileNames;
use model::{
    CallData, Metadata, Mono, NodeNumber, Now, OpenSegment, OpenStream, SegmentRecord, StreamId, VolumeName,
};
use std::mem::offset_of;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{TICK_US, TrackCodec};
use crate::layout;
use crate::op::FileOp;
use crate::sealer::{Identity, Sealer};
pub(crate) use begin::opened;
pub(crate) use finish::seal_lines;
use part::PartWriter;
use sidecar::{SidecarFlush, SidecarWriter};
use stream::{Buffer, StreamState};

/// 1 MiB: a minute of two-way G.711. When storage stands still for longer, frames are dropped and counted.
const BUFFER_MAX: usize = 1 << 20;
/// 8 KiB: 100 ms of two-way G.711 are 2 KiB. A buffer that the silence before the first packet or a stall made
/// longer is not kept for the rest of the call: with thousands of calls that would be most of their memory.
const BUFFER_KEPT_MAX: usize = 8 << 10;
/// Two buffers: one that is filled has another at the disk.
const BUFFERS_KEPT: usize = 2;
/// 60 s: how old a live manifest's counts may be while its part grows and nothing else changes. Replacing a file is dear:
/// some file systems write it out at once.
const MANIFEST_EVERY: Duration = Duration::from_secs(60);
/// 5 s: how soon it is seen that something else has changed (a source, a codec, an anchor, a gap), or that the part does
/// not grow: then only the manifest tells a repair how long the segment was alive.
const LOOKED_EVERY: Duration = Duration::from_secs(5);
/// 800 ms: by then reordering (100 ms) and the clock tolerance of a source (500 ms) are over, and the file is
/// still less than a second behind at any flush.
const FILL_LAG_US: i64 = 800_000;
/// 8 parts at once and one more each 10 s: streams that change their codecs back and forth make some parts, and
/// their other packets go to the sidecar; a codec that stays gets its part within 10 s.
const PARTS_AT_ONCE: i64 = 8;
const PART_EVERY_US: i64 = 10_000_000;
/// 999 parts: three digits in a list, and with the pace above more than two and a half hours of changes.
const PARTS_MAX: i64 = 999;
/// 1 s: how soon a change is in the live manifest. A client that changes things with each packet must not make
/// the disk write a manifest with each flush.
const CHANGED_EVERY: Duration = Duration::from_secs(1);
/// 256 metadata bodies; the last place always holds the newest.
const METADATA_MAX: usize = 256;
/// 512 KiB of metadata: hundreds of usual bodies. All of it is in every manifest, live ones included, and in what
/// the catalogue is told.
const METADATA_OCTETS_MAX: usize = 512 << 10;

/// 512 octets: two streams, as nearly all segments have. Of those that have more, the rest is waited for.
const AT_HAND_MAX: usize = 512;

/// Counts of a segment that no stream's accounting has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriterCounts {
    /// Packets dropped because the buffer was full or was dropped: also in the streams' accounting.
    pub dropped: u64,
    /// Media packets that went to the sidecar because no further part may begin yet.
    pub parts_refused: u64,
    /// Media packets that went to the sidecar because they lie before their part's beginning or beyond 30 days.
    pub misplaced: u64,
    /// Packets too long for any file.
    pub too_long: u64,
    /// Metadata bodies that made way for a newer one.
    pub metadata_replaced: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Live,
    Ended,
    Sealed,
}

/// Where a segment is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The record server.
    pub node: NodeNumber,
    /// Its volume.
    pub volume: VolumeName,
}

impl From<NodeNumber> for Place {
    /// The volume of a record server that has only one.
    fn from(node: NodeNumber) -> Self {
        Self { node, volume: VolumeName::default() }
    }
}

/// Writes one segment. First stands what each frame asks for, then what each flush does.
#[repr(C)]
pub struct SegmentWriter {
    phase: Phase,
    streams: Vec<StreamState>,
    part: Option<PartWriter>,
    /// Operations that come before the buffers' bytes.
    ready: Vec<FileOp>,
    sidecar: SidecarWriter,
    opened: Mono,
    /// How far into the segment `opened` was.
    origin_us: i64,
    buffers: Vec<Vec<u8>>,
    manifest_at: Mono,
    /// When the streams' records were last seen, and how much had been written of how many parts.
    looked_at: Mono,
    looked_bytes: (u16, u64),
    changed: bool,
    /// A part or a pause began: the manifest is written at once. Both are paced, so this is too.
    manifest_now: bool,
    /// A pause goes on.
    paused: bool,
    /// Lines about pauses in the call's log.
    asks_logged: u32,
    /// The line of the segment's beginning, until it is written.
    unlogged: Vec<u8>,
    counts: WriterCounts,
    sealer: Box<dyn Sealer>,
    parts: u16,
    sidecar_path: Arc<str>,
    directory: String,
    stem: String,
    record: SegmentRecord,
}

impl SegmentWriter {
    /// Begins a segment whose call has none of this number here. The first [`flush`](Self::flush) returns what
    /// is to be done before the INVITE is answered.
    #[must_use]
    pub fn open(open: &OpenSegment, node: NodeNumber, now: Now) -> Self {
        Self::open_beside(open, node, now, &[])
    }

    /// Begins a segment in a directory that holds these names already: if its number is taken, its files are
    /// called by its id as well.
    #[must_use]
    pub fn open_beside(open: &OpenSegment, place: impl Into<Place>, now: Now, names: &[String]) -> Self {
        Self::open_sealing(open, place, now, names, Box::new(Identity))
    }

    /// The same, with all bytes of parts and sidecar passing a sealer.
    #[must_use]
    pub fn open_sealing(
        open: &OpenSegment,
        place: impl Into<Place>,
        now: Now,
        names: &[String],
        sealer: Box<dyn Sealer>,
    ) -> Self {
        let directory = layout::call_directory(&open.tenant, open.call_started, open.call);
        let origin_us = now.wall.nanos_since(open.started).max(0) / 1_000;
        let stem = match open.files {
            FileNames::ByNumber => layout::stem(open.number, open.segment, names),
            FileNames::ById => layout::stem_by_id(open.number, open.segment),
        };
        let mut writer = Self {
            record: begin::first_record(open, place.into()),
            sidecar_path: format!("{directory}/{}", layout::sidecar_name(&stem)).into(),
            directory,
            stem,
            opened: now.mono,
            origin_us,
            streams: open.streams.iter().map(StreamState::new).collect(),
            parts: 0,
            part: None,
            sidecar: SidecarWriter::default(),
            ready: Vec::new(),
            buffers: Vec::new(),
            manifest_at: now.mono,
            looked_at: now.mono,
            looked_bytes: (0, 0),
            changed: false,
            manifest_now: false,
            paused: false,
            asks_logged: 0,
            unlogged: Vec::new(),
            counts: WriterCounts::default(),
            sealer,
            phase: Phase::Live,
        };
        writer.keep_metadata(open.metadata.clone());
        if let Some(pause) = open.pause.clone() {
            writer.begin_paused(pause);
        }
        writer.begin_files(now);
        writer.looked_bytes = writer.written();
        writer
    }

    /// The call's directory, relative to the repository.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The manifest's path, relative to the repository.
    #[must_use]
    pub fn manifest_path(&self) -> String {
        format!("{}/{}", self.directory, layout::manifest_name(&self.stem))
    }

    /// The paths of parts and sidecar so far: what the shell digests between `end` and `seal`.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let parts = self.record.parts.iter().map(|p| p.file.clone());
        let sidecar = self.sidecar.record(&layout::sidecar_name(&self.stem)).map(|s| s.file);
        parts.chain(sidecar).map(|f| format!("{}/{f}", self.directory)).collect()
    }

    /// What is known of the segment.
    #[must_use]
    pub const fn record(&self) -> &SegmentRecord {
        &self.record
    }

    /// How many parts there are, and how much of the newest was written.
    fn written(&self) -> (u16, u64) {
        (self.parts, self.part.as_ref().map_or(0, PartWriter::bytes))
    }

    /// Counts that no stream has.
    #[must_use]
    pub const fn counts(&self) -> WriterCounts {
        self.counts
    }

    const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Octets that wait for a flush.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.part.as_ref().map_or(0, PartWriter::buffered)
            + self.sidecar.buffered()
            + self.ready.iter().map(ready_bytes).sum::<usize>()
    }

    /// Tells where a stream's packets come to, for the sidecar. Until told, the address is unspecified.
    pub fn local_address(&mut self, stream: StreamId, local: SocketAddr) {
        if let Some(state) = self.streams.iter_mut().find(|s| s.id == stream) {
            state.local = local;
        }
    }

    /// Whether the next flush gives a buffer away and there is none to go on with: then one should be
    /// [given back](Self::recycle) before.
    #[must_use]
    pub fn wants_buffer(&self) -> bool {
        let fills = self.sidecar.buffered() > 0 || self.part.as_ref().is_some_and(|p| p.buffered() > 0);
        self.buffers.is_empty() && fills
    }

    /// Takes a buffer back that a flush gave away.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < BUFFERS_KEPT && buffer.capacity() <= BUFFER_KEPT_MAX {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Octets of a writer that frames and flushes ask for, from its beginning.
    pub const AT_HAND: usize = offset_of!(Self, asks_logged);

    /// Where that lies which frames and flushes ask for beside the writer itself, and how many octets it is: whoever has
    /// thousands of segments may have it fetched before.
    pub fn at_hand(&self, each: &mut impl FnMut(*const u8, usize)) {
        each(self.streams.as_ptr().cast(), size_of_val(self.streams.as_slice()).min(AT_HAND_MAX));
        if let Some(part) = &self.part {
            part.at_hand(each);
        }
    }

    /// Takes a frame. Does nothing once the segment has ended.
    pub fn push(&mut self, frame: &Frame<'_>) {
        if self.phase != Phase::Live {
            return;
        }
        let Some(index) = self.streams.iter().position(|s| s.id == frame.stream) else {
            self.push_aside(frame, None);
            return;
        };
        if self.buffered() + frame.packet.len() > BUFFER_MAX {
            let until_us = frame.position_us.saturating_add(frame.duration_us.unwrap_or(0).into());
            self.streams[index].lost(1, frame.position_us, until_us);
            self.counts.dropped += 1;
            return;
        }
        let codec = frame.codec.filter(|_| frame.kind == FrameKind::Media);
        let track = codec.and_then(|codec| self.streams[index].track_codec(codec));
        if track.is_some_and(|track| self.push_media(frame, index, track)) {
            return;
        }
        self.push_aside(frame, Some(index));
    }

    /// Adds a frame to its track; false when there is none and none may begin, or when it lies before it.
    fn push_media(&mut self, frame: &Frame<'_>, index: usize, codec: TrackCodec) -> bool {
        let has_track = |p: &PartWriter| p.track_of(frame.stream, codec);
        if self.part.as_ref().and_then(has_track).is_none() {
            let since_us = frame.arrival.nanos_since(self.record.started).max(0) / 1_000;
            let allowed = (PARTS_AT_ONCE + since_us / PART_EVERY_US).min(PARTS_MAX);
            if i64::from(self.parts) >= allowed {
                self.counts.parts_refused += 1;
                return false;
            }
            self.begin_part(frame.position_us);
        }
        let Some(part) = self.part.as_mut() else { return false };
        let place = part.track_of(frame.stream, codec).zip(part.tick(frame.position_us));
        let Some((track, tick)) = place else {
            self.counts.misplaced += 1;
            return false;
        };
        part.put(track, tick, frame.payload);
        self.streams[index].waits(Buffer::Part, frame.position_us, codec.ticks(frame.payload) * TICK_US);
        true
    }

    /// Adds a frame to the sidecar.
    fn push_aside(&mut self, frame: &Frame<'_>, index: Option<usize>) {
        let mut local = SocketAddr::from(([0, 0, 0, 0], 0));
        if let Some(state) = index.map(|i| &self.streams[i]) {
            local = state.local;
        }
        if frame.destination_port != 0 {
            local.set_port(frame.destination_port);
        }
        if !self.sidecar.put(frame.arrival, frame.source, local, frame.packet) {
            self.counts.too_long += 1;
            return;
        }
        if let Some(index) = index {
            self.streams[index].waits(
                Buffer::Sidecar,
                frame.position_us,
                frame.duration_us.unwrap_or(0).into(),
            );
        }
    }

    /// These are the segment's streams now. New ones get a track with their first frame.
    pub fn change_streams(&mut self, _now: Now, streams: &[OpenStream]) {
        for state in &mut self.streams {
            state.present = streams.iter().any(|s| s.stream == state.id);
        }
        for open in streams {
            match self.streams.iter_mut().find(|s| s.id == open.stream) {
                Some(state) => state.update(open),
                None => self.streams.push(StreamState::new(open)),
            }
            match self.record.streams.iter_mut().find(|s| s.id == open.stream) {
                Some(record) => {
                    record.side = open.side;
                    record.label.clone_from(&open.label);
                }
                None => self.record.streams.push(stream::record_of(open)),
            }
        }
        self.changed = true;
    }

    /// More is known of the call.
    pub fn annotate(&mut self, _now: Now, data: CallData, metadata: Vec<Metadata>) {
        self.record.data = data;
        self.keep_metadata(metadata);
        self.changed = true;
    }

    /// Keeps the first bodies, and always the newest: what is between makes way for it.
    fn keep_metadata(&mut self, bodies: Vec<Metadata>) {
        let kept = &mut self.record.metadata;
        let mut octets: usize = kept.iter().map(octets_of).sum();
        for body in bodies {
            octets += octets_of(&body);
            while kept.len() >= METADATA_MAX || octets > METADATA_OCTETS_MAX {
                let Some(replaced) = kept.pop() else { break };
                octets -= octets_of(&replaced);
                self.counts.metadata_replaced += 1;
            }
            kept.push(body);
        }
    }

    /// Whether the next flush should be given the streams' records: it writes the manifest, or sees whether it must.
    #[must_use]
    pub fn manifest_due(&self, now: Now) -> bool {
        self.phase == Phase::Live && (self.is_overdue(now) || now.mono.since(self.looked_at) >= LOOKED_EVERY)
    }

    /// Whether the manifest is to be written whatever the streams' records say.
    fn is_overdue(&self, now: Now) -> bool {
        let every = if self.changed { CHANGED_EVERY } else { MANIFEST_EVERY };
        self.manifest_now || now.mono.since(self.manifest_at) >= every
    }
}

fn octets_of(body: &Metadata) -> usize {
    let parts = [Some(&body.method), Some(&body.content_type), Some(&body.text)];
    let all = parts.into_iter().chain([body.base64.as_ref(), body.problem.as_ref()]);
    all.flatten().map(String::len).sum()
}

fn ready_bytes(op: &FileOp) -> usize {
    match op {
        FileOp::Create { bytes, .. } | FileOp::Append { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
