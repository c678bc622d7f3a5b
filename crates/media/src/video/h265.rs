//! H.265: packets of RFC 7798 in order; what sets tell (ITU-T H.265 section 7.3.2).
//!
//! ```text
//!  F type LayerId TID │ …       type 0–47: one unit · 48: several (AP) · 49: a piece of one (FU)
//!  HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 8.3.3.1)
//!  1 │ 11 octets of the SPS: profile, compatibility, constraints, level │ F000 │ FC │ FC + chroma │ F8 + depth − 8
//!    │ F8 + depth of chroma − 8 │ 0000 │ 0F: lengths of 4 octets │ 3 │ {80 + type, u16 count, {u16, set}…} ×3
//! ```

use model::Codec;

use super::bits::{Bits, unescaped};
use super::depacketizer::{Bad, Making};
use super::nal::{self, Fragment, Fragments};
use super::parameter;
use super::sets::{self, Sets};

/// Kinds of slices: 0 to 31; those that a decoder may begin with: 16 to 21 (section 7.4.2.2).
const SLICES: std::ops::RangeInclusive<u8> = 0..=31;
const RANDOM_ACCESS: std::ops::RangeInclusive<u8> = 16..=21;
const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;
const DELIMITER: u8 = 35;
const FILLER: u8 = 38;
const SEVERAL: u8 = 48;
const PIECE: u8 = 49;

/// What is remembered of a stream of H.265.
#[derive(Clone, Debug, Default)]
pub(super) struct H265 {
    vps: Sets,
    sps: Sets,
    pps: Sets,
    fragments: Fragments,
}

/// What a sequence parameter set tells.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sequence {
    id: u32,
    width: u32,
    height: u32,
    /// Profile, compatibility, constraints, level.
    profile: [u8; 12],
    chroma: u8,
    depth: u8,
    depth_chroma: u8,
}

impl H265 {
    /// Remembers the sets of SDP (RFC 7798 section 7.1).
    pub(super) fn learn(&mut self, codec: &Codec) {
        for name in ["sprop-vps", "sprop-sps", "sprop-pps"] {
            for set in sets::told(parameter(codec, name)) {
                self.remember(&set);
            }
        }
    }

