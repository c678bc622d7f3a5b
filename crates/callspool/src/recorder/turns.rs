//! Several threads work for whoever comes, but for one call one after the other: its segments share a directory and a
//! log, and are opened in the order in which that was wanted.
//!
//! ```text
//!  jobs ──► thread A ── call 1 ─────────────► its next ──►
//!       ├─► thread B ── call 2 ──►
//!       └─► thread C: call 1 is in work, so its job waits for A; C takes the next
//! ```
//!
//! Nobody waits for a turn: who finds a call in work leaves the job to whoever has the call.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Receiver;
use model::CallId;

/// Jobs of one call that may wait: it has one segment that is being opened, and perhaps one that takes over. What is
/// more was given up by the placer, and a disk that hangs holds the thread that would see it.
const WAITING_MAX: usize = 8;

/// What becomes of a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn<J> {
    /// It is to be done now.
    Now(J),
    /// Whoever works for its call does it next.
    Later,
    /// Too many of its call wait.
    TooMany(J),
}

/// The calls that are in work, each with what waits.
#[derive(Debug)]
pub(crate) struct Turns<J> {
    calls: Mutex<BTreeMap<CallId, VecDeque<J>>>,
    /// Whoever has it takes the next job: between taking one and knowing whose it is nobody else takes one.
    taking: Mutex<()>,
}

impl<J> Turns<J> {
    pub(crate) fn new() -> Self {
        Self { calls: Mutex::default(), taking: Mutex::default() }
    }

    /// The next job, whatever becomes of it; none when there will be none any more. Where it is to be done now,
    /// [`Self::next`] is to be asked when it is done.
    pub(crate) fn take(&self, jobs: &Receiver<J>, of: impl Fn(&J) -> CallId) -> Option<(CallId, Turn<J>)> {
        let _one = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let job = jobs.recv().ok()?;
        let call = of(&job);
        Some((call, self.begin(call, job)))
    }

    fn begin(&self, call: CallId, job: J) -> Turn<J> {
        let mut all = self.all();
        match all.get_mut(&call) {
            Some(waiting) if waiting.len() >= WAITING_MAX => Turn::TooMany(job),
            Some(waiting) => {
                waiting.push_back(job);
                Turn::Later
            }
            None => {
                all.insert(call, VecDeque::new());
                Turn::Now(job)
            }
        }
    }

    /// A job of a call is done: the next one of it. When there is none, the call is not in work any more.
    pub(crate) fn next(&self, call: CallId) -> Option<J> {
        let mut all = self.all();
        let next = all.get_mut(&call).and_then(VecDeque::pop_front);
        if next.is_none() {
            all.remove(&call);
        }
        next
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<CallId, VecDeque<J>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn another_call_goes_on_while_one_is_in_work() {
        let turns = Turns::new();
        let (a, b) = (CallId::from_u64(1), CallId::from_u64(2));
        assert_eq!(turns.begin(a, 1), Turn::Now(1));
        assert_eq!(turns.begin(a, 2), Turn::Later);
        assert_eq!(turns.begin(b, 3), Turn::Now(3));
        assert_eq!((turns.next(a), turns.next(b)), (Some(2), None));
        assert_eq!(turns.next(a), None);
        assert_eq!(turns.begin(a, 4), Turn::Now(4));
        for n in 0..WAITING_MAX {
            assert_eq!(turns.begin(a, n), Turn::Later);
        }
        assert_eq!(turns.begin(a, 9), Turn::TooMany(9));
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(32))]

        /// Threads that take jobs from one queue: each job is done once, those of a call in their order, and never two
        /// at a time.
        #[test]
        fn calls_are_worked_for_one_after_the_other(calls in proptest::collection::vec(any::<u8>(), 0..64)) {
            let (give, jobs) = crossbeam_channel::unbounded();
            for (n, call) in calls.iter().enumerate() {
                give.send((CallId::from_u64(u64::from(call % 5)), n)).unwrap();
            }
            drop(give);
            let (turns, done) = (Turns::new(), Mutex::new(Vec::new()));
            let busy: [AtomicUsize; 5] = Default::default();
            let work = || {
                let mut overlaps = 0;
                while let Some((call, turn)) = turns.take(&jobs, |(call, _)| *call) {
                    let mut next = match turn {
                        Turn::Now((_, job)) => Some(job),
                        Turn::Later => None,
                        Turn::TooMany((_, job)) => {
                            done.lock().unwrap().push((call, job, false));
                            None
                        }
                    };
                    while let Some(job) = next {
                        let at = &busy[usize::try_from(call.as_u64()).unwrap()];
                        overlaps += at.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        done.lock().unwrap().push((call, job, true));
                        at.fetch_sub(1, Ordering::SeqCst);
                        next = turns.next(call).map(|(_, job)| job);
                    }
                }
                overlaps
            };
            let overlaps: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            prop_assert_eq!(overlaps, 0);
            let done = done.into_inner().unwrap();
            prop_assert_eq!(done.iter().map(|(_, job, _)| *job).collect::<BTreeSet<_>>().len(), calls.len());
            prop_assert_eq!(done.len(), calls.len());
            for call in 0..5 {
                let of: Vec<_> = done.iter().filter(|(c, _, worked)| *worked && c.as_u64() == call).map(|(_, job, _)| *job).collect();
                prop_assert!(of.is_sorted(), "{:?}", of);
            }
        }
    }
}
