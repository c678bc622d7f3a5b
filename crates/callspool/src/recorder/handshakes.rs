//! The thread that makes DTLS handshakes for media threads: their computations take a thousand times as long as a
//! packet may.
//!
//! ```text
//!  media thread ── Knock: what came to which port, from whom ──► handshakes
//!               ◄── MediaOrder::Shaken: send this, or: these are the keys ──
//! ```
//!
//! A peer is a port and an address; the port stays what it is when another segment takes its stream over, and so does
//! the handshake. Whoever comes to a port from several addresses, or never ends what was begun, is forgotten before it
//! takes much, and before it keeps the client of the port out: see [`places`].

mod places;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use model::protection::{Handshake, HandshakeRole};
use model::{Keys, SegmentId, StreamId};

use super::live::Which;
use super::media_thread::MediaOrder;
use super::threads::Threads;
use crate::dtls::{Association, Came, Identity, Proof, is_hello, random_of};
use crate::pulse::Pulse;
use places::{Key, Places, Standing};

/// Datagrams that may wait for the thread, of those who are named and of others; what comes beyond is lost, and repeated by its sender.
const KNOCKS_MAX: usize = 4_096;
/// How long one stays after its keys are known, to repeat its last words.
const LINGER: Duration = Duration::from_secs(30);
/// How long the thread sleeps at most, so that its pulse goes on.
const ROUND: Duration = Duration::from_secs(1);
/// Times are looked at so often at most, because that is a walk over all handshakes: repetitions are due after a second.
const LOOK: Duration = Duration::from_millis(10);
/// Hellos of strangers that are looked at in a second, at all ports together: each makes a handshake of 20 KiB.
const STRANGERS_MAX: u32 = 1_000;

/// A port of a stream. The segment that takes a stream over has the same; one after a hold has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Door {
    pub(crate) stream: StreamId,
    pub(crate) which: Which,
    pub(crate) port: u16,
}

/// Who a datagram comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whence {
    /// An address that signalling names, that has proved to know it, or that media come from.
    Named,
    /// Any other: a client behind NAT, or a stranger.
    Elsewhere,
}

/// Something for the thread.
#[derive(Debug)]
pub(crate) struct Knock {
    pub(crate) door: Door,
    /// Which segment has the port now.
    pub(crate) segment: SegmentId,
    pub(crate) news: News,
}

/// What is new at a port. The terms are what signalling says of the handshake.
#[derive(Debug)]
pub(crate) enum News {
    /// This came.
    Came { from: SocketAddr, whence: Whence, terms: Handshake, datagram: Vec<u8> },
    /// We are to begin with this peer.
    Begin { peer: SocketAddr, terms: Handshake },
    /// Another segment has it.
    Moved,
}

/// What the thread has to say to a port.
pub(crate) enum Shaken {
    /// To be sent to the peer.
    Send(Vec<u8>),
    /// The peer is there: it has returned our cookie.
    Answered,
    /// The keys of the peer, and ours, and what proves who it is.
    Keys(Box<(Keys, Keys)>, Proof),
}

/// The ways to the thread. Whom signalling names does not wait behind strangers.
#[derive(Debug, Clone)]
pub(crate) struct Knocks {
    named: Sender<Knock>,
    strangers: Sender<Knock>,
}

impl Knocks {
    /// The ways, and their ends.
    pub(super) fn new() -> (Self, Knocking) {
        let ((named, from_named), (strangers, from_strangers)) = (bounded(KNOCKS_MAX), bounded(KNOCKS_MAX));
        (Self { named, strangers }, Knocking { named: from_named, strangers: from_strangers })
    }

    /// Whether it will be heard. The thread may be behind; then it is lost.
    pub(super) fn knock(&self, knock: Knock) -> bool {
        let way = match &knock.news {
            News::Came { whence: Whence::Elsewhere, .. } => &self.strangers,
            _ => &self.named,
        };
        way.try_send(knock).is_ok()
    }
}

/// Where knocks are heard.
#[derive(Debug)]
pub(crate) struct Knocking {
    named: Receiver<Knock>,
    strangers: Receiver<Knock>,
}

impl Knocking {
    /// The next, of those who are named first; an error when none comes, or none can.
    fn next(&self, wait: Duration) -> Result<Knock, RecvTimeoutError> {
        if let Ok(knock) = self.named.try_recv() {
            return Ok(knock);
        }
        crossbeam_channel::select! {
            recv(self.named) -> knock => knock.map_err(|_| RecvTimeoutError::Disconnected),
            recv(self.strangers) -> knock => knock.map_err(|_| RecvTimeoutError::Disconnected),
            default(wait) => Err(RecvTimeoutError::Timeout),
        }
    }
}

pub(crate) struct Handshakes {
    pub(crate) identity: Arc<Identity>,
    pub(crate) knocks: Knocking,
    pub(crate) media: Threads,
    pub(crate) pulse: Pulse,
}

