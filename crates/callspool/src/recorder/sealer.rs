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
    CallId, Conclusion, Copy, CopyOf, EndReason, Failure, Incident, Location, NodeNumber, RecordingState,
    Report, SegmentId, SegmentRecord, WallTime, total,
};
use spool::layout::{self, ManifestPath};
use spool::repair::repair_after;
use spool::{SegmentWriter, digest_of, gather, marks_of};

use super::Threads;
use super::disk::{Disk, failure};
use super::kept::{GivenUp, Kept};
use super::media_thread::Shared;
use super::redo::run;
use super::replay::{Unreadable, replay_own, restore};
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
    Seal { writer: Box<SegmentWriter>, given_up: Option<GivenUp> },
    /// Note how a call came out.
    Conclude(Conclusion),
}

impl SealJob {
    /// Nobody does it: the next start will.
    pub(super) fn leave(self) {
        if let Self::Seal { given_up: Some(GivenUp { kept, .. }), .. } = self {
            kept.leave();
        }
    }
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
    Close { segment: SegmentId, at: ManifestPath, given_up: GivenUp },
    Conclude(Conclusion),
}

/// What came of an attempt.
enum Attempt {
    Done,
    /// Nothing of it is there. Others may be.
    Absent,
    /// Its files do not take what is kept for them.
    Refused,
    /// The disk does not work; it hardly would for others.
    Failed(String),
}

