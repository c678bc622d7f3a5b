//! Decoding in process: one payload after the other, mono, 16 bits.

use ezk_g722::libg722::Bitrate;
use ezk_g722::libg722::decoder::Decoder as G722;
use model::Codec;

use crate::g711;

/// 120 ms at 48 kHz: the most that an Opus packet may hold (RFC 6716 section 3.4, R5).
const OPUS_SAMPLES_MAX: usize = 5_760;
/// 48 kHz: Opus decodes to it whatever was coded (RFC 7587 section 4.1).
const OPUS_RATE: u32 = 48_000;

/// A codec that is decoded here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InProcess {
    /// G.711 µ-law.
    Ulaw,
    /// G.711 A-law.
    Alaw,
    /// G.722 at 64 kbit/s (RFC 3551 section 4.5.2): its RTP clock says 8,000, it samples at 16 kHz.
    G722,
    /// Opus, stereo mixed to one channel by its decoder.
    Opus,
    /// Linear PCM of 16 bits, big-endian, mono (RFC 3551 section 4.5.11), at this many samples a second.
    Linear(u32),
}

impl InProcess {
    /// How a codec of SDP is decoded here, if it is.
    #[must_use]
    pub fn of(codec: &Codec) -> Option<Self> {
        let narrow = codec.clock_rate == 8_000 && codec.channels == 1;
        match () {
            () if codec.is("PCMU") && narrow => Some(Self::Ulaw),
            () if codec.is("PCMA") && narrow => Some(Self::Alaw),
            () if codec.is("G722") && narrow => Some(Self::G722),
            () if codec.is("OPUS") && codec.clock_rate == 48_000 => Some(Self::Opus),
            () if codec.is("L16")
                && codec.channels == 1
                && matches!(codec.clock_rate, 8_000 | 16_000 | 48_000) =>
            {
                Some(Self::Linear(codec.clock_rate))
            }
            () => None,
        }
    }

    /// Samples a second after decoding; always a multiple of 8,000.
    #[must_use]
    pub const fn rate(self) -> u32 {
        match self {
            Self::Ulaw | Self::Alaw => 8_000,
            Self::G722 => 16_000,
            Self::Opus => OPUS_RATE,
            Self::Linear(rate) => rate,
        }
    }
}

/// A payload that its codec does not know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Opus cannot be read.
    #[error("no Opus packet: {0}")]
    Opus(&'static str),
}

/// Decodes the payloads of one stream, in the order in which they were sent.
pub enum Decoder {
    /// µ-law: each octet by itself.
    Ulaw,
    /// A-law: each octet by itself.
    Alaw,
    /// Adaptive: each octet depends on those before.
    G722(Box<G722>),
    /// Each packet depends on some before it, 80 ms at most (RFC 7845 section 4.6).
    Opus(Box<opus::Decoder>),
    /// Samples as they are.
    Linear,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ulaw => "Ulaw",
            Self::Alaw => "Alaw",
            Self::G722(_) => "G722",
            Self::Opus(_) => "Opus",
            Self::Linear => "Linear",
        })
    }
}

impl Decoder {
    /// A decoder that has heard nothing. It fails only where memory does.
    pub fn new(codec: InProcess) -> Result<Self, DecodeError> {
        Ok(match codec {
            InProcess::Ulaw => Self::Ulaw,
            InProcess::Alaw => Self::Alaw,
            InProcess::G722 => Self::G722(Box::new(G722::new(Bitrate::Mode1_64000, false, false))),
            InProcess::Opus => {
                let decoder = opus::Decoder::new(OPUS_RATE, opus::Channels::Mono);
                Self::Opus(Box::new(decoder.map_err(|e| DecodeError::Opus(e.description()))?))
            }
            InProcess::Linear(_) => Self::Linear,
        })
    }

    /// Decodes a payload and appends its samples to `out`.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), DecodeError> {
        match self {
            Self::Ulaw => out.extend(payload.iter().map(|o| g711::decode_ulaw(*o))),
            Self::Alaw => out.extend(payload.iter().map(|o| g711::decode_alaw(*o))),
            Self::G722(decoder) => out.extend(decoder.decode(payload)),
            Self::Opus(decoder) => return decode_opus(decoder, payload, out),
            Self::Linear => out.extend(payload.as_chunks::<2>().0.iter().map(|s| i16::from_be_bytes(*s))),
        }
        Ok(())
    }
}

