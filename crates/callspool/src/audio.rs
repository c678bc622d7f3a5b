//! The audio of calls for the HTTP side: files that are made while they are read, and pictures.
//!
//! Reading on goes on where it was; reading elsewhere makes anew what lies there. Nothing is kept on disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, ScopedJoinHandle};

use api::port::{CallPlaces, MissingSegment, SegmentPlace};
use api::{
    Audio, AudioError, AudioFormat, AudioLayout, AudioRequest, AudioStream, Peaks, PeaksRequest, Waiting,
};
use model::{CallId, MediaKind, SegmentRecord, StreamRecord, TenantId};
use spool::assemble::{Layout, Note, Options, Rate, not_decoded, not_shown};
use spool::digest;
use spool::export::{Export, ExportError, Format, Mp3Encoder, Request, Tags, Tools};
use spool::peaks::{self, Stretch};

use crate::elsewhere::{self, CallAcross, Elsewhere, FilesAcross, Missing, Sought};
use crate::priority::step_back;
use crate::programs::{Programs, programs};
use crate::repository::Repository;
use crate::whole::ManifestFile;

/// 256 pictures of at most 32 KB: 8 MB.
const PICTURES_MAX: usize = 256;
/// Samples in a millisecond at the rate of pictures.
const PER_MS: u64 = peaks::SAMPLE_RATE as u64 / 1_000;
/// 10 minutes: one thread draws them in a fifth of a second.
const DRAWN_AT_ONCE: u64 = 600_000 * PER_MS;
/// Threads for pictures, beyond one for each: others record meanwhile.
const DRAWING_MAX: u64 = 4;

/// The recordings of a repository.
pub(crate) struct Recordings {
    repository: Repository,
    elsewhere: Option<Elsewhere>,
    programs: Programs,
    pictures: Mutex<VecDeque<(String, Peaks)>>,
    /// Threads that draw pictures.
    drawing: AtomicU64,
}

/// Threads for one picture, of those that may draw at once.
struct Hired<'a> {
    all: &'a AtomicU64,
    threads: u64,
}

impl<'a> Hired<'a> {
    /// As many as are wanted and free, at least one.
    fn some(all: &'a AtomicU64, wanted: u64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64).min(DRAWING_MAX);
        let threads = |busy: u64| wanted.min(cores.saturating_sub(busy)).max(1);
        let hire = |busy| Some(busy + threads(busy));
        let busy = all.fetch_update(Ordering::AcqRel, Ordering::Acquire, hire).unwrap_or_else(|busy| busy);
        Self { all, threads: threads(busy) }
    }
}

impl Drop for Hired<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.threads, Ordering::AcqRel);
    }
}

/// A call's segments, each with its directory, and second copies of some of them.
struct Found {
    segments: Vec<(SegmentRecord, String)>,
    /// How many of these are second copies: the last ones.
    twins: usize,
    /// What names what there is of it; none while it goes on.
    version: Option<String>,
    files: FilesAcross,
    /// What cannot be had, a line each.
    missing: Vec<String>,
}

impl Recordings {
    pub(crate) fn new(repository: Repository, elsewhere: Option<Elsewhere>) -> Self {
        let (pictures, drawing) = (Mutex::default(), AtomicU64::default());
        Self { repository, elsewhere, programs: programs(), pictures, drawing }
    }

    /// A call, wherever its segments lie.
    fn across(&self, tenant: &TenantId, call: CallId) -> Result<CallAcross, AudioError> {
        let found = elsewhere::read(&self.repository, self.elsewhere.as_ref(), tenant, call);
        match found.map_err(|e| AudioError::Away(e.to_string()))? {
            Sought::Found(call) => Ok(*call),
            Sought::Unknown(silent) if silent.is_empty() => Err(AudioError::NoCall),
            Sought::Unknown(silent) => Err(AudioError::Away(silent.join("; "))),
        }
    }

    fn find(&self, tenant: &TenantId, call: CallId) -> Result<Found, AudioError> {
        let found = self.across(tenant, call)?;
        let missing: Vec<String> = found.missing.iter().map(Missing::describe).collect();
        if found.segments.read.is_empty() && !missing.is_empty() {
            return Err(AudioError::Away(missing.join("; ")));
        }
        // A sealed segment never changes, and its parts' digests are in its record.
        let read = &found.segments;
        let is_sealed = read.read.iter().chain(&read.twins).all(|(_, file)| file.sealed);
        let twins = read.twins.len();
        let segments = found.placed();
        let version = is_sealed.then(|| version(&segments));
        Ok(Found { segments, twins, version, files: found.files, missing })
    }

    fn picture(&self, wanted: &PeaksRequest, found: &Found, by: &Waiting) -> Result<Peaks, AudioError> {
        let total = peaks::length(&found.segments);
        if total == 0 {
            return Err(AudioError::Nothing("no media have come yet".to_owned()));
        }
        let from = wanted.from_ms.saturating_mul(PER_MS).min(total);
        let until = wanted.until_ms.map_or(total, |ms| ms.saturating_mul(PER_MS)).clamp(from, total);
        let stretch = Stretch { width: wanted.width.max(1), from, until };
        let channels = self.draw(&stretch, found, by)?;
        let (from_ms, until_ms, duration_ms) = (from / PER_MS, until / PER_MS, total / PER_MS);
        Ok(Peaks { from_ms, until_ms, duration_ms, channels })
    }

