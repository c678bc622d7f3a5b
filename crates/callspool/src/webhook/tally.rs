//! What webhooks count, for `/metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use api::port::{Family, count};
use model::WallTime;

use super::course::{Next, Outcome};

/// No event waits.
const NOTHING: i64 = i64::MIN;

/// Of one webhook.
#[derive(Debug)]
pub(super) struct Tally {
    delivered: AtomicU64,
    given_up: AtomicU64,
    failures: AtomicU64,
    /// When what waits happened, in nanoseconds since 1970.
    waits_since: AtomicI64,
    is_failing: AtomicBool,
}

impl Tally {
    const fn new() -> Self {
        Self {
            delivered: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            waits_since: AtomicI64::new(NOTHING),
            is_failing: AtomicBool::new(false),
        }
    }

    /// A request came to its end.
    pub(super) fn answered(&self, outcome: &Outcome) {
        self.is_failing.store(*outcome != Outcome::Taken, Ordering::Relaxed);
        if *outcome != Outcome::Taken {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An event was done with, or not yet.
    pub(super) fn decided(&self, next: Next) {
        match next {
            Next::Advance => self.delivered.fetch_add(1, Ordering::Relaxed),
            Next::GiveUp => self.given_up.fetch_add(1, Ordering::Relaxed),
            Next::Again(_) => 0,
        };
    }

    /// What is to be told now happened at a time; none: there is nothing to tell.
    pub(super) fn waits(&self, since: Option<WallTime>) {
        self.waits_since.store(since.map_or(NOTHING, |at| at.0), Ordering::Relaxed);
    }

    fn lag(&self, now: WallTime) -> f64 {
        match self.waits_since.load(Ordering::Relaxed) {
            NOTHING => 0.0,
            since => now.since(WallTime(since)).as_secs_f64(),
        }
    }
}

/// Of all webhooks. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<BTreeMap<String, Arc<Tally>>>>);

impl Board {
    /// The counts of a webhook; they go on when it is started anew.
    pub(super) fn of(&self, name: &str) -> Arc<Tally> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(name.to_owned()).or_insert_with(|| Arc::new(Tally::new())))
    }

    /// A webhook is gone.
    pub(super) fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The numbers, labeled by the names of webhooks.
    pub(crate) fn families(&self, now: WallTime) -> Vec<Family> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |n: &AtomicU64| count(n.load(Ordering::Relaxed));
        let each = |family: Family, value: &dyn Fn(&Tally) -> f64| {
            all.iter().fold(family, |family, (name, tally)| family.with(&[("webhook", name)], value(tally)))
        };
        let events = Family::counter(
            "callspool_webhook_events",
            "Events that webhooks are done with, by what became of them",
        );
        vec![
            all.iter().fold(events, |family, (name, tally)| {
                family
                    .with(&[("webhook", name), ("outcome", "delivered")], of(&tally.delivered))
                    .with(&[("webhook", name), ("outcome", "given-up")], of(&tally.given_up))
            }),
            each(
                Family::counter(
                    "callspool_webhook_failures",
                    "Requests of webhooks that the receiver did not take",
                ),
                &|tally| of(&tally.failures),
            ),
            each(
                Family::gauge(
                    "callspool_webhook_lag_seconds",
                    "How long ago what a webhook is to be told next happened; 0 when there is nothing",
                ),
                &|tally| tally.lag(now),
            ),
            each(
                Family::gauge(
                    "callspool_webhook_up",
                    "Whether the receiver took what it was sent last; 1 before the first",
                ),
                &|tally| f64::from(u8::from(!tally.is_failing.load(Ordering::Relaxed))),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_counted() {
        let board = Board::default();
        let tally = board.of("ops");
        let value = |name: &str, label: Option<&str>| {
            let families = board.families(WallTime::from_millis(5_000));
            let samples = families.into_iter().find(|f| f.name == name).unwrap().samples;
            let mut found = samples
                .into_iter()
                .filter(|s| label.is_none_or(|l| s.labels.iter().any(|(_, value)| value == l)));
            found.next().unwrap().value
        };
        tally.waits(Some(WallTime::from_millis(2_000)));
        tally.answered(&Outcome::failed("x"));
        tally.decided(Next::Again(std::time::Duration::ZERO));
        assert!((value("callspool_webhook_lag_seconds", None) - 3.0).abs() < 1e-9);
        assert!((value("callspool_webhook_up", None)).abs() < 1e-9);
        tally.answered(&Outcome::Taken);
        tally.decided(Next::Advance);
        tally.decided(Next::GiveUp);
        tally.waits(None);
        for (name, label, expected) in [
            ("callspool_webhook_events", Some("delivered"), 1.0),
            ("callspool_webhook_events", Some("given-up"), 1.0),
            ("callspool_webhook_failures", None, 1.0),
            ("callspool_webhook_lag_seconds", None, 0.0),
            ("callspool_webhook_up", None, 1.0),
        ] {
            assert!((value(name, label) - expected).abs() < 1e-9, "{name}");
        }
        board.remove("ops");
        assert!(board.families(WallTime(0)).iter().all(|f| f.samples.is_empty()));
    }
}
