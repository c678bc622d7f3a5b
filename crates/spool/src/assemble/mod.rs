//! The recording that a person hears: all segments of a call on one time line, as PCM, a second at a time.
//!
//! ```text
//!  parts ───► Source ──┐ payloads   ┌─ Lane ─┐ runs of samples      ┌─ Mixer ─┐
//!  sidecar ─► Source ──┴───────────►│ decode ├──── Clock, Resampler ►│  sides  ├─► channels
//!                                   └────────┘ drift, rate          └─────────┘
//! ```
//!
//! - Pauses between segments, and gaps within them, are true silence: every second is where it was. Media fade in
//!   and out over 2 ms, so that nothing clicks.
//! - Agent left, external right; what is of both or of nobody known goes to both.
//! - Streams of one side of one segment are mixed. Where two segments overlap in time of which the one follows the other
//!   (a server that failed and the one that took over), the one that began later speaks for its side wherever it received
//!   media. Segments that were recorded beside each other, and those of calls that turned out to be one, are mixed.
//! - Streams may be in any codec and change it; each is decoded here or, through [`Decoders`], by a program. What
//!   cannot be decoded or read is silence and a [`Note`].
//! - A sender's clock that is fast or slow is held against the wall clock, so that both sides stay together.
//!
//! Each second depends on the files and on nothing that was read before, so a recording that is read from the
//! middle is, bit for bit, the rest of the one that is read from its beginning. It holds a window of the call,
//! never the call.

mod clock;
mod decoders;
mod lane;
mod mix;
mod notes;
mod options;
mod pictures;
mod placed;
mod run;
mod sidecar;
mod source;
mod succession;
mod twin;

use std::collections::{BTreeMap, BTreeSet};

use media::listen::{Foreign, Resampler};
use model::{SegmentRecord, StreamId};

pub use decoders::{Decoders, DecodersError, NoDecoders};
pub use notes::{Note, not_decoded, not_shown};
pub use options::{Layout, Options, Rate};

pub(crate) use pictures::{Pictures, Shows};

use crate::codec::TICKS_PER_SECOND;
use crate::op::Files;
use crate::timeline::Timeline;
use crate::twins;
use clock::Clock;
use lane::{Lane, MARGIN_TICKS, Silent, Taken};
use mix::{Mixer, Place};
use notes::note;
use placed::Placed;
use run::{Grid, Heard};
use sidecar::SidecarSource;
use source::{Found, Source};
use twin::Twin;

/// 30 s: how much later than in its place a block may stand in its file. Late packets are some hundred
/// milliseconds late; a source that RFC 3550 still takes for the same one, at most 3,000 packets.
const WINDOW_TICKS: i64 = 30 * TICKS_PER_SECOND;

/// Why a call cannot be assembled.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// Not one of the files can be read: silence would be a lie.
    #[error("none of the recording's files can be read; the first one: {0}")]
    NothingReadable(String),
}

/// Assembles a call.
pub struct Assembler {
    options: Options,
    segments: Vec<Placed>,
    /// Second copies of some of them.
    twins: Vec<Twin>,
    sources: Vec<Source>,
    sidecars: Vec<SidecarSource>,
    lanes: BTreeMap<(usize, StreamId), Lane>,
    resamplers: BTreeMap<u32, Resampler>,
    /// The tick of the next second.
    cursor: i64,
    /// Where it was asked to begin.
    from: i64,
    end: i64,
    /// Something could be read, or was passed over unread.
    opened: bool,
    notes: Vec<Note>,
    missing: BTreeSet<Foreign>,
}

impl Assembler {
    /// An assembler of segments, each with its directory, in any order. Of a segment there may be copies of two nodes: what
    /// one lacks is taken from [the other](crate::twins).
    #[must_use]
    pub fn new(segments: Vec<(SegmentRecord, String)>, options: Options) -> Self {
        let (mut segments, others) = twins::pair(segments);
        segments.sort_by_key(|(s, _)| (s.started, s.number, s.id));
        let twins = Twin::all(&mut segments, others);
        let timeline = Timeline::new(&segments);
        let mut sidecars: Vec<_> =
            segments.iter().enumerate().filter_map(|(n, (s, d))| SidecarSource::of(n, s, d)).collect();
        let mut sources: Vec<_> = timeline.parts.into_iter().map(Source::new).collect();
        // Behind the first copies: what these have need not wait.
        sources.extend(twins.iter().enumerate().flat_map(|(n, twin)| twin.sources(n)));
        sidecars.extend(twins.iter().enumerate().filter_map(|(n, twin)| twin.sidecar(n)));
        let mut segments = placed::all(segments, timeline.starts);
        for twin in &twins {
            twin.lengthen(&mut segments);
        }
        Self {
            options,
            end: segments.iter().map(Placed::end).max().unwrap_or(0),
            segments,
            twins,
            sources,
            sidecars,
            lanes: BTreeMap::new(),
            resamplers: BTreeMap::new(),
            cursor: 0,
            from: 0,
            opened: false,
            notes: Vec::new(),
            missing: BTreeSet::new(),
        }
    }

