//! Requests per second of each source: a bucket that fills at the rate, and holds what two seconds bring.
//!
//! What belongs to a call that goes on is not counted, so that who is over the limit can still hang up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use super::source::Source;

/// Seconds' worth of requests that may come at once: phones behind one address register and call in bursts.
const BURST_SECONDS: f64 = 2.0;
/// Sources remembered, at some 60 bytes each. Those that were quiet for as long as a bucket takes to fill are
/// forgotten first; when there are more than these at once, the others share one bucket.
const SOURCES_MAX: usize = 16_384;

struct Bucket {
    tokens: f64,
    at: Instant,
}

/// The buckets.
pub(crate) struct Rates {
    /// Requests a second; zero is no limit.
    rate: f64,
    buckets: HashMap<Source, Bucket>,
    shared: Bucket,
    swept: Instant,
}

impl Rates {
    /// With so many requests a second and source; zero is no limit.
    pub(crate) fn new(rate: usize, now: Instant) -> Self {
        let rate = f64::from(u32::try_from(rate).unwrap_or(u32::MAX));
        let shared = Bucket { tokens: rate * BURST_SECONDS, at: now };
        Self { rate, buckets: HashMap::new(), shared, swept: now }
    }

    /// Counts a request; false when it is one too many.
    pub(super) fn take(&mut self, ip: IpAddr, now: Instant) -> bool {
        if self.rate == 0.0 {
            return true;
        }
        let (rate, full) = (self.rate, self.rate * BURST_SECONDS);
        let source = Source::of(ip);
        if self.buckets.len() >= SOURCES_MAX && !self.buckets.contains_key(&source) {
            self.sweep(now);
        }
        let bucket = if self.buckets.len() < SOURCES_MAX || self.buckets.contains_key(&source) {
            self.buckets.entry(source).or_insert(Bucket { tokens: full, at: now })
        } else {
            &mut self.shared
        };
        bucket.tokens = (bucket.tokens + rate * now.duration_since(bucket.at).as_secs_f64()).min(full);
        bucket.at = now;
        let is_within = bucket.tokens >= 1.0;
        if is_within {
            bucket.tokens -= 1.0;
        }
        is_within
    }

    /// Forgets whose bucket is full again; at most once a second, so that a flood of sources pays for no more.
    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.swept).as_secs_f64() >= 1.0 {
            self.swept = now;
            self.buckets.retain(|_, bucket| now.duration_since(bucket.at).as_secs_f64() < BURST_SECONDS);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn a_source_has_its_rate_and_a_burst_and_others_have_theirs() {
        let start = Instant::now();
        let mut rates = Rates::new(10, start);
        let taken =
            |rates: &mut Rates, n: u32, at: Instant| (0..100).filter(|_| rates.take(ip(n), at)).count();
        assert_eq!(taken(&mut rates, 1, start), 20);
        assert_eq!(taken(&mut rates, 2, start), 20);
        assert_eq!(taken(&mut rates, 1, start + Duration::from_secs(1)), 10);
        assert_eq!(taken(&mut rates, 1, start + Duration::from_secs(60)), 20);
        assert_eq!(taken(&mut Rates::new(0, start), 1, start), 100, "no limit");
    }

    #[test]
    fn many_sources_share_what_is_left_and_the_table_is_bounded() {
        let start = Instant::now();
        let mut rates = Rates::new(1, start);
        (0..20_000).for_each(|n| _ = rates.take(ip(n), start));
        assert_eq!(rates.buckets.len(), SOURCES_MAX);
        assert!(!rates.take(ip(30_000), start), "the shared bucket is empty");
        assert!(rates.take(ip(30_000), start + Duration::from_secs(3)), "the quiet ones are forgotten");
        assert_eq!(rates.buckets.len(), 1);
    }
}
