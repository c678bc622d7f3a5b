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

use model::{Keys, MediaKind, WallTime};

use super::digits::Digits;
use super::events::{Event, Events};
use super::ring::{Limit, Ring};
use super::sealing::Sealing;
use super::sends::{By, Sends};
use super::tee::Tee;
use super::types::Types;
use super::{EndId, OpenEnd, Remembers, Which, Why, is_sendable};
use crate::rtp::{Familiar, Latch, Packet, canonical, is_rtcp, rtcp};
use crate::srtp::{Closed, PACKET_MAX, Srtp};

/// Packets of audio in a second that go on: five times what packets of 5 ms bring. What floods beyond goes nowhere.
const AUDIO_MAX: u32 = 1_000;
/// The same of video and others: some 100 Mbit/s.
const VIDEO_MAX: u32 = 10_000;
/// Packets in a second of unknown senders that are tried with the keys of an end. Each costs an authentication.
const TRIED_MAX: u32 = 100;
/// The same that come from where the peer is and are not authentic: beyond it somebody sends noise in its name, which is
/// to take nothing from its own.
const FAILED_MAX: u32 = 2_000;
/// Octets of a report that is kept for recorders: one of a sender with a description.
const REPORT_MAX: usize = 256;
/// SR (RFC 3550 section 12.1).
const SENDER_REPORT: u8 = 200;
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
    /// Anywhere: for peers behind NAT, whose descriptions name addresses that nobody can send to. In the clear, who is first
    /// at the port after signalling named an address is heard and told.
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

    /// Whether so many came in this second.
    fn is_spent(&self, now: WallTime, most: u32) -> bool {
        now.nanos_since(self.since).unsigned_abs() < 1_000_000_000 && self.count >= most
    }
}

/// How what comes is opened, and what goes out protected.
pub(super) enum Guard {
    Clear,
    Awaited,
    Keys { opens: Box<Srtp>, sealing: Sealing },
}

impl Guard {
    pub(super) const fn sealing(&self) -> Option<&Sealing> {
        match self {
            Self::Keys { sealing, .. } => Some(sealing),
            Self::Clear | Self::Awaited => None,
        }
    }

    /// What opens by these keys. None when one has not the length that its suite wants.
    pub(super) fn opens(inbound: &Keys) -> Option<Box<Srtp>> {
        Srtp::new(inbound, inbound).map(Box::new)
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
    pub(super) guard: Guard,
    latch: Latch,
    /// Where RTP to the peer goes.
    to: Option<SocketAddr>,
    /// Signalling named where it is, and it has not been heard since.
    is_named: bool,
    /// Where its RTCP came from.
    rtcp_from: Option<SocketAddr>,
    /// The last report of its sender, for a recorder that takes over.
    pub(super) report: Vec<u8>,
    heard: Option<Heard>,
    rate: Rate,
    tried: Rate,
    failed: Rate,
    /// What listens for keys; none where nobody asks.
    pub(super) digits: Option<Box<Digits>>,
    pub(super) ring: Option<Ring>,
    pub(super) tees: [Option<Tee>; 2],
    pub(super) counts: Counts,
}

impl End {
    pub(super) fn new(open: &OpenEnd, guard: Guard) -> Self {
        let mut end = Self {
            types: Types::of(&open.codecs),
            guard,
            latch: Latch::new(open.remote),
            to: open.remote.filter(|to| is_sendable(*to)),
            is_named: true,
            rtcp_from: None,
            report: Vec::with_capacity(REPORT_MAX),
            heard: None,
            rate: Rate::default(),
            tried: Rate::default(),
            failed: Rate::default(),
            digits: Digits::new(open.digits, &open.codecs),
            ring: None,
            tees: [None, None],
            counts: Counts::default(),
            open: open.clone(),
        };
        end.remember();
        end
    }

