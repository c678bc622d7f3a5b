//! The recording that a person hears: all segments of a call on one time line, as PCM, a second at a time.
//!
//! ```text
//!  parts ──► Source (blocks) ──► Lane per segment and stream ──► side: agent, external, both ──► channels
//! ```
//!
//! - Pauses between segments, and gaps within them, are true silence: every second is where it was.
//! - Agent left, external right; what is of both or of nobody known goes to both.
//! - Streams of one side of one segment are mixed. Where two segments overlap in time (a server that failed
//!   and the one that took over), the one that began later speaks for its side wherever it received media.
//! - G.711 is decoded; other codecs are silence and a [`Note`]. So is what cannot be read.
//!
//! It holds a window of some seconds, never the call.

mod lane;
mod source;

use std::collections::BTreeMap;

use media::g711;
use model::{SegmentRecord, Side, StreamId};

use crate::codec::{TICKS_PER_SECOND, TrackCodec};
use crate::mka::{Block, Track};
use crate::op::Files;
use crate::timeline::Timeline;
use crate::wav::SAMPLES_MAX_BYTES;
use lane::{Lane, Source as From};
use source::Source;

/// 30 s: how much later than in its place a block may stand in its file. Late packets are some hundred
/// milliseconds late; a source that RFC 3550 still takes for the same one, at most 3,000 packets.
const WINDOW_TICKS: i64 = 30 * TICKS_PER_SECOND;
/// 100 notes: enough to see what is wrong; the rest is counted.
const NOTES_MAX: usize = 100;

/// Who is heard where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// Agent left, external right.
    Stereo,
    /// All in one channel.
    Mono,
    /// One stream alone, in one channel.
    One(StreamId),
}

/// Samples a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rate {
    /// 8,000: as G.711 came.
    Narrow,
    /// 16,000: interpolated.
    Wide,
}

/// How to assemble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Samples a second.
    pub rate: Rate,
    /// Who is heard where.
    pub layout: Layout,
}

/// Something that is not heard although it is there, or should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// A file, or what follows damage in it, is missing.
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// A stream is in a codec that is not decoded here.
    NotDecoded {
        /// The stream.
        stream: StreamId,
        /// Its codec id.
        codec: String,
    },
    /// Media that stand more than 30 s behind their place in their file.
    TooLate {
        /// The stream.
        stream: StreamId,
    },
}

/// Why a call cannot be assembled.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// It would not fit a WAV file of 4 GiB.
    #[error(
        "the recording would be {0} seconds long, more than a WAV file holds; export its segments one by one"
    )]
    TooLong(u64),
    /// Not one of the files can be read: silence would be a lie.
    #[error("none of the recording's files can be read; the first one: {0}")]
    NothingReadable(String),
}

/// Assembles a call.
pub struct Assembler {
    options: Options,
    sources: Vec<Source>,
    sides: BTreeMap<(usize, StreamId), Side>,
    lanes: BTreeMap<(usize, StreamId), Lane>,
    cursor: i64,
    /// Where it was asked to begin.
    from: i64,
    end: i64,
    opened: bool,
    notes: Vec<Note>,
    /// The last sample of each channel, to interpolate from.
    last: [i16; 2],
}

impl Assembler {
    /// An assembler of segments, each with its directory, in any order.
    pub fn new(mut segments: Vec<(SegmentRecord, String)>, options: Options) -> Result<Self, AssembleError> {
        segments.sort_by_key(|(s, _)| (s.started, s.number, s.id));
        let timeline = Timeline::new(&segments);
        let sides = segments.iter().enumerate().flat_map(|(i, (segment, _))| {
            segment.streams.iter().map(move |stream| ((i, stream.id), stream.side))
        });
        let assembler = Self {
            options,
            sides: sides.collect(),
            sources: timeline.parts.into_iter().map(Source::new).collect(),
            lanes: BTreeMap::new(),
            cursor: 0,
            from: 0,
            opened: false,
            end: timeline.end,
            notes: Vec::new(),
            last: [0; 2],
        };
        let bytes = assembler.total_samples().saturating_mul(2 * u64::from(assembler.channels()));
        if bytes > SAMPLES_MAX_BYTES {
            let seconds = assembler.end.unsigned_abs() / TICKS_PER_SECOND.unsigned_abs();
            return Err(AssembleError::TooLong(seconds));
        }
        Ok(assembler)
    }

    /// Channels of the output.
    #[must_use]
    pub const fn channels(&self) -> u16 {
        match self.options.layout {
            Layout::Stereo => 2,
            Layout::Mono | Layout::One(_) => 1,
        }
    }

