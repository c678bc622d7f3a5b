//! Who is heard where: streams to sides, sides to channels.
//!
//! Voices are added as loud as they came, so a single one is exact and a mix is as loud as people were: see [`level`].

use media::listen::level;
use model::Side;

use super::run::Heard;

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
