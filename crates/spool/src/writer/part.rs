//! The part that is being written: its tracks, its buffer, and the filling of gaps.
//!
//! A block is encoded straight into the buffer; nothing is allocated for a packet once the buffer has grown.
//! Gaps of G.711 are filled with silence in discardable blocks, because players skip what has no bytes and
//! would show a shorter call. What cannot be filled by one octet stays a gap of timestamps.

use std::sync::Arc;

use model::segment::{PartRecord, PartTrack};
use model::{Codec, Side, StreamId, WallTime};

use crate::codec::{TICK_US, TICKS_PER_SECOND, TrackCodec};
use crate::mka::{self, BlockKind, BlockWriter, HeadInfo, TrackHead};

/// 100 ms of fill in one block: short against a seek, long against the 8 octets that a block costs.
const FILL_BLOCK_TICKS: usize = 800;
/// 2 s: filling goes on at each flush and is never more than 1 s behind, so a longer gap before a frame is a
/// jump of its clock. It stays a gap of timestamps instead of becoming one huge fill.
const FILL_ONCE_MAX: i64 = 2 * TICKS_PER_SECOND;
/// 1 s: less is not stamped. A stamp touches a page of the file that nothing else does.
const BEHIND_LEAST: i64 = TICKS_PER_SECOND;
/// 5 s: beyond it is always stamped.
const BEHIND_MAX: i64 = 5 * TICKS_PER_SECOND;
/// 30 days: no call is that long, and positions beyond would not be media time.
const TICK_MAX: i64 = 30 * 86_400 * TICKS_PER_SECOND;

/// 192 octets: 20 ms of G.711 and what is around it.
const NEXT_BLOCK: usize = 192;
/// 128 octets: the tracks of two sides.
const TRACKS_AT_HAND: usize = 128;

/// A track to begin a part with.
pub(super) struct NewTrack {
    pub(super) stream: StreamId,
    pub(super) side: Side,
    pub(super) codec: TrackCodec,
    pub(super) sdp: Codec,
}

/// Where a part belongs: what its head and tags say.
pub(super) struct PartPlace {
    pub(super) title: String,
    pub(super) tags: Vec<(String, String)>,
    pub(super) path: String,
    pub(super) file: String,
    pub(super) number: u16,
    pub(super) offset_us: i64,
    pub(super) date: WallTime,
}

struct TrackState {
    stream: StreamId,
    codec: TrackCodec,
    /// Where its last block ends, in ticks of the part.
    end: i64,
    /// The same, of what has been handed to the disk.
    flushed_end: i64,
}

/// A part that is being written.
pub(super) struct PartWriter {
    buffer: Vec<u8>,
    blocks: BlockWriter,
    tracks: Vec<TrackState>,
    /// Where it begins, in microseconds of the segment.
    offset_us: i64,
    pub(super) path: Arc<str>,
    pub(super) number: u16,
    /// Octets that were handed to the disk.
    bytes: u64,
    /// How long those are, in ticks.
    written: i64,
    duration_at: u64,
    patched: i64,
}

/// When Duration is overwritten. It costs a system call, as much as all blocks of a flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stamp {
    /// When it is behind by an eighth of the length, from one second to five: players of a live part see that much less
    /// of its end.
    WhenBehind,
    /// Now: the part ends.
    Now,
}

/// Bytes to hand to the disk.
pub(super) struct PartFlush {
    /// Empty when only Duration is behind.
    pub(super) bytes: Vec<u8>,
    /// Where Duration stands and its bytes, when it is due.
    pub(super) duration: Option<(u64, [u8; 8])>,
}

impl PartWriter {
    /// A part, the bytes of its head, and what is noted of it.
    pub(super) fn begin(
        place: PartPlace,
        tracks: &[NewTrack],
        buffer: Vec<u8>,
    ) -> (Self, Vec<u8>, PartRecord) {
        let heads: Vec<_> =
            tracks.iter().map(|t| TrackHead { stream: t.stream, side: t.side, codec: t.codec }).collect();
        let info = HeadInfo { title: place.title, date: place.date, tags: place.tags };
        let (head, duration_at) = mka::head(&info, &heads);
        let record = PartRecord {
            number: place.number,
            file: place.file,
            tracks: (1..)
                .zip(tracks)
                .map(|(track, t)| PartTrack { track, stream: t.stream, codec: t.sdp.clone() })
                .collect(),
            offset_us: place.offset_us,
            duration_us: 0,
            bytes: head.len() as u64,
            sha256: None,
            marks: Vec::new(),
        };
        let tracks = tracks
            .iter()
            .map(|t| TrackState { stream: t.stream, codec: t.codec, end: 0, flushed_end: 0 })
            .collect();
        let part = Self {
            buffer,
            blocks: BlockWriter::default(),
            tracks,
            offset_us: record.offset_us,
            path: place.path.into(),
            number: record.number,
            bytes: record.bytes,
            written: 0,
            duration_at,
            patched: 0,
        };
        (part, head, record)
    }

