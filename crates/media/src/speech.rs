//! Something like speech, for test callers: babble of vowels and hiss with pauses, the same for the same seed.
//!
//! A pulse train at the voice's pitch and noise pass three resonators at the formants of a vowel that changes
//! with each syllable; syllables make phrases of one to three seconds, phrases are parted by pauses. Levels,
//! pauses and spectrum are near those of speech, so that codecs, silence detectors and eyes on a waveform take
//! it for speech. It says nothing.

use std::f64::consts::TAU;

use crate::tone::to_sample;

/// Formants of vowels in Hz (Peterson and Barney 1952, male voices, rounded).
const VOWELS: [[f64; 3]; 8] = [
    [270.0, 2_290.0, 3_010.0],
    [390.0, 1_990.0, 2_550.0],
    [530.0, 1_840.0, 2_480.0],
    [660.0, 1_720.0, 2_410.0],
    [730.0, 1_090.0, 2_440.0],
    [570.0, 840.0, 2_410.0],
    [440.0, 1_020.0, 2_240.0],
    [300.0, 870.0, 2_240.0],
];
/// Bandwidths of the formants in Hz, and how strong they are.
const BANDWIDTHS: [f64; 3] = [60.0, 90.0, 120.0];
const STRENGTHS: [f64; 3] = [1.0, 0.5, 0.25];
/// Brings phrases to about -20 dBFS.
const LOUDNESS: f64 = 1_500.0;

/// A voice. Deterministic: the same rate and seed say the same.
#[derive(Clone, Debug)]
pub struct Speech {
    rate: f64,
    random: u64,
    /// Hz.
    pitch: f64,
    phase: f64,
    formants: [Resonator; 3],
    syllable: Syllable,
    /// Syllables left in the phrase.
    syllables: u32,
}

/// What is being said, in samples.
#[derive(Clone, Copy, Debug)]
struct Syllable {
    sound: Sound,
    length: f64,
    at: f64,
    pitch: f64,
    strength: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sound {
    Voiced,
    Hiss,
    Pause,
}

/// A two-pole resonator.
#[derive(Clone, Copy, Default, Debug)]
struct Resonator {
    gain: f64,
    one: f64,
    two: f64,
    last: f64,
    before: f64,
}

impl Resonator {
    fn tune(&mut self, rate: f64, frequency: f64, bandwidth: f64) {
        let radius = (-std::f64::consts::PI * bandwidth / rate).exp();
        self.one = 2.0 * radius * (TAU * frequency / rate).cos();
        self.two = -radius * radius;
        self.gain = 1.0 - radius;
    }

    fn pass(&mut self, input: f64) -> f64 {
        let output = self.gain * input + self.one * self.last + self.two * self.before;
        (self.before, self.last) = (self.last, output);
        output
    }
}

impl Speech {
    /// A voice with the pitch that the seed gives: 90 to 240 Hz.
    #[must_use]
    pub fn new(rate: u32, seed: u64) -> Self {
        let pause = Syllable { sound: Sound::Pause, length: 0.0, at: 0.0, pitch: 0.0, strength: 0.0 };
        let mut speech = Self {
            rate: f64::from(rate.max(1)),
            random: seed,
            pitch: 0.0,
            phase: 0.0,
            formants: [Resonator::default(); 3],
            syllable: pause,
            syllables: 0,
        };
        speech.pitch = speech.between(90.0, 240.0);
        speech
    }

    /// The next sample.
    pub fn sample(&mut self) -> i16 {
        if self.syllable.at >= self.syllable.length {
            self.next_syllable();
        }
        let Syllable { sound, length, at, pitch, strength } = self.syllable;
        self.syllable.at += 1.0;
        // Rises and falls within a syllable.
        let envelope = strength * (std::f64::consts::PI * at / length).sin();
        let noise = self.between(-1.0, 1.0);
        match sound {
            Sound::Pause => {
                // Room noise, so that a pause is no digital silence.
                let rest: f64 = self.formants.iter_mut().map(|f| f.pass(0.0)).sum();
                to_sample(rest * LOUDNESS + noise * 6.0)
            }
            Sound::Hiss => to_sample(noise * envelope * LOUDNESS * 0.6),
            Sound::Voiced => {
                let glide = pitch * (1.0 + 0.12 * (0.5 - at / length));
                self.phase += glide / self.rate;
                let pulse = if self.phase >= 1.0 { self.rate / glide } else { 0.0 };
                self.phase = self.phase.fract();
                let breath = noise * 0.3;
                let formed = self.formants.iter_mut().zip(STRENGTHS).map(|(f, s)| s * f.pass(pulse + breath));
                to_sample(formed.sum::<f64>() * envelope * LOUDNESS)
            }
        }
    }

