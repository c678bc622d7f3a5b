//! The reorder window: packets that came before one that is missing.
//!
//! ```text
//!            next                          next + 10
//!   handed on │ missing │ held │ missing │ … │ beyond: the window moves on
//! ```
//!
//! Slots and buffers are kept for reuse; a stream that is never out of order has none.

use std::net::SocketAddr;

use model::WallTime;

use super::packet::{Packet, ns_to_ticks, ticks_between};

/// 200 ms at 20 ms a packet: a packet that much ahead makes what is missing loss, not reordering.
const SLOTS: usize = 10;
/// The same as a distance between numbers.
pub(super) const WINDOW: u64 = SLOTS as u64;
/// The longest that a packet waits for a missing one: part of the 200 ms of media that a killed process loses.
pub(super) const WAIT_NS: i64 = 100_000_000;
/// A buffer that once held a giant is not kept.
const BUFFER_KEPT: usize = 2_048;

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) number: u64,
    pub(super) arrival: WallTime,
    pub(super) from: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

/// How packets come after one that came far too late for its timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// Faster than they play: the network had held them back.
    Burst,
    /// As they play: the sender had paused.
    Own,
}

/// The window.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    held: usize,
    window: Option<Box<Window>>,
}

#[derive(Debug, Default)]
struct Window {
    slots: [Option<Held>; SLOTS],
    spare: Vec<Vec<u8>>,
}

impl Reorder {
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Holds a packet whose number is within the window.
    pub(super) fn hold(&mut self, number: u64, arrival: WallTime, from: SocketAddr, packet: &[u8]) {
        let mut bytes = self.window.get_or_insert_default().spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        self.put_back(Held { number, arrival, from, bytes });
    }

    /// Holds again what was taken.
    pub(super) fn put_back(&mut self, held: Held) {
        let slot = &mut self.window.get_or_insert_default().slots[slot_of(held.number)];
        if slot.replace(held).is_none() {
            self.held += 1;
        }
    }

    /// Takes the packet with this number, if it is here.
    pub(super) fn take(&mut self, number: u64) -> Option<Held> {
        let slot = &mut self.window.as_mut()?.slots[slot_of(number)];
        let held = slot.take_if(|held| held.number == number)?;
        self.held -= 1;
        Some(held)
    }

    /// Gives a buffer back.
    pub(super) fn recycle(&mut self, held: Held) {
        let window = self.window.get_or_insert_default();
        if window.spare.len() < SLOTS && held.bytes.capacity() <= BUFFER_KEPT {
            window.spare.push(held.bytes);
        }
    }

    /// The lowest number held.
    pub(super) fn lowest(&self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        self.held().map(|held| held.number).min()
    }

    /// The pace of the packet that waits after this one, if there is one.
    pub(super) fn pace_after(&self, held: &Held, clock: u32) -> Option<Pace> {
        let after = self.after(held.number)?;
        let (first, second) = (
            Packet::read(held.arrival, held.from, &held.bytes)?,
            Packet::read(after.arrival, after.from, &after.bytes)?,
        );
        let plays = ticks_between(first.timestamp, second.timestamp);
        let took = ns_to_ticks(after.arrival.nanos_since(held.arrival), clock);
        Some(if took * 2 < plays { Pace::Burst } else { Pace::Own })
    }

    /// The lowest number held that is higher.
    fn after(&self, number: u64) -> Option<&Held> {
        self.held().filter(|held| held.number > number).min_by_key(|held| held.number)
    }

    fn held(&self) -> impl Iterator<Item = &Held> {
        self.window.iter().flat_map(|window| window.slots.iter().flatten())
    }

    /// When the packet arrived that has waited longest.
    #[inline]
    pub(super) fn oldest(&self) -> Option<WallTime> {
        // Asked ten times a second of each stream, nearly always in vain: the slots are not looked at then.
        if self.is_empty() {
            return None;
        }
        self.held().map(|held| held.arrival).min()
    }
}

const fn slot_of(number: u64) -> usize {
    (number % WINDOW) as usize
}
