//! Packets of one source by their numbers. What was recorded late stands late in a file; here it waits for its place.

use std::collections::BTreeMap;

/// 64: six times what a recorder waits for while it records; at 3 Mbit/s a quarter of a second.
const WINDOW: usize = 64;
/// 3,000 numbers: as far as RFC 3550 (appendix A.1) takes a jump for loss. Beyond it the source has begun anew.
const JUMP_MAX: i64 = 3_000;

/// A packet of video.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// What was said with it.
    pub(super) at: i64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: Vec<u8>,
}

/// Whether packets are missing before one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Before {
    Nothing,
    Something,
}

/// Packets that wait for others before them.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The number that comes next, and the highest seen; numbers go on above 16 bits.
    seen: Option<(i64, i64)>,
    waiting: BTreeMap<i64, Packet>,
}

impl Order {
    /// Takes a packet. One that was given up, or is here already, is left out. After it [`Order::next`] is to be asked
    /// until it has none.
    pub(super) fn put(&mut self, sequence: u16, packet: Packet) {
        let Some((next, highest)) = self.seen else {
            let number = i64::from(sequence);
            self.seen = Some((number, number));
            self.waiting.insert(number, packet);
            return;
        };
        let low = u16::try_from(highest & 0xFFFF).unwrap_or(0);
        let number = highest + i64::from(sequence.wrapping_sub(low).cast_signed());
        if (number - highest).abs() > JUMP_MAX {
            // What waits is handed on first; numbers go on far above, so that something is missing between.
            let anew = (highest | 0xFFFF) + 0x1_0001 + i64::from(sequence);
            self.seen = Some((next, anew));
            self.waiting.insert(anew, packet);
        } else if number >= next {
            self.seen = Some((next, highest.max(number)));
            self.waiting.entry(number).or_insert(packet);
        }
    }

    /// The next packet whose turn it is: all before it are here, or will not be waited for.
    pub(super) fn next(&mut self) -> Option<(Before, Packet)> {
        let (next, highest) = self.seen?;
        let (lowest, _) = self.waiting.first_key_value()?;
        let far = highest - lowest > JUMP_MAX;
        if *lowest > next && self.waiting.len() < WINDOW && !far {
            return None;
        }
        self.release()
    }

    /// The next packet, whatever is missing before it.
    pub(super) fn release(&mut self) -> Option<(Before, Packet)> {
        let (next, highest) = self.seen?;
        let (number, packet) = self.waiting.pop_first()?;
        self.seen = Some((number + 1, highest));
        Some((if number == next { Before::Nothing } else { Before::Something }, packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sequences: &[u16]) -> (Vec<(i64, bool)>, usize) {
        let mut order = Order::default();
        let (mut out, mut most) = (Vec::new(), 0);
        for (n, sequence) in (0..).zip(sequences) {
            order.put(*sequence, Packet { at: n, timestamp: 0, marker: false, payload: Vec::new() });
            while let Some((before, packet)) = order.next() {
                out.push((packet.at, before == Before::Something));
            }
            most = most.max(order.waiting.len());
        }
        while let Some((before, packet)) = order.release() {
            out.push((packet.at, before == Before::Something));
        }
        (out, most)
    }

    #[test]
    fn numbers_wrap_and_late_packets_find_their_place() {
        let (out, _) = run(&[65_534, 65_535, 1, 0, 0, 2, 65_535]);
        assert_eq!(out, [(0, false), (1, false), (3, false), (2, false), (5, false)]);
    }

    #[test]
    fn what_never_comes_is_given_up_and_told() {
        let sequences: Vec<u16> = (10..20).chain(21..200).collect();
        let (out, most) = run(&sequences);
        assert_eq!(out.len(), sequences.len());
        assert_eq!(out.iter().filter(|o| o.1).collect::<Vec<_>>(), [&(10, true)]);
        assert!(most < WINDOW, "{most} wait");
    }

    #[test]
    fn a_source_that_begins_anew_is_followed() {
        let (out, _) = run(&[10, 11, 40_000, 40_001, 40_002]);
        assert_eq!(out, [(0, false), (1, false), (2, true), (3, false), (4, false)]);
        // Backwards too, and again and again.
        let sequences: Vec<u16> = (0..1_000).map(|n| if n % 2 == 0 { 0 } else { 32_000 }).collect();
        let (out, most) = run(&sequences);
        assert_eq!((out.len(), most < WINDOW), (1_000, true));
    }
}