    /// Appends so many samples.
    pub fn fill(&mut self, samples: usize, out: &mut Vec<i16>) {
        out.extend((0..samples).map(|_| self.sample()));
    }

    /// True while nothing is said.
    #[must_use]
    pub fn is_pausing(&self) -> bool {
        self.syllable.sound == Sound::Pause
    }

    fn next_syllable(&mut self) {
        if self.syllables == 0 {
            // Five syllables a second: phrases of one to three seconds.
            self.syllables = 5 + self.below(10);
            let length = self.rate * self.between(0.4, 1.2);
            self.syllable = Syllable { sound: Sound::Pause, length, at: 0.0, pitch: 0.0, strength: 0.0 };
            return;
        }
        self.syllables -= 1;
        let hiss = self.below(5) == 0;
        let (sound, seconds) = match hiss {
            true => (Sound::Hiss, self.between(0.06, 0.12)),
            false => (Sound::Voiced, self.between(0.14, 0.28)),
        };
        let vowel = VOWELS[self.below(8) as usize % VOWELS.len()];
        for ((formant, frequency), bandwidth) in self.formants.iter_mut().zip(vowel).zip(BANDWIDTHS) {
            formant.tune(self.rate, frequency, bandwidth);
        }
        let pitch = self.pitch * self.between(0.85, 1.2);
        let strength = self.between(0.6, 1.0);
        self.syllable = Syllable { sound, length: self.rate * seconds, at: 0.0, pitch, strength };
    }

    /// A number from 0 to below `end`.
    fn below(&mut self, end: u32) -> u32 {
        u32::try_from((self.bits() >> 33) % u64::from(end.max(1))).unwrap_or(0)
    }

    fn between(&mut self, least: f64, most: f64) -> f64 {
        let unit = f64::from(u32::try_from(self.bits() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        least + (most - least) * unit
    }

    /// `SplitMix64`.
    fn bits(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.random;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::loudness;

    fn say(rate: u32, seed: u64, seconds: usize) -> Vec<i16> {
        let mut samples = Vec::new();
        Speech::new(rate, seed).fill(rate as usize * seconds, &mut samples);
        samples
    }

    #[test]
    fn the_same_seed_says_the_same() {
        assert_eq!(say(8_000, 7, 3), say(8_000, 7, 3));
        assert_ne!(say(8_000, 7, 3), say(8_000, 8, 3));
    }

    #[test]
    fn it_has_the_shape_of_speech() {
        for (rate, seed) in [(8_000, 1), (8_000, 2), (16_000, 3), (8_000, 99)] {
            let samples = say(rate, seed, 60);
            let frames: Vec<f64> = samples.chunks(rate as usize / 50).map(loudness).collect();
            let count =
                |test: &dyn Fn(f64) -> bool| frames.iter().filter(|l| test(**l)).count() * 100 / frames.len();
            let (loud, quiet) = (count(&|l| l > -35.0), count(&|l| l < -50.0));
            assert!((40..85).contains(&loud), "seed {seed}: {loud} % of the frames are loud");
            assert!((10..50).contains(&quiet), "seed {seed}: {quiet} % of the frames are quiet");
            let peak = samples.iter().map(|s| i32::from(*s).abs()).max().unwrap_or(0);
            assert!((6_000..32_768).contains(&peak), "seed {seed}: peak {peak}");
            let all = loudness(&samples);
            assert!((-30.0..-12.0).contains(&all), "seed {seed}: {all} dBFS");
        }
    }
}
