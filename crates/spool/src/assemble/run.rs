//! A run: samples of one stream that follow one another without a hole, at one rate.
//!
//! A run fades in and out, so that nothing clicks where media begin and end. Between its samples it is read by a
//! [`Resampler`], which knows no state: a place sounds the same whoever reads it.

use std::ops::Range;

use media::listen::Resampler;

use crate::codec::TICKS_PER_SECOND;

/// 2 ms: too short to be heard as a fade, long enough not to be heard as a click.
const FADE_TICKS: f64 = 16.0;
/// As near as this to a sample is at it.
const AT_SAMPLE: f64 = 1e-6;

/// Samples without a hole.
pub(super) struct Run {
    /// The tick at which it began.
    pub(super) begin: i64,
    /// The tick of the first sample that is still here.
    pub(super) first: i64,
    /// Samples a second, a multiple of 8,000.
    pub(super) rate: u32,
    pub(super) samples: Vec<i16>,
}

/// What a stream says over a stretch of output: sums and how present it is, 0 to 1.
pub(super) struct Heard<'a> {
    pub(super) sum: &'a mut [f32],
    pub(super) gain: &'a mut [f32],
}

/// Where output samples lie: the tick of output sample 0 of a stretch, and ticks from one to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) origin: f64,
    pub(super) step: f64,
}

impl Run {
    pub(super) fn new(tick: i64, rate: u32, samples: Vec<i16>) -> Self {
        Self { begin: tick, first: tick, rate, samples }
    }

    /// Samples in a tick.
    pub(super) fn per_tick(&self) -> i64 {
        i64::from(self.rate) / TICKS_PER_SECOND
    }

    /// The tick behind its last sample, rounded up.
    pub(super) fn end(&self) -> i64 {
        let per_tick = self.per_tick().max(1);
        let samples = i64::try_from(self.samples.len()).unwrap_or(i64::MAX);
        self.first.saturating_add(samples.saturating_add(per_tick - 1) / per_tick)
    }

    /// Lays samples down at `tick`, over what is there; it must not be behind the end.
    pub(super) fn overlay(&mut self, tick: i64, samples: &[i16]) {
        let at = tick.saturating_sub(self.first).saturating_mul(self.per_tick());
        let at = usize::try_from(at).unwrap_or(0).min(self.samples.len());
        let over = samples.len().min(self.samples.len() - at);
        let (over, behind) = samples.split_at(over);
        if let Some(place) = self.samples.get_mut(at..at + over.len()) {
            place.copy_from_slice(over);
        }
        self.samples.extend_from_slice(behind);
    }

    /// Cuts it off at `tick`: something else begins there.
    pub(super) fn cut(&mut self, tick: i64) {
        let left = tick.saturating_sub(self.first).max(0).saturating_mul(self.per_tick());
        self.samples.truncate(usize::try_from(left).unwrap_or(usize::MAX));
    }

    /// Forgets what lies before `tick`.
    pub(super) fn forget(&mut self, tick: i64) {
        let count = tick.saturating_sub(self.first).max(0);
        let samples = usize::try_from(count.saturating_mul(self.per_tick())).unwrap_or(usize::MAX);
        if samples >= self.samples.len() {
            return;
        }
        self.samples.drain(..samples);
        self.first += count;
    }

