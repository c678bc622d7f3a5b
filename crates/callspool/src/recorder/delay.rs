//! How long packets wait from their arrival in the kernel until they are in the buffer of their segment, by a sample.
//!
//! One packet of [`EACH`] is looked at: reading the clock costs tens of nanoseconds, which not each packet has to spare.
//! A media thread counts by itself until it looks; the counts are shared, and nobody locks or allocates.

use std::sync::atomic::{AtomicU64, Ordering};

use api::port::Distribution;
use model::WallTime;

/// A prime: no number of streams is sampled at the same ones only.
const EACH: u32 = 17;
/// Upper ends in microseconds: around the tick of 5 ms, the limit of 20 ms, and what is a fault.
const ENDS_US: [u64; 13] = [
    1_000, 2_500, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
];

/// What all media threads found.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    counts: [AtomicU64; ENDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Delays {
    /// What there is, in seconds.
    pub(crate) fn distribution(&self) -> Distribution {
        let ends = ENDS_US.iter().map(|us| api::port::count(*us) / 1e6).chain([f64::INFINITY]);
        let buckets = ends.zip(&self.counts).map(|(end, n)| (end, n.load(Ordering::Relaxed))).collect();
        Distribution { buckets, sum: api::port::count(self.sum_us.load(Ordering::Relaxed)) / 1e6 }
    }

    /// A packet that arrived then is in its buffer now. A clock that was set back between is taken for no delay.
    fn add(&self, arrived: WallTime, now: WallTime) {
        let us = u64::try_from(now.nanos_since(arrived) / 1_000).unwrap_or(0);
        let place = ENDS_US.partition_point(|end| *end < us);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// Chooses the packets of a media thread that are looked at.
#[derive(Debug, Default)]
pub(crate) struct Sampling(u32);

impl Sampling {
    /// A packet that arrived then is in its buffer.
    pub(crate) fn pass(&mut self, arrived: WallTime, delays: &Delays) {
        self.0 += 1;
        if self.0 >= EACH {
            self.0 = 0;
            delays.add(arrived, crate::clock::wall());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_seventeen_is_counted_where_it_belongs() {
        let (delays, mut sampling) = (Delays::default(), Sampling::default());
        let arrived = crate::clock::wall();
        (0..34).for_each(|_| sampling.pass(arrived, &delays));
        assert_eq!(delays.distribution().buckets.iter().map(|b| b.1).sum::<u64>(), 2);

        let delays = Delays::default();
        for us in [-5_000_000, 0, 1_000, 1_001, 19_999, 20_001, 3_000_000] {
            delays.add(WallTime(10_000_000_000), WallTime(10_000_000_000 + us * 1_000));
        }
        let found = delays.distribution();
        let filled: Vec<(f64, u64)> = found.buckets.into_iter().filter(|b| b.1 > 0).collect();
        assert_eq!(filled, [(0.001, 3), (0.002_5, 1), (0.02, 1), (0.03, 1), (f64::INFINITY, 1)]);
        assert!((found.sum - 3.042_001).abs() < 1e-9, "{}", found.sum);
    }
}
