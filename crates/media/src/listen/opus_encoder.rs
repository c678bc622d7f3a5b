//! Opus packets of 20 ms: all of the same length, so that the place of each in a file can be computed; or as long as
//! the sound needs, for what is sent as it is said.

/// 20 ms: 50 packets in a second.
const PACKETS_A_SECOND: usize = 50;
/// 5 of 10: where quality still grows with time spent; speech at twice that costs twice the time.
const COMPLEXITY: i32 = 5;

/// The longest packet of 20 ms that there is (RFC 6716 section 3.4).
const OCTETS_MAX: usize = 1_275;

/// How long packets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Length {
    /// All of them, and filled.
    Same,
    /// All of them, with padding behind what the sound needs.
    Padded,
    AsNeeded,
}

/// Why nothing can be encoded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the Opus encoder failed: {0}")]
pub struct OpusEncoderError(&'static str);

impl From<opus::Error> for OpusEncoderError {
    fn from(error: opus::Error) -> Self {
        Self(error.description())
    }
}

/// Encodes to packets of 20 ms.
pub struct OpusEncoder {
    encoder: opus::Encoder,
    length: Length,
    /// The length of packets, or what most of them are far below.
    octets: usize,
    samples: usize,
}

impl OpusEncoder {
    /// An encoder of interleaved samples at 8, 16 or 48 kHz, in 1 or 2 channels, to packets of so many octets.
    pub fn new(rate: u32, channels: u8, octets: usize) -> Result<Self, OpusEncoderError> {
        let bits = i32::try_from(octets * 8 * PACKETS_A_SECOND).unwrap_or(i32::MAX);
        Self::begin(rate, channels, bits, (Length::Same, octets))
    }

    /// The same, in little more than half of the time for speech: to fill each packet, the encoder tries up to six times.
    /// Here each is tried once, and what the sound does not need is padding; so it takes a tenth more octets to sound
    /// as well.
    pub fn padded(rate: u32, channels: u8, octets: usize) -> Result<Self, OpusEncoderError> {
        let bits = i32::try_from(octets * 8 * PACKETS_A_SECOND).unwrap_or(i32::MAX);
        Self::begin(rate, channels, bits, (Length::Padded, octets))
    }

    /// An encoder to packets that are as long as the sound needs: so many bits a second in the mean of speech, and
    /// a fraction of it for silence.
    pub fn as_needed(rate: u32, channels: u8, bits: i32) -> Result<Self, OpusEncoderError> {
        Self::begin(rate, channels, bits, (Length::AsNeeded, OCTETS_MAX))
    }

    fn begin(
        rate: u32,
        channels: u8,
        bits: i32,
        (length, octets): (Length, usize),
    ) -> Result<Self, OpusEncoderError> {
        let layout = if channels == 2 { opus::Channels::Stereo } else { opus::Channels::Mono };
        let mut encoder = opus::Encoder::new(rate, layout, opus::Application::Audio)?;
        encoder.set_bitrate(opus::Bitrate::Bits(bits))?;
        encoder.set_vbr(length != Length::Same)?;
        encoder.set_complexity(COMPLEXITY)?;
        encoder.set_signal(opus::Signal::Voice)?;
        let samples = usize::try_from(rate).unwrap_or(0) / PACKETS_A_SECOND * usize::from(channels.max(1));
        Ok(Self { encoder, length, octets, samples })
    }

    /// By how many samples of its rate what is heard lies behind what was encoded.
    pub fn lookahead(&mut self) -> Result<u32, OpusEncoderError> {
        Ok(u32::try_from(self.encoder.get_lookahead()?).unwrap_or(0))
    }

    /// Whether the next packets may lean on those before them. The first packet of an encoder that goes on where
    /// another one stopped must not: its decoder has heard the other's.
    pub fn lean_on_past(&mut self, lean: Lean) -> Result<(), OpusEncoderError> {
        Ok(self.encoder.set_prediction_disabled(lean == Lean::Never)?)
    }

    /// Encodes 20 ms; what is missing of them is silence.
    pub fn encode(&mut self, samples: &[i16]) -> Result<Vec<u8>, OpusEncoderError> {
        let mut padded = Vec::new();
        let samples = if samples.len() == self.samples {
            samples
        } else {
            padded.extend(samples.iter().copied().chain(std::iter::repeat(0)).take(self.samples));
            &padded
        };
        let mut packet = vec![0; self.octets];
        let octets = self.encoder.encode(samples, &mut packet)?;
        match self.length {
            Length::AsNeeded => packet.truncate(octets),
            _ if octets < self.octets => opus::packet::pad(&mut packet, octets).map(|_| ())?,
            _ => {}
        }
        Ok(packet)
    }
}

/// Whether a packet leans on those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lean {
    /// As the encoder likes.
    Freely,
    /// It stands for itself.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::Speech;

    #[test]
    fn every_packet_is_as_long_as_was_asked() {
        for (rate, channels, octets) in [(8_000, 1, 40), (8_000, 2, 60), (16_000, 2, 80), (48_000, 2, 240)] {
            let mut encoder = OpusEncoder::new(rate, channels, octets).unwrap();
            let mut speech = Vec::new();
            Speech::new(rate, 7).fill(rate as usize * usize::from(channels), &mut speech);
            let frame = rate as usize / 50 * usize::from(channels);
            for (n, samples) in speech.chunks(frame).enumerate() {
                let lean = if n % 7 == 0 { Lean::Never } else { Lean::Freely };
                encoder.lean_on_past(lean).unwrap();
                assert_eq!(encoder.encode(samples).unwrap().len(), octets, "{rate} Hz, packet {n}");
            }
            assert_eq!(encoder.encode(&[]).unwrap().len(), octets);
        }
    }

    #[test]
    fn silence_needs_little() {
        let mut encoder = OpusEncoder::as_needed(16_000, 2, 40_000).unwrap();
        let mut speech = Vec::new();
        Speech::new(16_000, 7).fill(64_000, &mut speech);
        let mut octets = |samples: &[i16]| -> usize {
            samples.chunks(640).map(|frame| encoder.encode(frame).unwrap().len()).sum()
        };
        let (spoken, silent) = (octets(&speech), octets(&[0; 64_000]));
        assert!((5_000..16_000).contains(&spoken), "{spoken} octets for 2 s of speech");
        assert!(silent * 2 < spoken, "{silent} octets for 2 s of silence");
    }
}
