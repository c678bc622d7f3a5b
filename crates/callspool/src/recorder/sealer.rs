//! The sealer threads, one for each volume: each digests the files of a segment that ended, seals its manifest, and notes conclusions.
//!
//! It is apart from the writer because reading a long call again takes longer than a flush may wait. What a disk
//! does not take is kept and tried again until it does: a full disk is emptied, an unmounted one comes back.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use model::{
    CallId, Conclusion, EndReason, Failure, Incident, NodeNumber, RecordingState, Report, SegmentId,
    SegmentRecord, WallTime, total,
};
use spool::layout::{self, ManifestPath};
use spool::repair::repair_after;
use spool::{SegmentWriter, digest_of, gather, marks_of};

use super::Threads;
use super::disk::{Disk, failure};
use super::media_thread::Shared;
use super::tell::Teller;
use crate::clock::now;
use crate::descriptors::OF_PART;
use crate::repository::Repository;
use crate::volumes::Volume;

/// Until what the disk did not take is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// An hour. What is to be closed but is not there at all was removed, or its disk stays away: the next start looks.
const TRIES_MAX: u32 = 720;
/// Failures after which the rest of a round waits for the next: each reads what there is of a segment.
const FAILURES_MAX: u32 = 8;
/// Segments and conclusions that wait for the disk, at most: a few times the segments that can be live. What is
/// beyond is left to the next start, and logged.
const WAITING_MAX: usize = 16_384;

/// 5 minutes: some megabytes, which are read again in some milliseconds. What is longer has its end noted before.
const LONG_NS: i64 = 300_000_000_000;

/// What the sealer does.
pub(crate) enum SealJob {
    /// Seal this segment, or close what there is of it when storage failed under it.
    Seal { writer: Box<SegmentWriter>, failure: Option<Failure> },
    /// Note how a call came out.
    Conclude(Conclusion),
}

pub(crate) struct Sealer {
    pub(crate) node: NodeNumber,
    pub(crate) volume: Arc<Volume>,
    pub(crate) disk: Disk,
    /// The volume alone.
    pub(crate) repository: Repository,
    pub(crate) media: Threads,
    pub(crate) jobs: Receiver<SealJob>,
    pub(crate) reports: tokio::sync::mpsc::Sender<Report>,
    pub(crate) teller: Teller,
    pub(crate) shared: Arc<Shared>,
}

/// What the disk did not take.
struct Waiting {
    what: What,
    tries: u32,
}

enum What {
    Close { segment: SegmentId, at: ManifestPath, failure: Failure },
    Conclude(Conclusion),
}

/// What came of an attempt.
enum Attempt {
    Done,
    /// Nothing of it is there. Others may be.
    Absent,
    /// The disk does not work; it hardly would for others.
    Failed(String),
}

