//! The ways to the media threads: a segment belongs to one of them by its id.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread::Thread;
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender, TrySendError};
use model::SegmentId;

use super::media_thread::MediaOrder;

/// How long an order that must not be lost waits for its thread, which looks each few milliseconds: one that has
/// not looked for so long does not look any more.
const INSIST: Duration = Duration::from_secs(1);

/// What wakes a media thread before its next tick.
#[derive(Clone, Debug, Default)]
pub(super) struct Bell(Arc<OnceLock<Thread>>);

impl Bell {
    /// The calling thread is the one that it wakes.
    pub(super) fn hang(&self) {
        // It is hung once.
        let _ = self.0.set(std::thread::current());
    }

    /// Wakes it, if it sleeps (`park_timeout`).
    fn ring(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

/// The ways to the media threads.
#[derive(Clone)]
pub(crate) struct Threads {
    ways: Arc<[Sender<MediaOrder>]>,
    bells: Arc<[Bell]>,
    /// Segments that are not in the thread that their id says: they took over from one that was elsewhere.
    strays: Arc<RwLock<BTreeMap<SegmentId, usize>>>,
}

impl Threads {
    /// With a way to each of them.
    pub(super) fn new(ways: impl IntoIterator<Item = (Sender<MediaOrder>, Bell)>) -> Self {
        let (ways, bells): (Vec<_>, Vec<_>) = ways.into_iter().unzip();
        Self { ways: ways.into(), bells: bells.into(), strays: Arc::default() }
    }

    fn of(&self, segment: SegmentId) -> Option<&Sender<MediaOrder>> {
        self.ways.get(self.index(segment)?)
    }

    /// Which of them a segment belongs to, from 0.
    pub(super) fn index(&self, segment: SegmentId) -> Option<usize> {
        let count = u64::try_from(self.ways.len()).ok().filter(|n| *n > 0)?;
        let strays = self.strays.read().unwrap_or_else(PoisonError::into_inner);
        strays.get(&segment).copied().or_else(|| usize::try_from(segment.as_u64() % count).ok())
    }

    /// A segment belongs to the thread of another.
    pub(super) fn follow(&self, segment: SegmentId, other: SegmentId) {
        if let Some(index) = self.index(other).filter(|i| self.index(segment) != Some(*i)) {
            self.strays.write().unwrap_or_else(PoisonError::into_inner).insert(segment, index);
        }
    }

    /// A segment has ended, or never was.
    pub(crate) fn forget(&self, segment: SegmentId) {
        self.strays.write().unwrap_or_else(PoisonError::into_inner).remove(&segment);
    }

    /// Waits while the thread's queue is full; for threads that may wait.
    pub(crate) fn send(&self, segment: SegmentId, order: MediaOrder) -> Result<(), Gone> {
        if let Some(thread) = self.of(segment)
            && thread.send(order).is_ok()
        {
            return Ok(());
        }
        tracing::error!(%segment, "its media thread is gone");
        Err(Gone)
    }

    /// The same, and the thread takes it at once: a client waits for what follows.
    pub(super) fn send_at_once(&self, segment: SegmentId, order: MediaOrder) -> Result<(), Gone> {
        self.send(segment, order)?;
        if let Some(bell) = self.index(segment).and_then(|index| self.bells.get(index)) {
            bell.ring();
        }
        Ok(())
    }

    /// The same as [`send`](Self::send), for at most [`INSIST`].
    pub(super) fn send_soon(&self, segment: SegmentId, order: MediaOrder) -> Result<(), &'static str> {
        let Some(thread) = self.of(segment) else { return Err("its media thread is gone") };
        match thread.send_timeout(order, INSIST) {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(_)) => Err("its media thread stands still"),
            Err(SendTimeoutError::Disconnected(_)) => Err("its media thread is gone"),
        }
    }

    /// Orders that wait for them.
    pub(super) fn queued(&self) -> usize {
        self.ways.iter().map(Sender::len).sum()
    }

    /// Never waits; the order is given back when the queue is full.
    pub(crate) fn try_send(&self, segment: SegmentId, order: MediaOrder) -> Option<MediaOrder> {
        match self.of(segment)?.try_send(order) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => None,
            Err(TrySendError::Full(order)) => Some(order),
        }
    }
}

/// A media thread has ended: the process stops.
#[derive(Debug)]
pub(crate) struct Gone;
