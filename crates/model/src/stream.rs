//! Streams: the packets of one direction, and what is known of them when they have been recorded.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::id::StreamId;
use crate::time::WallTime;

/// What an m-line carries (RFC 8866 section 5.14).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaKind {
    /// `audio`
    Audio,
    /// `video`
    Video,
    /// Anything else that was offered.
    Other,
}

/// Whose voice a stream carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The near end: the user of the phone system.
    Agent,
    /// The far end: the party outside.
    External,
    /// Both in one stream.
    Mixed,
    /// Not known (yet).
    #[default]
    Unknown,
}

impl Side {
    /// Who is on the other side; what is of both or of nobody known stays so.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Agent => Self::External,
            Self::External => Self::Agent,
            Self::Mixed => Self::Mixed,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// What becomes of digits that are pressed during a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dtmf {
    /// They are kept like everything else: tones, and telephone events in the sidecar.
    #[default]
    Keep,
    /// Neither tones nor telephone events are kept.
    Mask,
}

impl Dtmf {
    /// Whether they are kept.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// A codec as SDP names it (RFC 8866 section 6.6).
#[derive(Clone, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub struct Codec {
    /// The encoding name in upper case, `PCMU`; compared without regard to case.
    pub name: String,
    /// The RTP clock rate in Hz. G.722 says 8000 here although it samples at 16 kHz (RFC 3551 section 4.5.2).
    pub clock_rate: u32,
    /// Channels; 1 where SDP says nothing.
    pub channels: u8,
    /// The `a=fmtp` parameters as they came, when there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fmtp: Option<String>,
}

impl Codec {
    /// A codec without parameters.
    #[must_use]
    pub fn new(name: &str, clock_rate: u32, channels: u8) -> Self {
        Self { name: name.to_ascii_uppercase(), clock_rate, channels, fmtp: None }
    }

    /// Whether the encoding name is `name`, whatever its case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// A payload type that was in use, from when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CodecUse {
    /// The payload type, 0 to 127.
    pub payload_type: u8,
    /// What it stood for; none when SDP never said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<Codec>,
    /// When its first packet arrived.
    pub from: WallTime,
}

/// The counts of a stream. Packets unless another unit is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Accounting {
    /// Valid RTP packets of the stream's sources, duplicates not among them.
    pub received: u64,
    /// Octets of RTP payload in them.
    pub payload_bytes: u64,
    /// Numbers that never arrived, between the first and the last of each source.
    pub lost: u64,
    /// Arrived after a later number, soon enough to be put in order.
    pub reordered: u64,
    /// Arrived again.
    pub duplicate: u64,
    /// Arrived after the reorder window had moved on; recorded at their true time all the same.
    pub late: u64,
    /// No RTP, or RTP that cannot be read.
    pub invalid: u64,
    /// Not kept because it could not be authenticated, on a stream that is protected: another key, no protection at
    /// all, not by the sender, or so old that somebody may play it again.
    #[serde(skip_serializing_if = "is_zero")]
    pub unauthenticated: u64,
    /// RTCP that was not taken for these reasons, or because it came twice. Some clients send some of theirs in the clear.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtcp_unauthenticated: u64,
    /// Valid RTP from an address other than the one that the stream is latched to.
    pub other_source: u64,
    /// Received, but dropped before disk because storage could not keep up or had failed.
    pub dropped: u64,
    /// Received while the stream was held or paused, and therefore not kept.
    pub discarded: u64,
    /// Not kept because digits are masked and it holds one, or lies beside one, or came too late to tell.
    #[serde(skip_serializing_if = "is_zero")]
    pub masked: u64,
    /// Kept although digits are masked: in its codec tones cannot be looked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub unsearched: u64,
    /// Changes of SSRC after the first.
    pub ssrc_changes: u32,
    /// Changes of the source address after the first.
    pub source_changes: u32,
    /// Changes of the payload type among media, telephone-event and comfort noise apart.
    pub codec_changes: u32,
    /// Interarrival jitter at the end (RFC 3550 section 6.4.1), in microseconds.
    pub jitter_us: u64,
    /// The highest that it was, in microseconds.
    pub jitter_max_us: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Ties RTP time to the wall clock and to the segment's time line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Anchor {
    /// The source.
    pub ssrc: u32,
    /// The RTP timestamp, as it stood in the packet.
    pub rtp: u32,
    /// When the packet arrived (kernel time stamp).
    pub at: WallTime,
    /// Where the packet lies on the segment's time line, in microseconds from its start.
    pub position_us: i64,
    /// How long its frame is, in microseconds, where that is known: it was begun so long before it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_us: Option<NonZeroU32>,
}

/// Why there is nothing between two positions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// Packets were lost on the way.
    Loss,
    /// The sender sent nothing: silence suppression, or nobody spoke yet.
    Silence,
    /// The stream was inactive: hold.
    Hold,
    /// Recording was paused.
    Pause,
    /// Received, but storage failed or could not keep up.
    Dropped,
    /// Received, and not kept because it holds a digit that somebody pressed.
    Masked,
}

/// A stretch of a stream's time line without media.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gap {
    /// Where it begins, in microseconds from the segment's start.
    pub from_us: i64,
    /// Where it ends.
    pub until_us: i64,
    /// Why.
    pub reason: GapReason,
    /// Packets lost in it (0 for silence).
    pub packets: u32,
}

/// All that is known of one stream of a segment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StreamRecord {
    /// Its id.
    pub id: StreamId,
    /// The index of its m-line, from 0.
    pub slot: u16,
    /// `a=label` (RFC 4574), when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Audio, video, other.
    pub kind: MediaKind,
    /// Whose voice.
    pub side: Side,
    /// Our port.
    pub port: u16,
    /// The source address that it is latched to, when a packet has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<std::net::SocketAddr>,
    /// The SSRCs seen, in order; at most 32 are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssrcs: Vec<u32>,
    /// The payload types seen, in order; at most 64 are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codecs: Vec<CodecUse>,
    /// Counts.
    pub accounting: Accounting,
    /// RTP time to wall clock: the first packet of each source, after each jump, and of each minute
    /// the packet that the network held up least.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchors: Vec<Anchor>,
    /// Where nothing was received; at most 4,096 are listed, `gaps_unlisted` counts the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Gaps beyond those listed.
    #[serde(default)]
    pub gaps_unlisted: u64,
}
