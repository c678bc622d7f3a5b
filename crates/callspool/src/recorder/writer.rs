//! The writer threads, one for each volume, which append what media threads flushed.
//!
//! Jobs of a segment are carried out in the order in which they came. What is to be appended goes to the redo of the
//! volume first and to its own file some flushes later (see [`shelving`](super::shelving)); before anything else is
//! done to a segment, what waits for its files is written. When a job fails, the segment has failed: the front is told,
//! and what comes of it is [kept](super::kept) for who closes it: it would lie behind a hole that nothing marks.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use model::{Mono, Report, SegmentId};
use smallvec::SmallVec;
use spool::{FileOp, SegmentWriter};

use super::Threads;
use super::disk::{Disk, OpenFiles, failure};
use super::kept::GivenUp;
use super::media_thread::{MediaOrder, Shared};
use super::sealer::SealJob;
use super::shelving::{Shelving, WAITS};
use crate::clock::mono;
use crate::descriptors::OF_SIDECAR;
use crate::volumes::Volume;

/// 8 KiB: 100 ms of two-way G.711 are 2 KiB. A buffer that a stall made longer is not used again.
const SPARE_OCTETS_MAX: usize = 8 << 10;
/// 4 KiB: up to there a buffer is used again whatever it held.
const SPARE_OCTETS_LEAST: usize = 4 << 10;
/// Longer ones are used again when they were a quarter full: each segment has one, and with those that a silence or a
/// stall made longer thousands of calls would hold twice as much.
const FILL_LEAST: usize = 4;

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
    pub(crate) shelving: Shelving,
    pub(crate) shared: Arc<Shared>,
    /// Descriptors that segments may take together.
    pub(crate) descriptors_max: u64,
}

/// What is kept of a segment between its jobs.
#[derive(Default)]
struct Held {
    files: OpenFiles,
    failed: Option<GivenUp>,
    /// Since when something waits for its files.
    since: Option<Mono>,
}

/// An operation failed.
struct Stopped {
    why: io::Error,
    /// What was to be appended.
    at: Option<FileOp>,
}

impl From<io::Error> for Stopped {
    fn from(why: io::Error) -> Self {
        Self { why, at: None }
    }
}

/// All segments that had a job.
#[derive(Default)]
struct AllHeld {
    by_id: BTreeMap<SegmentId, Held>,
    /// For which something waits, and since when; the longest first. Some were written meanwhile.
    due: VecDeque<(Mono, SegmentId)>,
}

