//! A live segment as a media thread holds it: its sockets, its receivers and its writer.
//!
//! Datagrams go from the socket through the stream's receiver into the segment's buffer, with no queue between.

mod aside;
mod knocking;
mod opened;
mod steady;
mod stream;
mod waiting;

use std::collections::BTreeSet;
use std::mem::offset_of;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use media::rtp::{Frame, FrameSink};
use model::alarm::About;
use model::peer::Flowing;
use model::{
    Dtmf, Failure, Mono, Now, OpenSegment, OpenStream, PauseSource, Protection, SegmentId, StreamId,
    StreamPorts, StreamRecord, Subject, TakeOver, WallTime,
};
use spool::{FileOp, SegmentWriter};

use super::Thresholds;
use super::handshakes::{Door, Shaken};
use super::listening::Taps;
use super::ports::{Berths, PairId, Seat, Sockets, Whose};
use super::quality::{Of, Quality, Signs};
use super::resting::Resting;
use super::source::{Datagram, Key};
use super::tell::Teller;
use crate::clock::unset;
pub(crate) use aside::Aside;
pub(crate) use opened::Rested;
use steady::{NOT_SET_NS, Steady};
use stream::open_sockets;
pub(crate) use stream::{Gate, LiveStream, Which};
pub(crate) use waiting::Room;

/// Streams that a leg may have had in a segment, closed ones too, whose records stay: as many as its description may have
/// lines. What changes its lines beyond that gets no new ones, and takes none from other legs.
const STREAMS_PER_LEG: usize = 16;
/// Streams that a segment may begin with: those of the sixteen legs that a call has at a time.
pub(crate) const STREAMS_MAX: usize = 16 * STREAMS_PER_LEG;

/// Which leg of its call a stream is of.
const fn leg_of(open: &OpenStream) -> u16 {
    open.slot / call::SLOTS_PER_LEG
}

/// The shared pairs that these are on.
fn pairs_of(streams: &[LiveStream]) -> Vec<PairId> {
    streams.iter().filter_map(LiveStream::pair).collect()
}

/// New streams of a leg, and sockets for those that were closed, by their place.
type NewOfLeg = (Vec<LiveStream>, Vec<(usize, Sockets)>);

/// What a change needs new: streams, and sockets for streams that were closed. None where a leg cannot have all that it
/// wants.
#[derive(Default)]
struct New {
    fresh: Vec<LiveStream>,
    again: Vec<(usize, Sockets)>,
    refused: BTreeSet<u16>,
    why: Option<Failure>,
}

/// What a change came to.
pub(crate) struct Changed {
    /// Streams that have sockets to watch now, by their place.
    pub(crate) watch: Vec<usize>,
    /// Sockets that are not the segment's any more.
    pub(crate) gone: Vec<Sockets>,
    /// Why something was not to be had.
    pub(crate) had: Result<(), Failure>,
}

/// 500 ms: how often it is looked at what nobody waits for, reports, alarms, time-outs, keys that do not come, all of
/// which are counted in seconds. With thousands of segments a look costs what it brings into the processor's caches, so a
/// flush looks at nothing but what is new.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whether a segment is looked at beside being flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looks {
    Now,
    Later,
}

/// See the module. First stands what each packet asks for.
#[repr(C)]
pub(crate) struct LiveSegment {
    /// Its storage failed: what arrives is set aside for the segment that takes over.
    is_suspended: bool,
    /// Something waits in a receiver for what is to come, or for time to pass.
    is_restless: bool,
    gate: Gate,
    /// Both clocks when it began.
    anchor: Now,
    pub(crate) streams: Vec<LiveStream>,
    /// Who listens to the call.
    pub(crate) taps: Taps,
    pub(crate) writer: SegmentWriter,
    pub(crate) id: SegmentId,
    /// Which of the volumes it is on.
    pub(crate) volume: usize,
    /// When it is looked at next.
    look_at: Mono,
    /// The segment whose sockets it takes, until it has them.
    pub(crate) takes_over: Option<TakeOver>,
    /// What it is to have then.
    wanted: Vec<OpenStream>,
    started: WallTime,
    timed_out: bool,
    has_dropped: bool,
    quality: Quality,
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

/// Whether a segment is in a pause as its record stands.
pub(crate) fn gate_of(writer: &SegmentWriter) -> Gate {
    if writer.is_paused() { Gate::Closed } else { Gate::Open }
}

impl LiveSegment {
    pub(crate) fn new(
        order: &OpenSegment,
        now: Now,
        volume: usize,
        mut writer: SegmentWriter,
        mut streams: Vec<LiveStream>,
    ) -> Self {
        // Most segments never have more.
        streams.shrink_to_fit();
        for stream in &streams {
            writer.local_address(stream.open.stream, stream.ports.rtp);
        }
        // The writer's record says whether it begins in a pause; its streams were bound by the same.
        let gate = gate_of(&writer);
        Self {
            is_suspended: false,
            is_restless: false,
            gate,
            anchor: now,
            streams,
            taps: Taps::default(),
            writer,
            id: order.segment,
            volume,
            look_at: Mono::ZERO,
            takes_over: order.takes_over.clone(),
            wanted: if order.takes_over.is_some() { order.streams.clone() } else { Vec::new() },
            started: order.started,
            timed_out: false,
            has_dropped: false,
            quality: Quality::default(),
        }
    }

