//! A part that is being read: opened when its time comes, read as far as the window reaches.

use std::io::{self, BufReader};

use media::listen::{Foreign, InProcess};
use model::segment::PartMark;
use model::{Codec, StreamId};

use super::Note;
use super::lane::Coding;
use crate::codec::{TICK_US, TrackCodec};
use crate::mka::{Block, Reader};
use crate::op::{Files, ReadSeek};
use crate::timeline::PlacedPart;

/// 64 KiB: four seconds of two G.711 streams at once.
const READ_OCTETS: usize = 64 << 10;

type PartReader = Reader<BufReader<Box<dyn ReadSeek>>>;

enum State {
    Closed,
    Open { reader: Box<PartReader>, ahead: Option<Block> },
    Done,
}

/// A part and how far it has been read.
pub(super) struct Source {
    pub(super) part: PlacedPart,
    /// Of which second copy it is, if it is of one.
    pub(super) twin: Option<usize>,
    /// Whether its head could be read.
    pub(super) opened: bool,
    /// What begins before this tick of the segment is not wanted.
    from: i64,
    state: State,
}

/// A payload that was received, and where it lies in its segment.
pub(super) struct Found {
    pub(super) tick: i64,
    pub(super) stream: StreamId,
    /// How it is decoded, or the name of what nobody decodes.
    pub(super) coding: Result<Coding, String>,
    pub(super) payload: Vec<u8>,
}

impl Source {
    pub(super) fn new(part: PlacedPart) -> Self {
        Self { part, twin: None, opened: false, from: i64::MIN, state: State::Closed }
    }

    /// The same, of a second copy.
    pub(super) fn of_twin(part: PlacedPart, twin: usize) -> Self {
        Self { twin: Some(twin), ..Self::new(part) }
    }

    /// What begins before a tick of the segment is not wanted: it need not be read.
    pub(super) fn skip_to(&mut self, from: i64) {
        self.from = from;
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Reads on to the tick `until` of the segment, handing each received payload to `each`. What cannot be read
    /// ends the part with a note: the rest of the call is worth hearing.
    pub(super) fn read(
        &mut self,
        until: i64,
        files: &dyn Files,
        notes: &mut Vec<Note>,
        mut each: impl FnMut(Found),
    ) {
        if matches!(self.state, State::Closed) && self.part.begin < until {
            match self.open(files) {
                Ok(reader) => {
                    self.opened = reader.has_head();
                    self.state = State::Open { reader: Box::new(reader), ahead: None };
                }
                Err(e) => self.give_up(notes, e.to_string()),
            }
        }
        loop {
            let State::Open { reader, ahead } = &mut self.state else { return };
            let block = match ahead.take() {
                Some(block) => block,
                None => match reader.next_block() {
                    Ok(Some(block)) => block,
                    Ok(None) => {
                        let problem = reader.damage().map(|d| d.to_string());
                        self.state = State::Done;
                        if let Some(problem) = problem {
                            notes.push(Note::Unreadable { path: self.part.path.clone(), why: problem });
                        }
                        return;
                    }
                    Err(e) => return self.give_up(notes, e.to_string()),
                },
            };
            let tick = self.part.begin.saturating_add(block.position);
            // Beyond what the record says of the part: of a live one, or damaged; it must not stop the rest. What
            // fills a gap is no media: a gap is true silence.
            if tick >= self.part.end || block.discardable {
                continue;
            }
            if tick >= until {
                *ahead = Some(block);
                return;
            }
            if let Some(track) = reader.head().track(block.track) {
                let coding = track.codec.map(coding_of_track).ok_or_else(|| track.codec_id.clone());
                each(Found { tick, stream: track.stream, coding, payload: block.payload });
            }
        }
    }

    /// Opens the part, at the last mark before which nothing is wanted.
    fn open(&self, files: &dyn Files) -> io::Result<PartReader> {
        let open = || {
            let file = files.open(&self.part.path)?;
            Reader::new(BufReader::with_capacity(READ_OCTETS, file))
        };
        let from = self.from.saturating_sub(self.part.begin);
        let before = |mark: &&PartMark| mark.reached_us.div_euclid(TICK_US) < from;
        let mut reader = open()?;
        let Some(mark) = self.part.marks.iter().take_while(before).last().filter(|_| reader.has_head())
        else {
            return Ok(reader);
        };
        // Marks are of the file that was sealed. One where no cluster begins costs time and nothing else.
        if files.len(&self.part.path)? != self.part.bytes {
            return Ok(reader);
        }
        if reader.go_to(mark.at)? { Ok(reader) } else { open() }
    }

    fn give_up(&mut self, notes: &mut Vec<Note>, why: String) {
        self.state = State::Done;
        notes.push(Note::Unreadable { path: self.part.path.clone(), why });
    }
}

/// How a codec of SDP is decoded, if it can be.
pub(super) fn coding_of(codec: &Codec) -> Option<Coding> {
    InProcess::of(codec).map(Coding::Here).or_else(|| Foreign::of(codec).map(Coding::There))
}

const fn coding_of_track(codec: TrackCodec) -> Coding {
    match codec {
        TrackCodec::Ulaw => Coding::Here(InProcess::Ulaw),
        TrackCodec::Alaw => Coding::Here(InProcess::Alaw),
        TrackCodec::G722 => Coding::Here(InProcess::G722),
        TrackCodec::Opus { .. } => Coding::Here(InProcess::Opus),
        TrackCodec::G729 => Coding::There(Foreign::G729),
    }
}
