//! Pairs of ports that streams of several calls share: who may, and on which. A media thread has a pool, as a socket is read by
//! one thread; its openers and itself seat streams there.
//!
//! ```text
//!  a stream whose trunk promises where it sends from ──► a pair with room ──► its sockets, and a seat
//!               │ else                                        │ none
//!               ▼                                             ▼
//!         ports of its own                                 a new pair
//! ```
//!
//! The media thread closes a pair a minute after its last seat was left, and listens to it until then. Whose a datagram is
//! decides nobody here: [`super::super::seats`].

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::peer::Flowing;
use model::{MediaKind, OpenStream, Protection, TenantId};

use super::super::Shared;
use super::places::{Kind, PairId, Places, SeatId, Wanted};
use super::{Ports, Sockets};
use crate::clock::mono;

/// Whose stream is to be seated, and which pairs the others of its segment are on.
#[derive(Debug, Clone)]
pub(crate) struct Whose<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) beside: Vec<PairId>,
}

/// Where the streams of a media thread get their sockets.
#[derive(Debug, Clone)]
pub(crate) struct Berths {
    ports: Arc<Ports>,
    /// None where each stream has ports of its own.
    pool: Option<Arc<Pool>>,
}

impl Berths {
    /// Of each media thread with these ports, for so many streams on each pair.
    pub(crate) fn new(ports: Vec<Arc<Ports>>, streams: usize, shared: &Arc<Shared>) -> Vec<Self> {
        let pool = || Pool {
            streams_max: streams,
            places: Mutex::new(Places::new(streams)),
            shared: Arc::clone(shared),
        };
        let with_pool = |ports| Self { ports, pool: (streams > 1).then(|| Arc::new(pool())) };
        ports.into_iter().map(with_pool).collect()
    }

    /// Sockets for a stream.
    pub(crate) fn open(&self, whose: &Whose<'_>, open: &OpenStream) -> io::Result<Sockets> {
        let seated = self.pool.as_ref().and_then(|pool| pool.seat(&wanted(whose, open)?, &self.ports));
        seated.unwrap_or_else(|| self.ports.open(open.family, open.rtcp_mux))
    }

    /// Pairs that nobody sits on any more and that have rested: they are closed once these are dropped.
    pub(crate) fn rested(&self) -> Vec<(PairId, Pair)> {
        self.pool.as_ref().map(|pool| pool.lock().close(mono())).unwrap_or_default()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    streams_max: usize,
    places: Mutex<Places<Pair>>,
    shared: Arc<Shared>,
}

/// What a pair holds. Its descriptors are counted by it, and not by the streams that have a seat there.
#[derive(Debug)]
pub(crate) struct Pair {
    rtp: Arc<UdpSocket>,
    rtcp: Option<Arc<UdpSocket>>,
    told_rtp: SocketAddr,
    told_rtcp: SocketAddr,
    shared: Arc<Shared>,
}

impl Pair {
    fn of(sockets: &Sockets, shared: &Arc<Shared>) -> Self {
        let Sockets { rtp, rtcp, told_rtp, told_rtcp, .. } = sockets;
        let (rtp, rtcp, shared) = (Arc::clone(rtp), rtcp.clone(), Arc::clone(shared));
        let pair = Self { rtp, rtcp, told_rtp: *told_rtp, told_rtcp: *told_rtcp, shared };
        pair.shared.hold(pair.sockets().count() as u64);
        pair
    }

    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Arc<UdpSocket>> {
        std::iter::once(&self.rtp).chain(&self.rtcp)
    }

    /// The sockets of a stream that has this seat.
    fn seated(&self, ports: &Ports, seat: Seat) -> Sockets {
        Sockets {
            rtp: Arc::clone(&self.rtp),
            rtcp: self.rtcp.clone(),
            told_rtp: self.told_rtp,
            told_rtcp: self.told_rtcp,
            knocks: ports.knocks.clone(),
            room: ports.room.clone(),
            seat: Some(Box::new(seat)),
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.shared.release(self.sockets().count() as u64);
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Places<Pair>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat; none where there is none, nor room for another pair.
    fn seat(self: &Arc<Self>, wanted: &Wanted, ports: &Ports) -> Option<io::Result<Sockets>> {
        let seat = |at| Seat { pool: Arc::clone(self), at };
        {
            let mut places = self.lock();
            if let Some((pair, id, held)) = places.sit(wanted) {
                return Some(Ok(held.seated(ports, seat((pair, id)))));
            }
            if !places.may_open() {
                return None;
            }
        }
        // Nobody waits for the kernel: of two who do this at the same time each has a pair.
        let opened = ports.open_for(self.streams_max, wanted.kind.family, wanted.kind.rtcp_mux);
        Some(opened.map(|sockets| {
            let at = self.lock().open(wanted, Pair::of(&sockets, &self.shared));
            Sockets { seat: Some(Box::new(seat(at))), ..sockets }
        }))
    }
}

/// A seat on a shared pair, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    pool: Arc<Pool>,
    at: (PairId, SeatId),
}

impl Seat {
    pub(crate) const fn at(&self) -> (PairId, SeatId) {
        self.at
    }

