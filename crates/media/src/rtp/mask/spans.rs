//! Where frames were dropped because of a digit.

use model::{Gap, GapReason};

/// Listed; what is beyond is counted: hundreds of card numbers in one segment.
const LISTED_MAX: usize = 4_096;
/// Half a millisecond: frames nearer than that follow each other.
const NEAR_US: i64 = 500;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Spans {
    gaps: Vec<Gap>,
    unlisted: u64,
}

impl Spans {
    /// Room for the next one.
    pub(super) fn make_room(&mut self) {
        self.gaps.reserve(1);
    }

    /// A packet was dropped that would have played there.
    pub(super) fn add(&mut self, from_us: i64, until_us: i64) {
        if let Some(last) = self.gaps.last_mut()
            && from_us >= last.from_us
            && from_us <= last.until_us + NEAR_US
        {
            last.until_us = last.until_us.max(until_us);
            last.packets = last.packets.saturating_add(1);
        } else if self.gaps.len() < LISTED_MAX {
            self.gaps.push(Gap { from_us, until_us, reason: GapReason::Masked, packets: 1 });
        } else {
            self.unlisted += 1;
        }
    }

    /// These gaps and those of a stream, in order: where both are, what was masked is the reason.
    pub(super) fn among(&self, others: Vec<Gap>) -> (Vec<Gap>, u64) {
        if self.gaps.is_empty() {
            return (others, self.unlisted);
        }
        let mut masked = self.merged();
        let mut all = Vec::with_capacity(others.len() + masked.len());
        let mut first = 0;
        for mut gap in others {
            while masked.get(first).is_some_and(|m| m.until_us <= gap.from_us) {
                first += 1;
            }
            for hole in masked[first..].iter().take_while(|m| m.from_us < gap.until_us) {
                if hole.from_us > gap.from_us {
                    all.push(Gap { until_us: hole.from_us, ..gap });
                    gap.packets = 0;
                }
                gap.from_us = gap.from_us.max(hole.until_us);
            }
            if gap.from_us < gap.until_us {
                all.push(gap);
            }
        }
        all.append(&mut masked);
        all.sort_by_key(|g| g.from_us);
        let beyond = all.len().saturating_sub(LISTED_MAX);
        all.truncate(LISTED_MAX);
        (all, self.unlisted + beyond as u64)
    }

    /// In order, each beginning behind the end of the one before: frames wait and events do not, so a gap may have
    /// been noted after one that follows it.
    fn merged(&self) -> Vec<Gap> {
        let mut sorted = self.gaps.clone();
        sorted.sort_by_key(|g| g.from_us);
        let mut merged: Vec<Gap> = Vec::with_capacity(sorted.len());
        for gap in sorted {
            match merged.last_mut() {
                Some(last) if gap.from_us <= last.until_us + NEAR_US => {
                    last.until_us = last.until_us.max(gap.until_us);
                    last.packets = last.packets.saturating_add(gap.packets);
                }
                _ => merged.push(gap),
            }
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(from_us: i64, until_us: i64) -> Gap {
        Gap { from_us, until_us, reason: GapReason::Silence, packets: 0 }
    }

    fn check(masked: &[(i64, i64)], others: &[(i64, i64)], expected: &str) {
        let mut spans = Spans::default();
        masked.iter().for_each(|(from, until)| spans.add(*from * 1_000, *until * 1_000));
        let others = others.iter().map(|(from, until)| silence(from * 1_000, until * 1_000)).collect();
        let letter = |g: &Gap| if g.reason == GapReason::Masked { "m" } else { "s" };
        let shown = |g: &Gap| format!("{}{}-{}", letter(g), g.from_us / 1_000, g.until_us / 1_000);
        let (gaps, unlisted) = spans.among(others);
        assert_eq!(gaps.iter().map(shown).collect::<Vec<_>>().join(" "), expected);
        assert_eq!(unlisted, 0);
    }

    #[test]
    fn what_was_masked_is_cut_out_of_other_gaps() {
        check(&[], &[(10, 20)], "s10-20");
        check(&[(0, 20), (20, 40)], &[], "m0-40");
        check(&[(12, 15)], &[(10, 20)], "s10-12 m12-15 s15-20");
        check(&[(5, 15)], &[(10, 20)], "m5-15 s15-20");
        check(&[(15, 25)], &[(10, 20), (30, 40)], "s10-15 m15-25 s30-40");
        check(&[(5, 25)], &[(10, 20)], "m5-25");
        check(&[(12, 13), (16, 17)], &[(0, 5), (10, 20)], "s0-5 s10-12 m12-13 s13-16 m16-17 s17-20");
        check(&[(30, 40), (10, 30)], &[], "m10-40");
        // The packets of an event, which tell of a longer time each.
        check(&[(10, 30), (10, 50), (10, 70), (40, 41)], &[(10, 90)], "m10-70 s70-90");
    }
}
