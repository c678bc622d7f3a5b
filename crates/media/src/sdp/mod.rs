//! SDP (RFC 8866) as offers and answers (RFC 3264) use it.
//!
//! [`read`] takes what phone systems send, not what the grammar allows: a line that cannot be read costs that
//! line, never the offer, because an offer that is refused is a call that is not recorded. An m-line is never
//! dropped, however odd it is: an answer must have as many as the offer. [`answer`] and [`offer`] write ours.
//!
//! Nothing here decides what is recorded: the caller says for each m-line whether it is taken ([`Slot`]).

mod read;
mod security;
mod statics;
mod write;

use std::net::{IpAddr, SocketAddr};

use model::{Codec, MediaKind};

pub use read::{SdpError, read};
pub use security::{Crypto, IceUser, Offered, Security, Setup, keys};
pub use write::{OfferLine, Slot, answer, offer};

/// A session description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sdp {
    /// Who made it, and which version of it this is.
    pub origin: Origin,
    /// The `t=` value; an answer repeats it (RFC 3264 section 6).
    pub timing: String,
    /// Attributes before the first m-line, in order; those that hold keys are left out.
    pub attributes: Vec<(String, Option<String>)>,
    /// The m-lines, in order, none left out.
    pub media: Vec<MediaLine>,
}

/// The `o=` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Often `-`.
    pub username: String,
    /// The same for all descriptions of a session.
    pub session_id: u64,
    /// Grows when the description changes. Numbers that do not fit are folded, so that a change still shows.
    pub version: u64,
    /// The address; unspecified when it was a name.
    pub address: IpAddr,
}

/// Which way media flow, seen from who says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Direction {
    /// `sendrecv`
    #[default]
    SendRecv,
    /// `sendonly`
    SendOnly,
    /// `recvonly`
    RecvOnly,
    /// `inactive`
    Inactive,
}

impl Direction {
    /// What a recorder, which sends nothing, answers to it.
    #[must_use]
    pub const fn answered_by_recorder(self) -> Self {
        match self {
            Self::SendRecv | Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly | Self::Inactive => Self::Inactive,
        }
    }

    /// The attribute's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// An `m=` line and what belongs to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaLine {
    /// Audio, video, other.
    pub kind: MediaKind,
    /// The media word as it stood.
    pub media: String,
    /// The port; 0 when the line is switched off, or when it was no port.
    pub port: u16,
    /// The transport, `RTP/AVP`.
    pub protocol: String,
    /// The formats as they stood.
    pub formats: Vec<String>,
    /// What payload types stand for, in the order of the formats; static ones filled in (RFC 3551).
    pub codecs: Vec<(u8, Codec)>,
    /// The `c=` address of the line, else of the session; 0.0.0.0 means held (RFC 2543).
    pub address: Option<IpAddr>,
    /// The line's direction, else the session's, else sendrecv.
    pub direction: Direction,
    /// `a=label` (RFC 4574).
    pub label: Option<String>,
    /// `a=mid` (RFC 5888).
    pub mid: Option<String>,
    /// `a=rtcp` (RFC 3605).
    pub rtcp: Option<SocketAddr>,
    /// `a=rtcp-mux` (RFC 5761).
    pub rtcp_mux: bool,
    /// `a=ptime` in milliseconds.
    pub ptime: Option<u32>,
    /// What it says of encryption.
    pub security: Offered,
    /// Every attribute of the line, in order, as it stood; those that hold keys are left out.
    pub attributes: Vec<(String, Option<String>)>,
}

impl MediaLine {
    /// Whether it is RTP, plain or encrypted: `RTP/AVP`, `RTP/AVPF`, `RTP/SAVP` or `RTP/SAVPF`, the
    /// last two also behind `UDP/TLS/`.
    #[must_use]
    pub fn is_rtp(&self) -> bool {
        ["RTP/AVP", "RTP/AVPF"].iter().any(|p| self.protocol.eq_ignore_ascii_case(p)) || self.is_encrypted()
    }

    /// Whether its profile says that its keys come by a handshake: `UDP/TLS/RTP/SAVP` or `UDP/TLS/RTP/SAVPF`.
    #[must_use]
    pub fn is_handshaken(&self) -> bool {
        ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"].iter().any(|p| self.protocol.eq_ignore_ascii_case(p))
    }

    /// Whether its profile says that it is encrypted. Some offer keys with the plain profile as well (RFC 8643).
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        ["RTP/SAVP", "RTP/SAVPF"].iter().any(|p| self.protocol.eq_ignore_ascii_case(p))
            || self.is_handshaken()
    }

    /// Whether the line is switched off: port 0 (RFC 3264 section 6).
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.port == 0
    }

    /// Whether who wrote it sends nothing: inactive, recvonly, or the address 0.0.0.0.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.direction, Direction::RecvOnly | Direction::Inactive)
            || self.address.is_some_and(|a| a.is_unspecified())
    }

    /// Where it receives RTP, and by symmetry sends from.
    #[must_use]
    pub fn remote_rtp(&self) -> Option<SocketAddr> {
        let address = self.address.filter(|a| !a.is_unspecified())?;
        (self.port != 0).then(|| SocketAddr::new(address, self.port))
    }

    /// Where it receives RTCP: the RTP port when multiplexed, what `a=rtcp` says, else the next port.
    #[must_use]
    pub fn remote_rtcp(&self) -> Option<SocketAddr> {
        let rtp = self.remote_rtp()?;
        if self.rtcp_mux {
            return Some(rtp);
        }
        match self.rtcp {
            Some(rtcp) => Some(rtcp),
            None => rtp.port().checked_add(1).map(|port| SocketAddr::new(rtp.ip(), port)),
        }
    }

    /// The value of the first attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).and_then(|(_, v)| v.as_deref())
    }
}
