//! Segments: what one record server recorded of a call without interruption.

use serde::{Deserialize, Serialize};

use crate::call::{CallData, Metadata};
use crate::id::{CallId, NodeNumber, SegmentId, StreamId, TenantId};
use crate::name::VolumeName;
use crate::pause::Pause;
use crate::state::{RecordingState, Respondent, Transition};
use crate::stream::{Codec, Dtmf, StreamRecord};
use crate::time::WallTime;

/// Who or what began a segment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by", content = "who")]
pub enum StartTrigger {
    /// The communications manager, by its INVITE or re-INVITE.
    Manager,
    /// A rule, by name.
    Rule(String),
    /// The agent's phone.
    AgentPhone(String),
    /// Another station.
    Station(String),
    /// An API call, by user or key name.
    Api(String),
}

/// Why a segment ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reason", content = "failure")]
pub enum EndReason {
    /// The call is on hold and will be resumed.
    Hold,
    /// The call is transferred and goes on.
    Transfer,
    /// The call ended.
    HangUp,
    /// Recording was told to stop.
    Stop,
    /// Something upstream failed.
    Upstream(Failure),
    /// Something inside the record servers failed.
    Internal(Failure),
}

impl EndReason {
    /// What this end does to the state of the segment's copy.
    #[must_use]
    pub const fn transition(&self) -> Transition {
        match self {
            Self::Hold | Self::Transfer | Self::HangUp | Self::Stop => Transition::EndedNormally,
            Self::Upstream(_) => Transition::EndedByUpstreamError,
            Self::Internal(_) => Transition::EndedByInternalError,
        }
    }

    /// A word for lists: `hold`, `hang-up`, `media time-out`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Hold => "hold".to_owned(),
            Self::Transfer => "transfer".to_owned(),
            Self::HangUp => "hang-up".to_owned(),
            Self::Stop => "stop".to_owned(),
            Self::Upstream(f) | Self::Internal(f) => f.describe(),
        }
    }
}

/// What failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "detail")]
pub enum Failure {
    /// No RTP for the configured time.
    MediaTimeout,
    /// The dialog failed: no ACK, no answer to a request of ours, the transport closed.
    Dialog(String),
    /// A BYE whose Reason header (RFC 3326) names a failure.
    ByeReason(String),
    /// The session timer ran out (RFC 4028).
    SessionExpired,
    /// The process was killed or crashed.
    Process,
    /// A file or directory operation failed.
    Storage(String),
    /// The disk is full.
    DiskFull,
    /// Descriptors, ports or memory ran out.
    Resources(String),
}

impl Failure {
    /// A phrase for lists.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::MediaTimeout => "media time-out".to_owned(),
            Self::Dialog(s) => format!("dialog failure: {s}"),
            Self::ByeReason(s) => format!("failure reason in BYE: {s}"),
            Self::SessionExpired => "session expired".to_owned(),
            Self::Process => "process ended".to_owned(),
            Self::Storage(s) => format!("storage failure: {s}"),
            Self::DiskFull => "disk full".to_owned(),
            Self::Resources(s) => format!("out of resources: {s}"),
        }
    }
}

/// A track of a part: which stream, in which codec.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartTrack {
    /// The Matroska track number, from 1.
    pub track: u8,
    /// The stream that it holds.
    pub stream: StreamId,
    /// In which codec.
    pub codec: Codec,
}

/// One file of a segment. Its tracks never change: a new stream, codec or clock rate begins another part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartRecord {
    /// From 1 within the segment.
    pub number: u16,
    /// The file name, beside the manifest.
    pub file: String,
    /// What it holds.
    pub tracks: Vec<PartTrack>,
    /// Where its time line begins, in microseconds from the segment's start.
    pub offset_us: i64,
    /// How long it is, in microseconds.
    pub duration_us: i64,
    /// Its length in octets.
    pub bytes: u64,
    /// SHA-256 of the file in hexadecimal, once sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where one may begin to read a long one that is sealed, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<PartMark>,
}

/// A place in a part where a cluster begins. As JSON: `[reached_us, at]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "(i64, u64)", into = "(i64, u64)")]
pub struct PartMark {
    /// Whatever stands before it begins before this, in microseconds of the part's own time line.
    pub reached_us: i64,
    /// Its first octet in the file.
    pub at: u64,
}

impl From<(i64, u64)> for PartMark {
    fn from((reached_us, at): (i64, u64)) -> Self {
        Self { reached_us, at }
    }
}

impl From<PartMark> for (i64, u64) {
    fn from(mark: PartMark) -> Self {
        (mark.reached_us, mark.at)
    }
}

/// The sidecar: packets that no media track can hold, as a capture file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SidecarRecord {
    /// The file name, beside the manifest.
    pub file: String,
    /// Packets in it.
    pub packets: u64,
    /// Its length in octets.
    pub bytes: u64,
    /// SHA-256 of the file in hexadecimal, once sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// How the files of a segment are encrypted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// Not at all.
    #[default]
    None,
}

/// All that is known of a segment: what its manifest says and the catalogue indexes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SegmentRecord {
    /// Its id, which names its files' place too.
    pub id: SegmentId,
    /// Its call.
    pub call: CallId,
    /// The call's owner.
    pub tenant: TenantId,
    /// Its number in the call, from 1.
    pub number: u16,
    /// The segments of the call as known when this record was written.
    pub total: u16,
    /// The record server.
    pub node: NodeNumber,
    /// The record server's volume that it was recorded on.
    #[serde(default, skip_serializing_if = "VolumeName::is_default")]
    pub volume: VolumeName,
    /// The state of the copy at the record server when this record was written; the call's log has what came after.
    pub state: RecordingState,
    /// Whether it answers another server's failure.
    #[serde(default)]
    pub respondent: Respondent,
    /// When it began.
    pub started: WallTime,
    /// When it ended; none while it is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<WallTime>,
    /// Who or what began it.
    pub trigger: StartTrigger,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<EndReason>,
    /// Who ordered its end, when a person or program did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// Its pauses, in order; at most 256 are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    /// Pauses beyond those listed. The streams' gaps have them too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pauses_unlisted: u64,
    /// What became of digits that were pressed.
    #[serde(default, skip_serializing_if = "Dtmf::is_kept")]
    pub dtmf: Dtmf,
    /// How its files are encrypted.
    #[serde(default)]
    pub encryption: Encryption,
    /// The call data as known to this segment.
    pub data: CallData,
    /// Metadata bodies as received.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<Metadata>,
    /// Its streams.
    pub streams: Vec<StreamRecord>,
    /// Its files.
    pub parts: Vec<PartRecord>,
    /// Its sidecar, when one was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<SidecarRecord>,
}

impl SegmentRecord {
    /// Whether it has no end.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.ended.is_none()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}
