//! What gathering counts, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use api::port::{Family, count};

/// See the module. Written by the owner alone.
#[derive(Debug, Default)]
pub(crate) struct GatherFigures {
    /// Calls that something is left to be done about.
    pub(super) waiting: AtomicU64,
    /// Nodes that can be asked.
    pub(super) up: AtomicU64,
    /// Octets of other nodes that came.
    pub(super) fetched: AtomicU64,
    /// Octets that other nodes were sent.
    pub(super) served: AtomicU64,
    /// Calls that were gathered here.
    pub(super) gathered: AtomicU64,
    /// Segments whose files were removed, because another node has them.
    pub(super) removed: AtomicU64,
    /// Operations on disks that failed, and questions that nobody answered.
    pub(super) failed: [AtomicU64; 2],
}

impl GatherFigures {
    pub(super) fn add(of: &AtomicU64, n: u64) {
        of.fetch_add(n, Ordering::Relaxed);
    }

    /// As metrics.
    pub(crate) fn families(&self) -> Vec<Family> {
        let of = |n: &AtomicU64| count(n.load(Ordering::Relaxed));
        let [disk, node] = &self.failed;
        vec![
            Family::gauge(
                "callspool_gathering_calls",
                "Calls of which something is left to be gathered, or to be removed",
            )
            .of(of(&self.waiting)),
            Family::gauge("callspool_gathering_nodes", "Other record servers that can be asked")
                .of(of(&self.up)),
            Family::counter("callspool_gathering_calls_gathered", "Calls that were gathered here")
                .of(of(&self.gathered)),
            Family::counter("callspool_gathering_bytes", "Octets of segments and logs, by direction")
                .with(&[("direction", "fetched")], of(&self.fetched))
                .with(&[("direction", "served")], of(&self.served)),
            Family::counter(
                "callspool_gathering_segments_removed",
                "Segments whose files were removed here, because another record server has them",
            )
            .of(of(&self.removed)),
            Family::counter("callspool_gathering_failures", "What failed and is tried again, by where")
                .with(&[("at", "disk")], of(disk))
                .with(&[("at", "node")], of(node)),
        ]
    }
}
