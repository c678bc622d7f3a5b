//! What the fault tests add to the shared tools: callers that run beside the fault, a disk of the test's own, the
//! process seen from outside, the outbox, and numbers that look random and are the same in every run.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

pub mod caller;
pub mod catalog;
pub mod cluster;
pub mod disk;
pub mod fuse;
pub mod listing;
pub mod network;
pub mod node;
pub mod noise;
pub mod orders;
pub mod points;
pub mod process;
pub mod sip;
pub mod supervisor;
pub mod volume;

/// SplitMix64: numbers that are the same for the same seed, on every machine.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// An octet.
    pub fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// So many octets.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.octet()).collect()
    }
}
