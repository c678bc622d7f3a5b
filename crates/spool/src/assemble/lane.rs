//! A lane: one stream of one segment, from payloads to runs of samples.
//!
//! Payloads come in the order in which they were written, which is nearly, not quite, the order of time. They are
//! put in order and decoded a *stretch* of the time line at a time, each stretch by a decoder of its own that has
//! first heard the second before. So what a stretch sounds like depends on where it lies and on nothing else:
//! whoever begins to read in the middle hears the same samples.
//!
//! ```text
//!            lead-in │ stretch n            │ stretch n+1
//!  payloads ─────────┼──────────────────────┼────────────
//!             fresh decoder: heard, not kept; then kept
//! ```

use std::collections::{BTreeMap, VecDeque};

use media::listen::{Decoder, Foreign, InProcess};

use super::Decoders;
use super::decoders::DecodersError;
use super::run::Run;
use crate::codec::TICKS_PER_SECOND;

/// 10 s: the second of lead-in is a tenth of the work.
const STRETCH_TICKS: i64 = 10 * TICKS_PER_SECOND;
/// 60 s where another program decodes: to start it costs as much as it takes to decode some seconds.
const FOREIGN_STRETCH_TICKS: i64 = 60 * TICKS_PER_SECOND;
/// 1 s: Opus asks for 80 ms (RFC 7845 section 4.6), and an adaptive predictor has forgotten what was before.
const LEAD_TICKS: i64 = TICKS_PER_SECOND;
/// 250 ms: beyond the longest packet, a fade and the reach of a resampler together.
pub(super) const MARGIN_TICKS: i64 = TICKS_PER_SECOND / 4;
/// 0.5 ms: clocks that do not fall on the grid are that much beside it.
const BESIDE_TICKS: i64 = 4;
/// 16 MiB of payloads that wait: 90 s of the fattest stream there is.
const WAITING_OCTETS_MAX: usize = 16 << 20;
/// What a lane may look back at from a place that was asked for.
pub(super) const LOOK_BACK_TICKS: i64 = FOREIGN_STRETCH_TICKS + LEAD_TICKS + MARGIN_TICKS;
/// What a lane may want to be read beyond it.
pub(super) const LOOK_AHEAD_TICKS: i64 = FOREIGN_STRETCH_TICKS + MARGIN_TICKS;

/// How a payload is decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    /// Here.
    Here(InProcess),
    /// By another program.
    There(Foreign),
}

/// What becomes of a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    Waits,
    /// Its stretch has been decoded already, or was never asked for.
    Passed,
    /// More than can wait.
    TooMuch,
}

/// Why a stretch is silent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Silent {
    pub(super) codec: Foreign,
    pub(super) why: DecodersError,
}

struct Waiting {
    coding: Coding,
    payload: Vec<u8>,
}

/// What waits to be heard where nothing else is.
struct Spare {
    waiting: Waiting,
    /// How long it plays, in ticks.
    span: i64,
}

/// A stream on its way to samples.
pub(super) struct Lane {
    stretch: i64,
    /// The stretch that is decoded next.
    next: i64,
    waiting: BTreeMap<i64, Waiting>,
    /// What a second copy has and the first one lacks, as far as is known.
    spare: BTreeMap<i64, Spare>,
    octets: usize,
    pub(super) runs: VecDeque<Run>,
}

impl Lane {
    /// A lane that is asked for samples from `tick` on.
    pub(super) fn starting_at(tick: i64, foreign: bool) -> Self {
        let stretch = if foreign { FOREIGN_STRETCH_TICKS } else { STRETCH_TICKS };
        let next = tick.saturating_sub(MARGIN_TICKS).div_euclid(stretch);
        let (waiting, spare) = (BTreeMap::new(), BTreeMap::new());
        Self { stretch, next, waiting, spare, octets: 0, runs: VecDeque::new() }
    }

    /// Takes a payload; of two at the same place the later one counts.
    pub(super) fn put(&mut self, tick: i64, coding: Coding, payload: Vec<u8>) -> Taken {
        if tick < self.kept_from() {
            return Taken::Passed;
        }
        if self.octets + payload.len() > WAITING_OCTETS_MAX {
            return Taken::TooMuch;
        }
        self.octets += payload.len();
        let waiting = Waiting { coding, payload };
        if let Some(replaced) = self.waiting.insert(tick, waiting) {
            self.octets -= replaced.payload.len();
        }
        if tick < self.next * self.stretch { Taken::Passed } else { Taken::Waits }
    }

    /// Takes a payload of a second copy, which plays for `span` ticks: it counts where the first copy has none.
    pub(super) fn fill(&mut self, tick: i64, coding: Coding, payload: Vec<u8>, span: i64) -> Taken {
        if tick < self.kept_from() {
            return Taken::Passed;
        }
        if is_taken(&self.waiting, tick, span) {
            return Taken::Waits;
        }
        if self.octets + payload.len() > WAITING_OCTETS_MAX {
            return Taken::TooMuch;
        }
        self.octets += payload.len();
        let spare = Spare { waiting: Waiting { coding, payload }, span };
        if let Some(replaced) = self.spare.insert(tick, spare) {
            self.octets -= replaced.waiting.payload.len();
        }
        if tick < self.next * self.stretch { Taken::Passed } else { Taken::Waits }
    }

