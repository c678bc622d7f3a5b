//! Which counts of which nonce were used (RFC 7616 section 3.4, `nc`): each is taken once.
//!
//! Counts may come in another order than they were given, some dozens apart, for requests overtake each other over
//! UDP. The table is bounded: what is forgotten is never taken again, for nonces have numbers that grow, and all up
//! to the highest one that was forgotten are refused unless they are in the table.

use std::collections::BTreeMap;

use model::Mono;

use super::nonce::Fresh;

/// Counts remembered below the highest one: a burst of requests in one dialog, or in some.
const WINDOW: u32 = 64;

struct Used {
    highest: u32,
    /// Bit n: the count that is n below the highest was used.
    below: u64,
    ends: Mono,
}

pub(super) struct Counts {
    used: BTreeMap<u64, Used>,
    /// Nonces up to this number that are not in the table were forgotten.
    floor: u64,
    nonces_max: usize,
}

impl Counts {
    pub(super) const fn new(nonces_max: usize) -> Self {
        Self { used: BTreeMap::new(), floor: 0, nonces_max }
    }

    /// Whether this count of this nonce is taken: it never was before.
    pub(super) fn take(&mut self, now: Mono, nonce: Fresh, count: u32) -> bool {
        self.forget(now);
        if count == 0 {
            return false;
        }
        if let Some(used) = self.used.get_mut(&nonce.number) {
            return used.take(count);
        }
        if nonce.number <= self.floor {
            return false;
        }
        if self.used.len() >= self.nonces_max
            && let Some((number, _)) = self.used.pop_first()
        {
            self.floor = self.floor.max(number);
        }
        self.used.insert(nonce.number, Used { highest: count, below: 1, ends: nonce.ends });
        true
    }

    /// Those that have ended are refused for that.
    fn forget(&mut self, now: Mono) {
        while let Some(oldest) = self.used.first_entry() {
            if oldest.get().ends > now {
                return;
            }
            oldest.remove();
        }
    }
}

impl Used {
    fn take(&mut self, count: u32) -> bool {
        if let Some(further) = count.checked_sub(self.highest).filter(|further| *further > 0) {
            self.below = self.below.checked_shl(further).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let back = self.highest - count;
        if back >= WINDOW || self.below >> back & 1 == 1 {
            return false;
        }
        self.below |= 1 << back;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::super::nonce::NONCE_LIFE;
    use super::*;

    const NOW: Mono = Mono(1_000_000_000);

    fn fresh(number: u64) -> Fresh {
        Fresh { number, ends: NOW + NONCE_LIFE }
    }

    #[test]
    fn what_is_forgotten_is_never_taken_again() {
        let mut counts = Counts::new(2);
        assert!(counts.take(NOW, fresh(5), 1));
        assert!(counts.take(NOW, fresh(7), 1));
        assert!(counts.take(NOW, fresh(6), 1), "5 is forgotten for it");
        assert!(!counts.take(NOW, fresh(5), 1), "a replay");
        assert!(!counts.take(NOW, fresh(5), 2), "nobody knows which of its counts were used");
        assert!(!counts.take(NOW, fresh(4), 1), "it may have been used and forgotten");
        assert!(counts.take(NOW, fresh(6), 2) && counts.take(NOW, fresh(7), 2));
        assert!(counts.take(NOW, fresh(8), 1), "6 is forgotten for it");
        assert!(!counts.take(NOW, fresh(6), 3));
    }

    #[test]
    fn ended_nonces_take_no_room() {
        let mut counts = Counts::new(10);
        (1..=10).for_each(|n| assert!(counts.take(NOW, fresh(n), 1)));
        let later = NOW + NONCE_LIFE + Duration::from_secs(1);
        assert!(counts.take(later, Fresh { number: 11, ends: later + NONCE_LIFE }, 1));
        assert_eq!((counts.used.len(), counts.floor), (1, 0));
    }

    proptest! {
        /// Against a model that remembers everything: nothing is taken twice; what lies within the window, of a
        /// nonce that is remembered, is taken once.
        #[test]
        fn nothing_is_taken_twice(
            uses in prop::collection::vec((1_u64..12, 0_u32..200), 1..400),
            nonces_max in 1_usize..6,
        ) {
            let mut counts = Counts::new(nonces_max);
            let mut taken = BTreeSet::new();
            for (number, count) in uses {
                let known = counts.used.get(&number).map(|used| used.highest);
                let is_taken = counts.take(NOW, fresh(number), count);
                if is_taken {
                    prop_assert!(taken.insert((number, count)), "{number} {count} twice");
                } else if let Some(highest) = known {
                    let is_old = taken.contains(&(number, count)) || count == 0;
                    prop_assert!(is_old || highest - count >= WINDOW, "{number} {count} below {highest}");
                }
                prop_assert!(counts.used.len() <= nonces_max);
            }
        }

        #[test]
        fn any_order_within_the_window_is_taken_once(
            order in prop::sample::subsequence((1_u32..=WINDOW).collect::<Vec<_>>(), 1..=WINDOW as usize)
                .prop_shuffle(),
        ) {
            let mut counts = Counts::new(1);
            for round in [true, false] {
                for count in &order {
                    prop_assert_eq!(counts.take(NOW, fresh(1), *count), round);
                }
            }
        }
    }

    use proptest::strategy::Strategy;
}
