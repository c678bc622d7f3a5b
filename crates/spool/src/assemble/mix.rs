//! Who is heard where: streams to sides, sides to channels.
//!
//! Voices are added as loud as they came, so a single one is exact and a mix is as loud as people were. Where
//! several together go beyond three quarters of full scale, what is beyond is bent instead of cut off. A bend
//! without memory sounds the same whoever reads that place.

use model::Side;

use super::run::Heard;

/// −2.5 dBFS: two people seldom both shout.
const KNEE: f32 = 24_576.0;
const FULL: f32 = 32_767.0;

/// The three places that a voice may have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Place {
    Agent,
    External,
    Both,
}

impl From<Side> for Place {
    fn from(side: Side) -> Self {
        match side {
            Side::Agent => Self::Agent,
            Side::External => Self::External,
            Side::Mixed | Side::Unknown => Self::Both,
        }
    }
}

/// One place over a stretch of output.
#[derive(Clone, Default)]
struct Voices {
    sum: Vec<f32>,
    /// Of the segment that is being added: how loud, and how present.
    segment: Option<usize>,
    now: Vec<f32>,
    presence: Vec<f32>,
    /// Streams that say something in this stretch.
    count: usize,
}

/// A stretch of output, to be filled stream by stream, segments in the order of their starts.
pub(super) struct Mixer {
    places: [Voices; 3],
    frames: usize,
}

impl Mixer {
    pub(super) fn new(frames: usize) -> Self {
        Self { places: Default::default(), frames }
    }

    /// Adds a stream of a segment. Streams of one segment mix; a later segment speaks instead of an earlier one,
    /// wherever it received media.
    pub(super) fn add(&mut self, place: Place, segment: usize, render: impl FnOnce(&mut Heard<'_>)) {
        let Some(voices) = self.places.get_mut(place as usize) else { return };
        if voices.segment != Some(segment) {
            voices.settle();
            voices.segment = Some(segment);
        }
        voices.sum.resize(self.frames, 0.0);
        voices.now.resize(self.frames, 0.0);
        voices.presence.resize(self.frames, 0.0);
        voices.count += 1;
        render(&mut Heard { sum: &mut voices.now, gain: &mut voices.presence });
    }

    /// Agent and external, and who is on both sides, interleaved.
    pub(super) fn stereo(mut self) -> Vec<i16> {
        self.places.iter_mut().for_each(Voices::settle);
        let [agent, external, both] = &self.places;
        let voices = (agent.count + both.count, external.count + both.count);
        let at = |voices: &Voices, n: usize| voices.sum.get(n).copied().unwrap_or(0.0);
        (0..self.frames)
            .flat_map(|n| {
                let both = at(both, n);
                [level(at(agent, n) + both, voices.0), level(at(external, n) + both, voices.1)]
            })
            .collect()
    }

    /// All in one channel.
    pub(super) fn mono(mut self) -> Vec<i16> {
        self.places.iter_mut().for_each(Voices::settle);
        let voices = self.places.iter().map(|p| p.count).sum::<usize>();
        let sum = |n: usize| self.places.iter().filter_map(|p| p.sum.get(n)).sum::<f32>();
        (0..self.frames).map(|n| level(sum(n), voices)).collect()
    }
}

impl Voices {
    fn settle(&mut self) {
        if self.segment.take().is_none() {
            return;
        }
        for ((sum, now), presence) in self.sum.iter_mut().zip(&mut self.now).zip(&mut self.presence) {
            *sum = *sum * (1.0 - *presence) + *now;
            (*now, *presence) = (0.0, 0.0);
        }
    }
}

fn level(sum: f32, voices: usize) -> i16 {
    let beyond = sum.abs() - KNEE;
    let sum = if voices > 1 && beyond > 0.0 {
        (KNEE + (FULL - KNEE) * (beyond / (FULL - KNEE)).tanh()).copysign(sum)
    } else {
        sum
    };
    #[allow(clippy::cast_possible_truncation, reason = "saturating")]
    let sample = sum.round() as i16;
    sample
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "samples of a test are small")]
mod tests {
    use super::*;

    #[test]
    fn one_voice_is_exact_and_many_never_clip() {
        for sample in [0.0, 1.0, -32_768.0, 32_767.0, 30_000.4] {
            assert_eq!(f32::from(level(sample, 1)), sample.round());
        }
        assert_eq!(level(24_000.0, 2), 24_000);
        let mut last = 0;
        for sum in (0..90_000).step_by(100) {
            let bent = level(sum as f32, 2);
            assert!(bent >= last && level(-(sum as f32), 2) == -bent, "{sum}: {bent}");
            last = bent;
        }
        assert_eq!(last, 32_767);
    }
}
