//! What comes to the ports of a stream beside RTP and RTCP: checks of ICE, and handshakes of DTLS.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use media::rtp::StreamReceiver;
use media::stun;
use model::protection::HandshakeRole;
use model::{Mono, OpenStream, Protection, SegmentId, WallTime};

use super::super::handshakes::{Door, Knock, Knocks, News, Whence};
use super::super::ports::Sockets;
use super::super::source::Datagram;
use super::stream::Which;
use crate::dtls::{Proof, is_dtls, is_hello};

/// Checks that are answered in a second: a client checks each pair every 20 ms at most while it connects.
const CHECKS_MAX: u32 = 100;
/// Datagrams of handshakes that are looked at in a second, of those whom signalling names, and of each who has shown to
/// be there: a handshake has about ten.
const NAMED_MAX: u32 = 100;
/// Hellos that are, of all others, who have nothing else to say.
const ELSEWHERE_MAX: u32 = 30;
/// Addresses that have returned our cookie, the last ones.
const ANSWERED_MAX: usize = 4;
/// How long we wait for the keys of a handshake that is ours to begin before we begin another: as long as one may take.
const AGAIN: Duration = Duration::from_secs(20);
/// Addresses that have proved by a check that they know our description, the last ones: a client has a few.
const CHECKED_MAX: usize = 4;
/// Keys that nothing proves are not taken from elsewhere while the source was heard within so long: longer than the
/// pauses of a sender that suppresses silence.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// Whether a datagram is a check or of a handshake, on a stream that has such (RFC 7983).
pub(super) fn is_other(bytes: &[u8], open: &OpenStream) -> bool {
    (open.ice.is_some() && stun::is_stun(bytes))
        || (matches!(open.protection, Protection::Dtls(_)) && is_dtls(bytes))
}

/// The port that something came to.
pub(super) struct Place<'a> {
    pub(super) segment: SegmentId,
    pub(super) door: Door,
    pub(super) socket: &'a UdpSocket,
    pub(super) knocks: &'a Knocks,
    pub(super) open: &'a OpenStream,
}

/// What is remembered of those who come.
#[derive(Debug)]
pub(super) struct Knocking {
    checks: Budget,
    named: Budget,
    elsewhere: Budget,
    /// Who else has shown to be there, the latest first.
    answered: [Option<(SocketAddr, Budget)>; ANSWERED_MAX],
    /// Addresses that have proved by a check that they know our description, the latest first.
    checked: [Option<SocketAddr>; CHECKED_MAX],
    /// Where a check said that media come from.
    nominated: Option<SocketAddr>,
    /// When the handshake that we begin was begun.
    pub(super) begun: Option<Mono>,
    /// It was told that somebody's keys were not taken.
    has_told: bool,
}

impl Knocking {
    pub(super) const fn new(now: Mono) -> Self {
        Self {
            checks: Budget::new(now),
            named: Budget::new(now),
            elsewhere: Budget::new(now),
            answered: [const { None }; ANSWERED_MAX],
            checked: [None; CHECKED_MAX],
            nominated: None,
            begun: None,
            has_told: false,
        }
    }

    /// Answers a check, or hands a datagram to whoever makes handshakes.
    pub(super) fn take(
        &mut self,
        now: Mono,
        place: &Place<'_>,
        receiver: &mut StreamReceiver,
        datagram: &Datagram<'_>,
    ) {
        let Datagram { from, bytes, .. } = *datagram;
        if stun::is_stun(bytes) {
            return self.answer(now, place, receiver, datagram);
        }
        let Protection::Dtls(terms) = &place.open.protection else { return };
        let is_named = receiver.expects(from) || self.has_checked(from);
        let whence = if is_named { Whence::Named } else { Whence::Elsewhere };
        let answered = self.answered.iter_mut().flatten().find(|(address, _)| *address == from);
        let is_allowed = match answered {
            _ if is_named => self.named.allows(now, NAMED_MAX),
            Some((_, budget)) => budget.allows(now, NAMED_MAX),
            None => is_hello(bytes) && self.elsewhere.allows(now, ELSEWHERE_MAX),
        };
        if is_allowed {
            let news = News::Came { from, whence, terms: terms.clone(), datagram: bytes.to_vec() };
            // If the thread is behind, it is lost, and repeated by its sender.
            place.knocks.knock(Knock { door: place.door, segment: place.segment, news });
        }
    }

    /// A peer has returned our cookie.
    pub(super) fn answered(&mut self, now: Mono, peer: SocketAddr) {
        if self.answered.iter().flatten().all(|(address, _)| *address != peer) {
            self.answered.rotate_right(1);
            self.answered[0] = Some((peer, Budget::new(now)));
        }
    }