/// Why a segment was not closed.
#[derive(Debug, thiserror::Error)]
enum Unclosable {
    /// Nothing was changed, or some of it is in the file by now.
    #[error("what its files did not take is not taken now: {0}")]
    Kept(#[source] io::Error),
    #[error("{0}")]
    Other(String),
}

impl Sealer {
    /// Runs until no writer is left.
    pub(crate) fn run(self) {
        crate::priority::step_back();
        let mut arrivals = self.volume.arrivals();
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
                    self.retry(&mut waiting, &mut arrivals);
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
                self.retry(&mut waiting, &mut arrivals);
                due = Instant::now() + RETRY;
            }
        }
    }

    /// Takes what has come meanwhile. What is not sealed at once has its end noted, in case the process dies before; most
    /// are sealed at once.
    fn line_up(&self, first: &SealJob, queued: &mut VecDeque<SealJob>) {
        if let SealJob::Seal { writer, given_up: None } = first
            && writer.record().ended.is_some_and(|ended| ended.nanos_since(writer.record().started) > LONG_NS)
        {
            self.note_end(writer);
        }
        while queued.len() < WAITING_MAX
            && let Ok(job) = self.jobs.try_recv()
        {
            if let SealJob::Seal { writer, given_up: None } = &job {
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
            SealJob::Seal { writer, given_up } => {
                self.teller.scattered().ended(writer.directory());
                let record = match given_up {
                    None => self.seal(*writer, waiting),
                    Some(given_up) => self.close_failed(&writer, given_up, waiting),
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
                if let Some(state) = conclusion.state.filter(|state| state.is_gathered()) {
                    self.shared.outcomes.call(state);
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
                let mut what = What::Conclude(conclusion);
                match if is_early { Attempt::Absent } else { self.attempt(&mut what, 0) } {
                    Attempt::Done => {}
                    Attempt::Absent | Attempt::Refused => wait(what, "its segments are not closed", waiting),
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
                let given_up = GivenUp { failure: failure(&e), kept: Kept::new(&self.disk.unclosed) };
                self.close_failed(&writer, given_up, waiting)
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
        mut given_up: GivenUp,
        waiting: &mut VecDeque<Waiting>,
    ) -> SegmentRecord {
        let known = ended_by(writer.record().clone(), given_up.failure.clone(), now().wall);
        let text = format!("a segment was given up: {}", given_up.failure.describe());
        self.teller.alarm(&known.tenant, Incident::Storage, Some(known.call), Some(known.id), text);
        match ManifestPath::parse(&writer.manifest_path()) {
            Ok(at) => match self.close(known.id, &at, &mut given_up) {
                Ok(Some(record)) => return record,
                absent_or_failed => {
                    self.teller.segment_with_copy(&known, writer.directory());
                    let not_there = || "its files are not there".to_owned();
                    let why = absent_or_failed.err().map_or_else(not_there, |e| e.to_string());
                    wait(What::Close { segment: known.id, at, given_up }, &why, waiting);
                }
            },
            Err(e) => tracing::error!(segment = %known.id, "a segment cannot be closed: {e}"),
        }
        known
    }

    /// Closes a segment as after a crash, with what its files did not take before, and tells of it. None: nothing of it
    /// is there.
    fn close(
        &self,
        segment: SegmentId,
        at: &ManifestPath,
        given_up: &mut GivenUp,
    ) -> Result<Option<SegmentRecord>, Unclosable> {
        let GivenUp { failure, kept } = given_up;
        let alone = self.disk.unclosed.alone();
        restore(&self.disk, &self.repository, kept.records(), std::slice::from_ref(at))
            .map_err(Unclosable::Kept)?;
        let other = |e: &dyn std::error::Error| Unclosable::Other(e.to_string());
        let repair = repair_after(now(), segment, at, self.node, failure.clone(), &self.repository);
        let repair = repair.map_err(|e| other(&e))?;
        self.disk.apply_all(repair.ops).map_err(|e| other(&e))?;
        drop(alone);
        if let Some(record) = &repair.record {
            self.teller.segment_with_copy(record, &repair.directory);
        }
        Ok(repair.record)
    }

    /// Tries what waits, in order, until too much of it fails; what failed waits behind the rest.
    /// `arrivals`: how often the volume had come when this was done before.
    fn retry(&self, waiting: &mut VecDeque<Waiting>, arrivals: &mut u64) {
        // What looks like an empty volume then is the place of one.
        if !self.volume.is_here() {
            return;
        }
        let arrived = self.volume.arrivals();
        let open = if *arrivals == arrived { Vec::new() } else { open(waiting) };
        if !open.is_empty() {
            if let Err(e) = self.put_back(open) {
                tracing::error!("what volume {} had not taken is not closed: {e}", self.volume.name);
                return;
            }
            *arrivals = arrived;
        }
        let (before, mut failures) = (waiting.len(), 0);
        for _ in 0..before {
            let Some(mut w) = waiting.pop_front() else { break };
            match self.attempt(&mut w.what, w.tries) {
                Attempt::Done => continue,
                Attempt::Absent => w.tries += 1,
                Attempt::Refused => (w.tries, failures) = (w.tries + 1, failures + 1),
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

    /// A disk that was pulled may have what came in its redo and not in the segments' own files: of those that wait to be
    /// closed, and of those that were sealed and not synced.
    fn put_back(&self, mut open: Vec<ManifestPath>) -> io::Result<()> {
        let (live, marked) = (self.volume.live(), self.repository.live_markers());
        let marked = marked.map(|found| found.markers).unwrap_or_default().into_iter();
        open.extend(marked.filter(|(of, _)| !live.contains(of)).filter_map(|(_, at)| at.ok()));
        let (name, replayed) = (&self.volume.name, replay_own(&self.disk, &self.repository, &open, run())?);
        for (file, Unreadable { why, .. }) in replayed.unreadable {
            tracing::error!("the redo file {file} of volume {name} cannot be read: {why}");
        }
        for (at, why) in replayed.failed {
            tracing::error!("what the redo has of {} cannot be written to it: {why}", at.path());
        }
        if replayed.octets > 0 {
            tracing::info!(
                "volume {name}: {} octets of its redo were not in their segments",
                replayed.octets
            );
        }
        Ok(())
    }

    /// Tries it, after so many tries that count.
    fn attempt(&self, what: &mut What, tries: u32) -> Attempt {
        match what {
            What::Close { segment, at, given_up } => match self.close(*segment, at, given_up) {
                Ok(Some(_)) => Attempt::Done,
                Ok(None) => Attempt::Absent,
                Err(Unclosable::Kept(e)) if self.may_pass(&e) => Attempt::Failed(e.to_string()),
                Err(Unclosable::Kept(e)) => {
                    if given_up.kept.refused(tries) {
                        tracing::error!(%segment, "its last media are lost, because its files do not take them: {e}");
                    }
                    Attempt::Refused
                }
                Err(why) => Attempt::Failed(why.to_string()),
            },
            What::Conclude(conclusion) => match self.conclude(conclusion) {
                Ok(()) => Attempt::Done,
                Err(e) if e.kind() == io::ErrorKind::NotFound => Attempt::Absent,
                Err(e) => Attempt::Failed(e.to_string()),
            },
        }
    }

    /// Notes how a call came out. What is known here may be graver than what its proxy knows.
    fn conclude(&self, of: &Conclusion) -> io::Result<()> {
        let directory = layout::call_directory(&of.tenant, of.call_started, of.call);
        let (lines, _) = self.repository.log(&directory)?;
        let noted = gather::conclude(now(), self.node, of, &lines);
        self.disk.apply_all(noted.ops)?;
        if let Some(state) = noted.state.filter(|state| Some(*state) != of.state) {
            let at = Location::Node(self.node);
            self.teller.copy(&of.tenant, of.call, Copy { of: CopyOf::Call(of.call), at, state });
        }
        let notice = self.teller.scattered();
        match of.state {
            Some(state) if !state.is_gathered() => notice.ended(&directory),
            _ => notice.concluded(&directory),
        }
        // What a call came to is not known here: others have segments of it.
        if of.state.is_none() {
            notice.of(&directory);
        }
        Ok(())
    }

    /// Whether a failure says nothing of the file: there is no room, the volume takes no other either, or the machine lacks
    /// something.
    fn may_pass(&self, error: &io::Error) -> bool {
        let is_of_no_file = matches!(failure(error), Failure::DiskFull | Failure::Resources(_));
        is_of_no_file || self.volume.is_doubted()
    }
}

/// The segments that wait to be closed.
fn open(waiting: &VecDeque<Waiting>) -> Vec<ManifestPath> {
    let waits = waiting.iter().filter_map(|w| match &w.what {
        What::Close { at, .. } => Some(at.clone()),
        What::Conclude(_) => None,
    });
    waits.collect()
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
    match what {
        what if room => waiting.push_back(Waiting { what, tries: 0 }),
        What::Close { given_up, .. } => given_up.kept.leave(),
        What::Conclude(_) => {}
    }
}