    /// Adds what is heard of it between the output samples `from` and `until` of the grid.
    pub(super) fn render(
        &self,
        grid: Grid,
        from: usize,
        until: usize,
        resampler: &Resampler,
        out: &mut Heard<'_>,
    ) {
        #[allow(clippy::cast_precision_loss, reason = "ticks of a month are below 2^53")]
        let (begin, first, end, per_tick) =
            (self.begin as f64, self.first as f64, self.end() as f64, self.per_tick() as f64);
        let (from, until) = (from.max(grid.index(first)), until.min(grid.index(end)));
        let step = grid.step * per_tick;
        let start = (grid.at(from) - first) * per_tick;
        let is_exact = (step - 1.0).abs() < 1e-12 && (start - start.round()).abs() < AT_SAMPLE;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "inside of the run")]
        let exact = is_exact.then(|| start.round().max(0.0) as usize);
        let sample = |n: usize| match exact {
            Some(start) => self.samples.get(start + n - from).map_or(0.0, |s| f32::from(*s)),
            None => resampler.at(&self.samples, (grid.at(n) - first) * per_tick),
        };
        let mut fading = |range: Range<usize>| {
            for n in range {
                let tick = grid.at(n);
                let edge = (tick - begin).min(end - 1.0 - tick) + 1.0;
                #[allow(clippy::cast_possible_truncation, reason = "0 to 1")]
                let gain = (edge / (FADE_TICKS + 1.0)).clamp(0.0, 1.0) as f32;
                if let (Some(sum), Some(presence)) = (out.sum.get_mut(n), out.gain.get_mut(n)) {
                    *sum += sample(n) * gain;
                    *presence = presence.max(gain);
                }
            }
        };
        // Nearly all of it lies between the fades.
        let loud = grid.index(begin + FADE_TICKS).clamp(from, until.max(from));
        let falls = grid.index(end - 1.0 - FADE_TICKS).clamp(loud, until.max(loud));
        fading(from..loud);
        fading(falls..until);
        let (Some(sum), Some(presence)) = (out.sum.get_mut(loud..falls), out.gain.get_mut(loud..falls))
        else {
            return;
        };
        presence.fill(1.0);
        match exact.and_then(|start| self.samples.get(start + loud - from..start + falls - from)) {
            Some(samples) => sum.iter_mut().zip(samples).for_each(|(sum, s)| *sum += f32::from(*s)),
            None => (loud..).zip(sum).for_each(|(n, sum)| *sum += sample(n)),
        }
    }
}

impl Grid {
    #[allow(clippy::cast_precision_loss, reason = "an output stretch has at most 48,000 samples")]
    pub(super) fn at(&self, n: usize) -> f64 {
        self.origin + n as f64 * self.step
    }

    /// The first output sample at a tick or behind it.
    pub(super) fn index(&self, tick: f64) -> usize {
        let n = ((tick - self.origin) / self.step - AT_SAMPLE).ceil();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating")]
        let n = n.max(0.0) as usize;
        n
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "samples of a test are small")]
mod tests {
    use super::*;

    fn heard(run: &Run, grid: Grid, count: usize) -> Vec<i16> {
        let (mut sum, mut gain) = (vec![0.0; count], vec![0.0; count]);
        let resampler = Resampler::new(grid.step * run.per_tick() as f64);
        run.render(grid, 0, count, &resampler, &mut Heard { sum: &mut sum, gain: &mut gain });
        sum.iter().map(|s| s.round() as i16).collect()
    }

    #[test]
    fn a_run_fades_in_and_out_and_is_exact_between() {
        let run = Run::new(10, 8_000, (0..100).map(|n| 1_000 + n).collect());
        let out = heard(&run, Grid { origin: 0.0, step: 1.0 }, 120);
        assert!(out[..10].iter().chain(&out[110..]).all(|s| *s == 0));
        assert!(out[10] > 0 && out[10] < 70 && out[109] > 0 && out[109] < 70, "{out:?}");
        for (n, sample) in out.iter().enumerate().take(94).skip(26) {
            assert_eq!(usize::try_from(*sample).unwrap(), 1_000 + n - 10, "at {n}");
        }
    }

    #[test]
    fn what_is_forgotten_does_not_fade_in_again() {
        let mut run = Run::new(0, 16_000, vec![1_000; 800]);
        let whole = heard(&run, Grid { origin: 0.0, step: 1.0 }, 400);
        run.forget(100);
        assert_eq!((run.first, run.end(), run.samples.len()), (100, 400, 600));
        assert_eq!(heard(&run, Grid { origin: 200.0, step: 1.0 }, 200), &whole[200..]);
        run.cut(300);
        assert_eq!(run.end(), 300);
        run.overlay(290, &[5; 40]);
        assert_eq!((run.end(), run.samples[380], run.samples[379]), (310, 5, 1_000));
    }
}
