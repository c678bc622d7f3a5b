//! MP3 (ISO/IEC 11172-3, 13818-3 and MPEG 2.5): constant bit rate, no bit reservoir, frames of one length, so that
//! where each sample lies can be computed before anything is encoded.
//!
//! The frames are made by another program ([`Mp3Encoder`]), a *piece* of some 30 s at a time. Each piece is encoded
//! with a lead-in and a lead-out that are thrown away, always on the same grid: a file is its pieces, whoever asks
//! for which of them in which order.
//!
//! ```text
//!  ID3 tag │ Info frame │ frame 0 │ frame 1 │ …          each 72 or 144 × bit rate / rate octets
//!            "Info" flags frames octets "LAME…" delay and padding: players cut both off
//!
//!  samples ──┤lead-in├──── piece n ────┤lead-out├──
//! ```

use super::pcm::Pcm;
use super::tags::Tags;
use super::{ExportError, Tools};
use crate::assemble::{Options, Rate};

/// 30 s: the program starts in a few milliseconds; a piece takes a tenth of a second, so a player begins at once.
const PIECE_SECONDS: u64 = 30;
/// 12 frames, 0.3 to 0.9 s: what an encoder knows of the sound before.
const LEAD_IN: u64 = 12;
/// 4 frames: what it looks ahead, and what it does at the end.
const LEAD_OUT: u64 = 4;
/// Samples by which encoders delay.
const DELAY: u64 = 576;
/// Samples by which decoders delay, which must be pushed through behind the last one.
const DECODER_DELAY: u64 = 529;
/// Octets of an Info frame without table, and of what LAME adds, behind head and side information.
const INFO_OCTETS: usize = 16 + 36;

/// kbit/s by index: MPEG 2 and 2.5.
const LOW_RATES: [u16; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
/// kbit/s by index: MPEG 1.
const HIGH_RATES: [u16; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];

/// Makes frames of samples.
pub trait Mp3Encoder: Sync {
    /// Whether it can, without trying.
    fn can(&self) -> Result<(), Mp3EncoderError>;
    /// Encodes interleaved samples to frames of a constant bit rate without reservoir, from the first sample on,
    /// with neither tags nor an Info frame. It may block, and it ends within some time.
    fn encode(&self, setup: Mp3Setup, samples: &[i16]) -> Result<Vec<u8>, Mp3EncoderError>;
}

/// Why there are no frames: what, why and what to do, for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mp3EncoderError {
    /// There is no program for it.
    #[error("{0}")]
    Missing(String),
    /// It was tried, and failed.
    #[error("{0}")]
    Failed(String),
}

/// What to encode to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mp3Setup {
    /// Samples a second, in and out.
    pub rate: u32,
    /// 1 or 2, each by itself: two people are no stereo image.
    pub channels: u8,
    /// kbit/s.
    pub bitrate: u16,
}

/// No program at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoMp3Encoder;

impl Mp3Encoder for NoMp3Encoder {
    fn can(&self) -> Result<(), Mp3EncoderError> {
        Err(Mp3EncoderError::Missing("there is no program that encodes MP3".to_owned()))
    }

    fn encode(&self, _setup: Mp3Setup, _samples: &[i16]) -> Result<Vec<u8>, Mp3EncoderError> {
        self.can().map(|()| Vec::new())
    }
}

/// An MP3 file.
pub(super) struct Mp3 {
    setup: Mp3Setup,
    /// Frames, the Info frame not among them.
    frames: u64,
    pub(super) head: Vec<u8>,
}

/// The bit rates that a rate may have: those whose frames have room for what players must know.
pub(super) fn bitrates(options: Options) -> Vec<u16> {
    let all = if options.rate == Rate::Full { HIGH_RATES } else { LOW_RATES };
    let most = if options.rate == Rate::Narrow { 64 } else { u16::MAX };
    all.into_iter()
        .filter(|kbps| *kbps > 0 && *kbps <= most)
        .filter(|kbps| {
            let setup =
                Mp3Setup { rate: options.rate.hz(), channels: options.layout.channels(), bitrate: *kbps };
            setup.octets() >= 4 + setup.side_octets() + INFO_OCTETS
        })
        .collect()
}

/// Good speech at each rate.
pub(super) const fn default_bitrate(options: Options) -> u16 {
    match (options.rate, options.layout.channels()) {
        (Rate::Narrow, 2) => 32,
        (Rate::Narrow, _) => 24,
        (Rate::Wide, 2) => 64,
        (Rate::Wide, _) => 40,
        (Rate::Full, 2) => 128,
        (Rate::Full, _) => 64,
    }
}

impl Mp3Setup {
    const fn is_mpeg1(self) -> bool {
        self.rate >= 32_000
    }

    /// Samples in a frame.
    const fn frame_samples(self) -> u64 {
        if self.is_mpeg1() { 1_152 } else { 576 }
    }

    /// Octets in a frame. At 8, 16 and 48 kHz they are whole, so no frame is ever padded.
    fn octets(self) -> usize {
        let octets = self.frame_samples() / 8 * u64::from(self.bitrate) * 1_000 / u64::from(self.rate.max(1));
        usize::try_from(octets).unwrap_or(0)
    }

    const fn side_octets(self) -> usize {
        match (self.is_mpeg1(), self.channels) {
            (true, 2) => 32,
            (true, _) | (false, 2) => 17,
            (false, _) => 9,
        }
    }

