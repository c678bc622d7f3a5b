//! What signalling says of the ends of a relay, and what it is answered.

use std::net::SocketAddr;

use model::{Codec, Keys, MediaKind};

use super::{Follow, Listening};

/// Ends of a call: eight legs of four lines, or more of fewer.
pub const ENDS_MAX: usize = 32;
/// Legs of a call: its two, those that it is being transferred or forked to, a supervisor's.
pub const LEGS_MAX: u8 = 8;

/// An end of a relay, until it is closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EndId(pub(super) u8);

impl EndId {
    /// Its place among the ends of its relay, below [`ENDS_MAX`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which of an end's ports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Which {
    /// The one for RTP, and for RTCP where it is multiplexed.
    Rtp,
    /// The one for RTCP.
    Rtcp,
}

/// How an end's packets are protected between us and its peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Security {
    /// Not, or by keys that are not ours: what comes is handed on as it is.
    Clear,
    /// By keys that a handshake is to yield: until then nothing passes, either way.
    Awaited,
    /// By these. The outbound one is this end's alone: indices are counted here.
    Keys {
        /// The peer's.
        inbound: Keys,
        /// Ours.
        outbound: Keys,
    },
}

/// Whether an end keeps what came last, for a recorder that takes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Remembers {
    /// No.
    #[default]
    Nothing,
    /// Two seconds of RTP.
    TwoSeconds,
}

/// Whether a recorder in this process keeps what comes to an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keeping {
    /// No.
    #[default]
    Nothing,
    /// All that goes on.
    Everything,
}

/// Whether what passes may be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Recording {
    /// Yes.
    #[default]
    Goes,
    /// Not now: it is forwarded, and goes to no recorder, neither now nor when one takes over later.
    Pauses,
    /// It goes to recorders, which know themselves that they must not keep it and count it, and is not remembered here: none
    /// that takes over later gets it.
    Passes,
}

/// What an end is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenEnd {
    /// The leg, below [`LEGS_MAX`].
    pub leg: u8,
    /// The line within its leg: those of the same number are connected.
    pub line: u8,
    /// What it carries.
    pub kind: MediaKind,
    /// Payload types that signalling names.
    pub codecs: Vec<(u8, Codec)>,
    /// Our ports, as they are sent to.
    pub ours: [Option<SocketAddr>; 2],
    /// Where signalling says that the peer receives RTP; none: not known yet.
    pub remote: Option<SocketAddr>,
    /// Where it receives RTCP; none: at the next port (RFC 3550 section 11).
    pub remote_rtcp: Option<SocketAddr>,
    /// RTCP shares the port (RFC 5761).
    pub rtcp_mux: bool,
    /// How far it is followed.
    pub follow: Follow,
    /// How it is protected.
    pub security: Security,
    /// Whether it remembers.
    pub remembers: Remembers,
    /// Whether a recorder in this process keeps what comes.
    pub keeping: Keeping,
    /// Whether keys that are pressed are told.
    pub digits: Listening,
}

impl OpenEnd {
    /// Audio in the clear of the first line, and nothing but forwarding.
    #[must_use]
    pub const fn audio(leg: u8, remote: Option<SocketAddr>) -> Self {
        Self {
            leg,
            line: 0,
            kind: MediaKind::Audio,
            codecs: Vec::new(),
            ours: [None, None],
            remote,
            remote_rtcp: None,
            rtcp_mux: false,
            follow: Follow::Host,
            security: Security::Clear,
            remembers: Remembers::Nothing,
            keeping: Keeping::Nothing,
            digits: Listening::Nothing,
        }
    }
}

/// Why an end cannot be had as it is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// There are [`ENDS_MAX`] already.
    #[error("a relay has {ENDS_MAX} ends at most: close one first")]
    Ends,
    /// The leg's number is too high.
    #[error("legs of a relay are numbered from 0 to 7")]
    Leg,
    /// Its leg has an end of that line.
    #[error("the leg has that line already: change its end, or close it first")]
    Line,
    /// It was closed, or never was.
    #[error("the relay has no such end")]
    NoEnd,
    /// A key is too short or too long.
    #[error("a key has not the length that its suite wants")]
    Key,
    /// Another end or recorder is protected by that key: indices would come twice.
    #[error("an end or a recorder of this call has that key: each needs one of its own")]
    KeyUsed,
    /// The call has had more keys than any needs.
    #[error("the call has had too many keys: relay it anew")]
    Keys,
    /// Nothing can be sent there.
    #[error("a recorder needs an address of one host, with a port")]
    Address,
}

/// Why a datagram does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is a check: for whoever answers them.
    Stun,
    /// It is of a handshake: for whoever makes it.
    Dtls,
    /// It is nothing that is known, or broken.
    Malformed,
    /// It is not of the end's peer, as far as one can tell.
    Stranger,
    /// Its peer sends more than is believed.
    TooMany,
    /// It is not authentic.
    Unauthentic,
    /// It came before.
    Replayed,
    /// The keys are awaited, or there is no such end.
    Unopened,
}
