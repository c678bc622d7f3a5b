//! Hearing DTMF (ITU-T Q.23) in samples at 8 kHz, block by block.
//!
//! ```text
//!  samples  │ hop │ hop │ hop │ hop │ hop │      a hop: 34 samples, 4.25 ms
//!           └── block: 102 ───┘     │     │      eight Goertzel filters; what is known of a hop is used
//!                 └── block: 102 ───┘     │      in each of the three blocks that it belongs to
//! ```
//!
//! A block holds a key when two tones, one of the rows and one of the columns, are loud enough, about as loud as
//! each other, far louder than the other six, have no second harmonic as voices do, and are most of what is
//! heard. It says nothing of whether somebody pressed a key: that takes several blocks in a row.

use std::f64::consts::TAU;
use std::sync::LazyLock;

/// Rows, then columns, in Hz.
const TONES: [f64; 8] = [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0];
const RATE: f64 = 8_000.0;
/// 4.25 ms: how exactly the beginning of a tone is known.
pub(super) const HOP: usize = 34;
const HOPS: usize = 3;
/// 12.75 ms: the least whose filters, 78 Hz wide, tell rows that are 73 Hz apart from each other.
pub(crate) const BLOCK: usize = HOP * HOPS;
/// An amplitude of -42 dBFS for each tone: 8 dB below what a receiver must hear (-25 dBm0 with 6 dB of twist).
const LEAST: f32 = 260.0;
/// 10 dB between row and column, either way.
const TWIST_MAX: f32 = 10.0;
/// 5 dB above each other tone of its group.
const ALONE: f32 = 3.0;
/// Two tones that are off by 1.5 % keep four fifths of the energy in their filters; voices rarely half.
const SHARE: f32 = 0.6;
/// 9 dB below the higher tone its second harmonic must be. That of the lower one lies among the higher tones.
const HARMONIC: f32 = 0.125;

/// What a hop adds to the filters: complex amplitudes, and the energy of its samples.
#[derive(Clone, Copy, Default, Debug)]
struct Part {
    re: [f32; 8],
    im: [f32; 8],
    energy: f32,
}

/// Constants of the filters.
struct Filters {
    /// 2 cos ω.
    coefficient: [f32; 8],
    /// cos ω, sin ω.
    turn: [(f32, f32); 8],
    /// The same of a hop.
    hop: [(f32, f32); 8],
    /// 2 cos 2ω, of the second harmonics.
    harmonic: [f32; 8],
}

static FILTERS: LazyLock<Filters> = LazyLock::new(|| {
    let omega = TONES.map(|hz| TAU * hz / RATE);
    let turned = |by: f64| omega.map(|w| (narrow((w * by).cos()), narrow((w * by).sin())));
    Filters {
        coefficient: omega.map(|w| narrow(2.0 * w.cos())),
        turn: turned(1.0),
        hop: turned(34.0),
        harmonic: omega.map(|w| narrow(2.0 * (2.0 * w).cos())),
    }
});

#[expect(clippy::cast_possible_truncation, reason = "seven digits are enough for a filter")]
const fn narrow(value: f64) -> f32 {
    value as f32
}

/// A key of the sixteen: row and column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(u8);

