//! The audio of calls for the HTTP side: files that are made while they are read, and pictures.
//!
//! Reading on goes on where it was; reading elsewhere makes anew what lies there. Nothing is kept on disk.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use api::{Audio, AudioError, AudioFormat, AudioLayout, AudioRequest, AudioStream, Peaks, PeaksRequest};
use model::{CallId, MediaKind, SegmentRecord, StreamRecord, TenantId};
use spool::assemble::{Assembler, Layout, Note, Options, Rate, not_decoded, not_shown};
use spool::digest;
use spool::export::{Export, ExportError, Format, Mp3Encoder, Request, Tags, Tools};

use crate::programs::{Programs, programs};
use crate::repository::Repository;
use crate::whole::WholeCall;

/// 256 pictures of at most 32 KB: 8 MB.
const PICTURES_MAX: usize = 256;
/// Samples in a millisecond at the rate of pictures.
const PER_MS: u64 = 8;

/// The recordings of a repository.
pub(crate) struct Recordings {
    repository: Repository,
    programs: Programs,
    pictures: Mutex<VecDeque<(String, Peaks)>>,
}

/// A call's segments, each with its directory.
struct Found {
    segments: Vec<(SegmentRecord, String)>,
    /// What names what there is of it; none while it goes on.
    version: Option<String>,
}

impl Recordings {
    pub(crate) fn new(repository: Repository) -> Self {
        Self { repository, programs: programs(), pictures: Mutex::default() }
    }

    fn find(&self, tenant: &TenantId, call: CallId) -> Result<Found, AudioError> {
        let found = WholeCall::find(&self.repository, call).map_err(|e| AudioError::Away(e.to_string()))?;
        let own = format!("{tenant}/");
        let whole = found.filter(|w| w.directory().starts_with(&own)).ok_or(AudioError::NoCall)?;
        let read = whole.segments(&self.repository).map_err(|e| AudioError::Failed(e.to_string()))?.read;
        // A sealed segment never changes, and its parts' digests are in its record.
        let is_sealed = read.iter().all(|(_, file)| file.sealed);
        let segments: Vec<_> = read.into_iter().map(|(record, file)| (record, file.directory)).collect();
        let version = is_sealed.then(|| version(&segments));
        Ok(Found { segments, version })
    }

    fn picture(&self, wanted: &PeaksRequest, found: &Found) -> Result<Peaks, AudioError> {
        let options = Options { rate: Rate::Narrow, layout: Layout::Stereo };
        let mut assembler = Assembler::new(found.segments.clone(), options);
        let total = assembler.total_samples();
        if total == 0 {
            return Err(AudioError::Nothing("no media have come yet".to_owned()));
        }
        let from = wanted.from_ms.saturating_mul(PER_MS).min(total);
        let until = wanted.until_ms.map_or(total, |ms| ms.saturating_mul(PER_MS)).clamp(from, total);
        let mut buckets = Buckets::new(wanted.width, until - from);
        let mut at = assembler.seek(from);
        while at < until {
            let step = assembler.next(&self.repository, &self.programs);
            let Some(step) = step.map_err(|e| AudioError::Failed(e.to_string()))? else { break };
            let frames = step.as_chunks::<2>().0;
            let skip = usize::try_from(from.saturating_sub(at)).unwrap_or(0).min(frames.len());
            let keep = usize::try_from(until - at).unwrap_or(usize::MAX).min(frames.len());
            for frame in frames.get(skip..keep).unwrap_or_default() {
                buckets.add(*frame);
            }
            at += frames.len() as u64;
        }
        let channels = buckets.finish();
        let (from_ms, until_ms, duration_ms) = (from / PER_MS, until / PER_MS, total / PER_MS);
        Ok(Peaks { from_ms, until_ms, duration_ms, channels })
    }
}

