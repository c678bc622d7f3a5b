//! The audio of calls for the HTTP side: a WAV file that is assembled while it is read.
//!
//! Reading on goes on where it was; reading elsewhere assembles anew from there. Nothing is kept on disk.

use api::{Audio, AudioError, AudioStream};
use model::{CallId, SegmentRecord, TenantId};
use spool::assemble::{Assembler, Layout, Options, Rate};
use spool::wav::wav_header;

use crate::repository::Repository;

/// Octets of a WAV head.
const HEAD: u64 = 44;

/// The recordings of a repository.
pub(crate) struct Recordings {
    repository: Repository,
}

impl Recordings {
    pub(crate) fn new(repository: Repository) -> Self {
        Self { repository }
    }

    fn segments(&self, directory: &str) -> Result<Vec<SegmentRecord>, AudioError> {
        let found = self.repository.manifests(directory).map_err(|e| AudioError::Failed(e.to_string()))?;
        Ok(found.into_iter().filter_map(|m| m.manifest.ok()).map(|m| m.record).collect())
    }
}

impl Audio for Recordings {
    fn open(&self, tenant: &TenantId, call: CallId) -> Result<Box<dyn AudioStream>, AudioError> {
        let found = self.repository.find(call).map_err(|e| AudioError::Away(e.to_string()))?;
        let own = format!("{tenant}/");
        let directory = found.filter(|d| d.starts_with(&own)).ok_or(AudioError::NoCall)?;
        let placed: Vec<_> = self.segments(&directory)?.into_iter().map(|s| (s, directory.clone())).collect();
        let wav = Wav::new(self.repository.clone(), placed)?;
        if wav.len_bytes() <= HEAD {
            return Err(AudioError::Nothing("no media have come yet".to_owned()));
        }
        Ok(Box::new(wav))
    }
}

/// A WAV file in the making: 8 kHz, agent left, external right.
struct Wav {
    repository: Repository,
    segments: Vec<(SegmentRecord, String)>,
    assembler: Assembler,
    head: Vec<u8>,
    len: u64,
    /// What was assembled and not read yet, and its place behind the head.
    ready: Vec<u8>,
    at: u64,
}

impl Wav {
    fn new(repository: Repository, segments: Vec<(SegmentRecord, String)>) -> Result<Self, AudioError> {
        let assembler = assembler(&segments)?;
        let (channels, samples) = (assembler.channels(), assembler.total_samples());
        let head = wav_header(channels, assembler.sample_rate(), samples).to_vec();
        let len = HEAD + samples * octets_per_sample(channels);
        Ok(Self { repository, segments, assembler, head, len, ready: Vec::new(), at: 0 })
    }

    /// Makes `ready` begin at an offset behind the head.
    fn go_to(&mut self, offset: u64) -> Result<(), AudioError> {
        let end = self.at + self.ready.len() as u64;
        if offset < self.at || offset > end {
            self.assembler = assembler(&self.segments)?;
            let per_sample = octets_per_sample(self.assembler.channels());
            self.at = self.assembler.seek(offset / per_sample) * per_sample;
            self.ready.clear();
            self.assemble(offset - self.at)?;
        }
        let skip = usize::try_from(offset - self.at).unwrap_or(usize::MAX).min(self.ready.len());
        self.ready.drain(..skip);
        self.at += skip as u64;
        Ok(())
    }

    /// Assembles until more than `wanted` octets are ready, or all of it is.
    fn assemble(&mut self, wanted: u64) -> Result<(), AudioError> {
        while self.ready.len() as u64 <= wanted {
            let step =
                self.assembler.next(&self.repository).map_err(|e| AudioError::Failed(e.to_string()))?;
            let Some(step) = step else { return Ok(()) };
            self.ready.extend(step.iter().flat_map(|s| s.to_le_bytes()));
        }
        Ok(())
    }
}

impl AudioStream for Wav {
    fn len_bytes(&self) -> u64 {
        self.len
    }

    fn read_range(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, AudioError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(rest) = self.head.get(from..).filter(|r| !r.is_empty()) {
            return Ok(rest.iter().copied().take(len).collect());
        }
        self.go_to(offset - HEAD)?;
        self.assemble(len as u64)?;
        let taken = self.ready.len().min(len);
        self.at += taken as u64;
        Ok(self.ready.drain(..taken).collect())
    }
}

fn assembler(segments: &[(SegmentRecord, String)]) -> Result<Assembler, AudioError> {
    let options = Options { rate: Rate::Narrow, layout: Layout::Stereo };
    Assembler::new(segments.to_vec(), options).map_err(|e| AudioError::Nothing(e.to_string()))
}

fn octets_per_sample(channels: u16) -> u64 {
    2 * u64::from(channels)
}
