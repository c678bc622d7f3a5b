//! What the calls shall be: the command line's arguments, checked and resolved.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use model::Suite;
use sip::Transport;
use sip::auth::Login;

use crate::net::TlsFiles;

/// Where calls go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// Request-URI and To.
    pub(crate) uri: String,
    /// By which transport.
    pub(crate) transport: Transport,
    /// To which address.
    pub(crate) remote: SocketAddr,
    /// The name that a TLS server must prove to have.
    pub(crate) host: String,
}

/// What a stream carries.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum VoiceSource {
    /// A WAV file, mono, 16 bit; repeated when the call is longer.
    Wav(PathBuf),
    /// A sine of so many Hz.
    Tone(f64),
    /// Something like speech, the same for the same seed.
    Speech(u64),
}

/// The two companding laws.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Law {
    /// µ-law, payload type 0.
    Pcmu,
    /// A-law, payload type 8.
    Pcma,
}

/// A hold within a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hold {
    /// When it begins, after the answer.
    pub(crate) start: Duration,
    /// How long it lasts.
    pub(crate) length: Duration,
}

/// What is done to the packets on purpose.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Impairments {
    /// Not sent, as a share from 0 to 1.
    pub(crate) loss: f64,
    /// Sent after the next one.
    pub(crate) reorder: f64,
    /// Sent twice.
    pub(crate) duplicate: f64,
    /// A new SSRC, sequence and timestamp that long after the stream's start.
    pub(crate) ssrc_change_at: Option<Duration>,
    /// Makes it the same each time.
    pub(crate) seed: u64,
}

/// Where keys come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeyExchange {
    /// SDP.
    Sdes,
    /// A handshake.
    Dtls,
}

/// How the media are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Encryption {
    /// Where keys come from.
    pub(crate) exchange: KeyExchange,
    /// The cipher of keys in SDP.
    pub(crate) suite: Suite,
    /// By another key than the one that is offered.
    pub(crate) wrong_key: bool,
}

/// All of it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct CallPlan {
    /// Where to.
    pub(crate) target: Target,
    /// Whom to trust over TLS, and what to show.
    pub(crate) tls: TlsFiles,
    /// From.
    pub(crate) from_uri: String,
    /// The display name of From.
    pub(crate) display: Option<String>,
    /// What challenges are answered with.
    pub(crate) login: Option<Login>,
    /// Our address, as the target sees it.
    pub(crate) local: IpAddr,
    /// A SIPREC INVITE, else a plain one.
    pub(crate) siprec: bool,
    /// An INVITE without SDP.
    pub(crate) delayed_offer: bool,
    /// One per stream: 1 or 2.
    pub(crate) voices: Vec<VoiceSource>,
    /// The codec.
    pub(crate) law: Law,
    /// Milliseconds of media per packet: 10 to 60.
    pub(crate) ptime_ms: u32,
    /// None: in the clear.
    pub(crate) encryption: Option<Encryption>,
    /// From the answer to the end; none: as long as the longest WAV file.
    pub(crate) duration: Option<Duration>,
    /// In order, not overlapping, within the duration.
    pub(crate) holds: Vec<Hold>,
    /// End without a BYE.
    pub(crate) vanish: bool,
    /// On purpose.
    pub(crate) impairments: Impairments,
    /// How many calls.
    pub(crate) calls: u32,
    /// New calls per second.
    pub(crate) rate: f64,
    /// The most at once.
    pub(crate) concurrency: usize,
    /// How long to wait for a final answer.
    pub(crate) timeout: Duration,
}

impl CallPlan {
    /// The payload type of the codec (RFC 3551).
    pub(crate) fn payload_type(&self) -> u8 {
        match self.law {
            Law::Pcmu => 0,
            Law::Pcma => 8,
        }
    }

    /// Samples, and octets, in a packet: 8 per millisecond.
    pub(crate) fn frame_samples(&self) -> u32 {
        self.ptime_ms * 8
    }
}
