//! H.264: packets of RFC 6184 in modes 0 and 1; what sets tell (ITU-T H.264 section 7.3.2).
//!
//! ```text
//!  F NRI type │ …              type 1–23: one unit · 24: several (STAP-A) · 28: a piece of one (FU-A)
//!  AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 5.3.3.1)
//!  1 │ profile │ compatibility │ level │ FF: lengths of 4 octets │ E0 + count, {u16, SPS} │ count, {u16, PPS}
//!    │ FC + chroma │ F8 + depth − 8 │ F8 + depth of chroma − 8 │ 0        (high profiles only)
//! ```

use model::Codec;

use super::bits::{Bits, unescaped};
use super::depacketizer::{Bad, Making};
use super::nal::{self, Fragment, Fragments};
use super::parameter;
use super::sets::{self, Sets};

const SLICE: u8 = 1;
const PARTITION: u8 = 2;
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// What is remembered of a stream of H.264.
#[derive(Clone, Debug, Default)]
pub(super) struct H264 {
    sps: Sets,
    pps: Sets,
    fragments: Fragments,
}

/// What a sequence parameter set tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sequence {
    id: u32,
    width: u32,
    height: u32,
    chroma: u8,
    depth: u8,
    depth_chroma: u8,
}

impl H264 {
    /// Remembers the sets of SDP (RFC 6184 section 8.1).
    pub(super) fn learn(&mut self, codec: &Codec) {
        for set in sets::told(parameter(codec, "sprop-parameter-sets")) {
            self.remember(&set);
        }
    }

    pub(super) fn take(&mut self, payload: &[u8], making: &mut Making) -> Result<(), Bad> {
        if making.data.is_empty() {
            self.fragments.clear();
        }
        let (head, rest) = payload.split_first().ok_or(Bad)?;
        match head & 0x1F {
            1..=23 => self.unit(payload, making),
            STAP_A => nal::several(rest)?.into_iter().try_for_each(|unit| self.unit(unit, making)),
            FU_A => self.piece(*head, rest, making),
            _ => Err(Bad),
        }
    }

    pub(super) fn end(&self) -> Result<(), Bad> {
        if self.fragments.is_empty() { Ok(()) } else { Err(Bad) }
    }

    pub(super) fn size(&self) -> Option<(u32, u32)> {
        let sequence = sequence(self.sps.first()?)?;
        Some((sequence.width, sequence.height))
    }

    /// The record that containers hold.
    pub(super) fn private(&self) -> Option<Vec<u8>> {
        let first = self.sps.first()?;
        let [_, profile, compatibility, level, ..] = first else { return None };
        if self.pps.is_empty() {
            return None;
        }
        let mut out = vec![1, *profile, *compatibility, *level, 0xFF, 0xE0 | self.sps.len()];
        self.sps.with_lengths(&mut out);
        out.push(self.pps.len());
        self.pps.with_lengths(&mut out);
        if is_high(*profile) {
            let told = sequence(first)?;
            out.extend_from_slice(&[0xFC | told.chroma, 0xF8 | told.depth, 0xF8 | told.depth_chroma, 0]);
        }
        Some(out)
    }

    fn piece(&mut self, indicator: u8, rest: &[u8], making: &mut Making) -> Result<(), Bad> {
        let (head, piece) = rest.split_first().ok_or(Bad)?;
        let kind = head & 0x1F;
        let begins = head & 0x80 != 0;
        if begins {
            self.before(kind, piece, making)?;
        }
        let unit = [indicator & 0xE0 | kind];
        let fragment = Fragment { begins, ends: head & 0x40 != 0, head: &unit, piece };
        if let Some(begin) = self.fragments.take(&fragment, making)?
            && matches!(kind, SPS | PPS)
        {
            let set = making.data.get(begin..).unwrap_or_default().to_vec();
            self.remember(&set);
        }
        Ok(())
    }

    fn unit(&mut self, unit: &[u8], making: &mut Making) -> Result<(), Bad> {
        let (head, rest) = unit.split_first().ok_or(Bad)?;
        match head & 0x1F {
            kind @ 1..=23 => {
                if matches!(kind, DELIMITER | FILLER) {
                    return Ok(());
                }
                if matches!(kind, SPS | PPS) {
                    self.remember(unit);
                }
                self.before(kind, rest, making)?;
                nal::put(unit, making)
            }
            _ => Err(Bad),
        }
    }

