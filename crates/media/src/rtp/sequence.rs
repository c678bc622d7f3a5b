//! Sequence numbers of one source: extension, loss, duplicates, restarts (RFC 3550 appendix A.1, A.3, A.8).
//!
//! Numbers are extended to 64 bits, and a bit per number remembers the last 1,024, so that at any moment the
//! count of numbers that never came is exact: the range from first to highest, less the distinct ones received.

use super::packet::{Packet, ns_to_ticks, ticks_between, ticks_to_us};

/// Numbers remembered: 20 s at 20 ms a packet. What is further behind is a restart.
const REMEMBERED: u64 = 1_024;
/// A sender that starts here leaves room to count backward.
const FIRST_CYCLE: u64 = 1 << 32;
/// A hole up to this (2 s at 20 ms) is loss whatever else; a greater one must fit timestamps too.
const HOLE_UNQUESTIONED: u64 = 100;
/// So few numbers behind, it is the network that put them out of order, whatever timestamps say.
const BEHIND_UNQUESTIONED: u64 = 10;
/// Nothing arrives so late (microseconds): it is a sender that began anew.
const LATE_MAX_US: i64 = 2_000_000;
/// A number behind after so long without a packet is a sender that began anew.
const SILENT_NS: i64 = 2_000_000_000;
/// Timestamp against arrival: beyond it (microseconds) the timestamps have jumped.
const STEP_US: i64 = 500_000;

/// A packet after a hole comes this much (microseconds) too early at most.
const EARLY_MAX_US: i64 = 2_000_000;

/// What a packet is to its source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrived {
    /// The highest so far.
    Ahead(u64),
    /// Lower than the highest, for the first time.
    Behind(u64),
    /// Received before.
    Again,
    /// It does not belong to the numbers so far: the sender began anew.
    Anew,
}

/// The numbers of one source. What each packet moves stands together.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Sequence {
    highest: u64,
    distinct: u64,
    /// Timestamp and arrival of the highest.
    highest_timestamp: u32,
    highest_arrival_ns: i64,
    /// Ticks per number, as last seen between neighbors.
    ticks_per_number: i64,
    jitter: Jitter,
    first: u64,
    /// Where timestamps last jumped: the first number after it, and the timestamp before.
    step: Option<(u64, u32)>,
    seen: [u64; (REMEMBERED / 64) as usize],
}

/// Interarrival jitter in ticks, scaled by 16 (RFC 3550 appendix A.8).
#[derive(Debug, Default)]
struct Jitter {
    last: Option<(i64, u32)>,
    scaled: i64,
    scaled_max: i64,
}