    /// Streams that its pair may have.
    pub(crate) fn streams_max(&self) -> u32 {
        u32::try_from(self.pool.streams_max).unwrap_or(u32::MAX)
    }

    /// Where its sender is.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.pool.lock().addresses(self.at).collect()
    }

    /// Whether it is where its stream is as signalling says now, without anything new.
    pub(crate) fn covers(&self, open: &OpenStream) -> bool {
        match announced(open) {
            Some(announced) => {
                let has = self.addresses();
                announced.iter().all(|address| has.contains(address)) || needs_nothing(open)
            }
            None => needs_nothing(open) && may_share(open),
        }
    }

    /// Whether its stream may stay when it is as signalling says now. Where that is new is kept for it until it turns there.
    pub(crate) fn stays(&self, open: &OpenStream) -> bool {
        let keeps = announced(open).is_some_and(|addresses| self.pool.lock().keep(self.at, &addresses));
        keeps || self.covers(open)
    }

    /// Its sender is where signalling says now, as far as that is the seat's, and nowhere else. Whether its stream is heard.
    pub(crate) fn turn(&self, open: &OpenStream) -> bool {
        if open.remote.is_some() || !may_share(open) {
            self.pool.lock().turn(self.at, &announced(open).unwrap_or_default());
        }
        self.covers(open)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.lock().leave(mono(), self.at);
    }
}

/// What a stream looks for, if it may share ports.
fn wanted(whose: &Whose<'_>, open: &OpenStream) -> Option<Wanted> {
    let addresses = announced(open)?;
    let kind = Kind { tenant: whose.tenant.clone(), family: open.family, rtcp_mux: open.rtcp_mux };
    Some(Wanted { kind, beside: whose.beside.clone(), addresses })
}

/// Whether a stream is of a kind that may share ports. Who is checked or shaken hands with may be anywhere until then; keys
/// that come beside signalling say nothing of who sends; pictures fill a port alone.
const fn may_share(open: &OpenStream) -> bool {
    open.may_share
        && matches!(open.kind, MediaKind::Audio)
        && open.ice.is_none()
        && matches!(open.protection, Protection::None | Protection::Srtp { .. })
}

/// Whether nothing is to be heard of a stream as it is now: what it names may be anywhere, a hold's port of all streams.
fn needs_nothing(open: &OpenStream) -> bool {
    open.remote.is_none() || open.flowing != Flowing::Active
}

/// Where signalling says that the sender of a stream that may share ports is, by RTP and RTCP; none where it does not say.
fn announced(open: &OpenStream) -> Option<Vec<SocketAddr>> {
    let rtp = open.remote.filter(|rtp| may_share(open) && is_somewhere(*rtp))?;
    let next = rtp.port().checked_add(1).filter(|_| !open.rtcp_mux);
    let rtcp = open.remote_rtcp.or(next.map(|port| SocketAddr::new(rtp.ip(), port)));
    let rtcp = rtcp.filter(|rtcp| is_somewhere(*rtcp));
    let mut all: Vec<SocketAddr> = std::iter::once(rtp).chain(rtcp).map(canonical).collect();
    all.dedup();
    // Nobody is taken at his word of where another machine sends from.
    all.iter().all(|address| address.ip() == rtp.ip().to_canonical()).then_some(all)
}

fn is_somewhere(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let is_near = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_near
}

/// As addresses are compared: by nothing but number and port.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use model::Side;
    use model::protection::{Ice, Secret};

    use super::super::super::handshakes::Knocks;
    use super::super::PortConfig;
    use super::*;

