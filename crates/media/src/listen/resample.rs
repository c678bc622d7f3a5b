//! Samples at any place between samples: windowed sinc, from a table of phases.
//!
//! It keeps no state. What it says of a place depends on the samples around it and on nothing else, so whoever
//! begins to read in the middle of a recording hears, bit for bit, what whoever read from the beginning hears;
//! changes of rate and the correction of clock drift are the same operation; and at the places of the samples
//! themselves, at an unchanged rate, it gives those samples back.

use std::f64::consts::PI;
use std::sync::OnceLock;

/// 24 zero crossings to each side: flat to 0.42 of the lower rate, 80 dB down from 0.52 on.
const HALF: usize = 24;
/// Of 768 places between two samples the two nearest are blended: error below that of 16 bits. 768 is 3 × 256, so
/// that places of 8, 16 and 48 kHz fall on rows of the table.
const PHASES: usize = 768;
/// 80 dB of attenuation outside of the band.
const KAISER_BETA: f64 = 8.0;
/// Where the band ends when samples become fewer, as a share of the new one's half rate.
const BAND: f64 = 0.94;
/// A rate within 1 % is the same rate with drift.
const SAME_RATE: f64 = 1.01;
/// As near as this to a row of the table is on it.
const ON_ROW: f64 = 1e-6;
/// Sums run in 8 lanes, which compilers turn into vectors.
const LANES: usize = 8;

/// Reads between samples.
pub struct Resampler {
    /// Samples on each side that take part; a multiple of [`LANES`] halves.
    half: usize,
    phases: usize,
    scale: f64,
    /// A row of `2 * half` weights for each phase, and one more for the next sample's place: made when something is first
    /// read between samples, as it takes some milliseconds and most calls never need it.
    rows: OnceLock<Vec<f32>>,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler").field("half", &self.half).field("phases", &self.phases).finish()
    }
}

impl Resampler {
    /// A reader that moves on by `step` samples for each sample that it gives. Steps beyond 64 are taken for 64.
    #[must_use]
    pub fn new(step: f64) -> Self {
        let scale = if step > SAME_RATE { step.min(64.0) / BAND } else { 1.0 };
        // Small positive numbers both.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 64")]
        let (widen, thin) = (scale.ceil() as usize, scale.floor().max(1.0) as usize);
        let half = (HALF * widen).next_multiple_of(LANES / 2);
        // Wide weights change slowly from phase to phase, so fewer will do: the table stays below 200 KB.
        let phases = (PHASES / thin / 3 * 3).max(48);
        Self { half, phases, scale, rows: OnceLock::new() }
    }

    fn weights(&self) -> Vec<f32> {
        let mut rows = Vec::with_capacity((self.phases + 1) * self.half * 2);
        for phase in 0..=self.phases {
            let between = phase as f64 / self.phases as f64;
            let at = |tap: usize| tap as f64 - (self.half - 1) as f64 - between;
            let row: Vec<f64> = (0..self.half * 2).map(|tap| weight(at(tap), self.scale)).collect();
            let sum: f64 = row.iter().sum();
            #[allow(clippy::cast_possible_truncation, reason = "weights are below 1")]
            rows.extend(row.iter().map(|w| (w / sum) as f32));
        }
        rows
    }

    /// So many samples before and behind a place have a say in it.
    #[must_use]
    pub const fn reach(&self) -> usize {
        self.half
    }

    /// What lies at `place`, in samples from the first of `samples`. Around them there is silence.
    #[must_use]
    pub fn at(&self, samples: &[i16], place: f64) -> f32 {
        let whole = place.floor();
        let phase = (place - whole) * self.phases as f64;
        #[allow(clippy::cast_possible_truncation, reason = "saturating, and checked below")]
        let first = whole as i64 - (self.half as i64 - 1);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to the number of phases"
        )]
        let (row, blend) = (phase as usize, (phase - phase.floor()) as f32);
        let taps = self.half * 2;
        let rows = self.rows.get_or_init(|| self.weights());
        let low = rows.get(row * taps..(row + 1) * taps).unwrap_or_default();
        let high = rows.get((row + 1) * taps..(row + 2) * taps).unwrap_or(low);
        let inside = usize::try_from(first).ok().and_then(|f| samples.get(f..f.checked_add(taps)?));
        let mut edge = Vec::new();
        let window = match inside {
            Some(window) => window,
            None => {
                let at = |tap: usize| first.checked_add(i64::try_from(tap).ok()?);
                let sample = |tap| samples.get(usize::try_from(at(tap)?).ok()?).copied();
                edge.extend((0..taps).map(|tap| sample(tap).unwrap_or(0)));
                &edge
            }
        };
        let blend_f64 = f64::from(blend);
        if blend_f64 < ON_ROW {
            dot(window, low)
        } else if blend_f64 > 1.0 - ON_ROW {
            dot(window, high)
        } else {
            let (low, high) = (dot(window, low), dot(window, high));
            low + (high - low) * blend
        }
    }
}

