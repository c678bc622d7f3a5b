//! What we offer when a client wants the recorder to offer (an INVITE without body).

use model::{Codec, Suite};

/// How media are encrypted that we ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AskEncrypted {
    /// Not at all: `RTP/AVP`.
    #[default]
    No,
    /// By keys in SDP: `RTP/SAVP` with `a=crypto` (RFC 4568).
    Sdes,
    /// By a handshake: `UDP/TLS/RTP/SAVP` with `a=fingerprint` (RFC 5763).
    Dtls,
}

/// The ciphers that are offered with it, the best first; the last but one is the one that everybody has.
pub(crate) const SUITES: [Suite; 5] = [
    Suite::AeadAes256Gcm,
    Suite::AeadAes128Gcm,
    Suite::AesCm256HmacSha1Tag80,
    Suite::AesCm128HmacSha1Tag80,
    Suite::AesCm128HmacSha1Tag32,
];

/// A codec that we can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722.
    G722,
    /// G.729.
    G729,
    /// Opus.
    Opus,
    /// VP8, on a line of video.
    Vp8,
    /// H.264, on a line of video.
    H264,
    /// H.265, on a line of video.
    H265,
}

impl Asked {
    /// All for audio, best known first: what a phone or gateway can send and any player can play.
    pub const ALL: [Self; 5] = [Self::Pcmu, Self::Pcma, Self::G722, Self::G729, Self::Opus];
    /// All for video. None is asked for unless it is named.
    pub const VIDEO: [Self; 3] = [Self::Vp8, Self::H264, Self::H265];

    /// Its name, as SDP has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::G729 => "G729",
            Self::Opus => "OPUS",
            Self::Vp8 => "VP8",
            Self::H264 => "H264",
            Self::H265 => "H265",
        }
    }

    /// By its name, in any case.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::VIDEO).find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    fn is_video(self) -> bool {
        Self::VIDEO.contains(&self)
    }

    /// Static payload types as in RFC 3551 table 4.
    fn line(self) -> (u8, Codec) {
        let plain = |payload_type| (payload_type, Codec::new(self.name(), 8_000, 1));
        match self {
            Self::Pcmu => plain(0),
            Self::Pcma => plain(8),
            Self::G722 => plain(9),
            Self::G729 => plain(18),
            Self::Opus => {
                let mut opus = Codec::new(self.name(), 48_000, 2);
                opus.fmtp = Some("useinbandfec=1".to_owned());
                (96, opus)
            }
            Self::Vp8 => (97, Codec::new(self.name(), 90_000, 1)),
            Self::H264 => {
                let mut h264 = Codec::new(self.name(), 90_000, 1);
                // RFC 6184 section 6.3: what larger pictures are sent in; single NAL units may come all the same.
                h264.fmtp = Some("packetization-mode=1".to_owned());
                (98, h264)
            }
            Self::H265 => (99, Codec::new(self.name(), 90_000, 1)),
        }
    }
}

/// The audio codecs of a delayed offer: those wanted, or all that we know, and telephone-event (RFC 4733).
pub(crate) fn codecs(wanted: &[Asked]) -> Vec<(u8, Codec)> {
    let wanted: Vec<Asked> = wanted.iter().copied().filter(|codec| !codec.is_video()).collect();
    let wanted = if wanted.is_empty() { &Asked::ALL[..] } else { &wanted };
    let mut events = Codec::new("TELEPHONE-EVENT", 8_000, 1);
    events.fmtp = Some("0-16".to_owned());
    wanted.iter().map(|codec| codec.line()).chain([(101, events)]).collect()
}

/// The video codecs of a delayed offer; none where none is wanted.
pub(crate) fn video(wanted: &[Asked]) -> Vec<(u8, Codec)> {
    wanted.iter().filter(|codec| codec.is_video()).map(|codec| codec.line()).collect()
}
