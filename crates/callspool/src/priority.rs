//! Threads that step back: what a call does not wait for gets the CPU after what it does wait for.
//!
//! Writing the catalog and digesting files take more CPU than answering an INVITE. On a loaded machine they would
//! delay answers; so they are nicer, and their queues grow instead. It never raises a priority.

/// Nice enough that a thread which answers gets some nine tenths of a core that both want (sched(7)).
const NICE: i32 = 10;

/// The calling thread, and the threads that it starts, step back from now on.
pub(crate) fn step_back() {
    // On Linux the value is each thread's own. Failing is no harm: everything only takes turns then.
    if let Err(e) = rustix::process::nice(NICE) {
        tracing::debug!("a thread cannot step back: {e}");
    }
}
