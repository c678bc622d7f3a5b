//! What is said in a call now: pieces of its streams, as they arrive, become one sound that never stops.
//!
//! ```text
//!  pieces ──► lane of the stream ──┐          │◄─ 160 ms ─►│
//!             (place by RTP time)  ├─ mix ──► played        arrives
//!  pieces ──► lane of the stream ──┘
//! ```
//!
//! A piece is played a fixed time after it arrived, and those that follow where their RTP time says: jitter below
//! that time is not heard, a lost packet is as much silence as it was long, and what is not sent is silence. When a
//! sender's clock runs away from ours, or its time jumps, the distance is set anew. Whoever takes the sound too late
//! does not get what is old: the sound stays in the present.
//!
//! It decodes nothing, and reads no clock.

use std::collections::BTreeMap;

use model::{Mono, SegmentId, Side, StreamId};

use super::level::level;
use super::resample::Resampler;

/// 160 ms from arrival to play. Packets behind a lost one are held back for at most 100 ms to be put in order; the
/// rest is for the network's jitter and our ticks.
const DELAY_US: i64 = 160_000;
/// 20 ms: sooner than that before it is to be played, a piece may come too late for the next one who plays.
const LEAD_MIN_US: i64 = 20_000;
/// 500 ms: what lies farther ahead is no jitter, but another time line.
const LEAD_MAX_US: i64 = 500_000;
/// 40 ms: a stream that begins to speak after a silence gets the right distance when it is off by more.
const SLACK_US: i64 = 40_000;
/// 5 s: how long pieces must come early before a sender's clock is taken to be fast.
const EARLY_FOR_US: i64 = 5_000_000;
/// 80 ms earlier than they should.
const EARLY_US: i64 = 80_000;
/// 400 ms: whoever takes the sound later than that gets the present instead of what was missed.
const BEHIND_MAX_US: i64 = 400_000;
/// 2 s of a lane: several times what can wait in it.
const LANE_SECONDS_MAX: i64 = 2;
/// 10 s: a lane that says nothing for so long is forgotten; it comes again with its stream.
const IDLE_US: i64 = 10_000_000;
/// As many streams as a segment may have.
const LANES_MAX: usize = 32;
const SECOND_US: i64 = 1_000_000;

/// Who is heard where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LiveLayout {
    /// Agent left, external right; who is both or unknown on both sides.
    Stereo,
    /// All in one channel.
    Mix,
    /// One stream alone, in one channel.
    One(StreamId),
}

impl LiveLayout {
    /// Channels of the sound.
    #[must_use]
    pub const fn channels(self) -> u16 {
        match self {
            Self::Stereo => 2,
            Self::Mix | Self::One(_) => 1,
        }
    }
}

/// A decoded piece of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// When it arrived.
    pub at: Mono,
    /// Its segment: positions of another one count from elsewhere.
    pub segment: SegmentId,
    /// Its stream.
    pub stream: StreamId,
    /// Whose voice it is.
    pub side: Side,
    /// Where it lies in its segment, in microseconds from its start.
    pub position_us: i64,
    /// Samples a second; a multiple of 8,000.
    pub rate: u32,
    /// The samples.
    pub samples: &'a [i16],
}

/// One stream on its way.
struct Lane {
    segment: SegmentId,
    side: Side,
    rate: u32,
    /// The listener's time of the segment's beginning, in microseconds.
    offset_us: i64,
    /// The place of the first sample that is here, in samples of the lane since the listener began.
    first: i64,
    samples: Vec<i16>,
    /// The least time that a piece came before its place, since when.
    early: (i64, i64),
}

/// Puts pieces of streams together as they come.
pub struct LiveMix {
    began: Mono,
    rate: u32,
    layout: LiveLayout,
    lanes: BTreeMap<StreamId, Lane>,
    resamplers: BTreeMap<u32, Resampler>,
    /// Samples of each channel that were played or skipped.
    played: i64,
}