    /// Signalling says otherwise.
    pub(super) fn change(&mut self, open: &OpenEnd) {
        if open.remote != self.open.remote {
            self.latch.expect(open.remote);
            self.to = open.remote.filter(|to| is_sendable(*to));
            self.is_named = true;
        }
        if (open.remote, open.remote_rtcp, open.rtcp_mux)
            != (self.open.remote, self.open.remote_rtcp, self.open.rtcp_mux)
        {
            self.rtcp_from = None;
        }
        if (open.digits, &open.codecs) != (self.open.digits, &self.open.codecs) {
            self.digits = Digits::new(open.digits, &open.codecs);
        }
        self.types = Types::of(&open.codecs);
        self.open = open.clone();
        self.remember();
    }

    /// What is yet to be replayed is not forgotten.
    pub(super) fn want(&mut self) {
        let first = self.tees.iter().flatten().filter_map(Tee::next).min();
        if let Some(ring) = &mut self.ring {
            ring.want(first);
        }
    }

    fn remember(&mut self) {
        let audio = self.open.kind == MediaKind::Audio;
        match self.open.remembers {
            Remembers::Nothing => {
                self.ring = None;
                self.tees.iter_mut().flatten().for_each(Tee::go_on);
            }
            Remembers::TwoSeconds => {
                self.ring.get_or_insert_with(|| Ring::new(if audio { Limit::AUDIO } else { Limit::OTHER }));
            }
        }
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
        let (put, proof) = self.unlock(Which::Rtp, is_known, came, out)?;
        // What is not authentic takes nothing of the rate.
        let allowed = allow(&mut self.rate, self.open.kind, came.at);
        let taken = allowed.and_then(|()| self.belongs(came, proof, out.get(put.clone()), events));
        if taken.is_err() {
            out.take_back(&put);
        }
        taken.map(|()| put)
    }

    /// Puts a datagram into `out` as it is in the clear, if it may be the peer's: from where it is known, or by its keys. A
    /// stranger who has the keys is none.
    #[inline]
    fn unlock(
        &mut self,
        kind: Which,
        is_known: bool,
        came: &Came<'_>,
        out: &mut Sends,
    ) -> Result<(Range<usize>, Proof), Why> {
        let opens = match &mut self.guard {
            Guard::Awaited => return Err(Why::Unopened),
            Guard::Clear if !is_known => return Err(Why::Stranger),
            Guard::Clear => return Ok((out.put(clear(came)?), Proof::None)),
            Guard::Keys { opens, .. } => opens,
        };
        try_keys(is_known, came.at, &mut self.tried, &self.failed)?;
        let opened = match kind {
            Which::Rtp => opens.open_rtp(came.at, came.bytes),
            Which::Rtcp => opens.open_rtcp(came.at, came.bytes),
        };
        match opened {
            Ok(plain) if kind == Which::Rtcp && !rtcp::is_valid(plain) => Err(Why::Malformed),
            Ok(plain) => Ok((out.put(plain), Proof::Keys)),
            Err(why) => {
                self.failed.allows(came.at, FAILED_MAX);
                Err(why.into())
            }
        }
    }

    /// Whether a packet, in the clear, is of the peer, and what it tells.
    #[inline]
    fn belongs(
        &mut self,
        came: &Came<'_>,
        proof: Proof,
        plain: &[u8],
        events: &mut Events<'_>,
    ) -> Result<(), Why> {
        let packet = Packet::by_header(came.at, came.from, plain).ok_or(Why::Malformed)?;
        let before = self.latch.source();
        let goes_on = proof == Proof::Keys
            || self.heard.is_some_and(|h| {
                let ahead = packet.sequence.wrapping_sub(h.highest);
                h.ssrc == packet.ssrc && (1..=CONTINUES_MAX).contains(&ahead)
            });
        let types = &self.types;
        let familiar = || Familiar { payload_type: types.knows(packet.payload_type), continues: goes_on };
        if !self.latch.accepts(&packet, familiar) {
            return Err(Why::Stranger);
        }
        if before != self.latch.source() {
            self.moved(before, came.from, goes_on, events);
        }
        self.hear(&packet, events);
        Ok(())
    }

