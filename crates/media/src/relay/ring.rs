//! The last two seconds of a stream, for a recorder that takes over from one that failed.
//!
//! A recorder that dies has not written what it received last, and is missed only after a while. Who takes over is
//! sent what is here first, then what comes: so nothing is lost, and what both have is known by source and number.

use std::collections::VecDeque;
use std::ops::Range;

use model::WallTime;

/// How long a packet is kept (nanoseconds): a recorder that hangs is noticed within a second (three beats and a
/// probe), and it has written nothing for at most 200 ms before.
pub const REMEMBERED_NS: i64 = 2_000_000_000;
/// Packets kept at most: 2 s of video at 8 Mbit/s, or of audio at 256 packets a second.
const PACKETS_MAX: usize = 2_048;
/// Octets kept at most, of which a stream of G.711 needs 17 KiB.
const OCTETS_MAX: usize = 2 << 20;

#[derive(Clone, Copy, Debug)]
struct Packet {
    at: WallTime,
    octets: usize,
}

/// See the module. It grows as far as two seconds of the stream need, then allocates no more.
#[derive(Debug, Default)]
pub(super) struct Ring {
    octets: VecDeque<u8>,
    packets: VecDeque<Packet>,
    /// The number of the first packet that is still here, counted from the first that ever was.
    first: u64,
}

impl Ring {
    pub(super) fn put(&mut self, at: WallTime, packet: &[u8]) {
        while self.packets.front().is_some_and(|old| at.nanos_since(old.at) > REMEMBERED_NS)
            || self.packets.len() >= PACKETS_MAX
            || self.octets.len() + packet.len() > OCTETS_MAX
        {
            if !self.forget() {
                return;
            }
        }
        self.packets.push_back(Packet { at, octets: packet.len() });
        self.octets.extend(packet);
    }

    /// False when nothing is left.
    fn forget(&mut self) -> bool {
        let Some(old) = self.packets.pop_front() else { return false };
        self.octets.drain(..old.octets.min(self.octets.len()));
        self.first += 1;
        true
    }

    /// The numbers of the packets that are not older than two seconds.
    pub(super) fn since(&self, now: WallTime) -> Range<u64> {
        let old = self.packets.iter().take_while(|p| now.nanos_since(p.at) > REMEMBERED_NS).count();
        self.first + old as u64..self.end()
    }

    /// The number after the last packet.
    pub(super) fn end(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// The first number that is still here, at or after this one.
    pub(super) fn at_or_after(&self, number: u64) -> u64 {
        number.max(self.first)
    }

    /// Walks over the packets from a number on, each as when it arrived and its octets, which may lie in two pieces, until
    /// `each` has enough.
    pub(super) fn walk(&self, from: u64, mut each: impl FnMut(WallTime, (&[u8], &[u8])) -> bool) {
        let skipped = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut start: usize = self.packets.iter().take(skipped).map(|p| p.octets).sum();
        let (front, back) = self.octets.as_slices();
        for packet in self.packets.iter().skip(skipped) {
            let end = start + packet.octets;
            let in_front = front.get(start.min(front.len())..end.min(front.len()));
            let in_back = back.get(start.saturating_sub(front.len())..end.saturating_sub(front.len()));
            if !each(packet.at, (in_front.unwrap_or_default(), in_back.unwrap_or_default())) {
                return;
            }
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: i64 = 1_000_000;

    fn all(ring: &Ring, from: u64) -> Vec<(i64, Vec<u8>)> {
        let mut found = Vec::new();
        ring.walk(from, |at, (a, b)| {
            found.push((at.0, [a, b].concat()));
            true
        });
        found
    }

    proptest! {
        #[test]
        fn it_holds_exactly_the_last_two_seconds(
            packets in proptest::collection::vec((0_i64..300, 0_usize..400), 1..300),
            later in 0_i64..3_000,
        ) {
            let (mut ring, mut came, mut now) = (Ring::default(), Vec::new(), 0);
            for (n, (wait, length)) in packets.into_iter().enumerate() {
                now += wait * MS;
                let octets = vec![u8::try_from(n % 251).unwrap(); length];
                ring.put(WallTime(now), &octets);
                came.push((now, octets));
            }
            now += later * MS;
            let expected: Vec<_> = came.into_iter().filter(|(at, _)| now - at <= REMEMBERED_NS).collect();
            let numbers = ring.since(WallTime(now));
            prop_assert_eq!(numbers.end, ring.end());
            prop_assert_eq!(usize::try_from(numbers.end - numbers.start).unwrap(), expected.len());
            prop_assert_eq!(all(&ring, numbers.start), expected);
        }
    }

    #[test]
    fn packets_and_octets_have_a_limit_and_the_oldest_go() {
        let mut ring = Ring::default();
        for _ in 0..PACKETS_MAX + 7 {
            ring.put(WallTime(0), &[1]);
        }
        assert_eq!(ring.since(WallTime(0)), 7..(PACKETS_MAX + 7) as u64);
        for _ in 0..2 * OCTETS_MAX / 1_024 {
            ring.put(WallTime(0), &[2; 1_024]);
        }
        assert!(ring.octets.len() <= OCTETS_MAX, "{}", ring.octets.len());
        assert!(ring.octets.len() > OCTETS_MAX - 2_048);
        assert_eq!(all(&ring, ring.end() - 1), [(0, vec![2; 1_024])]);
        ring.put(WallTime(0), &vec![3; OCTETS_MAX + 1]);
        assert_eq!(all(&ring, 0), [], "what is too large for it is not in it");
    }
}
