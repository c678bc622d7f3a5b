//! Relay: what the legs of a call send to each other goes through us, and copies of it to recorders.
//!
//! ```text
//!   leg 0                     Relay                      leg 1
//!  ┌──────┐   ports of ours ┌───────┐ ports of ours    ┌──────┐
//!  │ line ├────────────────►│  end ─┼──► forwards ────►│ line │     first
//!  │  0   │◄──── forwards ◄─┼─ end  │◄─────────────────┤  0   │
//!  └──────┘                 └───┬───┘                  └──────┘
//!                               ├──► tees: one or two recorders, each with keys of its own or none     then
//!                               ├──► kept: a recorder in this process                                  last
//!                               └──► ring: the last two seconds, for a recorder that takes over
//! ```
//!
//! An *end* is one line of one leg. What comes to it goes to the ends of the same line of those legs that its own is
//! [routed](Relay::route) to: to all others, unless said otherwise. Payloads, payload types, sources, numbers and
//! timestamps stay as they are. What an end opens with keys of ours is protected anew for ends that have others; where
//! neither has any, octets pass untouched, encrypted between the legs or not. RTCP is forwarded as it is too: reports
//! are about sources and numbers, which are the same on both sides.
//!
//! | what comes to an end | becomes |
//! | --- | --- |
//! | RTP, RTCP of its peer | forwarded, teed, kept, remembered |
//! | STUN, DTLS | the caller's: [`Why::Stun`], [`Why::Dtls`] |
//! | of somebody else ([`Follow`]) | counted |
//! | not authentic, or once more, where there are keys | counted |
//! | more than a stream brings | counted |
//! | anything, while keys are awaited | counted; nothing is sent there either |
//!
//! What must not happen, does not: nothing is sent to an address but those that signalling names or a peer was
//! [followed](Follow) to, and recorders; never to one of its own ports, to many at once, or twice; and of one datagram come
//! no more than one for each other leg and recorder, each a few octets larger at most. A number is never protected twice
//! under one key ([`Outbound::seal_once`](crate::srtp::Outbound::seal_once)).
//!
//! It has no socket and no clock. What is to be sent it writes into a batch of the caller's ([`Sends`]); for a packet it
//! allocates nothing.

mod digits;
mod end;
mod events;
mod ring;
mod sends;
mod tee;
mod types;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use model::{Codec, Keys, MediaKind, WallTime};

use self::end::{Came, End};
pub use self::end::{Counts, Follow};
use self::events::Events;
pub use self::events::{Event, Told};
pub use self::ring::REMEMBERED_NS;
pub use self::sends::{By, Kept, Outgoing, Sends};
use self::tee::Tee;
pub use self::tee::{Beginning, REPLAY_EVERY_NS, Recorder, Replayed};

/// Ends of a call: eight legs of four lines, or more of fewer.
pub const ENDS_MAX: usize = 32;
/// Legs of a call: its two, those that it is being transferred or forked to, a supervisor's.
pub const LEGS_MAX: u8 = 8;

/// An end of a relay, until it is closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EndId(u8);

impl EndId {
    /// Its place among the ends of its relay, below [`ENDS_MAX`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which of an end's ports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Which {
    /// The one for RTP, and for RTCP where it is multiplexed.
    Rtp,
    /// The one for RTCP.
    Rtcp,
}

/// How an end's packets are protected between us and its peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Security {
    /// Not, or by keys that are not ours: what comes is handed on as it is.
    Clear,
    /// By keys that a handshake is to yield: until then nothing passes, either way.
    Awaited,
    /// By these. The outbound one is this end's alone: indices are counted here.
    Keys {
        /// The peer's.
        inbound: Keys,
        /// Ours.
        outbound: Keys,
    },
}

/// Whether an end keeps what came last, for a recorder that takes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Remembers {
    /// No.
    #[default]
    Nothing,
    /// Two seconds of RTP.
    TwoSeconds,
}

/// Whether something is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Telling {
    /// Nobody asks.
    #[default]
    Ignored,
    /// It is.
    Told,
}

/// Whether a recorder in this process keeps what comes to an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keeping {
    /// No.
    #[default]
    Nothing,
    /// All that goes on.
    Everything,
}

