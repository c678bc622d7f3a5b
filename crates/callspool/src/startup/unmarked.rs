//! Segments that an earlier process left open and that no marker tells of. A machine that loses its power may keep a
//! manifest and lose the marker that was written a moment before; and a disk may not be able to read a marker any more.
//!
//! They are [found](spool::repair::left_open) by their manifests, torn ones too: in the calls that the catalog has as not concluded, and, when all else is repaired,
//! in the newest ones on the disks. What is found is marked, and repaired as if it had been: whatever ends this process
//! then, the next start goes on with it.

use std::io;
use std::time::Duration;

use model::{SegmentId, VolumeName};
use spool::FileOp;
use spool::layout::{self, ManifestPath};
use spool::repair::left_open;
use tokio::sync::watch;

use super::Mender;
use crate::repository::Repository;

/// 65,536 calls: some megabytes of names, and minutes of reading beside what is recorded.
const CALLS_MAX: usize = 65_536;
/// 1 ms after each call that was looked at: what is recorded comes first.
const BREATH: Duration = Duration::from_millis(1);

/// How far back it is looked for them, from the newest call that an earlier process left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// A loss of power takes markers that were written since the last sync, which is each second unless somebody wants
    /// otherwise.
    Minute,
    /// There are markers that cannot be read: few calls last for longer.
    Day,
}

impl Reach {
    const fn time(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 60,
            Self::Day => 86_400,
        })
    }
}

impl Mender {
    /// Looks through the newest calls on the disks.
    pub(super) fn look_for_unmarked(&self, reach: Reach, stop: &watch::Receiver<bool>) {
        let calls = self.repository.newest_calls(self.begun, reach.time(), CALLS_MAX);
        if calls.len() == CALLS_MAX {
            tracing::warn!(
                "it is looked through the newest {CALLS_MAX} calls for segments that were left open; what is older is \
                 found by a start after `callspool reindex`"
            );
        }
        for directory in calls {
            if *stop.borrow() {
                return;
            }
            if self.repair_unmarked(&directory) {
                self.try_conclude(&directory, None);
            }
            std::thread::sleep(BREATH);
        }
    }

    /// Repairs those of a call; whether there were any.
    pub(super) fn repair_unmarked(&self, directory: &str) -> bool {
        let mut repaired = Vec::new();
        for (volume, segment, at) in self.left_open(directory) {
            match self.mark(&volume, segment, &at) {
                // It is known: who records it closes it, or a repair failed and is tried again.
                Ok(false) => continue,
                Ok(true) => {}
                Err(e) => {
                    let text = format!(
                        "a segment was left open without a marker, and cannot be marked: {e}; the next start tries again"
                    );
                    self.tell_unrepaired(&self.owner(directory), Some(segment), text);
                    continue;
                }
            }
            tracing::warn!(%segment, "it was left open, and its marker is lost");
            if self.repair(&volume, segment, &at) {
                repaired.push(volume);
            }
        }
        self.settle(&repaired);
        !repaired.is_empty()
    }

    /// Segments of earlier processes that are not sealed, or are not what was sealed.
    fn left_open(&self, directory: &str) -> Vec<(VolumeName, SegmentId, ManifestPath)> {
        let of_volume = |(volume, repository): (VolumeName, Repository)| {
            let open = left_open(self.node, directory, &repository).inspect_err(|e| {
                tracing::warn!("it is not known whether {directory} has what was left open: {e}")
            });
            open.unwrap_or_default().into_iter().map(move |(segment, at)| (volume.clone(), segment, at))
        };
        let open = self.repository.each().filter(|(_, repository)| !repository.is_away()).flat_map(of_volume);
        open.filter(|(_, segment, _)| self.is_earlier(*segment)).collect()
    }

    /// Marks a segment as live; whether it was not. What this process records is marked before it has a manifest, so the
    /// marker of one whose manifest was read is there.
    fn mark(&self, volume: &VolumeName, segment: SegmentId, at: &ManifestPath) -> io::Result<bool> {
        let Some((disk, repository)) = self.on(volume) else { return Ok(false) };
        if repository.live_markers()?.markers.iter().any(|(marked, _)| *marked == segment) {
            return Ok(false);
        }
        let (path, bytes) = (layout::marker_path(segment), layout::marker_bytes(&at.path()));
        match disk.apply_all(vec![FileOp::Mark { path, bytes }]) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            marked => marked.map(|()| true),
        }
    }
}
