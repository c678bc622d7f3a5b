//! An end: one line of one leg, with the ports of ours that its peer sends to and is sent to from.
//!
//! ```text
//!  a datagram from the peer        who        keys        latch       what it tells
//!  ───────────────────────► kind ─────► rate ─────► open ─────► ours ─────► events ───► to the other ends
//!                           STUN stranger  too   unauthentic  stranger                   of its line
//!                           DTLS           many  replayed
//! ```
//!
//! Where its peer is sent to, only signalling and what comes from there say: the address that signalling names, and by
//! [`Follow`] the one that its packets come from. Whoever just sends to a port of ours hears nothing.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use model::{MediaKind, WallTime};

use super::digits::Digits;
use super::events::{Event, Events};
use super::ring::Ring;
use super::sends::{By, Sends};
use super::tee::Tee;
use super::types::Types;
use super::{EndId, OpenEnd, Remembers, Security, Telling, Which, Why, is_sendable};
use crate::rtp::{Familiar, Latch, Packet, canonical, is_rtcp, rtcp};
use crate::srtp::{Closed, Srtp};

/// Packets of audio in a second that go on: five times what packets of 5 ms bring. What floods beyond goes nowhere.
const AUDIO_MAX: u32 = 1_000;
/// The same of video and others: some 100 Mbit/s.
const VIDEO_MAX: u32 = 10_000;
/// Packets in a second of unknown senders that are tried with the keys of an end. Each costs an authentication.
const TRIED_MAX: u32 = 100;
/// A number so far ahead goes on where the source was: 2 s at 20 ms.
const CONTINUES_MAX: u16 = 100;

/// How far the address that an end is sent to follows the one that its packets come from. In the clear anybody can send
/// packets to our ports: whom they are believed decides who hears the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Follow {
    /// Not at all: address and port are those that signalling names, and nobody else is heard.
    Exactly,
    /// To another port of the host that signalling names.
    #[default]
    Host,
    /// Anywhere, by the rules of latching: for peers behind NAT, whose descriptions name addresses that nobody can send
    /// to. In the clear, who is first at the port is heard and told.
    Anywhere,
}

/// What became of what came to an end: each datagram is in one of the first ten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// RTP of its peer: it went on.
    pub rtp: u64,
    /// RTCP of its peer: it went on.
    pub rtcp: u64,
    /// STUN, for whoever answers it.
    pub stun: u64,
    /// DTLS, for whoever shakes hands.
    pub dtls: u64,
    /// None of them, or broken.
    pub malformed: u64,
    /// From somebody else.
    pub strangers: u64,
    /// More than its rate.
    pub too_many: u64,
    /// Not authentic.
    pub unauthentic: u64,
    /// It came before, or is too old to tell.
    pub replayed: u64,
    /// Its keys are awaited.
    pub unopened: u64,
    /// Sent to its peer.
    pub sent: u64,
    /// Not sent to its peer: nobody knows where it is, its keys are awaited, or they protected that number already.
    pub unsent: u64,
    /// How often its peer moved.
    pub moves: u32,
    /// Events that nobody took.
    pub untold: u64,
}

/// So many a second.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    since: WallTime,
    count: u32,
}

impl Rate {
    #[inline]
    fn allows(&mut self, now: WallTime, most: u32) -> bool {
        if now.nanos_since(self.since).unsigned_abs() >= 1_000_000_000 {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= most
    }
}

/// How what comes is opened, and what goes out protected.
pub(super) enum Guard {
    Clear,
    Awaited,
    Keys(Box<Srtp>),
}

impl Guard {
    fn new(security: &Security) -> Option<Self> {
        Some(match security {
            Security::Clear => Self::Clear,
            Security::Awaited => Self::Awaited,
            Security::Keys { inbound, outbound } => Self::Keys(Box::new(Srtp::new(inbound, outbound)?)),
        })
    }
}

/// The source that is heard.
#[derive(Clone, Copy, Debug)]
struct Heard {
    ssrc: u32,
    highest: u16,
    payload_type: u8,
}

/// A datagram.
pub(super) struct Came<'a> {
    pub(super) at: WallTime,
    pub(super) from: SocketAddr,
    pub(super) bytes: &'a [u8],
}