/// Whether what passes may be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Recording {
    /// Yes.
    #[default]
    Goes,
    /// Not now: it is forwarded, and goes to no recorder, neither now nor when one takes over later.
    Pauses,
}

/// What an end is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenEnd {
    /// The leg, below [`LEGS_MAX`].
    pub leg: u8,
    /// The line within its leg: those of the same number are connected.
    pub line: u8,
    /// What it carries.
    pub kind: MediaKind,
    /// Payload types that signalling names.
    pub codecs: Vec<(u8, Codec)>,
    /// Our ports, as they are sent to.
    pub ours: [Option<SocketAddr>; 2],
    /// Where signalling says that the peer receives RTP; none: not known yet.
    pub remote: Option<SocketAddr>,
    /// Where it receives RTCP; none: at the next port (RFC 3550 section 11).
    pub remote_rtcp: Option<SocketAddr>,
    /// RTCP shares the port (RFC 5761).
    pub rtcp_mux: bool,
    /// How far it is followed.
    pub follow: Follow,
    /// How it is protected.
    pub security: Security,
    /// Whether it remembers.
    pub remembers: Remembers,
    /// Whether a recorder in this process keeps what comes.
    pub keeping: Keeping,
    /// Whether keys that are pressed are told, as telephone events name them.
    pub digits: Telling,
}

impl OpenEnd {
    /// Audio in the clear of the first line, and nothing but forwarding.
    #[must_use]
    pub const fn audio(leg: u8, remote: Option<SocketAddr>) -> Self {
        Self {
            leg,
            line: 0,
            kind: MediaKind::Audio,
            codecs: Vec::new(),
            ours: [None, None],
            remote,
            remote_rtcp: None,
            rtcp_mux: false,
            follow: Follow::Host,
            security: Security::Clear,
            remembers: Remembers::Nothing,
            keeping: Keeping::Nothing,
            digits: Telling::Ignored,
        }
    }
}

/// Why an end cannot be had as it is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// There are [`ENDS_MAX`] already.
    #[error("a relay has {ENDS_MAX} ends at most: close one first")]
    Ends,
    /// The leg's number is too high.
    #[error("legs of a relay are numbered from 0 to 7")]
    Leg,
    /// Its leg has an end of that line.
    #[error("the leg has that line already: change its end, or close it first")]
    Line,
    /// It was closed, or never was.
    #[error("the relay has no such end")]
    NoEnd,
    /// A key is too short or too long.
    #[error("a key has not the length that its suite wants")]
    Key,
    /// Nothing can be sent there.
    #[error("a recorder needs an address of one host, with a port")]
    Address,
}

/// Why a datagram does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is a check: for whoever answers them.
    Stun,
    /// It is of a handshake: for whoever makes it.
    Dtls,
    /// It is nothing that is known, or broken.
    Malformed,
    /// It is not of the end's peer, as far as one can tell.
    Stranger,
    /// Its peer sends more than is believed.
    TooMany,
    /// It is not authentic.
    Unauthentic,
    /// It came before.
    Replayed,
    /// The keys are awaited, or there is no such end.
    Unopened,
}

/// The relay of one call. See the module.
#[derive(Default)]
pub struct Relay {
    ends: Vec<Option<Box<End>>>,
    /// For each end, those that what comes to it goes to, as bits.
    targets: [u32; ENDS_MAX],
    /// For each leg, the legs that it is heard by, as bits; none: all the others.
    routes: [Option<u8>; LEGS_MAX as usize],
    ours: Vec<SocketAddr>,
    events: VecDeque<Told>,
    /// Whether anything is being replayed.
    is_replaying: bool,
    recording: Recording,
}

impl Relay {
    /// Adds an end.
    ///
    /// # Errors
    /// There is no room for it, or something of it cannot be.
    pub fn open(&mut self, open: &OpenEnd) -> Result<EndId, Refused> {
        self.check(open, None)?;
        let free = self.ends.iter().position(Option::is_none);
        if free.is_none() && self.ends.len() >= ENDS_MAX {
            return Err(Refused::Ends);
        }
        let place = free.unwrap_or(self.ends.len());
        let end = Some(Box::new(End::new(open).ok_or(Refused::Key)?));
        match self.ends.get_mut(place) {
            Some(free) => *free = end,
            None => self.ends.push(end),
        }
        self.connect();
        Ok(EndId(u8::try_from(place).unwrap_or(u8::MAX)))
    }

