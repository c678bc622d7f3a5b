//! Wrong credentials by the address that they came from: who goes on guessing is not listened to for a while.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use model::Mono;

/// A gateway with a mistyped password tries a few times; who guesses needs thousands.
const FAILURES_MAX: u32 = 20;
/// Counted together, and waited for when there were too many: 20 in a minute are 10 million in a year.
const PERIOD: Duration = Duration::from_secs(60);
/// Some hundred kilobytes; beyond it the one that failed first is forgotten.
const SOURCES_MAX: usize = 4_096;

struct Tally {
    since: Mono,
    failures: u32,
}

#[derive(Default)]
pub(super) struct Failures(BTreeMap<IpAddr, Tally>);

impl Failures {
    /// Whether there were too many of late.
    pub(super) fn is_locked(&self, now: Mono, source: IpAddr) -> bool {
        let tally = self.0.get(&whole(source));
        tally.is_some_and(|tally| tally.failures >= FAILURES_MAX && now.since(tally.since) < PERIOD)
    }

    pub(super) fn count(&mut self, now: Mono, source: IpAddr) {
        let source = whole(source);
        if !self.0.contains_key(&source) && self.0.len() >= SOURCES_MAX {
            self.0.retain(|_, tally| now.since(tally.since) < PERIOD);
            let oldest = self.0.iter().min_by_key(|(_, tally)| tally.since).map(|(source, _)| *source);
            if let Some(oldest) = oldest.filter(|_| self.0.len() >= SOURCES_MAX) {
                self.0.remove(&oldest);
            }
        }
        let tally = self.0.entry(source).or_insert(Tally { since: now, failures: 0 });
        if now.since(tally.since) >= PERIOD {
            *tally = Tally { since: now, failures: 0 };
        }
        tally.failures = tally.failures.saturating_add(1);
    }
}

/// Who has one IPv6 address has all of its /64.
fn whole(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_guessing_is_locked_out_for_the_period() {
        let mut failures = Failures::default();
        let (guesser, other) = ("2001:db8::1".parse().unwrap(), "2001:db8:0:1::1".parse().unwrap());
        let now = Mono(5);
        (1..FAILURES_MAX).for_each(|_| failures.count(now, guesser));
        assert!(!failures.is_locked(now, guesser));
        failures.count(now, "2001:db8::2".parse().unwrap());
        assert!(failures.is_locked(now, guesser) && !failures.is_locked(now, other));
        assert!(!failures.is_locked(now + PERIOD, guesser));
        failures.count(now + PERIOD, guesser);
        assert!(!failures.is_locked(now + PERIOD, guesser), "it begins anew");
    }

    #[test]
    fn the_table_has_an_end() {
        let mut failures = Failures::default();
        for n in 0..5_000_u32 {
            failures.count(Mono(u64::from(n)), IpAddr::from(n.to_be_bytes()));
        }
        assert_eq!(failures.0.len(), SOURCES_MAX);
        assert!(failures.0.contains_key(&IpAddr::from(4_999_u32.to_be_bytes())));
    }
}