impl Key {
    /// As it stands on a telephone (ITU-T Q.23).
    pub(crate) fn name(self) -> char {
        char::from(b"123A456B789C*0#D".get(usize::from(self.0)).copied().unwrap_or(b'?'))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ear {
    /// The last three hops, round.
    samples: [[f32; HOP]; HOPS],
    parts: [Part; HOPS],
    /// Where the hop that is being filled is.
    at: usize,
    filled: usize,
    /// Whole hops since it was deaf, three at most.
    hops: usize,
}

impl Default for Ear {
    fn default() -> Self {
        Self { samples: [[0.0; HOP]; HOPS], parts: [Part::default(); HOPS], at: 0, filled: 0, hops: 0 }
    }
}

impl Ear {
    /// Forgets what it heard: what comes now does not follow it.
    pub(crate) const fn forget(&mut self) {
        (self.filled, self.hops) = (0, 0);
    }

    /// Samples of a hop that is not whole yet.
    pub(super) const fn pending(&self) -> usize {
        self.filled
    }

    /// Takes a sample. With the last one of a block, what the block holds.
    #[inline]
    pub(crate) fn hear(&mut self, sample: i16) -> Option<Option<Key>> {
        self.samples[self.at][self.filled] = f32::from(sample);
        self.filled += 1;
        if self.filled < HOP {
            return None;
        }
        self.parts[self.at] = part(&self.samples[self.at]);
        self.at = (self.at + 1) % HOPS;
        self.filled = 0;
        self.hops = (self.hops + 1).min(HOPS);
        (self.hops == HOPS).then(|| self.judge())
    }

    fn judge(&self) -> Option<Key> {
        let parts = [0, 1, 2].map(|i| &self.parts[(self.at + i) % HOPS]);
        let energy: f32 = parts.iter().map(|p| p.energy).sum();
        let block = narrow(BLOCK as f64);
        // Two of the least amplitude, were nothing else heard.
        if energy < LEAST * LEAST * block {
            return None;
        }
        let powers = powers(parts);
        let (rows, columns) = powers.split_at(4);
        let ((row, low), (column, high)) = (loudest(rows)?, loudest(columns)?);
        let least = LEAST * block / 2.0;
        let share = (low + high) * 2.0 / block;
        let is_key = low.min(high) >= least * least
            && low <= high * TWIST_MAX
            && high <= low * TWIST_MAX
            && share >= energy * SHARE
            && self.harmonic(4 + column) <= high * HARMONIC;
        is_key.then(|| Key(u8::try_from(row * 4 + column).unwrap_or(0)))
    }

    /// The power of a tone's second harmonic. Asked only of what looks like a key.
    fn harmonic(&self, tone: usize) -> f32 {
        let coefficient = FILTERS.harmonic[tone];
        let (mut one, mut two) = (0.0_f32, 0.0_f32);
        for hop in 0..HOPS {
            for sample in &self.samples[(self.at + hop) % HOPS] {
                (two, one) = (one, sample + coefficient * one - two);
            }
        }
        one * one + two * two - coefficient * one * two
    }
}

/// The loudest of a group, if it is far above the others.
fn loudest(group: &[f32]) -> Option<(usize, f32)> {
    let (index, most) = group.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let alone = group.iter().enumerate().all(|(i, power)| i == index || power * ALONE <= most);
    alone.then_some((index, most))
}

/// Goertzel's recurrence for all eight tones over a hop.
fn part(samples: &[f32; HOP]) -> Part {
    let filters = &*FILTERS;
    let (mut one, mut two) = ([0.0_f32; 8], [0.0_f32; 8]);
    let mut energy = 0.0;
    for sample in samples {
        energy += sample * sample;
        for tone in 0..8 {
            let now = sample + filters.coefficient[tone] * one[tone] - two[tone];
            two[tone] = one[tone];
            one[tone] = now;
        }
    }
    let mut part = Part { energy, ..Part::default() };
    for tone in 0..8 {
        let (cos, sin) = filters.turn[tone];
        part.re[tone] = one[tone] - two[tone] * cos;
        part.im[tone] = two[tone] * sin;
    }
    part
}

/// The power of each tone over a block: its hops, each turned by the time that has passed since.
fn powers(parts: [&Part; HOPS]) -> [f32; 8] {
    let mut powers = [0.0; 8];
    for (tone, power) in powers.iter_mut().enumerate() {
        let (cos, sin) = FILTERS.hop[tone];
        let (mut re, mut im) = (0.0, 0.0);
        for part in parts {
            (re, im) = (re * cos - im * sin + part.re[tone], re * sin + im * cos + part.im[tone]);
        }
        *power = re * re + im * im;
    }
    powers
}