    /// Its packets come from another address. Heard is whom the latch believes; told is only whom signalling named, who is
    /// first after it did, or who goes on as the same source: silence alone gives nobody's voice to somebody else.
    fn moved(&mut self, before: Option<SocketAddr>, to: SocketAddr, goes_on: bool, events: &mut Events<'_>) {
        let is_told = self.open.remote.is_some_and(|r| canonical(r) == canonical(to));
        if !(goes_on || self.is_named || is_told) {
            events.push(Event::Elsewhere { at: to });
            return;
        }
        self.is_named = false;
        // Where signalling names an address that nobody can be sent to, it wants nothing sent.
        if self.open.remote.is_none_or(is_sendable) {
            self.to = Some(to).filter(|to| is_sendable(*to));
        }
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
        if let Some(digits) = &mut self.digits {
            digits.take(packet, events);
        }
    }

    fn take_rtcp(
        &mut self,
        came: &Came<'_>,
        out: &mut Sends,
        events: &mut Events<'_>,
    ) -> Result<Range<usize>, Why> {
        let is_known = self.may_report(came.from);
        let (put, proof) = self.unlock(Which::Rtcp, is_known, came, out)?;
        if let Err(why) = allow(&mut self.rate, self.open.kind, came.at) {
            out.take_back(&put);
            return Err(why);
        }
        let (heard, plain) = (self.heard, out.get(put.clone()));
        let ssrc = plain.get(4..8).and_then(|s| Some(u32::from_be_bytes(*s.first_chunk::<4>()?)));
        // In the clear anybody of its host can send reports: those go to where its source sends them from.
        if proof == Proof::Keys || heard.is_none_or(|h| Some(h.ssrc) == ssrc) {
            self.rtcp_from = Some(came.from);
        }
        if plain.len() <= REPORT_MAX && plain.get(1) == Some(&SENDER_REPORT) {
            self.report.clear();
            self.report.extend_from_slice(plain);
        }
        for ssrc in rtcp::goodbyes(plain).filter(|ssrc| heard.is_some_and(|h| h.ssrc == *ssrc)) {
            // Another one need not wait, if it is true.
            if proof == Proof::Keys {
                self.latch.gone();
            }
            events.push(Event::Goodbye { ssrc });
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

    /// Whether reports in the clear from there may be of the peer: from where signalling says, or from its host.
    fn may_report(&self, from: SocketAddr) -> bool {
        let open = &self.open;
        if open.follow == Follow::Exactly {
            let told = rtcp::destination(None, open.remote, open.remote_rtcp, open.rtcp_mux);
            return told.is_some_and(|told| canonical(told) == canonical(from));
        }
        let known = [self.latch.source(), open.remote, open.remote_rtcp];
        known.iter().flatten().any(|a| host(*a) == host(from))
    }

    /// Sends what is in `out` to the peer.
    #[inline]
    pub(super) fn send(
        &mut self,
        (id, which): (EndId, Which),
        (now, sender): (WallTime, u8),
        ours: &[SocketAddr],
        octets: Range<usize>,
        out: &mut Sends,
    ) {
        let sent = self.try_send((id, which), (now, sender), ours, octets, out);
        self.counts.sent += u64::from(sent.is_some());
        self.counts.unsent += u64::from(sent.is_none());
    }

    #[inline]
    fn try_send(
        &mut self,
        (id, which): (EndId, Which),
        (now, sender): (WallTime, u8),
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
        if ours.contains(&canonical(to)) {
            return None;
        }
        let octets = match &mut self.guard {
            Guard::Clear => octets,
            Guard::Awaited => return None,
            Guard::Keys { sealing, .. } => sealing.seal(now, sender, which, octets, out)?,
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

/// Whether anything shows who sent a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    None,
    /// It is authentic under the peer's key.
    Keys,
}

/// A datagram that nothing opens: no longer than one that is opened.
fn clear<'a>(came: &Came<'a>) -> Result<&'a [u8], Why> {
    Some(came.bytes).filter(|bytes| bytes.len() <= PACKET_MAX).ok_or(Why::Malformed)
}

/// Whether one more packet may be tried with the keys.
fn try_keys(is_known: bool, now: WallTime, tried: &mut Rate, failed: &Rate) -> Result<(), Why> {
    if is_known {
        return (!failed.is_spent(now, FAILED_MAX)).then_some(()).ok_or(Why::TooMany);
    }
    tried.allows(now, TRIED_MAX).then_some(()).ok_or(Why::Stranger)
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
