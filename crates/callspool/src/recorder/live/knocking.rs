//! What comes to the ports of a stream beside RTP and RTCP: checks of ICE, and handshakes of DTLS.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crossbeam_channel::Sender;
use media::rtp::StreamReceiver;
use media::stun;
use model::protection::HandshakeRole;
use model::{Mono, OpenStream, Protection, SegmentId, WallTime};

use super::super::handshakes::{Door, Knock, News, Whence};
use super::super::ingest::Datagram;
use super::super::ports::Sockets;
use super::stream::Which;
use crate::dtls::{Proof, is_dtls};

/// Datagrams of checks and handshakes that are looked at in a second, of those whom signalling names. A handshake has
/// about ten, and a client checks each pair every 20 ms at most while it connects.
const NAMED_MAX: u32 = 100;
/// Datagrams of handshakes that are, of all others: a client behind NAT begins with one.
const ELSEWHERE_MAX: u32 = 30;
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
    pub(super) knocks: &'a Sender<Knock>,
    pub(super) open: &'a OpenStream,
}

/// What is remembered of those who come.
#[derive(Debug)]
pub(super) struct Knocking {
    named: Budget,
    elsewhere: Budget,
    /// Addresses that have proved by a check that they know our description, the latest first.
    checked: [Option<SocketAddr>; CHECKED_MAX],
    /// The handshake that we begin has been begun.
    pub(super) has_begun: bool,
    /// It was told that somebody's keys were not taken.
    has_told: bool,
}

impl Knocking {
    pub(super) const fn new(now: Mono) -> Self {
        Self {
            named: Budget { since: now, count: 0 },
            elsewhere: Budget { since: now, count: 0 },
            checked: [None; CHECKED_MAX],
            has_begun: false,
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
        let (whence, budget, most) = if is_named {
            (Whence::Named, &mut self.named, NAMED_MAX)
        } else {
            (Whence::Elsewhere, &mut self.elsewhere, ELSEWHERE_MAX)
        };
        if budget.allows(now, most) {
            let news = News::Came { from, whence, terms: terms.clone(), datagram: bytes.to_vec() };
            // If the thread is behind, it is lost, and repeated by its sender.
            drop(place.knocks.try_send(Knock { door: place.door, segment: place.segment, news }));
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
        let Some(check) = stun::check(bytes, ice).filter(|_| self.named.allows(now, NAMED_MAX)) else {
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
        }
    }

    fn has_checked(&self, from: SocketAddr) -> bool {
        self.checked.contains(&Some(from))
    }

    /// A handshake is ours to begin: says so once.
    pub(super) fn begin(&mut self, segment: SegmentId, open: &OpenStream, sockets: &Sockets) {
        let Protection::Dtls(terms) = &open.protection else { return };
        let Some(peer) = open.remote.filter(|_| !self.has_begun && terms.role == HandshakeRole::Client)
        else {
            return;
        };
        self.has_begun = true;
        let peers = [Some(peer), open.remote_rtcp];
        for (door, peer) in doors(open, sockets).zip(peers).filter_map(|(door, peer)| Some((door, peer?))) {
            let news = News::Begin { peer, terms: terms.clone() };
            drop(sockets.knocks.try_send(Knock { door, segment, news }));
        }
    }

    /// Another segment has the stream.
    pub(super) fn moved(segment: SegmentId, open: &OpenStream, sockets: &Sockets) {
        if matches!(open.protection, Protection::Dtls(_)) {
            for door in doors(open, sockets) {
                // If it is lost, the next datagram of the peer says it too.
                drop(sockets.knocks.try_send(Knock { door, segment, news: News::Moved }));
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
    /// Whether one more may be looked at now.
    fn allows(&mut self, now: Mono, most: u32) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count <= most
    }
}