    /// Channels of the output.
    #[must_use]
    pub const fn channels(&self) -> u16 {
        self.options.layout.channels() as u16
    }

    /// Samples a second of the output.
    #[must_use]
    pub const fn sample_rate(&self) -> u32 {
        self.options.rate.hz()
    }

    /// Samples of each channel, from beginning to end.
    #[must_use]
    pub fn total_samples(&self) -> u64 {
        self.end.unsigned_abs() * u64::from(self.sample_rate() / 8_000)
    }

    /// What is not heard, as far as was read.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Goes to a sample (of each channel) before anything was read. It is rounded down to a whole second, which
    /// is returned; parts that ended long before it are not opened.
    pub fn seek(&mut self, sample: u64) -> u64 {
        let per_second = u64::from(self.sample_rate());
        let second = i64::try_from(sample / per_second).unwrap_or(i64::MAX);
        self.cursor = second.saturating_mul(TICKS_PER_SECOND).min(self.end);
        self.from = self.cursor;
        let (cursor, segments) = (self.cursor, &self.segments);
        let from = |s: &Source| {
            let from = segments.get(s.part.segment).map_or(i64::MIN, |s| s.read_from(cursor));
            from.saturating_sub(if s.twin.is_some() { twin::APART_TICKS } else { 0 })
        };
        let all = self.sources.len();
        // A block may be later in its file than in time, never in another file than its own.
        self.sources.retain(|s| s.part.end > from(s));
        // Whether the whole call is lost, a piece of it does not tell: what cannot be read in it is silence.
        self.opened |= self.sources.len() < all;
        for source in &mut self.sources {
            source.skip_to(from(source));
        }
        sample / per_second * per_second
    }

    /// The next second, or less at the end: channels interleaved. None when all has been returned.
    pub fn next(
        &mut self,
        files: &dyn Files,
        decoders: &dyn Decoders,
    ) -> Result<Option<Vec<i16>>, AssembleError> {
        if self.cursor >= self.end {
            return Ok(None);
        }
        let until = (self.cursor + TICKS_PER_SECOND).min(self.end);
        self.read(until, files);
        if let Some(Note::Unreadable { path, why }) = self.notes.first().filter(|_| self.is_lost()) {
            return Err(AssembleError::NothingReadable(format!("{path}: {why}")));
        }
        self.decode(until, decoders);
        let out = self.mix(until);
        self.cursor = until;
        Ok(Some(out))
    }

    fn is_lost(&self) -> bool {
        !self.opened && self.sources.is_empty() && self.sidecars.is_empty()
    }

    fn read(&mut self, until: i64, files: &dyn Files) {
        let mut notes = Vec::new();
        let (lanes, segments, cursor, from) = (&mut self.lanes, &self.segments, self.cursor, self.from);
        let (layout, twins) = (self.options.layout, &self.twins);
        let mut take = |notes: &mut Vec<Note>, index: usize, twin: Option<&Twin>, found: Found| {
            let Some(segment) = segments.get(index) else { return };
            if matches!(layout, Layout::One(only) if only != found.stream) {
                return;
            }
            let coding = match found.coding {
                Ok(coding) => coding,
                Err(codec) => {
                    let why = format!("{codec} is not known here");
                    return note(notes, Note::NotDecoded { stream: found.stream, codec, why });
                }
            };
            let clock = segment.clocks.get(&found.stream);
            let lane = lanes.entry((index, found.stream)).or_insert_with(|| {
                let wall = to_f64(cursor - segment.start);
                Lane::starting_at(to_i64(clock.map_or(wall, |c| c.position(wall))), segment.foreign)
            });
            let taken = match twin {
                None => lane.put(found.tick, coding, found.payload),
                Some(twin) => twin.fill(lane, found.stream, found.tick, coding, found.payload),
            };
            match taken {
                Taken::Waits => {}
                // What a second copy has may have been heard long ago.
                Taken::Passed if twin.is_some() => {}
                Taken::Passed if segment.start.saturating_add(found.tick) < from + MARGIN_TICKS => {}
                Taken::Passed | Taken::TooMuch => note(notes, Note::TooLate { stream: found.stream }),
            }
        };
        for source in &mut self.sources {
            let index = source.part.segment;
            let Some(segment) = segments.get(index) else { continue };
            let mut found = Vec::new();
            let twin = source.twin.and_then(|n| twins.get(n));
            source.read(segment.read_until(until), files, &mut found, |f| take(&mut notes, index, twin, f));
            notes.append(&mut found);
        }
        for sidecar in &mut self.sidecars {
            let index = sidecar.segment;
            let Some(segment) = segments.get(index).filter(|s| s.start < until + WINDOW_TICKS) else {
                continue;
            };
            let mut found = Vec::new();
            let read_until = segment.read_until(until);
            let twin = sidecar.twin.and_then(|n| twins.get(n));
            let record = twin.map_or(&segment.record, |twin| &twin.record);
            sidecar.read(read_until, record, files, &mut found, |f| take(&mut notes, index, twin, f));
            notes.append(&mut found);
            self.opened |= sidecar.has_opened();
        }
        self.opened |= self.sources.iter().any(|s| s.opened);
        self.sources.retain(|s| !s.is_done());
        self.sidecars.retain(|s| !s.is_done());
        notes.into_iter().for_each(|n| note(&mut self.notes, n));
    }