    /// Signalling says otherwise of an end: another address, other keys, other codecs. What it has heard stays.
    ///
    /// # Errors
    /// It cannot be so; nothing has changed.
    pub fn change(&mut self, end: EndId, open: &OpenEnd) -> Result<(), Refused> {
        self.check(open, Some(end))?;
        let changed = self.ends.get_mut(end.index()).and_then(Option::as_mut).ok_or(Refused::NoEnd)?;
        changed.change(open).ok_or(Refused::Key)?;
        self.connect();
        Ok(())
    }

    /// An end is no more; says what became of all that came to it.
    pub fn close(&mut self, end: EndId) -> Option<Counts> {
        let closed = self.ends.get_mut(end.index())?.take()?;
        self.events.retain(|told| told.end != end);
        self.connect();
        Some(closed.counts)
    }

    /// Says which legs hear this one, as bits by their numbers. A leg never hears itself.
    pub fn route(&mut self, leg: u8, heard_by: u8) {
        if let Some(route) = self.routes.get_mut(usize::from(leg)) {
            *route = Some(heard_by);
        }
        self.connect();
    }

    /// Says whether what comes from now on may be kept. What came before may still be replayed.
    pub const fn record(&mut self, recording: Recording) {
        self.recording = recording;
    }

    /// A datagram came to a port of an end. What is to be done with it is in `out` then; it is not looked at again.
    ///
    /// `now` is of a clock that never goes back: indices of SRTCP are counted by it.
    ///
    /// # Errors
    /// It goes nowhere, and this is why. STUN and DTLS are the caller's to answer.
    #[inline]
    pub fn receive(
        &mut self,
        now: WallTime,
        (id, which): (EndId, Which),
        from: SocketAddr,
        bytes: &[u8],
        out: &mut Sends,
    ) -> Result<Which, Why> {
        let Self { ends, targets, ours, events, .. } = self;
        let Some(Some(end)) = ends.get_mut(id.index()) else { return Err(Why::Unopened) };
        let mut events = Events { end: id, at: now, queue: events, untold: 0 };
        let taken = end.take(which, &Came { at: now, from, bytes }, out, &mut events);
        end.counts.untold += events.untold;
        end.count(taken.as_ref().map(|(kind, _)| *kind).map_err(|why| *why));
        let (kind, octets) = taken?;
        let mut left = targets.get(id.index()).copied().unwrap_or(0);
        while left != 0 {
            let target = left.trailing_zeros();
            left &= left - 1;
            let to = EndId(u8::try_from(target).unwrap_or(u8::MAX));
            if let Some(Some(end)) = ends.get_mut(to.index()) {
                end.send((to, kind), now, ours, octets.clone(), out);
            }
        }
        let Some(Some(end)) = ends.get_mut(id.index()) else { return Ok(kind) };
        if self.recording == Recording::Pauses {
            return Ok(kind);
        }
        if let Some(ring) = end.ring.as_mut().filter(|_| kind == Which::Rtp) {
            ring.put(now, out.get(octets.clone()));
        }
        for tee in end.tees.iter_mut().flatten() {
            tee.came(now, kind, octets.clone(), out);
        }
        if end.open.keeping == Keeping::Everything {
            out.keep((id, kind), now, from, octets);
        }
        Ok(kind)
    }

    /// Sends copies of what comes to an end to a recorder, the first or the second (`place` 0 or 1), or to none any more.
    /// Says what it is sent of what came before.
    ///
    /// # Errors
    /// It cannot be; whoever was there is sent to as before.
    pub fn tee(
        &mut self,
        now: WallTime,
        end: EndId,
        place: usize,
        to: Option<(&Recorder, Beginning)>,
    ) -> Result<Option<Replayed>, Refused> {
        let end = self.ends.get_mut(end.index()).and_then(Option::as_mut).ok_or(Refused::NoEnd)?;
        let tee = end.tees.get_mut(place).ok_or(Refused::NoEnd)?;
        let Some((recorder, beginning)) = to else {
            *tee = None;
            return Ok(None);
        };
        let sendable = is_sendable(recorder.rtp) && recorder.rtcp.is_none_or(is_sendable);
        if !sendable {
            return Err(Refused::Address);
        }
        let mut new = Tee::new(recorder).ok_or(Refused::Key)?;
        let replayed = match (&end.ring, beginning) {
            (Some(ring), Beginning::Remembered) => new.replay(now, ring),
            _ => None,
        };
        *tee = Some(new);
        self.is_replaying |= replayed.is_some();
        Ok(replayed)
    }

