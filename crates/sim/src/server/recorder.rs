//! The recorder: it opens segments, keeps what comes to their ports by the real receivers and writers, and notices when its
//! disk fails or no media come.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use media::{Frame, StreamReceiver};
use model::{
    CallKey, EndReason, Failure, Now, OpenSegment, OpenStream, Order, Report, SegmentId, StreamId,
    StreamPorts, StreamRecord, WallTime, peer::Flowing,
};
use spool::gathering::Local;
use spool::{FileOp, Files, SegmentWriter, layout};

use super::closing::Closing;
use super::pausing::Gate;
use super::{Server, quick};
use crate::callers::packet_of;
use crate::core::{Core, Input};
use crate::scenario::{MS, S, Who};
use crate::world::media_address;
use crate::wrong::Wrong;

/// How long no media may come on lines that are wanted.
const MEDIA_TIMEOUT: u64 = 15 * S;

/// See the module.
pub(crate) struct Recorder {
    address: IpAddr,
    live: BTreeMap<SegmentId, Live>,
    ports: BTreeMap<u16, (SegmentId, StreamId)>,
    next_port: u16,
    /// Orders that are not carried out yet.
    orders: VecDeque<Order>,
    is_working: bool,
    /// The disk failed when it was written to last.
    pub(super) is_doubted: bool,
    pub(super) closing: Closing,
}

/// A segment that is being recorded.
pub(super) struct Live {
    pub(super) key: CallKey,
    pub(super) writer: SegmentWriter,
    pub(super) streams: Vec<Stream>,
    pub(super) failed: Option<Failure>,
    /// When a packet came last.
    heard: u64,
    is_told: bool,
}

pub(super) struct Stream {
    pub(super) open: OpenStream,
    port: u16,
    pub(super) receiver: StreamReceiver,
}

impl Recorder {
    pub(super) fn new(index: usize, first_port: u64) -> Self {
        Self {
            address: media_address(index),
            live: BTreeMap::new(),
            ports: BTreeMap::new(),
            next_port: u16::try_from(first_port * 2).unwrap_or(10_000),
            orders: VecDeque::new(),
            is_working: false,
            is_doubted: false,
            closing: Closing::default(),
        }
    }

    /// Segments that are live.
    pub(crate) fn live(&self) -> usize {
        self.live.len()
    }

    /// Segments and conclusions that the disk has not taken.
    pub(crate) fn open(&self) -> usize {
        self.closing.open()
    }

    /// Segments that a loss of power may take, in part or as a whole.
    pub(crate) fn at_risk(&self) -> impl Iterator<Item = SegmentId> {
        self.live.keys().copied().chain(self.closing.unsettled())
    }

    pub(crate) fn has(&self, segment: SegmentId) -> bool {
        self.live.contains_key(&segment)
    }

    pub(super) const fn has_failed(&self) -> bool {
        self.is_doubted
    }

    fn ports_of(&mut self, segment: SegmentId, streams: &[Stream]) -> Vec<StreamPorts> {
        let at = |port| SocketAddr::new(self.address, port);
        for stream in streams {
            self.ports.insert(stream.port, (segment, stream.open.stream));
        }
        let each = streams.iter().map(|s| StreamPorts {
            stream: s.open.stream,
            rtp: at(s.port),
            rtcp: at(s.port + 1),
            is_stuck: false,
        });
        each.collect()
    }

    fn port(&mut self, stream: StreamId, before: &[(StreamId, u16)]) -> u16 {
        if let Some((_, port)) = before.iter().find(|(of, _)| *of == stream) {
            return *port;
        }
        self.next_port = self.next_port.checked_add(2).unwrap_or(10_000);
        self.next_port
    }
}

impl Server {
    /// An order lies until its turn comes.
    pub(super) fn lie(&mut self, core: &mut Core, order: Order) {
        self.recorder.orders.push_back(order);
        self.go_on(core);
    }

    fn go_on(&mut self, core: &mut Core) {
        let recorder = &mut self.recorder;
        let Some(first) = recorder.orders.front().filter(|_| !recorder.is_working) else { return };
        recorder.is_working = true;
        let takes = match first {
            Order::Open(_) if self.disk.is_slow => core.rng.between(300 * MS, 3_000 * MS),
            Order::Open(_) => core.rng.between(quick().0, quick().1),
            _ => core.rng.between(MS / 20, MS),
        };
        core.tell_at(core.at + takes, Who::Server(self.index), Input::Work);
    }

