//! A live segment as a media thread holds it: its sockets, its receivers and its writer.
//!
//! Datagrams go from the socket through the stream's receiver into the segment's buffer, with no queue between.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use media::rtp::{Frame, FrameSink, StreamReceiver};
use model::alarm::About;
use model::peer::Flowing;
use model::{
    Dtmf, Failure, MediaKind, Mono, Now, OpenSegment, OpenStream, PauseSource, SegmentId, StreamPorts,
    StreamRecord, Subject, TakeOver, WallTime,
};
use spool::SegmentWriter;

use super::ingest::{Batch, Left};
use super::listening::Taps;
use super::ports::{Ports, Sockets};
use super::quality::{Of, Quality, QualityRules, Signs};
use super::tell::Teller;
use crate::descriptors::{RUN_OUT, is_shortage};

/// Batches that one socket may bring per tick: with 5 ms, over 12,000 packets a second. What floods faster waits
/// in the kernel's buffer and is lost there, so that one stream cannot starve the others.
const BATCHES_PER_TICK: usize = 4;

/// Streams that a segment may have had, closed ones too, whose records stay: a call has two, a conference some more.
/// What changes its streams beyond that gets no new ones.
pub(crate) const STREAMS_MAX: usize = 32;

/// A stream of a live segment.
pub(crate) struct LiveStream {
    pub(crate) open: OpenStream,
    ports: StreamPorts,
    /// None once the stream is gone from the segment; its record stays.
    sockets: Option<Sockets>,
    receiver: StreamReceiver,
    heard: Heard,
    /// It was told that digits cannot be looked for in its codec.
    told_unsearched: bool,
    /// What signalling wants of it; a pause of the segment is on top of that.
    wanted: Flowing,
}

/// What a stream does when signalling wants `wanted`: nothing passes in a pause.
fn effective(wanted: Flowing, gate: Gate) -> Flowing {
    match (wanted, gate) {
        (Flowing::Active, Gate::Closed) => Flowing::Paused,
        (wanted, _) => wanted,
    }
}

/// Whether media pass: closed in a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    Closed,
}

/// When a stream was last heard of. By the monotonic clock: the wall clock may be set while a call goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    /// The time of the packet that was the last one when last looked.
    packet: Option<WallTime>,
    /// When it became the last one, or when media began to be expected.
    at: Mono,
}

impl Heard {
    /// How long nothing has come, given the last packet as it is now.
    fn silent_for(&mut self, now: Mono, last_packet: Option<WallTime>) -> Duration {
        if last_packet != self.packet {
            *self = Self { packet: last_packet, at: now };
        }
        now.since(self.at)
    }
}

/// The time of a segment: it goes by the monotonic clock from the segment's beginning on, so that a wall clock that is
/// set while a call goes on makes no gap in it.
#[derive(Debug, Clone, Copy)]
struct Steady {
    now: Now,
    /// By how much that is off the system's wall clock.
    skew_ns: i64,
}

/// The longest that a datagram waits to be read, or an order to be carried out. What seems to have waited longer came
/// before the clock was set.
const WAITED_MAX: Duration = Duration::from_secs(5);

/// 10 ms: both clocks are not read at one moment. What differs by less was not set, and a segment's times are those
/// that everybody else has of the same event.
const NOT_SET_NS: i64 = 10_000_000;

impl Steady {
    /// A time of the system's wall clock, not long ago, as one of the segment.
    fn at(self, system: WallTime) -> WallTime {
        let at = WallTime(system.0.saturating_add(self.skew_ns));
        let now = self.now.wall;
        if at <= now && now.since(at) <= WAITED_MAX { at } else { now }
    }

    /// The system's wall clock.
    fn system(self) -> WallTime {
        WallTime(self.now.wall.0.saturating_sub(self.skew_ns))
    }
}

/// See the module.
pub(crate) struct LiveSegment {
    /// Both clocks when it began.
    anchor: Now,
    pub(crate) id: SegmentId,
    pub(crate) writer: SegmentWriter,
    pub(crate) streams: Vec<LiveStream>,
    /// Which of the volumes it is on.
    pub(crate) volume: usize,
    /// The segment whose sockets it takes, until it has them.
    pub(crate) takes_over: Option<TakeOver>,
    /// What it is to have then.
    wanted: Vec<OpenStream>,
    started: WallTime,
    timed_out: bool,
    has_dropped: bool,
    /// Its storage failed: what arrives waits in the kernel for the segment that takes over.
    is_suspended: bool,
    gate: Gate,
    quality: Quality,
    /// Who listens to the call.
    pub(crate) taps: Taps,
}

