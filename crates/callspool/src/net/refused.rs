//! Calls that were refused by their lines alone, remembered while their INVITE may come again.
//!
//! A refusal leaves no transaction, and what is decided of a call may be another a moment later. An INVITE that was sent
//! again before its 503 arrived must not begin a call that nobody waits for any more: it gets its 503 again (RFC 3261
//! section 17.2.1).

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Timer H of RFC 3261: then no repetition is on its way.
const REMEMBERED: Duration = Duration::from_secs(32);
/// 2,000 a second for as long, at some 40 octets each. When there are more, the oldest are forgotten.
const REFUSED_MAX: usize = 65_536;

/// What was refused lately: numbers of keys, which nobody outside can foresee.
#[derive(Default)]
pub(super) struct Refused {
    numbers: RandomState,
    known: HashSet<u64>,
    in_order: VecDeque<(Instant, u64)>,
}

impl Refused {
    /// The request of this key is refused.
    pub(super) fn note(&mut self, key: &[u8], now: Instant) {
        self.forget(now);
        let number = self.numbers.hash_one(key);
        if self.known.insert(number) {
            self.in_order.push_back((now, number));
        }
        if self.in_order.len() > REFUSED_MAX
            && let Some((_, oldest)) = self.in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether the request of this key was.
    pub(super) fn has(&mut self, key: &[u8], now: Instant) -> bool {
        self.forget(now);
        !self.known.is_empty() && self.known.contains(&self.numbers.hash_one(key))
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, number)) = self.in_order.front()
            && now.duration_since(*at) >= REMEMBERED
        {
            self.known.remove(number);
            self.in_order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_remembered_as_long_as_its_request_may_come_again_and_so_many_of_them() {
        let (mut refused, now) = (Refused::default(), Instant::now());
        refused.note(b"a", now);
        refused.note(b"a", now);
        assert!(refused.has(b"a", now + REMEMBERED / 2) && !refused.has(b"b", now));
        assert!(!refused.has(b"a", now + REMEMBERED));
        assert!(refused.known.is_empty() && refused.in_order.is_empty());
        (0..70_000_u32).for_each(|n| refused.note(&n.to_be_bytes(), now));
        assert_eq!((refused.known.len(), refused.in_order.len()), (REFUSED_MAX, REFUSED_MAX));
        assert!(!refused.has(&0_u32.to_be_bytes(), now) && refused.has(&69_999_u32.to_be_bytes(), now));
    }
}
