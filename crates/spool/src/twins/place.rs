//! Where on the time line of one copy that lies which the other copy has somewhere on its own.
//!
//! Both follow RTP time from an anchor on, and may have begun at different packets, or taken different packets for the first after
//! a jump. A place in the other copy is an RTP time by the anchor before it there; that is a place here by an anchor of the same
//! source here.

use model::{Anchor, GapReason, SegmentRecord, StreamId, StreamRecord};

/// 3 s: how far apart two copies may place one packet, after their clocks are compared. A first packet is moved by 2 s at most.
const APART_MAX_US: i64 = 3_000_000;
/// 10 s: how far apart the clocks of two record servers are believed to be.
const CLOCKS_MAX_US: i64 = 10_000_000;
/// 4: an anchor a minute, and one after each jump; what lies further away is of another time.
const NEAR: usize = 4;
/// RTP clock rate where nothing says another one.
const CLOCK: u32 = 8_000;

/// An anchor here, and the one after it of the same source, if time went on to it.
#[derive(Clone, Copy, Debug)]
struct Run {
    anchor: Anchor,
    next: Option<u32>,
}

/// Places of one stream of the other copy on the time line of the first.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// What is to be added where anchors say nothing.
    shift_us: i64,
    /// Anchors there, in order of their places.
    there: Vec<Anchor>,
    /// Anchors here, in order of their places.
    here: Vec<Run>,
    /// What was not to be kept here.
    withheld: Vec<(i64, i64)>,
}

impl Place {
    /// Of a stream that both have. One that only the other has lies where it lies there.
    pub(crate) fn new(first: &SegmentRecord, other: &SegmentRecord, stream: StreamId) -> Self {
        let of = |record: &SegmentRecord| record.streams.iter().find(|s| s.id == stream).cloned();
        let (here, there) = (of(first), of(other));
        let anchors = |of: Option<&StreamRecord>| of.map(|s| s.anchors.clone()).unwrap_or_default();
        let here_runs = runs(&anchors(here.as_ref()));
        let mut there_anchors = anchors(there.as_ref());
        there_anchors.sort_by_key(|anchor| anchor.position_us);
        let by_start = other.started.nanos_since(first.started) / 1_000;
        let shift_us = clocks_apart(&here_runs, &there_anchors, clock_of(there.as_ref()), by_start);
        Self { shift_us, there: there_anchors, here: here_runs, withheld: withheld(first, here.as_ref()) }
    }

    /// Where that lies here which lies there at a place, in microseconds; `clock`: of its codec, in Hz.
    pub(crate) fn here(&self, there_us: i64, clock: u32) -> i64 {
        let shifted = there_us.saturating_add(self.shift_us);
        let before = self.there.partition_point(|anchor| anchor.position_us <= there_us);
        let Some(anchor) = before.checked_sub(1).and_then(|n| self.there.get(n)).or(self.there.first())
        else {
            return shifted;
        };
        let ticks = in_ticks(there_us.saturating_sub(anchor.position_us), clock);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "RTP time wraps")]
        let rtp = anchor.rtp.wrapping_add(ticks as u32);
        let near = self.here.partition_point(|run| run.anchor.position_us <= shifted);
        let runs = self.here.iter().take(near.saturating_add(NEAR)).skip(near.saturating_sub(NEAR));
        // Where the next anchor has taken over, this one counts no more.
        let counts =
            |run: &&Run| run.anchor.ssrc == anchor.ssrc && run.next.is_none_or(|next| between(next, rtp) < 0);
        let places = runs
            .filter(counts)
            .map(|run| run.anchor.position_us.saturating_add(in_us(between(run.anchor.rtp, rtp), clock)));
        let nearest = places.min_by_key(|place| place.abs_diff(shifted));
        nearest.filter(|place| place.abs_diff(shifted) <= APART_MAX_US.unsigned_abs()).unwrap_or(shifted)
    }

    /// Whether some of a stretch here was not to be kept.
    pub(crate) fn is_withheld(&self, from_us: i64, until_us: i64) -> bool {
        let next = self.withheld.partition_point(|(_, until)| *until <= from_us);
        self.withheld.get(next).is_some_and(|(from, _)| *from < until_us)
    }
}

/// From one RTP time to another.
fn between(from: u32, to: u32) -> i64 {
    i64::from(to.wrapping_sub(from).cast_signed())
}

fn in_us(ticks: i64, clock: u32) -> i64 {
    ticks.saturating_mul(1_000_000).div_euclid(i64::from(clock.max(1)))
}

/// To the nearest: a place in a file is rounded down.
fn in_ticks(us: i64, clock: u32) -> i64 {
    us.saturating_mul(i64::from(clock)).saturating_add(500_000).div_euclid(1_000_000)
}

fn clock_of(stream: Option<&StreamRecord>) -> u32 {
    let codec = stream.into_iter().flat_map(|s| &s.codecs).find_map(|used| used.codec.as_ref());
    codec.map_or(CLOCK, |codec| codec.clock_rate)
}

fn runs(anchors: &[Anchor]) -> Vec<Run> {
    let run = |(n, anchor): (usize, &Anchor)| {
        let later = anchors.iter().skip(n + 1).find(|later| later.ssrc == anchor.ssrc);
        // One that goes back began anew: times up to then are before and behind it.
        let next = later.map(|later| later.rtp).filter(|rtp| between(anchor.rtp, *rtp) > 0);
        Run { anchor: *anchor, next }
    };
    let mut runs: Vec<Run> = anchors.iter().enumerate().map(run).collect();
    runs.sort_by_key(|run| run.anchor.position_us);
    runs
}

/// How much later the same packet lies here than there: by the first source that both heard, else by when they say they began.
fn clocks_apart(here: &[Run], there: &[Anchor], clock: u32, by_start: i64) -> i64 {
    let apart = there.first().and_then(|there| {
        let here = here.iter().find(|run| run.anchor.ssrc == there.ssrc)?.anchor;
        let place = here.position_us.saturating_add(in_us(between(here.rtp, there.rtp), clock));
        Some(place.saturating_sub(there.position_us))
    });
    apart.filter(|apart| apart.abs_diff(by_start) <= CLOCKS_MAX_US.unsigned_abs()).unwrap_or(by_start)
}

/// What was not to be kept of a stream, in order: as its gaps say, and the segment's pauses.
fn withheld(segment: &SegmentRecord, stream: Option<&StreamRecord>) -> Vec<(i64, i64)> {
    let is_withheld = |reason| matches!(reason, GapReason::Pause | GapReason::Masked | GapReason::Hold);
    let gaps = stream.map(|s| s.gaps.as_slice()).unwrap_or_default();
    let mut all: Vec<(i64, i64)> =
        gaps.iter().filter(|gap| is_withheld(gap.reason)).map(|gap| (gap.from_us, gap.until_us)).collect();
    all.extend(segment.pauses.iter().map(|pause| (pause.from_us, pause.until_us.unwrap_or(i64::MAX))));
    // Behind the last that is listed there may have been more.
    let is_cut = stream.is_some_and(|s| s.gaps_unlisted > 0) && !segment.dtmf.is_kept();
    if is_cut || segment.pauses_unlisted > 0 {
        all.push((gaps.iter().map(|gap| gap.until_us).max().unwrap_or(0), i64::MAX));
    }
    all.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::with_capacity(all.len());
    for (from, until) in all {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(until),
            _ => joined.push((from, until)),
        }
    }
    joined
}