    /// Decodes what is heard before `until`.
    fn decode(&mut self, until: i64, decoders: &dyn Decoders) {
        let known = Known { decoders, missing: &self.missing };
        let mut missing = Vec::new();
        for ((index, stream), lane) in &mut self.lanes {
            let Some(segment) = self.segments.get(*index) else { continue };
            let wall = to_f64(until - segment.start);
            let position = to_i64(segment.clocks.get(stream).map_or(wall, |c| c.position(wall)));
            let mut silent = Vec::new();
            lane.prepare(position, &known, &mut silent);
            for Silent { codec, why } in silent {
                if matches!(why, DecodersError::Missing(_)) {
                    missing.push(codec);
                }
                let (codec, why) = (codec.name().to_owned(), why.to_string());
                note(&mut self.notes, Note::NotDecoded { stream: *stream, codec, why });
            }
        }
        self.missing.extend(missing);
    }

    /// Mixes the lanes up to `until` into channels.
    fn mix(&mut self, until: i64) -> Vec<i16> {
        let rate = self.options.rate.hz();
        let per_tick = i64::from(rate) / TICKS_PER_SECOND;
        let frames = usize::try_from((until - self.cursor) * per_tick).unwrap_or(0);
        let mut mixer = Mixer::new(frames);
        for ((index, stream), lane) in &mut self.lanes {
            let Some(segment) = self.segments.get(*index) else { continue };
            let identity = Clock::default();
            let clock = segment.clocks.get(stream).unwrap_or(&identity);
            let begin = to_f64(self.cursor - segment.start);
            let cells = lane.runs.iter().map(|r| r.rate).collect::<BTreeSet<_>>();
            for of in cells {
                let step = f64::from(of) / f64::from(rate);
                self.resamplers.entry(of).or_insert_with(|| Resampler::new(step));
            }
            if !lane.runs.is_empty() {
                let side = segment.record.streams.iter().find(|s| s.id == *stream).map(|s| s.side);
                mixer.add(Place::from(side.unwrap_or_default()), segment.line, *index, |heard| {
                    render(lane, clock, begin, f64::from(rate), frames, &self.resamplers, heard);
                });
            }
            let end = to_i64(clock.position(to_f64(until - segment.start)));
            lane.forget(end);
        }
        if self.options.layout == Layout::Stereo { mixer.stereo() } else { mixer.mono() }
    }
}

/// Adds a lane, piece by piece of its clock. `begin` is the tick of the first output sample in its segment.
fn render(
    lane: &Lane,
    clock: &Clock,
    begin: f64,
    rate: f64,
    frames: usize,
    resamplers: &BTreeMap<u32, Resampler>,
    heard: &mut Heard<'_>,
) {
    let tick = f64::from(Rate::Narrow.hz()) / rate;
    let walls = Grid { origin: begin, step: tick };
    for (piece, from, until, limit) in clock.pieces() {
        let origin = piece.position + (begin - piece.wall) * piece.ratio;
        let grid = Grid { origin, step: tick * piece.ratio };
        let from = walls.index(from);
        let until = walls.index(until).min(grid.index(limit)).min(frames);
        if from >= until {
            continue;
        }
        for run in &lane.runs {
            if let Some(resampler) = resamplers.get(&run.rate) {
                run.render(grid, from, until, resampler, heard);
            }
        }
    }
}

/// Decoders that were missing once are not asked again for the same recording.
struct Known<'a> {
    decoders: &'a dyn Decoders,
    missing: &'a BTreeSet<Foreign>,
}

impl Decoders for Known<'_> {
    fn can(&self, codec: Foreign) -> Result<(), DecodersError> {
        self.decoders.can(codec)
    }

    fn decode(&self, codec: Foreign, file: &[u8]) -> Result<Vec<i16>, DecodersError> {
        if self.missing.contains(&codec) {
            self.decoders.can(codec)?;
        }
        self.decoders.decode(codec, file)
    }
}

#[allow(clippy::cast_precision_loss, reason = "ticks of a month are below 2^53")]
const fn to_f64(ticks: i64) -> f64 {
    ticks as f64
}

#[allow(clippy::cast_possible_truncation, reason = "saturating")]
const fn to_i64(ticks: f64) -> i64 {
    ticks as i64
}

#[cfg(test)]
mod tests;