/// See the module.
pub(super) struct End {
    pub(super) open: OpenEnd,
    types: Types,
    guard: Guard,
    latch: Latch,
    /// Where RTP to the peer goes.
    to: Option<SocketAddr>,
    /// Where its RTCP came from.
    rtcp_from: Option<SocketAddr>,
    heard: Option<Heard>,
    rate: Rate,
    tried: Rate,
    digits: Digits,
    pub(super) ring: Option<Ring>,
    pub(super) tees: [Option<Tee>; 2],
    pub(super) counts: Counts,
}

impl End {
    /// None when a key has not the length that its suite wants.
    pub(super) fn new(open: &OpenEnd) -> Option<Self> {
        Some(Self {
            types: Types::of(&open.codecs),
            guard: Guard::new(&open.security)?,
            latch: Latch::new(open.remote),
            to: open.remote.filter(|to| is_sendable(*to)),
            rtcp_from: None,
            heard: None,
            rate: Rate::default(),
            tried: Rate::default(),
            digits: Digits::default(),
            ring: (open.remembers == Remembers::TwoSeconds).then(Ring::default),
            tees: [None, None],
            counts: Counts::default(),
            open: open.clone(),
        })
    }

    /// Signalling says otherwise. None, and nothing has changed, when a key has not the length that its suite wants.
    pub(super) fn change(&mut self, open: &OpenEnd) -> Option<()> {
        if open.security != self.open.security {
            match (&mut self.guard, &open.security) {
                (Guard::Keys(srtp), Security::Keys { inbound, outbound }) => {
                    // Both are of the right length, or neither is taken.
                    Srtp::new(inbound, outbound)?;
                    srtp.update(inbound, outbound);
                }
                (guard, security) => *guard = Guard::new(security)?,
            }
        }
        if open.remote != self.open.remote {
            self.latch.expect(open.remote);
            self.to = open.remote.filter(|to| is_sendable(*to));
        }
        if (open.remote, open.remote_rtcp, open.rtcp_mux)
            != (self.open.remote, self.open.remote_rtcp, self.open.rtcp_mux)
        {
            self.rtcp_from = None;
        }
        match open.remembers {
            Remembers::Nothing => {
                self.ring = None;
                self.tees.iter_mut().flatten().for_each(Tee::go_on);
            }
            Remembers::TwoSeconds => {
                self.ring.get_or_insert_default();
            }
        }
        self.types = Types::of(&open.codecs);
        self.open = open.clone();
        Some(())
    }

    /// Takes a datagram in: what it is in the clear is in `out` then, as RTP or RTCP, whatever port it came to.
    #[inline]
    pub(super) fn take(
        &mut self,
        which: Which,
        came: &Came<'_>,
        out: &mut Sends,
        events: &mut Events<'_>,
    ) -> Result<(Which, Range<usize>), Why> {
        match came.bytes.first() {
            Some(0..=3) => return Err(Why::Stun),
            Some(20..=63) => return Err(Why::Dtls),
            Some(128..=191) => {}
            _ => return Err(Why::Malformed),
        }
        // RTP with a marker and a payload type from 64 to 95 looks like RTCP.
        let is_rtcp =
            is_rtcp(came.bytes) && (which == Which::Rtcp || !self.types.names(came.bytes[1] & 0x7f));
        if is_rtcp {
            return Ok((Which::Rtcp, self.take_rtcp(came, out, events)?));
        }
        if which == Which::Rtcp {
            return Err(Why::Malformed);
        }
        Ok((Which::Rtp, self.take_rtp(came, out, events)?))
    }

    fn take_rtp(
        &mut self,
        came: &Came<'_>,
        out: &mut Sends,
        events: &mut Events<'_>,
    ) -> Result<Range<usize>, Why> {
        let is_known = self.admits(came.from);
        let put = match &mut self.guard {
            Guard::Awaited => return Err(Why::Unopened),
            Guard::Clear if !is_known => return Err(Why::Stranger),
            Guard::Clear => {
                allow(&mut self.rate, self.open.kind, came.at)?;
                out.put(came.bytes)
            }
            Guard::Keys(srtp) => {
                // A stranger who has the keys is none.
                if !is_known && !self.tried.allows(came.at, TRIED_MAX) {
                    return Err(Why::Stranger);
                }
                if is_known {
                    allow(&mut self.rate, self.open.kind, came.at)?;
                }
                out.put(srtp.open_rtp(came.at, came.bytes)?)
            }
        };
        let taken = self.belongs(came, out.get(put.clone()), events);
        if taken.is_err() {
            out.take_back(&put);
        }
        taken.map(|()| put)
    }