impl Audio for Recordings {
    fn open(&self, wanted: &AudioRequest) -> Result<Box<dyn AudioStream>, AudioError> {
        let found = self.find(&wanted.tenant, wanted.call)?;
        let records = || found.segments.iter().map(|(s, _)| s);
        let layout = match wanted.layout {
            AudioLayout::Stereo => Layout::Stereo,
            AudioLayout::Mix => Layout::Mono,
            AudioLayout::Stream(stream) if records().flat_map(|s| &s.streams).any(|s| s.id == stream) => {
                Layout::One(stream)
            }
            AudioLayout::Stream(stream) => {
                return Err(AudioError::Unfit {
                    name: "stream",
                    why: format!("the call has no stream {stream}"),
                });
            }
        };
        let rate = match wanted.rate {
            None => Rate::of(records()),
            Some(hz) => rate_of(hz).ok_or_else(|| AudioError::Unfit {
                name: "rate",
                why: "one of 8000, 16000, 48000".to_owned(),
            })?,
        };
        let format = match wanted.format {
            AudioFormat::Wav => Format::Wav,
            AudioFormat::Mp3 => Format::Mp3,
            AudioFormat::Opus => Format::Opus,
            AudioFormat::Flac => Format::Flac,
            AudioFormat::Mkv => Format::Mkv,
            AudioFormat::Webm => Format::Webm,
        };
        if format == Format::Mp3 {
            self.programs.can_encode()?;
        }
        let started = records().map(|s| s.started).min().unwrap_or_default();
        let options = Options { rate, layout };
        let tags = Tags { call: wanted.call, started, parties: None };
        let request = Request { format, options, bitrate: wanted.bitrate, tags };
        let mut not_heard: Vec<String> =
            not_decoded(records(), &self.programs).iter().map(in_words).collect();
        if matches!(format, Format::Mkv | Format::Webm) {
            not_heard.extend(not_shown(records()).iter().map(in_words));
            not_heard.extend(records().flat_map(|s| &s.streams).filter_map(lost_pictures));
        }
        let version = found.version.as_ref().map(|v| {
            let of = format!("{v} {request:?} {}", env!("CARGO_PKG_VERSION"));
            short(&digest::of_bytes(of.as_bytes()).sha256)
        });
        let export = Export::new(found.segments, &request).map_err(error)?;
        if export.is_empty() {
            return Err(AudioError::Nothing("no media have come yet".to_owned()));
        }
        let begun: String =
            started.to_string().chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
        let name = format!("{begun}-{}", wanted.call);
        let (repository, programs) = (self.repository.clone(), self.programs.clone());
        Ok(Box::new(File { repository, programs, export, name, version, not_heard }))
    }

    fn peaks(&self, wanted: &PeaksRequest) -> Result<Peaks, AudioError> {
        let found = self.find(&wanted.tenant, wanted.call)?;
        let Some(version) = &found.version else { return self.picture(wanted, &found) };
        let key = format!("{version} {wanted:?}");
        let kept = || self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, picture)) = kept().iter().find(|(k, _)| *k == key) {
            return Ok(picture.clone());
        }
        let picture = self.picture(wanted, &found)?;
        let mut pictures = kept();
        if pictures.len() >= PICTURES_MAX {
            pictures.pop_front();
        }
        pictures.push_back((key, picture.clone()));
        Ok(picture)
    }
}

/// A file in the making.
struct File {
    repository: Repository,
    programs: Programs,
    export: Export,
    name: String,
    version: Option<String>,
    not_heard: Vec<String>,
}

impl AudioStream for File {
    fn len_bytes(&self) -> Option<u64> {
        self.export.octets()
    }

