//! EBML (RFC 8794): element ids, lengths, and how elements are written and their heads read.
//!
//! Only what the parts of a segment need: ids of one to four octets, lengths of one to eight, the unknown
//! length. Reading trusts nothing: a head that is none is [`Head::Bad`], never a panic.

use std::io::{self, Read};

/// Ids of RFC 8794 section 11 and RFC 9559 section 5, with their length marker.
pub(crate) mod id {
    pub(crate) const EBML: u32 = 0x1A45_DFA3;
    pub(crate) const EBML_VERSION: u32 = 0x4286;
    pub(crate) const EBML_READ_VERSION: u32 = 0x42F7;
    pub(crate) const EBML_MAX_ID_LENGTH: u32 = 0x42F2;
    pub(crate) const EBML_MAX_SIZE_LENGTH: u32 = 0x42F3;
    pub(crate) const DOC_TYPE: u32 = 0x4282;
    pub(crate) const DOC_TYPE_VERSION: u32 = 0x4287;
    pub(crate) const DOC_TYPE_READ_VERSION: u32 = 0x4285;
    pub(crate) const SEGMENT: u32 = 0x1853_8067;
    pub(crate) const INFO: u32 = 0x1549_A966;
    pub(crate) const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
    pub(crate) const DURATION: u32 = 0x4489;
    pub(crate) const DATE_UTC: u32 = 0x4461;
    pub(crate) const TITLE: u32 = 0x7BA9;
    pub(crate) const MUXING_APP: u32 = 0x4D80;
    pub(crate) const WRITING_APP: u32 = 0x5741;
    pub(crate) const TRACKS: u32 = 0x1654_AE6B;
    pub(crate) const TRACK_ENTRY: u32 = 0xAE;
    pub(crate) const TRACK_NUMBER: u32 = 0xD7;
    pub(crate) const TRACK_UID: u32 = 0x73C5;
    pub(crate) const TRACK_TYPE: u32 = 0x83;
    pub(crate) const FLAG_DEFAULT: u32 = 0x88;
    pub(crate) const FLAG_LACING: u32 = 0x9C;
    pub(crate) const CODEC_DELAY: u32 = 0x56AA;
    pub(crate) const SEEK_PRE_ROLL: u32 = 0x56BB;
    pub(crate) const NAME: u32 = 0x536E;
    pub(crate) const LANGUAGE: u32 = 0x22_B59C;
    pub(crate) const CODEC_ID: u32 = 0x86;
    pub(crate) const CODEC_PRIVATE: u32 = 0x63A2;
    pub(crate) const VIDEO: u32 = 0xE0;
    pub(crate) const PIXEL_WIDTH: u32 = 0xB0;
    pub(crate) const PIXEL_HEIGHT: u32 = 0xBA;
    pub(crate) const AUDIO: u32 = 0xE1;
    pub(crate) const SAMPLING_FREQUENCY: u32 = 0xB5;
    pub(crate) const CHANNELS: u32 = 0x9F;
    pub(crate) const BIT_DEPTH: u32 = 0x6264;
    pub(crate) const TAGS: u32 = 0x1254_C367;
    pub(crate) const TAG: u32 = 0x7373;
    pub(crate) const TARGETS: u32 = 0x63C0;
    pub(crate) const SIMPLE_TAG: u32 = 0x67C8;
    pub(crate) const TAG_NAME: u32 = 0x45A3;
    pub(crate) const TAG_STRING: u32 = 0x4487;
    pub(crate) const CLUSTER: u32 = 0x1F43_B675;
    pub(crate) const TIMESTAMP: u32 = 0xE7;
    pub(crate) const SIMPLE_BLOCK: u32 = 0xA3;
}

/// A length of eight octets that says "unknown" (RFC 8794 section 6.2).
const UNKNOWN_LENGTH: u64 = 0x01FF_FFFF_FFFF_FFFF;
/// What eight octets of length can say at most.
const LENGTH_MAX: u64 = (1 << 56) - 2;

/// Writes an element's id.
pub(crate) fn put_id(out: &mut Vec<u8>, id: u32) {
    let skip = (id.leading_zeros() / 8) as usize;
    out.extend_from_slice(&id.to_be_bytes()[skip.min(3)..]);
}

/// Writes a length in as few octets as it takes.
pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    let length = (length as u64).min(LENGTH_MAX);
    // A length of all ones would mean "unknown", so each width ends one below.
    let width = (1..8_u32).find(|w| length < (1 << (7 * w)) - 1).unwrap_or(8);
    let marked = length | 1 << (7 * width);
    out.extend_from_slice(&marked.to_be_bytes()[8 - width as usize..]);
}

/// Begins an element of unknown length.
pub(crate) fn put_open(out: &mut Vec<u8>, id: u32) {
    put_id(out, id);
    out.extend_from_slice(&UNKNOWN_LENGTH.to_be_bytes());
}

/// Writes an element of bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, id: u32, bytes: &[u8]) {
    put_id(out, id);
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Writes an element of text.
pub(crate) fn put_text(out: &mut Vec<u8>, id: u32, text: &str) {
    put_bytes(out, id, text.as_bytes());
}

/// Writes an unsigned integer in as few octets as it takes.
pub(crate) fn put_uint(out: &mut Vec<u8>, id: u32, n: u64) {
    let skip = (n.leading_zeros() / 8).min(7) as usize;
    put_bytes(out, id, &n.to_be_bytes()[skip..]);
}