impl Sealer {
    /// Runs until no writer is left.
    pub(crate) fn run(self) {
        crate::priority::step_back();
        let (mut waiting, mut queued) = (VecDeque::new(), VecDeque::new());
        let mut due = Instant::now() + RETRY;
        loop {
            let job = match (queued.pop_front(), waiting.is_empty()) {
                (Some(job), _) => Ok(job),
                (None, true) => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                (None, false) => self.jobs.recv_deadline(due),
            };
            if let Ok(job) = &job {
                self.line_up(job, &mut queued);
            }
            match job {
                Ok(job) => self.carry_out(job, &mut waiting),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.retry(&mut waiting);
                    if !waiting.is_empty() {
                        tracing::error!(
                            "{} segments or calls are left for the next start to close",
                            waiting.len()
                        );
                    }
                    return;
                }
            }
            if Instant::now() >= due {
                self.retry(&mut waiting);
                due = Instant::now() + RETRY;
            }
        }
    }

    /// Takes what has come meanwhile. What is not sealed at once has its end noted, in case the process dies before; most
    /// are sealed at once.
    fn line_up(&self, first: &SealJob, queued: &mut VecDeque<SealJob>) {
        if let SealJob::Seal { writer, failure: None } = first
            && writer.record().ended.is_some_and(|ended| ended.nanos_since(writer.record().started) > LONG_NS)
        {
            self.note_end(writer);
        }
        while queued.len() < WAITING_MAX
            && let Ok(job) = self.jobs.try_recv()
        {
            if let SealJob::Seal { writer, failure: None } = &job {
                self.note_end(writer);
            }
            queued.push_back(job);
        }
    }

    /// What the disk does not take here it may take when the segment is sealed.
    fn note_end(&self, writer: &SegmentWriter) {
        if let Err(error) = self.disk.apply_all(vec![writer.ended(now())]) {
            tracing::debug!(segment = %writer.record().id, "its end is not noted: {error}");
        }
    }

    fn carry_out(&self, job: SealJob, waiting: &mut VecDeque<Waiting>) {
        match job {
            SealJob::Seal { writer, failure } => {
                let record = match failure {
                    None => self.seal(*writer, waiting),
                    Some(failure) => self.close_failed(&writer, failure, waiting),
                };
                self.media.forget(record.id);
                self.teller.segment_ended(record.id);
                self.shared.outcomes.segment(&record);
                self.shared.segments.fetch_sub(1, Ordering::Relaxed);
                // Those of its streams were given back when the media thread ended it, that of a sidecar by the writer.
                self.shared.release(OF_PART);
                let _ = self.reports.blocking_send(Report::Ended { record: Box::new(record) });
            }
            SealJob::Conclude(mut conclusion) => {
                if conclusion.state.is_gathered() {
                    self.shared.outcomes.call(conclusion.state);
                }
                let directory =
                    layout::call_directory(&conclusion.tenant, conclusion.call_started, conclusion.call);
                // A call is concluded after its segments are closed.
                let is_of_call =
                    |w: &Waiting| matches!(&w.what, What::Close { at, .. } if at.directory == directory);
                let is_early = waiting.iter().any(is_of_call);
                // What it came to before and is not written yet is not true any more.
                if let Some(earlier) = take_conclusion(waiting, conclusion.call) {
                    conclusion.from = earlier.from;
                }
                let what = What::Conclude(conclusion);
                match if is_early { Attempt::Absent } else { self.attempt(&what) } {
                    Attempt::Done => {}
                    Attempt::Absent => wait(what, "its segments are not closed", waiting),
                    Attempt::Failed(why) => wait(what, &why, waiting),
                }
            }
        }
    }

    fn seal(&self, mut writer: SegmentWriter, waiting: &mut VecDeque<Waiting>) -> SegmentRecord {
        let directory = writer.directory().to_owned();
        let digests: io::Result<Vec<_>> = writer
            .files()
            .into_iter()
            .map(|path| digest_of(&self.repository, &path).map(|d| (path, d.bytes, d.sha256)))
            .collect();
        for (path, octets, _) in digests.iter().flatten() {
            self.mark(&mut writer, path, *octets);
        }
        let mut ops = Vec::new();
        let sealed = digests.map(|digests| writer.seal(now(), &digests, &mut ops));
        match sealed.and_then(|record| self.disk.apply_all(ops).map(|()| record)) {
            Ok(record) => {
                self.teller.segment_with_copy(&record, &directory);
                record
            }
            Err(e) => {
                self.note_end(&writer);
                self.close_failed(&writer, failure(&e), waiting)
            }
        }
    }

    /// Notes where one may begin to read what is long. Without marks it is sound as well.
    fn mark(&self, writer: &mut SegmentWriter, path: &str, octets: u64) {
        match marks_of(&self.repository, path, octets) {
            Ok(marks) => writer.mark(path, marks),
            Err(error) => {
                tracing::warn!(%path, %error, "cannot be looked through: seeking in it takes longer")
            }
        }
    }

    /// The disk failed: what there is of the segment is closed as after a crash, now or later. Until then the
    /// record tells what is known.
    fn close_failed(
        &self,
        writer: &SegmentWriter,
        failure: Failure,
        waiting: &mut VecDeque<Waiting>,
    ) -> SegmentRecord {
        let known = ended_by(writer.record().clone(), failure.clone(), now().wall);
        let text = format!("a segment was given up: {}", failure.describe());
        self.teller.alarm(&known.tenant, Incident::Storage, Some(known.call), Some(known.id), text);
        match ManifestPath::parse(&writer.manifest_path()) {
            Ok(at) => match self.close(known.id, &at, &failure) {
                Ok(Some(record)) => return record,
                absent_or_failed => {
                    self.teller.segment_with_copy(&known, writer.directory());
                    let why = absent_or_failed.err().unwrap_or_else(|| "its files are not there".to_owned());
                    wait(What::Close { segment: known.id, at, failure }, &why, waiting);
                }
            },
            Err(e) => tracing::error!(segment = %known.id, "a segment cannot be closed: {e}"),
        }
        known
    }

    /// Closes a segment as after a crash, and tells of it. None: nothing of it is there.
    fn close(
        &self,
        segment: SegmentId,
        at: &ManifestPath,
        failure: &Failure,
    ) -> Result<Option<SegmentRecord>, String> {
        let repair = repair_after(now(), segment, at, self.node, failure.clone(), &self.repository);
        let repair = repair.map_err(|e| e.to_string())?;
        self.disk.apply_all(repair.ops).map_err(|e| e.to_string())?;
        if let Some(record) = &repair.record {
            self.teller.segment_with_copy(record, &repair.directory);
        }
        Ok(repair.record)
    }

    /// Tries what waits, in order, until too much of it fails; what failed waits behind the rest.
    fn retry(&self, waiting: &mut VecDeque<Waiting>) {
        // What looks like an empty volume then is the place of one.
        if !self.volume.is_here() {
            return;
        }
        let (before, mut failures) = (waiting.len(), 0);
        for _ in 0..before {
            let Some(mut w) = waiting.pop_front() else { break };
            match self.attempt(&w.what) {
                Attempt::Done => continue,
                Attempt::Absent => w.tries += 1,
                Attempt::Failed(_) => failures += 1,
            }
            if w.tries < TRIES_MAX {
                waiting.push_back(w);
            }
            if failures == FAILURES_MAX {
                return;
            }
        }
        if waiting.is_empty() && before > 0 {
            tracing::info!("what volume {} had not taken is closed", self.volume.name);
        }
    }

    fn attempt(&self, what: &What) -> Attempt {
        match what {
            What::Close { segment, at, failure } => match self.close(*segment, at, failure) {
                Ok(Some(_)) => Attempt::Done,
                Ok(None) => Attempt::Absent,
                Err(why) => Attempt::Failed(why),
            },
            What::Conclude(conclusion) => {
                match self.disk.apply_all(gather::conclude(now(), self.node, conclusion)) {
                    Ok(()) => Attempt::Done,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Attempt::Absent,
                    Err(e) => Attempt::Failed(e.to_string()),
                }
            }
        }
    }
}