/// Where frames go that the receivers hand on. The pause is behind: a receiver whose stream is paused hands
/// nothing on, so whoever listens here hears no more than what is written.
struct IntoSegment<'a> {
    writer: &'a mut SegmentWriter,
    taps: &'a Taps,
    now: Mono,
}

impl FrameSink for IntoSegment<'_> {
    fn frame(&mut self, frame: &Frame<'_>) {
        self.writer.push(frame);
        if !self.taps.is_empty() {
            self.overheard(frame);
        }
    }
}

impl IntoSegment<'_> {
    /// Somebody listens.
    #[cold]
    fn overheard(&self, frame: &Frame<'_>) {
        let record = self.writer.record();
        let side = record.streams.iter().find(|s| s.id == frame.stream).map(|s| s.side).unwrap_or_default();
        self.taps.overhear(self.now, record.id, side, frame);
    }
}

impl LiveStream {
    pub(crate) fn bind(
        open: &OpenStream,
        ports: &Ports,
        started: WallTime,
        now: Mono,
        gate: Gate,
    ) -> Result<Self, Failure> {
        let sockets = open_sockets(open, ports)?;
        let mut opened = open.clone();
        opened.flowing = effective(open.flowing, gate);
        let mut receiver = StreamReceiver::new(&opened, started);
        receiver.set_port(sockets.told_rtp.port());
        Ok(Self {
            ports: ports_of(open, &sockets),
            open: opened,
            wanted: open.flowing,
            sockets: Some(sockets),
            receiver,
            heard: Heard { packet: None, at: now },
            told_unsearched: false,
        })
    }

    /// The same with sockets that are open already: those of a segment that failed.
    fn inherit(mut open: OpenStream, sockets: Sockets, started: WallTime, now: Mono, gate: Gate) -> Self {
        let wanted = open.flowing;
        open.flowing = effective(wanted, gate);
        let mut receiver = StreamReceiver::new(&open, started);
        receiver.set_port(sockets.told_rtp.port());
        let ports = ports_of(&open, &sockets);
        let heard = Heard { packet: None, at: now };
        Self { open, ports, sockets: Some(sockets), receiver, heard, told_unsearched: false, wanted }
    }

    /// The same with what becomes of digits that are pressed.
    pub(crate) fn masking(mut self, dtmf: Dtmf) -> Self {
        self.receiver = self.receiver.masking(dtmf);
        self
    }

    /// Takes other sockets, for a stream that had been closed.
    fn reopen(&mut self, sockets: Sockets) {
        self.ports = ports_of(&self.open, &sockets);
        self.receiver.set_port(sockets.told_rtp.port());
        self.sockets = Some(sockets);
    }

    fn record(&self) -> StreamRecord {
        self.receiver.record(self.ports.rtp.port())
    }

    fn update(&mut self, now: Now, open: &OpenStream, gate: Gate) {
        self.wanted = open.flowing;
        let mut open = open.clone();
        open.flowing = effective(self.wanted, gate);
        if self.open.flowing != Flowing::Active && open.flowing == Flowing::Active {
            self.heard.at = now.mono;
        }
        self.receiver.update(now.wall, &open);
        self.open = open;
    }

    /// How it sounds.
    fn signs(&mut self, now: Mono) -> Signs {
        let counts = self.receiver.accounting();
        let (sampled, loud) = self.receiver.listened();
        Signs {
            stream: self.open.stream,
            is_expected: self.open.flowing == Flowing::Active
                && self.open.kind == MediaKind::Audio
                && self.sockets.is_some(),
            silent_for: self.heard.silent_for(now, self.receiver.last_packet()),
            sampled,
            loud,
            received: counts.received,
            lost: counts.lost,
        }
    }

    /// Digits are to be masked, and in this codec they cannot be: tells it once.
    fn tell_unsearched(&mut self, segment: SegmentId) {
        if !self.told_unsearched && self.receiver.keeps_unsearched() {
            self.told_unsearched = true;
            tracing::warn!(
                %segment,
                stream = %self.open.stream,
                "tones of digits are not masked in the codec of this stream: only G.711, G.722 and L16 are looked \
                 into; have the client send one of them (telephone events are masked in any codec)"
            );
        }
    }

    /// The segment is paused, or goes on.
    fn gate(&mut self, now: Now, gate: Gate) {
        let mut open = self.open.clone();
        open.flowing = self.wanted;
        self.update(now, &open, gate);
    }