    fn read_range(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, AudioError> {
        let tools = Tools { files: &self.repository, decoders: &self.programs, mp3: &self.programs };
        self.export.read(offset, len, &tools).map_err(error)
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn version(&self) -> Option<String> {
        self.version.clone()
    }

    fn not_heard(&self) -> Vec<String> {
        self.not_heard.clone()
    }
}

/// Samples on their way into buckets of equal length.
struct Buckets {
    width: u64,
    total: u64,
    at: u64,
    channels: [Vec<i8>; 2],
    now: [(i16, i16); 2],
    /// The sample at which the bucket ends.
    end: u64,
}

/// Lower and higher than every sample, in this order: an empty bucket.
const EMPTY: (i16, i16) = (i16::MAX, i16::MIN);

impl Buckets {
    fn new(width: u32, total: u64) -> Self {
        let width = u64::from(width.max(1));
        let mut buckets =
            Self { width, total, at: 0, channels: [Vec::new(), Vec::new()], now: [EMPTY; 2], end: 0 };
        buckets.end = buckets.end_of(0);
        buckets
    }

    fn end_of(&self, bucket: u64) -> u64 {
        u64::try_from(u128::from(bucket + 1) * u128::from(self.total) / u128::from(self.width))
            .unwrap_or(u64::MAX)
    }

    fn add(&mut self, frame: [i16; 2]) {
        while self.at >= self.end {
            self.close();
        }
        for ((low, high), sample) in self.now.iter_mut().zip(frame) {
            (*low, *high) = ((*low).min(sample), (*high).max(sample));
        }
        self.at += 1;
    }

    fn close(&mut self) {
        for (channel, now) in self.channels.iter_mut().zip(&mut self.now) {
            let (low, high) = if *now == EMPTY { (0, 0) } else { *now };
            // The high octet: 128ths, towards the lower; a faint sound shows as one.
            channel.extend([low, high].map(|s| s.to_be_bytes()[0].cast_signed()));
            *now = EMPTY;
        }
        let bucket = self.channels[0].len() as u64 / 2;
        self.end = if bucket >= self.width { u64::MAX } else { self.end_of(bucket) };
    }

    fn finish(mut self) -> [Vec<i8>; 2] {
        while (self.channels[0].len() as u64) < self.width * 2 {
            self.close();
        }
        self.channels
    }
}

fn rate_of(hz: u32) -> Option<Rate> {
    [Rate::Narrow, Rate::Wide, Rate::Full].into_iter().find(|r| r.hz() == hz)
}

fn version(segments: &[(SegmentRecord, String)]) -> String {
    let digests = segments.iter().flat_map(|(s, _)| {
        let parts = s.parts.iter().filter_map(|p| p.sha256.clone());
        parts
            .chain(s.sidecar.iter().filter_map(|p| p.sha256.clone()))
            .chain([s.started.to_string()])
            .chain(s.streams.iter().map(|st| format!("{} {:?}", st.id, st.side)))
    });
    digests.collect::<Vec<_>>().join(" ")
}

/// 16 digits of a digest: what is the same is the same, and no more is asked of an ETag.
fn short(digest: &str) -> String {
    digest.chars().filter(char::is_ascii_hexdigit).take(16).collect()
}

fn in_words(note: &Note) -> String {
    match note {
        Note::NotDecoded { stream, codec, why } => format!("stream {stream} {codec}: {why}"),
        Note::Unreadable { path, why } => format!("{path}: {why}"),
        Note::TooLate { stream } => format!("stream {stream}: packets far from their place"),
        Note::NotShown { stream, from_ms, until_ms } => {
            format!("stream {stream}: no pictures from {from_ms} to {until_ms} ms")
        }
        Note::Damaged { stream, from_ms, until_ms } => {
            format!("stream {stream}: damaged pictures from {from_ms} to {until_ms} ms")
        }
    }
}

/// Before anything is read, counts tell that pictures will be missing; which, shows when they are put together.
fn lost_pictures(stream: &StreamRecord) -> Option<String> {
    let lost = stream.accounting.lost + stream.accounting.dropped;
    (stream.kind == MediaKind::Video && lost > 0)
        .then(|| format!("stream {}: {lost} packets of video are missing", stream.id))
}

fn error(error: ExportError) -> AudioError {
    match error {
        ExportError::Bitrate { .. } => AudioError::Unfit { name: "bitrate", why: error.to_string() },
        ExportError::TooLong(_) | ExportError::NoPictures | ExportError::NotInWebm(_) => {
            AudioError::Nothing(error.to_string())
        }
        ExportError::Missing(why) => AudioError::Missing(why),
        ExportError::Assemble(_) | ExportError::Encoder(_) => AudioError::Failed(error.to_string()),
    }
}

impl Programs {
    fn can_encode(&self) -> Result<(), AudioError> {
        Mp3Encoder::can(self).map_err(|e| AudioError::Missing(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_as_many_as_asked_for_and_hold_the_extremes() {
        for (width, total) in [(3, 10), (10, 3), (1, 1), (7, 7), (4, 0)] {
            let mut buckets = Buckets::new(width, total);
            for n in 0..total {
                let sample = i16::try_from(n + 1).unwrap() * 1_000;
                buckets.add([sample, -sample]);
            }
            let [agent, external] = buckets.finish();
            assert_eq!(
                (agent.len(), external.len()),
                (width as usize * 2, width as usize * 2),
                "{width} of {total}"
            );
            let loudest = i8::try_from(total * 1_000 / 256).unwrap();
            assert_eq!(agent.iter().max(), Some(&loudest));
        }
    }
}
