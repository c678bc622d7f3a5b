//! Timers as a table: one slot for each, the earliest is the next time-out. It reads no clock.

use std::collections::{BTreeMap, BTreeSet};

use model::Mono;

/// Timers of kind `T`; setting one again moves it.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    by_time: BTreeSet<(Mono, T)>,
    by_timer: BTreeMap<T, Mono>,
}

impl<T: Ord + Clone> Timers<T> {
    pub(crate) fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_timer: BTreeMap::new() }
    }

    pub(crate) fn set(&mut self, timer: T, at: Mono) {
        self.clear(timer.clone());
        self.by_time.insert((at, timer.clone()));
        self.by_timer.insert(timer, at);
    }

    pub(crate) fn clear(&mut self, timer: T) {
        if let Some(at) = self.by_timer.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    pub(crate) fn is_set(&self, timer: T) -> bool {
        self.by_timer.contains_key(&timer)
    }

    /// The earliest time at which one is due.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub(crate) fn pop_due(&mut self, now: Mono) -> Option<T> {
        let (_, timer) = self.by_time.first().filter(|(at, _)| *at <= now).cloned()?;
        self.clear(timer.clone());
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_has_one_slot_and_fires_once() {
        let mut timers = Timers::new();
        timers.set('a', Mono(5));
        timers.set('b', Mono(3));
        timers.set('a', Mono(9));
        assert_eq!(timers.next(), Some(Mono(3)));
        assert_eq!(timers.pop_due(Mono(8)), Some('b'));
        assert_eq!(timers.pop_due(Mono(8)), None);
        timers.clear('a');
        assert_eq!((timers.next(), timers.is_set('a')), (None, false));
    }
}
