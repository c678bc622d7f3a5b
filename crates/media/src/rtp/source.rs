//! The sources of a stream: one SSRC at a time, and the few before it, whose last packets may come late.

use model::WallTime;

use super::packet::Packet;
use super::sequence::Sequence;
use super::timeline::Timeline;

/// Remembered for late packets and exact loss; of earlier ones only the counts are kept.
const REMEMBERED: usize = 4;
/// SSRCs listed in the stream's record.
const LISTED: usize = 32;
/// A packet of the source before, so soon (nanoseconds) after a change, is late and no change back.
const STRAGGLERS_NS: i64 = 100_000_000;

/// One SSRC. In the order in which a packet in order asks for it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Source {
    pub(super) ssrc: u32,
    /// The next number to hand on.
    pub(super) next: u64,
    /// The last number handed on in order.
    pub(super) handed_on: Option<u64>,
    pub(super) timeline: Timeline,
    pub(super) sequence: Sequence,
    /// Numbers that passed while the stream was held: from, and before which.
    pub(super) discarded: Option<(u64, u64)>,
}

impl Source {
    fn new(packet: &Packet<'_>) -> Self {
        let sequence = Sequence::new(packet);
        let next = sequence.highest();
        let timeline = Timeline::default();
        Self { ssrc: packet.ssrc, sequence, timeline, next, handed_on: None, discarded: None }
    }

    /// Numbers between the last that was handed on and this one.
    pub(super) fn missing_before(&self, number: u64) -> u64 {
        self.handed_on.map_or(0, |last| number.saturating_sub(last + 1))
    }

    /// Whether the number passed while the stream was held.
    pub(super) fn passed_while_held(&self, number: u64) -> bool {
        self.discarded.is_some_and(|(from, before)| (from..before).contains(&number))
    }
}

/// The sources of a stream: the current one at hand, those before it in the order of their last packets.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Sources {
    current: Option<Source>,
    pub(super) past: Box<Past>,
}

/// What is known of sources, asked for when one changes or a record is made.
#[derive(Debug, Default)]
pub(super) struct Past {
    earlier: Vec<Source>,
    changed_at: WallTime,
    pub(super) ssrcs: Vec<u32>,
    pub(super) changes: u32,
    /// Numbers that never came, of sources that are not remembered.
    lost_before: u64,
    /// The highest jitter of those, in microseconds.
    jitter_before_us: u64,
}

/// Where a packet belongs.
pub(super) enum Belongs {
    /// To the current source.
    Current,
    /// To an earlier one, at this index.
    Straggler(usize),
    /// To another source than the current one.
    Change,
}

impl Sources {
    #[inline]
    pub(super) fn current(&mut self) -> Option<&mut Source> {
        self.current.as_mut()
    }

    pub(super) const fn current_ref(&self) -> Option<&Source> {
        self.current.as_ref()
    }

    pub(super) fn get(&mut self, index: usize) -> Option<&mut Source> {
        self.past.earlier.get_mut(index)
    }

    #[inline]
    pub(super) fn belongs(&self, packet: &Packet<'_>) -> Belongs {
        if self.current.as_ref().is_some_and(|s| s.ssrc == packet.ssrc) {
            return Belongs::Current;
        }
        let since = packet.arrival.nanos_since(self.past.changed_at);
        let earlier = self.past.earlier.iter().rposition(|s| s.ssrc == packet.ssrc);
        match earlier {
            Some(index) if (0..STRAGGLERS_NS).contains(&since) => Belongs::Straggler(index),
            _ => Belongs::Change,
        }
    }

    /// Makes the packet's source the current one. True when it is new: then the packet has been taken in.
    pub(super) fn change_to(&mut self, packet: &Packet<'_>) -> bool {
        let past = &mut *self.past;
        if self.current.is_some() {
            past.changes = past.changes.saturating_add(1);
            past.changed_at = packet.arrival;
        }
        if let Some(index) = past.earlier.iter().rposition(|s| s.ssrc == packet.ssrc) {
            let mut source = past.earlier.remove(index);
            source.timeline.expect_jump();
            past.earlier.extend(self.current.replace(source));
            return false;
        }
        if past.earlier.len() + 1 >= REMEMBERED {
            let oldest = past.earlier.remove(0);
            past.forget(&oldest);
        }
        if past.ssrcs.len() < LISTED && !past.ssrcs.contains(&packet.ssrc) {
            past.ssrcs.push(packet.ssrc);
        }
        past.earlier.extend(self.current.replace(Source::new(packet)));
        true
    }

    /// The current source began anew with this packet.
    pub(super) fn restart(&mut self, packet: &Packet<'_>) {
        if let Some(before) = self.current.replace(Source::new(packet)) {
            self.past.forget(&before);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Source> {
        self.past.earlier.iter().chain(&self.current)
    }

    /// Numbers that never came, of all sources.
    pub(super) fn lost(&self) -> u64 {
        self.all().fold(self.past.lost_before, |sum, s| sum.saturating_add(s.sequence.missing()))
    }

    /// Jitter now, and the highest that it was, in microseconds.
    pub(super) fn jitter_us(&self, clock: u32) -> (u64, u64) {
        let us = |ticks: i64| {
            u64::try_from(ticks).unwrap_or(0).saturating_mul(1_000_000) / u64::from(clock.max(1))
        };
        let max = self.all().map(|s| us(s.sequence.jitter_ticks().1)).max().unwrap_or(0);
        let now = self.current.as_ref().map_or(0, |s| us(s.sequence.jitter_ticks().0));
        (now, max.max(self.past.jitter_before_us))
    }
}

impl Past {
    fn forget(&mut self, source: &Source) {
        self.lost_before = self.lost_before.saturating_add(source.sequence.missing());
        let ticks = source.sequence.jitter_ticks().1;
        // The clock it ran on is not kept; 8 kHz is what nearly all run on.
        self.jitter_before_us = self.jitter_before_us.max(u64::try_from(ticks).unwrap_or(0) * 125);
    }
}
