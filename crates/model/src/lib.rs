//! The nouns of callspool: what every other crate talks about.
//!
//! Nothing here knows SIP, RTP, files, databases or HTTP, and nothing here performs I/O, reads a clock or
//! draws randomness: time is an argument ([`Now`]), identity comes from [`IdGenerator`], which is given the
//! time. The heart of the crate is [`RecordingState`] with the one transition table of the project
//! ([`state::TRANSITIONS`]), and the rules by which totals ([`total`]), the state of a call
//! ([`copy::call_state`]) and the numbers of segments of calls that are one ([`join`]) are derived.

pub mod alarm;
pub mod beat;
pub mod call;
pub mod copy;
pub mod custody;
pub mod event;
pub mod holding;
pub mod id;
pub mod join;
pub mod name;
pub mod note;
pub mod pause;
pub mod peer;
pub mod protection;
pub mod route;
pub mod segment;
pub mod sides;
pub mod sighting;
pub mod state;
pub mod stream;
pub mod time;
pub mod total;

pub use alarm::{Alarm, AlarmKind, Condition, Incident, Occurrence, Severity, Subject};
pub use beat::{Beat, Hello, Resource, Share, Standing, Thresholds};
pub use call::{CallData, CallRecord, Direction, Metadata, Party, PartyRole};
pub use copy::{CallState, Copy, CopyOf, Location};
pub use event::{Change, ChangeKind};
pub use holding::{
    Answer, CallHoldings, Care, Declined, HeldDirectory, HeldFile, Holding, LogMark, Place, Rank, Request,
};
pub use id::{CallId, EventId, IdGenerator, IdParseError, NodeNumber, SegmentId, StreamId, TenantId};
pub use join::{CallKey, Join, JoinReason};
pub use name::{NotAPeerName, NotAVolumeName, PeerName, VolumeName};
pub use note::{Note, NoteKey, NoteParseError, NoteValue, Tag};
pub use pause::{OpenPause, Pause, PauseSource};
pub use peer::{Conclusion, OpenSegment, OpenStream, Order, Report, StreamPorts, TakeOver};
pub use protection::{Keys, MasterKey, Protection, Secret, Suite};
pub use route::{Mark, Route};
pub use segment::{EndReason, Failure, PartRecord, SegmentRecord, StartTrigger};
pub use sides::{Correction, Sides};
pub use sighting::{Sighting, Sign};
pub use state::{Impossible, Outcome, RecordingState, Transition};
pub use stream::{Accounting, Anchor, Codec, Dtmf, Gap, GapReason, MediaKind, Side, StreamRecord};
pub use time::{Mono, Now, WallTime};
