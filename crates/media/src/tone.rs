//! Tones: sines and DTMF pairs to send, and a Goertzel detector to hear with what level they came.
//!
//! Levels are dBFS of a sine: 0 dBFS is a sine that just reaches full scale.

use std::f64::consts::TAU;

/// Full scale of 16-bit samples.
const FULL_SCALE: f64 = 32_768.0;
/// What no level is below: 16 bits hold nothing quieter than about -98.
const FLOOR_DBFS: f64 = -150.0;
/// DTMF rows and columns in Hz (ITU-T Q.23).
const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// A sum of sines that goes on in phase from call to call.
#[derive(Clone, Debug)]
pub struct Tone {
    rate: f64,
    /// Frequency in Hz, amplitude, phase in turns.
    parts: Vec<(f64, f64, f64)>,
}

impl Tone {
    /// A sine of `frequency` Hz at `level` dBFS.
    #[must_use]
    pub fn sine(rate: u32, frequency: f64, level: f64) -> Self {
        Self { rate: f64::from(rate), parts: vec![(frequency, amplitude(level), 0.0)] }
    }

    /// A DTMF key, each of its two sines at `level` dBFS. None for what is no key.
    #[must_use]
    pub fn dtmf(rate: u32, key: char, level: f64) -> Option<Self> {
        let (low, high) = dtmf_frequencies(key)?;
        let part = |frequency| (frequency, amplitude(level), 0.0);
        Some(Self { rate: f64::from(rate), parts: vec![part(low), part(high)] })
    }

    /// The next sample.
    pub fn sample(&mut self) -> i16 {
        let mut sum = 0.0;
        for (frequency, amplitude, phase) in &mut self.parts {
            sum += *amplitude * (*phase * TAU).sin();
            *phase = (*phase + *frequency / self.rate).fract();
        }
        to_sample(sum)
    }

    /// Appends so many samples.
    pub fn fill(&mut self, samples: usize, out: &mut Vec<i16>) {
        out.extend((0..samples).map(|_| self.sample()));
    }
}

/// The two frequencies of a DTMF key.
#[must_use]
pub fn dtmf_frequencies(key: char) -> Option<(f64, f64)> {
    let key = key.to_ascii_uppercase();
    for (row, keys) in KEYS.iter().enumerate() {
        if let Some(column) = keys.iter().position(|k| *k == key) {
            return Some((ROWS[row], COLUMNS[column]));
        }
    }
    None
}

/// The level of a sine of `frequency` Hz within samples, in dBFS (Goertzel's algorithm, Hann window).
///
/// The window keeps other tones out: two are told apart from about `2 * rate / samples.len()` Hz on.
#[must_use]
pub fn level(samples: &[i16], rate: u32, frequency: f64) -> f64 {
    let Ok(count) = u32::try_from(samples.len()) else { return FLOOR_DBFS };
    if count == 0 || rate == 0 {
        return FLOOR_DBFS;
    }
    let coefficient = 2.0 * (TAU * frequency / f64::from(rate)).cos();
    let turn = TAU / f64::from(count);
    let (mut one, mut two, mut window_sum) = (0.0, 0.0, 0.0);
    let mut angle = 0.0_f64;
    for sample in samples {
        let window = 0.5 - 0.5 * angle.cos();
        let now = f64::from(*sample) * window + coefficient * one - two;
        (two, one) = (one, now);
        window_sum += window;
        angle += turn;
    }
    let power = (one * one + two * two - coefficient * one * two).max(0.0);
    decibel(2.0 * power.sqrt() / window_sum.max(1.0))
}

/// The level of all of it: a full-scale sine is 0 dBFS.
#[must_use]
pub fn loudness(samples: &[i16]) -> f64 {
    let Ok(count) = u32::try_from(samples.len()) else { return FLOOR_DBFS };
    let sum: f64 = samples.iter().map(|s| f64::from(*s) * f64::from(*s)).sum();
    decibel((2.0 * sum / f64::from(count.max(1))).sqrt())
}

fn decibel(amplitude: f64) -> f64 {
    (20.0 * (amplitude / FULL_SCALE).log10()).max(FLOOR_DBFS)
}

fn amplitude(level: f64) -> f64 {
    FULL_SCALE * 10_f64.powf(level / 20.0)
}

/// Rounds and clips.
#[expect(clippy::cast_possible_truncation, reason = "clamped to the range before")]
pub(crate) fn to_sample(value: f64) -> i16 {
    value.round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64, within: f64) -> bool {
        (value - expected).abs() <= within
    }

    #[test]
    fn a_sine_is_heard_at_its_level_and_nowhere_else() {
        for (rate, frequency, at) in [(8_000, 440.0, -10.0), (16_000, 1_004.0, -3.0), (8_000, 3_000.0, -30.0)]
        {
            let mut samples = Vec::new();
            Tone::sine(rate, frequency, at).fill(rate as usize / 2, &mut samples);
            assert!(near(level(&samples, rate, frequency), at, 0.1), "{frequency}");
            assert!(level(&samples, rate, frequency / 2.0) < at - 50.0);
            assert!(near(loudness(&samples), at, 0.1));
        }
    }

    #[test]
    fn every_key_is_told_from_every_other() {
        for key in KEYS.as_flattened() {
            let mut samples = Vec::new();
            Tone::dtmf(8_000, *key, -10.0).unwrap().fill(800, &mut samples);
            let loud = |f: &&f64| level(&samples, 8_000, **f) > -13.0;
            let (rows, columns): (Vec<_>, Vec<_>) =
                (ROWS.iter().filter(loud).collect(), COLUMNS.iter().filter(loud).collect());
            let (row, column) = dtmf_frequencies(*key).unwrap();
            assert_eq!((rows, columns), (vec![&row], vec![&column]), "{key}");
        }
        assert!(Tone::dtmf(8_000, 'x', -10.0).is_none());
    }

    #[test]
    fn a_tone_goes_on_in_phase() {
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        Tone::sine(8_000, 1_000.0, -6.0).fill(800, &mut whole);
        let mut tone = Tone::sine(8_000, 1_000.0, -6.0);
        (0..5).for_each(|_| tone.fill(160, &mut pieces));
        assert_eq!(whole, pieces);
    }

    #[test]
    fn nothing_is_silent() {
        assert_eq!(level(&[], 8_000, 440.0), FLOOR_DBFS);
        assert_eq!(level(&[0; 80], 8_000, 440.0), FLOOR_DBFS);
        assert_eq!(loudness(&[0; 80]), FLOOR_DBFS);
    }
}
