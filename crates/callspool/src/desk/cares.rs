//! Who has which call, for the desk and for whoever gathers: a call that nobody has is concluded without its proxy.
//!
//! The desk changes it, with each order and each word of a proxy; whoever gathers asks. Each holds it for the time of a look.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use call::{Care, Keeper};
use model::CallId;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cares(Arc<Mutex<Inner>>);

pub(super) struct Inner {
    /// What is kept of the calls of proxies.
    pub(super) keeper: Keeper,
    /// Who ordered which.
    pub(super) care: Care,
}

impl Cares {
    /// `adopt_after`: how long a proxy may be away before its calls are offered to others.
    pub(crate) fn new(adopt_after: Duration) -> Self {
        Self(Arc::new(Mutex::new(Inner { keeper: Keeper::new(adopt_after), care: Care::default() })))
    }

    /// Whether somebody has a call, or may get it from here.
    pub(crate) fn has(&self, call: CallId) -> bool {
        let inner = self.look();
        inner.care.has(call) || inner.keeper.has(call)
    }

    pub(super) fn look(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