    fn kept_from(&self) -> i64 {
        self.next.saturating_mul(self.stretch).saturating_sub(LEAD_TICKS)
    }

    /// Decodes until everything before `until` is decoded, and what fades and resamples around it.
    pub(super) fn prepare(&mut self, until: i64, decoders: &dyn Decoders, silent: &mut Vec<Silent>) {
        while self.next.saturating_mul(self.stretch) < until.saturating_add(MARGIN_TICKS) {
            // Nothing waits: no need to walk through hours.
            if self.waiting.is_empty() && self.spare.is_empty() {
                self.next = (until.saturating_add(MARGIN_TICKS - 1)).div_euclid(self.stretch) + 1;
                return;
            }
            self.decode_stretch(decoders, silent);
            self.next += 1;
            let kept = self.waiting.split_off(&self.kept_from());
            let gone = std::mem::replace(&mut self.waiting, kept);
            self.octets -= gone.values().map(|w| w.payload.len()).sum::<usize>();
            let kept = self.spare.split_off(&self.kept_from());
            let gone = std::mem::replace(&mut self.spare, kept);
            self.octets -= gone.values().map(|s| s.waiting.payload.len()).sum::<usize>();
        }
    }

    /// Forgets what lies before `tick`.
    pub(super) fn forget(&mut self, tick: i64) {
        let tick = tick.saturating_sub(MARGIN_TICKS);
        while self.runs.front().is_some_and(|r| r.end() <= tick) {
            self.runs.pop_front();
        }
        if let Some(run) = self.runs.front_mut() {
            run.forget(tick);
        }
    }

    fn decode_stretch(&mut self, decoders: &dyn Decoders, silent: &mut Vec<Silent>) {
        let begin = self.next.saturating_mul(self.stretch);
        let end = begin.saturating_add(self.stretch);
        let stretch = begin.saturating_sub(LEAD_TICKS)..end;
        let spare = self.spare.range(stretch.clone()).filter(|(t, s)| !is_taken(&self.waiting, **t, s.span));
        let mut frames: Vec<(i64, &Waiting)> = spare.map(|(t, s)| (*t, &s.waiting)).collect();
        let is_filled = !frames.is_empty();
        frames.extend(self.waiting.range(stretch).map(|(t, w)| (*t, w)));
        if is_filled {
            frames.sort_by_key(|(tick, _)| *tick);
        }
        let runs = &mut self.runs;
        let border = runs.back().map(Run::end);
        let mut place = |tick: i64, rate: u32, samples: &[i16]| {
            if tick >= begin && !samples.is_empty() {
                // Only what a reader from elsewhere would join as well is joined across stretches.
                let beside = if runs.back().map(Run::end) == border { 0 } else { BESIDE_TICKS };
                lay(runs, tick, rate, samples, beside);
            }
        };
        for group in frames.chunk_by(|a, b| a.1.coding == b.1.coding) {
            match group.first().map(|(_, w)| w.coding) {
                Some(Coding::Here(codec)) => decode_here(codec, group, begin, &mut place),
                Some(Coding::There(codec)) => {
                    if let Err(why) = decode_there(codec, group, decoders, &mut place) {
                        silent.push(Silent { codec, why });
                    }
                }
                None => {}
            }
        }
    }
}

/// Whether something begins nearer to a place than half of what would be put there: it is the same, or lies across it.
fn is_taken(waiting: &BTreeMap<i64, Waiting>, tick: i64, span: i64) -> bool {
    let near = span / 2;
    waiting.range(tick.saturating_sub(near)..=tick.saturating_add(near)).next().is_some()
}

fn decode_here(
    codec: InProcess,
    frames: &[(i64, &Waiting)],
    begin: i64,
    place: &mut impl FnMut(i64, u32, &[i16]),
) {
    // It fails only where memory does: then there is silence, as for a packet that cannot be read.
    let Ok(mut decoder) = Decoder::new(codec) else { return };
    let remembers = matches!(codec, InProcess::G722 | InProcess::Opus);
    let mut samples = Vec::new();
    for (tick, waiting) in frames.iter().filter(|(tick, _)| remembers || *tick >= begin) {
        samples.clear();
        if decoder.decode(&waiting.payload, &mut samples).is_ok() {
            place(*tick, codec.rate(), &samples);
        }
    }
}

