//! The opener thread: gives a segment its ports, its directory and its first manifest, in that order, before the
//! request is answered. It may wait for the disk; the front has a deadline of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use model::{Failure, Mono, NodeNumber, OpenSegment, Report};
use spool::{FileOp, SegmentWriter, layout};

use super::Threads;
use super::disk::{Disk, OpenFiles, failure};
use super::live::{LiveSegment, LiveStream, STREAMS_MAX};
use super::media_thread::{MediaOrder, Shared};
use super::ports::Ports;
use super::sealer::ended_by;
use super::tell::Teller;
use crate::clock::{mono, now};
use crate::descriptors::of_segment;
use crate::pulse::Pulse;

/// How long an order may wait here: the front has refused the request then, and nobody would send to the ports.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);

/// An order and when it was given.
pub(crate) type Waiting = (Mono, Box<OpenSegment>);

pub(crate) struct Opener {
    pub(crate) node: NodeNumber,
    pub(crate) segments_max: usize,
    pub(crate) backlog_max: usize,
    /// Descriptors that segments may take together.
    pub(crate) descriptors_max: u64,
    pub(crate) disk: Disk,
    pub(crate) orders: Receiver<Waiting>,
    pub(crate) media: Threads,
    pub(crate) reports: tokio::sync::mpsc::Sender<Report>,
    pub(crate) ports: Arc<Ports>,
    pub(crate) teller: Teller,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pulse: Pulse,
}

impl Opener {
    /// Runs until nobody can order any more.
    pub(crate) fn run(self) {
        while let Ok((since, order)) = self.orders.recv() {
            self.pulse.goes_on();
            let segment = order.segment;
            let waited = mono().since(since);
            if let Err(why) = self.admit(waited).and_then(|()| self.begin(&order)) {
                let _ = self.media.send(segment, MediaOrder::NeverCame(segment));
                let _ = self.reports.blocking_send(Report::Refused { segment, why });
            }
            self.pulse.waits();
        }
    }

    /// Opens a segment and hands it to its media thread, which reports it.
    fn begin(&self, order: &OpenSegment) -> Result<(), Failure> {
        let need = of_segment(order.streams.len());
        self.shared.reserve(need, self.descriptors_max)?;
        self.shared.segments.fetch_add(1, Ordering::Relaxed);
        let begun = self.open(order).and_then(|live| self.hand_over(live));
        if begun.is_err() {
            self.shared.segments.fetch_sub(1, Ordering::Relaxed);
            self.shared.release(need);
        }
        begun
    }

    fn hand_over(&self, live: LiveSegment) -> Result<(), Failure> {
        let (record, directory) = (live.writer.record().clone(), live.writer.directory().to_owned());
        // Before it is handed over: its end must not be told before its beginning.
        self.teller.segment_with_copy(&record, &directory);
        self.media.send(live.id, MediaOrder::Add(Box::new(live))).map_err(|_| {
            // Its marker stays, so the next start closes its files.
            let why = Failure::Resources("the media thread is gone".to_owned());
            self.teller.segment_with_copy(&ended_by(record, why.clone(), now().wall), &directory);
            why
        })
    }

    fn admit(&self, waited: Duration) -> Result<(), Failure> {
        if waited > OPEN_DEADLINE {
            return Err(Failure::Resources("the order to open waited too long".to_owned()));
        }
        if self.shared.low_space.load(Ordering::Relaxed) {
            return Err(Failure::DiskFull);
        }
        if self.shared.moved.load(Ordering::Relaxed) {
            return Err(Failure::Storage("the repository's volume is not there".to_owned()));
        }
        if self.shared.segments.load(Ordering::Relaxed) >= self.segments_max {
            return Err(Failure::Resources("the limit of segments is reached".to_owned()));
        }
        if self.shared.backlog.load(Ordering::Relaxed) > self.backlog_max {
            return Err(Failure::Resources("the disk cannot keep up".to_owned()));
        }
        Ok(())
    }

    fn open(&self, order: &OpenSegment) -> Result<LiveSegment, Failure> {
        if order.streams.len() > STREAMS_MAX {
            return Err(Failure::Resources(format!("a segment may have had {STREAMS_MAX} streams")));
        }
        let now = now();
        let streams: Result<Vec<_>, _> =
            order.streams.iter().map(|s| LiveStream::bind(s, &self.ports, order.started, now.mono)).collect();
        let streams = streams?;
        let directory = layout::call_directory(&order.tenant, order.call_started, order.call);
        self.pulse.waits();
        let names = self.disk.list(&directory).map_err(|e| failure(&e))?;
        let mut writer = SegmentWriter::open_beside(order, self.node, now, &names);
        let mut ops = Vec::new();
        writer.flush(now, Vec::new(), &mut ops);
        self.create(ops).map_err(|e| failure(&e))?;
        self.pulse.goes_on();
        Ok(LiveSegment::new(order.segment, order.started, writer, streams))
    }

    /// Makes the first files, all of them or none.
    fn create(&self, ops: Vec<FileOp>) -> io::Result<()> {
        let (mut open, mut made) = (OpenFiles::default(), Vec::new());
        for op in ops {
            if let FileOp::Create { path, .. } | FileOp::Replace { path, .. } = &op {
                made.push(path.clone());
            }
            if let Err(e) = self.disk.apply(op, &mut open) {
                if e.kind() == io::ErrorKind::AlreadyExists {
                    // It is another's.
                    made.pop();
                }
                // The marker, which was made first, goes last: until then a repair finds the others by it.
                for path in made.into_iter().rev() {
                    // What cannot be removed is found and closed by the repair at the next start.
                    let _ = self.disk.apply(FileOp::Remove { path }, &mut open);
                }
                return Err(e);
            }
        }
        Ok(())
    }
}
