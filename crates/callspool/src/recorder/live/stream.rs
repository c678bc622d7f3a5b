//! A stream of a live segment: its sockets and its receiver.

use std::mem::offset_of;
use std::net::SocketAddr;
use std::time::Duration;

use media::rtp::StreamReceiver;
use media::srtp::{Closed, Srtp};
use model::peer::Flowing;
use model::{
    Dtmf, Failure, MediaKind, Mono, Now, OpenSegment, OpenStream, Protection, Route, SegmentId, StreamPorts,
    StreamRecord, WallTime,
};

use super::super::handshakes::{Door, Shaken};
use super::super::ports::{Berths, PairId, Sockets, Whose};
use super::super::quality::Signs;
use super::super::source::Datagram;
use super::IntoSegment;
use super::knocking::{Knocking, Place, door, is_other};
use super::opened::{Ending, Opened, Rested, is_given};
use super::steady::Steady;
use super::waiting::Sender;
use crate::descriptors::{RUN_OUT, is_shortage};
use crate::dtls::is_dtls;

/// A stream of a live segment. First stands what a packet asks for.
#[repr(C)]
pub(crate) struct LiveStream {
    /// What is to be done with what comes.
    way: Way,
    pub(super) receiver: StreamReceiver,
    pub(crate) open: OpenStream,
    pub(super) ports: StreamPorts,
    /// None once the stream is gone from the segment; its record stays.
    pub(super) sockets: Option<Sockets>,
    /// Opens what comes, once its keys are known.
    opened: Opened,
    /// What opened packets until signalling ended encryption, while it is tried still.
    before: Option<Ending>,
    pub(super) heard: Heard,
    /// It was told that digits cannot be looked for in its codec.
    told_unsearched: bool,
    /// Who comes to check and to shake hands.
    knocking: Box<Knocking>,
    /// What signalling wants of it; a pause of the segment is on top of that.
    pub(super) wanted: Flowing,
}

/// What follows from all else that is known of a stream for a datagram that comes to its RTP socket, so that a packet need
/// not ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is for the receiver as it is: neither encrypted nor a check.
    Straight {
        /// RTCP comes there too.
        rtcp_mux: bool,
    },
    /// It is looked into.
    Around {
        /// Time may bring something: keys that are waited for, a handshake that is ours to begin.
        is_timed: bool,
    },
}

impl Way {
    /// Until more is known.
    const UNKNOWN: Self = Self::Around { is_timed: true };
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
pub(super) struct Heard {
    /// The time of the packet that was the last one when last looked.
    packet: Option<WallTime>,
    /// When it became the last one, or when media began to be expected.
    pub(super) at: Mono,
}

impl Heard {
    /// How long nothing has come, given the last packet as it is now.
    pub(super) fn silent_for(&mut self, now: Mono, last_packet: Option<WallTime>) -> Duration {
        if last_packet != self.packet {
            *self = Self { packet: last_packet, at: now };
        }
        now.since(self.at)
    }
}

impl LiveStream {
    /// All that a segment begins with.
    pub(crate) fn bind_all(
        order: &OpenSegment,
        ports: &Berths,
        now: Mono,
        gate: Gate,
    ) -> Result<Vec<Self>, Failure> {
        let mut whose = Whose { tenant: &order.tenant, beside: Vec::new() };
        let bind = |open| {
            let bound = Self::bind(open, (&whose, ports), order.started, now, gate)?;
            whose.beside.extend(bound.pair());
            Ok(bound.masking(order.dtmf))
        };
        order.streams.iter().map(bind).collect()
    }