impl Sequence {
    pub(super) fn new(packet: &Packet<'_>) -> Self {
        let first = FIRST_CYCLE | u64::from(packet.sequence);
        let mut sequence = Self {
            first,
            highest: first,
            distinct: 1,
            seen: [0; (REMEMBERED / 64) as usize],
            highest_timestamp: packet.timestamp,
            highest_arrival_ns: packet.arrival.0,
            step: None,
            ticks_per_number: 0,
            jitter: Jitter { last: Some((packet.arrival.0, packet.timestamp)), ..Jitter::default() },
        };
        sequence.set(first);
        sequence
    }

    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Numbers from the first to the highest.
    pub(super) const fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }

    /// Distinct numbers received.
    pub(super) const fn distinct(&self) -> u64 {
        self.distinct
    }

    /// Numbers that have not come.
    pub(super) const fn missing(&self) -> u64 {
        self.expected().saturating_sub(self.distinct)
    }

    /// Jitter now and at its highest, in ticks.
    pub(super) const fn jitter_ticks(&self) -> (i64, i64) {
        (self.jitter.scaled >> 4, self.jitter.scaled_max >> 4)
    }

    /// Whether a packet would go on where these numbers are: the same source at another address.
    pub(super) fn continues(&self, packet: &Packet<'_>) -> bool {
        let ahead = packet.sequence.wrapping_sub(low(self.highest));
        (1..=HOLE_UNQUESTIONED).contains(&u64::from(ahead))
    }

    /// Takes a packet in and says what it is. `clock` is the RTP clock, none where timestamps tell nothing:
    /// for telephone events, which repeat theirs.
    #[inline]
    pub(super) fn take(&mut self, packet: &Packet<'_>, clock: Option<u32>) -> Arrived {
        let ahead = packet.sequence.wrapping_sub(low(self.highest)).cast_signed();
        if ahead == 1 {
            self.advance(self.highest + 1, packet, clock);
            self.set(self.highest);
            return Arrived::Ahead(self.highest);
        }
        if ahead > 1 {
            self.leap(u64::from(ahead.unsigned_abs()), packet, clock)
        } else {
            self.back(u64::from(ahead.unsigned_abs()), packet, clock)
        }
    }

    fn leap(&mut self, ahead: u64, packet: &Packet<'_>, clock: Option<u32>) -> Arrived {
        if ahead > HOLE_UNQUESTIONED && !self.is_loss(ahead, packet, clock) {
            return Arrived::Anew;
        }
        let number = self.highest + ahead;
        if ahead >= REMEMBERED {
            self.seen = [0; (REMEMBERED / 64) as usize];
        } else {
            (self.highest + 1..number).for_each(|n| self.clear(n));
        }
        self.advance(number, packet, clock);
        self.set(number);
        Arrived::Ahead(number)
    }

    /// Whether so great a hole is loss: timestamps have moved on as far as numbers have, or as time has.
    fn is_loss(&self, ahead: u64, packet: &Packet<'_>, clock: Option<u32>) -> bool {
        let Some(clock) = clock else { return false };
        let ticks = ticks_between(self.highest_timestamp, packet.timestamp);
        let by_number = self.ticks_per_number.saturating_mul(i64::try_from(ahead).unwrap_or(i64::MAX));
        let by_time = ns_to_ticks(packet.arrival.0 - self.highest_arrival_ns, clock);
        // Not when far less time has passed than the hole holds: a sender that leapt.
        let time_passed = ticks_to_us(ticks - by_time, clock) <= EARLY_MAX_US;
        let near_numbers = by_number > 0 && (ticks - by_number).abs() <= by_number / 8;
        (near_numbers && time_passed) || ticks_to_us(ticks - by_time, clock).abs() <= STEP_US
    }

    fn back(&mut self, behind: u64, packet: &Packet<'_>, clock: Option<u32>) -> Arrived {
        if behind >= REMEMBERED || !self.is_out_of_order(behind, packet, clock) {
            return Arrived::Anew;
        }
        let number = self.highest - behind;
        if self.is_set(number) {
            return Arrived::Again;
        }
        self.set(number);
        self.first = self.first.min(number);
        self.distinct += 1;
        self.jitter(packet, clock);
        Arrived::Behind(number)
    }

    /// Whether a lower number is one of ours that the network delayed or doubled.
    fn is_out_of_order(&self, behind: u64, packet: &Packet<'_>, clock: Option<u32>) -> bool {
        let since_ns = packet.arrival.0 - self.highest_arrival_ns;
        if since_ns >= SILENT_NS {
            return false;
        }
        let (true, Some(clock)) = (behind > BEHIND_UNQUESTIONED, clock) else { return true };
        let reference = match self.step {
            Some((number, before)) if self.highest - behind < number => before,
            _ => self.highest_timestamp,
        };
        let behind_us = ticks_to_us(ticks_between(packet.timestamp, reference), clock);
        behind_us >= -STEP_US && behind_us + since_ns / 1_000 <= LATE_MAX_US
    }

    #[inline]
    fn advance(&mut self, number: u64, packet: &Packet<'_>, clock: Option<u32>) {
        if let Some(clock) = clock {
            let ticks = ticks_between(self.highest_timestamp, packet.timestamp);
            let by_time = ns_to_ticks(packet.arrival.0 - self.highest_arrival_ns, clock);
            if (ticks - by_time).abs() > i64::from(clock) * STEP_US / 1_000_000 {
                self.step = Some((number, self.highest_timestamp));
            } else if number == self.highest + 1 {
                self.ticks_per_number = ticks;
            }
            self.highest_timestamp = packet.timestamp;
        }
        self.highest = number;
        self.highest_arrival_ns = packet.arrival.0;
        self.distinct += 1;
        self.jitter(packet, clock);
    }

    #[inline]
    fn jitter(&mut self, packet: &Packet<'_>, clock: Option<u32>) {
        let Some(clock) = clock else { return };
        let now = (packet.arrival.0, packet.timestamp);
        let Some((last_ns, last_timestamp)) = self.jitter.last.replace(now) else { return };
        let moved = ns_to_ticks(packet.arrival.0 - last_ns, clock);
        let difference = (moved - ticks_between(last_timestamp, packet.timestamp)).abs();
        // A second and more is no jitter but a pause or a jump.
        if difference < i64::from(clock) {
            self.jitter.scaled += difference - ((self.jitter.scaled + 8) >> 4);
            self.jitter.scaled_max = self.jitter.scaled_max.max(self.jitter.scaled);
        }
    }

    #[inline]
    fn set(&mut self, number: u64) {
        let (word, bit) = place(number);
        self.seen[word] |= bit;
    }

    fn clear(&mut self, number: u64) {
        let (word, bit) = place(number);
        self.seen[word] &= !bit;
    }

    fn is_set(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.seen[word] & bit != 0
    }
}

#[inline]
const fn place(number: u64) -> (usize, u64) {
    ((number % REMEMBERED / 64) as usize, 1 << (number % 64))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are the number on the wire")]
pub(super) const fn low(number: u64) -> u16 {
    number as u16
}
