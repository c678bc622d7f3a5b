//! The opener threads, some for each volume: give a segment its ports, its directory, its marker and its first manifest, in
//! that order, before the request is answered. One may hang with its disk; the placer asks another volume then.
//!
//! Those of a volume take their jobs from one queue, because an opening is mostly waiting for the file system, which
//! serves several at once; segments of one call are opened [one after the other](super::turns).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use model::{Failure, NodeNumber, OpenSegment};
use spool::{FileOp, Place, SegmentWriter, layout};

use super::Threads;
use super::disk::{Disk, OpenFiles, failure};
use super::live::{Gate, LiveSegment, LiveStream, STREAMS_MAX};
use super::media_thread::{MediaOrder, Shared};
use super::placer::{OpenJob, Tried};
use super::ports::Berths;
use super::sealer::ended_by;
use super::tell::Teller;
use super::turns::{Turn, Turns};
use crate::clock::now;
use crate::descriptors::{OF_PART, of_ports};
use crate::pulse::Pulse;
use crate::volumes::{Hand, Volume};

pub(crate) struct Opener {
    pub(crate) node: NodeNumber,
    /// Which volume it is.
    pub(crate) index: usize,
    /// Which of the volume's openers this is.
    pub(crate) number: usize,
    /// What the volume's openers are at.
    pub(crate) turns: Arc<Turns<OpenJob>>,
    pub(crate) volume: Arc<Volume>,
    /// Descriptors that segments may take together.
    pub(crate) descriptors_max: u64,
    pub(crate) disk: Disk,
    pub(crate) jobs: Receiver<OpenJob>,
    pub(crate) tried: Sender<Tried>,
    pub(crate) media: Threads,
    /// Of each media thread.
    pub(crate) ports: Vec<Berths>,
    pub(crate) teller: Teller,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pulse: Pulse,
}

/// A segment on disk, and what was made for it.
struct Made {
    live: LiveSegment,
    files: Vec<String>,
}

impl Opener {
    /// Runs until nobody can order any more.
    pub(crate) fn run(self) {
        while let Some((call, turn)) = self.turns.take(&self.jobs, |job| job.order.call) {
            let mut next = match turn {
                Turn::Now(job) => Some(job),
                Turn::Later => None,
                Turn::TooMany(job) => {
                    let why = "segments of this call wait to be opened";
                    self.answer(&job, Err(Failure::Storage(why.to_owned())));
                    None
                }
            };
            while let Some(job) = next {
                self.work(&job);
                next = self.turns.next(call);
            }
        }
    }

    fn work(&self, job: &OpenJob) {
        // Nobody waits for it any more.
        if job.claim.is_taken() {
            return;
        }
        self.pulse.goes_on();
        let result = self.volume.at_work(Hand::Opener(self.number), || self.begin(job));
        self.answer(job, result);
        self.pulse.waits();
    }

    fn answer(&self, job: &OpenJob, result: Result<(), Failure>) {
        let _ = self.tried.send(Tried { segment: job.order.segment, volume: self.index, result });
    }

    /// Opens a segment and hands it to its media thread, which reports it.
    fn begin(&self, job: &OpenJob) -> Result<(), Failure> {
        // One that takes over has the sockets of the one that failed.
        let streams = if job.order.takes_over.is_some() { &[] } else { &job.order.streams[..] };
        let need = OF_PART + of_ports(streams);
        self.shared.reserve(need, self.descriptors_max)?;
        self.shared.segments.fetch_add(1, Ordering::Relaxed);
        let begun = self.open(&job.order).and_then(|made| {
            let own = made.live.ports_held();
            self.hand_over(job, made).map(|()| own)
        });
        match begun {
            // A shared pair counts itself.
            Ok(own) => self.shared.release(need.saturating_sub(OF_PART + own)),
            Err(_) => {
                self.shared.segments.fetch_sub(1, Ordering::Relaxed);
                self.shared.release(need);
            }
        }
        begun.map(drop)
    }

