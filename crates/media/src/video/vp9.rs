//! VP9: packets of RFC 9628, frame heads of the VP9 bitstream specification, section 6.2.
//!
//! ```text
//!  payload descriptor (section 4.2)
//!  I P L F B E V Z │ [M picture id] │ [TID U SID D, TL0PICIDX unless F] │ [P_DIFF N]… (F and P) │ [structure] (V)
//! ```
//!
//! A picture of several spatial layers is several frames of one timestamp. They are put together as a superframe (annex
//! B of the bitstream specification), whose index says how long each of them is.

use super::bits::Bits;
use super::depacketizer::{Bad, Making};

/// As many frames as a superframe holds.
const LAYERS_MAX: usize = 8;

/// What is remembered of a stream of VP9.
#[derive(Clone, Debug, Default)]
pub(super) struct Vp9 {
    /// Columns and lines of the last key frame: of its largest layer.
    pub(super) size: Option<(u32, u32)>,
    /// Where the frames of the picture in the making begin.
    layers: Vec<usize>,
    /// Whether the last frame of it has ended.
    is_ended: bool,
}

struct Descriptor<'a> {
    begins: bool,
    ends: bool,
    frame: &'a [u8],
}

impl Vp9 {
    pub(super) fn take(&mut self, payload: &[u8], making: &mut Making) -> Result<(), Bad> {
        let descriptor = unwrap(payload).ok_or(Bad)?;
        let is_first = making.data.is_empty();
        if is_first {
            self.layers.clear();
            self.is_ended = true;
        }
        if descriptor.begins != self.is_ended || self.layers.len() >= LAYERS_MAX && descriptor.begins {
            return Err(Bad);
        }
        if descriptor.begins {
            self.layers.push(making.data.len());
            let head = head(descriptor.frame).ok_or(Bad)?;
            making.key |= is_first && head.is_some();
            if let Some(size) = head {
                self.size = Some(size);
            }
        }
        self.is_ended = descriptor.ends;
        making.has_picture = true;
        making.put(descriptor.frame)
    }

    /// Adds the index of a superframe where it is one.
    pub(super) fn end(&mut self, making: &mut Making) -> Result<(), Bad> {
        if !self.is_ended {
            return Err(Bad);
        }
        if self.layers.len() < 2 {
            return Ok(());
        }
        let ends = self.layers.iter().skip(1).copied().chain([making.data.len()]);
        let lengths = self.layers.iter().zip(ends).map(|(from, until)| until.checked_sub(*from));
        let lengths = lengths.collect::<Option<Vec<usize>>>().ok_or(Bad)?;
        // 0b110, octets of a length less one: always four; frames less one.
        let frames = u8::try_from(lengths.len() - 1).map_err(|_| Bad)?;
        let marker = 0b1101_1000 | frames;
        making.put(&[marker])?;
        for length in lengths {
            making.put(&u32::try_from(length).map_err(|_| Bad)?.to_le_bytes())?;
        }
        making.put(&[marker])
    }
}

fn unwrap(payload: &[u8]) -> Option<Descriptor<'_>> {
    let (first, mut rest) = payload.split_first()?;
    let has = |bit: u8| first & bit != 0;
    if has(0x80) {
        let octets = if rest.first()? & 0x80 != 0 { 2 } else { 1 };
        rest = rest.get(octets..)?;
    }
    if has(0x20) {
        rest = rest.get(if has(0x10) { 1 } else { 2 }..)?;
    }
    if has(0x10) && has(0x40) {
        // At most three frames are leant on.
        for _ in 0..3 {
            let (leans, after) = rest.split_first()?;
            rest = after;
            if leans & 1 == 0 {
                break;
            }
        }
    }
    if has(0x02) {
        rest = structure(rest)?;
    }
    Some(Descriptor { begins: has(0x08), ends: has(0x04), frame: rest })
}

/// What follows the scalability structure.
fn structure(rest: &[u8]) -> Option<&[u8]> {
    let (first, mut rest) = rest.split_first()?;
    if first & 0x10 != 0 {
        rest = rest.get((usize::from(first >> 5) + 1) * 4..)?;
    }
    if first & 0x08 != 0 {
        let (groups, after) = rest.split_first()?;
        rest = after;
        for _ in 0..*groups {
            let (group, after) = rest.split_first()?;
            rest = after.get(usize::from(group >> 2 & 3)..)?;
        }
    }
    Some(rest)
}

/// The size that a key frame tells; none of another frame. Outside: no frame begins so.
#[expect(clippy::option_option, reason = "a frame that is none is not a frame that is no key frame")]
fn head(frame: &[u8]) -> Option<Option<(u32, u32)>> {
    let mut bits = Bits::new(frame);
    if bits.number(2)? != 2 {
        return None;
    }
    let profile = bits.number(1)? | bits.number(1)? << 1;
    if profile == 3 && bits.bit()? {
        return None;
    }
    let shows_existing = bits.bit()?;
    if shows_existing {
        return Some(None);
    }
    let is_key = !bits.bit()?;
    bits.skip(2)?;
    if !is_key {
        return Some(None);
    }
    if bits.number(24)? != 0x49_8342 {
        return None;
    }
    if profile >= 2 {
        bits.skip(1)?;
    }
    const SRGB: u32 = 7;
    let is_odd = profile & 1 == 1;
    match (bits.number(3)?, is_odd) {
        (SRGB, true) => bits.skip(1)?,
        (SRGB, false) => {}
        (_, true) => bits.skip(4)?,
        (_, false) => bits.skip(1)?,
    }
    Some(Some((bits.number(16)? + 1, bits.number(16)? + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 640 × 480 of profile 0: marker 10, profile 00, existing 0, key 0, shown 1, resilient 0; sync; space 001, range 0.
    const KEY: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xF0, 0x1D, 0xF0, 0xAA];

    #[test]
    fn a_key_frame_tells_its_size() {
        assert_eq!(head(KEY), Some(Some((640, 480))));
        assert_eq!(head(&[0x86, 1]), Some(None));
        assert_eq!(head(&[0x42]), None);
        assert_eq!(head(&[]), None);
    }

    #[test]
    fn descriptors_are_taken_off() {
        let cases: [(&[u8], Option<&[u8]>); 7] = [
            (&[0x0C, 1], Some(&[1])),
            (&[0x8C, 0x81, 0x02, 1], Some(&[1])),
            (&[0xAC, 0x01, 0x20, 0x07, 1], Some(&[1])),
            (&[0x7C, 0x20, 0x03, 0x05, 0x02, 1], Some(&[1])),
            // Two sizes, two groups of which the second leans on one.
            (&[0x0E, 0x38, 0, 1, 0, 1, 0, 2, 0, 2, 2, 0x00, 0x04, 9, 1], Some(&[1])),
            (&[0x0E, 0x38, 0, 1], None),
            (&[0x8C], None),
        ];
        for (payload, expected) in cases {
            assert_eq!(unwrap(payload).map(|d| d.frame), expected, "{payload:x?}");
        }
    }
}
