//! Ogg with Opus in it (RFC 3533, RFC 7845): pages, and what the first two of them hold.
//!
//! ```text
//!  page  0 "OggS"  4 version 0  5 flags: 2 first, 4 last  6 granule u64  14 serial u32  18 sequence u32
//!        22 CRC u32  26 segments u8  27 lacing values … packets
//! ```

use std::slice;

/// Granules of Opus count at 48 kHz, whatever the rate of the sound.
pub const GRANULE_RATE: u64 = 48_000;

/// Which page of its stream it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The first one: it holds [`opus_head`] alone.
    First,
    /// One in between.
    Middle,
    /// The last one.
    Last,
}

/// What the first page holds: channels, how many granules are to be skipped at the beginning, and samples a second
/// of what was encoded, for those who want to know.
#[must_use]
pub fn opus_head(channels: u8, skip: u16, rate: u32) -> Vec<u8> {
    let mut out = b"OpusHead".to_vec();
    out.extend_from_slice(&[1, channels]);
    out.extend_from_slice(&skip.to_le_bytes());
    out.extend_from_slice(&rate.to_le_bytes());
    out.extend_from_slice(&[0, 0, 0]);
    out
}

/// What the second page holds: a Vorbis comment.
#[must_use]
pub fn opus_tags(comment: &[u8]) -> Vec<u8> {
    [b"OpusTags", comment].concat()
}

/// A page of whole packets. `granule` is how far the sound reaches behind the last of them; `sequence` counts pages.
/// At most 255 segments, of 255 octets each, fit on it.
#[must_use]
pub fn page(serial: u32, which: Which, granule: u64, sequence: u64, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut lacing = Vec::new();
    for packet in packets {
        lacing.resize(lacing.len() + packet.len() / 255, 255);
        lacing.push(u8::try_from(packet.len() % 255).unwrap_or(0));
    }
    let flags = match which {
        Which::First => 2,
        Which::Middle => 0,
        Which::Last => 4,
    };
    let mut out = b"OggS\0".to_vec();
    out.push(flags);
    out.extend_from_slice(&granule.to_le_bytes());
    out.extend_from_slice(&serial.to_le_bytes());
    out.extend_from_slice(&u32::try_from(sequence).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.push(u8::try_from(lacing.len()).unwrap_or(u8::MAX));
    out.append(&mut lacing);
    out.extend(packets.iter().flatten());
    let crc = crc(&out).to_le_bytes();
    if let Some(place) = out.get_mut(22..26) {
        place.copy_from_slice(&crc);
    }
    out
}

/// The two pages that a stream begins with.
#[must_use]
pub fn head(serial: u32, opus_head: &Vec<u8>, comment: &[u8]) -> Vec<u8> {
    let first = page(serial, Which::First, 0, 0, slice::from_ref(opus_head));
    let second = page(serial, Which::Middle, 0, 1, &[opus_tags(comment)]);
    [first, second].concat()
}

/// Ogg's own: polynomial 04c11db7, not reflected, from 0 (RFC 3533 section 6).
fn crc(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    bytes.iter().fold(0, |crc: u32, octet| {
        let index = usize::from((crc >> 24).to_le_bytes()[0] ^ octet);
        crc << 8 ^ TABLE.get(index).copied().unwrap_or(0)
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0_u32;
    while n < 256 {
        let mut crc = n << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 != 0 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 };
            bit += 1;
        }
        table[n as usize] = crc;
        n += 1;
    }
    table
}
