//! Bits from the highest on, as headers of video write numbers.

/// Reads bits; behind the end there is nothing.
pub(super) struct Bits<'a> {
    octets: &'a [u8],
    /// Bits read.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(octets: &'a [u8]) -> Self {
        Self { octets, at: 0 }
    }

    pub(super) fn bit(&mut self) -> Option<bool> {
        let octet = self.octets.get(self.at / 8)?;
        let bit = octet >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// A number of so many bits, at most 32.
    pub(super) fn number(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0_u32, |n, _| Some(n << 1 | u32::from(self.bit()?)))
    }

    pub(super) fn skip(&mut self, bits: usize) -> Option<()> {
        self.at = self.at.checked_add(bits)?;
        (self.at <= self.octets.len() * 8).then_some(())
    }

    /// An unsigned number of Exp-Golomb code (H.264 section 9.1), at most 2^32 − 2.
    pub(super) fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1_u32 << zeros) - 1 + self.number(zeros)?)
    }

    /// A signed one: 0, 1, −1, 2, −2 …
    pub(super) fn golomb_signed(&mut self) -> Option<i32> {
        let code = i64::from(self.golomb()?);
        let half = (code + 1) / 2;
        i32::try_from(if code % 2 == 1 { half } else { -half }).ok()
    }
}

/// The payload of a unit without the octets that keep start codes out of it (H.264 section 7.4.1, H.265 section 7.4.2).
pub(super) fn unescaped(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for octet in unit {
        if zeros >= 2 && *octet == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *octet == 0 { zeros + 1 } else { 0 };
        out.push(*octet);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_the_highest_bit_on() {
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        // 1 | 010 | 011 | 00100 | 00101
        let read: Vec<_> = (0..5).map(|_| bits.golomb()).collect();
        assert_eq!(read, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        assert_eq!((bits.number(7), bits.bit(), bits.golomb()), (Some(0), None, None));
        let mut signed = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let read: Vec<_> = (0..5).map(|_| signed.golomb_signed()).collect();
        assert_eq!(read, [Some(0), Some(1), Some(-1), Some(2), Some(-2)]);
        assert_eq!(Bits::new(&[0; 9]).golomb(), None);
        assert_eq!((Bits::new(&[0]).skip(8), Bits::new(&[0]).skip(9)), (Some(()), None));
        assert_eq!((Bits::new(&[]).skip(usize::MAX)), None);
    }

    #[test]
    fn escapes_are_taken_out() {
        assert_eq!(unescaped(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(unescaped(&[0, 3, 0, 0, 0, 3, 3]), [0, 3, 0, 0, 0, 3]);
    }
}
