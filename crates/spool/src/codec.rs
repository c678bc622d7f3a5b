//! Which codecs a part can hold, and how a track describes them.
//!
//! A part holds what ordinary players decode: G.711, G.722 and G.729 as Microsoft ACM formats (RFC 9559 codec
//! mapping `A_MS/ACM`: the private data is a WAVEFORMATEX), Opus with its own mapping. All else goes to the
//! sidecar as whole packets. Time is counted in ticks of 125 µs, one sample of G.711.
//!
//! ```text
//! WAVEFORMATEX, little-endian          OpusHead (RFC 7845 section 5.1), little-endian
//! 0  format tag       u16              0  "OpusHead"
//! 2  channels         u16              8  version           1
//! 4  samples a second u32              9  channels          1 or 2
//! 8  bytes a second   u32              10 pre-skip          u16, 0: the stream was joined somewhere
//! 12 block align      u16              12 sample rate       u32, 48,000
//! 14 bits a sample    u16              16 gain, mapping     0, 0
//! 16 extra            u16, 0
//! ```

use media::g711;
use model::Codec;

/// One tick of a time line: 125 µs.
pub const TICK_US: i64 = 125;
/// Ticks in a second.
pub const TICKS_PER_SECOND: i64 = 1_000_000 / TICK_US;

/// What a track of a part can hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrackCodec {
    /// G.711 µ-law, 8 kHz, mono.
    Ulaw,
    /// G.711 A-law, 8 kHz, mono.
    Alaw,
    /// G.722, 16 kHz, mono.
    G722,
    /// G.729 with annexes, 8 kHz, mono.
    G729,
    /// Opus; the packets say themselves how they are coded.
    Opus {
        /// 1, or 2 where `sprop-stereo` promises it.
        channels: u8,
    },
}

impl TrackCodec {
    /// How a part holds this codec, if it can.
    #[must_use]
    pub fn of(codec: &Codec) -> Option<Self> {
        let narrow = codec.clock_rate == 8_000 && codec.channels == 1;
        match () {
            () if codec.is("PCMU") && narrow => Some(Self::Ulaw),
            () if codec.is("PCMA") && narrow => Some(Self::Alaw),
            () if codec.is("G722") && narrow => Some(Self::G722),
            () if codec.is("G729") && narrow => Some(Self::G729),
            () if codec.is("OPUS") && codec.clock_rate == 48_000 => {
                let stereo = codec.fmtp.as_deref().is_some_and(|f| f.contains("sprop-stereo=1"));
                Some(Self::Opus { channels: if stereo { 2 } else { 1 } })
            }
            () => None,
        }
    }

    /// The codec as SDP names it, for a record that is rebuilt from a part alone.
    #[must_use]
    pub fn as_sdp(self) -> Codec {
        match self {
            Self::Ulaw => Codec::new("PCMU", 8_000, 1),
            Self::Alaw => Codec::new("PCMA", 8_000, 1),
            Self::G722 => Codec::new("G722", 8_000, 1),
            Self::G729 => Codec::new("G729", 8_000, 1),
            Self::Opus { .. } => Codec::new("OPUS", 48_000, 2),
        }
    }

    /// Matroska's codec id.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Opus { .. } => "A_OPUS",
            _ => "A_MS/ACM",
        }
    }

    /// Samples a second after decoding.
    #[must_use]
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Ulaw | Self::Alaw | Self::G729 => 8_000,
            Self::G722 => 16_000,
            Self::Opus { .. } => 48_000,
        }
    }

    /// Channels after decoding.
    #[must_use]
    pub const fn channels(self) -> u8 {
        match self {
            Self::Opus { channels } => channels,
            _ => 1,
        }
    }

    /// The private data of the track.
    #[must_use]
    pub fn private(self) -> Vec<u8> {
        let (tag, bytes_a_second, align, bits): (u16, u32, u16, u16) = match self {
            Self::Ulaw => (0x0007, 8_000, 1, 8),
            Self::Alaw => (0x0006, 8_000, 1, 8),
            Self::G722 => (0x028F, 8_000, 1, 4),
            Self::G729 => (0x0083, 1_000, 10, 1),
            Self::Opus { channels } => return opus_head(channels),
        };
        let mut out = Vec::with_capacity(18);
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&u16::from(self.channels()).to_le_bytes());
        out.extend_from_slice(&self.sample_rate().to_le_bytes());
        out.extend_from_slice(&bytes_a_second.to_le_bytes());
        out.extend_from_slice(&align.to_le_bytes());
        out.extend_from_slice(&bits.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out
    }

    /// The codec of a track that was read.
    #[must_use]
    pub fn of_track(id: &str, private: &[u8]) -> Option<Self> {
        match (id, private) {
            ("A_OPUS", [.., _]) => {
                Some(Self::Opus { channels: if private.get(9) == Some(&2) { 2 } else { 1 } })
            }
            ("A_MS/ACM", [low, high, ..]) => match u16::from_le_bytes([*low, *high]) {
                0x0007 => Some(Self::Ulaw),
                0x0006 => Some(Self::Alaw),
                0x028F => Some(Self::G722),
                0x0083 => Some(Self::G729),
                _ => None,
            },
            _ => None,
        }
    }

    /// The octet whose repetition is silence; none where gaps stay open. One octet is one tick.
    #[must_use]
    pub const fn fill(self) -> Option<u8> {
        match self {
            Self::Ulaw => Some(g711::SILENCE_ULAW),
            Self::Alaw => Some(g711::SILENCE_ALAW),
            Self::G722 | Self::G729 | Self::Opus { .. } => None,
        }
    }

    /// How many ticks a payload lasts, rounded down; 0 when it does not tell.
    #[must_use]
    pub fn ticks(self, payload: &[u8]) -> i64 {
        let octets = i64::try_from(payload.len()).unwrap_or(i64::MAX);
        match self {
            // 64 kbit/s: an octet is one sample of G.711, two of G.722.
            Self::Ulaw | Self::Alaw | Self::G722 => octets,
            // 10 octets are 10 ms; a shorter rest is a comfort noise frame of annex B, 10 ms too.
            Self::G729 => octets.saturating_add(9) / 10 * 80,
            Self::Opus { .. } => opus_ticks(payload),
        }
    }
}

