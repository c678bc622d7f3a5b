//! Bringing the segments of a call together on one node, and giving up the other copies.
//!
//! ```text
//!        leader                                      holder
//!          │  List ───────────────────────────────►    │   what is there of this call?
//!          │  ◄─────────────────────────────── Held    │
//!          │  Read ×n ────────────────────────────►    │   manifest, parts, sidecar: at most 1 MiB each
//!   001.json.partial …                                 │
//!   digests against the sealed manifest                │
//!   sync · names · sync · log: gathered · sync         │   the copy here is *pinned* from now on
//!          │  Read call.log ──────────────────────►    │
//!   log: what it lacks · sync                          │
//!          │  Delete {digests, how much of the log} ►  │   are they these, and does the log say no more?
//!          │                                    log: given up · sync
//!          │  ◄──────────────────────────── Deleted    │
//!          │                                    in its window: files, manifest, log, directory
//! ```
//!
//! [`Synchronizer`] is the machine of one node, and both of these at once: for some calls it gathers, of others it
//! keeps copies that another node asks for. It is told what nodes hold, and asks for steps; each step that is
//! answered has a ticket. Who leads is [a pure function](choice) of what is known. Nothing that it remembers matters: after
//! a crash it goes on by what lies on the disk, and what is asked for twice changes nothing.
//!
//! No copy is given up before another is durable, verified and pinned. A pinned one is given up only for one that is
//! pinned at a node of a lower number, so of two nodes that both gathered a call one stays, in whatever order they hear
//! of each other (`docs/decisions/0033-gathering.md` has the proof, `tests/giving_up.rs` tries every order).
//!
//! A call of which nobody says how it came out is concluded (`left`) by whoever leads.
//!
//! It never opens a file, never speaks to a peer, never changes what is sealed, and never decides between two copies of a
//! segment that differ: both stay, and it is told.

pub mod across;
pub mod choice;
mod fetch;
mod job;
mod keeper;
mod known;
mod left;
mod logs;
mod minding;
mod noting;
pub mod own;
mod plan;
mod purge;
mod recalls;
mod running;
mod standing;
mod synchronizer;
#[cfg(test)]
mod tests;
mod throttle;

use std::time::Duration;

use model::{
    Answer, CallHoldings, CallId, CallKey, Copy, NodeNumber, Occurrence, Request, SegmentId, VolumeName,
};

use crate::digest::Digest;
use crate::op::FileOp;

pub use standing::{Lack, Stage, Standing};
pub use synchronizer::Synchronizer;

/// A range of a file, at most: a frame of the link between nodes, and what one read of a disk is worth.
pub const RANGE_MAX: u32 = 1 << 20;
/// A call's log, at most: thousands of notes. Who has a longer one keeps its copies, and it is told.
pub const LOG_MAX: u32 = 4 << 20;
/// Calls in mind at once, at some kilobytes each. Beyond that the one that has waited longest is put off
/// ([`Synchronizer::has_put_off`]); what cannot be taken in is handed in later ([`Synchronizer::has_room`]).
pub const CALLS_MAX: usize = 10_000;

/// How a node gathers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Which node this is.
    pub node: NodeNumber,
    /// Where what is fetched goes when nothing of its call is here yet.
    pub volume: VolumeName,
    /// Whether segments are moved at all.
    pub mode: Mode,
    /// Octets that are asked for at once, at most [`RANGE_MAX`].
    pub range: u32,
    /// Octets that are asked for and not here yet, at most.
    pub octets_in_flight: u64,
    /// Octets that are fetched in a second, at most.
    pub octets_per_second: u64,
    /// Octets that must stay free here.
    pub reserve: u64,
    /// Other record servers that there are, whether they can be reached or not.
    pub others: usize,
    /// How long it must look as if nobody would say how a call came out.
    pub conclude_after: Duration,
}

/// Whether segments are brought together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// They are.
    Gather,
    /// They stay where they are, and keep their states: the call is played from all of these places.
    Virtual,
}

/// Whether what a window is for may be done now. Without windows they are open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    /// Gathering. What is asked for by name is gathered all the same.
    pub gather: bool,
    /// Removing what was given up.
    pub purge: bool,
}