    /// Octets that were handed to the disk.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Notes how long it is by now.
    pub(super) fn note(&self, record: &mut PartRecord) {
        record.duration_us = self.written * TICK_US;
        record.bytes = self.bytes;
    }

    /// Octets that wait for a flush.
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Where its tracks lie, and where the next block goes.
    pub(super) fn at_hand(&self, each: &mut impl FnMut(*const u8, usize)) {
        each(self.tracks.as_ptr().cast(), size_of_val(self.tracks.as_slice()).min(TRACKS_AT_HAND));
        each(self.buffer.as_ptr().wrapping_add(self.buffer.len()), NEXT_BLOCK);
    }

    /// The track that holds this stream in this codec.
    pub(super) fn track_of(&self, stream: StreamId, codec: TrackCodec) -> Option<usize> {
        self.tracks.iter().position(|t| t.stream == stream && t.codec == codec)
    }

    /// Where each track ends, in microseconds of the segment.
    pub(super) fn ends_us(&self) -> impl Iterator<Item = i64> {
        self.tracks.iter().map(|t| self.offset_us + t.end * TICK_US)
    }

    /// The tick of a position, if it lies on this part's time line.
    pub(super) fn tick(&self, position_us: i64) -> Option<i64> {
        let tick = position_us.checked_sub(self.offset_us)?.div_euclid(TICK_US);
        (0..=TICK_MAX).contains(&tick).then_some(tick)
    }

    /// Adds a frame to a track, filling what lies open before it.
    pub(super) fn put(&mut self, index: usize, tick: i64, payload: &[u8]) {
        let Some(track) = self.tracks.get_mut(index) else { return };
        if tick - track.end <= FILL_ONCE_MAX {
            fill(&mut self.blocks, &mut self.buffer, index, track, tick);
        }
        self.blocks.put(&mut self.buffer, number(index), tick, BlockKind::Media, payload);
        track.end = track.end.max(tick + track.codec.ticks(payload));
    }

    /// Fills the tracks up to a position of the segment, at most 2 s of each, but for those of streams that are `awaited`.
    pub(super) fn fill(&mut self, until_us: i64, awaited: impl Fn(StreamId) -> bool) {
        let until = until_us.saturating_sub(self.offset_us).div_euclid(TICK_US);
        self.fill_to(until, awaited);
    }

    fn fill_to(&mut self, until: i64, awaited: impl Fn(StreamId) -> bool) {
        let behind = self.tracks.iter_mut().enumerate().filter(|(_, track)| track.end < until);
        for (index, track) in behind.filter(|(_, track)| !awaited(track.stream)) {
            let until = until.min(track.end + FILL_ONCE_MAX);
            fill(&mut self.blocks, &mut self.buffer, index, track, until);
        }
    }

    /// Fills every track up to the end of the longest: the end of a call is one for all.
    pub(super) fn level(&mut self) {
        let end = self.end();
        self.fill_to(end, |_| false);
    }

    fn end(&self) -> i64 {
        self.tracks.iter().map(|t| t.end).max().unwrap_or(0)
    }

    /// What is to be written now. The buffer is replaced by `next`.
    pub(super) fn flush(&mut self, stamp: Stamp, next: impl FnOnce() -> Vec<u8>) -> Option<PartFlush> {
        let end = self.end();
        let due = match stamp {
            Stamp::WhenBehind => end - self.patched >= (self.patched / 8).clamp(BEHIND_LEAST, BEHIND_MAX),
            Stamp::Now => end != self.patched,
        };
        let bytes = match self.buffer.is_empty() {
            true if due => Vec::new(),
            true => return None,
            false => std::mem::replace(&mut self.buffer, next()),
        };
        self.bytes += bytes.len() as u64;
        for track in &mut self.tracks {
            track.flushed_end = track.end;
        }
        self.written = end;
        if due {
            self.patched = end;
        }
        let duration = due.then(|| (self.duration_at, mka::duration_bytes(end)));
        Some(PartFlush { bytes, duration })
    }

    /// Forgets what was not flushed; its time becomes a gap, which the next flushes fill.
    pub(super) fn drop_buffered(&mut self) {
        self.buffer.clear();
        self.blocks.interrupt();
        for track in &mut self.tracks {
            track.end = track.flushed_end;
        }
    }
}

fn fill(blocks: &mut BlockWriter, out: &mut Vec<u8>, index: usize, track: &mut TrackState, until: i64) {
    let silence = match track.codec.fill() {
        Some(octet) => [octet; FILL_BLOCK_TICKS],
        None => return,
    };
    while track.end < until {
        let ticks = usize::try_from(until - track.end).unwrap_or(0).min(FILL_BLOCK_TICKS);
        blocks.put(out, number(index), track.end, BlockKind::Fill, &silence[..ticks]);
        track.end += i64::try_from(ticks).unwrap_or(0);
    }
}

/// The track number of an index; a part has at most 127.
fn number(index: usize) -> u8 {
    u8::try_from(index + 1).unwrap_or(127)
}
