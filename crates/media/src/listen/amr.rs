//! AMR and AMR-WB out of RTP (RFC 4867): payloads to the frames of its storage format.
//!
//! ```text
//! octet-aligned        CMR(4) R(4) │ F(1) FT(4) Q(1) P(2) │ … │ speech, each padded to an octet
//! bandwidth-efficient  CMR(4) F(1) FT(4) Q(1) … speech bits without padding between, padding at the end
//! storage (section 5)  P(1) FT(4) Q(1) P(2) │ speech, padded to an octet     each frame
//! ```
//!
//! Interleaving, CRCs and robust sorting are not read: nobody who streams a call uses them.

/// Speech bits of each frame type of AMR (3GPP TS 26.101): 4.75 to 12.2 kbit/s, then comfort noise.
const NARROW_BITS: [usize; 9] = [95, 103, 118, 134, 148, 159, 204, 244, 39];
/// Of AMR-WB (3GPP TS 26.201): 6.60 to 23.85 kbit/s, then comfort noise.
const WIDE_BITS: [usize; 10] = [132, 177, 253, 285, 317, 365, 397, 461, 477, 40];
/// No data: a frame of which nothing is said.
const NO_DATA: u8 = 15;
/// Lost speech, AMR-WB only.
const LOST: u8 = 14;
/// 12 frames are 240 ms: more than any sender puts into a packet.
const FRAMES_MAX: usize = 12;

/// How the frames stand in a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Packing {
    /// `octet-align=1`
    Octets,
    /// Without it.
    Bits,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Band {
    Narrow,
    Wide,
}

impl Band {
    fn bits(self, frame_type: u8) -> Option<usize> {
        let known = match self {
            Self::Narrow => NARROW_BITS.get(usize::from(frame_type)),
            Self::Wide => WIDE_BITS.get(usize::from(frame_type)),
        };
        match frame_type {
            NO_DATA => Some(0),
            LOST if self == Self::Wide => Some(0),
            _ => known.copied(),
        }
    }
}

/// Appends the frames of a payload in storage format; how many they are, 0 and nothing where it cannot be read.
pub(super) fn unpack(payload: &[u8], band: Band, packing: Packing, out: &mut Vec<u8>) -> usize {
    let begin = out.len();
    match frames(payload, band, packing, out) {
        Some(count) => count,
        None => {
            out.truncate(begin);
            0
        }
    }
}

fn frames(payload: &[u8], band: Band, packing: Packing, out: &mut Vec<u8>) -> Option<usize> {
    let mut bits = Bits { octets: payload, at: 0 };
    let align = |bits: &mut Bits<'_>| {
        if packing == Packing::Octets {
            bits.at = bits.at.next_multiple_of(8);
        }
    };
    bits.take(4)?;
    align(&mut bits);
    let mut table = Vec::new();
    loop {
        let entry = bits.take(6)?;
        align(&mut bits);
        table.push(((entry >> 1) & 0x0f, entry & 1));
        if entry & 0x20 == 0 {
            break;
        }
        if table.len() >= FRAMES_MAX {
            return None;
        }
    }
    for (frame_type, quality) in &table {
        let length = band.bits(*frame_type)?;
        out.push(frame_type << 3 | quality << 2);
        let mut left = length;
        while left > 0 {
            let some = left.min(8);
            out.push(bits.take(some)? << (8 - some));
            left -= some;
        }
        align(&mut bits);
    }
    Some(table.len())
}

/// Reads bits, the most significant first.
struct Bits<'a> {
    octets: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// Up to 8 bits.
    fn take(&mut self, count: usize) -> Option<u8> {
        let mut value = 0;
        for _ in 0..count {
            let octet = self.octets.get(self.at / 8)?;
            value = value << 1 | (octet >> (7 - self.at % 8)) & 1;
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    fn check(payload: &[u8], band: Band, packing: Packing) -> (usize, Vec<u8>) {
        let mut out = Vec::new();
        let frames = unpack(payload, band, packing, &mut out);
        (frames, out)
    }

    #[test]
    fn both_packings_give_the_same_frames() {
        // Comfort noise (type 8, 39 bits), good quality.
        let speech = [0xA5, 0x5A, 0x0F, 0xF0, 0xAA];
        let aligned = [&[0xF0, 8 << 3 | 1 << 2][..], &speech].concat();
        let expected = [&[8 << 3 | 1 << 2][..], &speech].concat();
        assert_eq!(check(&aligned, Band::Narrow, Packing::Octets), (1, expected.clone()));
        // 4 bits of CMR, 6 of the table, 39 of speech.
        let mut bits = vec![true, true, true, true, false, true, false, false, false, true];
        bits.extend(speech.iter().flat_map(|o| (0..8).map(move |i| o >> (7 - i) & 1 == 1)).take(39));
        let efficient: Vec<u8> = bits
            .chunks(8)
            .map(|c| c.iter().enumerate().fold(0, |o, (i, b)| o | u8::from(*b) << (7 - i)))
            .collect();
        assert_eq!(check(&efficient, Band::Narrow, Packing::Bits), (1, expected));
    }

    #[test]
    fn two_frames_in_a_packet_and_what_is_cut_off() {
        let head = [0xF0, 0x80 | 7 << 3 | 4, 7 << 3 | 4];
        let payload = [&head[..], &[1; 31], &[2; 31]].concat();
        let (frames, out) = check(&payload, Band::Narrow, Packing::Octets);
        assert_eq!((frames, out.len(), out[0], out[32]), (2, 64, 0x3C, 0x3C));
        assert_eq!(check(&payload[..60], Band::Narrow, Packing::Octets), (0, vec![]));
        assert_eq!(check(&[0xF0, 9 << 3], Band::Narrow, Packing::Octets), (0, vec![]));
        assert_eq!(check(&[0xF0, 15 << 3], Band::Wide, Packing::Octets), (1, vec![0x78]));
    }

    proptest! {
        #[test]
        fn any_payload_is_survived(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (band, packing) in [(Band::Narrow, Packing::Bits), (Band::Wide, Packing::Octets)] {
                let (frames, out) = check(&payload, band, packing);
                prop_assert!(frames <= FRAMES_MAX && out.len() <= payload.len() + FRAMES_MAX + 8);
            }
        }
    }
}
