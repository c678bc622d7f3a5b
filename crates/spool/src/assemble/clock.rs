//! The clock of a stream against the wall clock: where on the segment's time line, as its sender counted it,
//! lies what was said at a time.
//!
//! Positions follow RTP timestamps from an anchor on, so they drift as the sender's clock does: 200 ppm are 5.8 s
//! in 8 hours. Each minute an anchor says when the packet arrived that was least late. Their differences grow with the drift, and
//! scatter with the network; a line that most of them agree on is the drift.
//!
//! ```text
//!  arrival − position
//!      │            ·        ·    ·  line through the middle of all pairs (Theil and Sen)
//!      │     ·  ───·────·──·───·──── by its slope is the time line stretched, from the run's first packet on,
//!      │ ──·──·──·    ·       ·      which lies where it arrived
//!      └───────────────────────────  position
//! ```
//!
//! What scatters more than it grows is left as it is: then the drift is less than the network's own doing.

use model::stream::Anchor;
use model::{StreamRecord, WallTime};

use crate::codec::TICK_US;

/// 1,000 ppm: five times what a sender may be off. What is beyond is no clock.
const SLOPE_MAX: f64 = 1e-3;
/// 3 minutes at an anchor a minute: less than that drifts by less than 40 ms.
const ANCHORS_MIN: usize = 4;
/// 3 ms in all: nobody hears it.
const DRIFT_MIN_TICKS: f64 = 24.0;
/// Of the median deviation, over the root of the number: three standard deviations of the slope.
const CERTAINTY: f64 = 15.0;
/// 30 minutes: a clock's own drift changes slowly with temperature.
const KNOT_TICKS: f64 = 1_800.0 * 8_000.0;
/// 1 hour to each side: what one knot is made of.
const WINDOW_TICKS: f64 = 2.0 * KNOT_TICKS;
/// 2 hours: shorter runs are one straight line.
const LONG_TICKS: f64 = 4.0 * KNOT_TICKS;
/// Of an hour's anchors, so many: fewer know less than the line through all.
const NEAR_MIN: usize = 30;
/// 64 points make 2,016 pairs, whose median is enough.
const POINTS_MAX: usize = 64;
/// 400 ms: more than that between two minutes, beyond drift, and our own clock was set.
const STEP_TICKS: f64 = 3_200.0;
/// 1 ms: a first packet lies where it arrived, rounded to the grid.
const ROUNDED_TICKS: f64 = 8.0;

/// From here on, so fast.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Piece {
    /// Ticks of the wall clock since the segment's start.
    pub(super) wall: f64,
    /// Ticks of the segment's time line, as the sender counted.
    pub(super) position: f64,
    /// Ticks of the sender in one of the wall clock.
    pub(super) ratio: f64,
}

/// The clock of a stream. The first piece begins before all time.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Clock {
    pieces: Vec<Piece>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { pieces: vec![Piece { wall: 0.0, position: 0.0, ratio: 1.0 }] }
    }
}

impl Clock {
    /// What the anchors of a stream say.
    pub(super) fn of(stream: &StreamRecord, started: WallTime) -> Self {
        let mut clock = Self { pieces: Vec::new() };
        let mut rest = &stream.anchors[..];
        while let Some(first) = rest.first() {
            let count = 1 + rest.windows(2).take_while(|w| is_same_run(&w[0], &w[1], stream)).count();
            let (run, after) = rest.split_at(count.min(rest.len()));
            clock.add(run, first, started);
            rest = after;
        }
        if clock.pieces.is_empty() { Self::default() } else { clock }
    }

    fn add(&mut self, run: &[Anchor], first: &Anchor, started: WallTime) {
        let points = points(run, started);
        let origin = ticks(first.position_us);
        // Where its first packet arrived before its place, the place was taken: it follows what was there.
        let arrived = points.first().map_or(0.0, |p| p.1);
        let before = self.pieces.last().map_or(0.0, |p| wall_of(p, origin) - origin);
        let offset = if arrived < -ROUNDED_TICKS {
            arrived.max(before.min(0.0))
        } else {
            before.min(0.0).max(arrived.min(0.0))
        };
        let knots = knots(&points);
        let base = knots.first().map_or(0.0, |k| k.1);
        let walls: Vec<(f64, f64)> = knots.iter().map(|(p, d)| (*p, p + d - base + offset)).collect();
        for (n, (position, wall)) in walls.iter().enumerate() {
            let ahead = walls.get(n + 1).or_else(|| n.checked_sub(1).and_then(|n| walls.get(n)));
            let ratio = ahead.map_or(1.0, |(p, w)| (p - position) / (w - wall));
            let is_later = self.pieces.last().is_none_or(|p| p.wall < *wall && p.position < *position);
            if is_later && (ratio - 1.0).abs() <= 2.0 * SLOPE_MAX {
                self.pieces.push(Piece { wall: *wall, position: *position, ratio });
            }
        }
    }

