//! What a thread counts, for whoever watches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Counts since the start. The thread that counts is the only one that writes.
#[derive(Debug, Default)]
pub struct Figures {
    pub(crate) received: AtomicU64,
    pub(crate) forwarded: AtomicU64,
    pub(crate) teed: AtomicU64,
    pub(crate) kept: AtomicU64,
    pub(crate) unsent: AtomicU64,
    pub(crate) untold: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) system_calls: AtomicU64,
    pub(crate) delay_ns: AtomicU64,
    pub(crate) delay_max_ns: AtomicU64,
    pub(crate) is_by_ring: AtomicBool,
}

impl Figures {
    /// Datagrams that came.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Datagrams that were sent to legs.
    #[must_use]
    pub fn forwarded(&self) -> u64 {
        self.forwarded.load(Ordering::Relaxed)
    }

    /// Copies that were sent to recorders.
    #[must_use]
    pub fn teed(&self) -> u64 {
        self.teed.load(Ordering::Relaxed)
    }

    /// Packets that a recorder in this process was given.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Datagrams that the kernel did not take: a buffer was full, or it knows no way.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Reports that nobody took.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
    }

    /// Calls that it has.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// System calls that read and sent.
    #[must_use]
    pub fn system_calls(&self) -> u64 {
        self.system_calls.load(Ordering::Relaxed)
    }

    /// Whether it reads and sends by io_uring: false before it has begun, and once the kernel refused to go on.
    #[must_use]
    pub fn is_by_ring(&self) -> bool {
        self.is_by_ring.load(Ordering::Relaxed)
    }

    /// From when the kernel had a datagram until what it made was sent on: the mean since the start, and the longest
    /// since it was asked last.
    #[must_use]
    pub fn delay(&self) -> (Duration, Duration) {
        let mean = self.delay_ns.load(Ordering::Relaxed).checked_div(self.received()).unwrap_or(0);
        let most = self.delay_max_ns.swap(0, Ordering::Relaxed);
        (Duration::from_nanos(mean), Duration::from_nanos(most))
    }
}