/// Takes out the conclusion of a call that waits.
fn take_conclusion(waiting: &mut VecDeque<Waiting>, call: CallId) -> Option<Conclusion> {
    let is_of_it = |w: &Waiting| matches!(&w.what, What::Conclude(c) if c.call == call);
    let at = waiting.iter().position(is_of_it)?;
    match waiting.remove(at)?.what {
        What::Conclude(conclusion) => Some(conclusion),
        What::Close { .. } => None,
    }
}

/// The record of a segment that a failure ended, whatever end it was given before.
pub(crate) fn ended_by(mut record: SegmentRecord, failure: Failure, now: WallTime) -> SegmentRecord {
    let reason = EndReason::Internal(failure);
    let begun = RecordingState::begin(record.respondent);
    record.state = begun.apply(reason.transition()).unwrap_or(RecordingState::PartialInternalError);
    record.total = total::at_end(record.number, record.total.max(record.number), &reason);
    record.ended = Some(record.ended.unwrap_or(now).max(record.started));
    record.end = Some(reason);
    record
}

fn wait(what: What, why: &str, waiting: &mut VecDeque<Waiting>) {
    let room = waiting.len() < WAITING_MAX;
    let then = if room { "it is tried again" } else { "the next start closes it" };
    match &what {
        What::Close { segment, .. } => {
            tracing::error!(%segment, "a segment could not be closed: {why}; {then}")
        }
        What::Conclude(c) => tracing::error!(call = %c.call, "a call could not be concluded: {why}; {then}"),
    }
    if room {
        waiting.push_back(Waiting { what, tries: 0 });
    }
}