    /// Draws a picture, a long one by several threads. They step back: somebody waits for it, but not a call. They stop when
    /// nobody waits any more.
    fn draw(&self, stretch: &Stretch, found: &Found, by: &Waiting) -> Result<[Vec<i8>; 2], AudioError> {
        let wanted = (stretch.until - stretch.from) / DRAWN_AT_ONCE + 1;
        let hired = Hired::some(&self.drawing, wanted);
        let pieces = hired.threads;
        let border = |piece: u64| u32::try_from(u64::from(stretch.width) * piece / pieces).unwrap_or(0);
        // So many buckets are drawn at a time that it is looked each fifth of a second whether somebody waits.
        let at_once = usize::try_from(u64::from(stretch.width) / wanted).unwrap_or(1).max(1);
        let piece = |n: u64| {
            step_back();
            let mut drawn = [Vec::new(), Vec::new()];
            for begin in (border(n)..border(n + 1)).step_by(at_once) {
                if by.is_over() {
                    return Err(AudioError::Failed("nobody waits for the picture any more".to_owned()));
                }
                let end = begin.saturating_add(u32::try_from(at_once).unwrap_or(u32::MAX)).min(border(n + 1));
                let (segments, buckets) = (found.segments.clone(), begin..end);
                let some = peaks::draw(segments, stretch, buckets, &found.files, &self.programs);
                let some = some.map_err(|e| AudioError::Failed(e.to_string()))?;
                drawn.iter_mut().zip(some).for_each(|(all, more)| all.extend(more));
            }
            Ok(drawn)
        };
        let drawn: Vec<_> = std::thread::scope(|threads| {
            let piece = &piece;
            let begin = |n| Builder::new().name("picture".to_owned()).spawn_scoped(threads, move || piece(n));
            let drawing: Vec<_> = (0..pieces).map(begin).collect();
            drawing.into_iter().map(|thread| thread.map(ScopedJoinHandle::join)).collect()
        });
        let mut channels = [Vec::new(), Vec::new()];
        for piece in drawn {
            let piece =
                piece.map_err(|e| AudioError::Failed(format!("there is no thread to draw it: {e}")))?;
            let piece =
                piece.map_err(|_| AudioError::Failed("the picture could not be drawn".to_owned()))??;
            channels.iter_mut().zip(piece).for_each(|(all, more)| all.extend(more));
        }
        Ok(channels)
    }
}

impl Audio for Recordings {
    fn open(&self, wanted: &AudioRequest) -> Result<Box<dyn AudioStream>, AudioError> {
        let found = self.find(&wanted.tenant, wanted.call)?;
        let first = found.segments.len().saturating_sub(found.twins);
        let records = || found.segments.iter().take(first).map(|(s, _)| s);
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
        let mut not_heard = found.missing.clone();
        not_heard.extend(not_decoded(records(), &self.programs).iter().map(in_words));
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
        let (files, programs) = (found.files, self.programs.clone());
        Ok(Box::new(File { files, programs, export, name, version, not_heard }))
    }

    fn places(&self, tenant: &TenantId, call: CallId) -> Result<CallPlaces, AudioError> {
        self.places_of(tenant, call)
    }

    fn peaks(&self, wanted: &PeaksRequest, by: &Waiting) -> Result<Peaks, AudioError> {
        let found = self.find(&wanted.tenant, wanted.call)?;
        let Some(version) = &found.version else { return self.picture(wanted, &found, by) };
        let key = format!("{version} {wanted:?}");
        let kept = || self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, picture)) = kept().iter().find(|(k, _)| *k == key) {
            return Ok(picture.clone());
        }
        let picture = self.picture(wanted, &found, by)?;
        if let Some(why) = found.files.failed() {
            return Err(AudioError::Away(why));
        }
        let mut pictures = kept();
        if pictures.len() >= PICTURES_MAX {
            pictures.pop_front();
        }
        pictures.push_back((key, picture.clone()));
        Ok(picture)
    }
}

impl Recordings {
    fn places_of(&self, tenant: &TenantId, call: CallId) -> Result<CallPlaces, AudioError> {
        let found = self.across(tenant, call)?;
        let place = |(s, _): &(SegmentRecord, ManifestFile)| {
            let lent = found.borrowed.get(&s.id);
            SegmentPlace { record: s.clone(), at: lent.map(|lent| (lent.node, lent.name.to_string())) }
        };
        let missing = found.missing.iter().map(|missing| MissingSegment {
            number: missing.number,
            segment: missing.segment,
            text: missing.text.clone(),
            since: missing.since,
        });
        Ok(CallPlaces {
            segments: found.segments.read.iter().map(place).collect(),
            missing: missing.collect(),
        })
    }
}

/// A file in the making.
struct File {
    files: FilesAcross,
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
        let tools = Tools { files: &self.files, decoders: &self.programs, mp3: &self.programs };
        let read = self.export.read(offset, len, &tools);
        // What is away now is no silence: whoever plays it hears that it breaks off, and asks again.
        self.files.failed().map_or_else(|| read.map_err(error), |why| Err(AudioError::Away(why)))
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