    /// Who does not know our name costs no more than the look at it, so only those who have our password are counted.
    fn answer(
        &mut self,
        now: Mono,
        place: &Place<'_>,
        receiver: &mut StreamReceiver,
        datagram: &Datagram<'_>,
    ) {
        let Datagram { from, bytes, .. } = *datagram;
        let Some(ice) = &place.open.ice else { return };
        let Some(check) = stun::check(bytes, ice).filter(|_| self.checks.allows(now, CHECKS_MAX)) else {
            return;
        };
        let mut out = [0; stun::ANSWER_MAX];
        let length = stun::answer(&check, from, ice, &mut out);
        // What is lost is asked again.
        let _ = place.socket.send_to(out.get(..length).unwrap_or_default(), from);
        if !self.has_checked(from) {
            self.checked.rotate_right(1);
            self.checked[0] = Some(from);
        }
        if check.nominates && place.door.which == Which::Rtp {
            receiver.nominate(from);
            if self.nominated.replace(from) != Some(from) {
                // What was begun elsewhere did not reach it.
                self.begun = None;
            }
        }
    }

    fn has_checked(&self, from: SocketAddr) -> bool {
        self.checked.contains(&Some(from))
    }

    /// A handshake is ours to begin: says so, and again while there are no keys. At other ports and by another pair it is
    /// begun although there are: the peer may wait for it.
    pub(super) fn begin(
        &mut self,
        now: Mono,
        segment: SegmentId,
        (open, has_keys): (&OpenStream, bool),
        sockets: &Sockets,
    ) {
        let Protection::Dtls(terms) = &open.protection else { return };
        let is_due = self.begun.is_none_or(|begun| !has_keys && now.since(begun) >= AGAIN);
        let is_ours = is_due && terms.role == HandshakeRole::Client;
        let Some(peer) = self.nominated.or(open.remote).filter(|_| is_ours) else { return };
        let peers = [Some(peer), open.remote_rtcp];
        let mut is_heard = true;
        for (door, peer) in doors(open, sockets).zip(peers).filter_map(|(door, peer)| Some((door, peer?))) {
            let news = News::Begin { peer, terms: terms.clone() };
            is_heard &= sockets.knocks.knock(Knock { door, segment, news });
        }
        // Nobody repeats it but this.
        self.begun = is_heard.then_some(now);
    }

    /// Another segment has the stream.
    pub(super) fn moved(segment: SegmentId, open: &OpenStream, sockets: &Sockets) {
        if matches!(open.protection, Protection::Dtls(_)) {
            for door in doors(open, sockets) {
                // If it is lost, the next datagram of the peer says it too.
                sockets.knocks.knock(Knock { door, segment, news: News::Moved });
            }
        }
    }

    /// Whether keys of this peer may be taken, where there are some already or not.
    pub(super) fn takes_keys(
        &mut self,
        now: WallTime,
        place: (SegmentId, Which),
        (open, receiver): (&OpenStream, &StreamReceiver),
        (peer, proof, has_keys): (SocketAddr, Proof, bool),
    ) -> bool {
        let (segment, which) = place;
        let is_source = |source: SocketAddr| match which {
            Which::Rtp => source == peer,
            Which::Rtcp => source.ip() == peer.ip(),
        };
        let why = match proof {
            Proof::Certificate => return true,
            // Not every client that has credentials makes checks: a lite agent, as we are, makes none.
            Proof::None if self.checked[0].is_some() && !self.has_checked(peer) => {
                "which has not proved by a check of ICE that it knows our description, as another has"
            }
            Proof::None
                if has_keys && receiver.heard_since(now - HEARD_WITHIN).is_some_and(|s| !is_source(s)) =>
            {
                "while media come from another"
            }
            Proof::None => return true,
        };
        if !std::mem::replace(&mut self.has_told, true) {
            tracing::warn!(
                %segment,
                stream = %open.stream,
                "keys were not taken from an address {why}: certificates are not asked for (media.dtls_verify), so \
                 nothing else proves whose they are; this is said once for a stream"
            );
        }
        false
    }
}

/// The doors of a stream: its port, and that of RTCP where it has one.
fn doors<'a>(open: &OpenStream, sockets: &'a Sockets) -> impl Iterator<Item = Door> + use<'a> {
    let stream = open.stream;
    let rtcp = sockets.rtcp.as_ref().map(|_| Which::Rtcp);
    [Some(Which::Rtp), rtcp].into_iter().flatten().map(move |which| door(stream, which, sockets))
}

/// The door to this socket.
pub(super) const fn door(stream: model::StreamId, which: Which, sockets: &Sockets) -> Door {
    let told = match which {
        Which::Rtp => sockets.told_rtp,
        Which::Rtcp => sockets.told_rtcp,
    };
    Door { stream, which, port: told.port() }
}

/// So many in a second.
#[derive(Debug)]
struct Budget {
    since: Mono,
    count: u32,
}

impl Budget {
    const fn new(since: Mono) -> Self {
        Self { since, count: 0 }
    }

    /// Whether one more may be looked at now.
    fn allows(&mut self, now: Mono, most: u32) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count <= most
    }
}