/// Writes a floating point number of eight octets.
pub(crate) fn put_float(out: &mut Vec<u8>, id: u32, n: f64) {
    put_bytes(out, id, &n.to_be_bytes());
}

/// Writes an element whose content `fill` writes.
pub(crate) fn put_element(out: &mut Vec<u8>, id: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut content = Vec::new();
    fill(&mut content);
    put_bytes(out, id, &content);
}

/// The head of an element, as read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Head {
    /// Its id, its length (none: unknown), and how many octets id and length took.
    Element { id: u32, length: Option<u64>, octets: u64 },
    /// The input ended before the first octet.
    End,
    /// The input ended inside.
    Torn,
    /// No element begins so.
    Bad,
}

/// Reads the head of an element.
pub(crate) fn read_head(input: &mut impl Read) -> io::Result<Head> {
    let Some(first) = read_octet(input)? else { return Ok(Head::End) };
    let id_octets = first.leading_zeros() as usize + 1;
    if id_octets > 4 {
        return Ok(Head::Bad);
    }
    let mut id = u32::from(first);
    for _ in 1..id_octets {
        let Some(next) = read_octet(input)? else { return Ok(Head::Torn) };
        id = id << 8 | u32::from(next);
    }
    let Some(first) = read_octet(input)? else { return Ok(Head::Torn) };
    let length_octets = first.leading_zeros() as usize + 1;
    if length_octets > 8 {
        return Ok(Head::Bad);
    }
    let mut length = u64::from(first) & ((1 << (8 - length_octets)) - 1);
    for _ in 1..length_octets {
        let Some(next) = read_octet(input)? else { return Ok(Head::Torn) };
        length = length << 8 | u64::from(next);
    }
    let unknown = length == (1 << (7 * length_octets)) - 1;
    let octets = (id_octets + length_octets) as u64;
    Ok(Head::Element { id, length: (!unknown).then_some(length), octets })
}

fn read_octet(input: &mut impl Read) -> io::Result<Option<u8>> {
    let mut octet = [0];
    loop {
        match input.read(&mut octet) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(octet[0])),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The elements inside one that is held in memory. Ends at the first that does not fit.
pub(crate) fn children(mut content: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let mut rest = content;
        let Ok(Head::Element { id, length: Some(length), .. }) = read_head(&mut rest) else { return None };
        let length = usize::try_from(length).ok()?;
        let (inside, after) = rest.split_at_checked(length)?;
        content = after;
        Some((id, inside))
    })
}

/// An unsigned integer (RFC 8794 section 7.2); the last eight octets of one that is too long.
pub(crate) fn uint(content: &[u8]) -> u64 {
    content.iter().fold(0, |n, octet| n << 8 | u64::from(*octet))
}

/// A floating point number (RFC 8794 section 7.3), if its length is right.
pub(crate) fn float(content: &[u8]) -> Option<f64> {
    match content.len() {
        4 => Some(f64::from(f32::from_be_bytes(content.try_into().ok()?))),
        8 => Some(f64::from_be_bytes(content.try_into().ok()?)),
        _ => None,
    }
}

/// Text, up to its first zero (RFC 8794 section 7.5); what is not UTF-8 is replaced.
pub(crate) fn text(content: &[u8]) -> String {
    let end = content.iter().position(|c| *c == 0).unwrap_or(content.len());
    String::from_utf8_lossy(&content[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn lengths_take_as_few_octets_as_they_can_without_meaning_unknown() {
        for (length, expected) in [
            (0, &[0x80][..]),
            (126, &[0xFE]),
            (127, &[0x40, 0x7F]),
            (16_382, &[0x7F, 0xFE]),
            (16_383, &[0x20, 0x3F, 0xFF]),
        ] {
            let mut out = Vec::new();
            put_length(&mut out, length);
            assert_eq!(out, expected, "{length}");
        }
    }

    #[test]
    fn unknown_lengths_of_every_width_are_known_as_such() {
        for width in 1..=8_u32 {
            let all_ones = ((1_u64 << (7 * width)) - 1) | (1 << (7 * width));
            let mut bytes = vec![0xA3];
            bytes.extend_from_slice(&all_ones.to_be_bytes()[8 - width as usize..]);
            let head = read_head(&mut &bytes[..]).unwrap();
            assert_eq!(head, Head::Element { id: 0xA3, length: None, octets: 1 + u64::from(width) });
        }
    }

    proptest! {
        #[test]
        fn elements_round_trip(n in any::<u64>(), text_in in "\\PC{0,200}") {
            let mut out = Vec::new();
            put_uint(&mut out, id::TIMESTAMP, n);
            put_text(&mut out, id::LANGUAGE, &text_in);
            put_float(&mut out, id::DURATION, 1.5);
            let read: Vec<_> = children(&out).collect();
            prop_assert_eq!(read.len(), 3);
            prop_assert_eq!((read[0].0, uint(read[0].1)), (id::TIMESTAMP, n));
            prop_assert_eq!((read[1].0, text(read[1].1)), (id::LANGUAGE, text_in));
            prop_assert_eq!((read[2].0, float(read[2].1)), (id::DURATION, Some(1.5)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = read_head(&mut &bytes[..]);
            let _ = children(&bytes).count();
        }
    }
}