    pub(super) fn bind(
        open: &OpenStream,
        (whose, ports): (&Whose<'_>, &Berths),
        started: WallTime,
        now: Mono,
        gate: Gate,
    ) -> Result<Self, Failure> {
        let sockets = open_sockets(open, (whose, ports))?;
        let mut opened = open.clone();
        opened.flowing = effective(open.flowing, gate);
        let mut receiver = StreamReceiver::new(&opened, started);
        receiver.set_port(sockets.told_rtp.port());
        let stream = Self {
            way: Way::UNKNOWN,
            receiver,
            ports: ports_of(open, &sockets),
            open: opened,
            wanted: open.flowing,
            sockets: Some(sockets),
            opened: Opened::by(&open.protection),
            before: None,
            heard: Heard { packet: None, at: now },
            told_unsearched: false,
            knocking: Box::new(Knocking::new(now)),
        };
        Ok(stream.settled())
    }

    /// Finds its way anew: something has changed that it follows from.
    fn settle(&mut self) {
        self.way = self.find_way();
    }

    fn settled(mut self) -> Self {
        self.settle();
        self
    }

    fn find_way(&self) -> Way {
        let Self { sockets: Some(_), before, open, opened, .. } = self else {
            return Way::Around { is_timed: false };
        };
        match open.protection {
            Protection::None
                if before.is_none()
                    && opened.is_empty()
                    && open.ice.is_none()
                    && open.route.mark().is_none() =>
            {
                Way::Straight { rtcp_mux: open.rtcp_mux }
            }
            Protection::None | Protection::Srtp { .. } => Way::Around { is_timed: false },
            Protection::Dtls(_) | Protection::Awaited | Protection::Given(_) => {
                Way::Around { is_timed: true }
            }
        }
    }

    /// Whether something is to become of it by the time that passes, and not by what comes alone.
    #[inline]
    pub(super) fn is_restless(&self) -> bool {
        self.receiver.is_waiting() || self.way == Way::Around { is_timed: true }
    }

    /// Where that lies which a packet in order asks for.
    pub(super) const fn at_hand(&self) -> (*const u8, usize) {
        let (_, octets) = self.receiver.at_hand();
        (std::ptr::from_ref(self).cast(), offset_of!(Self, receiver) + octets)
    }

    /// The same with the sockets of a segment that failed, which are open, and all that goes with them.
    pub(super) fn inherit(heritage: Heritage, started: WallTime, now: Mono, gate: Gate) -> Self {
        let Heritage { mut open, sockets, opened, before, knocking } = heritage;
        let wanted = open.flowing;
        open.flowing = effective(wanted, gate);
        let mut receiver = StreamReceiver::new(&open, started);
        receiver.set_port(sockets.told_rtp.port());
        let ports = ports_of(&open, &sockets);
        let heard = Heard { packet: None, at: now };
        let stream = Self {
            way: Way::UNKNOWN,
            receiver,
            open,
            ports,
            sockets: Some(sockets),
            opened,
            before,
            heard,
            told_unsearched: false,
            knocking,
            wanted,
        };
        stream.settled()
    }

    /// The same with what becomes of digits that are pressed.
    pub(crate) fn masking(mut self, dtmf: Dtmf) -> Self {
        self.receiver = self.receiver.masking(dtmf);
        self
    }

    /// What the segment that takes over goes on with; none when it is closed.
    pub(super) fn hand_over(&mut self, now: Mono) -> Option<Heritage> {
        let sockets = self.sockets.take()?;
        let mut open = self.open.clone();
        open.flowing = self.wanted;
        let knocking = std::mem::replace(&mut self.knocking, Box::new(Knocking::new(now)));
        let (opened, before) = (std::mem::take(&mut self.opened), self.before.take());
        self.settle();
        Some(Heritage { open, sockets, opened, before, knocking })
    }

    /// What the next segment of the stream goes on with, when this one ends and its call does not.
    pub(super) fn rest(&mut self) -> Option<Rested> {
        let rested = self.opened.rest(&self.open.protection);
        self.settle();
        rested
    }

    /// The segment before had this.
    pub(super) fn go_on_with(&mut self, rested: Rested) {
        self.opened.go_on_with(rested, &self.open.protection);
        self.settle();
    }

    /// Protects a report before it is sent; false when it cannot be, and must not be sent.
    pub(super) fn seal(&mut self, now: WallTime, report: &mut Vec<u8>) -> bool {
        if matches!(self.open.protection, Protection::Given(_)) {
            // There is no key of ours.
            return false;
        }
        let own_port = self.sockets.as_ref().is_some_and(|s| s.rtcp.is_some());
        match self.opened.of(if own_port { Which::Rtcp } else { Which::Rtp }, &self.open.protection) {
            Some(srtp) => srtp.seal_rtcp(now, report),
            None => !self.open.protection.is_some(),
        }
    }

    /// A handshake is ours to begin: says so once.
    pub(super) fn begin_handshake(&mut self, now: Mono, segment: SegmentId) {
        if let Some(sockets) = &self.sockets {
            let stream = (&self.open, !self.opened.is_empty());
            self.knocking.begin(now, segment, stream, sockets);
        }
    }

    /// This segment has it now: who makes handshakes must know.
    pub(super) fn tell_moved(&self, segment: SegmentId) {
        if let Some(sockets) = &self.sockets {
            Knocking::moved(segment, &self.open, sockets);
        }
    }

    /// It is where signalling says now, if it has a seat: what comes from elsewhere is nobody's.
    pub(super) fn turn(&mut self, open: &OpenStream) {
        let seat = self.sockets.as_ref().and_then(|sockets| sockets.seat.as_ref());
        self.ports.is_stuck = seat.is_some_and(|seat| !seat.turn(open));
    }

    /// Whether it cannot stay where it is when it is as signalling says now: others have its port too.
    pub(super) fn must_move(&self, open: &OpenStream) -> bool {
        let seat = self.sockets.as_ref().and_then(|sockets| sockets.seat.as_ref());
        seat.is_some_and(|seat| !seat.stays(open))
    }

    /// The shared pair that it is on, if it is.
    pub(crate) fn pair(&self) -> Option<PairId> {
        self.sockets.as_ref().and_then(Sockets::pair)
    }

    /// Its sockets, while it has some.
    pub(crate) const fn sockets(&self) -> Option<&Sockets> {
        self.sockets.as_ref()
    }

    /// Whether this is one of its doors, and open.
    pub(super) fn has(&self, at: Door) -> bool {
        let is_at = |sockets: &Sockets| door(self.open.stream, at.which, sockets) == at;
        self.sockets.as_ref().is_some_and(is_at)
    }

    /// A handshake at one of its doors has something to say.
    pub(super) fn shaken(
        &mut self,
        now: Now,
        segment: SegmentId,
        which: Which,
        peer: SocketAddr,
        said: Shaken,
    ) {
        let Some(sockets) = &self.sockets else { return };
        match said {
            Shaken::Send(record) => {
                let socket = match which {
                    Which::Rtcp => sockets.rtcp.as_ref().unwrap_or(&sockets.rtp),
                    Which::Rtp => &sockets.rtp,
                };
                // What is lost is repeated.
                let _ = socket.send_to(&record, peer);
            }
            Shaken::Answered => self.knocking.answered(now.mono, peer),
            Shaken::Keys(keys, proof) => {
                if !matches!(self.open.protection, Protection::Dtls(_)) {
                    return;
                }
                let srtp = match which {
                    Which::Rtp => &mut self.opened.rtp,
                    Which::Rtcp => &mut self.opened.rtcp,
                };
                let stream = (&self.open, &self.receiver);
                let who = (peer, proof, srtp.is_some());
                if !self.knocking.takes_keys(now.wall, (segment, which), stream, who) {
                    return;
                }
                let (inbound, outbound) = *keys;
                match srtp {
                    Some(srtp) => srtp.update(&inbound, &outbound),
                    None => *srtp = Srtp::new(&inbound, &outbound).map(Box::new),
                }
                if which == Which::Rtp {
                    self.receiver.nominate(peer);
                }
                self.settle();
            }
        }
    }

    /// Takes other sockets; those that it had, if it had some.
    pub(super) fn reopen(&mut self, sockets: Sockets) -> Option<Sockets> {
        self.ports = ports_of(&self.open, &sockets);
        self.receiver.set_port(sockets.told_rtp.port());
        let before = self.sockets.replace(sockets);
        // At other ports it is another one.
        self.knocking.begun = None;
        self.settle();
        before
    }

    pub(super) fn record(&self) -> StreamRecord {
        self.receiver.record(self.ports.rtp.port())
    }

    pub(super) fn update(&mut self, now: Now, open: &OpenStream, gate: Gate) {
        self.wanted = open.flowing;
        let mut open = open.clone();
        open.flowing = effective(self.wanted, gate);
        if self.open.flowing != Flowing::Active && open.flowing == Flowing::Active {
            self.heard.at = now.mono;
        }
        match (&mut self.opened.rtp, &open.protection) {
            (Some(srtp), Protection::Srtp { inbound, outbound }) => srtp.update(inbound, outbound),
            (Some(srtp), Protection::Given(keys)) => srtp.update(keys, keys),
            (srtp, Protection::None) => {
                // What is on its way is encrypted yet: kept as it comes it would be noise.
                if let Some(srtp) = srtp.take() {
                    self.before = Some(Ending::new(srtp, now.mono));
                }
            }
            // The keys that there are hold until a handshake yields others.
            (Some(_), Protection::Dtls(_)) => {}
            (_, Protection::Dtls(_)) if matches!(self.open.protection, Protection::Dtls(_)) => {}
            (_, protection) => {
                let waiting = std::mem::take(&mut self.opened.waiting);
                self.opened = Opened { waiting, ..Opened::by(protection) };
            }
        }
        self.knocking.begun.take_if(|_| self.open.protection != open.protection);
        self.receiver.update(now.wall, &open);
        self.open = open;
        self.settle();
    }

    /// Tries what waits for keys with those that there are now.
    pub(super) fn open_waiting(&mut self, into: &mut IntoSegment<'_>) {
        let Self { opened: Opened { rtp, waiting, .. }, receiver, open, .. } = self;
        match rtp {
            Some(srtp) => waiting.open(|at, from, bytes| match receiver.open(at, from, bytes, srtp, into) {
                Err(Closed::Unauthentic) => false,
                Err(why) => {
                    receiver.closed(why);
                    true
                }
                Ok(()) => true,
            }),
            None if open.protection == Protection::Awaited => return,
            None => {}
        }
        if !is_given(&open.protection) {
            self.give_up_waiting();
        }
    }

    /// What waits for keys is not opened any more.
    pub(super) fn give_up_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.opened.waiting);
        self.receiver.given_up(waiting.len() as u64);
    }

