//! The sealer thread: digests the files of a segment that ended, seals its manifest, and notes conclusions.
//!
//! It is apart from the writer because reading a long call again takes longer than a flush may wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;
use model::{Conclusion, Failure, NodeNumber, Report, SegmentRecord};
use spool::layout::ManifestPath;
use spool::repair::repair_after;
use spool::{SegmentWriter, digest_of, gather};

use super::disk::Disk;
use super::media_thread::Shared;
use super::tell::Teller;
use crate::clock::now;
use crate::descriptors::of_segment;
use crate::repository::Repository;

/// What the sealer does.
pub(crate) enum SealJob {
    /// Seal this segment, or close what there is of it when storage failed under it.
    Seal { writer: Box<SegmentWriter>, failure: Option<Failure> },
    /// Note how a call came out.
    Conclude(Conclusion),
}

pub(crate) struct Sealer {
    pub(crate) node: NodeNumber,
    pub(crate) disk: Disk,
    pub(crate) repository: Repository,
    pub(crate) jobs: Receiver<SealJob>,
    pub(crate) reports: tokio::sync::mpsc::Sender<Report>,
    pub(crate) teller: Teller,
    pub(crate) shared: Arc<Shared>,
}

impl Sealer {
    /// Runs until no writer is left.
    pub(crate) fn run(self) {
        while let Ok(job) = self.jobs.recv() {
            match job {
                SealJob::Seal { writer, failure } => {
                    let descriptors = of_segment(writer.record().streams.len());
                    let record = match failure {
                        None => self.seal(*writer),
                        Some(failure) => self.close_failed(&writer, failure),
                    };
                    self.shared.segments.fetch_sub(1, Ordering::Relaxed);
                    self.shared.descriptors.fetch_sub(descriptors, Ordering::Relaxed);
                    let _ = self.reports.blocking_send(Report::Ended { record: Box::new(record) });
                }
                SealJob::Conclude(conclusion) => self.conclude(&conclusion),
            }
        }
    }

    fn seal(&self, mut writer: SegmentWriter) -> SegmentRecord {
        let directory = writer.directory().to_owned();
        let (mut digests, mut problem) = (Vec::new(), None);
        for path in writer.files() {
            match digest_of(&self.repository, &path) {
                Ok(digest) => digests.push((path, digest.bytes, digest.sha256)),
                Err(e) => problem = Some(e),
            }
        }
        let mut ops = Vec::new();
        let record = writer.seal(now(), &digests, &mut ops);
        if let Err(e) = self.disk.apply_all(ops) {
            problem = Some(e);
        }
        if let Some(e) = problem {
            // The live marker stays where it is, so the next start repairs what can be repaired.
            tracing::error!(segment = %record.id, "a segment could not be sealed: {e}");
        }
        self.teller.segment_with_copy(&record, &directory);
        record
    }

    /// An append failed: what there is of the segment is closed as after a crash. When that fails too, the next
    /// start tries again, and the record tells what is known.
    fn close_failed(&self, writer: &SegmentWriter, failure: Failure) -> SegmentRecord {
        let known = writer.record().clone();
        let closed = ManifestPath::parse(&writer.manifest_path()).map_err(|e| e.to_string()).and_then(|at| {
            let repair = repair_after(now(), known.id, &at, self.node, failure, &self.repository);
            let repair = repair.map_err(|e| e.to_string())?;
            self.disk.apply_all(repair.ops).map_err(|e| e.to_string())?;
            Ok(repair.record)
        });
        let record = match closed {
            Ok(record) => record.unwrap_or(known),
            Err(e) => {
                tracing::error!(segment = %known.id, "a segment could not be closed: {e}; the next start repairs it");
                known
            }
        };
        self.teller.segment_with_copy(&record, writer.directory());
        record
    }

    fn conclude(&self, conclusion: &Conclusion) {
        if let Err(e) = self.disk.apply_all(gather::conclude(now(), self.node, conclusion)) {
            tracing::error!(call = %conclusion.call, "a conclusion could not be noted: {e}");
        }
    }
}