impl Handshakes {
    /// Runs until nobody can knock any more.
    pub(crate) fn run(self) {
        let mut places = Places::default();
        let (mut looked, mut due) = (Instant::now(), None);
        loop {
            self.pulse.goes_on();
            let now = Instant::now();
            let at = due.unwrap_or(now + ROUND).max(looked + LOOK);
            match self.knocks.next(at.saturating_duration_since(now).min(ROUND)) {
                Ok(knock) => {
                    self.answer(&mut places, Instant::now(), knock);
                    due = Some(looked);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.pulse.waits(),
            }
            let now = Instant::now();
            if now.saturating_duration_since(looked) >= LOOK {
                self.wake(&mut places, now);
                (looked, due) = (now, places.due());
            }
        }
    }

    fn answer(&self, places: &mut Places, now: Instant, knock: Knock) {
        let Knock { door, segment, news } = knock;
        let (peer, whence, terms, datagram) = match news {
            News::Moved => return places.moved(door, segment),
            News::Begin { peer, terms } => (peer, Whence::Named, terms, None),
            News::Came { from, whence, terms, datagram } => (from, whence, terms, Some(datagram)),
        };
        let key = (door, peer);
        // New terms, or we are to begin after all was said: it begins anew.
        let begins = datagram.as_deref().is_none_or(is_hello);
        places.remove_if(key, |s| s.terms != terms || (datagram.is_none() && s.done.is_some()));
        if places.get(key).is_none() {
            let may_begin = datagram.is_none() == (terms.role == HandshakeRole::Client);
            let mut has_room = || places.admits(whence, now) && places.make_room(door, whence, now);
            if !begins || !may_begin || !has_room() {
                return;
            }
            let association = Association::new(&self.identity, terms.clone(), now);
            places.insert(key, Standing::new(association, terms.clone(), segment, whence, now));
        }
        if let Some(hello) = datagram.as_deref().filter(|_| begins)
            && !self.greet(places, now, key, &terms, hello)
        {
            return;
        }
        let Some(stands) = places.get(key) else { return };
        stands.segment = segment;
        // Who was a stranger may have become known; that is not lost.
        stands.whence = stands.whence.min(whence);
        let mut out = Vec::new();
        let came = match &datagram {
            Some(datagram) => stands.association.receive(now, datagram, &mut |r| out.push(r.to_vec())),
            None => stands.association.wake(now, &mut |r| out.push(r.to_vec())),
        };
        self.tell(places, now, key, out, came);
    }

    /// A hello has come. If it is another than what stands goes by, that stays until whoever says it has shown that it is
    /// there: it may be somebody else, in the peer's name. Whether it is for what stands.
    fn greet(&self, places: &mut Places, now: Instant, key: Key, terms: &Handshake, hello: &[u8]) -> bool {
        let Some(stands) = places.get(key) else { return false };
        let random = random_of(hello);
        if stands.random.is_none() || stands.random == random {
            stands.random = random;
            return stands.done.is_none();
        }
        if stands.next.as_ref().is_none_or(|(of, _)| *of != random) {
            stands.next = Some((random, Box::new(Association::new(&self.identity, terms.clone(), now))));
        }
        let Some((_, next)) = &mut stands.next else { return false };
        let mut out = Vec::new();
        let _ = next.receive(now, hello, &mut |r| out.push(r.to_vec()));
        if next.is_answered()
            && let Some((_, next)) = stands.next.take()
        {
            let (segment, whence) = (stands.segment, stands.whence);
            *stands = Standing::new(*next, terms.clone(), segment, whence, now);
            stands.random = random;
        }
        self.tell(places, now, key, out, Came::Nothing);
        false
    }

    /// Goes on with those whose time has come, and forgets those that are through.
    fn wake(&self, places: &mut Places, now: Instant) {
        for key in places.take_due(now) {
            let Some(stands) = places.get(key) else { continue };
            let mut out = Vec::new();
            let came = stands.association.wake(now, &mut |r| out.push(r.to_vec()));
            self.tell(places, now, key, out, came);
        }
    }

    fn tell(&self, places: &mut Places, now: Instant, key: Key, out: Vec<Vec<u8>>, came: Came) {
        let Some(stands) = places.get(key) else { return };
        let (segment, (door, peer)) = (stands.segment, key);
        if stands.association.is_answered() && !std::mem::replace(&mut stands.has_told, true) {
            let _ = self.say(segment, key, Shaken::Answered);
        }
        match came {
            Came::Nothing => {}
            Came::Keys(keys) => stands.untold = Some(keys),
            Came::Over(why) => {
                // A stranger that fails says nothing of the stream.
                if stands.done.is_none() && stands.whence == Whence::Named {
                    tracing::warn!(
                        %segment,
                        stream = %door.stream,
                        "a DTLS handshake failed: {why}; what it was to give keys for is not recorded unless there are \
                         some already, or another succeeds"
                    );
                } else if stands.done.is_none() {
                    tracing::debug!(%segment, stream = %door.stream, %peer, "a DTLS handshake failed: {why}");
                }
                places.remove_if(key, |_| true);
                out.into_iter().for_each(|record| drop(self.say(segment, key, Shaken::Send(record))));
                return;
            }
        }
        // Keys before the last words: what the peer sends upon them can be opened. Nobody repeats them, so they wait
        // for a media thread that has no room.
        if let Some(keys) = stands.untold.take() {
            match self.say(segment, key, Shaken::Keys(keys, stands.association.proof())) {
                Some(Shaken::Keys(keys, _)) => stands.untold = Some(keys),
                _ => stands.done = Some(now),
            }
        }
        out.into_iter().for_each(|record| drop(self.say(segment, key, Shaken::Send(record))));
    }

    /// Says something to a port; given back when the media thread has no room for it. A record comes with the next
    /// repetition then.
    fn say(&self, segment: SegmentId, (door, peer): Key, said: Shaken) -> Option<Shaken> {
        match self.media.try_send(segment, MediaOrder::Shaken { segment, door, peer, said })? {
            MediaOrder::Shaken { said, .. } => Some(said),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
