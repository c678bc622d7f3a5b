//! What the interface needs from the others: somebody who knows how to make sound of a call, and somebody who
//! takes orders to live ones and lets them be heard ([`LiveCalls`]), keeps notes of them ([`Notes`]), joins them ([`Joins`]),
//! brings their segments together ([`Gathering`]), and knows how the node stands ([`Node`]).
//!
//! The binary implements them, [`Audio`] over `spool`.

mod audio;
mod gathering;
mod joins;
mod listen;
mod live;
mod metrics;
mod node;
mod notes;
mod places;
mod sides;

pub use audio::{
    Audio, AudioError, AudioFormat, AudioLayout, AudioRequest, AudioStream, Peaks, PeaksRequest, Waiter,
    Waiting,
};
pub use gathering::{CallGathering, GatherAnswer, GatherError, Gathering, StandingAnswer};
pub use joins::{JoinAnswer, JoinError, JoinedCalls, Joins};
pub use listen::{ListenAnswer, ListenError, ListenRequest, LiveFormat, LiveHearing, LiveSound};
pub use live::{Changed, KeysRequest, LiveAnswer, LiveCalls, LiveError, LiveOrder, LiveRecording, LiveState};
pub use metrics::{Distribution, Family, FamilyKind, Metrics, Sample, count};
pub use node::{Lack, Node, Standing};
pub use notes::{CallNotes, NoteError, NotedBy, Notes};
pub use places::{CallPlaces, MissingSegment, SegmentPlace};
pub use sides::{CallSides, StreamSide};
