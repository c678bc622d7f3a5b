//! Samples of a recording by their place: forwards without reading anything twice, elsewhere by assembling anew.

use std::collections::VecDeque;

use model::SegmentRecord;

use super::{ExportError, Tools};
use crate::assemble::{Assembler, Note, Options};

/// 2 s of what was read are kept: encoders begin a little before their piece.
const KEPT_SECONDS: u64 = 2;
/// 100: as the assembler keeps.
const NOTES_MAX: usize = 100;

/// A recording as samples.
pub(super) struct Pcm {
    segments: Vec<(SegmentRecord, String)>,
    options: Options,
    assembler: Assembler,
    total: u64,
    /// The place of the first sample that is here, and the samples, interleaved.
    at: u64,
    ready: VecDeque<i16>,
    notes: Vec<Note>,
}

impl Pcm {
    pub(super) fn new(segments: Vec<(SegmentRecord, String)>, options: Options) -> Self {
        let assembler = Assembler::new(segments.clone(), options);
        let total = assembler.total_samples();
        Self { segments, options, assembler, total, at: 0, ready: VecDeque::new(), notes: Vec::new() }
    }

    /// Samples of each channel.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// What is not heard, as far as was read.
    pub(super) fn notes(&mut self) -> &[Note] {
        self.gather();
        &self.notes
    }

    /// So many samples of each channel from a place on, interleaved; before the beginning and behind the end
    /// there is silence.
    pub(super) fn read(
        &mut self,
        from: i64,
        count: usize,
        tools: &Tools<'_>,
    ) -> Result<Vec<i16>, ExportError> {
        let channels = usize::from(self.options.layout.channels());
        let before = usize::try_from(from.saturating_neg()).unwrap_or(0).min(count);
        let mut out = vec![0; before * channels];
        let from = u64::try_from(from).unwrap_or(0).min(self.total);
        let until = (from + (count - before) as u64).min(self.total);
        if from < until {
            self.go_to(from);
            self.fill(until, tools)?;
            let skip = usize::try_from(from - self.at).unwrap_or(usize::MAX).saturating_mul(channels);
            let wanted = usize::try_from(until - from).unwrap_or(0) * channels;
            out.extend(self.ready.iter().skip(skip).take(wanted));
            self.forget(until, channels);
        }
        out.resize(count * channels, 0);
        Ok(out)
    }

    fn channels(&self) -> u64 {
        u64::from(self.options.layout.channels())
    }

    fn end(&self) -> u64 {
        self.at + self.ready.len() as u64 / self.channels()
    }

    /// Makes sure that what is here, or is assembled next, is not behind a place.
    fn go_to(&mut self, from: u64) {
        // A little further on is nearer by reading than by beginning anew.
        let near = self.end() + u64::from(self.options.rate.hz()) * KEPT_SECONDS;
        if (self.at..=near).contains(&from) {
            return;
        }
        self.gather();
        self.assembler = Assembler::new(self.segments.clone(), self.options);
        self.at = self.assembler.seek(from);
        self.ready.clear();
    }

    fn fill(&mut self, until: u64, tools: &Tools<'_>) -> Result<(), ExportError> {
        while self.end() < until {
            match self.assembler.next(tools.files, tools.decoders)? {
                Some(samples) => self.ready.extend(samples),
                // The files are shorter than their manifests say: silence, and the notes tell.
                None => {
                    let missing = usize::try_from(until - self.end()).unwrap_or(0);
                    let silence = missing.saturating_mul(usize::from(self.options.layout.channels()));
                    self.ready.resize(self.ready.len() + silence, 0);
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, until: u64, channels: usize) {
        let kept_from = until.saturating_sub(u64::from(self.options.rate.hz()) * KEPT_SECONDS);
        let gone = usize::try_from(kept_from.saturating_sub(self.at)).unwrap_or(0);
        self.ready.drain(..(gone * channels).min(self.ready.len()));
        self.at += gone as u64;
    }

    fn gather(&mut self) {
        for note in self.assembler.notes() {
            if self.notes.len() < NOTES_MAX && !self.notes.contains(note) {
                self.notes.push(note.clone());
            }
        }
    }
}
