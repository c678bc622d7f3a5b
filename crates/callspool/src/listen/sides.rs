//! Whose voice a listener hears on which side: as people corrected it, while somebody listens too.
//!
//! The call's log is asked when somebody begins to listen, and for each segment that is new to him; a correction that is
//! made meanwhile is passed on by whoever writes it. A disk that does not answer costs nothing but the correction: then
//! sides are as they were recorded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::port::{CallSides, Notes};
use model::{CallId, Side, Sides, StreamId, TenantId};
use tokio::sync::{Semaphore, watch};

/// How long the log may take to be read before the sound begins without.
const PATIENCE: Duration = Duration::from_millis(500);
/// Logs that are read at once: a thread each, which may hang with its disk.
const LOOKS_MAX: usize = 8;

/// The calls that somebody listens to, as many as there may be listeners, with their sides.
#[derive(Clone, Default)]
pub(crate) struct HeardSides(Arc<Mutex<BTreeMap<CallId, watch::Sender<Sides>>>>);

impl HeardSides {
    /// The sides of a call, from now on.
    fn watch(&self, call: CallId) -> watch::Receiver<Sides> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.retain(|_, sides| sides.receiver_count() > 0);
        calls.entry(call).or_insert_with(|| watch::Sender::new(Sides::default())).subscribe()
    }

    /// People said who is who in these calls, which are one.
    pub(crate) fn are(&self, calls: impl IntoIterator<Item = CallId>, said: &CallSides) {
        let streams = said.streams.iter().map(|s| (s.stream, s.side)).collect();
        let sides = Sides { swapped: said.now.swapped, streams };
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for call in calls {
            if let Some(to) = watched.get(&call) {
                to.send_replace(sides.clone());
            }
        }
    }
}

/// Where sides are asked for.
#[derive(Clone)]
pub(crate) struct SidesLink {
    notes: Arc<dyn Notes>,
    heard: HeardSides,
    places: Arc<Semaphore>,
}

impl SidesLink {
    /// `heard` is told by `notes` of what people correct.
    pub(crate) fn new(notes: Arc<dyn Notes>, heard: HeardSides) -> Self {
        Self { notes, heard, places: Arc::new(Semaphore::new(LOOKS_MAX)) }
    }

    /// Begins to follow the sides of a call.
    pub(crate) async fn follow(&self, tenant: TenantId, call: CallId) -> ListenedSides {
        let said = self.heard.watch(call);
        let mut sides = ListenedSides { link: self.clone(), tenant, call, said, now: Sides::default() };
        if let Some(looking) = sides.look() {
            let _ = tokio::time::timeout(PATIENCE, looking).await;
        }
        sides.catch_up();
        sides
    }
}

/// The sides of a call that somebody listens to.
pub(crate) struct ListenedSides {
    link: SidesLink,
    tenant: TenantId,
    call: CallId,
    said: watch::Receiver<Sides>,
    now: Sides,
}

impl ListenedSides {
    /// Reads what the log says, on a thread that may wait for it; none where too many do.
    pub(super) fn look(&self) -> Option<tokio::task::JoinHandle<()>> {
        let place = Arc::clone(&self.link.places).try_acquire_owned().ok()?;
        let (link, tenant, call) = (self.link.clone(), self.tenant.clone(), self.call);
        Some(tokio::task::spawn_blocking(move || {
            match link.notes.sides(&tenant, call) {
                Ok(said) => link.heard.are([call], &said),
                Err(e) => tracing::debug!(%call, "who listens hears its sides as they were recorded: {e}"),
            }
            drop(place);
        }))
    }

    /// Takes what was said since.
    pub(super) fn catch_up(&mut self) {
        if self.said.has_changed().unwrap_or(false) {
            self.now.clone_from(&self.said.borrow_and_update());
        }
    }

    /// Whose voice a stream carries that was recorded as this side's.
    pub(super) fn of(&self, stream: StreamId, recorded: Side) -> Side {
        self.now.of(stream, recorded)
    }
}
