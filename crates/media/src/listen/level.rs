//! Voices that are added to one: as loud as people were, without clipping.

/// −2.5 dBFS: two people seldom both shout.
const KNEE: f32 = 24_576.0;
const FULL: f32 = 32_767.0;

/// The sample that a sum of so many voices is. A single one is exact; where several go beyond three quarters of
/// full scale, what is beyond is bent instead of cut off. A bend without memory sounds the same whoever reads that
/// place.
#[must_use]
pub fn level(sum: f32, voices: usize) -> i16 {
    let beyond = sum.abs() - KNEE;
    let sum = if voices > 1 && beyond > 0.0 {
        (KNEE + (FULL - KNEE) * (beyond / (FULL - KNEE)).tanh()).copysign(sum)
    } else {
        sum
    };
    #[allow(clippy::cast_possible_truncation, reason = "saturating")]
    let sample = sum.round() as i16;
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
        let mut last = 0;
        for sum in (0..90_000).step_by(100) {
            let bent = level(sum as f32, 2);
            assert!(bent >= last && level(-(sum as f32), 2) == -bent, "{sum}: {bent}");
            last = bent;
        }
        assert_eq!(last, 32_767);
    }
}