    /// The stream is gone from the segment: takes in the last that came, and closes its ports.
    fn close(&mut self, steady: Steady, batch: &mut Batch, into: &mut IntoSegment<'_>) {
        self.read_all(batch, steady, into);
        let mut gone = self.open.clone();
        gone.flowing = Flowing::Held;
        self.update(steady.now, &gone, Gate::Open);
        self.sockets = None;
    }

    fn read_all(&mut self, batch: &mut Batch, steady: Steady, into: &mut IntoSegment<'_>) {
        self.read(Which::Rtp, batch, steady, into);
        if self.sockets.as_ref().is_some_and(|s| s.rtcp.is_some()) {
            self.read(Which::Rtcp, batch, steady, into);
        }
    }

    /// Reads what is there on the RTP socket, or on the RTCP socket: how many datagrams, and whether that was all.
    fn read(
        &mut self,
        which: Which,
        batch: &mut Batch,
        steady: Steady,
        into: &mut IntoSegment<'_>,
    ) -> (u64, Left) {
        let Self { sockets: Some(sockets), receiver, open, .. } = self else { return (0, Left::Nothing) };
        let ipv6 = sockets.told_rtp.is_ipv6();
        let socket = match (which, &sockets.rtcp) {
            (Which::Rtcp, Some(rtcp)) => rtcp,
            _ => &sockets.rtp,
        };
        let rtcp_port = matches!(which, Which::Rtcp) && sockets.rtcp.is_some();
        batch.read(socket, ipv6, steady.system(), BATCHES_PER_TICK, &mut |d| {
            let at = steady.at(d.at);
            if rtcp_port || (open.rtcp_mux && is_rtcp(d.bytes)) {
                receiver.rtcp(at, d.from, d.bytes);
            } else {
                receiver.packet(at, d.from, d.bytes, into);
            }
        })
    }
}

/// Whether a segment is in a pause as its record stands.
pub(crate) fn gate_of(writer: &SegmentWriter) -> Gate {
    if writer.is_paused() { Gate::Closed } else { Gate::Open }
}

/// A port that cannot be had is something that ran out, whatever the system calls it.
fn open_sockets(open: &OpenStream, ports: &Ports) -> Result<Sockets, Failure> {
    ports.open(open.family, open.rtcp_mux).map_err(|e| {
        let why = if is_shortage(&e) { RUN_OUT.to_owned() } else { format!("no port: {e}") };
        Failure::Resources(why)
    })
}

fn ports_of(open: &OpenStream, sockets: &Sockets) -> StreamPorts {
    StreamPorts { stream: open.stream, rtp: sockets.told_rtp, rtcp: sockets.told_rtcp }
}

/// Which socket of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Rtp,
    Rtcp,
}

/// RTP and RTCP on one port are told apart by the second octet (RFC 5761 section 4).
fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.get(1).is_some_and(|t| (192..=223).contains(t))
}

impl LiveSegment {
    pub(crate) fn new(
        order: &OpenSegment,
        now: Now,
        volume: usize,
        mut writer: SegmentWriter,
        streams: Vec<LiveStream>,
    ) -> Self {
        for stream in &streams {
            writer.local_address(stream.open.stream, stream.ports.rtp);
        }
        // The writer's record says whether it begins in a pause; its streams were bound by the same.
        let gate = gate_of(&writer);
        Self {
            anchor: now,
            id: order.segment,
            writer,
            streams,
            volume,
            takes_over: order.takes_over.clone(),
            wanted: if order.takes_over.is_some() { order.streams.clone() } else { Vec::new() },
            started: order.started,
            timed_out: false,
            has_dropped: false,
            is_suspended: false,
            gate,
            taps: Taps::default(),
            quality: Quality::default(),
        }
    }

    /// The streams, and where their frames go.
    fn parts(&mut self, now: Mono) -> (&mut [LiveStream], IntoSegment<'_>) {
        (&mut self.streams, IntoSegment { writer: &mut self.writer, taps: &self.taps, now })
    }

    fn dtmf(&self) -> Dtmf {
        self.writer.record().dtmf
    }

    /// The time of the segment.
    fn steady(&self, now: Now) -> Steady {
        let wall = self.anchor.wall + now.mono.since(self.anchor.mono);
        match wall.nanos_since(now.wall) {
            noise if noise.abs() < NOT_SET_NS => Steady { now, skew_ns: 0 },
            skew_ns => Steady { now: Now { mono: now.mono, wall }, skew_ns },
        }
    }

    /// A time of the system's wall clock, not long ago, as one of the segment: it is as long as it was, whatever
    /// became of the clock.
    pub(crate) fn at(&self, now: Now, system: WallTime) -> WallTime {
        self.steady(now).at(system)
    }