    /// What must hold, and be there, before a unit of a kind. `rest` is what follows its head.
    fn before(&self, kind: u8, rest: &[u8], making: &mut Making) -> Result<(), Bad> {
        match kind {
            SPS | PPS => making.has_sets = true,
            SLICE | PARTITION | IDR => {
                // The first slice begins with macroblock 0: a number whose code is one bit.
                let is_first = rest.first().is_some_and(|octet| octet & 0x80 != 0);
                if making.after_loss && !making.has_picture && !is_first {
                    return Err(Bad);
                }
                if kind == IDR && !making.has_picture {
                    self.begin_key(making)?;
                }
                making.has_picture = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// A key frame brings what a decoder must know, wherever it was told.
    fn begin_key(&self, making: &mut Making) -> Result<(), Bad> {
        if self.sps.is_empty() || self.pps.is_empty() {
            return Err(Bad);
        }
        making.key = true;
        if making.has_sets {
            return Ok(());
        }
        self.sps.iter().chain(self.pps.iter()).try_for_each(|set| nal::put(set, making))
    }

    fn remember(&mut self, set: &[u8]) {
        let Some((head, rest)) = set.split_first() else { return };
        match head & 0x1F {
            SPS => {
                if let Some(sequence) = sequence(set) {
                    self.sps.put(sequence.id, set);
                }
            }
            PPS => {
                if let Some(id) = Bits::new(rest).golomb() {
                    self.pps.put(id, set);
                }
            }
            _ => {}
        }
    }
}

const fn is_high(profile: u8) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

/// Reads a sequence parameter set (section 7.3.2.1.1).
fn sequence(set: &[u8]) -> Option<Sequence> {
    let [_, profile, _, _, rest @ ..] = set else { return None };
    let rest = unescaped(rest);
    let mut bits = Bits::new(&rest);
    let id = bits.golomb()?;
    let (mut chroma, mut depth, mut depth_chroma) = (1, 0, 0);
    if is_high(*profile) {
        chroma = bits.golomb().filter(|c| *c <= 3)?;
        if chroma == 3 {
            bits.skip(1)?;
        }
        depth = bits.golomb().filter(|d| *d <= 6)?;
        depth_chroma = bits.golomb().filter(|d| *d <= 6)?;
        bits.skip(1)?;
        if bits.bit()? {
            skip_scaling(&mut bits, if chroma == 3 { 12 } else { 8 })?;
        }
    }
    bits.golomb()?;
    match bits.golomb()? {
        0 => _ = bits.golomb()?,
        1 => {
            bits.skip(1)?;
            bits.golomb_signed()?;
            bits.golomb_signed()?;
            for _ in 0..bits.golomb().filter(|n| *n <= 255)? {
                bits.golomb_signed()?;
            }
        }
        _ => {}
    }
    bits.golomb()?;
    bits.skip(1)?;
    let (columns, lines) = (bits.golomb()?.checked_add(1)?, bits.golomb()?.checked_add(1)?);
    let frames_only = u32::from(bits.bit()?);
    if frames_only == 0 {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let mut cut = [0; 4];
    if bits.bit()? {
        for side in &mut cut {
            *side = bits.golomb()?;
        }
    }
    let [left, right, top, bottom] = cut;
    // Units of cropping: table 6-1 and section 7.4.2.1.1.
    let (unit_x, unit_y) = match chroma {
        1 => (2, 2 * (2 - frames_only)),
        2 => (2, 2 - frames_only),
        _ => (1, 2 - frames_only),
    };
    let cropped = |whole: u32, a: u32, b: u32, unit: u32| {
        whole.checked_sub(a.checked_add(b)?.checked_mul(unit)?).filter(|n| (1..=16_384).contains(n))
    };
    let width = cropped(columns.checked_mul(16)?, left, right, unit_x)?;
    let height = cropped(lines.checked_mul(16)?.checked_mul(2 - frames_only)?, top, bottom, unit_y)?;
    let small = |n: u32| u8::try_from(n).ok();
    Some(Sequence {
        id,
        width,
        height,
        chroma: small(chroma)?,
        depth: small(depth)?,
        depth_chroma: small(depth_chroma)?,
    })
}

/// Passes over scaling lists (section 7.3.2.1.1.1).
fn skip_scaling(bits: &mut Bits<'_>, lists: u32) -> Option<()> {
    for list in 0..lists {
        if !bits.bit()? {
            continue;
        }
        let (mut last, mut next) = (8_i32, 8_i32);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = last.checked_add(bits.golomb_signed()?)?.rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Baseline 3.0, 640 × 480.
    const VGA: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xf6, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04];

    #[test]
    fn a_set_tells_its_size() {
        let told = sequence(VGA).unwrap();
        assert_eq!((told.id, told.width, told.height, told.chroma), (0, 640, 480, 1));
        for length in 0..VGA.len() {
            let _ = sequence(&VGA[..length]);
        }
        assert_eq!(sequence(&[0x67, 0x64, 0, 30, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn a_record_holds_every_set() {
        let mut h264 = H264::default();
        assert_eq!(h264.private(), None);
        h264.remember(VGA);
        assert_eq!(h264.private(), None);
        h264.remember(&[0x68, 0xce, 0x3c, 0x80]);
        let record = h264.private().unwrap();
        assert_eq!(record[..6], [1, 0x42, 0xc0, 0x1e, 0xFF, 0xE1]);
        assert_eq!(record.len(), 6 + 2 + VGA.len() + 1 + 2 + 4);
        assert_eq!(record[record.len() - 7..], [1, 0, 4, 0x68, 0xce, 0x3c, 0x80]);
    }
}