fn dot(samples: &[i16], weights: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (samples, weights) in samples.as_chunks::<LANES>().0.iter().zip(weights.as_chunks::<LANES>().0) {
        for ((sum, sample), weight) in sums.iter_mut().zip(samples).zip(weights) {
            *sum += f32::from(*sample) * weight;
        }
    }
    sums.iter().sum()
}

/// The weight of a sample so far away, in samples of the input.
fn weight(distance: f64, scale: f64) -> f64 {
    let x = distance / scale;
    let edge = x / HALF as f64;
    if edge.abs() >= 1.0 {
        return 0.0;
    }
    let sinc = if x.abs() < 1e-12 { 1.0 } else { (PI * x).sin() / (PI * x) };
    sinc * bessel(KAISER_BETA * (1.0 - edge * edge).sqrt()) / bessel(KAISER_BETA)
}

/// The modified Bessel function of the first kind and order 0, by its series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while term > sum * 1e-14 {
        term *= (x / 2.0 / n) * (x / 2.0 / n);
        sum += term;
        n += 1.0;
    }
    sum
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "samples of a test are small")]
mod tests {
    use super::*;
    use crate::tone::{Tone, level};
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    fn resample(samples: &[i16], from: u32, to: f64) -> Vec<i16> {
        let step = f64::from(from) / to;
        let resampler = Resampler::new(step);
        let count = (samples.len() as f64 / step) as usize;
        (0..count).map(|n| resampler.at(samples, n as f64 * step).round() as i16).collect()
    }

    #[test]
    fn a_tone_keeps_frequency_and_level_from_every_rate_to_every_other() {
        for from in [8_000_u32, 16_000, 48_000] {
            for to in [8_000_u32, 16_000, 48_000] {
                for hertz in [100.0, 440.0, 1_000.0, 3_300.0] {
                    let mut tone = Vec::new();
                    Tone::sine(from, hertz, -6.0).fill(from as usize / 2, &mut tone);
                    let heard = resample(&tone, from, f64::from(to));
                    let middle = &heard[heard.len() / 4..heard.len() * 3 / 4];
                    let level = level(middle, to, hertz);
                    assert!((level + 6.0).abs() < 0.1, "{from} to {to}: {hertz} Hz is at {level:.2} dBFS");
                }
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone_and_nothing_is_added() {
        let mut tone = Vec::new();
        Tone::sine(48_000, 4_400.0, -6.0).fill(24_000, &mut tone);
        let heard = resample(&tone, 48_000, 8_000.0);
        let alias = level(&heard[1_000..3_000], 8_000, 3_600.0);
        assert!(alias < -70.0, "4,400 Hz comes back as 3,600 Hz at {alias:.0} dBFS");
        let mut tone = Vec::new();
        Tone::sine(8_000, 3_000.0, -6.0).fill(4_000, &mut tone);
        let image = level(&resample(&tone, 8_000, 16_000.0)[2_000..6_000], 16_000, 5_000.0);
        assert!(image < -70.0, "3,000 Hz has an image at 5,000 Hz at {image:.0} dBFS");
    }

    #[test]
    fn drift_moves_the_frequency_and_nothing_else() {
        let mut tone = Vec::new();
        Tone::sine(8_000, 1_000.0, -6.0).fill(16_000, &mut tone);
        let heard = resample(&tone, 8_000, 8_000.0 * 1.0002);
        let middle = &heard[4_000..12_000];
        assert!((level(middle, 8_000, 1_000.0 / 1.0002) + 6.0).abs() < 0.1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn at_the_samples_themselves_it_gives_them_back(samples in proptest::collection::vec(any::<i16>(), 1..200), at in 0_usize..200) {
            let expected = f32::from(samples.get(at).copied().unwrap_or(0));
            prop_assert!((Resampler::new(1.0).at(&samples, at as f64) - expected).abs() < 0.01);
        }

        #[test]
        fn what_lies_beyond_its_reach_has_no_say(
            samples in proptest::collection::vec(any::<i16>(), 400),
            place in 150.0_f64..250.0,
            step in 0.1_f64..3.0,
        ) {
            let resampler = Resampler::new(step);
            let (from, until) = (place as usize - resampler.reach(), place as usize + resampler.reach() + 1);
            let part = &samples[from..until];
            let all = resampler.at(&samples, place);
            let some = resampler.at(part, place - from as f64);
            prop_assert!((all - some).abs() < 0.5, "{all} and {some}");
            prop_assert_eq!(resampler.at(&samples, 1e12), 0.0);
        }
    }
}
