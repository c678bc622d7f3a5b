//! SIPREC metadata: who takes part in the communication session that is recorded (RFC 7865).
//!
//! ```text
//! <recording xmlns="urn:ietf:params:xml:ns:recording:1">
//!   <datamode>complete</datamode>
//!   <group group_id="…"/>
//!   <session session_id="…"><sipSessionID>…</sipSessionID><start-time>…</start-time></session>
//!   <participant participant_id="…"><nameID aor="sip:…"><name>…</name></nameID></participant>
//!   <stream stream_id="…" session_id="…"><label>96</label></stream>
//!   <participantsessionassoc participant_id="…" session_id="…"><associate-time>…</associate-time></…>
//!   <participantstreamassoc participant_id="…"><send>stream id</send><recv>…</recv></participantstreamassoc>
//! </recording>
//! ```
//!
//! [`read()`] takes what clients really send: any namespace or prefix, any order, the names of the drafts, values
//! as attributes or as elements, `send` inside `participant`, times with any zone or none, text that is not
//! escaped, documents that are cut short. What cannot be read is skipped and noted
//! ([`RecordingMetadata::is_damaged`]); the raw bytes are kept by whoever has them.
//!
//! One document is one [`RecordingMetadata`]; what all documents of a recording session say together is its
//! [`View`]. Which participant is the agent is not decided here.

mod key_values;
mod mend;
mod read;
mod request;
mod time;
mod tree;
mod values;
mod view;
mod write;

use model::WallTime;

pub use key_values::KeyValues;
pub use read::read;
pub use request::{SnapshotForm, request_snapshot};
pub use view::{Lack, View};
pub use write::write;

/// The namespace of RFC 7865.
pub const NAMESPACE: &str = "urn:ietf:params:xml:ns:recording:1";

/// Nothing of use was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Nothing that RFC 7865 knows.
    #[error("no recording metadata: neither session nor participant nor stream")]
    Empty,
    /// More than is read.
    #[error("metadata of {0} bytes, more than {max} are not read", max = read::DOCUMENT_BYTES_MAX)]
    TooLong(usize),
    /// It asks for metadata (RFC 7866 section 9.2) and has none.
    #[error("a request for metadata, without any")]
    Asks,
}

/// What a document says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordingMetadata {
    /// `complete`: it replaces what was known. Otherwise, or when it does not say, it adds to it.
    pub complete: bool,
    /// An explicit word on whether the recording goes on, where a client says one.
    pub state: Option<SessionState>,
    /// The communication session groups.
    pub groups: Vec<Group>,
    /// The communication sessions: more than one in a consultation or a conference.
    pub sessions: Vec<CommunicationSession>,
    /// Who takes part.
    pub participants: Vec<Participant>,
    /// The streams that are recorded.
    pub streams: Vec<StreamInfo>,
    /// When participants came and went.
    pub associations: Vec<Association>,
    /// Whose voice is in which stream, and who hears it.
    pub stream_associations: Vec<StreamAssociation>,
    /// Since when, and until when, a communication session is recorded in this recording session.
    pub recorded: Vec<Recorded>,
    /// What RFC 7865 does not know and stands in no participant: values by local name in lower case, with the
    /// name of the element that they stand in, where that says something: `ucid`, `calldata.id`.
    pub extensions: KeyValues,
    /// Something could not be read: the document is not well-formed, or exceeds a limit.
    pub is_damaged: bool,
}

/// An explicit word of a client on whether the recording goes on (no part of RFC 7865). Where a document says several,
/// the last of this order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionState {
    /// It goes on.
    Active,
    /// The call is on hold.
    Held,
    /// The recording is paused.
    Paused,
}

/// Communication sessions that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Its id in the document.
    pub id: String,
    /// Since when.
    pub associated: Option<WallTime>,
    /// Until when.
    pub disassociated: Option<WallTime>,
}

