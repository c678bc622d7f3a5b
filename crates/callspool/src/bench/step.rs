//! What came out at one load, and whether it was within the limits. It decides only; others measure.

use std::collections::BTreeMap;
use std::fmt;

use super::ramp::Held;
use super::traffic::Sent;

/// The generator is late when this share of its packets left later than a tick of 10 ms after their time.
const LATE_SHARE: f64 = 0.99;
const LATE_MS: f64 = 10.0;
/// New calls came slower than this part of what was asked for.
const BEHIND: f64 = 0.95;

/// What is raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Calls at a time, with media.
    Calls,
    /// New calls per second, without media.
    Rate,
}

impl What {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Rate => "rate",
        }
    }
}

/// The lines that a load must not cross.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Packets that may be lost, as a share of those that were sent.
    pub(super) loss: f64,
    /// INVITE to 200, 99 of 100.
    pub(super) setup_ms: f64,
    /// From the kernel to the buffer, 99 of 100.
    pub(super) delay_ms: f64,
}

/// What was measured at a load.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    /// The load: calls at a time, or new calls per second.
    pub(super) load: usize,
    /// What of it there was.
    pub(super) reached: f64,
    /// INVITEs that were sent, and those of them without a 200 within five seconds.
    pub(super) invited: usize,
    pub(super) failed: usize,
    /// What was answered instead, and how often.
    pub(super) refusals: BTreeMap<String, u64>,
    /// Requests that were sent again.
    pub(super) resent: u64,
    /// INVITE to 200: median, 99 of 100, worst, in milliseconds. None when no call was placed.
    pub(super) setup_ms: Option<[f64; 3]>,
    /// INVITE to what refused it, the same. None when nothing was refused.
    pub(super) refusal_ms: Option<[f64; 3]>,
    /// What was sent since the step before.
    pub(super) sent: Sent,
    /// RTP packets a second while it was measured.
    pub(super) packets_s: f64,
    /// Datagrams that came to media ports since the step before.
    pub(super) received: u64,
    /// Whether packets of others are among those that came.
    pub(super) is_mixed: bool,
    /// Packets that were received and not written.
    pub(super) dropped: u64,
    /// Datagrams that the kernel dropped, for all programs of the machine.
    pub(super) kernel: u64,
    /// From the kernel to the buffer, median and 99 of 100, in milliseconds. None when nothing was sampled.
    pub(super) delay_ms: Option<[f64; 2]>,
    /// Processors that callspool used.
    pub(super) cpu: f64,
    /// Memory that it used, in MiB.
    pub(super) memory_mib: f64,
    /// Changes that its catalog took per second, and that waited for it at the end.
    pub(super) catalog_s: f64,
    pub(super) catalog_waiting: u64,
}

/// A line that was crossed.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Crossed {
    /// Calls that were not taken, and what was said instead.
    Refused(usize, String),
    Setup(f64),
    Delay(f64),
    Lost(u64),
    Dropped(u64),
    /// This process could not make the load: nothing is known of callspool.
    Generator(&'static str),
}

impl fmt::Display for Crossed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(calls, why) => write!(f, "{calls} calls not taken ({why})"),
            Self::Setup(ms) => write!(f, "INVITE to 200 took {ms:.0} ms"),
            Self::Delay(ms) if ms.is_finite() => write!(f, "packets waited {ms:.0} ms"),
            Self::Delay(_) => write!(f, "packets waited over a second"),
            Self::Lost(packets) => write!(f, "{packets} packets lost"),
            Self::Dropped(packets) => write!(f, "{packets} packets dropped before disk"),
            Self::Generator(why) => write!(f, "the generator was the limit: {why}"),
        }
    }
}

impl Step {
    /// Packets that were sent and did not come; none where packets of others came too, which would hide them.
    pub(super) fn lost(&self) -> Option<u64> {
        (!self.is_mixed).then(|| self.sent.packets.saturating_sub(self.received))
    }