impl LiveMix {
    /// A sound that begins now, at so many samples a second: a multiple of 8,000.
    #[must_use]
    pub fn new(now: Mono, rate: u32, layout: LiveLayout) -> Self {
        let rate = rate.max(8_000);
        Self { began: now, rate, layout, lanes: BTreeMap::new(), resamplers: BTreeMap::new(), played: 0 }
    }

    /// Takes a piece, in the order of its stream. One that is not in the layout is left out.
    pub fn hear(&mut self, piece: &Piece<'_>) {
        if matches!(self.layout, LiveLayout::One(stream) if stream != piece.stream)
            || piece.samples.is_empty()
            || piece.rate < 8_000
        {
            return;
        }
        let now_us = self.time_us(piece.at);
        let cursor_us = self.played.saturating_mul(SECOND_US) / i64::from(self.rate);
        let rate = self.rate;
        self.resamplers.entry(piece.rate).or_insert_with(|| Resampler::new(step(piece.rate, rate)));
        if self.lanes.len() >= LANES_MAX && !self.lanes.contains_key(&piece.stream) {
            return;
        }
        let lane = self.lanes.entry(piece.stream).or_insert_with(|| Lane::new(piece, now_us));
        if lane.segment != piece.segment || lane.rate != piece.rate {
            *lane = Lane::new(piece, now_us);
        }
        lane.side = piece.side;
        lane.put(piece, now_us, cursor_us);
    }

    /// Appends what is due until now, channels interleaved.
    pub fn play(&mut self, now: Mono, out: &mut Vec<i16>) {
        let now_us = self.time_us(now);
        let due = samples_at(now_us, self.rate);
        let behind_max = samples_at(BEHIND_MAX_US, self.rate);
        if due - self.played > behind_max {
            self.played = due - samples_at(LEAD_MIN_US, self.rate);
        }
        let from = self.played;
        let frames = usize::try_from(due - from).unwrap_or(0);
        self.played = from.max(due);
        self.mix(from, frames, out);
        let cursor_us = due.saturating_mul(SECOND_US) / i64::from(self.rate);
        let resamplers = &self.resamplers;
        self.lanes.retain(|_, lane| {
            let reach = resamplers.get(&lane.rate).map_or(0, Resampler::reach);
            lane.forget(cursor_us, reach);
            lane.end_us() + IDLE_US > cursor_us
        });
    }

    fn mix(&self, from: i64, frames: usize, out: &mut Vec<i16>) {
        let mut sums = [vec![0.0_f32; frames], vec![0.0_f32; frames]];
        let mut voices = [0, 0];
        for lane in self.lanes.values() {
            let Some(resampler) = self.resamplers.get(&lane.rate) else { continue };
            let step = step(lane.rate, self.rate);
            let begin = to_f64(from) * step - to_f64(lane.first);
            let until = begin + to_f64(i64::try_from(frames).unwrap_or(0)) * step;
            let reach = to_f64(i64::try_from(resampler.reach()).unwrap_or(0));
            if until + reach <= 0.0 || begin - reach >= to_f64(lane.len()) {
                continue;
            }
            for (channel, sum) in sums.iter_mut().enumerate() {
                if !self.is_heard(lane.side, channel) {
                    continue;
                }
                if let Some(voices) = voices.get_mut(channel) {
                    *voices += 1;
                }
                let mut place = begin;
                for sum in sum.iter_mut() {
                    *sum += resampler.at(&lane.samples, place);
                    place += step;
                }
            }
        }
        let [left, right] = sums;
        for (left, right) in left.into_iter().zip(right) {
            out.push(level(left, voices[0]));
            if self.layout == LiveLayout::Stereo {
                out.push(level(right, voices[1]));
            }
        }
    }

    fn is_heard(&self, side: Side, channel: usize) -> bool {
        match (self.layout, side) {
            (LiveLayout::Mix | LiveLayout::One(_), _) => channel == 0,
            (LiveLayout::Stereo, Side::Agent) => channel == 0,
            (LiveLayout::Stereo, Side::External) => channel == 1,
            (LiveLayout::Stereo, Side::Mixed | Side::Unknown) => true,
        }
    }