/// A communication session: what is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommunicationSession {
    /// Its id in the document.
    pub id: String,
    /// The group that it belongs to.
    pub group: Option<String>,
    /// RFC 7989 Session-IDs: `local;remote=…`.
    pub sip_session_ids: Vec<String>,
    /// When it began.
    pub start_time: Option<WallTime>,
    /// When it ended.
    pub stop_time: Option<WallTime>,
    /// Why it ended.
    pub reason: Option<String>,
}

/// One who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Participant {
    /// Its id in the document; where it has none, its first address, else its place: `#2`.
    pub id: String,
    /// Its addresses of record with the names, in order; an empty address where there is only a name.
    pub aors: Vec<(String, Option<String>)>,
    /// What a vendor says of it, named as in [`RecordingMetadata::extensions`].
    pub extensions: KeyValues,
}

/// A stream that is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamInfo {
    /// Its id in the document.
    pub id: String,
    /// The `a=label` of its m-line (RFC 4574).
    pub label: Option<String>,
    /// The communication session that it belongs to.
    pub session: Option<String>,
    /// Whether it carries one voice or all, where a draft's `mode` says so.
    pub mode: Option<StreamMode>,
}

/// What a stream carries, as the drafts say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamMode {
    /// All voices.
    Mixed,
    /// The voice of one side.
    Separate,
}

/// A participant's part in a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Association {
    /// The participant.
    pub participant: String,
    /// The session.
    pub session: Option<String>,
    /// Since when.
    pub associated: Option<WallTime>,
    /// Until when.
    pub disassociated: Option<WallTime>,
}

/// A participant's part in streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamAssociation {
    /// The participant.
    pub participant: String,
    /// The streams that it speaks in.
    pub sends: Vec<String>,
    /// The streams that it hears.
    pub receives: Vec<String>,
    /// Since when.
    pub associated: Option<WallTime>,
    /// Until when.
    pub disassociated: Option<WallTime>,
}

/// A communication session's part in the recording session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recorded {
    /// The session.
    pub session: String,
    /// Since when.
    pub associated: Option<WallTime>,
    /// Until when.
    pub disassociated: Option<WallTime>,
}

impl RecordingMetadata {
    /// The participant with this id.
    #[must_use]
    pub fn participant(&self, id: &str) -> Option<&Participant> {
        self.participants.iter().find(|participant| participant.id == id)
    }

    /// The communication session that goes on: the first that has not ended and is recorded here still; where all are
    /// over, the last. After a transfer or a consultation there are several.
    #[must_use]
    pub fn session(&self) -> Option<&CommunicationSession> {
        let goes_on = |s: &&CommunicationSession| {
            let is_over = |r: &Recorded| r.disassociated.is_some() && r.session == s.id;
            s.stop_time.is_none() && !self.recorded.iter().any(is_over)
        };
        self.sessions.iter().find(goes_on).or(self.sessions.last())
    }

    /// Who speaks in a stream now.
    pub fn senders<'a>(&'a self, stream: &'a str) -> impl Iterator<Item = &'a Participant> {
        self.stream_associations
            .iter()
            .filter(move |of| of.sends.iter().any(|sent| sent == stream))
            .filter(|of| of.disassociated.is_none() && !self.has_left(&of.participant))
            .filter_map(|of| self.participant(&of.participant))
    }

    /// Whether a participant was associated with sessions and is with none any more.
    #[must_use]
    pub fn has_left(&self, participant: &str) -> bool {
        let mut of = self.associations.iter().filter(|a| a.participant == participant).peekable();
        of.peek().is_some() && of.all(|a| a.disassociated.is_some())
    }

    /// Since when a participant takes part, as far as that is said.
    #[must_use]
    pub fn joined(&self, participant: &str) -> Option<WallTime> {
        self.associations.iter().filter(|a| a.participant == participant).filter_map(|a| a.associated).min()
    }

    /// When a participant left for good, as far as that is said.
    #[must_use]
    pub fn left(&self, participant: &str) -> Option<WallTime> {
        let times = self.associations.iter().filter(|a| a.participant == participant);
        if self.has_left(participant) { times.filter_map(|a| a.disassociated).max() } else { None }
    }
}
