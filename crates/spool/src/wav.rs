//! The head of a WAV file: PCM of 16 bits, its length known before its first sample.
//!
//! ```text
//!  0  "RIFF"  u32 length of what follows    8  "WAVE"
//! 12  "fmt "  u32 16 · u16 1 (PCM) · u16 channels · u32 rate · u32 bytes a second · u16 align · u16 16
//! 36  "data"  u32 length of the samples     44 samples
//! ```

/// The length of the head.
pub const HEADER_BYTES: u64 = 44;
/// What 32 bits of length leave for samples: 37 hours of stereo at 8 kHz.
pub const SAMPLES_MAX_BYTES: u64 = u32::MAX as u64 - 36;

/// The head of a file of `samples` samples of each channel and so many octets behind them. What is too long for the format is shown as the
/// longest that is not: players then play to the end of the file.
#[must_use]
pub fn wav_header(channels: u16, rate: u32, samples: u64, behind: usize) -> [u8; 44] {
    let align = channels.saturating_mul(2);
    let data = samples.saturating_mul(align.into()).min(SAMPLES_MAX_BYTES);
    let data = u32::try_from(data).unwrap_or(u32::MAX);
    let mut out = [0; 44];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"RIFF");
    put(&data.saturating_add(36).saturating_add(u32::try_from(behind).unwrap_or(0)).to_le_bytes());
    put(b"WAVEfmt ");
    put(&16_u32.to_le_bytes());
    put(&1_u16.to_le_bytes());
    put(&channels.to_le_bytes());
    put(&rate.to_le_bytes());
    put(&rate.saturating_mul(align.into()).to_le_bytes());
    put(&align.to_le_bytes());
    put(&16_u16.to_le_bytes());
    put(b"data");
    put(&data.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_what_follows() {
        let head = wav_header(2, 8_000, 8_000, 0);
        let u32_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        assert_eq!((&head[..4], &head[8..16], &head[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
        assert_eq!((u32_at(4), u32_at(24), u32_at(28), u32_at(40)), (32_036, 8_000, 32_000, 32_000));
        assert_eq!(&head[20..24], &[1, 0, 2, 0]);
        assert_eq!(&wav_header(2, 8_000, u64::MAX, 0)[4..8], &[0xFF; 4]);
    }
}
