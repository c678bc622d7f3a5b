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

use crossbeam_channel::{Receiver, RecvTimeoutError};
use model::protection::{Handshake, HandshakeRole};
use model::{Keys, SegmentId, StreamId};

use super::live::Which;
use super::media_thread::MediaOrder;
use super::threads::Threads;
use crate::dtls::{Association, Came, Identity, Proof, is_hello};
use crate::pulse::Pulse;
use places::{Places, Standing};

/// Datagrams that may wait for the thread; what comes beyond is lost, and repeated by its sender.
pub(super) const KNOCKS_MAX: usize = 4_096;
/// How long one stays after its keys are known, to repeat its last words.
const LINGER: Duration = Duration::from_secs(30);
/// How long the thread sleeps at most, so that its pulse goes on.
const ROUND: Duration = Duration::from_secs(1);

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
    /// The keys of the peer, and ours, and what proves who it is.
    Keys(Box<(Keys, Keys)>, Proof),
}

pub(crate) struct Handshakes {
    pub(crate) identity: Arc<Identity>,
    pub(crate) knocks: Receiver<Knock>,
    pub(crate) media: Threads,
    pub(crate) pulse: Pulse,
}

impl Handshakes {
    /// Runs until nobody can knock any more.
    pub(crate) fn run(self) {
        let mut places = Places::default();
        loop {
            self.pulse.goes_on();
            let wait = places.due().map_or(ROUND, |due| due.saturating_duration_since(Instant::now()));
            match self.knocks.recv_timeout(wait.min(ROUND)) {
                Ok(knock) => self.answer(&mut places, Instant::now(), knock),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.pulse.waits(),
            }
            self.wake(&mut places, Instant::now());
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
        // New terms, or a hello after all was said: it begins anew.
        let begins = datagram.as_deref().is_none_or(is_hello);
        places.remove_if(key, |s| s.terms != terms || (begins && s.done.is_some()));
        if places.get(key).is_none() {
            let may_begin = datagram.is_none() == (terms.role == HandshakeRole::Client);
            if !begins || !may_begin || !places.make_room(door, whence, now) {
                return;
            }
            let association = Association::new(&self.identity, terms.clone(), now);
            places.insert(key, Standing { association, terms, segment, whence, began: now, done: None });
        }
        let Some(stands) = places.get(key) else { return };
        stands.segment = segment;
        // Who was a stranger may have become known; a name that was proved once is not lost.
        stands.whence = stands.whence.min(whence);
        let mut out = Vec::new();
        let came = match &datagram {
            Some(datagram) => stands.association.receive(now, datagram, &mut |r| out.push(r.to_vec())),
            None => stands.association.wake(now, &mut |r| out.push(r.to_vec())),
        };
        self.tell(places, now, key, out, came);
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

    fn tell(
        &self,
        places: &mut Places,
        now: Instant,
        (door, peer): (Door, SocketAddr),
        out: Vec<Vec<u8>>,
        came: Came,
    ) {
        let Some(stands) = places.get((door, peer)) else { return };
        let segment = stands.segment;
        let say = |said| {
            // A media thread that has no room now gets it with the next repetition.
            let _ = self.media.try_send(segment, MediaOrder::Shaken { segment, door, peer, said });
        };
        // Keys before the last words: what the peer sends upon them can be opened.
        match came {
            Came::Nothing => {}
            Came::Keys(keys) => {
                stands.done = Some(now);
                say(Shaken::Keys(keys, stands.association.proof()));
            }
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
                    tracing::debug!(%segment, stream = %door.stream, "a DTLS handshake failed: {why}");
                }
                places.remove_if((door, peer), |_| true);
            }
        }
        out.into_iter().for_each(|record| say(Shaken::Send(record)));
    }
}

#[cfg(test)]
mod tests;