    fn stream(remote: &str) -> OpenStream {
        let mut open = OpenStream::audio(1, Side::Mixed, &[]);
        (open.remote, open.may_share) = (remote.parse().ok(), true);
        open
    }

    #[test]
    fn what_signalling_says_of_where_a_sender_is() {
        let check = |expected: &[&str], open: &OpenStream| {
            let told = announced(open).unwrap_or_default();
            let told: Vec<String> = told.iter().map(ToString::to_string).collect();
            assert_eq!(told, expected, "{open:?}");
        };
        let of = |change: fn(&mut OpenStream)| {
            let mut open = stream("192.0.2.1:4000");
            change(&mut open);
            open
        };
        check(&["192.0.2.1:4000", "192.0.2.1:4001"], &of(|_| ()));
        check(&["192.0.2.1:4000"], &of(|open| open.rtcp_mux = true));
        let named = |open: &mut OpenStream| open.remote_rtcp = "192.0.2.1:9".parse().ok();
        check(&["192.0.2.1:4000", "192.0.2.1:9"], &of(named));
        check(&["192.0.2.1:4000"], &of(|open| open.remote_rtcp = "0.0.0.0:9".parse().ok()));
        check(&[], &of(|open| open.remote_rtcp = "192.0.2.2:4001".parse().ok()));
        check(&["192.0.2.1:65535"], &stream("192.0.2.1:65535"));
        check(&["192.0.2.1:4000", "192.0.2.1:4001"], &stream("[::ffff:192.0.2.1]:4000"));
        // Nobody says, or it is nowhere or anywhere.
        for remote in ["", "0.0.0.0:4000", "192.0.2.1:0", "224.0.0.1:4000", "[ff02::1]:4000"] {
            check(&[], &stream(remote));
        }
        for remote in ["[fe80::1]:4000", "169.254.7.1:4000", "255.255.255.255:4000"] {
            check(&[], &stream(remote));
        }
        // Nobody promises that it is true.
        check(&[], &of(|open| open.may_share = false));
        check(&[], &of(|open| open.kind = MediaKind::Video));
        check(&[], &of(|open| open.protection = Protection::Awaited));
        let ice = |open: &mut OpenStream| {
            open.ice = Some(Ice { user: "a".to_owned(), password: Secret::new(b"b".to_vec()) });
        };
        check(&[], &of(ice));
    }

    /// One media thread's, for so many streams on a pair, and what counts their descriptors.
    fn berths(min: u16, streams: usize) -> (Berths, Arc<Shared>) {
        let config = PortConfig {
            listen_v4: Some(IpAddr::V4(Ipv4Addr::new(127, 44, 0, 3))),
            listen_v6: None,
            advertised_v4: None,
            advertised_v6: None,
            min,
            max: min + 99,
            receive_buffer: 64 << 10,
            is_held: false,
        };
        let (shared, ports) = (Arc::<Shared>::default(), Arc::new(Ports::new(config, Knocks::new().0)));
        (Berths::new(vec![ports], streams, &shared).remove(0), shared)
    }