    /// Samples a second of the output.
    #[must_use]
    pub const fn sample_rate(&self) -> u32 {
        match self.options.rate {
            Rate::Narrow => 8_000,
            Rate::Wide => 16_000,
        }
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
    /// is returned; parts that ended before it are not opened.
    pub fn seek(&mut self, sample: u64) -> u64 {
        let per_second = u64::from(self.sample_rate());
        let second = i64::try_from(sample / per_second).unwrap_or(i64::MAX);
        self.cursor = second.saturating_mul(TICKS_PER_SECOND).min(self.end);
        self.from = self.cursor;
        let cursor = self.cursor;
        // A block may be later in its file than in time, never in another file than its own.
        self.sources.retain(|s| s.part.end > cursor);
        sample / per_second * per_second
    }

    /// The next second, or less at the end: channels interleaved. None when all has been returned.
    pub fn next(&mut self, files: &dyn Files) -> Result<Option<Vec<i16>>, AssembleError> {
        if self.cursor >= self.end {
            return Ok(None);
        }
        let until = (self.cursor + TICKS_PER_SECOND).min(self.end);
        self.read(until + WINDOW_TICKS, files);
        if let Some(Note::Unreadable { path, why }) = self.notes.first().filter(|_| self.is_lost()) {
            return Err(AssembleError::NothingReadable(format!("{path}: {why}")));
        }
        let frames = usize::try_from(until - self.cursor).unwrap_or(0);
        let out = self.mix(until, frames);
        self.cursor = until;
        Ok(Some(match self.options.rate {
            Rate::Narrow => out,
            Rate::Wide => self.widen(&out),
        }))
    }

    fn is_lost(&self) -> bool {
        !self.opened && self.sources.is_empty()
    }

    fn read(&mut self, until: i64, files: &dyn Files) {
        let (lanes, cursor, end, layout) = (&mut self.lanes, self.cursor, self.end, self.options.layout);
        let from = self.from;
        let mut notes = Vec::new();
        let mut said = Vec::new();
        for source in &mut self.sources {
            let segment = source.part.segment;
            source.read(until, files, &mut notes, |tick, stream, track, block| {
                if matches!(layout, Layout::One(only) if only != stream) {
                    return;
                }
                let lane = lanes.entry((segment, stream)).or_insert_with(|| Lane::starting_at(cursor));
                match lay(lane, tick, track, block, end) {
                    Laid::Whole => {}
                    Laid::Late if tick >= from => said.push(Note::TooLate { stream }),
                    Laid::Late => {}
                    Laid::NotDecoded => {
                        said.push(Note::NotDecoded { stream, codec: track.codec_id.clone() });
                    }
                }
            });
        }
        self.opened |= self.sources.iter().any(|s| s.opened);
        self.sources.retain(|s| !s.is_done());
        for note in notes.into_iter().chain(said) {
            if self.notes.len() < NOTES_MAX && !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// Mixes the lanes up to `until` into channels.
    fn mix(&mut self, until: i64, frames: usize) -> Vec<i16> {
        let channels = usize::from(self.channels());
        let mut sums = vec![[Voice::default(); 3]; frames];
        for ((segment, stream), lane) in &mut self.lanes {
            let side = self.sides.get(&(*segment, *stream)).copied().unwrap_or_default();
            let group = match side {
                Side::Agent => 0,
                Side::External => 1,
                Side::Mixed | Side::Unknown => 2,
            };
            lane.take(until, |i, sample, from| {
                if let Some(voices) = sums.get_mut(i).filter(|_| from == From::Media) {
                    voices[group].add(*segment, sample);
                }
            });
        }
        self.lanes.retain(|_, lane| !lane.is_empty());
        let mut out = Vec::with_capacity(frames * channels);
        for [agent, external, both] in sums {
            if channels == 2 {
                out.extend([clip(agent.sum + both.sum), clip(external.sum + both.sum)]);
            } else {
                out.push(clip(agent.sum + external.sum + both.sum));
            }
        }
        out
    }

    /// Twice the rate, by the mean of neighbors.
    fn widen(&mut self, narrow: &[i16]) -> Vec<i16> {
        let channels = usize::from(self.channels());
        let mut out = Vec::with_capacity(narrow.len() * 2);
        for frame in narrow.chunks_exact(channels) {
            for (last, sample) in self.last.iter().zip(frame) {
                out.push(clip((i32::from(*last) + i32::from(*sample)) / 2));
            }
            out.extend_from_slice(frame);
            self.last[..channels].copy_from_slice(frame);
        }
        out
    }
}

/// The voices of one side at one instant.
#[derive(Clone, Copy, Default)]
struct Voice {
    segment: usize,
    sum: i32,
}

impl Voice {
    /// Streams of one segment mix; a later segment speaks instead of an earlier one. Lanes come in the order
    /// of their segments.
    fn add(&mut self, segment: usize, sample: i16) {
        if segment != self.segment {
            *self = Self { segment, sum: 0 };
        }
        self.sum += i32::from(sample);
    }
}

enum Laid {
    Whole,
    Late,
    NotDecoded,
}

fn lay(lane: &mut Lane, tick: i64, track: &Track, block: &Block, end: i64) -> Laid {
    let from = if block.discardable { From::Fill } else { From::Media };
    let payload = block.payload.iter();
    let late = match track.codec {
        Some(TrackCodec::Ulaw) => lane.put(tick, payload.map(|o| g711::decode_ulaw(*o)), from, end),
        Some(TrackCodec::Alaw) => lane.put(tick, payload.map(|o| g711::decode_alaw(*o)), from, end),
        _ => return Laid::NotDecoded,
    };
    if late > 0 { Laid::Late } else { Laid::Whole }
}

fn clip(sample: i32) -> i16 {
    i16::try_from(sample).unwrap_or(if sample < 0 { i16::MIN } else { i16::MAX })
}

#[cfg(test)]
mod tests;