    /// What has waited too long is given up.
    pub(super) fn expire_waiting(&mut self, now: Mono) {
        let given_up = self.opened.waiting.expire(now);
        self.receiver.given_up(given_up);
    }

    /// What came before a segment that takes over began has no place in it.
    pub(super) fn leave_waiting(&mut self, before: WallTime) {
        let given_up = self.opened.waiting.leave(before);
        self.receiver.given_up(given_up);
    }

    /// When a packet came last: what waits for keys is media too.
    pub(super) fn last_packet(&self) -> Option<WallTime> {
        self.receiver.last_packet().max(self.opened.waiting.last())
    }

    /// How it sounds.
    pub(super) fn signs(&mut self, now: Mono) -> Signs {
        let counts = self.receiver.accounting();
        let (sampled, loud) = self.receiver.listened();
        let last_packet = self.last_packet();
        Signs {
            stream: self.open.stream,
            is_expected: self.open.flowing == Flowing::Active
                && self.open.kind == MediaKind::Audio
                && self.sockets.is_some(),
            silent_for: self.heard.silent_for(now, last_packet),
            sampled,
            loud,
            received: counts.received,
            lost: counts.lost,
            unopened: counts.unauthenticated + self.opened.waiting.overdue(now) as u64,
            opens: self.opened.rtp.is_some(),
        }
    }

