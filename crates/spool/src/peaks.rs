//! How loud a call was, for a picture of it: the lowest and the highest sample of each bucket.
//!
//! ```text
//!  from                                                until        samples at 8 kHz
//!   ├─ bucket 0 ─┬─ bucket 1 ─┬─ … ─┬─ bucket width−1 ─┤
//! ```
//!
//! Buckets are of equal length. Each depends on its own samples alone, so a picture may be drawn in pieces, beside each
//! other, and is the same.

use std::ops::Range;

use model::SegmentRecord;

use crate::assemble::{AssembleError, Assembler, Decoders, Layout, Options, Rate};
use crate::op::Files;

/// Samples of each channel a second.
pub const SAMPLE_RATE: u32 = Rate::Narrow.hz();

/// What is drawn, and how wide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Buckets in all; none is taken for one.
    pub width: u32,
    /// The first sample, at [`SAMPLE_RATE`].
    pub from: u64,
    /// The sample behind the last.
    pub until: u64,
}

impl Stretch {
    /// The sample at which a bucket begins; that of the bucket behind the last is the end.
    fn begin_of(&self, bucket: u64) -> u64 {
        let length = u128::from(self.until.saturating_sub(self.from));
        let at = u128::from(bucket) * length / u128::from(self.width.max(1));
        self.from + u64::try_from(at).unwrap_or(u64::MAX)
    }
}

/// How long a call is, in samples of each channel at [`SAMPLE_RATE`].
#[must_use]
pub fn length(segments: &[(SegmentRecord, String)]) -> u64 {
    Assembler::new(segments.to_vec(), OPTIONS).total_samples()
}

/// Draws some buckets of a picture: lowest and highest in turn, in 128ths of full scale, of the agent and of the
/// external party. What is behind the end of the call is silence.
///
/// # Errors
/// When none of the call's files can be read.
pub fn draw(
    segments: Vec<(SegmentRecord, String)>,
    stretch: &Stretch,
    buckets: Range<u32>,
    files: &dyn Files,
    decoders: &dyn Decoders,
) -> Result<[Vec<i8>; 2], AssembleError> {
    let mut assembler = Assembler::new(segments, OPTIONS);
    let mut bucket = u64::from(buckets.start);
    let last = u64::from(buckets.end.min(stretch.width.max(1)));
    let mut at = assembler.seek(stretch.begin_of(bucket));
    let mut channels = [Vec::new(), Vec::new()];
    let mut extremes = [EMPTY; 2];
    while bucket < last {
        let Some(step) = assembler.next(files, decoders)? else { break };
        let (mut rest, mut begin) = (step.as_chunks::<2>().0, at);
        at += rest.len() as u64;
        let before = stretch.begin_of(bucket).saturating_sub(begin);
        let before = usize::try_from(before).unwrap_or(usize::MAX).min(rest.len());
        rest = rest.get(before..).unwrap_or_default();
        begin += before as u64;
        while bucket < last {
            let end = stretch.begin_of(bucket + 1);
            let here = usize::try_from(end.saturating_sub(begin)).unwrap_or(usize::MAX).min(rest.len());
            let (inside, behind) = rest.split_at(here);
            widen(&mut extremes, inside);
            (rest, begin) = (behind, begin + here as u64);
            if begin < end {
                break;
            }
            close(&mut channels, &mut extremes);
            bucket += 1;
        }
    }
    while bucket < last {
        close(&mut channels, &mut extremes);
        bucket += 1;
    }
    Ok(channels)
}

const OPTIONS: Options = Options { rate: Rate::Narrow, layout: Layout::Stereo };

/// Lowest and highest; lower and higher than every sample, in this order, where there is none.
type Extremes = (i16, i16);
const EMPTY: Extremes = (i16::MAX, i16::MIN);

fn widen(extremes: &mut [Extremes; 2], frames: &[[i16; 2]]) {
    let [mut agent, mut external] = *extremes;
    for [left, right] in frames {
        agent = (agent.0.min(*left), agent.1.max(*left));
        external = (external.0.min(*right), external.1.max(*right));
    }
    *extremes = [agent, external];
}

fn close(channels: &mut [Vec<i8>; 2], extremes: &mut [Extremes; 2]) {
    for (channel, now) in channels.iter_mut().zip(extremes) {
        let (low, high) = if *now == EMPTY { (0, 0) } else { *now };
        // The high octet: 128ths, towards the lower; a faint sound shows as one.
        channel.extend([low, high].map(|s| s.to_be_bytes()[0].cast_signed()));
        *now = EMPTY;
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "samples of a test are small")]
mod tests {
    use super::*;
    use crate::assemble::NoDecoders;
    use crate::fixture::{Spool, heard};
    use model::EndReason;
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    /// Five seconds of two voices, each packet of another loudness.
    fn call() -> (Spool, Vec<(SegmentRecord, String)>) {
        let mut spool = Spool::new();
        for n in 0..250 {
            for stream in [1, 2] {
                spool.push(&heard(stream, n * 20, (n * 7 + i64::from(stream == 2) * 90) as u8));
            }
        }
        let record = spool.finish(5_000, EndReason::HangUp);
        let directory = spool.writer.directory().to_owned();
        (spool, vec![(record, directory)])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_picture_is_the_same_in_pieces_and_holds_the_extremes(
            width in 1_u32..400,
            from in 0_u64..30_000,
            length in 1_u64..30_000,
            cut in 0_u32..400,
        ) {
            let (spool, segments) = call();
            let stretch = Stretch { width, from, until: from + length };
            let some = |buckets| draw(segments.clone(), &stretch, buckets, &spool.disk, &NoDecoders).unwrap();
            let whole = some(0..width);
            let cut = cut.min(width);
            let [before, behind] = [some(0..cut), some(cut..width)];
            for channel in [0, 1] {
                prop_assert_eq!(&whole[channel], &[&before[channel][..], &behind[channel]].concat());
                prop_assert_eq!(whole[channel].len(), width as usize * 2);
            }
            let mut samples = Vec::new();
            let mut assembler = Assembler::new(segments.clone(), OPTIONS);
            while let Some(step) = assembler.next(&spool.disk, &NoDecoders).unwrap() {
                samples.extend(step.as_chunks::<2>().0.to_vec());
            }
            for bucket in 0..u64::from(width) {
                let range = stretch.begin_of(bucket) as usize..stretch.begin_of(bucket + 1) as usize;
                for channel in [0, 1] {
                    let inside = samples.iter().map(|s| s[channel]).take(range.end).skip(range.start);
                    let [low, high] = [inside.clone().min(), inside.max()].map(|s| (s.unwrap_or(0) >> 8) as i8);
                    prop_assert_eq!(&whole[channel][bucket as usize * 2..][..2], &[low, high], "bucket {}", bucket);
                }
            }
        }
    }
}
