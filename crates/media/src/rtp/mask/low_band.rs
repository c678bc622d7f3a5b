//! The lower sub-band of G.722 (ITU-T G.722 section 6, blocks 2L to 6L and 4): 6 of the 8 bits of an octet, samples at
//! 8 kHz of what is below 4 kHz.
//!
//! The library that plays G.722 makes a new list of samples for each packet; here there is no room for that.

/// Table 15: what the scale factor changes by, by the four upper bits.
const SCALE_STEPS: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1_198, 3_042];
/// Table 15: which of them, by the code.
const SCALE_INDEX: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
/// Table 17: the antilogarithm.
const ANTILOG: [i32; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774,
    2_834, 2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838,
    3_922, 4_008,
];
/// Table 16: the inverse quantizer of four bits, which drives the adaptation.
const INVERSE_4: [i32; 16] = [
    0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584,
    1_200, 0,
];
/// The same of six bits, which is heard.
const INVERSE_6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232,
    -9_360, -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776,
    -2_400, -2_032, -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280,
    11_192, 10_232, 9_360, 8_576, 7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168,
    2_776, 2_400, 2_032, 1_688, 1_360, 1_040, 728, 432, 136, -432, -136,
];

/// The decoder's state.
#[derive(Debug)]
pub(crate) struct LowBand {
    /// Logarithmic scale factor, and the scale factor itself.
    log_scale: i32,
    scale: i32,
    /// The predicted signal, and the part of it from the zeros.
    predicted: i32,
    from_zeros: i32,
    /// The last two reconstructed signals, partially reconstructed ones, and coefficients of the poles.
    reconstructed: [i32; 2],
    partial: [i32; 2],
    poles: [i32; 2],
    /// The last six differences, and coefficients of the zeros.
    differences: [i32; 6],
    zeros: [i32; 6],
}

impl Default for LowBand {
    fn default() -> Self {
        Self {
            log_scale: 0,
            // Section 3.5 of the recommendation: 32 in the lower band.
            scale: 32,
            predicted: 0,
            from_zeros: 0,
            reconstructed: [0; 2],
            partial: [0; 2],
            poles: [0; 2],
            differences: [0; 6],
            zeros: [0; 6],
        }
    }
}

impl LowBand {
    /// The sample of an octet.
    #[inline]
    pub(super) fn decode(&mut self, octet: u8) -> i16 {
        let code = usize::from(octet & 0x3f);
        let heard = self.predicted + ((self.scale * INVERSE_6[code]) >> 15);
        let difference = (self.scale * INVERSE_4[code >> 2]) >> 15;
        self.rescale(code >> 2);
        self.predict(difference);
        i16::try_from(heard.clamp(-16_384, 16_383) * 2).unwrap_or(0)
    }

    /// Blocks 3L: the next scale factor.
    fn rescale(&mut self, code: usize) {
        let step = SCALE_STEPS[SCALE_INDEX[code]];
        self.log_scale = (((self.log_scale * 127) >> 7) + step).clamp(0, 18_432);
        let fraction = ANTILOG[usize::try_from((self.log_scale >> 6) & 31).unwrap_or(0)];
        // At most 18,432: the shift is from 0 to 8 to the right, or one to the left.
        let shift = 8 - (self.log_scale >> 11);
        self.scale = (if shift < 0 { fraction << -shift } else { fraction >> shift }) << 2;
    }

    /// Block 4: the predictor takes in a difference.
    fn predict(&mut self, difference: i32) {
        let reconstructed = saturate(self.predicted + difference);
        let partial = saturate(self.from_zeros + difference);
        self.adapt_poles(partial);
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, before) in self.zeros.iter_mut().zip(&self.differences) {
            let step = if is_negative(difference) == is_negative(*before) { step } else { -step };
            *zero = saturate(((*zero * 32_640) >> 15) + step);
        }
        self.differences.rotate_right(1);
        self.differences[0] = difference;
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial = [partial, self.partial[0]];
        let twice = |value: i32| saturate(value + value);
        let from_poles: i32 =
            self.poles.iter().zip(&self.reconstructed).map(|(a, r)| (a * twice(*r)) >> 15).sum();
        let zeros = self.zeros.iter().zip(&self.differences);
        self.from_zeros = saturate(zeros.map(|(b, d)| (b * twice(*d)) >> 15).sum());
        self.predicted = saturate(saturate(from_poles) + self.from_zeros);
    }

    fn adapt_poles(&mut self, partial: i32) {
        let same = self.partial.map(|before| is_negative(before) == is_negative(partial));
        let [first, second] = self.poles;
        let four = saturate(first * 4);
        let toward = if same[0] { (-four).min(32_767) } else { four } >> 7;
        let second =
            (toward + if same[1] { 128 } else { -128 } + ((second * 32_512) >> 15)).clamp(-12_288, 12_288);
        let limit = saturate(15_360 - second);
        let first = saturate(if same[0] { 192 } else { -192 } + ((first * 32_640) >> 15));
        self.poles = [first.clamp(-limit, limit), second];
    }
}

const fn is_negative(value: i32) -> bool {
    value < 0
}

/// To 16 bits.
fn saturate(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ezk_g722::libg722::Bitrate;
    use ezk_g722::libg722::decoder::Decoder;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn it_is_what_the_library_decodes(octets in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            // The library begins with a scale factor of 0; the recommendation says 32.
            let mut band = LowBand { scale: 0, ..LowBand::default() };
            let ours: Vec<i16> = octets.iter().map(|o| band.decode(*o)).collect();
            prop_assert_eq!(ours, Decoder::new(Bitrate::Mode1_64000, false, true).decode(&octets));
        }
    }
}