    fn head(self) -> [u8; 4] {
        let (version, rates, frequency) = match self.rate {
            8_000 => (0b00, LOW_RATES, 2),
            16_000 => (0b10, LOW_RATES, 2),
            _ => (0b11, HIGH_RATES, 1),
        };
        let index = rates.iter().position(|r| *r == self.bitrate).unwrap_or(0);
        let index = u8::try_from(index).unwrap_or(0);
        // Layer III, no CRC; no padding; separate channels or one; an original.
        let mode = if self.channels == 2 { 0b00 } else { 0b11 };
        [0xFF, 0xE0 | version << 3 | 0b01 << 1 | 1, index << 4 | frequency << 2, mode << 6 | 0x04]
    }

    fn frames_a_piece(self) -> u64 {
        PIECE_SECONDS * u64::from(self.rate) / self.frame_samples()
    }
}

impl Mp3 {
    pub(super) fn new(setup: Mp3Setup, tags: &Tags, samples: u64) -> Self {
        let frames = (samples + DELAY + DECODER_DELAY).div_ceil(setup.frame_samples());
        let mut head = tags.id3();
        head.extend(info_frame(setup, frames, samples));
        Self { setup, frames, head }
    }

    pub(super) fn pieces(&self) -> u64 {
        self.frames.div_ceil(self.setup.frames_a_piece())
    }

    /// The octets of every piece but the last.
    pub(super) fn piece_octets(&self) -> u64 {
        self.setup.frames_a_piece() * self.setup.octets() as u64
    }

    pub(super) fn octets(&self) -> u64 {
        self.head.len() as u64 + self.frames * self.setup.octets() as u64
    }

    pub(super) fn make(&self, piece: u64, pcm: &mut Pcm, tools: &Tools<'_>) -> Result<Vec<u8>, ExportError> {
        let first = piece * self.setup.frames_a_piece();
        let count = self.setup.frames_a_piece().min(self.frames.saturating_sub(first));
        let samples = self.setup.frame_samples();
        let from = i64::try_from(first * samples).unwrap_or(i64::MAX);
        let from = from.saturating_sub(i64::try_from(LEAD_IN * samples).unwrap_or(0));
        let frames = LEAD_IN + count + LEAD_OUT;
        let pcm = pcm.read(from, usize::try_from(frames * samples).unwrap_or(0), tools)?;
        let encoded = tools.mp3.encode(self.setup, &pcm)?;
        let octet =
            |frame: u64| usize::try_from(frame).unwrap_or(usize::MAX).saturating_mul(self.setup.octets());
        let kept = encoded.get(octet(LEAD_IN)..octet(LEAD_IN + count)).unwrap_or_default();
        let head = self.setup.head();
        let is_whole = kept.len() == octet(count)
            && kept.chunks(self.setup.octets().max(1)).all(|frame| frame.starts_with(&head[..3]));
        if !is_whole {
            let got = encoded.len();
            let why = format!(
                "MP3: the encoder gave {got} octets that are not the {frames} frames that were asked for"
            );
            return Err(ExportError::Encoder(why));
        }
        Ok(kept.to_vec())
    }
}

/// A frame that decodes to nothing and tells players what is to be cut off.
fn info_frame(setup: Mp3Setup, frames: u64, samples: u64) -> Vec<u8> {
    let mut out = setup.head().to_vec();
    out.resize(4 + setup.side_octets(), 0);
    out.extend_from_slice(b"Info");
    // Frames and octets follow.
    out.extend_from_slice(&3_u32.to_be_bytes());
    let clip = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&clip(frames));
    out.extend_from_slice(&clip((frames + 1) * setup.octets() as u64));
    // What LAME adds. Its name is what players look for before they believe the delay.
    out.extend_from_slice(b"LAME3.100");
    // Revision 0, constant bit rate.
    out.push(0x01);
    // Low-pass, peak, two gains, flags: unknown.
    out.extend_from_slice(&[0; 10]);
    out.push(u8::try_from(setup.bitrate).unwrap_or(u8::MAX));
    let padding = frames * setup.frame_samples() - DELAY - samples;
    let packed = DELAY << 12 | padding.min(0xFFF);
    out.extend_from_slice(packed.to_be_bytes().get(5..).unwrap_or_default());
    out.resize(setup.octets().max(out.len()), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::Layout;
    use model::{CallId, WallTime};

    #[test]
    fn heads_are_as_lame_writes_them() {
        for (rate, channels, bitrate, head, octets) in [
            (8_000, 2, 32, [0xFF, 0xE3, 0x48, 0x04], 288),
            (8_000, 1, 16, [0xFF, 0xE3, 0x28, 0xC4], 144),
            (16_000, 2, 64, [0xFF, 0xF3, 0x88, 0x04], 288),
            (48_000, 2, 128, [0xFF, 0xFB, 0x94, 0x04], 384),
        ] {
            let setup = Mp3Setup { rate, channels, bitrate };
            assert_eq!((setup.head(), setup.octets()), (head, octets), "{setup:?}");
        }
    }

    #[test]
    fn every_bit_rate_that_is_offered_has_whole_frames_with_room() {
        for rate in [Rate::Narrow, Rate::Wide, Rate::Full] {
            for layout in [Layout::Stereo, Layout::Mono] {
                let options = Options { rate, layout };
                let offered = bitrates(options);
                assert!(offered.contains(&default_bitrate(options)), "{options:?}: {offered:?}");
                for bitrate in offered {
                    let setup = Mp3Setup { rate: rate.hz(), channels: layout.channels(), bitrate };
                    let bits = setup.frame_samples() * u64::from(bitrate) * 1_000;
                    assert_eq!(bits % (8 * u64::from(setup.rate)), 0, "{setup:?}");
                    let tags =
                        Tags { call: CallId::from_u64(1), started: WallTime::default(), parties: None };
                    let mp3 = Mp3::new(setup, &tags, 12_345);
                    let info = mp3.head.len() - tags.id3().len();
                    assert_eq!(info, setup.octets(), "{setup:?}");
                }
            }
        }
    }
}
