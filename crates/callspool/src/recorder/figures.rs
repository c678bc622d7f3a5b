//! How full the record server is, as others see it: read from what its threads count anyway.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::media_thread::Shared;
use crate::volumes::Volumes;

/// A view that costs the threads nothing.
pub(crate) struct Figures {
    shared: Arc<Shared>,
    descriptors_max: u64,
    volumes: Volumes,
}

/// Octets of a volume that wait for its writer.
pub(crate) struct Backlog {
    pub(crate) volume: String,
    pub(crate) octets: usize,
    pub(crate) octets_max: usize,
}

impl Figures {
    pub(super) const fn new(shared: Arc<Shared>, descriptors_max: u64, volumes: Volumes) -> Self {
        Self { shared, descriptors_max, volumes }
    }

    /// Descriptors that segments take, and how many they may.
    pub(crate) fn descriptors(&self) -> (u64, u64) {
        (self.shared.descriptors.load(Ordering::Relaxed), self.descriptors_max)
    }

    /// What waits, for each volume.
    pub(crate) fn backlogs(&self) -> impl Iterator<Item = Backlog> {
        self.volumes.iter().map(|v| Backlog {
            volume: v.name.to_string(),
            octets: v.backlog.load(Ordering::Relaxed),
            octets_max: v.backlog_max,
        })
    }
}