    pub(super) fn work(&mut self, core: &mut Core, now: Now) {
        self.recorder.is_working = false;
        if let Some(order) = self.recorder.orders.pop_front() {
            self.carry_out(core, now, order);
        }
        self.go_on(core);
    }

    fn carry_out(&mut self, core: &mut Core, now: Now, order: Order) {
        match order {
            Order::Open(open) => self.open(core, now, *open),
            Order::Change { segment, streams } => self.change(core, now, segment, &streams),
            Order::Annotate { segment, data, metadata } => {
                if let Some(live) = self.recorder.live.get_mut(&segment) {
                    live.writer.annotate(now, data, metadata);
                }
            }
            Order::End { segment, at, reason, .. } if !core.is_wrong(Wrong::NeverEnds) => {
                self.end_live(core, now, segment, at, reason);
            }
            Order::End { .. } | Order::Withdraw { .. } | Order::Join(_) => {}
            Order::Pause { segment, order, by } => {
                let keeps = core.is_wrong(Wrong::KeepsPauses);
                if let Some(live) = self.recorder.live.get_mut(&segment) {
                    live.writer.pause(now, by);
                    if !keeps {
                        live.gate(now);
                    }
                    self.report(core, Report::CarriedOut { segment, order });
                }
            }
            Order::Resume { segment, order, by } => {
                if let Some(live) = self.recorder.live.get_mut(&segment) {
                    live.writer.resume(now, by);
                    live.gate(now);
                    self.report(core, Report::CarriedOut { segment, order });
                }
            }
            Order::Keys { segment, order, .. } => self.report(core, Report::CarriedOut { segment, order }),
            Order::Conclude(conclusion) if !core.is_wrong(Wrong::ForgetsConclusions) => {
                self.conclude(core, now, conclusion, 0);
            }
            Order::Conclude(_) => {}
        }
    }

    fn open(&mut self, core: &mut Core, now: Now, open: OpenSegment) {
        let segment = open.segment;
        let is_withdrawn = |o: &Order| matches!(o, Order::Withdraw { segment: of } if *of == segment);
        if self.recorder.orders.iter().any(is_withdrawn) {
            self.recorder.orders.retain(|order| of_order(order) != Some(segment));
            return self.report(core, Report::Withdrawn { segment });
        }
        let directory = layout::call_directory(&open.tenant, open.call_started, open.call);
        let names = self.disk.disk.now.list(&directory).unwrap_or_default();
        let mut writer = SegmentWriter::open_beside(&open, self.number, now, &names);
        let mut ops = Vec::new();
        writer.flush(now, Vec::new(), &mut ops);
        if let Err(why) = self.write_new(core, ops) {
            self.recorder.is_doubted = true;
            return self.report(core, Report::Refused { segment, why });
        }
        let failed = open.takes_over.clone();
        let before = failed.as_ref().and_then(|failed| self.recorder.live.get(&failed.segment));
        let before: Vec<_> =
            before.into_iter().flat_map(|l| l.streams.iter().map(|s| (s.open.stream, s.port))).collect();
        let gate = Gate::of(&writer);
        let streams = self.streams(&open.streams, open.started, &before, gate);
        let ports = self.recorder.ports_of(segment, &streams);
        let key = CallKey { call: open.call, call_started: open.call_started, tenant: open.tenant.clone() };
        let live = Live { key, writer, streams, failed: None, heard: core.at, is_told: false };
        self.recorder.live.insert(segment, live);
        self.report(core, Report::Opened { segment, ports });
        if let Some(failed) = failed {
            self.end_live(core, now, failed.segment, now.wall, failed.reason);
        }
    }

    /// Makes the first files, all of them or none.
    fn write_new(&mut self, core: &mut Core, ops: Vec<FileOp>) -> Result<(), Failure> {
        let mut made = Vec::new();
        for op in ops {
            let path = op.path().to_owned();
            let is_file = !matches!(op, FileOp::MakeDir { .. });
            if is_file {
                made.push(path);
            }
            if let Err(why) = self.write(core, &op) {
                for path in made.into_iter().rev() {
                    // What cannot be removed is closed at the next start, by its marker.
                    let _ = self.write(core, &FileOp::Remove { path });
                }
                return Err(why);
            }
        }
        Ok(())
    }

