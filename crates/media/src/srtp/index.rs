//! Which packet it is: the index that an SRTP packet does not carry whole, and which were seen already
//! (RFC 3711 sections 3.3.1 and 3.3.2).

/// Packets behind the newest that are told apart: 20 s of 50 packets a second. The RFC wants 64 at least.
const REMEMBERED: u64 = 1_024;
const WORDS: usize = 16;

/// Whether an index may be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fresh {
    Yes,
    /// It was taken already.
    Taken,
    /// It is so old that it may have been.
    Old,
}

/// The highest index of a source, and which of those before it were taken.
#[derive(Clone, Debug)]
pub(super) struct Window {
    highest: u64,
    /// A bit for each of the newest, at its index modulo the size.
    taken: [u64; WORDS],
}

impl Window {
    /// A window whose first packet has this index. It is not taken yet.
    pub(super) const fn new(first: u64) -> Self {
        Self { highest: first, taken: [0; WORDS] }
    }

    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    pub(super) fn fresh(&self, index: u64) -> Fresh {
        match self.highest.checked_sub(index) {
            Some(behind) if behind >= REMEMBERED => Fresh::Old,
            Some(_) if self.is_taken(index) => Fresh::Taken,
            _ => Fresh::Yes,
        }
    }

    /// The packet of this index was authentic.
    pub(super) fn take(&mut self, index: u64) {
        if index > self.highest {
            if index - self.highest >= REMEMBERED {
                self.taken = [0; WORDS];
            } else {
                for passed in self.highest + 1..index {
                    self.set(passed, false);
                }
            }
            self.highest = index;
        }
        self.set(index, true);
    }

    fn place(index: u64) -> (usize, u64) {
        let bit = index % REMEMBERED;
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    }

    fn is_taken(&self, index: u64) -> bool {
        let (word, bit) = Self::place(index);
        self.taken.get(word).is_some_and(|w| w & bit != 0)
    }

    fn set(&mut self, index: u64, taken: bool) {
        let (word, bit) = Self::place(index);
        if let Some(w) = self.taken.get_mut(word) {
            if taken {
                *w |= bit;
            } else {
                *w &= !bit;
            }
        }
    }
}

/// The index of the packet with this sequence number that is nearest to `highest` (RFC 3711 appendix A).
pub(super) fn nearest(highest: u64, sequence: u16) -> u64 {
    let roc = highest >> 16;
    let last = i64::try_from(highest & 0xffff).unwrap_or(0);
    let ahead = i64::from(sequence) - last;
    let roc = if ahead < -0x8000 {
        roc + 1
    } else if ahead > 0x8000 {
        roc.saturating_sub(1)
    } else {
        roc
    };
    at(roc, sequence)
}

/// The index of a sequence number after so many rollovers, which count modulo 2^32.
pub(super) fn at(roc: u64, sequence: u16) -> u64 {
    (roc & 0xffff_ffff) << 16 | u64::from(sequence)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_index_crosses_the_rollover_both_ways() {
        assert_eq!(nearest(0xfffe, 1), 0x1_0001);
        assert_eq!(nearest(0x1_0001, 0xffff), 0xffff);
        assert_eq!(nearest(0x2_8000, 0x7fff), 0x2_7fff);
        assert_eq!(nearest(3, 0xffff), 0xffff, "there is nothing before the first");
    }

    proptest! {
        #[test]
        fn each_index_is_taken_once(steps in proptest::collection::vec((0_u64..70, any::<bool>()), 1..400)) {
            let mut window = Window::new(100);
            let (mut taken, mut head) = (std::collections::BTreeSet::new(), 100_u64);
            for (step, forward) in steps {
                head = if forward { head + step } else { head };
                let index = if forward { head } else { head.saturating_sub(step * 20) };
                let highest = taken.last().copied().unwrap_or(100);
                let old = index <= highest && highest - index >= REMEMBERED;
                let expected = match (old, taken.contains(&index)) {
                    (true, _) => Fresh::Old,
                    (_, true) => Fresh::Taken,
                    _ => Fresh::Yes,
                };
                prop_assert_eq!(window.fresh(index), expected, "{} of {}", index, highest);
                if expected == Fresh::Yes {
                    window.take(index);
                    taken.insert(index);
                }
            }
        }

        #[test]
        fn within_half_a_round_the_index_is_found(highest in 0x1_0000_u64..1 << 40, step in -32_000_i64..32_000) {
            let index = highest.saturating_add_signed(step);
            let sequence = u16::try_from(index & 0xffff).unwrap();
            prop_assert_eq!(nearest(highest, sequence), index);
        }
    }
}