    /// Takes the sockets of a segment that failed; what waits in them comes here.
    pub(crate) fn inherit(&mut self, now: Now, failed: &mut Self) {
        for stream in &mut failed.streams {
            if let Some(sockets) = stream.sockets.take() {
                let (mut open, started) = (stream.open.clone(), self.started);
                open.flowing = stream.wanted;
                let stream = LiveStream::inherit(open, sockets, started, now.mono, self.gate);
                self.streams.push(stream.masking(self.dtmf()));
            }
        }
        for stream in &self.streams {
            self.writer.local_address(stream.open.stream, stream.ports.rtp);
        }
    }

    /// The streams that it is to have once it has taken over.
    pub(crate) fn wanted(&mut self) -> Vec<OpenStream> {
        std::mem::take(&mut self.wanted)
    }

    /// Reads no more: what arrives is for the segment that takes over.
    pub(crate) fn suspend(&mut self) {
        self.is_suspended = true;
    }

    /// Nothing is kept from now on: not what waits in the sockets, nor of streams that come later. What waits for
    /// a missing packet had arrived before, and is kept. A second order only notes who gave it.
    pub(crate) fn pause(&mut self, now: Now, by: PauseSource) {
        let now = self.steady(now).now;
        if self.gate == Gate::Open {
            self.gate = Gate::Closed;
            for stream in self.streams.iter_mut().filter(|s| s.sockets.is_some()) {
                stream.gate(now, Gate::Closed);
            }
        }
        self.writer.pause(now, by);
    }

    /// What arrives from now on is kept. What waits in the sockets arrived in the pause: it is taken out first.
    pub(crate) fn resume(&mut self, now: Now, by: PauseSource, batch: &mut Batch) {
        let steady = self.steady(now);
        let now = steady.now;
        if self.gate == Gate::Closed {
            let (streams, mut into) = self.parts(now.mono);
            for stream in streams.iter_mut().filter(|s| s.sockets.is_some()) {
                stream.read_all(batch, steady, &mut into);
            }
            self.gate = Gate::Open;
            for stream in self.streams.iter_mut().filter(|s| s.sockets.is_some()) {
                stream.gate(now, Gate::Open);
            }
        }
        self.writer.resume(now, by);
    }

    /// The ports of the streams that are open.
    pub(crate) fn ports(&self) -> Vec<StreamPorts> {
        self.streams.iter().filter(|s| s.sockets.is_some()).map(|s| s.ports.clone()).collect()
    }

    /// The streams that are open.
    pub(crate) fn open_streams(&self) -> usize {
        self.streams.iter().filter(|s| s.sockets.is_some()).count()
    }

    /// How many of these streams need new ports.
    pub(crate) fn fresh_among(&self, wanted: &[OpenStream]) -> usize {
        let is_open =
            |w: &&OpenStream| self.streams.iter().any(|s| s.open.stream == w.stream && s.sockets.is_some());
        wanted.iter().filter(|w| !is_open(w)).count()
    }

    pub(crate) fn read(&mut self, stream: usize, which: Which, batch: &mut Batch, now: Now) -> (u64, Left) {
        if self.is_suspended {
            // Taking over tells of its sockets again.
            return (0, Left::Nothing);
        }
        let steady = self.steady(now);
        let (streams, mut into) = self.parts(now.mono);
        match streams.get_mut(stream) {
            Some(s) => s.read(which, batch, steady, &mut into),
            None => (0, Left::Nothing),
        }
    }

    /// Takes the streams as they are wanted now: known ones keep their ports, new ones get some, missing ones
    /// close. Nothing changes when a port cannot be had. Says which streams have sockets to watch now.
    pub(crate) fn change(
        &mut self,
        now: Now,
        wanted: &[OpenStream],
        ports: &Ports,
        batch: &mut Batch,
    ) -> Result<Vec<usize>, Failure> {
        let known = |w: &&OpenStream| self.streams.iter().any(|s| s.open.stream == w.stream);
        if self.streams.len() + wanted.iter().filter(|w| !known(w)).count() > STREAMS_MAX {
            return Err(Failure::Resources(format!("a segment may have had {STREAMS_MAX} streams")));
        }
        let (mut fresh, mut again) = (Vec::new(), Vec::new());
        for open in wanted {
            match self.streams.iter().position(|s| s.open.stream == open.stream) {
                None => {
                    let stream = LiveStream::bind(open, ports, self.started, now.mono, self.gate)?;
                    fresh.push(stream.masking(self.dtmf()));
                }
                Some(index) if self.streams[index].sockets.is_none() => {
                    again.push((index, open_sockets(open, ports)?));
                }
                Some(_) => {}
            }
        }
        let steady = self.steady(now);
        let now = steady.now;
        let gate = self.gate;
        let (streams, mut into) = self.parts(now.mono);
        for stream in streams {
            match wanted.iter().find(|w| w.stream == stream.open.stream) {
                Some(open) => stream.update(now, open, gate),
                None => stream.close(steady, batch, &mut into),
            }
        }
        let mut watch: Vec<usize> = (self.streams.len()..self.streams.len() + fresh.len()).collect();
        for (index, sockets) in again {
            self.streams[index].reopen(sockets);
            watch.push(index);
        }
        self.streams.append(&mut fresh);
        self.writer.change_streams(now, wanted);
        for stream in watch.iter().filter_map(|i| self.streams.get(*i)) {
            self.writer.local_address(stream.open.stream, stream.ports.rtp);
        }
        Ok(watch)
    }

