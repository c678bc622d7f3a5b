//! Requests per second of each source: a bucket that fills at the rate, and holds what two seconds bring. A second
//! one of the same size is for what is refused: who empties that too is told nothing more.
//!
//! ```text
//!  up to the rate            within: it is served
//!  up to twice the rate      over: it is refused, which costs little
//!  more                      a flood: answering it would be work too
//! ```
//!
//! What belongs to a call that goes on is not counted, so that who is over the limit can still hang up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use super::source::Source;

/// Seconds' worth of requests that may come at once: phones behind one address register and call in bursts.
const BURST_SECONDS: f64 = 2.0;
/// Sources remembered, at some 70 bytes each. Those that were quiet for as long as a bucket takes to fill are
/// forgotten first; when there are more than these at once, the others share one bucket.
const SOURCES_MAX: usize = 16_384;

/// How a request stands to the rate of its source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rate {
    /// It may come.
    Within,
    /// It is one too many.
    Over,
    /// It is one too many, as were as many before it as may come.
    Flood,
}

struct Bucket {
    tokens: f64,
    /// What may still be refused with an answer.
    refusals: f64,
    at: Instant,
}

impl Bucket {
    const fn full(full: f64, at: Instant) -> Self {
        Self { tokens: full, refusals: full, at }
    }

    fn take(&mut self, rate: f64, full: f64, now: Instant) -> Rate {
        let new = rate * now.duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + new).min(full);
        self.refusals = (self.refusals + new).min(full);
        for (tokens, rate) in [(&mut self.tokens, Rate::Within), (&mut self.refusals, Rate::Over)] {
            if *tokens >= 1.0 {
                *tokens -= 1.0;
                return rate;
            }
        }
        Rate::Flood
    }
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
        let shared = Bucket::full(rate * BURST_SECONDS, now);
        Self { rate, buckets: HashMap::new(), shared, swept: now }
    }

    /// Counts a request.
    pub(crate) fn take(&mut self, ip: IpAddr, now: Instant) -> Rate {
        if self.rate == 0.0 {
            return Rate::Within;
        }
        let (rate, full) = (self.rate, self.rate * BURST_SECONDS);
        let source = Source::of(ip);
        if self.buckets.len() >= SOURCES_MAX && !self.buckets.contains_key(&source) {
            self.sweep(now);
        }
        if self.buckets.len() < SOURCES_MAX || self.buckets.contains_key(&source) {
            return self.buckets.entry(source).or_insert(Bucket::full(full, now)).take(rate, full, now);
        }
        match self.shared.take(rate, full, now) {
            // Who shares a bucket answers for nobody else.
            Rate::Flood => Rate::Over,
            rate => rate,
        }
    }

    /// Forgets whose buckets are full again; at most once a second, so that a flood of sources pays for no more.
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
        let taken = |rates: &mut Rates, n: u32, at: Instant| {
            let all: Vec<Rate> = (0..100).map(|_| rates.take(ip(n), at)).collect();
            [Rate::Within, Rate::Over, Rate::Flood].map(|rate| all.iter().filter(|r| **r == rate).count())
        };
        assert_eq!(taken(&mut rates, 1, start), [20, 20, 60]);
        assert_eq!(taken(&mut rates, 2, start), [20, 20, 60]);
        assert_eq!(taken(&mut rates, 1, start + Duration::from_secs(1)), [10, 10, 80]);
        assert_eq!(taken(&mut rates, 1, start + Duration::from_secs(60)), [20, 20, 60]);
        assert_eq!(taken(&mut Rates::new(0, start), 1, start), [100, 0, 0], "no limit");
    }

    #[test]
    fn up_to_twice_the_rate_is_never_a_flood_however_long_it_goes_on() {
        let start = Instant::now();
        let mut rates = Rates::new(10, start);
        let at = |n: u32| start + Duration::from_secs(1) * n / 19;
        assert!((0..10_000).all(|n| rates.take(ip(1), at(n)) != Rate::Flood));
        let at = |n: u32| start + Duration::from_secs(10_000) + Duration::from_secs(1) * n / 30;
        assert!((0..10_000).any(|n| rates.take(ip(1), at(n)) == Rate::Flood));
    }

    #[test]
    fn many_sources_share_what_is_left_and_the_table_is_bounded() {
        let start = Instant::now();
        let mut rates = Rates::new(1, start);
        (0..20_000).for_each(|n| _ = rates.take(ip(n), start));
        assert_eq!(rates.buckets.len(), SOURCES_MAX);
        assert_eq!(rates.take(ip(30_000), start), Rate::Over, "the shared bucket is empty");
        let later = start + Duration::from_secs(3);
        assert_eq!(rates.take(ip(30_000), later), Rate::Within, "the quiet ones are forgotten");
        assert_eq!(rates.buckets.len(), 1);
    }
}
