//! Telling whoever gathers that a call has ended here whose segments may lie elsewhere too.
//!
//! It is told from the threads that close segments and from those that repair what a crash left; neither ever waits.
//! What is too much to be told at once is found by looking through everything once more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::mpsc;

use super::ended::Ended;
use crate::clock::mono;

/// Calls that are told of and not looked at yet. Those of an hour in which every record server failed are more, and are
/// looked for.
pub(super) const NOTICES_MAX: usize = 4_096;

/// See the module. Cheap to clone; where nobody gathers it does nothing.
#[derive(Clone, Default)]
pub(crate) struct Notice(Arc<Inner>);

#[derive(Default)]
struct Inner {
    way: OnceLock<mpsc::Sender<String>>,
    missed: AtomicBool,
    /// Calls that are not concluded yet. Locked for the time of a look.
    ended: Mutex<Ended>,
}

impl Notice {
    /// Whoever gathers is there, and is told of what comes from now on.
    pub(super) fn listen(&self) -> mpsc::Receiver<String> {
        let (way, told) = mpsc::channel(NOTICES_MAX);
        // It is set once, at the start.
        let _ = self.0.way.set(way);
        told
    }

    /// A call may be to be gathered; by its directory.
    pub(crate) fn of(&self, directory: &str) {
        if let Some(way) = self.0.way.get()
            && way.try_send(directory.to_owned()).is_err()
        {
            self.0.missed.store(true, Ordering::Relaxed);
        }
    }

    /// A segment of a call ended here; by its directory.
    pub(crate) fn ended(&self, directory: &str) {
        if self.0.way.get().is_some() {
            self.not_concluded().ended(mono(), directory);
        }
    }

    /// It was noted how a call came out.
    pub(crate) fn concluded(&self, directory: &str) {
        self.not_concluded().concluded(directory);
    }

    /// Calls of which nobody has said for long how they came out.
    pub(super) fn not_concluded(&self) -> MutexGuard<'_, Ended> {
        self.0.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something could not be told since this was asked.
    pub(super) fn has_missed(&self) -> bool {
        self.0.missed.swap(false, Ordering::Relaxed) | self.not_concluded().has_missed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_is_known_to_be_missing() {
        let notice = Notice::default();
        notice.of("nobody/listens");
        assert!(!notice.has_missed());
        let mut told = notice.listen();
        (0..NOTICES_MAX).for_each(|n| notice.of(&n.to_string()));
        assert!(!notice.has_missed());
        notice.of("one more");
        assert!(notice.has_missed() && !notice.has_missed());
        assert_eq!(told.try_recv().unwrap(), "0");
    }
}