impl Writer {
    /// Runs until no media thread is left.
    pub(crate) fn run(mut self) {
        let mut all = AllHeld::default();
        loop {
            let due = all.due.front().map(|(since, _)| *since + WAITS);
            let jobs = match due.into_iter().chain(self.shelving.next_look()).min() {
                None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => self.jobs.recv_timeout(at.since(mono())),
            };
            let now = mono();
            match jobs {
                Ok(jobs) => self.take(now, jobs, &mut all),
                Err(RecvTimeoutError::Timeout) => self.shelving.prepare(now),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.write_due(now, &mut all);
            if self.shelving.must_write_again(now) {
                self.write_since(now, &mut all);
                self.shelving.write_again(now);
            }
            self.shelving.look(now);
            self.shelving.rests();
        }
        self.write_since(mono(), &mut all);
        self.shelving.finish(mono());
    }

    fn take(&mut self, now: Mono, jobs: Vec<Job>, all: &mut AllHeld) {
        self.shelving.prepare(now);
        // All of them are of one media thread.
        let of = jobs.first().map(|job| job.segment);
        let mut emptied = Vec::with_capacity(jobs.len());
        for job in jobs {
            self.shelving.goes_on();
            self.work(now, job, all, &mut emptied);
            if self.shelving.is_batch_full() {
                self.commit(now, all);
            }
        }
        self.commit(now, all);
        if let Some(of) = of.filter(|_| !emptied.is_empty()) {
            // What does not get there is not missed.
            self.media.try_send(of, MediaOrder::Recycle(emptied));
        }
    }

    fn commit(&mut self, now: Mono, all: &mut AllHeld) {
        if !self.shelving.commit(now) {
            self.write_since(now, all);
        }
    }

    fn work(&mut self, now: Mono, job: Job, all: &mut AllHeld, emptied: &mut Vec<Vec<u8>>) {
        let Job { segment, octets, ops, then } = job;
        let held = all.by_id.entry(segment).or_default();
        let (mut ops, mut waits, mut stopped_at) = (ops.into_iter(), 0, None);
        if held.failed.is_none() {
            match self.carry_out(now, &mut ops, held, emptied, &mut waits) {
                Ok(()) => {
                    let written = u64::try_from(octets.saturating_sub(waits)).unwrap_or_default();
                    self.volume.written.fetch_add(written, Ordering::Relaxed);
                }
                Err(Stopped { why, at }) => {
                    self.fail(segment, held, &why);
                    stopped_at = at;
                }
            }
        }
        if let Some(GivenUp { kept, .. }) = &mut held.failed {
            kept.take(stopped_at.into_iter().chain(ops));
        }
        // What waits is counted until it is written.
        self.volume.backlog.fetch_sub(octets.saturating_sub(waits), Ordering::Relaxed);
        if held.since.is_none() && held.files.have_waiting() {
            held.since = Some(now);
            all.due.push_back((now, segment));
        }
        let ends = matches!(then, Then::Seal(_));
        if ends
            && held.failed.is_none()
            && let Err(e) = self.write_out(held)
        {
            self.fail(segment, held, &e);
        }
        if let Then::Seal(writer) = then {
            let held = all.by_id.remove(&segment).unwrap_or_default();
            let Held { files, failed: given_up, .. } = held;
            let given_back = if files.has_second { OF_SIDECAR } else { 0 };
            drop(files);
            self.shared.release(given_back);
            if let Err(unsent) = self.sealer.send(SealJob::Seal { writer, given_up }) {
                tracing::error!("the sealer thread is gone; a segment will be repaired at the next start");
                unsent.into_inner().leave();
            }
        }
    }

    /// `waits` grows by what is not written yet.
    fn carry_out(
        &mut self,
        now: Mono,
        ops: &mut impl Iterator<Item = FileOp>,
        held: &mut Held,
        emptied: &mut Vec<Vec<u8>>,
        waits: &mut usize,
    ) -> Result<(), Stopped> {
        for op in ops {
            let FileOp::Append { path, mut bytes } = op else {
                self.write_out(held)?;
                self.shelving.at_disk(|| self.disk.apply(op, &mut held.files))?;
                continue;
            };
            let is_second = !held.files.has_second && !held.files.has_place_for(&path);
            if is_second {
                held.files.has_second = self.shared.reserve(OF_SIDECAR, self.descriptors_max).is_ok();
            }
            // Where there is no descriptor for both, they take turns.
            if !held.files.has_place_for(&path) {
                self.write_out(held)?;
            }
            let file = self.disk.appending(&path, &mut held.files)?;
            if self.shelving.put(now, &path, &bytes, file) {
                *waits += bytes.len();
            } else {
                let waited = self.shelving.write_out(file);
                let appended = waited.and_then(|()| self.shelving.at_disk(|| file.append(&bytes)));
                if let Err(why) = appended {
                    return Err(Stopped { why, at: Some(FileOp::Append { path, bytes }) });
                }
            }
            // What is not used again is not held on to until the last of them is written.
            if is_of_use(bytes.len(), bytes.capacity()) {
                bytes.clear();
                emptied.push(bytes);
            }
        }
        Ok(())
    }

    /// Writes what waits for the files of a segment.
    fn write_out(&mut self, held: &mut Held) -> io::Result<()> {
        held.since = None;
        held.files.files.iter_mut().try_for_each(|file| self.shelving.write_out(file))
    }

    /// Writes what has waited long enough.
    fn write_due(&mut self, now: Mono, all: &mut AllHeld) {
        while let Some((since, _)) = all.due.front()
            && *since <= self.shelving.due(now)
        {
            self.write_next(all);
        }
    }

    /// Writes all that has waited since then.
    fn write_since(&mut self, until: Mono, all: &mut AllHeld) {
        while all.due.front().is_some_and(|(since, _)| *since <= until) {
            self.write_next(all);
        }
    }

    fn write_next(&mut self, all: &mut AllHeld) {
        let Some((since, segment)) = all.due.pop_front() else { return };
        let Some(held) = all.by_id.get_mut(&segment).filter(|held| held.since == Some(since)) else { return };
        self.shelving.goes_on();
        if let Err(e) = self.write_out(held) {
            self.fail(segment, held, &e);
        }
    }

    fn fail(&mut self, segment: SegmentId, held: &mut Held, error: &io::Error) {
        let kept = self.shelving.give_up(&mut held.files);
        held.failed = Some(GivenUp { failure: failure(error), kept });
        held.since = None;
        tracing::error!(%segment, volume = %self.volume.name, "cannot write: {error}");
        self.volume.failed(&failure(error), error);
        // At a stop the thread may be gone, and the segment with it.
        let _ = self.media.send(segment, MediaOrder::Failed(segment));
        let _ = self.reports.blocking_send(Report::Failing { segment, why: failure(error) });
    }
}

/// Whether a buffer that held so many octets is worth keeping for the next flush.
fn is_of_use(octets: usize, capacity: usize) -> bool {
    capacity <= octets.saturating_mul(FILL_LEAST).clamp(SPARE_OCTETS_LEAST, SPARE_OCTETS_MAX)
}
