//! The writer threads, one for each volume, which append what media threads flushed.
//!
//! Jobs of a segment are carried out in the order in which they came. When one fails, the segment has failed: the
//! front is told, and its further media are not written, because they would lie behind a hole that nothing marks.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use model::{Failure, Report, SegmentId};
use smallvec::SmallVec;
use spool::{FileOp, SegmentWriter};

use super::Threads;
use super::disk::{Disk, OpenFiles, failure};
use super::media_thread::MediaOrder;
use super::sealer::SealJob;
use crate::pulse::Pulse;
use crate::volumes::{Hand, Volume};

/// 8 KiB: 100 ms of two-way G.711 are 2 KiB. A buffer that a stall made longer is not used again.
const SPARE_OCTETS_MAX: usize = 8 << 10;

/// Most flushes have one operation, which is kept in place: a flush allocates nothing.
pub(crate) type Ops = SmallVec<[FileOp; 1]>;

/// Operations of one segment.
pub(crate) struct Job {
    pub(crate) segment: SegmentId,
    pub(crate) octets: usize,
    pub(crate) ops: Ops,
    pub(crate) then: Then,
}

/// What follows when they are done.
pub(crate) enum Then {
    /// Appended buffers go back to the media thread.
    Recycle,
    /// The segment ended: it goes to the sealer.
    Seal(Box<SegmentWriter>),
}

pub(crate) struct Writer {
    pub(crate) volume: Arc<Volume>,
    pub(crate) disk: Disk,
    /// As they came in a tick of a media thread.
    pub(crate) jobs: Receiver<Vec<Job>>,
    pub(crate) media: Threads,
    pub(crate) sealer: Sender<SealJob>,
    pub(crate) reports: tokio::sync::mpsc::Sender<Report>,
    pub(crate) pulse: Pulse,
}

impl Writer {
    /// Runs until no media thread is left.
    pub(crate) fn run(self) {
        let mut open: BTreeMap<SegmentId, OpenFiles> = BTreeMap::new();
        let mut failed: BTreeMap<SegmentId, Failure> = BTreeMap::new();
        while let Ok(jobs) = self.jobs.recv() {
            // All of them are of one media thread.
            let of = jobs.first().map(|job| job.segment);
            let mut emptied = Vec::with_capacity(jobs.len());
            for job in jobs {
                self.pulse.goes_on();
                self.work(job, &mut open, &mut failed, &mut emptied);
            }
            if let Some(of) = of.filter(|_| !emptied.is_empty()) {
                // What does not get there is not missed.
                self.media.try_send(of, MediaOrder::Recycle(emptied));
            }
            self.pulse.waits();
        }
    }

    fn work(
        &self,
        job: Job,
        open: &mut BTreeMap<SegmentId, OpenFiles>,
        failed: &mut BTreeMap<SegmentId, Failure>,
        emptied: &mut Vec<Vec<u8>>,
    ) {
        if let Entry::Vacant(failed) = failed.entry(job.segment) {
            let open = open.entry(job.segment).or_default();
            let done = self.volume.at_work(Hand::Writer, || self.carry_out(job.ops, open, emptied));
            match done {
                Ok(()) => {
                    let octets = u64::try_from(job.octets).unwrap_or_default();
                    self.volume.written.fetch_add(octets, Ordering::Relaxed);
                }
                Err(e) => {
                    failed.insert(failure(&e));
                    self.tell_failure(job.segment, &e);
                }
            }
        }
        self.volume.backlog.fetch_sub(job.octets, Ordering::Relaxed);
        if let Then::Seal(writer) = job.then {
            open.remove(&job.segment);
            let failure = failed.remove(&job.segment);
            if self.sealer.send(SealJob::Seal { writer, failure }).is_err() {
                tracing::error!("the sealer thread is gone; a segment will be repaired at the next start");
            }
        }
    }

    fn carry_out(&self, ops: Ops, open: &mut OpenFiles, emptied: &mut Vec<Vec<u8>>) -> io::Result<()> {
        for op in ops {
            self.pulse.waits();
            let written = self.disk.apply(op, open);
            self.pulse.goes_on();
            if let Some(mut buffer) = written? {
                // What a stall made long is not kept, nor held on to until the last of them is written.
                if buffer.capacity() <= SPARE_OCTETS_MAX {
                    buffer.clear();
                    emptied.push(buffer);
                }
            }
        }
        Ok(())
    }

    fn tell_failure(&self, segment: SegmentId, error: &io::Error) {
        tracing::error!(%segment, volume = %self.volume.name, "cannot write: {error}");
        self.volume.failed(&failure(error), error);
        // At a stop the thread may be gone, and the segment with it.
        let _ = self.media.send(segment, MediaOrder::Failed(segment));
        let _ = self.reports.blocking_send(Report::Failing { segment, why: failure(error) });
    }
}
