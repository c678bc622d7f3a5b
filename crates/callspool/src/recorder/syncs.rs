//! The syncs of a volume, counted. What was written when so many had begun is durable when a later one has ended.
//!
//! The kernel tells once that something could not be written, and takes it for written from then on. So after a sync
//! that failed none counts until all that the redo has was [written once more](super::shelving). Where there is no redo
//! nothing can be: what is told is all that can be done.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    begun: AtomicU64,
    ended: AtomicU64,
    is_redo_used: AtomicBool,
    failed: AtomicU64,
    /// What so many that failed should have made durable was written once more, or no redo has it.
    mended: AtomicU64,
    /// Held by the one that goes on: it is the only one that is told of a failure.
    one: Mutex<()>,
}

/// What a sync that ended well has made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Covers {
    /// All that was written before.
    All,
    /// An earlier one had failed, and what it should have made durable is perhaps not.
    NotWhatFailed,
}

impl Syncs {
    /// Carries one out.
    pub(super) fn carry_out(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<Covers> {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let covers = if self.are_doubted() { Covers::NotWhatFailed } else { Covers::All };
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        match sync() {
            Ok(()) if covers == Covers::All => _ = self.ended.fetch_max(number, Ordering::SeqCst),
            Ok(()) => {}
            Err(e) => {
                self.failed.fetch_add(1, Ordering::SeqCst);
                return Err(e);
            }
        }
        Ok(covers)
    }

    /// How many have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// The number of the last that has ended well, and counts.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::SeqCst)
    }

    /// Something goes to the redo from now on, or nothing is in it any more.
    pub(super) fn use_redo(&self, is_used: bool) {
        if self.is_redo_used.swap(is_used, Ordering::SeqCst) != is_used {
            self.trust(self.failed());
        }
    }

    /// How many have failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    /// Whether one failed, and what it should have made durable was not written once more.
    pub(super) fn are_doubted(&self) -> bool {
        self.is_redo_used.load(Ordering::SeqCst) && self.mended.load(Ordering::SeqCst) < self.failed()
    }

    /// All that is in the redo was written once more after so many had failed: those that begin now count.
    pub(super) fn trust(&self, failed: u64) {
        self.mended.fetch_max(failed, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_well(syncs: &Syncs) -> Covers {
        syncs.carry_out(|| Ok(())).unwrap()
    }

    fn fails(syncs: &Syncs) {
        assert!(syncs.carry_out(|| Err(faults::torn())).is_err());
    }

    #[test]
    fn after_one_that_failed_none_counts_until_all_is_written_once_more() {
        let syncs = Syncs::default();
        syncs.use_redo(true);
        assert_eq!((ends_well(&syncs), syncs.ended()), (Covers::All, 1));
        fails(&syncs);
        assert_eq!((ends_well(&syncs), syncs.begun(), syncs.ended()), (Covers::NotWhatFailed, 3, 1));
        // One that begins before that is written, and ends after it.
        let covers = syncs.carry_out(|| {
            syncs.trust(syncs.failed());
            Ok(())
        });
        assert_eq!((covers.unwrap(), syncs.ended()), (Covers::NotWhatFailed, 1));
        assert_eq!((ends_well(&syncs), syncs.ended()), (Covers::All, 5));
    }

    #[test]
    fn one_that_fails_while_all_is_written_once_more_is_doubted_as_well() {
        let syncs = Syncs::default();
        syncs.use_redo(true);
        fails(&syncs);
        let before = syncs.failed();
        fails(&syncs);
        syncs.trust(before);
        assert!(syncs.are_doubted() && ends_well(&syncs) == Covers::NotWhatFailed);
    }

    #[test]
    fn where_there_is_no_redo_nothing_is_doubted() {
        let syncs = Syncs::default();
        fails(&syncs);
        assert_eq!(ends_well(&syncs), Covers::All);
        syncs.use_redo(true);
        assert_eq!(ends_well(&syncs), Covers::All, "what failed before was never in the redo");
        fails(&syncs);
        syncs.use_redo(false);
        assert_eq!(ends_well(&syncs), Covers::All);
    }
}
