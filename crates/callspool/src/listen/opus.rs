//! What is said now, as Opus in Ogg: a page for each 20 ms, sent when it is full.

use media::listen::{OpusEncoder, OpusEncoderError};
use model::CallId;
use spool::ogg::{self, GRANULE_RATE, Which};

/// Bits a second for each channel: good speech at 16 kHz, half of it at 8 kHz, and what music on hold takes at 48.
const BITS: [(u32, i32); 3] = [(8_000, 12_000), (16_000, 20_000), (48_000, 32_000)];
/// A packet's share of a second.
const PACKETS_A_SECOND: u32 = 50;

/// An Ogg Opus file without an end.
pub(super) struct LiveOpus {
    encoder: OpusEncoder,
    /// What is to be sent first; none when it was.
    head: Vec<u8>,
    serial: u32,
    /// Pages so far, and how far the sound reaches.
    pages: u64,
    granule: u64,
    /// Samples that do not fill a packet yet, channels interleaved.
    waiting: Vec<i16>,
    /// Samples of a packet, of all channels together.
    packet: usize,
}

impl LiveOpus {
    pub(super) fn new(call: CallId, rate: u32, channels: u8) -> Result<Self, OpusEncoderError> {
        let bits = BITS.iter().find(|(of, _)| *of == rate).map_or(32_000, |(_, bits)| *bits);
        let mut encoder = OpusEncoder::as_needed(rate, channels, bits * i32::from(channels))?;
        let skip = u64::from(encoder.lookahead()?) * GRANULE_RATE / u64::from(rate.max(1));
        // A serial is only to differ from that of another file that may be joined to this one.
        let serial = u32::try_from(call.as_u64() & 0xFFFF_FFFF).unwrap_or(0);
        let vendor = concat!("callspool ", env!("CARGO_PKG_VERSION"));
        let length = u32::try_from(vendor.len()).unwrap_or(0).to_le_bytes();
        let comment = [&length[..], vendor.as_bytes(), &[0; 4]].concat();
        let first = ogg::opus_head(channels, u16::try_from(skip).unwrap_or(0), rate);
        let head = ogg::head(serial, &first, &comment);
        let packet = usize::try_from(rate / PACKETS_A_SECOND).unwrap_or(1) * usize::from(channels);
        Ok(Self { encoder, head, serial, pages: 2, granule: 0, waiting: Vec::new(), packet })
    }

    /// Takes samples, and gives the pages that they fill, the head before the first ones.
    pub(super) fn encode(&mut self, samples: &[i16]) -> Result<Vec<u8>, OpusEncoderError> {
        let mut out = std::mem::take(&mut self.head);
        self.waiting.extend_from_slice(samples);
        let whole = self.waiting.len() / self.packet.max(1) * self.packet;
        let waiting = self.waiting.split_off(whole);
        for samples in std::mem::replace(&mut self.waiting, waiting).chunks(self.packet.max(1)) {
            let packet = self.encoder.encode(samples)?;
            self.granule += GRANULE_RATE / u64::from(PACKETS_A_SECOND);
            out.extend(ogg::page(self.serial, Which::Middle, self.granule, self.pages, &[packet]));
            self.pages += 1;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::tone::Tone;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn pieces_of_any_length_become_a_file_that_players_take() {
        for (rate, channels) in [(8_000_u32, 1_u8), (16_000, 2), (48_000, 2)] {
            let mut opus = LiveOpus::new(CallId::from_u64(7), rate, channels).unwrap();
            let frames = usize::try_from(rate).unwrap() * 2;
            let mut tone = Vec::new();
            Tone::sine(rate, 440.0, -12.0).fill(frames, &mut tone);
            let samples: Vec<i16> =
                tone.into_iter().flat_map(|s| std::iter::repeat_n(s, usize::from(channels))).collect();
            let mut file = Vec::new();
            for piece in samples.chunks(333 * usize::from(channels)) {
                file.extend(opus.encode(piece).unwrap());
            }
            let mut ffmpeg = Command::new("ffmpeg");
            ffmpeg.args(["-v", "error", "-i", "pipe:0", "-f", "s16le", "-ar", "48000", "pipe:1"]);
            let mut player =
                ffmpeg.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut stdin = player.stdin.take().unwrap();
            let fed = std::thread::spawn(move || stdin.write_all(&file));
            let done = player.wait_with_output().unwrap();
            fed.join().unwrap().unwrap();
            assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
            let heard = done.stdout.len() / 2 / usize::from(channels);
            assert!((94_000..=96_000).contains(&heard), "{rate} Hz: {heard} samples of 2 s");
        }
    }
}