    fn hand_over(&self, job: &OpenJob, made: Made) -> Result<(), Failure> {
        if !job.claim.take() {
            self.remove(made.files, made.live.writer.directory());
            return Err(Failure::Storage("it took too long to open the segment".to_owned()));
        }
        let live = made.live;
        let (record, directory) = (live.writer.record().clone(), live.writer.directory().to_owned());
        self.volume.begin(live.id);
        // Before it is handed over: its end must not be told before its beginning.
        self.teller.segment_with_copy(&record, &directory);
        self.media.send_at_once(live.id, MediaOrder::Add(Box::new(live))).map_err(|_| {
            // Its marker stays, so the next start closes its files.
            let why = Failure::Resources("the media thread is gone".to_owned());
            self.volume.end(record.id);
            self.teller.segment_with_copy(&ended_by(record, why.clone(), now().wall), &directory);
            why
        })
    }

    fn open(&self, order: &OpenSegment) -> Result<Made, Failure> {
        if order.streams.len() > STREAMS_MAX {
            return Err(Failure::Resources(format!("a segment may begin with {STREAMS_MAX} streams")));
        }
        let now = now();
        let gate = if order.pause.is_some() { Gate::Closed } else { Gate::Open };
        let streams = match order.takes_over {
            Some(_) => Vec::new(),
            None => {
                let thread = self.media.index(order.segment).and_then(|n| self.ports.get(n));
                let ports = thread.ok_or_else(|| Failure::Resources("no media thread".to_owned()))?;
                LiveStream::bind_all(order, ports, now.mono, gate)?
            }
        };
        let told = |e: io::Error| {
            let why = failure(&e);
            self.volume.failed(&why, &e);
            why
        };
        self.pulse.waits();
        // Whatever is mounted there now: nothing is written to a place that is not this volume.
        if !self.volume.is_in_its_place().map_err(told)? {
            return Err(Failure::Storage(format!("volume {} is not there", self.volume.name)));
        }
        let directory = layout::call_directory(&order.tenant, order.call_started, order.call);
        // Before the marker: a directory that nobody comes back to is empty, and one that is new needs no list.
        let names = match self.disk.make_dir(&directory).map_err(told)? {
            true => self.disk.list(&directory).map_err(told)?,
            false => Vec::new(),
        };
        let place = Place { node: self.node, volume: self.volume.name.clone() };
        let mut writer = SegmentWriter::open_beside(order, place, now, &names);
        let mut ops = Vec::new();
        writer.flush(now, Vec::new(), &mut ops);
        let files = self.create(ops, &directory).map_err(told)?;
        self.pulse.goes_on();
        Ok(Made { live: LiveSegment::new(order, now, self.index, writer, streams), files })
    }

    /// Makes the first files, all of them or none; which.
    fn create(&self, ops: Vec<FileOp>, directory: &str) -> io::Result<Vec<String>> {
        let (mut open, mut made) = (OpenFiles::default(), Vec::new());
        for op in ops {
            match &op {
                // It is there.
                FileOp::MakeDir { .. } => continue,
                FileOp::Mark { path, .. } | FileOp::Create { path, .. } | FileOp::Replace { path, .. } => {
                    made.push(path.clone());
                }
                _ => {}
            }
            if let Err(e) = self.disk.apply(op, &mut open) {
                if e.kind() == io::ErrorKind::AlreadyExists {
                    // It is another's.
                    made.pop();
                }
                self.remove(made, directory);
                return Err(e);
            }
        }
        Ok(made)
    }

    /// The marker, which was made first, goes last: until then a repair finds the others by it.
    fn remove(&self, made: Vec<String>, directory: &str) {
        let mut open = OpenFiles::default();
        for path in made.into_iter().rev() {
            let op = match layout::marked_segment(&path) {
                Some(_) => FileOp::Unmark { path },
                None => FileOp::Remove { path },
            };
            // What cannot be removed is found and closed by the repair at the next start.
            let _ = self.disk.apply(op, &mut open);
        }
        // If nothing else was in it, the call's directory goes too.
        self.disk.remove_empty(directory);
    }
}
