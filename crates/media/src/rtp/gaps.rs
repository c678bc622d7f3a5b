//! The list of gaps of a stream: where nothing was received, and why.

use model::{Gap, GapReason};

/// Listed; what is beyond is counted (`gaps_unlisted`). 160 KiB at the worst, in an hour of constant loss.
const LISTED_MAX: usize = 4_096;
/// Less than this (microseconds) is the rounding of clocks that are no multiple of 1 kHz.
const LEAST_US: i64 = 500;
/// A hold that begins so soon (microseconds) after the last frame begins at its end.
const HOLD_SLACK_US: i64 = 100_000;
/// Late packets belong to one of the last gaps; further back nothing is looked for.
const LOOKED_AT: usize = 64;

/// Gaps, and the end of what was received.
#[derive(Debug, Default)]
pub(super) struct GapLog {
    gaps: Vec<Gap>,
    unlisted: u64,
    end_us: i64,
    /// Lost packets that no media frame has followed yet.
    lost: u32,
    /// How long a lost packet likely was.
    frame_us: i64,
    /// Since when, and why, nothing is kept.
    open: Option<(i64, GapReason)>,
}

impl GapLog {
    /// The end of the last media frame or hold.
    pub(super) const fn end_us(&self) -> i64 {
        self.end_us
    }

    /// Packets are missing before the packet that comes now.
    pub(super) fn missing(&mut self, packets: u64) {
        self.lost = self.lost.saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
    }

    /// A media frame lies there; `frame_us` is how long a lost packet likely was.
    #[inline]
    pub(super) fn media(&mut self, position_us: i64, duration_us: i64, frame_us: i64) {
        self.frame_us = frame_us;
        if position_us - self.end_us >= LEAST_US {
            self.before(position_us);
        } else if position_us < self.end_us {
            self.trim_hold(position_us);
        }
        self.lost = 0;
        self.end_us = self.end_us.max(position_us + duration_us);
    }

    /// The first frame after a hold may lie before the moment that the hold was told to be over.
    fn trim_hold(&mut self, position_us: i64) {
        if let Some(gap) = self.gaps.last_mut()
            && gap.reason == GapReason::Hold
            && gap.until_us == self.end_us
            && position_us > gap.from_us
        {
            gap.until_us = position_us;
        }
    }

    /// What lies between the end and a frame: silence, loss, or silence and then loss when more time passed
    /// than the lost packets can have held.
    fn before(&mut self, position_us: i64) {
        let (from_us, frame_us) = (self.end_us, self.frame_us);
        if self.lost == 0 {
            self.push(Gap { from_us, until_us: position_us, reason: GapReason::Silence, packets: 0 });
            return;
        }
        let lost_us = i64::from(self.lost).saturating_mul(frame_us);
        let rest_us = position_us - from_us - lost_us;
        let loss_from = if frame_us > 0 && rest_us > frame_us { position_us - lost_us } else { from_us };
        if loss_from > from_us {
            self.push(Gap { from_us, until_us: loss_from, reason: GapReason::Silence, packets: 0 });
        }
        let packets = self.lost;
        self.push(Gap { from_us: loss_from, until_us: position_us, reason: GapReason::Loss, packets });
    }

    /// A packet came late: it takes its place out of the gap that it was missed in.
    pub(super) fn fill(&mut self, position_us: i64, duration_us: i64) {
        let until_us = position_us + duration_us.max(1);
        let first = self.gaps.len().saturating_sub(LOOKED_AT);
        let holds = |g: &Gap| {
            g.reason == GapReason::Loss && g.from_us < until_us && position_us < g.until_us && g.packets > 0
        };
        let Some(index) = self.gaps[first..].iter().rposition(holds).map(|i| first + i) else {
            self.lost = self.lost.saturating_sub(1);
            return;
        };
        let gap = self.gaps.remove(index);
        if gap.packets <= 1 {
            return;
        }
        let each_us = ((gap.until_us - gap.from_us) / i64::from(gap.packets)).max(1);
        let before = (position_us - gap.from_us + each_us / 2).div_euclid(each_us);
        let before = u32::try_from(before).unwrap_or(0).min(gap.packets - 1);
        let after = gap.packets - 1 - before;
        if before > 0 && after > 0 && self.gaps.len() + 2 > LISTED_MAX {
            self.unlisted += 1;
            self.gaps.insert(index, Gap { packets: gap.packets - 1, ..gap });
            return;
        }
        if after > 0 {
            let from_us = if before == 0 { until_us } else { until_us.max(gap.from_us) };
            self.gaps.insert(index, Gap { from_us: from_us.min(gap.until_us), packets: after, ..gap });
        }
        if before > 0 {
            let until_us = if after == 0 { position_us } else { position_us.min(gap.until_us) };
            self.gaps.insert(index, Gap { until_us: until_us.max(gap.from_us), packets: before, ..gap });
        }
    }

    /// From now on nothing is kept.
    pub(super) fn begin_hold(&mut self, now_us: i64, reason: GapReason) {
        let now_us = now_us.max(self.end_us);
        let from_us = if now_us - self.end_us <= HOLD_SLACK_US { self.end_us } else { now_us };
        if from_us - self.end_us >= LEAST_US {
            self.before(from_us);
            self.end_us = from_us;
        }
        self.lost = 0;
        self.open = Some((from_us, reason));
    }

    /// From now on media are kept again.
    pub(super) fn end_hold(&mut self, now_us: i64) {
        if let Some((from_us, reason)) = self.open.take() {
            // What still waited for reordering when the hold began has moved the end.
            let from_us = from_us.max(self.end_us);
            let until_us = now_us.max(from_us);
            if until_us > from_us {
                self.push(Gap { from_us, until_us, reason, packets: 0 });
            }
            self.end_us = self.end_us.max(until_us);
        }
    }

    /// A packet after a pause was dropped because it belongs to it: what it would have played is the pause's too.
    pub(super) fn paused_until(&mut self, until_us: i64) {
        if let Some(gap) = self.gaps.last_mut()
            && gap.reason == GapReason::Pause
            && gap.until_us == self.end_us
            && until_us > gap.until_us
        {
            gap.until_us = until_us;
            self.end_us = until_us;
            self.lost = 0;
        }
    }

    /// The stream ends: what is open is closed, and silence until now is a gap.
    pub(super) fn finish(&mut self, now_us: i64) {
        self.end_hold(now_us);
        if now_us - self.end_us > HOLD_SLACK_US {
            self.before(now_us);
            self.end_us = now_us;
            self.lost = 0;
        }
    }

    /// The list as of now, with a hold that goes on, and the number of gaps beyond it.
    pub(super) fn listed(&self, now_us: i64) -> (Vec<Gap>, u64) {
        let mut gaps = self.gaps.clone();
        if let Some((from_us, reason)) = self.open
            && now_us > from_us
            && gaps.len() < LISTED_MAX
        {
            gaps.push(Gap { from_us, until_us: now_us, reason, packets: 0 });
        }
        (gaps, self.unlisted)
    }

    fn push(&mut self, gap: Gap) {
        if self.gaps.len() < LISTED_MAX {
            self.gaps.push(gap);
        } else {
            self.unlisted += 1;
        }
    }
}
