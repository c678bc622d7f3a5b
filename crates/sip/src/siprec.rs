//! SIPREC metadata: who takes part in the communication session that is recorded (RFC 7865).
//!
//! ```text
//! <recording xmlns="urn:ietf:params:xml:ns:recording:1">
//!   <datamode>complete</datamode>
//!   <group group_id="…"/>
//!   <session session_id="…"><sipSessionID>…</sipSessionID><start-time>…</start-time></session>
//!   <participant participant_id="…"><nameID aor="sip:…"><name>…</name></nameID></participant>
//!   <stream stream_id="…" session_id="…"><label>96</label></stream>
//!   <participantstreamassoc participant_id="…"><send>stream id</send><recv>…</recv></participantstreamassoc>
//! </recording>
//! ```
//!
//! Reading takes what clients really send: any namespace or prefix, any order, the attribute names of the
//! drafts, `send` inside `participant`, times without a zone, text that is not escaped, documents that are cut
//! short. What cannot be read is skipped and noted ([`RecordingMetadata::is_damaged`]); the raw bytes are kept
//! by whoever has them. Which participant is the agent is not decided here.

mod read;
mod write;

use model::WallTime;

pub use read::read;
pub use write::write;

/// The namespace of RFC 7865.
pub const NAMESPACE: &str = "urn:ietf:params:xml:ns:recording:1";

/// Nothing of use was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// No session, participant or stream.
    #[error("no recording metadata: neither session nor participant nor stream")]
    Empty,
    /// More than is read.
    #[error("metadata of {0} bytes, more than {max} are not read", max = read::DOCUMENT_BYTES_MAX)]
    TooLong(usize),
}

/// What a document says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordingMetadata {
    /// `complete`: it replaces what was known. Otherwise, or when it does not say, it adds to it.
    pub complete: bool,
    /// The communication session group.
    pub group_id: Option<String>,
    /// The (first) communication session.
    pub session_id: Option<String>,
    /// RFC 7989 Session-IDs, as they came: `local;remote=…`.
    pub sip_session_ids: Vec<String>,
    /// When the communication session began.
    pub start_time: Option<WallTime>,
    /// When it ended.
    pub stop_time: Option<WallTime>,
    /// Who takes part.
    pub participants: Vec<Participant>,
    /// The streams that are recorded.
    pub streams: Vec<StreamInfo>,
    /// (participant id, stream id): whose voice is in the stream.
    pub sends: Vec<(String, String)>,
    /// (participant id, stream id): who hears it.
    pub receives: Vec<(String, String)>,
    /// When participants came and went.
    pub associations: Vec<Association>,
    /// Text and attributes of elements that RFC 7865 does not know and that stand in no participant, by local
    /// name in lower case: `ucid`, `calldata.id`.
    pub extensions: Vec<(String, String)>,
    /// Something could not be read: the document is not well-formed, or exceeds a limit.
    pub is_damaged: bool,
}

/// One who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Participant {
    /// Its id in the document.
    pub id: String,
    /// Its addresses of record with the names, in order.
    pub aors: Vec<(String, Option<String>)>,
    /// What a vendor says of it, by local name in lower case: `ucid`, `callingparty`.
    pub extensions: Vec<(String, String)>,
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

impl RecordingMetadata {
    /// The participant with this id.
    #[must_use]
    pub fn participant(&self, id: &str) -> Option<&Participant> {
        self.participants.iter().find(|participant| participant.id == id)
    }

    /// Who speaks in the stream with this label.
    pub fn senders_of_label<'a>(&'a self, label: &'a str) -> impl Iterator<Item = &'a Participant> {
        self.streams
            .iter()
            .filter(move |stream| stream.label.as_deref() == Some(label))
            .flat_map(|stream| self.sends.iter().filter(move |(_, id)| *id == stream.id))
            .filter_map(|(participant, _)| self.participant(participant))
    }
}
