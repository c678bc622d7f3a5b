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
/// The same once somebody [holds](super::Relay::hold) it: until a recorder is placed and answers, for all calls of one
/// that died at once.
pub const HELD_NS: i64 = 10_000_000_000;
/// Octets by which it grows.
const STEP: usize = 4 << 10;

/// What a ring holds at most, whatever comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    packets: usize,
    octets: usize,
}

impl Limit {
    /// Ten seconds of G.711 are 500 packets and 84 KiB; of packets of 10 ms, 1,000 and 90.
    pub(super) const AUDIO: Self = Self { packets: 1_024, octets: 128 << 10 };
    /// Two seconds at 8 Mbit/s.
    pub(super) const OTHER: Self = Self { packets: 2_048, octets: 2 << 20 };
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    at: WallTime,
    octets: u16,
}

/// See the module. It grows as far as its stream needs, then allocates no more.
#[derive(Debug)]
pub(super) struct Ring {
    limit: Limit,
    octets: VecDeque<u8>,
    packets: VecDeque<Packet>,
    /// The number of the first packet that is still here, counted from the first that ever was.
    first: u64,
    /// Since when nothing is forgotten.
    held: Option<WallTime>,
    /// The first number that is still to be replayed: it is not forgotten for its age.
    wanted: u64,
}

impl Ring {
    pub(super) fn new(limit: Limit) -> Self {
        Self {
            limit,
            octets: VecDeque::new(),
            packets: VecDeque::new(),
            first: 0,
            held: None,
            wanted: u64::MAX,
        }
    }

    pub(super) fn put(&mut self, at: WallTime, packet: &[u8]) {
        let Ok(octets) = u16::try_from(packet.len()) else { return };
        while self.is_front_old(at)
            || self.packets.len() >= self.limit.packets
            || self.octets.len() + packet.len() > self.limit.octets
        {
            if !self.forget() {
                return;
            }
        }
        if self.octets.capacity() < self.octets.len() + packet.len() {
            self.octets.reserve_exact(packet.len().max(STEP));
        }
        self.packets.push_back(Packet { at, octets });
        self.octets.extend(packet);
    }

    fn is_front_old(&self, now: WallTime) -> bool {
        self.first < self.wanted && self.packets.front().is_some_and(|old| self.is_old(now, old.at))
    }

    /// Forgets what came at this time or later.
    pub(super) fn forget_since(&mut self, since: WallTime) {
        while let Some(last) = self.packets.back().copied().filter(|last| last.at >= since) {
            self.packets.pop_back();
            self.octets.truncate(self.octets.len().saturating_sub(usize::from(last.octets)));
        }
    }

    /// From this number on it is yet to be replayed; none: nothing is.
    pub(super) fn want(&mut self, first: Option<u64>) {
        self.wanted = first.unwrap_or(u64::MAX);
    }

    /// Whether a packet is too old to be kept.
    fn is_old(&self, now: WallTime, at: WallTime) -> bool {
        let since = self.held.filter(|held| now.nanos_since(*held) <= HELD_NS - REMEMBERED_NS);
        since.unwrap_or(now).nanos_since(at) > REMEMBERED_NS
    }

    /// Nothing of what it has now is forgotten, for as long as [`HELD_NS`] allows.
    pub(super) fn hold(&mut self, now: WallTime) {
        self.held.get_or_insert(now);
    }

    pub(super) const fn release(&mut self) {
        self.held = None;
    }

    /// Time has passed: forgets what is old, and gives back memory that is not needed any more.
    pub(super) fn pass(&mut self, now: WallTime) {
        while self.is_front_old(now) {
            self.forget();
        }
        if self.octets.capacity() > 4 * self.octets.len() + STEP {
            self.octets.shrink_to(2 * self.octets.len());
            self.packets.shrink_to(2 * self.packets.len());
        }
    }

    /// False when nothing is left.
    fn forget(&mut self) -> bool {
        let Some(old) = self.packets.pop_front() else { return false };
        self.octets.drain(..usize::from(old.octets).min(self.octets.len()));
        self.first += 1;
        true
    }

    /// The numbers of the packets that are not too old.
    pub(super) fn since(&self, now: WallTime) -> Range<u64> {
        let old = self.packets.iter().take_while(|p| self.is_old(now, p.at)).count();
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
        let mut start: usize = self.packets.iter().take(skipped).map(|p| usize::from(p.octets)).sum();
        let (front, back) = self.octets.as_slices();
        for packet in self.packets.iter().skip(skipped) {
            let end = start + usize::from(packet.octets);
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
            let (mut ring, mut came, mut now) = (Ring::new(Limit::OTHER), Vec::new(), 0);
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
        let Limit { packets, octets } = Limit::AUDIO;
        let mut ring = Ring::new(Limit::AUDIO);
        for _ in 0..packets + 7 {
            ring.put(WallTime(0), &[1]);
        }
        assert_eq!(ring.since(WallTime(0)), 7..(packets + 7) as u64);
        for _ in 0..2 * octets / 1_024 {
            ring.put(WallTime(0), &[2; 1_024]);
        }
        assert!((octets - 2_048..=octets).contains(&ring.octets.len()), "{}", ring.octets.len());
        assert!(ring.octets.capacity() <= octets + STEP, "{}", ring.octets.capacity());
        assert_eq!(all(&ring, ring.end() - 1), [(0, vec![2; 1_024])]);
        ring.pass(WallTime(3_000 * MS));
        assert_eq!((ring.packets.len(), ring.octets.capacity()), (0, 0), "who is silent holds no memory");
    }

    #[test]
    fn two_seconds_of_speech_fit_in_20_kib() {
        let mut ring = Ring::new(Limit::AUDIO);
        (0..1_000).for_each(|n| ring.put(WallTime(n * 20 * MS), &[0; 172]));
        assert!(ring.octets.capacity() <= 20 << 10, "{}", ring.octets.capacity());
    }

    #[test]
    fn what_came_since_an_order_is_forgotten_and_nothing_else() {
        let mut ring = Ring::new(Limit::AUDIO);
        (0..50).for_each(|n| ring.put(WallTime(n * 20 * MS), &[u8::try_from(n).unwrap(); 172]));
        ring.forget_since(WallTime(401 * MS));
        assert_eq!((ring.end(), ring.octets.len()), (21, 21 * 172));
        ring.put(WallTime(1_000 * MS), &[99; 10]);
        let kept = all(&ring, 0);
        assert_eq!(kept.last(), Some(&(1_000 * MS, vec![99; 10])));
        assert_eq!(kept[20], (400 * MS, vec![20; 172]));
    }

    #[test]
    fn held_it_forgets_nothing_for_ten_seconds() {
        let mut ring = Ring::new(Limit::AUDIO);
        let put = |ring: &mut Ring, range: Range<i64>| {
            range.for_each(|n| ring.put(WallTime(n * 20 * MS), &[0; 172]))
        };
        put(&mut ring, 0..200);
        ring.hold(WallTime(4_000 * MS));
        put(&mut ring, 200..500);
        assert_eq!(ring.since(WallTime(10_000 * MS)), 100..500, "from two seconds before it was held");
        ring.pass(WallTime(12_000 * MS));
        assert_eq!(ring.since(WallTime(12_000 * MS)), 100..500);
        ring.pass(WallTime(12_001 * MS));
        assert_eq!(ring.since(WallTime(12_001 * MS)), 500..500);
        ring.release();
        put(&mut ring, 601..800);
        assert_eq!(ring.since(WallTime(16_000 * MS)).end - ring.since(WallTime(16_000 * MS)).start, 100);
    }
}
