//! Who is heard where: streams to sides, sides to channels.
//!
//! Voices are added as loud as they came, so a single one is exact and a mix is as loud as people were: see [`level_into`].

use std::collections::BTreeMap;

use media::listen::level_into;
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
#[derive(Default)]
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
    /// By place, and by the line of segments that follow each other.
    voices: BTreeMap<(Place, usize), Voices>,
    frames: usize,
}

/// All voices of a place.
struct Sum {
    samples: Vec<f32>,
    count: usize,
}

impl Mixer {
    pub(super) fn new(frames: usize) -> Self {
        Self { voices: BTreeMap::new(), frames }
    }

    /// Adds a stream of a segment. Streams of one segment mix; a later segment speaks instead of an earlier one of the
    /// same line, wherever it received media. Lines mix: what one of them heard the other may not have.
    pub(super) fn add(
        &mut self,
        place: Place,
        line: usize,
        segment: usize,
        render: impl FnOnce(&mut Heard<'_>),
    ) {
        let voices = self.voices.entry((place, line)).or_default();
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
        let [agent, external, both] = [Place::Agent, Place::External, Place::Both].map(|p| self.sum(p));
        let [left, right] = [agent, external].map(|sum| sum.with(&both).leveled(self.frames));
        left.into_iter().zip(right).flat_map(<[i16; 2]>::from).collect()
    }

    /// All in one channel.
    pub(super) fn mono(mut self) -> Vec<i16> {
        let [agent, external, both] = [Place::Agent, Place::External, Place::Both].map(|p| self.sum(p));
        agent.with(&external).with(&both).leveled(self.frames)
    }

    fn sum(&mut self, place: Place) -> Sum {
        let mut sum = Sum { samples: Vec::new(), count: 0 };
        for (_, voices) in self.voices.range_mut((place, 0)..=(place, usize::MAX)) {
            voices.settle();
            sum.count += voices.count;
            if sum.samples.is_empty() {
                sum.samples = std::mem::take(&mut voices.sum);
            } else {
                sum.samples.iter_mut().zip(&voices.sum).for_each(|(all, one)| *all += *one);
            }
        }
        sum
    }
}

impl Sum {
    fn with(mut self, other: &Self) -> Self {
        self.count += other.count;
        if self.samples.is_empty() {
            self.samples.clone_from(&other.samples);
        } else {
            self.samples.iter_mut().zip(&other.samples).for_each(|(all, one)| *all += *one);
        }
        self
    }

    /// So many samples; where nobody speaks, silence.
    fn leveled(&self, frames: usize) -> Vec<i16> {
        let mut out = Vec::with_capacity(frames);
        level_into(&self.samples, self.count, &mut out);
        out.resize(frames, 0);
        out
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