    pub(super) fn take(&mut self, payload: &[u8], making: &mut Making) -> Result<(), Bad> {
        if making.data.is_empty() {
            self.fragments.clear();
        }
        let [first, second, rest @ ..] = payload else { return Err(Bad) };
        match kind(*first) {
            SEVERAL => nal::several(rest)?.into_iter().try_for_each(|unit| self.unit(unit, making)),
            PIECE => self.piece([*first, *second], rest, making),
            _ => self.unit(payload, making),
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
        let told = sequence(self.sps.first()?)?;
        if self.vps.is_empty() || self.pps.is_empty() {
            return None;
        }
        let mut out = vec![1];
        out.extend_from_slice(&told.profile);
        out.extend_from_slice(&[0xF0, 0, 0xFC, 0xFC | told.chroma]);
        out.extend_from_slice(&[0xF8 | told.depth, 0xF8 | told.depth_chroma, 0, 0, 0x0F, 3]);
        for (kind, sets) in [(VPS, &self.vps), (SPS, &self.sps), (PPS, &self.pps)] {
            out.extend_from_slice(&[0x80 | kind, 0, sets.len()]);
            sets.with_lengths(&mut out);
        }
        Some(out)
    }

    fn piece(&mut self, head: [u8; 2], rest: &[u8], making: &mut Making) -> Result<(), Bad> {
        let (fragment, piece) = rest.split_first().ok_or(Bad)?;
        let kind = fragment & 0x3F;
        let begins = fragment & 0x80 != 0;
        if begins {
            self.before(kind, piece, making)?;
        }
        let unit = [head[0] & 0x81 | kind << 1, head[1]];
        let fragment = Fragment { begins, ends: fragment & 0x40 != 0, head: &unit, piece };
        if let Some(begin) = self.fragments.take(&fragment, making)?
            && (VPS..=PPS).contains(&kind)
        {
            let set = making.data.get(begin..).unwrap_or_default().to_vec();
            self.remember(&set);
        }
        Ok(())
    }

    fn unit(&mut self, unit: &[u8], making: &mut Making) -> Result<(), Bad> {
        let [first, _, rest @ ..] = unit else { return Err(Bad) };
        match kind(*first) {
            DELIMITER | FILLER => return Ok(()),
            // 48 and above are no units.
            SEVERAL.. => return Err(Bad),
            VPS | SPS | PPS => self.remember(unit),
            _ => {}
        }
        self.before(kind(*first), rest, making)?;
        nal::put(unit, making)
    }

    /// What must hold, and be there, before a unit of a kind. `rest` is what follows its head.
    fn before(&self, kind: u8, rest: &[u8], making: &mut Making) -> Result<(), Bad> {
        if (VPS..=PPS).contains(&kind) {
            making.has_sets = true;
        }
        if SLICES.contains(&kind) {
            // The first bit of a slice says that it is the first of its picture.
            let is_first = rest.first().is_some_and(|octet| octet & 0x80 != 0);
            if making.after_loss && !making.has_picture && !is_first {
                return Err(Bad);
            }
            if RANDOM_ACCESS.contains(&kind) && !making.has_picture {
                self.begin_key(making)?;
            }
            making.has_picture = true;
        }
        Ok(())
    }

    /// A key frame brings what a decoder must know, wherever it was told.
    fn begin_key(&self, making: &mut Making) -> Result<(), Bad> {
        if [&self.vps, &self.sps, &self.pps].iter().any(|sets| sets.is_empty()) {
            return Err(Bad);
        }
        making.key = true;
        if making.has_sets {
            return Ok(());
        }
        let all = self.vps.iter().chain(self.sps.iter()).chain(self.pps.iter());
        all.into_iter().try_for_each(|set| nal::put(set, making))
    }

    fn remember(&mut self, set: &[u8]) {
        let [first, _, rest @ ..] = set else { return };
        match kind(*first) {
            VPS => {
                let id = rest.first().map_or(0, |octet| octet >> 4);
                self.vps.put(id.into(), set);
            }
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

const fn kind(head: u8) -> u8 {
    head >> 1 & 0x3F
}

/// Reads a sequence parameter set (section 7.3.2.2.1).
fn sequence(set: &[u8]) -> Option<Sequence> {
    let rest = unescaped(set.get(2..)?);
    let mut bits = Bits::new(&rest);
    bits.skip(4)?;
    let layers = bits.number(3)?;
    bits.skip(1)?;
    let mut profile = [0; 12];
    for octet in &mut profile {
        *octet = u8::try_from(bits.number(8)?).ok()?;
    }
    let mut told = Vec::new();
    for _ in 0..layers {
        told.push((bits.bit()?, bits.bit()?));
    }
    if layers > 0 {
        bits.skip(2 * (8 - usize::try_from(layers).ok()?))?;
    }
    for (profile, level) in told {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    let id = bits.golomb()?;
    let chroma = bits.golomb().filter(|c| *c <= 3)?;
    if chroma == 3 {
        bits.skip(1)?;
    }
    let (columns, lines) = (bits.golomb()?, bits.golomb()?);
    let mut cut = [0; 4];
    if bits.bit()? {
        for side in &mut cut {
            *side = bits.golomb()?;
        }
    }
    let [left, right, top, bottom] = cut;
    let (unit_x, unit_y) = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let cropped = |whole: u32, a: u32, b: u32, unit: u32| {
        whole.checked_sub(a.checked_add(b)?.checked_mul(unit)?).filter(|n| (1..=16_384).contains(n))
    };
    let depth = |bits: &mut Bits<'_>| u8::try_from(bits.golomb().filter(|d| *d <= 7)?).ok();
    Some(Sequence {
        id,
        width: cropped(columns, left, right, unit_x)?,
        height: cropped(lines, top, bottom, unit_y)?,
        profile,
        chroma: u8::try_from(chroma).ok()?,
        depth: depth(&mut bits)?,
        depth_chroma: depth(&mut bits)?,
    })
}