    /// Whether a packet, in the clear, is of the peer, and what it tells.
    #[inline]
    fn belongs(&mut self, came: &Came<'_>, plain: &[u8], events: &mut Events<'_>) -> Result<(), Why> {
        let packet = Packet::by_header(came.at, came.from, plain).ok_or(Why::Malformed)?;
        let before = self.latch.source();
        let (types, heard) = (&self.types, &self.heard);
        let is_ours = self.latch.accepts(&packet, || Familiar {
            payload_type: types.knows(packet.payload_type),
            continues: heard.is_some_and(|h| {
                h.ssrc == packet.ssrc
                    && (1..=CONTINUES_MAX).contains(&packet.sequence.wrapping_sub(h.highest))
            }),
        });
        if !is_ours {
            return Err(Why::Stranger);
        }
        if before != self.latch.source() {
            self.moved(before, came.from, events);
        } else if self.to.is_none() {
            self.to = Some(came.from).filter(|to| is_sendable(*to));
        }
        self.hear(&packet, events);
        Ok(())
    }

    fn moved(&mut self, before: Option<SocketAddr>, to: SocketAddr, events: &mut Events<'_>) {
        self.to = Some(to).filter(|to| is_sendable(*to));
        if before.is_some() {
            self.counts.moves = self.counts.moves.saturating_add(1);
            // Its reports come from elsewhere too, by now.
            self.rtcp_from = None;
        }
        events.push(Event::Moved { from: before, to });
    }

    #[inline]
    fn hear(&mut self, packet: &Packet<'_>, events: &mut Events<'_>) {
        let Packet { ssrc, sequence, payload_type, .. } = *packet;
        match &mut self.heard {
            Some(heard) if heard.ssrc == ssrc => {
                if packet.sequence.wrapping_sub(heard.highest) < 0x8000 {
                    heard.highest = sequence;
                }
            }
            heard => {
                let from = heard.replace(Heard { ssrc, highest: sequence, payload_type }).map(|h| h.ssrc);
                events.push(Event::Source { from, to: ssrc });
            }
        }
        if let Some(heard) = &mut self.heard
            && heard.payload_type != payload_type
            && !self.types.is_aside(payload_type)
        {
            events.push(Event::PayloadType { from: heard.payload_type, to: payload_type });
            heard.payload_type = payload_type;
        }
        if self.open.digits == Telling::Told
            && self.types.is_event(payload_type)
            && let Some(key) = self.digits.event(ssrc, packet.timestamp, packet.payload)
        {
            events.push(Event::Digit(key));
        }
    }

    fn take_rtcp(
        &mut self,
        came: &Came<'_>,
        out: &mut Sends,
        events: &mut Events<'_>,
    ) -> Result<Range<usize>, Why> {
        let is_known = self.is_host(came.from.ip());
        let put = match &mut self.guard {
            Guard::Awaited => return Err(Why::Unopened),
            Guard::Clear if !is_known => return Err(Why::Stranger),
            Guard::Clear => {
                allow(&mut self.rate, self.open.kind, came.at)?;
                out.put(came.bytes)
            }
            Guard::Keys(srtp) => {
                if !is_known && !self.tried.allows(came.at, TRIED_MAX) {
                    return Err(Why::Stranger);
                }
                if is_known {
                    allow(&mut self.rate, self.open.kind, came.at)?;
                }
                let plain = srtp.open_rtcp(came.at, came.bytes)?;
                if !rtcp::is_valid(plain) {
                    return Err(Why::Malformed);
                }
                out.put(plain)
            }
        };
        self.rtcp_from = Some(came.from);
        for ssrc in rtcp::goodbyes(out.get(put.clone())) {
            if self.heard.is_some_and(|h| h.ssrc == ssrc) {
                // Another one need not wait.
                self.latch.gone();
                events.push(Event::Goodbye { ssrc });
            }
        }
        Ok(put)
    }

