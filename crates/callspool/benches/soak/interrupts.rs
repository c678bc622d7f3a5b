//! Ctrl-C, or a service manager: what was measured is judged, and calls are hung up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;

/// Whether somebody wants it to end, from then on.
pub(crate) fn watch() -> Result<Arc<AtomicBool>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(guard);
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let wait = move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        set.store(true, Ordering::Relaxed);
    };
    std::thread::Builder::new().name("interrupts".to_owned()).spawn(wait)?;
    Ok(flag)
}