    /// Something has changed: the next flush looks.
    fn disturb(&mut self) {
        self.look_at = Mono::ZERO;
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

    /// Takes the sockets of a segment that failed; what was set aside for it comes here.
    pub(crate) fn inherit(&mut self, now: Now, failed: &mut Self, aside: &mut Aside) {
        self.disturb();
        aside.move_on(failed.id, self.id);
        let mut gates = Vec::new();
        // What was not to be kept is not kept here until this segment is told so itself, which follows.
        if failed.gate == Gate::Closed {
            self.gate = Gate::Closed;
        }
        for stream in &mut failed.streams {
            stream.leave_waiting(self.started);
            let Some(mut heritage) = stream.hand_over(now.mono) else { continue };
            // What was set aside came while it was recorded.
            gates.push(heritage.flow(Flowing::Active));
            let stream = LiveStream::inherit(heritage, self.started, now.mono, Gate::Open);
            stream.tell_moved(self.id);
            self.streams.push(stream.masking(self.dtmf()));
        }
        self.catch_up(now, aside, |_| true);
        let (steady, gate) = (self.steady(now), self.gate);
        let (streams, mut into) = self.parts(now.mono);
        for (stream, wanted) in streams.iter_mut().zip(gates) {
            stream.wanted = wanted;
            stream.gate(steady.now, gate);
            // Keys may have come meanwhile.
            stream.open_waiting(&mut into);
        }
        for stream in &self.streams {
            self.writer.local_address(stream.open.stream, stream.ports.rtp);
        }
    }

    /// Goes on with what opened packets in the segments before.
    pub(crate) fn go_on_with(&mut self, resting: &Resting) {
        self.disturb();
        for stream in &mut self.streams {
            if let Some(rested) = resting.take(stream.open.stream) {
                stream.go_on_with(rested);
            }
        }
    }

    /// Leaves what opened packets to the segments that come.
    pub(crate) fn rest(&mut self, now: Mono, resting: &Resting) {
        let call = self.writer.record().call;
        for stream in &mut self.streams {
            if let Some(rested) = stream.rest() {
                resting.put(now, call, stream.open.stream, rested);
            }
        }
    }

    /// The streams that it is to have once it has taken over. What was paused meanwhile stays so until this segment is
    /// told otherwise.
    pub(crate) fn wanted(&mut self) -> Vec<OpenStream> {
        let mut wanted = std::mem::take(&mut self.wanted);
        let is_paused = |w: &OpenStream| {
            self.streams.iter().any(|s| s.open.stream == w.stream && s.wanted == Flowing::Paused)
        };
        for open in wanted.iter_mut().filter(|w| w.flowing == Flowing::Active && is_paused(w)) {
            open.flowing = Flowing::Paused;
        }
        wanted
    }

    /// Takes nothing more: what arrives is for the segment that takes over.
    pub(crate) fn suspend(&mut self) {
        self.is_suspended = true;
    }

    /// Nothing is kept from now on: not what has come and was not taken, nor of streams that come later. What waits for
    /// a missing packet had arrived before, and is kept. A second order only notes who gave it.
    pub(crate) fn pause(&mut self, now: Now, by: PauseSource) {
        self.disturb();
        let now = self.steady(now).now;
        if self.gate == Gate::Open {
            self.gate = Gate::Closed;
            for stream in self.streams.iter_mut().filter(|s| s.sockets.is_some()) {
                stream.gate(now, Gate::Closed);
            }
        }
        self.writer.pause(now, by);
    }

    /// What arrives from now on is kept. What came in the pause has been taken, or is known by the time when it came.
    pub(crate) fn resume(&mut self, now: Now, by: PauseSource) {
        self.disturb();
        let now = self.steady(now).now;
        if self.gate == Gate::Closed {
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

    /// Descriptors that its own ports take.
    pub(crate) fn ports_held(&self) -> u64 {
        let own =
            self.streams.iter().filter_map(LiveStream::sockets).filter(|sockets| sockets.seat.is_none());
        own.map(|sockets| sockets.each().count() as u64).sum()
    }

    /// Those of these streams that need new ports, or may need them.
    pub(crate) fn fresh_among<'a>(&self, wanted: &'a [OpenStream]) -> impl Iterator<Item = &'a OpenStream> {
        let has_all = |w: &&OpenStream| {
            let stream = self.streams.iter().find(|s| s.open.stream == w.stream);
            stream.and_then(LiveStream::sockets).is_some_and(|s| s.seat.as_ref().is_none_or(|s| s.covers(w)))
        };
        wanted.iter().filter(move |w| !has_all(w))
    }

    /// Has fetched what a packet of it asks for first. It is not looked at itself: that would be waiting for it.
    #[inline]
    pub(crate) fn fetch(&self) {
        let octets = offset_of!(Self, writer) + SegmentWriter::AT_HAND;
        rings::fetch(std::ptr::from_ref(self).cast(), octets);
    }

    /// Has fetched what that points to: what a flush asks for, and a packet of this stream, if there is one. To be
    /// called a little later.
    #[inline]
    pub(crate) fn fetch_deeper(&self, stream: Option<usize>) {
        if let Some(stream) = stream.and_then(|stream| self.streams.get(stream)) {
            let (from, octets) = stream.at_hand();
            rings::fetch(from, octets);
        }
        self.writer.at_hand(&mut rings::fetch);
    }

    /// Takes what came to one of its sockets; false when it had to be set aside, and there was no room. What is not kept
    /// is set aside neither.
    pub(crate) fn take(&mut self, now: Now, key: Key, datagram: &Datagram<'_>, aside: &mut Aside) -> bool {
        if self.is_suspended
            && let Some(stream) = self.streams.get_mut(key.stream())
            && stream.open.flowing == Flowing::Active
        {
            // It is heard all the same.
            stream.heard.at = now.mono;
            return aside.keep(self.id, (stream.open.stream, key.which()), datagram);
        }
        let (steady, segment) = (self.steady(now), self.id);
        let (streams, mut into) = self.parts(now.mono);
        if let Some(stream) = streams.get_mut(key.stream()) {
            stream.datagram((segment, key.which()), datagram, steady, &mut into);
            self.is_restless |= stream.is_restless();
        }
        true
    }

    /// Takes what was set aside for these streams.
    fn catch_up(&mut self, now: Now, aside: &mut Aside, wanted: impl Fn(StreamId) -> bool) {
        let (steady, id) = (self.steady(now), self.id);
        let (streams, mut into) = self.parts(now.mono);
        aside.take(id, wanted, |of, which, datagram| {
            if let Some(stream) = streams.iter_mut().find(|s| s.open.stream == of) {
                stream.datagram((id, which), &datagram, steady, &mut into);
            }
        });
        self.disturb();
    }

    /// Takes the streams as they are wanted now: known ones keep their ports, new ones get some, missing ones close. A leg
    /// that cannot have all that is new of it gets nothing new, and loses nothing; what it has goes on as it is wanted, and
    /// the other legs are served all the same. What came until now must have been taken: it was sent by what held before,
    /// or arrived in a pause.
    pub(crate) fn change(
        &mut self,
        now: Now,
        wanted: &[OpenStream],
        ports: Result<&Berths, Failure>,
        aside: &mut Aside,
    ) -> Changed {
        self.disturb();
        self.pause_streams(now, wanted);
        let New { mut fresh, again, refused, why } = self.bind_new(now, wanted, &ports);
        let gate = self.gate;
        // Of a stream that nobody takes over.
        self.catch_up(now, aside, |stream| wanted.iter().all(|w| w.stream != stream));
        let is_suspended = self.is_suspended;
        let steady = self.steady(now);
        let now = steady.now;
        let stays: BTreeSet<u16> = wanted.iter().map(leg_of).filter(|leg| refused.contains(leg)).collect();
        let (mut has, mut gone) = (Vec::new(), Vec::new());
        let (streams, mut into) = self.parts(now.mono);
        for stream in streams {
            match wanted.iter().find(|w| w.stream == stream.open.stream) {
                Some(open) => {
                    stream.update(now, open, gate);
                    stream.turn(open);
                    if !is_suspended {
                        stream.open_waiting(&mut into);
                    }
                    has.push(open.clone());
                }
                None if stays.contains(&leg_of(&stream.open)) => has.push(stream.open.clone()),
                None => gone.extend(stream.close(steady)),
            }
        }
        let mut watch: Vec<usize> = (self.streams.len()..self.streams.len() + fresh.len()).collect();
        for (index, sockets) in again {
            gone.extend(self.streams[index].reopen(sockets));
            watch.push(index);
        }
        has.extend(fresh.iter().filter_map(|f| wanted.iter().find(|w| w.stream == f.open.stream)).cloned());
        self.streams.append(&mut fresh);
        self.writer.change_streams(now, &has);
        for stream in watch.iter().filter_map(|i| self.streams.get(*i)) {
            self.writer.local_address(stream.open.stream, stream.ports.rtp);
        }
        // Where the sender of one on a shared port may be has changed.
        let is_seated = |index: &usize| self.seat(*index).is_some() && !watch.contains(index);
        let seated: Vec<usize> = (0..self.streams.len()).filter(is_seated).collect();
        watch.extend(seated);
        Changed { watch, gone, had: why.map_or(Ok(()), Err) }
    }

    /// Gets what is new, leg by leg.
    fn bind_new(&self, now: Now, wanted: &[OpenStream], ports: &Result<&Berths, Failure>) -> New {
        let mut new = New::default();
        let legs: BTreeSet<u16> = wanted.iter().map(leg_of).collect();
        let record = self.writer.record();
        let mut whose = Whose { tenant: &record.tenant, beside: pairs_of(&self.streams) };
        for leg in legs {
            match self.bind_new_of(now, (leg, &mut whose), wanted, ports) {
                Ok((fresh, again)) => {
                    new.fresh.extend(fresh);
                    new.again.extend(again);
                }
                Err(why) => {
                    new.refused.insert(leg);
                    new.why.get_or_insert(why);
                }
            }
        }
        new
    }

    fn bind_new_of(
        &self,
        now: Now,
        (leg, whose): (u16, &mut Whose<'_>),
        wanted: &[OpenStream],
        ports: &Result<&Berths, Failure>,
    ) -> Result<NewOfLeg, Failure> {
        let (mut fresh, mut again) = (Vec::new(), Vec::new());
        let had = self.streams.iter().filter(|s| leg_of(&s.open) == leg).count();
        for open in wanted.iter().filter(|w| leg_of(w) == leg) {
            match self.streams.iter().position(|s| s.open.stream == open.stream) {
                None if had + fresh.len() >= STREAMS_PER_LEG => {
                    let why = format!("a dialog may have had {STREAMS_PER_LEG} streams in a segment");
                    return Err(Failure::Resources(why));
                }
                None => {
                    let ports = ports.as_ref().map_err(Clone::clone)?;
                    let at = (&*whose, *ports);
                    let stream = LiveStream::bind(open, at, self.started, now.mono, self.gate)?;
                    whose.beside.extend(stream.pair());
                    fresh.push(stream.masking(self.dtmf()));
                }
                Some(index)
                    if self.streams[index].sockets.is_none() || self.streams[index].must_move(open) =>
                {
                    let ports = ports.as_ref().map_err(Clone::clone)?;
                    let sockets = open_sockets(open, (&*whose, *ports))?;
                    whose.beside.extend(sockets.pair());
                    again.push((index, sockets));
                }
                Some(_) => {}
            }
        }
        Ok((fresh, again))
    }

    /// Nothing is kept any more of the streams that are wanted paused, whatever becomes of the rest of the change.
    pub(crate) fn pause_streams(&mut self, now: Now, wanted: &[OpenStream]) {
        self.disturb();
        let now = self.steady(now).now;
        let gate = self.gate;
        for stream in &mut self.streams {
            let paused = wanted.iter().find(|w| w.stream == stream.open.stream);
            if paused.is_some_and(|w| w.flowing == Flowing::Paused) {
                stream.pause(now, gate);
            }
        }
    }

    /// Notes that media were dropped; true the first time.
    pub(crate) fn first_drop(&mut self) -> bool {
        !std::mem::replace(&mut self.has_dropped, true)
    }

    /// Releases what waited for reordering, before a flush. Whether it is time to look at the rest too.
    pub(crate) fn tick(&mut self, now: Now) -> Looks {
        let looks = if now.mono >= self.look_at { Looks::Now } else { Looks::Later };
        // Streams that bring packets in order are not touched, but for their records.
        if looks == Looks::Later && !self.is_restless && !self.writer.manifest_due(now) {
            return looks;
        }
        let now = self.steady(now).now;
        let id = self.id;
        let (streams, mut into) = self.parts(now.mono);
        let mut is_restless = false;
        for stream in streams {
            stream.receiver.tick(now.wall, &mut into);
            stream.expire_waiting(now.mono);
            stream.tell_unsearched(id);
            stream.begin_handshake(now.mono, id);
            is_restless |= stream.is_restless();
        }
        self.is_restless = is_restless;
        if looks == Looks::Now {
            // From when it was due, so that looks do not fall behind by a flush each time.
            let next = self.look_at + LOOK_EVERY;
            self.look_at = if next > now.mono { next } else { now.mono + LOOK_EVERY };
        }
        looks
    }

    /// Moves out what is to be written. A buffer that is filled is followed by one of those to spare.
    pub(crate) fn flush(&mut self, now: Now, spare: &mut Vec<Vec<u8>>, ops: &mut Vec<FileOp>) {
        if self.writer.wants_buffer()
            && let Some(buffer) = spare.pop()
        {
            self.writer.recycle(buffer);
        }
        let records = if self.writer.manifest_due(now) { self.records() } else { Vec::new() };
        self.writer.flush(now, records, ops);
    }

    /// Somebody gave keys of a stream: what waits for them is opened.
    pub(crate) fn keyed(&mut self, now: Now, of: StreamId, protection: Protection) {
        self.disturb();
        let (now, gate, is_suspended) = (self.steady(now).now, self.gate, self.is_suspended);
        let (streams, mut into) = self.parts(now.mono);
        let Some(stream) = streams.iter_mut().find(|s| s.open.stream == of && s.sockets.is_some()) else {
            return;
        };
        let open = OpenStream { protection, flowing: stream.wanted, ..stream.open.clone() };
        stream.update(now, &open, gate);
        if !is_suspended {
            stream.open_waiting(&mut into);
        }
        let is_open = |s: &&LiveStream| s.sockets.is_some();
        let all: Vec<OpenStream> = self.streams.iter().filter(is_open).map(|s| s.open.clone()).collect();
        self.writer.change_streams(now, &all);
    }

    /// Whether it has this door.
    pub(crate) fn has(&self, door: Door) -> bool {
        self.streams.iter().any(|s| s.has(door))
    }

    /// A handshake at one of its doors has something to say.
    pub(crate) fn shaken(&mut self, now: Now, door: Door, peer: SocketAddr, said: Shaken) {
        self.disturb();
        let now = self.steady(now).now;
        let id = self.id;
        if let Some(stream) = self.streams.iter_mut().find(|s| s.has(door)) {
            stream.shaken(now, id, door.which, peer, said);
        }
    }

    /// Takes in the last that came.
    pub(crate) fn finish(&mut self, now: Now, aside: &mut Aside) {
        self.catch_up(now, aside, |_| true);
        let steady = self.steady(now);
        let (streams, mut into) = self.parts(now.mono);
        for stream in streams {
            stream.give_up_waiting();
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
            buffer.clear();
            let to = if stream.sockets.is_some() { stream.receiver.report(now, cname, buffer) } else { None };
            // By a clock that is not set: a key of ours may be that of the segment before a hold, too.
            let to = to.filter(|_| stream.seal(unset(), buffer));
            if let (Some(to), Some(sockets)) = (to, &stream.sockets) {
                let socket = sockets.rtcp.as_ref().unwrap_or(&sockets.rtp);
                // A report that cannot be sent is not missed: the next one says the same and more.
                let _ = socket.send_to(buffer, to);
            }
        }
    }

    /// Sees how its streams sound, once a second, and tells what has changed.
    pub(crate) fn look(&mut self, now: Mono, thresholds: &Thresholds, teller: &Teller) {
        if !self.quality.is_due(now) {
            return;
        }
        let signs: Vec<Signs> = self.streams.iter_mut().map(|s| s.signs(now)).collect();
        let record = self.writer.record();
        let (call, segment) = (Some(record.call), Some(record.id));
        self.quality.look(now, &thresholds.get().quality, &signs, &mut |condition, of, seen| {
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
            let last_packet = stream.last_packet();
            let silent_for = stream.heard.silent_for(now, last_packet);
            if stream.open.flowing == Flowing::Active {
                active += 1;
                silent += u32::from(silent_for >= limit);
            }
        }
        self.timed_out = active > 0 && silent == active;
        self.timed_out
    }

    /// The seat of a stream on a shared port, if it has one.
    pub(crate) fn seat(&self, stream: usize) -> Option<&Seat> {
        self.streams.get(stream)?.sockets()?.seat.as_deref()
    }

    /// The sockets of a stream, to watch.
    pub(crate) fn sockets(&self, stream: usize) -> impl Iterator<Item = (Which, &Arc<UdpSocket>)> {
        self.streams.get(stream).and_then(|s| s.sockets.as_ref()).into_iter().flat_map(Sockets::each)
    }
}

#[cfg(test)]
mod tests;