    /// Digits are to be masked, and in this codec they cannot be: tells it once.
    pub(super) fn tell_unsearched(&mut self, segment: SegmentId) {
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

    /// Signalling pauses it, whether or not it is given what else is wanted of it.
    pub(super) fn pause(&mut self, now: Now, gate: Gate) {
        if self.wanted == Flowing::Active {
            self.wanted = Flowing::Paused;
            self.gate(now, gate);
        }
    }

    /// The segment is paused, or goes on.
    pub(super) fn gate(&mut self, now: Now, gate: Gate) {
        let mut open = self.open.clone();
        open.flowing = self.wanted;
        self.update(now, &open, gate);
    }

    /// The stream is gone from the segment: gives back its ports.
    pub(super) fn close(&mut self, steady: Steady) -> Option<Sockets> {
        self.give_up_waiting();
        let mut gone = self.open.clone();
        gone.flowing = Flowing::Held;
        self.update(steady.now, &gone, Gate::Open);
        let sockets = self.sockets.take();
        self.settle();
        sockets
    }

    /// Takes what came to the RTP socket, or to the RTCP socket.
    #[inline]
    pub(super) fn datagram(
        &mut self,
        at: (SegmentId, Which),
        d: &Datagram<'_>,
        steady: Steady,
        into: &mut IntoSegment<'_>,
    ) {
        debug_assert_eq!(self.way, self.find_way());
        match (self.way, at.1) {
            (Way::Straight { rtcp_mux }, Which::Rtp) if !(rtcp_mux && is_rtcp(d.bytes)) => {
                self.receiver.packet(steady.at(d.at), d.from, d.bytes, into);
            }
            _ => self.look_into(at, d, steady, into),
        }
    }

    /// The same where it depends on what it is.
    fn look_into(
        &mut self,
        (segment, which): (SegmentId, Which),
        d: &Datagram<'_>,
        steady: Steady,
        into: &mut IntoSegment<'_>,
    ) {
        if self.before.as_ref().is_some_and(|before| before.is_over(steady.now.mono)) {
            self.before = None;
            self.settle();
        }
        let Self { sockets: Some(sockets), receiver, opened, before, knocking, open, .. } = self else {
            return;
        };
        let Some((at, d)) = unmark(open.route, steady.at(d.at), d) else { return receiver.stranger() };
        let d = &d;
        let socket = match (which, &sockets.rtcp) {
            (Which::Rtcp, Some(rtcp)) => rtcp,
            _ => &sockets.rtp,
        };
        let rtcp_port = matches!(which, Which::Rtcp) && sockets.rtcp.is_some();
        let door = door(open.stream, which, sockets);
        let place = Place { segment, door, socket, knocks: &sockets.knocks, open };
        let is_rtcp = rtcp_port || (open.rtcp_mux && is_rtcp(d.bytes));
        if is_other(d.bytes, open) {
            return knocking.take(steady.now.mono, &place, receiver, d);
        }
        if is_given(&open.protection) && !is_rtcp {
            if is_dtls(d.bytes) {
                // Of an offer of ours that is not answered yet: its sender says it again.
                return;
            }
            let Opened { rtp, waiting, .. } = opened;
            let came = (at, steady.now.mono);
            match rtp.as_mut().map(|srtp| receiver.open(at, d.from, d.bytes, srtp, into)) {
                Some(Ok(())) => {}
                // What is said in a pause waits nowhere.
                None | Some(Err(Closed::Unauthentic)) if open.flowing != Flowing::Active => {
                    receiver.unopened()
                }
                None | Some(Err(Closed::Unauthentic)) => match sender(receiver, d.from) {
                    None => receiver.unopened(),
                    Some(sender) => {
                        let given_up = waiting.keep(&sockets.room, came, (d.from, sender), d.bytes);
                        receiver.given_up(given_up);
                    }
                },
                Some(Err(why)) => receiver.closed(why),
            }
            return;
        }
        match (opened.of(which, &open.protection), is_rtcp) {
            (None, true) if open.protection.is_some() => receiver.unopened_rtcp(),
            (None, false) if open.protection.is_some() => receiver.unopened(),
            (None, true) => receiver.rtcp(at, d.from, d.bytes),
            (None, false) => {
                let opened = before.as_mut().map(|before| before.open(steady.now.mono, at, d.bytes));
                match opened {
                    None | Some(Err(Closed::Unauthentic | Closed::Malformed)) => {
                        receiver.packet(at, d.from, d.bytes, into);
                    }
                    Some(Ok(plain)) => receiver.packet(at, d.from, plain, into),
                    // It is encrypted, and comes a second time.
                    Some(Err(Closed::Replayed | Closed::Old)) => receiver.unopened(),
                }
            }
            (Some(srtp), true) => receiver.protected_rtcp(at, d.from, d.bytes, srtp),
            (Some(srtp), false) => receiver.protected(at, d.from, d.bytes, srtp, into),
        }
    }
}

/// When a datagram that comes by a relay came to that, and the packet in it; none: it is of somebody else.
fn unmark<'a>(route: Route, at: WallTime, d: &Datagram<'a>) -> Option<(WallTime, Datagram<'a>)> {
    let Datagram { at: system, from, bytes } = *d;
    let Some(mark) = route.mark() else { return Some((at, Datagram { at: system, from, bytes })) };
    let (bytes, age) = mark.take_off(bytes)?;
    let age = i64::try_from(age.as_nanos()).unwrap_or(0);
    Some((WallTime(at.0.saturating_sub(age)), Datagram { at: system, from, bytes }))
}