    /// Whether packets in the clear from there may be of the peer at all.
    #[inline]
    fn admits(&self, from: SocketAddr) -> bool {
        if self.latch.source() == Some(from) {
            return true;
        }
        match self.open.follow {
            Follow::Anywhere => true,
            Follow::Host => self.open.remote.is_some_and(|r| host(r) == from.ip().to_canonical()),
            Follow::Exactly => self.open.remote.is_some_and(|r| canonical(r) == canonical(from)),
        }
    }

    /// Whether the peer is there, at whatever port.
    fn is_host(&self, address: IpAddr) -> bool {
        let known = [self.latch.source(), self.open.remote, self.open.remote_rtcp];
        known.iter().flatten().any(|a| host(*a) == address.to_canonical())
    }

    /// Sends what is in `out` to the peer.
    #[inline]
    pub(super) fn send(
        &mut self,
        (id, which): (EndId, Which),
        now: WallTime,
        ours: &[SocketAddr],
        octets: Range<usize>,
        out: &mut Sends,
    ) {
        let sent = self.try_send((id, which), now, ours, octets, out);
        self.counts.sent += u64::from(sent.is_some());
        self.counts.unsent += u64::from(sent.is_none());
    }

    #[inline]
    fn try_send(
        &mut self,
        (id, which): (EndId, Which),
        now: WallTime,
        ours: &[SocketAddr],
        octets: Range<usize>,
        out: &mut Sends,
    ) -> Option<()> {
        let (to, by) = match which {
            Which::Rtp => (self.to?, Which::Rtp),
            Which::Rtcp => {
                let by = if self.open.rtcp_mux { Which::Rtp } else { Which::Rtcp };
                (self.rtcp_to()?, by)
            }
        };
        // What is sent to a port of the same relay would come in again, and go round for ever.
        if ours.contains(&to) {
            return None;
        }
        let octets = match (&mut self.guard, which) {
            (Guard::Clear, _) => octets,
            (Guard::Awaited, _) => return None,
            (Guard::Keys(srtp), Which::Rtp) => out.sealed(octets, |p| srtp.seal_once(p)).ok()?,
            (Guard::Keys(srtp), Which::Rtcp) => {
                out.sealed(octets, |p| srtp.seal_rtcp(now, p).then_some(()).ok_or(())).ok()?
            }
        };
        out.forward(By::End(id, by), to, octets);
        Some(())
    }

    fn rtcp_to(&self) -> Option<SocketAddr> {
        let open = &self.open;
        let remote = open.remote.filter(|to| is_sendable(*to));
        let told = rtcp::destination(self.to, remote, open.remote_rtcp, open.rtcp_mux);
        self.rtcp_from.or(told).filter(|to| is_sendable(*to))
    }

    /// Where RTP to the peer goes.
    pub(super) const fn to(&self) -> Option<SocketAddr> {
        self.to
    }

    /// Something came, and this became of it.
    #[inline]
    pub(super) fn count(&mut self, taken: Result<Which, Why>) {
        let counts = &mut self.counts;
        let count = match taken {
            Ok(Which::Rtp) => &mut counts.rtp,
            Ok(Which::Rtcp) => &mut counts.rtcp,
            Err(Why::Stun) => &mut counts.stun,
            Err(Why::Dtls) => &mut counts.dtls,
            Err(Why::Malformed) => &mut counts.malformed,
            Err(Why::Stranger) => &mut counts.strangers,
            Err(Why::TooMany) => &mut counts.too_many,
            Err(Why::Unauthentic) => &mut counts.unauthentic,
            Err(Why::Replayed) => &mut counts.replayed,
            Err(Why::Unopened) => &mut counts.unopened,
        };
        *count += 1;
    }
}

#[inline]
fn allow(rate: &mut Rate, kind: MediaKind, now: WallTime) -> Result<(), Why> {
    let most = if kind == MediaKind::Audio { AUDIO_MAX } else { VIDEO_MAX };
    rate.allows(now, most).then_some(()).ok_or(Why::TooMany)
}

fn host(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

impl From<Closed> for Why {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Malformed => Self::Malformed,
            Closed::Replayed | Closed::Old => Self::Replayed,
            Closed::Unauthentic => Self::Unauthentic,
        }
    }
}
