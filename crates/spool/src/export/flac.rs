//! FLAC: every sample as it was assembled, and up to 31 of silence behind the last where the last frame would be too short
//! for the encoder. How long the file is shows only when it has been made.
//!
//! ```text
//!  "fLaC" │ 00 000022 STREAMINFO │ 84 length VORBIS_COMMENT │ frame (4,096 samples) │ …      (RFC 9639)
//! ```

use flacenc::bitsink::ByteSink;
use flacenc::component::{BitRepr, StreamInfo};
use flacenc::config;
use flacenc::error::{Verified, Verify};
use flacenc::source::{Fill, FrameBuf};

use super::pcm::Pcm;
use super::tags::Tags;
use super::{ExportError, Tools};
use crate::assemble::Options;

/// 4,096 samples in a frame, as encoders commonly do.
const BLOCK: usize = 4_096;
/// 2 to 4 ms at 8 and 16 kHz: the encoder makes no shorter frame, also not the last, which RFC 9639 allows to be shorter.
const SHORTEST: u64 = 32;
/// 8 frames at a time: 4 s at 8 kHz.
const BLOCKS_A_PIECE: u64 = 8;

/// A FLAC file.
pub(super) struct Flac {
    info: StreamInfo,
    config: Verified<config::Encoder>,
    channels: usize,
    total: u64,
    pub(super) head: Vec<u8>,
}

impl Flac {
    pub(super) fn new(options: Options, tags: &Tags, total: u64) -> Result<Self, ExportError> {
        let channels = usize::from(options.layout.channels());
        let rate = usize::try_from(options.rate.hz()).unwrap_or(0);
        let info = StreamInfo::new(rate, channels, 16).map_err(|e| failed(&e))?;
        let config = config::Encoder::default().into_verified().map_err(|(_, e)| failed(&e))?;
        let total = match total % BLOCK as u64 {
            rest @ 1..SHORTEST => total - rest + SHORTEST,
            _ => total,
        };
        Ok(Self { info, config, channels, total, head: head(options, tags, total) })
    }

    pub(super) const fn pieces(&self) -> u64 {
        self.total.div_ceil(BLOCK as u64 * BLOCKS_A_PIECE)
    }

    pub(super) fn make(&self, piece: u64, pcm: &mut Pcm, tools: &Tools<'_>) -> Result<Vec<u8>, ExportError> {
        let mut sink = ByteSink::new();
        for block in piece * BLOCKS_A_PIECE..(piece + 1) * BLOCKS_A_PIECE {
            let from = block * BLOCK as u64;
            let count = usize::try_from(self.total.saturating_sub(from)).unwrap_or(BLOCK).min(BLOCK);
            if count == 0 {
                break;
            }
            let samples = pcm.read(i64::try_from(from).unwrap_or(i64::MAX), count, tools)?;
            let samples: Vec<i32> = samples.into_iter().map(i32::from).collect();
            let mut buffer = FrameBuf::with_size(self.channels, count).map_err(|e| failed(&e))?;
            buffer.fill_interleaved(&samples).map_err(|e| failed(&e))?;
            let number = usize::try_from(block).unwrap_or(usize::MAX);
            let frame = flacenc::encode_fixed_size_frame(&self.config, &buffer, number, &self.info);
            frame.map_err(|e| failed(&e))?.write(&mut sink).map_err(|e| failed(&e))?;
        }
        Ok(sink.into_inner())
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExportError {
    ExportError::Encoder(format!("FLAC: {error}"))
}

/// Octets of frames and the digest of the samples are not known yet: 0 says so (RFC 9639 section 8.2).
fn head(options: Options, tags: &Tags, total: u64) -> Vec<u8> {
    let mut out = b"fLaC".to_vec();
    out.extend_from_slice(&[0, 0, 0, 34]);
    let [high, low] = u16::try_from(BLOCK).unwrap_or(u16::MAX).to_be_bytes();
    out.extend_from_slice(&[high, low, high, low, 0, 0, 0, 0, 0, 0]);
    // 20 bits of rate, 3 of channels less one, 5 of bits less one, 36 of samples; 0 where they are too many.
    let total = if total < 1 << 36 { total } else { 0 };
    let channels = u64::from(options.layout.channels()) - 1;
    let packed = u64::from(options.rate.hz()) << 44 | channels << 41 | 15 << 36 | total;
    out.extend_from_slice(&packed.to_be_bytes());
    out.extend_from_slice(&[0; 16]);
    let comment = tags.vorbis();
    let [_, length @ ..] = u32::try_from(comment.len()).unwrap_or(0).to_be_bytes();
    out.push(0x84);
    out.extend_from_slice(&length);
    out.extend_from_slice(&comment);
    out
}
