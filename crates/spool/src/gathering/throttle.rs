//! How much is fetched at a time and in a second, over all calls: gathering waits for recording, never the other way.

use std::time::Duration;

use model::Mono;

/// What is allowed and what is under way.
#[derive(Debug)]
pub(super) struct Throttle {
    in_flight_max: u64,
    per_second: u64,
    in_flight: u64,
    /// When what was allowed before has had its time.
    free_at: Mono,
}

/// When something may be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Leave {
    /// Now, and it is counted.
    Now,
    /// Not before.
    At(Mono),
    /// When something that is under way has arrived.
    Later,
}

impl Throttle {
    pub(super) fn new(in_flight_max: u64, per_second: u64) -> Self {
        Self { in_flight_max, per_second: per_second.max(1), in_flight: 0, free_at: Mono::ZERO }
    }

    /// Asks to fetch so many octets. One range is allowed whatever the limit is: else nothing ever would be. What brings none
    /// waits for nothing.
    pub(super) fn ask(&mut self, now: Mono, octets: u64) -> Leave {
        if octets == 0 {
            return Leave::Now;
        }
        if self.in_flight > 0 && self.in_flight.saturating_add(octets) > self.in_flight_max {
            return Leave::Later;
        }
        if now < self.free_at {
            return Leave::At(self.free_at);
        }
        self.free_at = now + self.time_for(octets);
        self.in_flight = self.in_flight.saturating_add(octets);
        Leave::Now
    }

    /// Of so many octets that were asked for so many came, and no more will: a log is asked for without knowing how long it
    /// is. The time of those that did not come is free again.
    pub(super) fn arrived(&mut self, asked: u64, came: u64) {
        self.in_flight = self.in_flight.saturating_sub(asked);
        let unused = self.time_for(asked.saturating_sub(came));
        self.free_at =
            Mono(self.free_at.0.saturating_sub(u64::try_from(unused.as_nanos()).unwrap_or(u64::MAX)));
    }

    fn time_for(&self, octets: u64) -> Duration {
        let nanos = u128::from(octets).saturating_mul(1_000_000_000) / u128::from(self.per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn no_more_is_under_way_and_no_faster_than_allowed() {
        let mut throttle = Throttle::new(100, 50);
        let start = Mono(7);
        assert_eq!(throttle.ask(start, 50), Leave::Now);
        assert_eq!(throttle.ask(start, 50), Leave::At(start + SECOND));
        assert_eq!(throttle.ask(start + SECOND, 50), Leave::Now);
        assert_eq!(throttle.ask(start + SECOND * 2, 1), Leave::Later);
        throttle.arrived(50, 50);
        assert_eq!(throttle.ask(start + SECOND * 2, 1), Leave::Now);
    }

    #[test]
    fn what_was_asked_for_and_is_not_there_takes_no_time_and_neither_does_what_brings_nothing() {
        let mut throttle = Throttle::new(1_000, 10);
        let start = Mono(7);
        assert_eq!(throttle.ask(start, 1_000), Leave::Now);
        assert_eq!(throttle.ask(start, 0), Leave::Now);
        throttle.arrived(1_000, 20);
        assert_eq!(throttle.ask(start, 1), Leave::At(start + SECOND * 2));
        assert_eq!(throttle.ask(start + SECOND * 2, 1), Leave::Now);
        throttle.arrived(1, 0);
        assert_eq!(throttle.ask(start + SECOND * 2, 1), Leave::Now);
    }

    #[test]
    fn one_that_is_larger_than_the_limit_is_fetched_alone() {
        let mut throttle = Throttle::new(10, 1_000_000_000);
        assert_eq!(throttle.ask(Mono(1), 500), Leave::Now);
        assert_eq!(throttle.ask(Mono(1_000), 1), Leave::Later);
        throttle.arrived(500, 500);
        assert_eq!(throttle.ask(Mono(1_000), 1), Leave::Now);
    }
}
