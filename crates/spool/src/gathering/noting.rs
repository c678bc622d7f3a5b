//! The stages that write to logs: that a call is gathered here, and what the log of a node says that is to give up its
//! copies.

use std::collections::BTreeSet;

use model::{
    Answer, CallId, Declined, Holding, LogMark, NodeNumber, Place, Rank, RecordingState, Request, SegmentId,
    WallTime,
};

use super::job::{Came, Need, Trouble};
use super::{Got, LOG_MAX, Local, RANGE_MAX, logs};
use crate::layout::{self, LOG_NAME};
use crate::log;
use crate::op::FileOp;

/// A state of the call's own copy here: the one before, the one after, and why.
pub(super) type Passed = (Option<RecordingState>, RecordingState, &'static str);

/// What is noted in a directory's log here: the copies that were brought, and what the call came to.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) node: NodeNumber,
    pub(super) place: Place,
    /// Its copies, each with where it was brought from in this job.
    pub(super) copies: Vec<(Holding, Option<NodeNumber>)>,
    /// In the directory of the call itself: its total, and its states.
    pub(super) call: Option<(CallId, u16, Vec<Passed>)>,
    pub(super) at: NoteAt,
}

#[derive(Debug, Default)]
pub(super) enum NoteAt {
    #[default]
    MakeDir,
    Read,
    Append(Vec<u8>),
    Over,
}

impl Note {
    fn log(&self) -> String {
        layout::log_path(&logs::directory(&self.place))
    }

    pub(super) fn need(&self) -> Need {
        let here = |local| Need::Local(self.place.volume.clone(), local);
        match &self.at {
            NoteAt::MakeDir => here(Local::File(FileOp::MakeDir { path: logs::directory(&self.place) })),
            NoteAt::Read => here(read_log(self.log())),
            NoteAt::Append(bytes) => {
                here(Local::File(FileOp::AppendLine { path: self.log(), bytes: bytes.clone() }))
            }
            NoteAt::Over => Need::Over,
        }
    }

    pub(super) fn take(&mut self, now: WallTime, came: &Came) -> Result<(), Trouble> {
        self.at = match (&self.at, came) {
            (NoteAt::MakeDir, _) => NoteAt::Read,
            (NoteAt::Read, Came::Local(Got::Octets { octets, is_end: true })) => {
                let (lines, _) = log::read(octets);
                let mut bytes = logs::of_copies(now, self.node, &lines, &self.copies);
                if let Some((call, total, states)) = &self.call {
                    bytes.extend(logs::of_call(now, self.node, &lines, *call, *total, states));
                }
                if bytes.is_empty() { NoteAt::Over } else { NoteAt::Append(bytes) }
            }
            (NoteAt::Read, _) => return Err(too_long(&self.log())),
            (NoteAt::Append(_) | NoteAt::Over, _) => NoteAt::Over,
        };
        Ok(())
    }
}

/// A directory of another node whose copies are to be given up.
#[derive(Debug)]
pub(super) struct Leave {
    pub(super) at: NodeNumber,
    pub(super) source: Place,
    /// The same call's directories here, where what its log says is to stand: the last of them next.
    pub(super) here: Vec<Place>,
    /// The segments whose copies from there lie here in the directory of second copies.
    pub(super) twins: BTreeSet<SegmentId>,
    pub(super) copies: Vec<(SegmentId, String)>,
    /// What the call came to.
    pub(super) state: RecordingState,
    pub(super) phase: Phase,
    /// The log there.
    pub(super) log: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) enum Phase {
    #[default]
    ReadThere,
    ReadHere,
    Append(Vec<u8>),
    Sync,
    Ask,
    Over,
}

impl Leave {
    /// The log here that is looked at.
    fn log_here(&self) -> Option<(&Place, String)> {
        let place = self.here.last()?;
        Some((place, layout::log_path(&logs::directory(place))))
    }

    fn mark(&self) -> LogMark {
        logs::mark(&self.log)
    }

    pub(super) fn need(&self) -> Need {
        let here = |local: &dyn Fn(String) -> Local| {
            self.log_here().map_or(Need::Over, |(place, path)| Need::Local(place.volume.clone(), local(path)))
        };
        let place = || self.source.clone();
        match &self.phase {
            Phase::ReadThere => {
                let (file, offset) = (LOG_NAME.to_owned(), self.log.len() as u64);
                Need::Ask(self.at, Request::Read { place: place(), file, offset, length: RANGE_MAX })
            }
            Phase::ReadHere => here(&read_log),
            Phase::Append(bytes) => {
                here(&|path| Local::File(FileOp::AppendLine { path, bytes: bytes.clone() }))
            }
            Phase::Sync => here(&|_| Local::Sync),
            Phase::Ask => {
                let (copies, log, state) = (self.copies.clone(), self.mark(), self.state);
                Need::Ask(self.at, Request::Delete { place: place(), copies, log, state })
            }
            Phase::Over => Need::Over,
        }
    }

    pub(super) fn take(&mut self, came: &Came) -> Result<(), Trouble> {
        self.phase = match (&self.phase, came) {
            (Phase::ReadThere, Came::Answer(Answer::Octets { octets, is_end })) => {
                self.log.extend_from_slice(octets);
                if self.log.len() as u64 > u64::from(LOG_MAX) {
                    return Err(Trouble::Refuses(self.at, "its log of the call is too long".to_owned()));
                }
                if !is_end && octets.is_empty() {
                    return Err(Trouble::odd(self.at));
                }
                if *is_end { Phase::ReadHere } else { Phase::ReadThere }
            }
            (Phase::ReadHere, Came::Local(Got::Octets { octets, is_end: true })) => {
                let rank = self.log_here().map_or(Rank::First, |(place, _)| place.rank);
                let (known, there) = (log::read(octets).0, log::read(&self.log).0);
                let more = logs::lacking(&known, &there, rank, &self.twins);
                // What an earlier try added may not be durable yet.
                if more.is_empty() { Phase::Sync } else { Phase::Append(more) }
            }
            (Phase::ReadHere, _) => {
                return Err(too_long(&self.log_here().map_or_else(String::new, |(_, path)| path)));
            }
            (Phase::Append(_), _) => Phase::Sync,
            (Phase::Sync, _) => {
                self.here.pop();
                if self.here.is_empty() { Phase::Ask } else { Phase::ReadHere }
            }
            (Phase::Ask, Came::Answer(Answer::Deleted)) => Phase::Over,
            (_, Came::Answer(Answer::Declined(why))) => return Err(self.declined(why)),
            _ => return Err(Trouble::odd(self.at)),
        };
        Ok(())
    }

    fn declined(&self, why: &Declined) -> Trouble {
        let node = self.at.get();
        match why {
            Declined::Kept => Trouble::Keeps(self.at),
            Declined::Differs => {
                Trouble::Refuses(self.at, "its copy of a segment is another than the one here".to_owned())
            }
            Declined::Impossible(why) => Trouble::Refuses(self.at, why.clone()),
            Declined::Disk(why) => Trouble::Passing(format!("node {node} says of its disk: {why}")),
            Declined::Busy | Declined::Unknown | Declined::Live | Declined::LogGrew => {
                Trouble::Passing(format!("node {node} does not give up its copies yet ({why:?})"))
            }
        }
    }
}

/// Reads a log whole; one that is longer than any is seen to be.
pub(super) fn read_log(path: String) -> Local {
    Local::Read { path, offset: 0, length: LOG_MAX }
}

fn too_long(path: &str) -> Trouble {
    Trouble::Passing(format!("{path} is longer than 4 MiB"))
}
