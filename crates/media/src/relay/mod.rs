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
//! no more than one for each other leg and recorder, each a few octets larger at most. An index is never used twice under one
//! key, whatever a sender does, and whoever has the key by then
//! ([`Outbound::seal_once`](crate::srtp::Outbound::seal_once)): where a source must not go on under its own SSRC it gets
//! another one, which is all that is ever rewritten; its reports go on under its own.
//!
//! Keys that are pressed it tells where an end is to [listen](Listening) for them: telephone events, and tones too. It changes
//! nothing of what passes.
//!
//! What it is not for: a handshake or ZRTP between the legs themselves, and fax (UDPTL). Such lines must not be anchored.
//!
//! It has no socket and no clock. What is to be sent it writes into a batch of the caller's ([`Sends`]); for a packet it
//! allocates nothing.

mod digits;
mod end;
mod events;
mod open;
mod ring;
mod sealing;
mod sends;
mod tee;
mod types;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use model::{Keys, WallTime};

use crate::rtp::{canonical, rtcp};
use crate::srtp::PACKET_MAX;

pub use self::digits::{DigitBy, Listening};
use self::end::{Came, End, Guard};
pub use self::end::{Counts, Follow};
use self::events::Events;
pub use self::events::{Event, Told};
pub use self::open::{
    ENDS_MAX, EndId, Keeping, LEGS_MAX, OpenEnd, Recording, Refused, Remembers, Security, Which, Why,
};
use self::ring::Ring;
pub use self::ring::{HELD_NS, REMEMBERED_NS};
use self::sealing::{Retired, Sealing};
pub use self::sends::{By, Kept, Outgoing, Sends};
use self::tee::Tee;
pub use self::tee::{Beginning, REPLAY_EVERY_NS, Recorder, Replayed};

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
    /// Keys that were used and are not now.
    retired: Retired,
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
        let guard = match &open.security {
            Security::Clear => Guard::Clear,
            Security::Awaited => Guard::Awaited,
            Security::Keys { inbound, outbound } => {
                let opens = Guard::opens(inbound).ok_or(Refused::Key)?;
                Guard::Keys { opens, sealing: self.seal_by(outbound)? }
            }
        };
        let end = Some(Box::new(End::new(open, guard)));
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
        let known = self.ends.get(end.index()).and_then(Option::as_ref).ok_or(Refused::NoEnd)?;
        if known.open.security != open.security {
            self.guard(end, &open.security)?;
        }
        if let Some(Some(end)) = self.ends.get_mut(end.index()) {
            end.change(open);
        }
        self.connect();
        Ok(())
    }

    /// Gives an end other keys, or none.
    fn guard(&mut self, end: EndId, security: &Security) -> Result<(), Refused> {
        let has = |end: &End, outbound: &Keys| end.guard.sealing().is_some_and(|s| s.keys == *outbound);
        let own = self.ends.get(end.index()).and_then(Option::as_ref).ok_or(Refused::NoEnd)?;
        // All that can fail, first.
        let fresh = match security {
            Security::Keys { inbound, outbound } => {
                let opens = Guard::opens(inbound).ok_or(Refused::Key)?;
                let keeps = has(own, outbound);
                Some((opens, inbound, if keeps { None } else { Some(self.seal_by(outbound)?) }))
            }
            Security::Clear | Security::Awaited => None,
        };
        let own = self.ends.get_mut(end.index()).and_then(Option::as_mut).ok_or(Refused::NoEnd)?;
        let before = std::mem::replace(&mut own.guard, Guard::Awaited);
        let (before_opens, before_sealing) = match before {
            Guard::Keys { opens, sealing } => (Some(opens), Some(sealing)),
            Guard::Clear | Guard::Awaited => (None, None),
        };
        let Some((opens, inbound, sealing)) = fresh else {
            if *security == Security::Clear {
                own.guard = Guard::Clear;
            }
            self.retired.put(before_sealing);
            return Ok(());
        };
        // What is on its way by the keys before is opened still.
        let opens = before_opens.map_or(opens, |mut before| {
            before.update(inbound, inbound);
            before
        });
        let (sealing, left) = match sealing {
            Some(new) => (Some(new), before_sealing),
            None => (before_sealing, None),
        };
        if let Some(sealing) = sealing {
            own.guard = Guard::Keys { opens, sealing };
        }
        self.retired.put(left);
        Ok(())
    }

    /// What protects by a key that nobody has now.
    fn seal_by(&mut self, keys: &Keys) -> Result<Sealing, Refused> {
        let of_ends = self.ends.iter().flatten().filter_map(|end| end.guard.sealing());
        let of_tees = self.ends.iter().flatten().flat_map(|end| end.tees.iter().flatten());
        let mut used = of_ends.chain(of_tees.filter_map(|tee| tee.sealing.as_ref()));
        if used.any(|sealing| sealing.keys == *keys) {
            return Err(Refused::KeyUsed);
        }
        self.retired.take(keys)
    }

    /// An end is no more; says what became of all that came to it. Its number is given again: what is in a batch is to be
    /// carried out before.
    pub fn close(&mut self, end: EndId) -> Option<Counts> {
        let mut closed = self.ends.get_mut(end.index())?.take()?;
        for tee in closed.tees.iter_mut().flatten() {
            self.retired.put(tee.sealing.take());
        }
        if let Guard::Keys { sealing, .. } = std::mem::replace(&mut closed.guard, Guard::Awaited) {
            self.retired.put(Some(sealing));
        }
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

    /// Says whether what comes from now on may be kept. What came before may still be replayed. Recorders see a hole in the
    /// numbers afterwards, and are to be told that it is a pause.
    pub const fn record(&mut self, recording: Recording) {
        self.recording = recording;
    }

    /// What came at this time or later is not replayed: the order to keep nothing was given then, and has come now.
    pub fn forget_since(&mut self, since: WallTime) {
        for end in self.ends.iter_mut().flatten() {
            if let Some(ring) = &mut end.ring {
                ring.forget_since(since);
            }
        }
    }

    /// A recorder answers by RTCP (RFC 3550 section 6.4.2), which goes to the peer of the end whose copies it gets. What is
    /// encrypted by keys of ours it has no part in.
    pub fn answer(&mut self, now: WallTime, id: EndId, report: &[u8], out: &mut Sends) {
        let Self { ends, ours, .. } = self;
        let Some(Some(end)) = ends.get_mut(id.index()) else { return };
        if matches!(end.guard, Guard::Clear) && report.len() <= PACKET_MAX && rtcp::is_valid(report) {
            let octets = out.put(report);
            end.send((id, Which::Rtcp), (now, id.0), ours, octets, out);
        }
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
        end.counts.untold += std::mem::take(&mut events.untold);
        end.count(taken.as_ref().map(|(kind, _)| *kind).map_err(|why| *why));
        let (kind, octets) = taken?;
        let mut left = targets.get(id.index()).copied().unwrap_or(0);
        while left != 0 {
            let target = left.trailing_zeros();
            left &= left - 1;
            let to = EndId(u8::try_from(target).unwrap_or(u8::MAX));
            if let Some(Some(end)) = ends.get_mut(to.index()) {
                end.send((to, kind), (now, id.0), ours, octets.clone(), out);
            }
        }
        let Some(Some(end)) = ends.get_mut(id.index()) else { return Ok(kind) };
        if self.recording == Recording::Pauses {
            return Ok(kind);
        }
        let is_remembered = kind == Which::Rtp && self.recording == Recording::Goes;
        if let Some(ring) = end.ring.as_mut().filter(|_| is_remembered) {
            ring.put(now, out.get(octets.clone()));
        }
        for tee in end.tees.iter_mut().flatten() {
            tee.came(now, id.0, kind, octets.clone(), out);
        }
        for (place, tee) in end.tees.iter_mut().enumerate() {
            if let Some(tee) = tee.as_mut().filter(|tee| tee.missed > 0 && !tee.told) {
                tee.told = true;
                events.push(Event::Missed { place });
            }
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
        let id = end;
        let end = self.ends.get(id.index()).and_then(Option::as_ref).ok_or(Refused::NoEnd)?;
        let before = end.tees.get(place).ok_or(Refused::NoEnd)?.as_ref();
        let Some((recorder, beginning)) = to else {
            self.put_tee(id, place, None);
            return Ok(None);
        };
        let addresses = [Some(recorder.rtp), recorder.rtcp];
        if addresses.iter().flatten().any(|a| !is_sendable(*a) || self.ours.contains(&canonical(*a))) {
            return Err(Refused::Address);
        }
        let has = before
            .and_then(|tee| tee.sealing.as_ref())
            .is_some_and(|s| recorder.keys.as_ref() == Some(&s.keys));
        let sealing = match &recorder.keys {
            Some(keys) if !has => Some(self.seal_by(keys)?),
            _ => None,
        };
        let mut old = self.put_tee(id, place, Some(Tee::new(recorder, sealing)));
        let Some(Some(end)) = self.ends.get_mut(id.index()) else { return Err(Refused::NoEnd) };
        let Some(Some(new)) = end.tees.get_mut(place) else { return Err(Refused::NoEnd) };
        if has {
            // At another address perhaps, and its indices go on.
            new.sealing = old.take();
        }
        let replayed = match (&end.ring, beginning) {
            (Some(ring), Beginning::Remembered) => new.replay(now, ring),
            _ => None,
        };
        end.want();
        self.retired.put(old);
        self.is_replaying |= replayed.is_some();
        Ok(replayed)
    }

    /// Puts a tee in its place, or none; what protected the one before is given back if a new one may go on with it.
    fn put_tee(&mut self, end: EndId, place: usize, tee: Option<Tee>) -> Option<Sealing> {
        let is_new = tee.is_some();
        let places = self.ends.get_mut(end.index()).and_then(Option::as_mut).map(|end| &mut end.tees);
        let before = places.and_then(|tees| std::mem::replace(tees.get_mut(place)?, tee));
        let sealing = before.and_then(|tee| tee.sealing);
        if is_new {
            return sealing;
        }
        self.retired.put(sealing);
        None
    }

    /// A recorder is suspected to have failed: from now on nothing is forgotten of what is remembered, for
    /// [`HELD_NS`] at most, so that finding another one and its answer may take their time.
    pub fn hold(&mut self, now: WallTime) {
        self.ends.iter_mut().flatten().filter_map(|end| end.ring.as_mut()).for_each(|ring| ring.hold(now));
    }

    /// It has not failed, or others have taken over: two seconds are remembered again.
    pub fn release(&mut self) {
        self.ends.iter_mut().flatten().filter_map(|end| end.ring.as_mut()).for_each(Ring::release);
    }

    /// Time has passed: what is remembered of streams that are silent is forgotten, and keys of which nothing comes any more
    /// are released. To be called each 100 ms or so.
    pub fn pass(&mut self, now: WallTime) {
        for (id, end) in (0..).map(EndId).zip(&mut self.ends) {
            let Some(end) = end else { continue };
            if let Some(ring) = &mut end.ring {
                ring.pass(now);
            }
            if let Some(digits) = &mut end.digits {
                let mut events = Events { end: id, at: now, queue: &mut self.events, untold: 0 };
                digits.pass(now, &mut events);
                end.counts.untold += events.untold;
            }
        }
    }

    /// Sends on what is replayed, as far as it is time. To be called when [`next_timeout`](Self::next_timeout) says.
    pub fn replay(&mut self, now: WallTime, out: &mut Sends) {
        if !self.is_replaying {
            return;
        }
        for (id, end) in (0..).zip(&mut self.ends) {
            let Some(end) = end else { continue };
            let Some(ring) = &end.ring else { continue };
            for tee in end.tees.iter_mut().flatten() {
                tee.poll(now, id, ring, &end.report, out);
            }
            end.want();
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
        self.ours.extend(self.ends.iter().flatten().flat_map(|end| end.open.ours).flatten().map(canonical));
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