    /// Of a segment that has no other streams.
    fn alone(tenant: &TenantId) -> Whose<'_> {
        Whose { tenant, beside: Vec::new() }
    }

    #[test]
    fn a_pair_counts_once_and_rests_before_it_is_closed() {
        let (berths, shared) = berths(9_000, 2);
        let tenant = TenantId::default();
        let open = |remote: &str| berths.open(&alone(&tenant), &stream(remote)).unwrap();
        let is_seated = |sockets: &Sockets| sockets.seat.is_some();
        let all = ["192.0.2.1:4000", "192.0.2.1:5000", "192.0.2.1:6000"].map(open);
        assert!(all.iter().all(is_seated));
        assert!(all[0].told_rtp == all[1].told_rtp && all[0].told_rtp != all[2].told_rtp);
        // Of whom nothing is promised has ports of its own, and counts them itself.
        let own = berths.open(&alone(&tenant), &OpenStream { may_share: false, ..stream("192.0.2.1:7000") });
        assert!(!is_seated(&own.unwrap()));
        let counted = || shared.descriptors.load(Ordering::Relaxed);
        assert_eq!(counted(), 4);
        // With RTCP on the same port it is one descriptor.
        let one = berths.open(&alone(&tenant), &OpenStream { rtcp_mux: true, ..stream("192.0.2.1:7000") });
        assert!(one.is_ok() && counted() == 5);
        let port = all[0].told_rtp;
        drop((all, one));
        assert!(berths.rested().is_empty());
        assert_eq!(counted(), 5);
        assert!(UdpSocket::bind(port).is_err(), "nobody has it until it has rested");
        // It is had again, but by nobody from where somebody was.
        let again = ["192.0.2.1:4000", "192.0.2.1:8000"].map(open);
        assert!(again[0].told_rtp != port && again[1].told_rtp == port);
        drop(again);
        let much_later = mono() + Duration::from_secs(64);
        drop(berths.pool.as_ref().unwrap().lock().close(much_later));
        assert_eq!(counted(), 0);
        UdpSocket::bind(port).unwrap();
    }

    #[test]
    fn who_changes_stays_where_nobody_else_is_and_says_so_without_taking_anything() {
        let (berths, _) = berths(9_200, 4);
        let tenant = TenantId::default();
        let open = |remote: &str| berths.open(&alone(&tenant), &stream(remote)).unwrap().seat.unwrap();
        let (one, other) = (open("192.0.2.1:4000"), open("192.0.2.1:5000"));
        assert!(one.at().0 == other.at().0);
        let (held, elsewhere) = (stream(""), stream("192.0.2.2:4000"));
        assert!(one.covers(&held) && one.stays(&held) && one.turn(&held) && one.addresses().len() == 2);
        assert!(!one.covers(&elsewhere) && !one.covers(&elsewhere), "asking is not taking");
        assert!(one.stays(&elsewhere) && !one.covers(&elsewhere), "it is not there yet");
        assert!(one.turn(&elsewhere) && one.covers(&elsewhere));
        // Where it was before is nobody's, unless it goes back.
        assert!(!one.covers(&stream("192.0.2.1:4000")) && one.addresses().len() == 2);
        assert!(!other.stays(&stream("192.0.2.1:4000")));
        assert!(one.stays(&stream("192.0.2.1:4000")) && one.turn(&stream("192.0.2.1:4000")));
        assert_eq!(one.addresses()[0], "192.0.2.1:4000".parse().unwrap());
        // Somebody else has it, and one that is handed back rests. Who cannot be had there is nowhere.
        assert!(!one.stays(&stream("192.0.2.1:5000")));
        drop(other);
        assert!(!one.stays(&stream("192.0.2.1:5000")) && !one.turn(&stream("192.0.2.1:5000")));
        assert_eq!(one.addresses(), []);
        // It turns to what never shares.
        assert!(!one.stays(&OpenStream { protection: Protection::Awaited, ..stream("192.0.2.1:4000") }));
        assert!(!one.stays(&OpenStream { protection: Protection::Awaited, ..held }));
    }

    /// A hold that names the discard port of its machine, as the holds of all its calls do.
    #[test]
    fn a_line_that_is_held_or_paused_stays_whatever_it_names_and_is_asked_when_it_goes_on() {
        let (berths, _) = berths(9_300, 4);
        let tenant = TenantId::default();
        let open = |remote: &str| berths.open(&alone(&tenant), &stream(remote)).unwrap().seat.unwrap();
        let (one, other) = (open("192.0.2.1:4000"), open("192.0.2.1:5000"));
        for flowing in [Flowing::Held, Flowing::Paused] {
            let silent = OpenStream { flowing, ..stream("192.0.2.1:9") };
            for seat in [&one, &other] {
                assert!(seat.stays(&silent) && seat.turn(&silent) && seat.covers(&silent));
            }
            assert!(!other.addresses().contains(&"192.0.2.1:5000".parse().unwrap()));
        }
        let goes_on = stream("192.0.2.1:5000");
        assert!(!other.covers(&goes_on) && other.stays(&goes_on) && other.turn(&goes_on));
        // Of what never shares nothing stays.
        let never = OpenStream { may_share: false, flowing: Flowing::Held, ..goes_on };
        assert!(!other.stays(&never) && !other.turn(&never) && other.addresses().is_empty());
    }

    #[test]
    fn with_one_on_a_pair_nothing_is_shared() {
        let (berths, shared) = berths(9_100, 1);
        let tenant = TenantId::default();
        let sockets = berths.open(&alone(&tenant), &stream("192.0.2.1:4000")).unwrap();
        assert!(sockets.seat.is_none() && berths.rested().is_empty());
        assert_eq!(shared.descriptors.load(Ordering::Relaxed), 0);
    }
}
