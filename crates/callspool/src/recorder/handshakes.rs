//! The thread that makes DTLS handshakes for media threads: their computations take a thousand times as long as a
//! packet may.
//!
//! ```text
//!  media thread ── Knock: what came to which port, from whom ──► handshakes
//!               ◄── MediaOrder::Shaken: send this, or: these are the keys ──
//! ```
//!
//! A peer is a port and an address. Whoever comes to a port from several addresses, or never ends what was begun,
//! is forgotten before it takes much: there are limits of handshakes for each port and for all together, of how long
//! one takes, and of what waits for the thread.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use model::protection::{Handshake, HandshakeRole};
use model::{Keys, SegmentId, StreamId};

use super::live::Which;
use super::media_thread::MediaOrder;
use super::threads::Threads;
use crate::dtls::{Association, Came, Identity, is_hello};
use crate::pulse::Pulse;

/// Datagrams that may wait for the thread; what comes beyond is lost, and repeated by its sender.
pub(super) const KNOCKS_MAX: usize = 4_096;
/// Handshakes at a time, of all ports: each takes some 20 KiB. New ones wait for the next repetition of their hello.
const ASSOCIATIONS_MAX: usize = 4_096;
/// Addresses that shake hands with one port at a time: the peer, and the peer again from elsewhere.
const ASSOCIATIONS_PER_PORT: usize = 4;
/// How long one stays after its keys are known, to repeat its last words.
const LINGER: Duration = Duration::from_secs(30);
/// How long the thread sleeps at most, so that its pulse goes on.
const ROUND: Duration = Duration::from_secs(1);

/// A port of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Door {
    pub(crate) segment: SegmentId,
    pub(crate) stream: StreamId,
    pub(crate) which: Which,
}

/// Something for the thread.
#[derive(Debug)]
pub(crate) struct Knock {
    pub(crate) door: Door,
    /// Who came, or is to be met.
    pub(crate) peer: SocketAddr,
    /// What signalling says of the handshake.
    pub(crate) terms: Handshake,
    /// What came; none: we begin.
    pub(crate) datagram: Option<Vec<u8>>,
}

/// What the thread has to say to a port.
pub(crate) enum Shaken {
    /// To be sent to the peer.
    Send(Vec<u8>),
    /// The keys of the peer, and ours.
    Keys(Box<(Keys, Keys)>),
}

struct Standing {
    association: Association,
    terms: Handshake,
    /// Since when its keys are known.
    done: Option<Instant>,
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
        let mut standing: BTreeMap<(Door, SocketAddr), Standing> = BTreeMap::new();
        loop {
            self.pulse.goes_on();
            let now = Instant::now();
            let due = standing.values().map(|s| s.association.due()).min();
            let wait = due.map_or(ROUND, |due| due.saturating_duration_since(now)).min(ROUND);
            match self.knocks.recv_timeout(wait) {
                Ok(knock) => self.answer(&mut standing, knock),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.pulse.waits(),
            }
            self.wake(&mut standing);
        }
    }

    fn answer(&self, standing: &mut BTreeMap<(Door, SocketAddr), Standing>, knock: Knock) {
        let Knock { door, peer, terms, datagram } = knock;
        let now = Instant::now();
        let key = (door, peer);
        // New terms, or a hello after all was said: it begins anew.
        let begins = datagram.as_deref().is_none_or(is_hello);
        if standing.get(&key).is_some_and(|s| s.terms != terms || (begins && s.done.is_some())) {
            standing.remove(&key);
        }
        if !standing.contains_key(&key) {
            let may_begin = datagram.is_none() == (terms.role == HandshakeRole::Client);
            let of_door = standing.range((door, MIN)..).take_while(|((d, _), _)| *d == door).count();
            if !begins || !may_begin || of_door >= ASSOCIATIONS_PER_PORT || standing.len() >= ASSOCIATIONS_MAX
            {
                return;
            }
            let association = Association::new(&self.identity, terms.clone(), now);
            standing.insert(key, Standing { association, terms, done: None });
        }
        let Some(stands) = standing.get_mut(&key) else { return };
        let mut out = Vec::new();
        let came = match &datagram {
            Some(datagram) => stands.association.receive(now, datagram, &mut |r| out.push(r.to_vec())),
            None => stands.association.wake(now, &mut |r| out.push(r.to_vec())),
        };
        self.tell(standing, key, out, came);
    }

    /// Goes on with those whose time has come, and forgets those that are through.
    fn wake(&self, standing: &mut BTreeMap<(Door, SocketAddr), Standing>) {
        let now = Instant::now();
        standing.retain(|_, s| s.done.is_none_or(|done| now.saturating_duration_since(done) < LINGER));
        let due: Vec<_> =
            standing.iter().filter(|(_, s)| s.association.due() <= now).map(|(k, _)| *k).collect();
        for key in due {
            let Some(stands) = standing.get_mut(&key) else { continue };
            let mut out = Vec::new();
            let came = stands.association.wake(now, &mut |r| out.push(r.to_vec()));
            self.tell(standing, key, out, came);
        }
    }

    fn tell(
        &self,
        standing: &mut BTreeMap<(Door, SocketAddr), Standing>,
        (door, peer): (Door, SocketAddr),
        out: Vec<Vec<u8>>,
        came: Came,
    ) {
        let say = |said| {
            // A media thread that has no room now gets it with the next repetition.
            let _ = self.media.try_send(door.segment, MediaOrder::Shaken { door, peer, said });
        };
        // Keys before the last words: what the peer sends upon them can be opened.
        match came {
            Came::Nothing => {}
            Came::Keys(keys) => {
                if let Some(stands) = standing.get_mut(&(door, peer)) {
                    stands.done = Some(Instant::now());
                }
                say(Shaken::Keys(keys));
            }
            Came::Over(why) => {
                let was_done = standing.remove(&(door, peer)).is_some_and(|s| s.done.is_some());
                if !was_done {
                    tracing::warn!(
                        segment = %door.segment,
                        stream = %door.stream,
                        "a DTLS handshake failed: {why}; the stream is not recorded unless another succeeds"
                    );
                }
            }
        }
        out.into_iter().for_each(|record| say(Shaken::Send(record)));
    }
}

/// Before every address of a door.
const MIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
