//! A segment on the time line of its call.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use model::{SegmentRecord, StreamId, StreamRecord};

use super::clock::Clock;
use super::lane::{Coding, LOOK_AHEAD_TICKS, LOOK_BACK_TICKS};
use super::source::coding_of;
use super::{WINDOW_TICKS, sidecar, succession, to_f64, to_i64};
use crate::codec::TICK_US;

/// A segment on the time line.
pub(super) struct Placed {
    pub(super) record: SegmentRecord,
    /// Which of the calls that are one it was recorded as a segment of, as an index.
    pub(super) recorded_as: usize,
    /// Segments of the same line follow each other.
    pub(super) line: usize,
    /// The tick at which it begins.
    pub(super) start: i64,
    pub(super) clocks: BTreeMap<StreamId, Clock>,
    /// Whether other programs decode some of it.
    pub(super) foreign: bool,
    /// Where what a second copy has of it ends, in its own ticks.
    pub(super) twin_end: i64,
}

/// All segments of a call, each with its directory and the tick at which it begins.
pub(super) fn all(segments: Vec<(SegmentRecord, String)>, starts: Vec<i64>) -> Vec<Placed> {
    let lines = succession::lines(&segments);
    let directories: BTreeSet<String> = segments.iter().map(|(_, d)| d.clone()).collect();
    let place = |(((record, directory), start), line): (((SegmentRecord, String), i64), usize)| {
        let recorded_as = directories.iter().position(|d| *d == directory).unwrap_or(0);
        Placed::new(record, recorded_as, line, start)
    };
    segments.into_iter().zip(starts).zip(lines).map(place).collect()
}

impl Placed {
    fn new(record: SegmentRecord, recorded_as: usize, line: usize, start: i64) -> Self {
        let frames = record.streams.iter().flat_map(|s| &s.anchors).filter_map(|a| a.frame_us);
        let longest_us = frames.map(NonZeroU32::get).max().unwrap_or(0);
        let clock = |s: &StreamRecord| (s.id, Clock::of(s, record.started, longest_us));
        let clocks = record.streams.iter().map(clock).collect();
        let codecs = record.streams.iter().flat_map(|s| &s.codecs).filter_map(|u| u.codec.as_ref());
        let parts = record.parts.iter().flat_map(|p| &p.tracks).map(|t| &t.codec);
        let foreign = codecs.chain(parts).any(|c| matches!(coding_of(c), Some(Coding::There(_))));
        Self { record, recorded_as, line, start, clocks, foreign, twin_end: 0 }
    }

    /// How far, in its own ticks, it must be read before all that lies before `until` is there.
    pub(super) fn read_until(&self, until: i64) -> i64 {
        let wall = to_f64(until.saturating_sub(self.start));
        let positions = self.clocks.values().map(|c| to_i64(c.position(wall)));
        let position = positions.max().unwrap_or(0).max(until.saturating_sub(self.start));
        position.saturating_add(LOOK_AHEAD_TICKS + WINDOW_TICKS)
    }

    /// From where on, in its own ticks, it must be read for all that is heard from `cursor` on.
    pub(super) fn read_from(&self, cursor: i64) -> i64 {
        let wall = cursor.saturating_sub(self.start);
        let positions = self.clocks.values().map(|c| to_i64(c.position(to_f64(wall))));
        positions.fold(wall, i64::min).saturating_sub(LOOK_BACK_TICKS)
    }

    /// The tick behind its last media.
    pub(super) fn end(&self) -> i64 {
        let mut end = self.twin_end;
        for part in &self.record.parts {
            let position = to_f64(part.offset_us.max(0).saturating_add(part.duration_us.max(0)) / TICK_US);
            let clocks = part.tracks.iter().filter_map(|t| self.clocks.get(&t.stream));
            let walls = clocks.map(|c| to_i64(c.wall(position).ceil()));
            end = end.max(walls.max().unwrap_or_else(|| to_i64(position)));
        }
        if self.record.sidecar.is_some() && self.record.streams.iter().any(sidecar::has_heard) {
            end = end.max(self.length());
        }
        self.start.saturating_add(end)
    }

    /// The tick behind its last picture, at the latest.
    pub(super) fn video_end(&self) -> i64 {
        self.start.saturating_add(self.length())
    }

    /// How long a sidecar is it does not say; the segment does.
    fn length(&self) -> i64 {
        let last = self.record.streams.iter().flat_map(|s| &s.anchors).map(|a| a.at).max();
        let ended = self.record.ended.or(last).unwrap_or(self.record.started);
        ended.nanos_since(self.record.started) / 1_000 / TICK_US
    }
}
