//! Calls that were refused by their lines alone, remembered while their INVITE may come again.
//!
//! A refusal leaves no transaction, and what is decided of a call may be another a moment later. An INVITE that was sent
//! again before its 503 arrived must not begin a call that nobody waits for any more: it gets its 503 again (RFC 3261
//! section 17.2.1).
//!
//! A flood must not push out what is remembered of others: when there is no room left, a source that has much of it gets
//! no more, and only then the oldest are forgotten. Whom no trunk knows is not to be remembered at all.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::source::Source;

/// Timer H of RFC 3261: then no repetition is on its way.
const REMEMBERED: Duration = Duration::from_secs(32);
/// 2,000 a second for as long, at some 100 octets each.
const REFUSED_MAX: usize = 65_536;
/// A sixteenth of them, 128 a second: what a source may have of them when all are taken.
const SHARE_MAX: usize = REFUSED_MAX / 16;

/// What was refused lately: numbers of keys, which nobody outside can foresee.
#[derive(Default)]
pub(super) struct Refused {
    numbers: RandomState,
    known: HashSet<u64>,
    in_order: VecDeque<(Instant, u64, Source)>,
    /// How many are of each source.
    shares: HashMap<Source, usize>,
}

impl Refused {
    /// The request of this key, which came from there, is refused.
    pub(super) fn note(&mut self, key: &[u8], from: IpAddr, now: Instant) {
        self.forget_old(now);
        let (number, source) = (self.numbers.hash_one(key), Source::of(from));
        let is_full = self.in_order.len() >= REFUSED_MAX;
        if is_full && self.shares.get(&source).is_some_and(|share| *share >= SHARE_MAX) {
            return;
        }
        if self.known.insert(number) {
            if is_full {
                self.forget_oldest();
            }
            self.in_order.push_back((now, number, source));
            *self.shares.entry(source).or_default() += 1;
        }
    }

    /// Whether the request of this key was.
    pub(super) fn has(&mut self, key: &[u8], now: Instant) -> bool {
        self.forget_old(now);
        !self.known.is_empty() && self.known.contains(&self.numbers.hash_one(key))
    }

    fn forget_old(&mut self, now: Instant) {
        while self.in_order.front().is_some_and(|(at, ..)| now.duration_since(*at) >= REMEMBERED) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, number, source)) = self.in_order.pop_front() else { return };
        self.known.remove(&number);
        if let Some(share) = self.shares.get_mut(&source) {
            *share -= 1;
            if *share == 0 {
                self.shares.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn a_refusal_is_remembered_as_long_as_its_request_may_come_again_and_so_many_of_them() {
        let (mut refused, now) = (Refused::default(), Instant::now());
        refused.note(b"a", ip(1), now);
        refused.note(b"a", ip(1), now);
        assert!(refused.has(b"a", now + REMEMBERED / 2) && !refused.has(b"b", now));
        assert!(!refused.has(b"a", now + REMEMBERED));
        assert!(refused.known.is_empty() && refused.in_order.is_empty() && refused.shares.is_empty());
        (0..70_000_u32).for_each(|n| refused.note(&n.to_be_bytes(), ip(n), now));
        assert_eq!((refused.known.len(), refused.in_order.len()), (REFUSED_MAX, REFUSED_MAX));
        assert_eq!(refused.shares.len(), REFUSED_MAX);
        assert!(!refused.has(&0_u32.to_be_bytes(), now) && refused.has(&69_999_u32.to_be_bytes(), now));
    }

    #[test]
    fn a_flood_of_one_source_pushes_out_nobody() {
        let (mut refused, now) = (Refused::default(), Instant::now());
        refused.note(b"a call", ip(1), now);
        (0..200_000_u32).for_each(|n| refused.note(&n.to_be_bytes(), ip(2), now));
        assert!(refused.has(b"a call", now));
        refused.note(b"another", ip(1), now);
        (0..200_000_u32).for_each(|n| refused.note(&n.to_be_bytes(), ip(2), now));
        assert!(refused.has(b"another", now), "there is room for who has little");
        assert_eq!(refused.in_order.len(), REFUSED_MAX);
    }
}