    fn streams(
        &mut self,
        open: &[OpenStream],
        started: WallTime,
        before: &[(StreamId, u16)],
        gate: Gate,
    ) -> Vec<Stream> {
        let recorder = &mut self.recorder;
        let each = open.iter().map(|open| {
            let port = recorder.port(open.stream, before);
            let mut receiver = StreamReceiver::new(&gate.effective(open), started);
            receiver.set_port(port);
            Stream { open: open.clone(), port, receiver }
        });
        each.collect()
    }

    fn change(&mut self, core: &mut Core, now: Now, segment: SegmentId, wanted: &[OpenStream]) {
        let Some(mut live) = self.recorder.live.remove(&segment) else { return };
        live.writer.change_streams(now, wanted);
        let gate = Gate::of(&live.writer);
        let mut streams = std::mem::take(&mut live.streams);
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for stream in streams.drain(..) {
            if wanted.iter().any(|w| w.stream == stream.open.stream) { &mut kept } else { &mut gone }
                .push(stream);
        }
        gone.iter().for_each(|stream| _ = self.recorder.ports.remove(&stream.port));
        for open in wanted {
            match kept.iter_mut().find(|s| s.open.stream == open.stream) {
                Some(stream) => {
                    stream.receiver.update(now.wall, &gate.effective(open));
                    stream.open = open.clone();
                }
                None => {
                    let started = live.writer.record().started;
                    kept.extend(self.streams(std::slice::from_ref(open), started, &[], gate));
                }
            }
        }
        let ports = self.recorder.ports_of(segment, &kept);
        live.streams = kept;
        self.recorder.live.insert(segment, live);
        self.report(core, Report::Opened { segment, ports });
    }

