//! What is being done about a call: stages, one after the other, each of which needs one thing at a time.
//!
//! A job that fails is forgotten. The next one is made from what is known then, and passes quickly over what lies there.

use std::collections::VecDeque;

use model::{Answer, LogMark, Mono, NodeNumber, Place, RecordingState, Request, VolumeName, WallTime};

use super::fetch::Fetch;
use super::known::Recording;
use super::noting::{Leave, Note};
use super::{Got, Local};

/// What a stage needs next.
#[derive(Debug)]
pub(super) enum Need {
    /// Something on a volume here.
    Local(VolumeName, Local),
    /// Something of another node.
    Ask(NodeNumber, Request),
    /// Nothing more.
    Over,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Came {
    Local(Got),
    Answer(Answer),
}

/// Why a stage cannot go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// Something that may be over the next time.
    Passing(String),
    /// A copy at a node is not what was sealed.
    Spoiled(Recording, NodeNumber, String),
    /// The node keeps what it has, as it should.
    Keeps(NodeNumber),
    /// The node keeps what it has, and a person should know why.
    Refuses(NodeNumber, String),
}

impl Trouble {
    /// What came is not what was asked for.
    pub(super) fn odd(from: NodeNumber) -> Self {
        Self::Passing(format!("node {} answers what it was not asked", from.get()))
    }
}

/// What it is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Aim {
    /// The call is to be whole here.
    Gather {
        /// What it comes to.
        state: RecordingState,
        /// What is not known of it, where nobody said how it came out.
        told: Option<String>,
    },
    /// A node is to give up its copies.
    GiveUp {
        /// The node.
        at: NodeNumber,
        /// Of what.
        recordings: Vec<Recording>,
    },
}

/// One stage.
#[derive(Debug)]
pub(super) enum Stage {
    /// Bring a segment here.
    Fetch(Box<Fetch>),
    /// Read copies here through.
    Check(Check),
    /// Make durable what was done on these volumes.
    Sync(Vec<VolumeName>),
    /// Note in a log here that the call is gathered.
    Note(Box<Note>),
    /// Have a node give up its copies.
    Leave(Box<Leave>),
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) aim: Aim,
    pub(super) stages: VecDeque<Stage>,
    /// What is being waited for.
    pub(super) waits: Option<Waits>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waits {
    pub(super) ticket: u64,
    /// Who is to answer, and until when that is waited for. A disk of ours is waited for without end: it is watched by
    /// others, and what it holds up is this call alone.
    pub(super) by: Option<(NodeNumber, Mono)>,
    /// Octets that the throttle has counted for it.
    pub(super) octets: u64,
}

impl Job {
    /// Nodes that it speaks to.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeNumber> {
        self.stages.iter().filter_map(|stage| match stage {
            Stage::Fetch(fetch) => Some(fetch.from),
            Stage::Leave(leave) => Some(leave.at),
            Stage::Check(_) | Stage::Sync(_) | Stage::Note(_) => None,
        })
    }

    /// Where it brings something.
    pub(super) fn fetches(&self) -> impl Iterator<Item = &Place> {
        self.stages.iter().filter_map(|stage| match stage {
            Stage::Fetch(fetch) => Some(&fetch.to),
            _ => None,
        })
    }

    /// Whether a log may say already what the call came to.
    pub(super) fn may_have_noted(&self) -> bool {
        matches!(self.aim, Aim::Gather { .. }) && self.fetches().next().is_none()
    }

    /// Whether what comes next says that the call is gathered.
    pub(super) fn is_noting(&self) -> bool {
        matches!(self.stages.front(), Some(Stage::Note(_)))
    }

    /// What it needs next. A stage that is over is left behind: see [`Self::next_stage`].
    pub(super) fn need(&self) -> Need {
        match self.stages.front() {
            None => Need::Over,
            Some(Stage::Fetch(fetch)) => fetch.need(),
            Some(Stage::Check(check)) => check.need(),
            Some(Stage::Note(note)) => note.need(),
            Some(Stage::Leave(leave)) => leave.need(),
            Some(Stage::Sync(volumes)) => {
                volumes.last().map_or(Need::Over, |volume| Need::Local(volume.clone(), Local::Sync))
            }
        }
    }

    /// Leaves the stage that is over behind, and returns it.
    pub(super) fn next_stage(&mut self) -> Option<Stage> {
        self.stages.pop_front()
    }

    pub(super) fn take(&mut self, now: WallTime, came: Came) -> Result<(), Trouble> {
        match self.stages.front_mut() {
            None => Ok(()),
            Some(Stage::Fetch(fetch)) => fetch.take(came),
            Some(Stage::Check(check)) => check.take(&came),
            Some(Stage::Note(note)) => note.take(now, &came),
            Some(Stage::Leave(leave)) => leave.take(&came),
            Some(Stage::Sync(volumes)) => {
                volumes.pop();
                Ok(())
            }
        }
    }
}

/// Copies here to be read through, before others are given up for them.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) node: NodeNumber,
    /// What is left: of what, the volume, the path, and what the file came to when it was sealed.
    pub(super) files: Vec<(Recording, VolumeName, String, LogMark)>,
}

impl Check {
    fn need(&self) -> Need {
        match self.files.last() {
            Some((_, volume, path, _)) => Need::Local(volume.clone(), Local::Digest(path.clone())),
            None => Need::Over,
        }
    }

    fn take(&mut self, came: &Came) -> Result<(), Trouble> {
        let Some((recording, _, path, sealed)) = self.files.pop() else { return Ok(()) };
        match came {
            Came::Local(Got::Digest(d)) if d.bytes == sealed.octets && d.sha256 == sealed.sha256 => Ok(()),
            _ => Err(Trouble::Spoiled(recording, self.node, format!("{path} is not what was sealed"))),
        }
    }
}
