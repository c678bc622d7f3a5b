//! What handle and worker share: the queue, the counts, the note that a reindex is wanted.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use faults::{Operation, before};
use model::{Change, ChangeKind};
use tokio::sync::Notify;

use super::Status;

/// The worker moves the queue to the journal long before (`SPILL` in `worker`); this is reached only when the
/// journal is full or its disk fails or hangs. 16,384 changes are some 50 MB.
const QUEUE_MAX: usize = 16_384;

/// 64 MiB: as many changes with long metadata would be gigabytes.
const QUEUE_OCTETS_MAX: usize = 64 << 20;
/// Octets in memory beyond which they go to the journal, as for the count.
const SPILL_OCTETS: usize = 8 << 20;
/// What a change takes beside its metadata: record, streams, parts, call data, as a rough measure.
const CHANGE_OCTETS: usize = 3 << 10;

/// What a change takes in memory, roughly.
pub(super) fn octets_of(change: &Change) -> usize {
    let metadata = match &change.kind {
        ChangeKind::Segment { record, .. } => record.metadata.as_slice(),
        _ => &[],
    };
    let texts = |m: &model::Metadata| m.text.len() + m.base64.as_ref().map_or(0, String::len);
    CHANGE_OCTETS + metadata.iter().map(texts).sum::<usize>()
}

#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    pub(super) wake: Notify,
    marker: PathBuf,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Change>,
    /// What the changes in the queue take.
    octets: usize,
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
    fn is_over(&self) -> bool {
        self.queue.len() > QUEUE_MAX || self.octets > QUEUE_OCTETS_MAX
    }

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
        let octets = octets_of(&change);
        {
            let mut inner = self.lock();
            if inner.queue.len() >= QUEUE_MAX || inner.octets + octets > QUEUE_OCTETS_MAX {
                inner.lose(1);
            } else {
                inner.octets += octets;
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

    /// Whether there is more in memory than should be: `changes`, or too many octets.
    pub(super) fn spills(&self, changes: usize) -> bool {
        let inner = self.lock();
        inner.queue.len() >= changes || inner.octets >= SPILL_OCTETS
    }

    /// Takes so many at most, and not many more octets than should be in memory.
    pub(super) fn take(&self, max: usize) -> Vec<Change> {
        let mut inner = self.lock();
        let (mut taken, mut octets) = (Vec::new(), 0);
        while taken.len() < max && octets < SPILL_OCTETS {
            let Some(change) = inner.queue.pop_front() else { break };
            octets += octets_of(&change);
            taken.push(change);
        }
        inner.in_flight += taken.len();
        inner.octets = inner.octets.saturating_sub(octets);
        taken
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
            inner.octets += octets_of(&change);
            inner.queue.push_front(change);
        }
        while inner.is_over()
            && let Some(newest) = inner.queue.pop_back()
        {
            inner.octets = inner.octets.saturating_sub(octets_of(&newest));
            inner.lose(1);
        }
    }

    /// At the end nothing takes what is left.
    pub(super) fn drop_rest(&self) {
        let mut inner = self.lock();
        let rest = inner.queue.len();
        inner.queue.clear();
        inner.octets = 0;
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
        let note = |_| std::fs::write(&self.marker, format!("{why}\n"));
        if let Err(error) = before(Operation::ReindexNote, &self.marker).and_then(note) {
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
            let remove = |_| std::fs::remove_file(&self.marker);
            if let Err(error) = before(Operation::ReindexNote, &self.marker).and_then(remove) {
                tracing::debug!(%error, "no note of a reindex to remove");
            }
        }
    }
}