    /// The pieces, each with the wall time and the position at which the next one takes over.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Piece, f64, f64, f64)> {
        self.pieces.iter().enumerate().map(|(n, piece)| {
            let next = self.pieces.get(n + 1);
            let begin = if n == 0 { f64::NEG_INFINITY } else { piece.wall };
            (
                *piece,
                begin,
                next.map_or(f64::INFINITY, |p| p.wall),
                next.map_or(f64::INFINITY, |p| p.position),
            )
        })
    }

    /// When what lies at a position was said, in ticks since the segment's start.
    pub(super) fn wall(&self, position: f64) -> f64 {
        let piece = self.pieces.iter().rev().find(|p| p.position <= position).or(self.pieces.first());
        piece.map_or(position, |p| wall_of(p, position))
    }

    /// Where what was said at a time lies, at the latest.
    pub(super) fn position(&self, wall: f64) -> f64 {
        let piece = self.pieces.iter().rev().find(|p| p.wall <= wall).or(self.pieces.first());
        piece.map_or(wall, |p| p.position + (wall - p.wall) * p.ratio)
    }
}

fn wall_of(piece: &Piece, position: f64) -> f64 {
    piece.wall + (position - piece.position) / piece.ratio
}

#[allow(clippy::cast_precision_loss, reason = "a month of microseconds is below 2^53")]
fn ticks(us: i64) -> f64 {
    us as f64 / TICK_US as f64
}

/// Whether positions went on by timestamps from one anchor to the next.
fn is_same_run(one: &Anchor, next: &Anchor, stream: &StreamRecord) -> bool {
    let ticks = i64::from(next.rtp.wrapping_sub(one.rtp).cast_signed());
    let moved_us = next.position_us.saturating_sub(one.position_us);
    one.ssrc == next.ssrc
        && moved_us > 0
        && stream.codecs.iter().filter_map(|c| c.codec.as_ref()).any(|codec| {
            let us = ticks.saturating_mul(1_000_000) / i64::from(codec.clock_rate.max(1));
            us.abs_diff(moved_us) <= 250
        })
}

/// Position and how much later it arrived, with steps of our own clock taken out.
fn points(run: &[Anchor], started: WallTime) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(run.len());
    let mut stepped = 0.0;
    for anchor in run {
        let position = ticks(anchor.position_us);
        let late = ticks(anchor.at.nanos_since(started) / 1_000) - position;
        if let Some((before, last)) = points.last() {
            let jump = late - stepped - last;
            if jump.abs() > STEP_TICKS + (position - before) * SLOPE_MAX {
                stepped += jump;
            }
        }
        points.push((position, late - stepped));
    }
    points
}

/// Where the line bends, and how late it is there. One point, where there is nothing to correct.
fn knots(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let length = last.0 - first.0;
    let none = vec![(first.0, 0.0)];
    let Some(line) = Line::through(points).filter(|_| points.len() >= ANCHORS_MIN) else { return none };
    let drift = (line.slope * length).abs();
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand points")]
    let certain = CERTAINTY * line.deviation / (points.len() as f64).sqrt();
    if line.slope.abs() > SLOPE_MAX || drift < DRIFT_MIN_TICKS || drift < certain {
        return none;
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a month has 1,440 half hours"
    )]
    let count = if length < LONG_TICKS { 1 } else { (length / KNOT_TICKS) as u32 + 1 };
    (0..=count)
        .map(|n| {
            let at = first.0 + length * f64::from(n) / f64::from(count);
            let near: Vec<_> = points.iter().filter(|p| (p.0 - at).abs() <= WINDOW_TICKS).copied().collect();
            let local = Line::through(&near)
                .filter(|l| near.len() >= NEAR_MIN && count > 1 && l.slope.abs() <= SLOPE_MAX);
            (at, local.as_ref().unwrap_or(&line).at(at))
        })
        .collect()
}

/// A line that most points agree on.
struct Line {
    slope: f64,
    height: f64,
    /// Median distance of the points.
    deviation: f64,
}

impl Line {
    fn through(points: &[(f64, f64)]) -> Option<Self> {
        let every = points.len().div_ceil(POINTS_MAX).max(1);
        let some: Vec<(f64, f64)> = points.chunks(every).filter_map(middle).collect();
        let pairs = some.iter().enumerate().flat_map(|(n, a)| some.iter().skip(n + 1).map(move |b| (a, b)));
        let slope =
            median(pairs.filter(|(a, b)| b.0 > a.0).map(|(a, b)| (b.1 - a.1) / (b.0 - a.0)).collect())?;
        let height = median(points.iter().map(|p| p.1 - slope * p.0).collect())?;
        let deviation = median(points.iter().map(|p| (p.1 - slope * p.0 - height).abs()).collect())?;
        Some(Self { slope, height, deviation })
    }