    /// Sends on what is replayed, as far as it is time. To be called when [`next_timeout`](Self::next_timeout) says.
    pub fn replay(&mut self, now: WallTime, out: &mut Sends) {
        if !self.is_replaying {
            return;
        }
        for end in self.ends.iter_mut().flatten() {
            let Some(ring) = &end.ring else { continue };
            for tee in end.tees.iter_mut().flatten() {
                tee.poll(now, ring, out);
            }
        }
        self.is_replaying = self.next_timeout().is_some();
    }

    /// When [`replay`](Self::replay) has more to send; none: everything was.
    #[must_use]
    pub fn next_timeout(&self) -> Option<WallTime> {
        if !self.is_replaying {
            return None;
        }
        self.ends.iter().flatten().flat_map(|e| e.tees.iter().flatten()).filter_map(Tee::due).min()
    }

    /// Its ends.
    pub fn ends(&self) -> impl Iterator<Item = EndId> + '_ {
        (0..).zip(&self.ends).filter(|(_, end)| end.is_some()).map(|(n, _)| EndId(n))
    }

    /// The end of a place, if there is one.
    #[must_use]
    pub fn end_at(&self, place: usize) -> Option<EndId> {
        self.ends.get(place)?.as_ref()?;
        u8::try_from(place).ok().map(EndId)
    }

    /// What happened, the oldest first.
    pub fn poll_event(&mut self) -> Option<Told> {
        self.events.pop_front()
    }

    /// What became of all that came to an end.
    #[must_use]
    pub fn counts(&self, end: EndId) -> Option<Counts> {
        self.ends.get(end.index())?.as_ref().map(|end| end.counts)
    }

    /// Copies that a recorder was not sent: they left the ring before it was their turn, or its key protected that number
    /// already.
    #[must_use]
    pub fn missed(&self, end: EndId, place: usize) -> u64 {
        let end = self.ends.get(end.index()).and_then(Option::as_ref);
        end.and_then(|end| end.tees.get(place)?.as_ref()).map_or(0, |tee| tee.missed)
    }

    /// Where an end's peer is sent RTP.
    #[must_use]
    pub fn sends_to(&self, end: EndId) -> Option<SocketAddr> {
        self.ends.get(end.index())?.as_ref()?.to()
    }

    fn check(&self, open: &OpenEnd, own: Option<EndId>) -> Result<(), Refused> {
        if open.leg >= LEGS_MAX {
            return Err(Refused::Leg);
        }
        let others = (0..).zip(&self.ends).filter(|(n, _)| own != Some(EndId(*n)));
        let mut others = others.filter_map(|(_, end)| end.as_ref());
        match others.any(|end| (end.open.leg, end.open.line) == (open.leg, open.line)) {
            true => Err(Refused::Line),
            false => Ok(()),
        }
    }

    /// Works out who hears whom.
    fn connect(&mut self) {
        self.ours.clear();
        self.ours.extend(self.ends.iter().flatten().flat_map(|end| end.open.ours).flatten());
        let lines: Vec<_> = (0..).zip(&self.ends).filter_map(|(n, e)| Some((n, &e.as_ref()?.open))).collect();
        self.targets = [0; ENDS_MAX];
        for (n, from) in &lines {
            let heard_by = self.routes.get(usize::from(from.leg)).copied().flatten().unwrap_or(u8::MAX);
            let hears = |to: &OpenEnd| {
                to.line == from.line && to.leg != from.leg && heard_by & (1 << (to.leg & 7)) != 0
            };
            let bits = lines.iter().filter(|(_, to)| hears(to)).map(|(n, _)| 1_u32 << (n & 31));
            let place: usize = *n;
            if let Some(targets) = self.targets.get_mut(place) {
                *targets = bits.fold(0, |all, bit| all | bit);
            }
        }
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("ends", &self.ends.iter().flatten().count()).finish_non_exhaustive()
    }
}

/// Whether an address is one of one host, with a port: what is sent to many, or to nobody in particular, is no call.
fn is_sendable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}
