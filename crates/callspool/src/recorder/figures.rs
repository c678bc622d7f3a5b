//! How full the record server is, as others see it: read from what its threads count anyway.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Mono, Share};
use spool::placement::Fitness;

use super::media_thread::Shared;
use crate::volumes::Volumes;

/// 10 GiB: what a busy node writes in a few minutes. A disk with more room is as good as any.
const NEARLY_FULL: u64 = 10 << 30;

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

    /// Segments that are live or being closed.
    pub(crate) fn segments(&self) -> u64 {
        self.shared.segments.load(Ordering::Relaxed) as u64
    }

    /// Of the space on the roomiest volume that segments may be begun on, as far as it is nearly used up; all where
    /// there is none.
    pub(crate) fn disk_space(&self, now: Mono) -> Share {
        let candidates = self.volumes.candidates(now);
        let open = candidates.iter().filter(|c| c.fitness != Fitness::Unfit && c.weight > 0);
        let room = open.map(|c| c.room).max().unwrap_or(0);
        Share::of(NEARLY_FULL.saturating_sub(room), NEARLY_FULL)
    }

    /// Of what may wait for the disks before nothing is begun on them.
    pub(crate) fn disk_latency(&self) -> Share {
        let (waits, most) = self.volumes.waiting();
        Share::of(waits as u64, most as u64)
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
