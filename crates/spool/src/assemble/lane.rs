//! A lane: the samples of one stream of one segment, a sliding window of its time line.
//!
//! Blocks come in the order in which they were written, which is nearly, not quite, the order of time. What was
//! received lies over what fills a gap, whichever came first; of two that were received the later lies on top.

use std::collections::VecDeque;

/// What a sample is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) enum Source {
    /// Nothing was ever written there.
    #[default]
    Nothing,
    /// A gap that was filled.
    Fill,
    /// Received.
    Media,
}

/// A window over the samples of a stream.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The tick of the first sample in the window.
    begin: i64,
    samples: VecDeque<(i16, Source)>,
}

impl Lane {
    /// Lays samples down from `tick` on. What lies before the window or beyond `limit` is cut off; how many
    /// samples of media came too late for the window.
    pub(super) fn put(
        &mut self,
        tick: i64,
        samples: impl ExactSizeIterator<Item = i16>,
        from: Source,
        limit: i64,
    ) -> usize {
        let early = usize::try_from(self.begin.saturating_sub(tick)).unwrap_or(0).min(samples.len());
        let at = usize::try_from(tick.saturating_sub(self.begin)).unwrap_or(0);
        let room = usize::try_from(limit.saturating_sub(self.begin)).unwrap_or(0);
        let samples = samples.skip(early);
        let needed = (at + samples.len()).min(room);
        if self.samples.len() < needed {
            self.samples.resize(needed, (0, Source::Nothing));
        }
        for (place, sample) in self.samples.iter_mut().skip(at).zip(samples) {
            if from >= place.1 {
                *place = (sample, from);
            }
        }
        if from == Source::Media { early } else { 0 }
    }

    /// Hands the samples before `until` to `each` and forgets them.
    pub(super) fn take(&mut self, until: i64, mut each: impl FnMut(usize, i16, Source)) {
        let count = usize::try_from(until.saturating_sub(self.begin)).unwrap_or(0);
        let present = count.min(self.samples.len());
        for (i, (sample, source)) in self.samples.drain(..present).enumerate() {
            each(i, sample, source);
        }
        self.begin = self.begin.max(until);
    }

    /// Moves the window of a lane that begins now.
    pub(super) fn starting_at(begin: i64) -> Self {
        Self { begin, samples: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(puts: &[(i64, i16, usize, Source)], expected: &[i16]) {
        let mut lane = Lane::starting_at(10);
        for (tick, value, count, from) in puts {
            lane.put(*tick, vec![*value; *count].into_iter(), *from, 18);
        }
        let mut out = vec![-1; 8];
        lane.take(18, |i, sample, source| {
            if source != Source::Nothing {
                out[i] = sample;
            }
        });
        assert_eq!(out, expected, "{puts:?}");
    }

    #[test]
    fn media_lie_over_fill_whichever_comes_first() {
        use Source::{Fill, Media};
        check(&[(10, 5, 4, Media), (12, 0, 4, Fill)], &[5, 5, 5, 5, 0, 0, -1, -1]);
        check(&[(10, 0, 8, Fill), (12, 5, 2, Media)], &[0, 0, 5, 5, 0, 0, 0, 0]);
        check(&[(10, 5, 4, Media), (12, 6, 4, Media)], &[5, 5, 6, 6, 6, 6, -1, -1]);
        check(&[(8, 5, 4, Media), (16, 6, 4, Media)], &[5, 5, -1, -1, -1, -1, 6, 6]);
        check(&[(2, 5, 4, Media), (30, 6, 4, Media)], &[-1; 8]);
    }

    #[test]
    fn what_comes_too_late_for_the_window_is_counted() {
        let mut lane = Lane::starting_at(10);
        assert_eq!(lane.put(6, vec![1; 3].into_iter(), Source::Media, 99), 3);
        assert_eq!(lane.put(6, vec![1; 6].into_iter(), Source::Media, 99), 4);
        assert_eq!(lane.put(6, vec![1; 6].into_iter(), Source::Fill, 99), 0);
    }
}
