//! How long a queue takes, and whether that is too long: what refusing early goes by.
//!
//! ```text
//!  expected wait = how many wait × time from one that leaves to the next     (Little's law)
//!
//!  wait  too long ┄┄┄┄┄┄┄╭───╮┄┄┄┄┄╭──╮┄┄┄┄      from here on newcomers are refused …
//!        short enough ┄┄╱┄┄┄┄┄╲┄┄╱┄┄┄┄┄╲┄┄        … until here
//! ```
//!
//! That is known when somebody comes, so that who would wait too long is told at once and may go elsewhere; and between
//! the two marks the queue never runs empty, so that refusing costs no throughput. Reads no clock.

use std::time::Duration;

use model::Mono;

/// How much of the past counts: with half of it forgotten each second, busy or not, a queue that was slow once is tried
/// again, and one that has become slow shows within a second.
const REMEMBERED: Duration = Duration::from_secs(1);
/// What one interval adds at most: a disk that stands still for a moment does not make the whole queue look slow.
const INTERVAL_MAX: Duration = Duration::from_millis(100);
/// Before anything was measured, 2,000 a second are believed: a burst is rather taken than refused for nothing.
const BELIEVED_EACH: Duration = Duration::from_micros(500);
/// What is believed weighs as much as so many that left.
const BELIEVED: u32 = 8;

/// The time from one that leaves a queue to the next, while there were always some in it.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Time in which the queue was busy.
    busy: Duration,
    /// How many left it in that time.
    left: u32,
    /// Since when it is busy without anybody having left it; none: it is not busy.
    since: Option<Mono>,
    /// Until when what was measured has been forgotten by time.
    forgotten: Mono,
    /// With fewer it is not busy: they are all being served.
    busy_from: usize,
}

impl Pace {
    /// Of a queue that serves fewer than so many at a time.
    pub(crate) const fn new(busy_from: usize) -> Self {
        Self { busy: Duration::ZERO, left: 0, since: None, forgotten: Mono(0), busy_from }
    }

    /// Somebody came, and so many are in it now. Where one is served as soon as it is taken out, that says nothing of how
    /// long serving takes: only leaving does then.
    pub(crate) fn came(&mut self, now: Mono, waiting: usize) {
        if waiting >= self.busy_from && self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// Somebody was served, and so many are in it still.
    pub(crate) fn left(&mut self, now: Mono, waiting: usize) {
        self.forget(now);
        if let Some(since) = self.since.take() {
            self.busy += now.since(since).min(INTERVAL_MAX);
            self.left = self.left.saturating_add(1);
            while self.busy > REMEMBERED {
                self.halve();
            }
        }
        if waiting >= self.busy_from {
            self.since = Some(now);
        }
    }

    /// Somebody went away without being served, and so many are in it still.
    pub(crate) fn gone(&mut self, waiting: usize) {
        if waiting < self.busy_from {
            self.since = None;
        }
    }

    /// How long it takes until so many have left.
    pub(crate) fn wait(&mut self, now: Mono, waiting: usize) -> Duration {
        self.forget(now);
        let many = u32::try_from(waiting).unwrap_or(u32::MAX);
        let busy = self.busy + BELIEVED_EACH * BELIEVED;
        busy.saturating_mul(many) / (self.left.saturating_add(BELIEVED))
    }

    /// What was measured long ago says little of now.
    fn forget(&mut self, now: Mono) {
        // Half of half a minute ago is nothing.
        for _ in 0..30 {
            if now.since(self.forgotten) < REMEMBERED {
                return;
            }
            self.forgotten = self.forgotten + REMEMBERED;
            self.halve();
        }
        self.forgotten = now;
    }

    fn halve(&mut self) {
        self.busy /= 2;
        self.left /= 2;
    }
}

/// Two marks: above the one it is too much, until it is below the other.
#[derive(Debug, Clone)]
pub(crate) struct Watermarks {
    high: Duration,
    low: Duration,
    is_over: bool,
}

impl Watermarks {
    /// Too much above `high`, until below `low`.
    pub(crate) const fn new(high: Duration, low: Duration) -> Self {
        Self { high, low, is_over: false }
    }

    /// It stands so; whether that is too much.
    pub(crate) fn look(&mut self, at: Duration) -> bool {
        self.is_over = if self.is_over { at > self.low } else { at > self.high };
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_waits_takes_as_long_as_what_left_before() {
        let mut pace = Pace::new(1);
        assert_eq!(pace.wait(Mono(0), 1_000), Duration::from_millis(500), "as is believed");
        pace.came(Mono(0), 500);
        for n in 1..=400 {
            pace.left(Mono(n * 5 * MS), 500);
        }
        let wait = pace.wait(Mono(2_000 * MS), 100);
        assert!((430..=500).contains(&wait.as_millis()), "{wait:?}");
        // A moment of standstill is none of the pace.
        pace.left(Mono(2_300 * MS), 500);
        let wait = pace.wait(Mono(2_300 * MS), 100);
        assert!(wait.as_millis() < 800, "{wait:?}");
    }

    #[test]
    fn while_nobody_has_to_wait_no_time_counts() {
        let mut pace = Pace::new(8);
        for n in 0..1_000 {
            pace.came(Mono(n * 1_000 * MS), 1);
            pace.left(Mono(n * 1_000 * MS + 50 * MS), 0);
        }
        assert_eq!(pace.wait(Mono(1_000_000 * MS), 100), Duration::from_millis(50));
        // Nor when those who had to wait went away.
        pace.came(Mono(1_000_000 * MS), 8);
        pace.gone(7);
        pace.came(Mono(2_000_000 * MS), 8);
        pace.left(Mono(2_000_001 * MS), 7);
        assert!(pace.wait(Mono(2_000_001 * MS), 100) < Duration::from_millis(60));
    }

    #[test]
    fn what_was_slow_once_is_believed_to_be_quick_again_in_the_end() {
        let mut pace = Pace::new(8);
        pace.came(Mono(0), 20);
        for n in 1..=12 {
            pace.left(Mono(n * 1_000 * MS), 20 - usize::try_from(n).unwrap());
        }
        let at = |pace: &mut Pace, ms: u64| pace.wait(Mono(ms * MS), 100).as_millis();
        assert!(at(&mut pace, 12_000) > 1_000);
        assert!(at(&mut pace, 30_000) < 60);
        assert_eq!(at(&mut pace, u64::MAX / MS), 50);
    }

    #[test]
    fn between_the_marks_it_stays_as_it_was() {
        let mut marks = Watermarks::new(Duration::from_millis(400), Duration::from_millis(200));
        let looked = [100, 400, 401, 300, 201, 200, 300, 400].map(|ms| marks.look(Duration::from_millis(ms)));
        assert_eq!(looked, [false, false, true, true, true, false, false, false]);
    }
}
