//! Whether the threads that calls depend on still go round.
//!
//! Each of them shows a pulse: it says when it goes on, and when it waits for something that may take as long as it
//! likes (an order, a disk). One that neither goes on nor waits stands still, and nothing but a restart cures that.
//! A slow or stalled disk is no standstill: recording bridges it, and a restart would lose what waits in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use model::Mono;

use crate::clock::mono;

/// In the place of a time: it waits, and that is fine.
const WAITING: u64 = u64::MAX;

/// All pulses of the process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulses(Arc<Mutex<Vec<Weak<Slot>>>>);

/// The pulse of one thread or task; it is looked at no more when this goes.
#[derive(Debug)]
pub(crate) struct Pulse(Arc<Slot>);

#[derive(Debug)]
struct Slot {
    name: String,
    /// When it went on last, in nanoseconds of the monotonic clock, or [`WAITING`].
    last: AtomicU64,
}

impl Pulses {
    /// A pulse, which waits until it first goes on.
    pub(crate) fn take(&self, name: impl Into<String>) -> Pulse {
        let slot = Arc::new(Slot { name: name.into(), last: AtomicU64::new(WAITING) });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|s| s.strong_count() > 0);
        all.push(Arc::downgrade(&slot));
        Pulse(slot)
    }

    /// Who has stood still for longer than `limit`, and for how long.
    pub(crate) fn still(&self, now: Mono, limit: Duration) -> Vec<(String, Duration)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter_map(Weak::upgrade)
            .filter_map(|slot| {
                let last = Some(slot.last.load(Ordering::Relaxed)).filter(|l| *l != WAITING)?;
                let since = now.since(Mono(last));
                (since > limit).then(|| (slot.name.clone(), since))
            })
            .collect()
    }
}

impl Pulse {
    /// It goes on, as of now.
    pub(crate) fn goes_on(&self) {
        self.goes_on_at(mono());
    }

    /// The same, where the time is known already.
    pub(crate) fn goes_on_at(&self, now: Mono) {
        self.0.last.store(now.0, Ordering::Relaxed);
    }

    /// It waits for something that may take as long as it likes.
    pub(crate) fn waits(&self) {
        self.0.last.store(WAITING, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn still(pulses: &Pulses, second: u64) -> Vec<String> {
        let now = Mono(second * 1_000_000_000);
        pulses.still(now, LIMIT).into_iter().map(|(name, since)| format!("{name} {since:?}")).collect()
    }

    #[test]
    fn who_neither_goes_on_nor_waits_stands_still() {
        let pulses = Pulses::default();
        let (media, writer) = (pulses.take("media-0"), pulses.take("writer"));
        assert!(still(&pulses, 100).is_empty(), "nobody has begun");
        media.goes_on_at(Mono(100_000_000_000));
        writer.goes_on_at(Mono(100_000_000_000));
        assert!(still(&pulses, 110).is_empty());
        // The disk takes its time.
        writer.waits();
        assert_eq!(still(&pulses, 111), ["media-0 11s"]);
        media.goes_on_at(Mono(111_000_000_000));
        assert!(still(&pulses, 112).is_empty());
        drop(media);
        assert!(still(&pulses, 1_000).is_empty(), "a thread that has ended stands still nowhere");
    }
}