fn decode_there(
    codec: Foreign,
    frames: &[(i64, &Waiting)],
    decoders: &dyn Decoders,
    place: &mut impl FnMut(i64, u32, &[i16]),
) -> Result<(), DecodersError> {
    let file = codec.repack(frames.iter().map(|(_, w)| w.payload.as_slice()));
    if file.samples.iter().all(|n| *n == 0) && codec.decoder().is_some() {
        return Ok(());
    }
    let mut rest = &decoders.decode(codec, &file.octets)?[..];
    for ((tick, _), count) in frames.iter().zip(file.samples) {
        let (samples, behind) = rest.split_at(count.min(rest.len()));
        place(*tick, codec.rate(), samples);
        rest = behind;
    }
    Ok(())
}

/// Lays samples over the runs, which end at `tick` or before, or are cut off there.
fn lay(runs: &mut VecDeque<Run>, tick: i64, rate: u32, samples: &[i16], beside: i64) {
    while runs.back().is_some_and(|r| r.first >= tick && r.rate != rate) {
        runs.pop_back();
    }
    let joined = runs.back_mut().filter(|r| r.rate == rate && tick <= r.end().saturating_add(beside));
    match joined {
        Some(run) => {
            let end = run.end();
            let at = if (tick - end).abs() <= beside { end } else { tick.max(run.first) };
            run.overlay(at, samples);
        }
        None => {
            if let Some(run) = runs.back_mut() {
                run.cut(tick);
            }
            runs.push_back(Run::new(tick, rate, samples.to_vec()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "samples of a test are small")]
mod tests {
    use super::super::decoders::NoDecoders;
    use super::*;
    use media::g711;

    const ULAW: Coding = Coding::Here(InProcess::Ulaw);

    /// Payloads of `count` octets at ticks, as runs of (tick, samples).
    fn check(puts: &[(i64, u8, usize)], expected: &[(i64, &[i16])]) {
        let mut lane = Lane::starting_at(0, false);
        for (tick, octet, count) in puts {
            assert_eq!(lane.put(*tick, ULAW, vec![*octet; *count]), Taken::Waits);
        }
        lane.prepare(100, &NoDecoders, &mut Vec::new());
        let runs: Vec<_> = lane.runs.iter().map(|r| (r.first, r.samples.as_slice())).collect();
        assert_eq!(runs, expected, "{puts:?}");
    }

    #[test]
    fn what_follows_is_joined_and_the_later_lies_on_top() {
        let [a, b] = [0x90, 0xA0].map(g711::decode_ulaw);
        check(&[(10, 0x90, 3), (13, 0xA0, 2)], &[(10, &[a, a, a, b, b])]);
        check(&[(13, 0xA0, 2), (10, 0x90, 3)], &[(10, &[a, a, a, b, b])]);
        check(&[(10, 0x90, 2), (40, 0xA0, 2)], &[(10, &[a, a]), (40, &[b, b])]);
        check(&[(10, 0x90, 9), (12, 0xA0, 2)], &[(10, &[a, a, b, b, a, a, a, a, a])]);
        check(&[(10, 0x90, 4), (10, 0xA0, 2)], &[(10, &[b, b])]);
        // Beside the grid by less than half a millisecond.
        check(&[(10, 0x90, 2), (14, 0xA0, 2)], &[(10, &[a, a, b, b])]);
    }

    #[test]
    fn what_has_passed_is_told() {
        let mut lane = Lane::starting_at(0, false);
        assert_eq!(lane.put(0, ULAW, vec![0; 160]), Taken::Waits);
        lane.prepare(3 * STRETCH_TICKS, &NoDecoders, &mut Vec::new());
        assert_eq!(lane.put(160, ULAW, vec![0; 160]), Taken::Passed);
        assert_eq!(lane.put(9 * STRETCH_TICKS, ULAW, vec![0; WAITING_OCTETS_MAX + 1]), Taken::TooMuch);
    }

    #[test]
    fn a_lane_that_begins_in_the_middle_decodes_the_same() {
        let mut g722 = ezk(&[0; 0]);
        let frames: Vec<(i64, Vec<u8>)> = (0..1_500).map(|n| (n * 160, g722(n))).collect();
        let decode = |from: i64| {
            let mut lane = Lane::starting_at(from, false);
            for (tick, payload) in &frames {
                lane.put(*tick, Coding::Here(InProcess::G722), payload.clone());
            }
            lane.prepare(29 * TICKS_PER_SECOND, &NoDecoders, &mut Vec::new());
            lane.forget(from);
            lane.runs.pop_front().map(|r| (r.first, r.samples)).unwrap()
        };
        let whole = decode(0).1;
        for second in [1, 9, 10, 11, 20, 25] {
            let (first, part) = decode(second * TICKS_PER_SECOND);
            assert_eq!(part, whole[usize::try_from(first * 2).unwrap()..], "from second {second}");
        }
    }

    /// Octets of some sound, 20 ms at a time.
    fn ezk(_: &[u8]) -> impl FnMut(i64) -> Vec<u8> {
        let mut state = 1_u32;
        move |_| {
            (0..160)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect()
        }
    }
}
