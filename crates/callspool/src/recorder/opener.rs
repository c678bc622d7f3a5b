//! The opener thread: gives a segment its ports, its directory and its first manifest, in that order, before the
//! request is answered. It may wait for the disk; the front has a deadline of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;
use model::{Failure, NodeNumber, OpenSegment, Report};
use spool::{FileOp, SegmentWriter, layout};

use super::Threads;
use super::disk::{Disk, OpenFiles, failure};
use super::live::{LiveSegment, LiveStream};
use super::media_thread::{MediaOrder, Shared};
use super::ports::Ports;
use super::tell::Teller;
use crate::clock::now;
use crate::descriptors::of_segment;

pub(crate) struct Opener {
    pub(crate) node: NodeNumber,
    pub(crate) segments_max: usize,
    pub(crate) backlog_max: usize,
    /// Descriptors that segments may take together.
    pub(crate) descriptors_max: u64,
    pub(crate) disk: Disk,
    pub(crate) orders: Receiver<Box<OpenSegment>>,
    pub(crate) media: Threads,
    pub(crate) reports: tokio::sync::mpsc::Sender<Report>,
    pub(crate) ports: Arc<Ports>,
    pub(crate) teller: Teller,
    pub(crate) shared: Arc<Shared>,
}

impl Opener {
    /// Runs until nobody can order any more.
    pub(crate) fn run(self) {
        while let Ok(order) = self.orders.recv() {
            let segment = order.segment;
            let need = of_segment(order.streams.len());
            let report = match self.admit(need).and_then(|()| self.open(&order).map_err(|e| failure(&e))) {
                Ok(live) => {
                    let ports = live.ports();
                    self.shared.segments.fetch_add(1, Ordering::Relaxed);
                    self.shared.descriptors.fetch_add(need, Ordering::Relaxed);
                    self.teller.segment_with_copy(live.writer.record(), live.writer.directory());
                    self.media.send(segment, MediaOrder::Add(Box::new(live)));
                    Report::Opened { segment, ports }
                }
                Err(why) => {
                    self.media.send(segment, MediaOrder::NeverCame(segment));
                    Report::Refused { segment, why }
                }
            };
            let _ = self.reports.blocking_send(report);
        }
    }

    fn admit(&self, descriptors: u64) -> Result<(), Failure> {
        if self.shared.low_space.load(Ordering::Relaxed) {
            return Err(Failure::DiskFull);
        }
        if self.shared.moved.load(Ordering::Relaxed) {
            return Err(Failure::Storage("the repository's volume is not there".to_owned()));
        }
        if self.shared.segments.load(Ordering::Relaxed) >= self.segments_max {
            return Err(Failure::Resources("the limit of segments is reached".to_owned()));
        }
        if self.shared.descriptors.load(Ordering::Relaxed) + descriptors > self.descriptors_max {
            return Err(Failure::Resources("descriptors run out; raise LimitNOFILE (ulimit -Hn)".to_owned()));
        }
        if self.shared.backlog.load(Ordering::Relaxed) > self.backlog_max {
            return Err(Failure::Resources("the disk cannot keep up".to_owned()));
        }
        Ok(())
    }

    fn open(&self, order: &OpenSegment) -> io::Result<LiveSegment> {
        let now = now();
        let streams: Result<Vec<_>, _> =
            order.streams.iter().map(|s| LiveStream::bind(s, &self.ports, order.started, now.wall)).collect();
        let streams = streams?;
        let directory = layout::call_directory(&order.tenant, order.call_started, order.call);
        let names = self.disk.list(&directory)?;
        let mut writer = SegmentWriter::open_beside(order, self.node, now, &names);
        let mut ops = Vec::new();
        writer.flush(now, Vec::new(), &mut ops);
        self.create(ops)?;
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
                for path in made {
                    // What cannot be removed is found and closed by the repair at the next start.
                    let _ = self.disk.apply(FileOp::Remove { path }, &mut open);
                }
                return Err(e);
            }
        }
        Ok(())
    }
}
