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
//! What scatters more than it grows is not stretched: then the drift is less than the network's own doing. The line also
//! says how late a source's first packet was, after which all others of the source were placed.
//!
//! A packet is sent when its frame is over: one of 60 ms arrives 40 ms later than one of 20 ms that was begun at the same
//! time. Whose frames are shorter than the longest of the segment are put later by as much.

use model::stream::Anchor;
use model::{StreamRecord, WallTime};

use crate::codec::TICK_US;

/// 1,000 ppm: five times what a sender may be off. What is beyond is no clock.
const SLOPE_MAX: f64 = 1e-3;
/// 3 minutes: less than that drifts by less than 40 ms.
const LENGTH_MIN_TICKS: f64 = 180.0 * 8_000.0;
/// 3 ms in all: nobody hears it.
const DRIFT_MIN_TICKS: f64 = 24.0;
/// Of the median deviation, over the root of the number: three standard deviations of the slope.
const CERTAINTY: f64 = 15.0;
/// 20 ms: how much the network may have held up what few anchors tell of. What so few say of a drift beyond is believed.
const HELD_UP_TICKS: f64 = 160.0;
/// Fewer anchors do not tell how far they scatter.
const SCATTER_MIN: usize = 4;
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
    /// What the anchors of a stream say, in a segment whose longest frame is so long.
    pub(super) fn of(stream: &StreamRecord, started: WallTime, longest_us: u32) -> Self {
        let mut clock = Self { pieces: Vec::new() };
        let mut rest = &stream.anchors[..];
        while !rest.is_empty() {
            let count = 1 + rest.windows(2).take_while(|w| is_same_run(&w[0], &w[1], stream)).count();
            let (run, after) = rest.split_at(count.min(rest.len()));
            clock.add(&points(run, started, longest_us));
            rest = after;
        }
        if clock.pieces.is_empty() { Self::default() } else { clock }
    }

    fn add(&mut self, points: &[(f64, f64)]) {
        let Some((origin, arrived)) = points.first().copied() else { return };
        let before = self.pieces.last().map(|p| wall_of(p, origin) - origin);
        let knots = knots(points);
        let late = knots.first().map_or(0.0, |k| k.1);
        // Where its first packet arrived before its place, the place was taken: it follows what was there.
        let floor = before.filter(|_| arrived < -ROUNDED_TICKS).map_or(-origin, |before| before.max(-origin));
        let offset = late.max(floor) - late;
        let mut walls: Vec<(f64, f64)> = knots.iter().map(|(p, d)| (*p, p + d + offset)).collect();
        if let [(_, wall)] = &mut walls[..] {
            // What is not stretched lies on the grid, and comes out as it came in, sample by sample.
            *wall = wall.round();
        }
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

/// Position and how much later than there it was said, by its arrival; steps of our own clock are taken out.
fn points(run: &[Anchor], started: WallTime, longest_us: u32) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(run.len());
    let mut stepped = 0.0;
    for anchor in run {
        let position = ticks(anchor.position_us);
        let shorter_us = anchor.frame_us.map_or(0, |frame| longest_us.saturating_sub(frame.get()));
        let late = ticks(anchor.at.nanos_since(started) / 1_000 + i64::from(shorter_us)) - position;
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

/// Where the line bends, and how late it is there. One point, where it is not to be stretched.
fn knots(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let length = last.0 - first.0;
    let Some(line) = Line::through(points).filter(|line| is_drift(line, points, length)) else {
        return vec![(first.0, lateness(points))];
    };
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

/// Whether a line is the drift of a clock and not the network's doing.
fn is_drift(line: &Line, points: &[(f64, f64)], length: f64) -> bool {
    let drift = (line.slope * length).abs();
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand points")]
    let certain = match points.len() {
        few if few < SCATTER_MIN => HELD_UP_TICKS,
        many => CERTAINTY * line.deviation / (many as f64).sqrt(),
    };
    length >= LENGTH_MIN_TICKS && line.slope.abs() <= SLOPE_MAX && drift >= certain.max(DRIFT_MIN_TICKS)
}

/// How late all of a source is that does not drift. Its first anchor is whichever packet came first, the others are those
/// that the network held up least.
fn lateness(points: &[(f64, f64)]) -> f64 {
    let first = points.first().map_or(0.0, |p| p.1);
    let least = median(points.iter().skip(1).map(|p| p.1).collect()).unwrap_or(first);
    if (least - first).abs() <= ROUNDED_TICKS { first } else { least }
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
    use std::num::NonZeroU32;
    use std::time::Duration;

    /// A stream whose sender runs `ppm` too fast, with an anchor a minute that arrived `late_us` late. Its first packet
    /// lies where it arrived.
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
                    - (wall_us * ppm.unsigned_abs() / 1_000_000 * u64::from(ppm < 0)) as i64
                    + late_us[0] as i64;
                let at = START + Duration::from_micros(wall_us + late);
                let (rtp, position_us) = ((position_us / 125) as u32, position_us / 125 * 125);
                Anchor { ssrc: 7, rtp, at, position_us, frame_us: None }
            })
            .collect();
        record
    }

    /// Up to 30 ms, as if drawn.
    fn scattered(count: usize) -> Vec<u64> {
        let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        std::iter::successors(Some(1), next).map(|s: u64| (s >> 33) % 30_000).take(count).collect()
    }

    /// How far from the middle of what the network does it puts what is said.
    fn worst_ms(clock: &Clock, ppm: i64, late: &[u64]) -> f64 {
        let middle = if late.iter().all(|l| *l == 0) { 0.0 } else { 15.0 * 8.0 };
        (0..late.len() * 60)
            .map(|second| {
                let wall = second as f64 * 8_000.0;
                let position = wall * (1.0 + ppm as f64 / 1e6) + late[0] as f64 / TICK_US as f64;
                let off = (clock.wall(position) - wall - middle).abs();
                assert!((clock.position(clock.wall(position)) - position).abs() < 0.01);
                off / 8.0
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn a_stream_without_drift_is_not_stretched() {
        for late in [vec![], vec![0; 500], vec![875, 0]] {
            let clock = Clock::of(&stream(0, &late), START, 0);
            let piece = clock.pieces[0];
            assert_eq!(
                clock.pieces,
                [Piece { wall: piece.position, ratio: 1.0, ..piece }],
                "{} anchors",
                late.len()
            );
        }
        let clock = Clock::of(&stream(0, &scattered(500)), START, 0);
        assert!(clock.pieces.len() == 1 && worst_ms(&clock, 0, &scattered(500)) < 2.0, "{clock:?}");
    }

    #[test]
    fn a_first_packet_that_was_late_delays_nothing() {
        for late in [&[25_000, 0][..], &[25_000, 3_000, 0, 1_000]] {
            let clock = Clock::of(&stream(0, late), START, 0);
            let off_ms = clock.wall(8_000.0 + 200.0) / 8.0 - 1_000.0;
            assert!((0.0..=3.0).contains(&off_ms), "{late:?}: {off_ms} ms");
        }
    }

    #[test]
    fn few_anchors_far_apart_tell_of_drift() {
        // Silence is suppressed, and somebody speaks each ten minutes.
        let late = [5_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2_000];
        let mut record = stream(-200, &late);
        record.anchors = vec![record.anchors[0], record.anchors[10]];
        let clock = Clock::of(&record, START, 0);
        for minute in 0..=10 {
            let wall = f64::from(minute) * 60.0 * 8_000.0;
            let off_ms = (clock.wall(wall * (1.0 - 200e-6) + 40.0) - wall) / 8.0;
            assert!((0.0..=5.1).contains(&off_ms), "minute {minute}: {off_ms} ms");
        }
    }

    #[test]
    fn what_is_sent_in_short_frames_is_put_later_than_what_is_sent_in_long_ones() {
        let framed = |ms: u32, late: &[u64]| {
            let mut record = stream(0, late);
            record.anchors.iter_mut().for_each(|a| a.frame_us = NonZeroU32::new(ms * 1_000));
            Clock::of(&record, START, 60_000)
        };
        // Begun at the same time, the longer frame arrives 40 ms later.
        let (short, long) = (framed(20, &[0; 9]), framed(60, &[40_000; 9]));
        assert_eq!((short.wall(8_000.0), long.wall(8_000.0 + 320.0)), (8_320.0, 8_320.0));
    }

    #[test]
    fn a_step_of_our_own_clock_is_no_drift() {
        let mut record = stream(0, &[0; 60]);
        for anchor in record.anchors.iter_mut().skip(20) {
            anchor.at = anchor.at + Duration::from_secs(3_600);
        }
        assert_eq!(Clock::of(&record, START, 0), Clock::default());
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
        let clock = Clock::of(&record, START, 0);
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
            let clock = Clock::of(&stream(ppm, &late), START, 0);
            let worst = worst_ms(&clock, ppm, &late);
            // Within two hours a little drift is not told from a network that scatters by 30 ms; it is as little as that.
            let allowed = if late.len() < 120 { 45.0 } else { 20.0 };
            prop_assert!(worst <= allowed, "{ppm} ppm, {} minutes: off by {worst:.1} ms", late.len());
        }
    }
}
