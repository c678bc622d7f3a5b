//! A part that is being read: opened when its time comes, read as far as the window reaches.

use std::io::BufReader;

use model::StreamId;

use super::Note;
use crate::mka::{Block, Reader};
use crate::op::{Files, ReadSeek};
use crate::timeline::PlacedPart;

type PartReader = Reader<BufReader<Box<dyn ReadSeek>>>;

enum State {
    Closed,
    Open { reader: Box<PartReader>, ahead: Option<Block> },
    Done,
}

/// A part and how far it has been read.
pub(super) struct Source {
    pub(super) part: PlacedPart,
    /// Whether its head could be read.
    pub(super) opened: bool,
    state: State,
}

impl Source {
    pub(super) fn new(part: PlacedPart) -> Self {
        Self { part, opened: false, state: State::Closed }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Reads on to the tick `until` of the recording, handing each block with its tick, stream and codec to
    /// `each`. What cannot be read ends the part with a note: the rest of the call is worth hearing.
    pub(super) fn read(
        &mut self,
        until: i64,
        files: &dyn Files,
        notes: &mut Vec<Note>,
        mut each: impl FnMut(i64, StreamId, &crate::mka::Track, &Block),
    ) {
        if matches!(self.state, State::Closed) && self.part.begin < until {
            match files.open(&self.part.path).and_then(|f| Reader::new(BufReader::new(f))) {
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
            // Beyond what the record says of the part: of a live one, or damaged; it must not stop the rest.
            if tick >= self.part.end {
                continue;
            }
            if tick >= until {
                *ahead = Some(block);
                return;
            }
            if let Some(track) = reader.head().track(block.track) {
                each(tick, track.stream, track, &block);
            }
        }
    }

    fn give_up(&mut self, notes: &mut Vec<Note>, why: String) {
        self.state = State::Done;
        notes.push(Note::Unreadable { path: self.part.path.clone(), why });
    }
}
