//! Orders to a record server and reports from it.
//!
//! They are the same whether the server is this process or another node. `Open` and `Change` are answered by
//! `Opened` or `Refused`, `Pause`, `Resume` and `Keys` by `CarriedOut`, `End` by `Ended`; `Annotate`, `Conclude` and `Join` are not answered, what they said is in the
//! segment's record and the calls' logs.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::call::{CallData, Metadata};
use crate::id::{CallId, SegmentId, StreamId, TenantId};
use crate::join::Join;
use crate::pause::{OpenPause, PauseSource};
use crate::protection::{Ice, Protection};
use crate::route::Route;
use crate::segment::{EndReason, Failure, SegmentRecord, StartTrigger};
use crate::state::{RecordingState, Respondent};
use crate::stream::{Codec, Dtmf, MediaKind, Side};
use crate::time::WallTime;

/// The address family of a stream's port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// Whether a stream is wanted at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flowing {
    /// Media are expected and kept.
    Active,
    /// The stream is held: what arrives is counted and not kept.
    Held,
    /// Recording is paused: what arrives is dropped before it is buffered.
    Paused,
}

/// A stream to receive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenStream {
    /// Its id.
    pub stream: StreamId,
    /// The index of its m-line, from 0.
    pub slot: u16,
    /// `a=label`, when there is one.
    pub label: Option<String>,
    /// Audio, video, other.
    pub kind: MediaKind,
    /// Whose voice.
    pub side: Side,
    /// What its payload types stand for.
    pub codecs: Vec<(u8, Codec)>,
    /// Which family the port must be of.
    pub family: Family,
    /// Where SDP says that the sender is: receiver reports go there until packets show another source.
    pub remote: Option<SocketAddr>,
    /// Where the sender wants RTCP, when not beside `remote`.
    pub remote_rtcp: Option<SocketAddr>,
    /// Its packets come from exactly there, as is promised of whoever says so: it may have a port together with others.
    #[serde(default)]
    pub may_share: bool,
    /// RTP and RTCP share a port (RFC 5761).
    pub rtcp_mux: bool,
    /// By which way its packets come.
    #[serde(default, skip_serializing_if = "Route::is_direct")]
    pub route: Route,
    /// Whether media are wanted.
    pub flowing: Flowing,
    /// How its packets are protected. It holds keys, so it is never written with the rest.
    #[serde(skip)]
    pub protection: Protection,
    /// The checks of ICE that are answered on its ports, if any are. It holds a password, so it is not written either.
    #[serde(skip)]
    pub ice: Option<Ice>,
}

impl OpenStream {
    /// Audio over IPv4, of a sender of whom nothing is known, in these codecs by payload type. What tests and
    /// benchmarks record is made of it.
    #[must_use]
    pub fn audio(stream: u64, side: Side, codecs: &[(u8, Codec)]) -> Self {
        Self {
            stream: StreamId::from_u64(stream),
            slot: 0,
            label: None,
            kind: MediaKind::Audio,
            side,
            codecs: codecs.to_vec(),
            family: Family::V4,
            remote: None,
            remote_rtcp: None,
            may_share: false,
            rtcp_mux: false,
            route: Route::Direct,
            flowing: Flowing::Active,
            protection: Protection::None,
            ice: None,
        }
    }
}

/// A segment that a new one takes the place of, because it cannot be written any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TakeOver {
    /// The segment that failed. It ends when the new one has its streams, ports and all.
    pub segment: SegmentId,
    /// Why it ends.
    pub reason: EndReason,
}

/// What the files of a segment are called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileNames {
    /// By its number; by its id too where that name is taken.
    #[default]
    ByNumber,
    /// By both: another segment of its number may lie at another record server, which never said that it opened it. Gathered
    /// into one directory they would have one name.
    ById,
}

/// A segment to begin.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OpenSegment {
    /// Its id.
    pub segment: SegmentId,
    /// Its call.
    pub call: CallId,
    /// When the call's first segment began: names the directory of the call.
    pub call_started: WallTime,
    /// The owner.
    pub tenant: TenantId,
    /// Its number.
    pub number: u16,
    /// The total as known.
    pub total: u16,
    /// Whether it answers a failure.
    pub respondent: Respondent,
    /// The segment of this record server whose streams it takes over, if it does: known streams keep their ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_over: Option<TakeOver>,
    /// When it begins.
    pub started: WallTime,
    /// Who or what began it.
    pub trigger: StartTrigger,
    /// What is known of the call.
    pub data: CallData,
    /// Metadata that came so far.
    pub metadata: Vec<Metadata>,
    /// Its streams.
    pub streams: Vec<OpenStream>,
    /// A pause that goes on: then nothing is kept from the first packet on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<OpenPause>,
    /// What becomes of digits that are pressed.
    #[serde(default)]
    pub dtmf: Dtmf,
    /// What its files are called.
    #[serde(default)]
    pub files: FileNames,
}

impl OpenSegment {
    /// The first segment of a call that begins with it and of which nothing else is known. What tests and benchmarks
    /// record is made of it.
    #[must_use]
    pub fn first(segment: SegmentId, call: CallId, started: WallTime, streams: Vec<OpenStream>) -> Self {
        Self {
            segment,
            call,
            call_started: started,
            tenant: TenantId::default(),
            number: 1,
            total: 1,
            respondent: Respondent::No,
            takes_over: None,
            started,
            trigger: StartTrigger::Manager,
            data: CallData::default(),
            metadata: Vec::new(),
            streams,
            pause: None,
            dtmf: Dtmf::Keep,
            files: FileNames::ByNumber,
        }
    }
}

