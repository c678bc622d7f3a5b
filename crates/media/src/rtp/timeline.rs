//! RTP time of one source on the segment's time line.
//!
//! From an anchor on, positions follow RTP timestamps alone, so that jitter never shows in a recording. Arrival
//! is only compared: *ahead* is how much earlier than usual a packet comes for its timestamp.
//!
//! ```text
//!  timestamps move on with the numbers?  ahead within ±500 ms   beyond, too early    beyond, too late
//!  yes                                   follow                 follow, up to 2 s:   network stall or a
//!                                                               the first were late  pause of the sender?
//!  no                                    follow (DTX)           jump: new anchor     jump: new anchor
//! ```
//!
//! Stall or pause shows with the packet after: after a stall packets come in a burst, after a pause at their
//! pace. Until then the packet is held back like one that waits for a missing one.

use super::packet::{ticks_between, ticks_to_us};

/// Timestamp against arrival, in microseconds: beyond it one of the two has jumped.
const JUMP_US: i64 = 500_000;
/// The same after a hold, or when a source comes back: then only jitter is no reason for a new anchor.
const JUMP_EXPECTED_US: i64 = 100_000;
/// The first packets of a source were delayed by this much (microseconds) at most; a packet that comes earlier
/// than that for its timestamp has jumped, whatever its number.
const EARLY_MAX_US: i64 = 2_000_000;
/// Packets at their own pace after which a stall turns out to have been a pause.
const AT_PACE_MAX: u8 = 10;
/// Where a new anchor would lie before the end of what was handed on, by no more than this (microseconds), it
/// is moved to that end; beyond, arrival wins and the two overlap.
const PUSH_MAX_US: i64 = 2_000_000;
/// Anchors lie on the 8 kHz grid (microseconds), which every file of ours uses.
const GRID_US: i64 = 125;
/// A frame longer than this (microseconds) is a pause of the sender.
const FRAME_MAX_US: i64 = 200_000;
/// Telephone events keep the timestamp of their beginning: so far behind (microseconds) they may lie.
const EVENT_MAX_US: i64 = 60_000_000;

/// A packet in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    pub(super) number: u64,
    pub(super) timestamp: u32,
    pub(super) clock: u32,
    /// Arrival in microseconds from the segment's start.
    pub(super) arrival_us: i64,
}

/// Where a packet lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// On the line.
    At(i64),
    /// Nowhere yet: it needs an anchor.
    Jump,
    /// Not known before the next packet.
    Undecided,
}

/// The time line of one source.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    mapping: Option<Mapping>,
    /// The mapping before the last jump, and the first number after it: for packets that come late.
    before: Option<(Mapping, u64)>,
    ahead_us: i64,
    frame_ticks: i64,
    last_number: u64,
    last_arrival_us: i64,
    mood: Mood,
}

/// What the next deviation means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Mood {
    #[default]
    Steady,
    /// The network stalled; what comes is a burst. Counts packets at their own pace.
    CatchingUp(u8),
    /// A deviation is a jump: after a hold.
    ExpectJump,
    /// The sender had paused.
    MustJump,
    /// Anchored by what is no media; the first media anchor anew.
    Provisional,
}

/// Timestamps to positions.
#[derive(Clone, Copy, Debug)]
struct Mapping {
    position_us: i64,
    clock: u32,
    /// Ticks from the anchor to the last timestamp.
    ticks: i64,
    timestamp: u32,
}

impl Mapping {
    #[inline]
    fn position(&self, timestamp: u32) -> i64 {
        let ticks = self.ticks + ticks_between(self.timestamp, timestamp);
        self.position_us + ticks_to_us(ticks, self.clock)
    }
}

impl Timeline {
    /// Places the next media packet in order.
    #[inline]
    pub(super) fn place(&mut self, tick: Tick) -> Place {
        let Some(mapping) = self.mapping else { return Place::Jump };
        if mapping.clock != tick.clock || matches!(self.mood, Mood::Provisional | Mood::MustJump) {
            return Place::Jump;
        }
        let moved = ticks_between(mapping.timestamp, tick.timestamp);
        let position = mapping.position(tick.timestamp);
        let ahead = position - tick.arrival_us;
        let deviation = ahead - self.ahead_us;
        let in_step = self.is_in_step(tick, moved);
        let tolerated = if self.mood == Mood::ExpectJump { JUMP_EXPECTED_US } else { JUMP_US };
        if deviation.abs() <= tolerated {
            self.mood = Mood::Steady;
            // The packet that was delayed least tells best; what is slower than that is drift.
            self.ahead_us = if deviation > 0 { ahead } else { self.ahead_us + deviation / 256 };
        } else if self.mood == Mood::ExpectJump || !in_step || deviation > EARLY_MAX_US {
            return Place::Jump;
        } else if deviation > 0 {
            self.ahead_us = ahead;
        } else {
            match self.mood {
                Mood::CatchingUp(n) if self.is_at_pace(tick, moved) && n >= AT_PACE_MAX => {
                    return Place::Jump;
                }
                Mood::CatchingUp(n) if self.is_at_pace(tick, moved) => self.mood = Mood::CatchingUp(n + 1),
                Mood::CatchingUp(_) => self.mood = Mood::CatchingUp(0),
                _ => return Place::Undecided,
            }
        }
        self.follow(tick, moved);
        Place::At(position)
    }