    /// Notes that media were dropped; true the first time.
    pub(crate) fn first_drop(&mut self) -> bool {
        !std::mem::replace(&mut self.has_dropped, true)
    }

    /// Releases what waited for reordering.
    pub(crate) fn tick(&mut self, now: Now) {
        let now = self.steady(now).now;
        let id = self.id;
        let (streams, mut into) = self.parts(now.mono);
        for stream in streams {
            stream.receiver.tick(now.wall, &mut into);
            stream.tell_unsearched(id);
        }
    }

    /// Takes in the last that came.
    pub(crate) fn finish(&mut self, now: Now, batch: &mut Batch) {
        let steady = self.steady(now);
        let (streams, mut into) = self.parts(now.mono);
        for stream in streams {
            stream.read_all(batch, steady, &mut into);
            stream.receiver.finish(steady.now.wall, &mut into);
        }
    }

    pub(crate) fn records(&self) -> Vec<StreamRecord> {
        self.streams.iter().map(LiveStream::record).collect()
    }

    /// Sends receiver reports that are due.
    pub(crate) fn report(&mut self, now: Now, cname: &str, buffer: &mut Vec<u8>) {
        let now = self.steady(now).now.wall;
        for stream in &mut self.streams {
            let Some(sockets) = &stream.sockets else { continue };
            buffer.clear();
            if let Some(to) = stream.receiver.report(now, cname, buffer) {
                let socket = sockets.rtcp.as_ref().unwrap_or(&sockets.rtp);
                // A report that cannot be sent is not missed: the next one says the same and more.
                let _ = socket.send_to(buffer, to);
            }
        }
    }

    /// Sees how its streams sound, once a second, and tells what has changed.
    pub(crate) fn look(&mut self, now: Mono, rules: &QualityRules, teller: &Teller) {
        if !self.quality.is_due(now) {
            return;
        }
        let signs: Vec<Signs> = self.streams.iter_mut().map(|s| s.signs(now)).collect();
        let record = self.writer.record();
        let (call, segment) = (Some(record.call), Some(record.id));
        self.quality.look(now, rules, &signs, &mut |condition, of, seen| {
            let subject = match of {
                Of::Segment => Subject::Segment(record.id),
                Of::Stream(stream) => Subject::Stream(stream),
            };
            let about = About { tenant: record.tenant.clone(), call, segment };
            teller.observe(condition, &subject, &about, seen);
        });
    }

    /// Whether media are expected and none came for `limit`; true once.
    pub(crate) fn times_out(&mut self, now: Mono, limit: Duration) -> bool {
        if self.timed_out || limit.is_zero() {
            return false;
        }
        let (mut active, mut silent) = (0, 0);
        for stream in &mut self.streams {
            let silent_for = stream.heard.silent_for(now, stream.receiver.last_packet());
            if stream.open.flowing == Flowing::Active {
                active += 1;
                silent += u32::from(silent_for >= limit);
            }
        }
        self.timed_out = active > 0 && silent == active;
        self.timed_out
    }

    /// The sockets of a stream, to watch.
    pub(crate) fn sockets(&self, stream: usize) -> impl Iterator<Item = (Which, BorrowedFd<'_>)> {
        let sockets = self.streams.get(stream).and_then(|s| s.sockets.as_ref());
        let rtcp = sockets.and_then(|s| s.rtcp.as_ref()).map(|r| (Which::Rtcp, r.as_fd()));
        sockets.map(|s| (Which::Rtp, s.rtp.as_fd())).into_iter().chain(rtcp)
    }

    /// The SDP address of a stream, for logs.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.streams.first().and_then(|s| s.open.remote)
    }
}