/// The ports that a record server opened for a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StreamPorts {
    /// The stream.
    pub stream: StreamId,
    /// Where it receives RTP, as to be told to the sender.
    pub rtp: SocketAddr,
    /// Where it receives RTCP; the same when multiplexed.
    pub rtcp: SocketAddr,
    /// As it is to be now it cannot be heard there, and there are no others for it.
    #[serde(default)]
    pub is_stuck: bool,
}

/// To a record server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Begin a segment.
    Open(Box<OpenSegment>),
    /// These are the segment's streams now: known ids keep their ports, new ones get some, missing ones close.
    /// Answered by `Opened` with the ports of all of them.
    Change {
        /// The segment.
        segment: SegmentId,
        /// All its streams.
        streams: Vec<OpenStream>,
    },
    /// More is known of the call.
    Annotate {
        /// The segment.
        segment: SegmentId,
        /// All that is known now.
        data: CallData,
        /// Metadata that came since.
        metadata: Vec<Metadata>,
    },
    /// End the segment.
    End {
        /// The segment.
        segment: SegmentId,
        /// When it ended.
        at: WallTime,
        /// Why.
        reason: EndReason,
        /// Who ordered it, when a person or program did.
        by: Option<String>,
    },
    /// Nobody waits any more for a segment that was told to end: where it is not opened yet, it need not be. Answered by
    /// `Withdrawn` then, else by `Opened` and `Ended`.
    Withdraw {
        /// The segment.
        segment: SegmentId,
    },
    /// Keep nothing of any stream of the segment from now on, of streams that come later neither: what arrives is
    /// dropped before it is buffered. A second one only notes who asked. Answered by `CarriedOut`.
    Pause {
        /// The segment.
        segment: SegmentId,
        /// The number that the answer names.
        order: u64,
        /// Who asked.
        by: PauseSource,
    },
    /// Keep again what arrives from now on. Answered by `CarriedOut`.
    Resume {
        /// The segment.
        segment: SegmentId,
        /// The number that the answer names.
        order: u64,
        /// Who asked.
        by: PauseSource,
    },
    /// A stream is protected by these keys from now on; what waits for them is opened. Answered by `CarriedOut`.
    Keys {
        /// The segment.
        segment: SegmentId,
        /// The number that the answer names.
        order: u64,
        /// The stream.
        stream: StreamId,
        /// How its packets are protected. It holds keys, so it is never written with the rest.
        #[serde(skip)]
        protection: Protection,
    },
    /// The call ended, or it goes on although it had ended: note it in its log.
    Conclude(Conclusion),
    /// Two calls of which segments exist turned out to be one: note it in the logs of both, and tell the catalog. A
    /// second one of the same two calls changes nothing. Segments of theirs that are live go on to their own ends; those
    /// that begin later are segments of the surviving call.
    Join(Join),
}

impl Order {
    /// Of which segment it is, if it is of one.
    #[must_use]
    pub fn segment(&self) -> Option<SegmentId> {
        match self {
            Self::Open(open) => Some(open.segment),
            Self::Change { segment, .. }
            | Self::Annotate { segment, .. }
            | Self::End { segment, .. }
            | Self::Withdraw { segment }
            | Self::Pause { segment, .. }
            | Self::Resume { segment, .. }
            | Self::Keys { segment, .. } => Some(*segment),
            Self::Conclude(_) | Self::Join(_) => None,
        }
    }
}

/// How a call came out, for its log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Conclusion {
    /// The call.
    pub call: CallId,
    /// When its first segment began.
    pub call_started: WallTime,
    /// The owner.
    pub tenant: TenantId,
    /// The corrected total.
    pub total: u16,
    /// The state that the call's copy had before, when it had been concluded once already.
    pub from: Option<RecordingState>,
    /// The state of the call's copy now. None where its segments lie on several record servers: none of them has a copy
    /// of the call until they are gathered.
    pub state: Option<RecordingState>,
}

/// From a record server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// The segment is being recorded; these are its ports.
    Opened {
        /// The segment.
        segment: SegmentId,
        /// One entry for each stream of the order.
        ports: Vec<StreamPorts>,
    },
    /// The order to open or change cannot be carried out; the segment is as it was.
    Refused {
        /// The segment.
        segment: SegmentId,
        /// Why.
        why: Failure,
    },
    /// The segment was not opened, because nobody waited for it any more.
    Withdrawn {
        /// The segment.
        segment: SegmentId,
    },
    /// The order of this number is carried out: from now on nothing is kept, everything again, or what these keys open.
    CarriedOut {
        /// The segment.
        segment: SegmentId,
        /// The order's number.
        order: u64,
    },
    /// No media on any active stream for the configured time.
    MediaTimedOut {
        /// The segment.
        segment: SegmentId,
    },
    /// The segment cannot be written any more: another may take over from it, else it is to be ended.
    Failing {
        /// The segment.
        segment: SegmentId,
        /// What failed.
        why: Failure,
    },
    /// The segment ended and its manifest is sealed, or could not be: then the record says what failed.
    Ended {
        /// All that is known of it.
        record: Box<SegmentRecord>,
    },
}

impl Report {
    /// Of which segment it is.
    #[must_use]
    pub fn segment(&self) -> SegmentId {
        match self {
            Self::Opened { segment, .. }
            | Self::Refused { segment, .. }
            | Self::Withdrawn { segment }
            | Self::CarriedOut { segment, .. }
            | Self::MediaTimedOut { segment }
            | Self::Failing { segment, .. } => *segment,
            Self::Ended { record } => record.id,
        }
    }
}
