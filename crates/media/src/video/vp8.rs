//! VP8: packets of RFC 7741, frame heads of RFC 6386 section 9.1.
//!
//! ```text
//!  payload descriptor                              frame head of a key frame
//!  X R N S R PID │ [I L T K -] │ [M picture id]    size₀ show version 0 │ size₁ │ size₂ │ 9D 01 2A │ width │ height
//!                │ [TL0PICIDX] │ [TID Y KEYIDX]    (bit 0: 0 = key frame)
//! ```

use super::depacketizer::{Bad, Making};

/// What is remembered of a stream of VP8.
#[derive(Clone, Debug, Default)]
pub(super) struct Vp8 {
    /// Columns and lines of the last key frame.
    pub(super) size: Option<(u32, u32)>,
}

impl Vp8 {
    pub(super) fn take(&mut self, payload: &[u8], making: &mut Making) -> Result<(), Bad> {
        let (is_start, frame) = unwrap(payload).ok_or(Bad)?;
        if making.data.is_empty() {
            if !is_start {
                return Err(Bad);
            }
            let first = *frame.first().ok_or(Bad)?;
            making.key = first & 1 == 0;
            if making.key {
                self.size = Some(size(frame).ok_or(Bad)?);
            }
        }
        making.has_picture = true;
        making.put(frame)
    }
}

/// Whether a frame begins here, and its octets behind the descriptor (section 4.2).
fn unwrap(payload: &[u8]) -> Option<(bool, &[u8])> {
    let (first, mut rest) = payload.split_first()?;
    let is_start = first & 0x10 != 0 && first & 0x07 == 0;
    if first & 0x80 != 0 {
        let (more, after) = rest.split_first()?;
        rest = after;
        if more & 0x80 != 0 {
            let octets = if rest.first()? & 0x80 != 0 { 2 } else { 1 };
            rest = rest.get(octets..)?;
        }
        if more & 0x40 != 0 {
            rest = rest.get(1..)?;
        }
        if more & 0x30 != 0 {
            rest = rest.get(1..)?;
        }
    }
    Some((is_start, rest))
}

fn size(frame: &[u8]) -> Option<(u32, u32)> {
    let [_, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..] = frame else { return None };
    // 14 bits each; the two above say how a player should scale.
    let low = |a, b| u32::from(u16::from_le_bytes([a, b]) & 0x3FFF);
    let (width, height) = (low(*a, *b), low(*c, *d));
    (width > 0 && height > 0).then_some((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_every_length_are_taken_off() {
        let check = |payload: &[u8], expected: Option<(bool, &[u8])>| {
            assert_eq!(unwrap(payload), expected, "{payload:x?}");
        };
        check(&[0x10, 1, 2], Some((true, &[1, 2])));
        check(&[0x00, 1], Some((false, &[1])));
        check(&[0x11, 1], Some((false, &[1])));
        check(&[0x90, 0x80, 0x7F, 1], Some((true, &[1])));
        check(&[0x90, 0x80, 0x80, 0x01, 1], Some((true, &[1])));
        check(&[0x90, 0xF0, 0x80, 0x01, 5, 6, 1], Some((true, &[1])));
        check(&[0x90, 0xF0, 0x80, 0x01, 5], None);
        check(&[0x90], None);
    }

    #[test]
    fn only_a_key_frame_tells_its_size() {
        assert_eq!(size(&[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0xe0, 0x01]), Some((640, 480)));
        assert_eq!(size(&[0x10, 0, 0, 0x9d, 0x01, 0x2b, 0x80, 0x42, 0xe0, 0x01]), None);
        assert_eq!(size(&[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0, 0, 0xe0, 0x01]), None);
        assert_eq!(size(&[0x10]), None);
    }
}