    fn at(&self, x: f64) -> f64 {
        self.height + self.slope * x
    }
}

/// The middle of some points, with the median of how late they are.
fn middle(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let at = points.get(points.len() / 2)?.0;
    Some((at, median(points.iter().map(|p| p.1).collect())?))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "samples of a test are small")]
mod tests {
    use super::*;
    use crate::fixture::{START, two_streams};
    use model::stream::CodecUse;
    use model::{Codec, Side};
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};
    use std::time::Duration;

    /// A stream whose sender runs `ppm` too fast, with an anchor a minute that arrived `late_us` late.
    fn stream(ppm: i64, late_us: &[u64]) -> StreamRecord {
        let mut record = crate::fixture::record(1).streams.remove(0);
        assert_eq!((two_streams().len(), record.side), (2, Side::Agent));
        let codec = Some(Codec::new("PCMU", 8_000, 1));
        record.codecs = vec![CodecUse { payload_type: 0, codec, from: START }];
        record.anchors = late_us
            .iter()
            .enumerate()
            .map(|(minute, late)| {
                let wall_us = minute as u64 * 60_000_000;
                let position_us = (wall_us + wall_us * ppm.unsigned_abs() / 1_000_000 * u64::from(ppm > 0))
                    as i64
                    - (wall_us * ppm.unsigned_abs() / 1_000_000 * u64::from(ppm < 0)) as i64;
                let at = START + Duration::from_micros(wall_us + late - late_us[0]);
                Anchor { ssrc: 7, rtp: (position_us / 125) as u32, at, position_us: position_us / 125 * 125 }
            })
            .collect();
        record
    }

    /// Up to 30 ms, as if drawn.
    fn scattered(count: usize) -> Vec<u64> {
        let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        std::iter::successors(Some(1), next).map(|s: u64| (s >> 33) % 30_000).take(count).collect()
    }

    fn worst_ms(clock: &Clock, ppm: i64, minutes: usize) -> f64 {
        (0..minutes * 60)
            .map(|second| {
                let wall = second as f64 * 8_000.0;
                let position = wall * (1.0 + ppm as f64 / 1e6);
                let off = (clock.wall(position) - wall).abs();
                assert!((clock.position(clock.wall(position)) - position).abs() < 0.01);
                off / 8.0
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn a_stream_without_drift_is_left_as_it_is() {
        for late in [vec![], vec![0; 500], scattered(500)] {
            assert_eq!(Clock::of(&stream(0, &late), START), Clock::default(), "{} anchors", late.len());
        }
    }

    #[test]
    fn a_step_of_our_own_clock_is_no_drift() {
        let mut record = stream(0, &[0; 60]);
        for anchor in record.anchors.iter_mut().skip(20) {
            anchor.at = anchor.at + Duration::from_secs(3_600);
        }
        assert_eq!(Clock::of(&record, START), Clock::default());
    }

    #[test]
    fn a_source_that_begins_anew_lies_where_it_arrived() {
        let mut record = stream(200, &[0; 120]);
        let mut later = stream(200, &[0; 120]).anchors;
        // Two hours later by the wall clock; its place is where it arrived.
        for anchor in &mut later {
            anchor.ssrc = 8;
            anchor.at = anchor.at + Duration::from_secs(7_300);
            anchor.position_us += 7_300_000_000;
        }
        record.anchors.append(&mut later);
        let clock = Clock::of(&record, START);
        for (position_s, wall_s) in [(3_600.72, 3_600.0), (7_300.0, 7_300.0), (10_900.72, 10_900.0)] {
            let off = clock.wall(position_s * 8_000.0) / 8_000.0 - wall_s;
            assert!(off.abs() < 0.002, "{wall_s} s is off by {off}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        /// 20 ms over 8 hours, whatever the network does to each packet.
        #[test]
        fn eight_hours_of_drift_are_within_20_ms(
            ppm in -200_i64..=200,
            late in proptest::collection::vec(0_u64..30_000, 10..481),
        ) {
            let clock = Clock::of(&stream(ppm, &late), START);
            let worst = worst_ms(&clock, ppm, late.len());
            // Within two hours a little drift is not told from a network that scatters by 30 ms; it is as little as that.
            let allowed = if late.len() < 120 { 45.0 } else { 20.0 };
            prop_assert!(worst <= allowed, "{ppm} ppm, {} minutes: off by {worst:.1} ms", late.len());
        }
    }
}