    fn time_us(&self, at: Mono) -> i64 {
        i64::try_from(at.since(self.began).as_micros()).unwrap_or(i64::MAX / SECOND_US)
    }
}

impl Lane {
    fn new(piece: &Piece<'_>, now_us: i64) -> Self {
        let offset_us = now_us + DELAY_US - piece.position_us;
        let first = samples_at(now_us + DELAY_US, piece.rate);
        let (segment, side, rate) = (piece.segment, piece.side, piece.rate);
        Self { segment, side, rate, offset_us, first, samples: Vec::new(), early: (i64::MAX, now_us) }
    }

    fn put(&mut self, piece: &Piece<'_>, now_us: i64, cursor_us: i64) {
        let lead_us = self.offset_us.saturating_add(piece.position_us).saturating_sub(now_us);
        if self.is_off(lead_us, now_us, cursor_us) {
            self.offset_us = now_us + DELAY_US - piece.position_us;
            self.early = (i64::MAX, now_us);
        }
        let mut at = samples_at(self.offset_us.saturating_add(piece.position_us), self.rate);
        let end = self.first + self.len();
        // Positions are whole microseconds, so the next piece may seem a sample off.
        if (at - end).abs() <= 2 {
            at = end;
        }
        if at < self.first || at - end > i64::from(self.rate) {
            self.samples.clear();
            self.first = at;
        }
        let from = usize::try_from(at - self.first).unwrap_or(0);
        self.samples.resize(from, 0);
        self.samples.extend_from_slice(piece.samples);
        let most = usize::try_from(i64::from(self.rate) * LANE_SECONDS_MAX).unwrap_or(0);
        self.samples.truncate(most);
    }

    /// Whether the distance between arrival and play must be set anew.
    fn is_off(&mut self, lead_us: i64, now_us: i64, cursor_us: i64) -> bool {
        if !(LEAD_MIN_US..=LEAD_MAX_US).contains(&lead_us) {
            return true;
        }
        let is_silent = self.end_us() <= cursor_us;
        if is_silent && (lead_us - DELAY_US).abs() > SLACK_US {
            return true;
        }
        self.early.0 = self.early.0.min(lead_us);
        if now_us - self.early.1 < EARLY_FOR_US {
            return false;
        }
        let (least, _) = std::mem::replace(&mut self.early, (i64::MAX, now_us));
        least > DELAY_US + EARLY_US
    }

    /// Drops what was played, but for what the next sample still needs.
    fn forget(&mut self, cursor_us: i64, reach: usize) {
        let reach = i64::try_from(reach).unwrap_or(0) + 2;
        let gone = samples_at(cursor_us, self.rate) - reach - self.first;
        let gone = usize::try_from(gone).unwrap_or(0).min(self.samples.len());
        self.samples.drain(..gone);
        self.first += i64::try_from(gone).unwrap_or(0);
    }

    fn len(&self) -> i64 {
        i64::try_from(self.samples.len()).unwrap_or(i64::MAX / SECOND_US)
    }

    fn end_us(&self) -> i64 {
        (self.first + self.len()).saturating_mul(SECOND_US) / i64::from(self.rate)
    }
}

/// Samples of a lane for each sample that is played.
fn step(rate: u32, played: u32) -> f64 {
    f64::from(rate) / f64::from(played)
}

/// The sample that is nearest to a time.
fn samples_at(us: i64, rate: u32) -> i64 {
    let samples = i128::from(us) * i128::from(rate) + i128::from(SECOND_US / 2);
    i64::try_from(samples.div_euclid(i128::from(SECOND_US))).unwrap_or(i64::MAX / SECOND_US)
}

fn to_f64(samples: i64) -> f64 {
    // Days of samples are far below 2^52.
    samples as f64
}

#[cfg(test)]
mod tests;
