//! What handle and worker share: the queue, the counts, the note that a reindex is wanted.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use model::Change;
use tokio::sync::Notify;

use super::Status;

/// The worker moves the queue to the journal long before (`SPILL` in `worker`); this is reached only when the
/// journal is full or its disk fails or hangs. 16,384 changes are some 50 MB.
const QUEUE_MAX: usize = 16_384;

#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    pub(super) wake: Notify,
    marker: PathBuf,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Change>,
    /// Taken by the worker and not yet in catalog or journal.
    in_flight: usize,
    /// Dropped and not yet reported.
    overflow: u64,
    stop: bool,
    status: Status,
    away_since: Option<Instant>,
    reindexes_wanted: u64,
}

impl Inner {
    fn lose(&mut self, changes: usize) {
        self.overflow += changes as u64;
        self.status.lost += changes as u64;
    }
}

impl Shared {
    pub(super) fn new(marker: PathBuf) -> Self {
        Self { inner: Mutex::default(), wake: Notify::new(), marker }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked while holding it had only counted or pushed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, change: Change) {
        {
            let mut inner = self.lock();
            if inner.queue.len() >= QUEUE_MAX {
                inner.lose(1);
            } else {
                inner.queue.push_back(change);
            }
        }
        self.wake.notify_one();
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_one();
    }

    pub(super) fn stopping(&self) -> bool {
        self.lock().stop
    }

    pub(super) fn queued(&self) -> usize {
        self.lock().queue.len()
    }

    pub(super) fn take(&self, max: usize) -> Vec<Change> {
        let mut inner = self.lock();
        let n = inner.queue.len().min(max);
        inner.in_flight += n;
        inner.queue.drain(..n).collect()
    }

    /// Changes that were taken are in catalog or journal now, or were dropped.
    pub(super) fn settled(&self, n: usize) {
        let mut inner = self.lock();
        inner.in_flight = inner.in_flight.saturating_sub(n);
    }

    /// Changes that were taken and could not be put anywhere: to the front again, the newest dropped when there
    /// is no room.
    pub(super) fn put_back(&self, changes: Vec<Change>) {
        let mut inner = self.lock();
        inner.in_flight = inner.in_flight.saturating_sub(changes.len());
        for change in changes.into_iter().rev() {
            inner.queue.push_front(change);
        }
        let excess = inner.queue.len().saturating_sub(QUEUE_MAX);
        inner.queue.truncate(QUEUE_MAX);
        inner.lose(excess);
    }

    /// At the end nothing takes what is left.
    pub(super) fn drop_rest(&self) {
        let mut inner = self.lock();
        let rest = inner.queue.len();
        inner.queue.clear();
        inner.lose(rest);
    }

    pub(super) fn take_overflow(&self) -> u64 {
        std::mem::take(&mut self.lock().overflow)
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.lock().status);
    }

    /// Notes that the catalog is away. True when it was not away before.
    pub(super) fn away(&self, why: &str) -> bool {
        let mut inner = self.lock();
        inner.status.away_why = Some(why.to_owned());
        let first = inner.away_since.is_none();
        inner.away_since.get_or_insert_with(Instant::now);
        first
    }

    /// Notes that the catalog answers. True when it was away before.
    pub(super) fn back(&self) -> bool {
        let mut inner = self.lock();
        inner.status.away_why = None;
        inner.away_since.take().is_some()
    }

    pub(super) fn status(&self) -> Status {
        let inner = self.lock();
        let mut status = inner.status.clone();
        status.queued = inner.queue.len() + inner.in_flight;
        status.away_for = inner.away_since.map(|t| t.elapsed());
        status
    }

    /// Notes, on disk too, that the catalog lacks what the repository has.
    pub(super) fn want_reindex(&self, why: &str) {
        {
            let mut inner = self.lock();
            inner.reindexes_wanted += 1;
            inner.status.reindex_wanted = Some(inner.reindexes_wanted);
        }
        if let Err(error) = std::fs::write(&self.marker, format!("{why}\n")) {
            tracing::warn!(path = %self.marker.display(), %error,
                "cannot note that a reindex is wanted; a restart would forget it");
        }
    }

    /// Whether a reindex was wanted when the process ended last.
    pub(super) fn reindex_was_wanted(&self) -> Option<String> {
        std::fs::read_to_string(&self.marker).ok().map(|why| why.trim().to_owned())
    }

    pub(super) fn reindexed(&self, wanted: u64) {
        let mut inner = self.lock();
        if inner.reindexes_wanted == wanted {
            inner.status.reindex_wanted = None;
            // Under the lock: a wish that comes now must find its note on disk afterwards.
            if let Err(error) = std::fs::remove_file(&self.marker) {
                tracing::debug!(%error, "no note of a reindex to remove");
            }
        }
    }
}