/// What a stream of a segment that failed leaves to the one that takes over.
pub(super) struct Heritage {
    open: OpenStream,
    sockets: Sockets,
    opened: Opened,
    before: Option<Ending>,
    knocking: Box<Knocking>,
}

impl Heritage {
    /// Has the stream do this; what was wanted of it before.
    pub(super) fn flow(&mut self, flowing: Flowing) -> Flowing {
        std::mem::replace(&mut self.open.flowing, flowing)
    }
}

/// Whose packet it is that no key opens; none: not the stream's.
fn sender(receiver: &StreamReceiver, from: SocketAddr) -> Option<Sender> {
    if receiver.expects(from) {
        Some(Sender::Expected)
    } else {
        receiver.last_packet().is_none().then_some(Sender::Possible)
    }
}

/// A port that cannot be had is something that ran out, whatever the system calls it.
pub(super) fn open_sockets(
    open: &OpenStream,
    (whose, ports): (&Whose<'_>, &Berths),
) -> Result<Sockets, Failure> {
    ports.open(whose, open).map_err(|e| {
        let why = if is_shortage(&e) { RUN_OUT.to_owned() } else { format!("no port: {e}") };
        Failure::Resources(why)
    })
}

fn ports_of(open: &OpenStream, sockets: &Sockets) -> StreamPorts {
    let (rtp, rtcp) = (sockets.told_rtp, sockets.told_rtcp);
    StreamPorts { stream: open.stream, rtp, rtcp, is_stuck: false }
}

/// Which socket of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    Rtp,
    Rtcp,
}

/// RTP and RTCP on one port are told apart by the second octet (RFC 5761 section 4).
fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.get(1).is_some_and(|t| (192..=223).contains(t))
}