fn decode_opus(decoder: &mut opus::Decoder, payload: &[u8], out: &mut Vec<i16>) -> Result<(), DecodeError> {
    // An empty payload would be taken for a lost packet.
    if payload.is_empty() {
        return Ok(());
    }
    let begin = out.len();
    out.resize(begin + OPUS_SAMPLES_MAX, 0);
    let room = out.get_mut(begin..).unwrap_or_default();
    let decoded = decoder.decode(payload, room, false);
    out.truncate(begin + decoded.as_ref().copied().unwrap_or(0));
    decoded.map(|_| ()).map_err(|e| DecodeError::Opus(e.description()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::OpusEncoder;
    use crate::tone::{Tone, level};
    use ezk_g722::libg722::encoder::Encoder;
    use proptest::prelude::{any, proptest};

    fn tone(rate: u32, hertz: f64, dbfs: f64) -> Vec<i16> {
        let mut out = Vec::new();
        Tone::sine(rate, hertz, dbfs).fill(rate as usize, &mut out);
        out
    }

    fn decode(codec: InProcess, payloads: &[Vec<u8>]) -> Vec<i16> {
        let mut decoder = Decoder::new(codec).unwrap();
        let mut out = Vec::new();
        payloads.iter().for_each(|p| decoder.decode(p, &mut out).unwrap());
        out
    }

    /// A second of a tone, as each codec sends it in packets of 20 ms.
    fn coded(codec: InProcess, sound: &[i16]) -> Vec<Vec<u8>> {
        let frame = codec.rate() as usize / 50;
        let mut g722 = Encoder::new(Bitrate::Mode1_64000, false, false);
        let mut opus = OpusEncoder::new(48_000, 1, 80).unwrap();
        sound
            .chunks_exact(frame)
            .map(|samples| match codec {
                InProcess::Ulaw => samples.iter().map(|s| g711::encode_ulaw(*s)).collect(),
                InProcess::Alaw => samples.iter().map(|s| g711::encode_alaw(*s)).collect(),
                InProcess::G722 => g722.encode(samples),
                InProcess::Opus => opus.encode(samples).unwrap(),
                InProcess::Linear(_) => samples.iter().flat_map(|s| s.to_be_bytes()).collect(),
            })
            .collect()
    }

    #[test]
    fn a_tone_keeps_its_level_and_its_length_in_each_codec() {
        for codec in
            [InProcess::Ulaw, InProcess::Alaw, InProcess::G722, InProcess::Opus, InProcess::Linear(16_000)]
        {
            let heard = decode(codec, &coded(codec, &tone(codec.rate(), 440.0, -12.0)));
            assert_eq!(heard.len(), codec.rate() as usize, "{codec:?}");
            let settled = &heard[heard.len() / 4..heard.len() * 3 / 4];
            let level = level(settled, codec.rate(), 440.0);
            assert!((level + 12.0).abs() < 0.5, "{codec:?}: {level} dBFS");
        }
    }

    #[test]
    fn sdp_names_are_known() {
        for (name, clock, channels, expected) in [
            ("pcmu", 8_000, 1, Some(InProcess::Ulaw)),
            ("G722", 8_000, 1, Some(InProcess::G722)),
            ("opus", 48_000, 2, Some(InProcess::Opus)),
            ("L16", 16_000, 1, Some(InProcess::Linear(16_000))),
            ("L16", 44_100, 1, None),
            ("PCMU", 8_000, 2, None),
            ("G729", 8_000, 1, None),
        ] {
            assert_eq!(InProcess::of(&Codec::new(name, clock, channels)), expected, "{name}/{clock}");
        }
    }

    proptest! {
        #[test]
        fn any_payload_is_survived(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 1..8)) {
            for codec in [InProcess::Ulaw, InProcess::G722, InProcess::Opus, InProcess::Linear(8_000)] {
                let mut decoder = Decoder::new(codec).unwrap();
                let mut out = Vec::new();
                for payload in &payloads {
                    let before = out.len();
                    let _ = decoder.decode(payload, &mut out);
                    assert!(out.len() - before <= OPUS_SAMPLES_MAX.max(payload.len() * 2));
                }
            }
        }
    }
}
