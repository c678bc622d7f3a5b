//! Voices that are added to one: as loud as people were, without clipping.

/// −2.5 dBFS: two people seldom both shout.
const KNEE: f32 = 24_576.0;
const FULL: f32 = 32_767.0;

/// The sample that a sum of so many voices is. A single one is exact; where several go beyond three quarters of
/// full scale, what is beyond is bent instead of cut off. A bend without memory sounds the same whoever reads that
/// place.
#[must_use]
pub(super) fn level(sum: f32, voices: usize) -> i16 {
    let beyond = sum.abs() - KNEE;
    if voices > 1 && beyond > 0.0 {
        nearest((KNEE + (FULL - KNEE) * (beyond / (FULL - KNEE)).tanh()).copysign(sum))
    } else {
        nearest(sum)
    }
}

/// The same of many sums, appended to `out`. Where none of some neighbors is bent, which is nearly everywhere, compilers
/// make vectors of them.
pub fn level_into(sums: &[f32], voices: usize, out: &mut Vec<i16>) {
    for some in sums.chunks(NEIGHBORS) {
        let is_bent = |sums: &[f32]| sums.iter().fold(false, |bent, sum| bent | (sum.abs() > KNEE));
        if voices > 1 && is_bent(some) {
            out.extend(some.iter().map(|sum| level(*sum, voices)));
        } else {
            out.extend(some.iter().map(|sum| nearest(*sum)));
        }
    }
}

/// 20 ms at 8 kHz: as long as people are loud at once.
const NEIGHBORS: usize = 160;

/// The nearest sample; of two the even one. `f32::round` would be a call for each, and a conversion to an integer that
/// looks for what does not fit no vector: so it is added to a number of which the last bit is 1, where its own last bits
/// are those of the integer.
fn nearest(sum: f32) -> i16 {
    const ONES: f32 = 12_582_912.0;
    let within = sum.clamp(-FULL - 1.0, FULL);
    let bits = (within + ONES).to_bits().wrapping_sub(ONES.to_bits());
    #[allow(clippy::cast_possible_truncation, reason = "within 16 bits")]
    let sample = bits.cast_signed() as i16;
    sample
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "samples of a test are small")]
mod tests {
    use super::*;

    #[test]
    fn one_voice_is_exact_and_many_never_clip() {
        for sample in [0.0, 1.0, -32_768.0, 32_767.0, 30_000.4] {
            assert_eq!(f32::from(level(sample, 1)), sample.round());
        }
        assert_eq!(level(24_000.0, 2), 24_000);
        assert_eq!((level(40_000.0, 1), level(-40_000.0, 1)), (32_767, -32_768));
        for sample in i16::MIN..=i16::MAX {
            let near = [-0.4, 0.0, 0.4].map(|off| level(f32::from(sample) + off, 1));
            assert_eq!(near, [sample; 3]);
        }
        let sums: Vec<f32> = (-2_000_i16..2_000).map(|n| f32::from(n) * 21.3).collect();
        for voices in [1, 2] {
            let mut out = Vec::new();
            level_into(&sums, voices, &mut out);
            assert_eq!(out, sums.iter().map(|sum| level(*sum, voices)).collect::<Vec<_>>());
        }
        let mut last = 0;
        for sum in (0..90_000).step_by(100) {
            let bent = level(sum as f32, 2);
            assert!(bent >= last && level(-(sum as f32), 2) == -bent, "{sum}: {bent}");
            last = bent;
        }
        assert_eq!(last, 32_767);
    }
}
