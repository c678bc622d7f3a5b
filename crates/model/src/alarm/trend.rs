//! When a disk will be full, by how fast it filled lately.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Mono;

/// Between two samples that are kept: with [`SAMPLES_MAX`] a day.
const SAMPLE_EVERY: Duration = Duration::from_secs(600);
/// A day: calls come and go with the hours, so a shorter look would tell of mornings only.
const SAMPLES_MAX: usize = 144;
/// A shorter look says nothing: a single long call or a deletion would decide.
const SPAN_MIN: Duration = Duration::from_secs(1_800);

/// Free space over time. Told of it as often as one likes, it keeps a sample each ten minutes, for a day.
#[derive(Debug, Clone, Default)]
pub struct Trend {
    samples: VecDeque<(Mono, u64)>,
}

impl Trend {
    /// The free space now, in octets. Where more is free than before, somebody made room: what was before says
    /// nothing of how fast it fills, and is forgotten.
    pub fn sample(&mut self, now: Mono, free: u64) {
        match self.samples.back() {
            Some((_, before)) if free > *before => self.samples.clear(),
            Some((at, _)) if now.since(*at) < SAMPLE_EVERY => return,
            _ => {}
        }
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now, free));
    }

    /// How long until nothing is free; none while too little is known, or when it does not fill.
    #[must_use]
    pub fn left(&self, now: Mono, free: u64) -> Option<Duration> {
        let (since, before) = self.samples.front()?;
        let span = now.since(*since);
        let used = before.checked_sub(free).filter(|u| *u > 0)?;
        if span < SPAN_MIN {
            return None;
        }
        let nanos = u128::from(free).saturating_mul(span.as_nanos()) / u128::from(used);
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn at(hours: u64) -> Mono {
        Mono(hours * 3_600_000_000_000)
    }

    #[test]
    fn a_disk_that_fills_steadily_is_full_when_it_says() {
        let mut trend = Trend::default();
        for hour in 0..=10 {
            trend.sample(at(hour), (100 - hour) * GIB);
        }
        assert_eq!(trend.left(at(10), 90 * GIB), Some(Duration::from_secs(90 * 3_600)));
    }

    #[test]
    fn too_short_a_look_and_a_disk_that_does_not_fill_say_nothing() {
        let mut trend = Trend::default();
        assert_eq!(trend.left(at(0), GIB), None);
        trend.sample(at(0), 100 * GIB);
        assert_eq!(trend.left(Mono(1_000_000_000), 50 * GIB), None);
        assert_eq!(trend.left(at(5), 100 * GIB), None);
    }

    #[test]
    fn room_that_somebody_made_begins_a_new_look() {
        let mut trend = Trend::default();
        for hour in 0..10 {
            trend.sample(at(hour), (20 - hour) * GIB);
        }
        trend.sample(at(10), 200 * GIB);
        assert_eq!(trend.left(at(10), 200 * GIB), None);
        trend.sample(at(12), 199 * GIB);
        assert_eq!(trend.left(at(12), 199 * GIB), Some(Duration::from_secs(199 * 2 * 3_600)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut trend = Trend::default();
        for second in 0..200_000 {
            trend.sample(Mono(second * 1_000_000_000), u64::MAX - second);
        }
        assert!(trend.samples.len() <= SAMPLES_MAX);
    }
}
