//! Telling whoever gathers that a call has ended here whose segments may lie elsewhere too.
//!
//! It is told from the threads that close segments and from those that repair what a crash left; neither ever waits.
//! What is too much to be told at once is found by looking through everything once more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

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

    /// Whether something could not be told since this was asked.
    pub(super) fn has_missed(&self) -> bool {
        self.0.missed.swap(false, Ordering::Relaxed)
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
