//! A second copy of a segment, as a source of what the first one lacks.
//!
//! Its payloads are handed to the lanes of the first copy, at the places where they would lie there ([`crate::twins`]). A lane
//! hears them where the first copy has nothing.

use std::collections::BTreeMap;

use media::listen::InProcess;
use model::segment::PartRecord;
use model::{SegmentRecord, StreamId};

use super::lane::{Coding, Lane, Taken};
use super::placed::Placed;
use super::sidecar::SidecarSource;
use super::source::Source;
use super::to_i64;
use crate::codec::{TICK_US, TICKS_PER_SECOND, TrackCodec};
use crate::timeline::Timeline;
use crate::twins::{Lying, Place};

/// 10 s: how much further away the same may lie in a second copy.
pub(super) const APART_TICKS: i64 = 10 * TICKS_PER_SECOND;
/// 20 ms: how long a payload plays that does not tell.
const USUAL_TICKS: i64 = 160;
/// Ticks of a microsecond are rounded to the nearest: places of two copies lie on one grid.
const HALF_TICK_US: i64 = TICK_US / 2;

/// See the module.
pub(super) struct Twin {
    /// Which segment it is a copy of.
    segment: usize,
    pub(super) record: SegmentRecord,
    directory: String,
    places: BTreeMap<StreamId, Place>,
}

impl Twin {
    /// All second copies of these segments, which get the streams that they lack and the other copy has.
    pub(super) fn all(firsts: &mut [Lying], others: Vec<Lying>) -> Vec<Self> {
        let twins = others.into_iter().filter_map(|(record, directory)| {
            let segment = firsts.iter().position(|(first, _)| first.id == record.id)?;
            let (first, _) = firsts.get_mut(segment)?;
            let is_new = |id: StreamId| first.streams.iter().all(|s| s.id != id);
            let more: Vec<_> = record.streams.iter().filter(|s| is_new(s.id)).cloned().collect();
            first.streams.extend(more);
            let place = |id: StreamId| (id, Place::new(first, &record, id));
            let places = record.streams.iter().map(|s| place(s.id)).collect();
            Some(Self { segment, record, directory, places })
        });
        twins.collect()
    }

    /// Its parts, as sources of the `n`th second copy.
    pub(super) fn sources(&self, n: usize) -> Vec<Source> {
        let timeline = Timeline::new(&[(self.record.clone(), self.directory.clone())]);
        let of_first = |part| crate::timeline::PlacedPart { segment: self.segment, ..part };
        timeline.parts.into_iter().map(|part| Source::of_twin(of_first(part), n)).collect()
    }

    /// Its sidecar, where that holds something that can be heard.
    pub(super) fn sidecar(&self, n: usize) -> Option<SidecarSource> {
        SidecarSource::of(self.segment, &self.record, &self.directory).map(|sidecar| sidecar.of_twin(n))
    }

    /// Makes its segment as long as what it has itself.
    pub(super) fn lengthen(&self, segments: &mut [Placed]) {
        let Some(segment) = segments.get_mut(self.segment) else { return };
        let end = |part: &PartRecord| {
            let there = part.offset_us.max(0).saturating_add(part.duration_us.max(0));
            let ends = part.tracks.iter().filter_map(|track| {
                let here = self.places.get(&track.stream)?.here(there, track.codec.clock_rate);
                let clock = segment.clocks.get(&track.stream)?;
                Some(to_i64(clock.wall(super::to_f64(tick(here))).ceil()))
            });
            ends.max()
        };
        let end = self.record.parts.iter().filter_map(end).max();
        segment.twin_end = segment.twin_end.max(end.unwrap_or(0));
    }

    /// Hands a payload that lies there at a tick to the lane of its stream.
    pub(super) fn fill(
        &self,
        lane: &mut Lane,
        stream: StreamId,
        there: i64,
        coding: Coding,
        payload: Vec<u8>,
    ) -> Taken {
        let Some(place) = self.places.get(&stream) else { return Taken::Passed };
        let here_us = place.here(there.saturating_mul(TICK_US), clock_of(coding));
        let span = span_of(coding, &payload);
        if here_us < -HALF_TICK_US || place.is_withheld(here_us, here_us.saturating_add(span * TICK_US)) {
            return Taken::Passed;
        }
        lane.fill(tick(here_us), coding, payload, span)
    }
}

const fn tick(us: i64) -> i64 {
    us.saturating_add(HALF_TICK_US).div_euclid(TICK_US)
}

/// The RTP clock of a codec. That of G.722 says 8,000 (RFC 3551 section 4.5.2).
fn clock_of(coding: Coding) -> u32 {
    match coding {
        Coding::Here(InProcess::Ulaw | InProcess::Alaw | InProcess::G722) => 8_000,
        Coding::Here(InProcess::Opus) => 48_000,
        Coding::Here(InProcess::Linear(rate)) => rate,
        Coding::There(codec) => codec.rate(),
    }
}

/// How long a payload plays, in ticks.
fn span_of(coding: Coding, payload: &[u8]) -> i64 {
    let octets = i64::try_from(payload.len()).unwrap_or(i64::MAX);
    let ticks = match coding {
        Coding::Here(InProcess::Ulaw | InProcess::Alaw | InProcess::G722) => octets,
        Coding::Here(InProcess::Opus) => TrackCodec::Opus { channels: 1 }.ticks(payload),
        Coding::Here(InProcess::Linear(rate)) => octets / 2 * TICKS_PER_SECOND / i64::from(rate.max(1)),
        Coding::There(media::listen::Foreign::G729) => TrackCodec::G729.ticks(payload),
        Coding::There(_) => 0,
    };
    // What is longer than a second is no packet.
    if ticks > 0 { ticks.min(TICKS_PER_SECOND) } else { USUAL_TICKS }
}