    /// Places the next packet of comfort noise in order. After one that set the anchor others follow it: only media
    /// anchor anew.
    pub(super) fn place_noise(&mut self, tick: Tick) -> Place {
        match self.mapping {
            Some(mapping) if self.mood == Mood::Provisional => {
                let position = mapping.position(tick.timestamp);
                let deviation = position - tick.arrival_us - self.ahead_us;
                if deviation.abs() <= JUMP_US { Place::At(position) } else { Place::Jump }
            }
            _ => self.place(tick),
        }
    }

    /// Sets an anchor by arrival, not before `end_us`, and says where it lies. `frame_us` is how long the
    /// packet plays, where that is known.
    pub(super) fn anchor(&mut self, tick: Tick, end_us: i64, frame_us: Option<u32>) -> i64 {
        if let Some(frame_us) = frame_us {
            self.frame_ticks = i64::from(frame_us) * i64::from(tick.clock) / 1_000_000;
        }
        let rounded = (tick.arrival_us + GRID_US / 2).div_euclid(GRID_US) * GRID_US;
        let pushed = (end_us + GRID_US - 1).div_euclid(GRID_US) * GRID_US;
        let push = (0..=PUSH_MAX_US).contains(&(pushed - rounded));
        let position_us = if push { pushed } else { rounded }.max(0);
        let new = Mapping { position_us, clock: tick.clock, ticks: 0, timestamp: tick.timestamp };
        self.before = self.mapping.replace(new).map(|old| (old, tick.number));
        self.ahead_us = position_us - tick.arrival_us;
        self.mood = Mood::Steady;
        self.last_number = tick.number;
        self.last_arrival_us = tick.arrival_us;
        position_us
    }

    /// The last anchor was set by what is no media.
    pub(super) fn anchored_provisionally(&mut self) {
        self.mood = Mood::Provisional;
    }

    /// Whether there is an anchor on this clock.
    pub(super) fn is_anchored_on(&self, clock: u32) -> bool {
        self.mapping.is_some_and(|m| m.clock == clock)
    }

    /// Whether there is an anchor.
    pub(super) const fn is_anchored(&self) -> bool {
        self.mapping.is_some()
    }

    /// Where a packet lies that must not move time: late, or no media.
    pub(super) fn locate(&self, tick: Tick) -> i64 {
        let mapping = match self.before {
            Some((before, number)) if tick.number < number => Some(before),
            _ => self.mapping,
        };
        let Some(mapping) = mapping.filter(|m| m.clock == tick.clock) else { return tick.arrival_us };
        let position = mapping.position(tick.timestamp);
        let deviation = position - tick.arrival_us - self.ahead_us;
        if (-EVENT_MAX_US..=JUMP_US).contains(&deviation) { position } else { tick.arrival_us }
    }

    /// After a hold timestamps may have gone on or not: arrival decides.
    pub(super) fn expect_jump(&mut self) {
        if self.mood != Mood::Provisional {
            self.mood = Mood::ExpectJump;
        }
    }

    /// The undecided packet was delayed by the network.
    pub(super) fn catch_up(&mut self) {
        self.mood = Mood::CatchingUp(0);
    }

    /// The undecided packet comes after a pause of the sender.
    pub(super) fn must_jump(&mut self) {
        self.mood = Mood::MustJump;
    }

    /// When a packet at this position would have arrived without jitter: close to when it was said.
    pub(super) const fn said_us(&self, position_us: i64) -> i64 {
        position_us - self.ahead_us
    }

    /// How long a frame is as far as timestamps tell, in microseconds; 0 when not known.
    pub(super) fn frame_us(&self) -> i64 {
        self.mapping.map_or(0, |m| ticks_to_us(self.frame_ticks, m.clock))
    }

    fn follow(&mut self, tick: Tick, moved: i64) {
        if let Some(mapping) = &mut self.mapping {
            mapping.ticks += moved;
            mapping.timestamp = tick.timestamp;
            let frame_max = i64::from(tick.clock) * FRAME_MAX_US / 1_000_000;
            if tick.number == self.last_number + 1 && moved > 0 && moved <= frame_max {
                self.frame_ticks = moved;
            }
        }
        self.last_number = tick.number;
        self.last_arrival_us = tick.arrival_us;
    }

    /// Whether timestamps have moved on as far as numbers have, to within a frame.
    fn is_in_step(&self, tick: Tick, moved: i64) -> bool {
        let numbers = i64::try_from(tick.number.saturating_sub(self.last_number)).unwrap_or(i64::MAX);
        (moved - numbers.saturating_mul(self.frame_ticks)).abs() <= self.frame_ticks
    }

    /// Whether a packet took at least half as long to come as it plays.
    fn is_at_pace(&self, tick: Tick, moved: i64) -> bool {
        (tick.arrival_us - self.last_arrival_us) * 2 >= ticks_to_us(moved, tick.clock)
    }
}