fn opus_head(channels: u8) -> Vec<u8> {
    let mut out = b"OpusHead".to_vec();
    out.extend_from_slice(&[1, channels, 0, 0]);
    out.extend_from_slice(&48_000_u32.to_le_bytes());
    out.extend_from_slice(&[0, 0, 0]);
    out
}

/// The duration of an Opus packet by its table of contents (RFC 6716 section 3.1), in ticks.
fn opus_ticks(payload: &[u8]) -> i64 {
    let Some(toc) = payload.first() else { return 0 };
    // In 125 µs: SILK 10, 20, 40, 60 ms; hybrid 10, 20 ms; CELT 2.5, 5, 10, 20 ms.
    let frame = match toc >> 3 {
        config @ 0..=11 => [80, 160, 320, 480][usize::from(config & 3)],
        config @ 12..=15 => [80, 160][usize::from(config & 1)],
        config => [20, 40, 80, 160][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => i64::from(payload.get(1).map_or(0, |count| count & 0x3f)),
    };
    // 120 ms is the most that a packet may hold (RFC 6716 section 3.4, R5).
    (frame * frames).min(960)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_track_says_is_read_back() {
        for (name, clock, channels, expected) in [
            ("PCMU", 8_000, 1, Some(TrackCodec::Ulaw)),
            ("pcma", 8_000, 1, Some(TrackCodec::Alaw)),
            ("G722", 8_000, 1, Some(TrackCodec::G722)),
            ("G729", 8_000, 1, Some(TrackCodec::G729)),
            ("opus", 48_000, 2, Some(TrackCodec::Opus { channels: 1 })),
            ("PCMU", 16_000, 1, None),
            ("PCMU", 8_000, 2, None),
            ("AMR", 8_000, 1, None),
            ("telephone-event", 8_000, 1, None),
        ] {
            let codec = TrackCodec::of(&Codec::new(name, clock, channels));
            assert_eq!(codec, expected, "{name}");
            if let Some(codec) = codec {
                assert_eq!(TrackCodec::of_track(codec.id(), &codec.private()), Some(codec));
                assert_eq!(TrackCodec::of(&codec.as_sdp()), Some(codec));
            }
        }
        let stereo =
            Codec { fmtp: Some("sprop-stereo=1; useinbandfec=1".into()), ..Codec::new("opus", 48_000, 2) };
        assert_eq!(TrackCodec::of(&stereo), Some(TrackCodec::Opus { channels: 2 }));
    }

    #[test]
    fn payloads_tell_how_long_they_last() {
        for (codec, payload, ms) in [
            (TrackCodec::Ulaw, vec![0; 160], 20),
            (TrackCodec::G722, vec![0; 240], 30),
            (TrackCodec::G729, vec![0; 20], 20),
            (TrackCodec::G729, vec![0; 12], 20),
            (TrackCodec::Opus { channels: 1 }, vec![0x78, 1, 2], 20),
            (TrackCodec::Opus { channels: 1 }, vec![0x08 | 3, 3, 2], 60),
            (TrackCodec::Opus { channels: 1 }, vec![0x18 | 3, 63], 120),
            (TrackCodec::Opus { channels: 1 }, vec![], 0),
        ] {
            assert_eq!(codec.ticks(&payload), ms * 8, "{codec:?} {payload:?}");
        }
    }
}