    /// The lines that it crossed, the one that says most first.
    pub(super) fn crossed(&self, what: What, limits: &Limits) -> Vec<Crossed> {
        let mut crossed = Vec::new();
        let lateness = self.sent.lateness.quantile_ms(LATE_SHARE);
        if self.sent.late > 0 {
            crossed.push(Crossed::Generator("it could not send in time"));
        } else if self.sent.refused > 0 {
            crossed.push(Crossed::Generator("its kernel did not take all packets"));
        } else if lateness.is_some_and(|ms| ms > LATE_MS) {
            crossed.push(Crossed::Generator("it sent late"));
        } else if what == What::Rate && self.reached < self.load as f64 * BEHIND {
            crossed.push(Crossed::Generator("it could not place calls in time"));
        }
        let allowed = limits.loss * self.sent.packets as f64;
        if let Some(lost) = self.lost()
            && lost as f64 > allowed
        {
            crossed.push(Crossed::Lost(lost));
        }
        if self.dropped as f64 > allowed {
            crossed.push(Crossed::Dropped(self.dropped));
        }
        if self.failed > 0 {
            let most = self.refusals.iter().max_by_key(|(_, times)| **times);
            let why = most.map_or("no answer", |(why, _)| why.as_str());
            crossed.push(Crossed::Refused(self.failed, why.to_owned()));
        }
        if let Some([_, p99, _]) = self.setup_ms
            && p99 > limits.setup_ms
        {
            crossed.push(Crossed::Setup(p99));
        }
        if let Some([_, p99]) = self.delay_ms
            && p99 > limits.delay_ms
        {
            crossed.push(Crossed::Delay(p99));
        }
        crossed
    }

    pub(super) fn held(&self, what: What, limits: &Limits) -> Held {
        if self.crossed(what, limits).is_empty() { Held::Yes } else { Held::No }
    }
}

/// The median, what 99 of 100 do not exceed, and the worst; none of nothing.
pub(super) fn median_p99_worst(values: &mut [f64]) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let at = |percent: usize| values.get((values.len() * percent).div_ceil(100).checked_sub(1)?).copied();
    Some([at(50)?, at(99)?, at(100)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { loss: 0.0, setup_ms: 500.0, delay_ms: 20.0 };

    fn good() -> Step {
        let sent = Sent { packets: 1_000, ..Sent::default() };
        Step {
            load: 10,
            reached: 10.0,
            invited: 10,
            setup_ms: Some([2.0, 5.0, 6.0]),
            received: 1_000,
            delay_ms: Some([3.0, 6.0]),
            sent,
            ..Step::default()
        }
    }

    fn check(change: impl Fn(&mut Step), expected: &str) {
        let mut step = good();
        change(&mut step);
        let crossed: Vec<_> = step.crossed(What::Rate, &LIMITS).iter().map(ToString::to_string).collect();
        assert_eq!(crossed.join("; "), expected);
        assert_eq!(step.held(What::Rate, &LIMITS) == Held::Yes, expected.is_empty());
    }

    #[test]
    fn what_crosses_a_line_is_named() {
        check(|_| {}, "");
        check(|s| s.received = 998, "2 packets lost");
        // What others sent would hide it: nothing is said of it.
        check(|s| (s.received, s.is_mixed) = (900, true), "");
        check(|s| s.dropped = 1, "1 packets dropped before disk");
        check(|s| s.setup_ms = Some([2.0, 501.0, 800.0]), "INVITE to 200 took 501 ms");
        check(|s| s.delay_ms = Some([2.0, 21.0]), "packets waited 21 ms");
        check(|s| s.delay_ms = Some([2.0, f64::INFINITY]), "packets waited over a second");
        check(
            |s| {
                s.failed = 3;
                s.refusals = BTreeMap::from([("503 Full".to_owned(), 2), ("no answer".to_owned(), 1)]);
            },
            "3 calls not taken (503 Full)",
        );
        check(
            |s| {
                s.sent.late = 5;
                s.received = 900;
            },
            "the generator was the limit: it could not send in time; 100 packets lost",
        );
        check(|s| s.sent.lateness.add(0.025, 1_000), "the generator was the limit: it sent late");
        check(|s| s.reached = 9.0, "the generator was the limit: it could not place calls in time");
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        assert_eq!(median_p99_worst(&mut []), None);
        assert_eq!(median_p99_worst(&mut [3.0]), Some([3.0, 3.0, 3.0]));
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(median_p99_worst(&mut values), Some([100.0, 198.0, 200.0]));
    }
}