    /// A packet came.
    pub(super) fn media(&mut self, core: &mut Core, now: Now, port: u16, from: SocketAddr, packet: &Bytes) {
        let Some((segment, stream)) = self.recorder.ports.get(&port).copied() else { return };
        if core.is_wrong(Wrong::LosesPackets) && packet.get(19).is_some_and(|n| n % 7 == 0) {
            return;
        }
        let doubles = core.is_wrong(Wrong::KeepsTwice);
        let mut heard = Vec::new();
        for (id, live) in self.recorder.live.iter_mut().filter(|(id, _)| **id == segment || doubles) {
            let Live { writer, streams, failed, .. } = live;
            let to = streams.iter_mut().find(|s| s.open.stream == stream || *id != segment);
            if let (Some(to), None) = (to, &failed) {
                let mut sink = |frame: &Frame<'_>| {
                    writer.push(frame);
                    heard.extend(packet_of(frame.payload).map(|packet| (packet, *id)));
                };
                let from = if *id == segment { from } else { to.open.remote.unwrap_or(from) };
                to.receiver.packet(now.wall, from, packet, &mut sink);
                live.heard = core.at;
            }
        }
        heard.into_iter().for_each(|(packet, segment)| core.truth.keeps(packet, segment));
    }

    /// What was kept goes to the disk, of all segments.
    pub(super) fn flush(&mut self, core: &mut Core, now: Now) {
        let segments: Vec<_> = self.recorder.live.keys().copied().collect();
        let mut reports = Vec::new();
        for segment in segments {
            let Some(live) = self.recorder.live.get_mut(&segment) else { continue };
            if live.failed.is_some() {
                continue;
            }
            let mut ops = Vec::new();
            let heard = live.tick(now);
            let records = if live.writer.manifest_due(now) { live.records() } else { Vec::new() };
            live.writer.flush(now, records, &mut ops);
            let is_wanted = live.streams.iter().any(|s| s.open.flowing == Flowing::Active);
            let is_late = is_wanted && core.at.saturating_sub(live.heard) > MEDIA_TIMEOUT;
            if is_late && !std::mem::replace(&mut live.is_told, true) {
                reports.push(Report::MediaTimedOut { segment });
            }
            heard.into_iter().for_each(|packet| core.truth.keeps(packet, segment));
            if let Err(why) = self.write_all(core, &ops) {
                self.recorder.is_doubted = true;
                if let Some(live) = self.recorder.live.get_mut(&segment) {
                    live.failed = Some(why.clone());
                }
                reports.push(Report::Failing { segment, why });
            }
        }
        reports.into_iter().for_each(|report| self.report(core, report));
        self.close_open(core, now);
    }

    /// Takes a segment that ends out of the live ones, with all that its streams still had.
    pub(super) fn take_live(
        &mut self,
        core: &mut Core,
        now: Now,
        segment: SegmentId,
    ) -> Option<(Live, Vec<StreamRecord>)> {
        let mut live = self.recorder.live.remove(&segment)?;
        // Ports of a segment that is taken over from are another's by now.
        self.recorder.ports.retain(|_, (of, _)| *of != segment);
        let heard = live.finish(now);
        if live.failed.is_none() {
            heard.into_iter().for_each(|packet| core.truth.keeps(packet, segment));
        }
        let records = live.records();
        Some((live, records))
    }

    pub(super) fn write_all(&mut self, core: &mut Core, ops: &[FileOp]) -> Result<(), Failure> {
        ops.iter().try_for_each(|op| self.write(core, op))
    }

    /// Carries out an operation on the disk.
    pub(super) fn write(&mut self, core: &mut Core, op: &FileOp) -> Result<(), Failure> {
        if let FileOp::AppendLine { bytes, .. } = op {
            core.truth.noted(bytes);
        }
        let mood = self.disk.mood();
        let rng = &mut core.rng;
        self.disk.disk.apply(op, mood, &mut |n| rng.below(n)).map_err(|e| match e.kind() {
            std::io::ErrorKind::StorageFull => Failure::DiskFull,
            _ => Failure::Storage(e.to_string()),
        })
    }

    /// What gathering asks of the disk.
    pub(super) fn do_local(
        &mut self,
        core: &mut Core,
        local: &Local,
    ) -> Result<spool::gathering::Got, String> {
        if let Local::File(FileOp::AppendLine { bytes, .. }) = local {
            core.truth.noted(bytes);
        }
        let mood = self.disk.mood();
        let rng = &mut core.rng;
        self.disk.disk.carry_out(local, mood, &mut |n| rng.below(n))
    }

    fn end_live(&mut self, core: &mut Core, now: Now, segment: SegmentId, at: WallTime, reason: EndReason) {
        if let Some((live, records)) = self.take_live(core, now, segment) {
            let record = self.seal(core, now, live, records, at, reason);
            self.report(core, Report::Ended { record: Box::new(record) });
        }
    }
}

impl Live {
    /// What waited for its turn is kept; which packets that are.
    fn tick(&mut self, now: Now) -> Vec<(u32, u32)> {
        self.each(|receiver, sink| receiver.tick(now.wall, &mut |frame: &Frame<'_>| sink(frame)))
    }

    fn finish(&mut self, now: Now) -> Vec<(u32, u32)> {
        self.each(|receiver, sink| receiver.finish(now.wall, &mut |frame: &Frame<'_>| sink(frame)))
    }

    fn each(
        &mut self,
        mut does: impl FnMut(&mut StreamReceiver, &mut dyn FnMut(&Frame<'_>)),
    ) -> Vec<(u32, u32)> {
        let Self { writer, streams, .. } = self;
        let mut heard = Vec::new();
        for stream in streams {
            let mut sink = |frame: &Frame<'_>| {
                writer.push(frame);
                heard.extend(packet_of(frame.payload));
            };
            does(&mut stream.receiver, &mut sink);
        }
        heard
    }

    fn records(&self) -> Vec<StreamRecord> {
        self.streams.iter().map(|s| s.receiver.record(s.port)).collect()
    }
}

/// Of which segment an order is.
fn of_order(order: &Order) -> Option<SegmentId> {
    match order {
        Order::Open(open) => Some(open.segment),
        Order::Change { segment, .. }
        | Order::Annotate { segment, .. }
        | Order::End { segment, .. }
        | Order::Withdraw { segment }
        | Order::Pause { segment, .. }
        | Order::Resume { segment, .. }
        | Order::Keys { segment, .. } => Some(*segment),
        Order::Conclude(_) | Order::Join(_) => None,
    }
}