/// What the machine is told.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// What this node holds of a call, by [its files and logs](own::holdings): when a call ends here, at a start, and as an
    /// answer to [`Step::Recall`]. It is read behind all local steps of the call that were said before.
    Own(CallHoldings),
    /// What this node holds of a call cannot be read. Nodes that wait for it are told.
    Unread {
        /// The call.
        call: CallId,
        /// Why.
        why: String,
    },
    /// What another node holds, as the catalog has it.
    Holdings(NodeNumber, CallHoldings),
    /// A node that may have recordings can be spoken to.
    Up(NodeNumber),
    /// It cannot any more. What was asked of it is asked again.
    Down(NodeNumber),
    /// Octets that may still be written here.
    Room(u64),
    /// Which windows are open.
    Windows(Windows),
    /// Somebody wants this call gathered now.
    Wanted(CallId),
    /// A node asks.
    Asked {
        /// Which.
        from: NodeNumber,
        /// What its answer is to be called.
        ticket: u64,
        /// What.
        request: Request,
    },
    /// A node answered.
    Answered {
        /// Which.
        from: NodeNumber,
        /// The ticket of the step that asked.
        ticket: u64,
        /// What.
        answer: Answer,
    },
    /// A local step is done, or failed, with why.
    Done {
        /// Its ticket.
        ticket: u64,
        /// What came of it.
        result: Result<Got, String>,
    },
}

/// What a local step brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Got {
    /// It is done.
    Done,
    /// The names in a directory, each with its length; none when there is no such directory.
    Names(Vec<(String, u64)>),
    /// Octets of a file; none when there is no such file.
    Octets {
        /// The octets.
        octets: Vec<u8>,
        /// Whether the file ends with them.
        is_end: bool,
    },
    /// What a file comes to.
    Digest(Digest),
}

/// Something to do on a volume of this node. What is to be done in one directory is done in the order in which it was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Local {
    /// List a directory.
    Look(String),
    /// Read octets of a file, at most so many.
    Read {
        /// The file.
        path: String,
        /// From where.
        offset: u64,
        /// How many.
        length: u32,
    },
    /// Read a file through for its digest, from the disk where that can be.
    Digest(String),
    /// Carry this out.
    File(FileOp),
    /// Make durable all that was done on the volume.
    Sync,
}

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Do something on a volume, and say what came of it by [`Input::Done`].
    Local {
        /// Names the answer.
        ticket: u64,
        /// On which volume.
        volume: VolumeName,
        /// What.
        local: Local,
    },
    /// Ask another node, and say what it answers by [`Input::Answered`].
    Ask {
        /// Which.
        to: NodeNumber,
        /// Names the answer.
        ticket: u64,
        /// What.
        request: Request,
    },
    /// Answer another node.
    Answer {
        /// Which.
        to: NodeNumber,
        /// Its ticket.
        ticket: u64,
        /// What.
        answer: Answer,
    },
    /// Hand in what this node holds of a call: somebody asks for one that is not in mind.
    Recall(CallKey),
    /// The catalog is to know these states of copies.
    Tell {
        /// The call.
        call: CallKey,
        /// Its copies, as they are now.
        copies: Vec<Copy>,
    },
    /// Copies that were given up are gone from here, with all that belonged to them.
    Purged {
        /// The call as which they were recorded.
        call: CallKey,
        /// The segments.
        segments: Vec<SegmentId>,
    },
    /// A person should know.
    Alarm(Occurrence),
}

/// What a node asked of another is lost after so long: a range of 1 MiB over 1 Mbit/s.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often nodes are asked again what they hold of a call that waits: the catalog tells of what is new; this is for what
/// nobody told.
const LIST_EVERY: Duration = Duration::from_secs(300);
/// How soon nodes are asked again what they hold while one of them says that a segment is live there: a crash is being
/// repaired, or the call goes on. Each further time it is twice as long.
const LIST_SOON: Duration = Duration::from_secs(5);
/// The first pause after a failure; each further one is twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest.
const RETRY_MAX: Duration = Duration::from_secs(600);
/// Failures in a row after which a person is told: two minutes of tries.
const FAILURES_TOLD: u32 = 7;

/// How long to wait after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    let doubled =
        RETRY_FIRST.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(RETRY_MAX)
}
