//! Ports for streams: an even one for RTP and the next for RTCP (RFC 3550 section 11).
//!
//! The range is gone through in turn, so that a port that was closed rests as long as possible: media that a
//! client still sends to it reach nobody else's stream. Where it is wanted, streams of several calls [share](pool) a pair.

pub(super) mod places;
mod pool;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use model::peer::Family;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::handshakes::Knocks;
use super::live::{Room, Which};
pub(crate) use places::{PairId, STREAMS_PER_PORT_MAX, SeatId};
pub(crate) use pool::{Berths, Seat, Whose, canonical};

/// Where streams are received, and what senders are told.
#[derive(Debug, Clone)]
pub(crate) struct PortConfig {
    /// The address that IPv4 sockets are bound to; none: no media over IPv4.
    pub(crate) listen_v4: Option<IpAddr>,
    /// The same for IPv6.
    pub(crate) listen_v6: Option<IpAddr>,
    /// The IPv4 address that senders are told; none: that of the socket.
    pub(crate) advertised_v4: Option<IpAddr>,
    /// The same for IPv6.
    pub(crate) advertised_v6: Option<IpAddr>,
    /// The first port, even.
    pub(crate) min: u16,
    /// The last port, odd.
    pub(crate) max: u16,
    /// Octets of kernel receive buffer asked for per socket.
    pub(crate) receive_buffer: usize,
    /// Sockets only hold their ports and send: what comes is read elsewhere.
    pub(crate) is_held: bool,
}

/// The sockets of a stream.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) rtp: Arc<UdpSocket>,
    /// None when RTCP shares the port.
    pub(crate) rtcp: Option<Arc<UdpSocket>>,
    /// What the sender is told.
    pub(crate) told_rtp: SocketAddr,
    pub(crate) told_rtcp: SocketAddr,
    /// The way to whoever makes handshakes.
    pub(crate) knocks: Knocks,
    /// Where packets may wait for keys.
    pub(crate) room: Room,
    /// Its seat, where others have these sockets too.
    pub(crate) seat: Option<Box<Seat>>,
}

impl Sockets {
    /// The shared pair that they are of, if they are.
    pub(crate) fn pair(&self) -> Option<PairId> {
        self.seat.as_ref().map(|seat| seat.at().0)
    }

    /// Each of them, and what it is for.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Which, &Arc<UdpSocket>)> {
        let rtcp = self.rtcp.as_ref().map(|rtcp| (Which::Rtcp, rtcp));
        std::iter::once((Which::Rtp, &self.rtp)).chain(rtcp)
    }
}

/// Gives ports.
#[derive(Debug)]
pub(crate) struct Ports {
    config: PortConfig,
    /// The first of them.
    first: u16,
    /// From one of them to the next.
    step: u16,
    next: AtomicU16,
    /// One bind at a time, so that two threads do not try the same pair.
    binding: Mutex<()>,
    knocks: Knocks,
    room: Room,
}

impl Ports {
    /// Whoever comes to them to shake hands is told of by `knocks`.
    pub(crate) fn new(config: PortConfig, knocks: Knocks) -> Self {
        let next = AtomicU16::new(config.min);
        let (first, room) = (config.min, Room::default());
        Self { config, first, step: 2, next, binding: Mutex::new(()), knocks, room }
    }

    /// For somebody beside the recorder of this process, if there is one: he begins in the middle of the range.
    pub(crate) fn beside(config: PortConfig) -> Self {
        let middle = config.min + config.max.saturating_sub(config.min) / 4 * 2;
        let ports = Self::new(config, Knocks::new().0);
        ports.next.store(middle, Ordering::Relaxed);
        ports
    }

    /// A pair of sockets of its own, for RTP and RTCP, and what their senders are told.
    pub(crate) fn pair(&self, family: Family) -> io::Result<[(UdpSocket, SocketAddr); 2]> {
        let Sockets { rtp, rtcp, told_rtp, told_rtcp, .. } = self.open(family, false)?;
        let own = |socket| Arc::into_inner(socket).ok_or_else(|| io::Error::other("a socket of two owners"));
        let rtcp = rtcp.ok_or_else(|| io::Error::other("a pair without its second socket"))?;
        Ok([(own(rtp)?, told_rtp), (own(rtcp)?, told_rtcp)])
    }

    /// The same for each of so many threads, where each has ports of its own: a pair is of the thread that its place among
    /// all pairs leaves over when it is divided by their number.
    pub(crate) fn dealt(config: &PortConfig, knocks: &Knocks, threads: usize) -> Vec<Arc<Self>> {
        let threads = u16::try_from(threads).unwrap_or(u16::MAX).max(1);
        let room = Room::default();
        let part = |part: u16| {
            let before = (threads + part - config.min / 2 % threads) % threads;
            let first = config.min.saturating_add(before.saturating_mul(2));
            let (next, step) = (AtomicU16::new(first), threads.saturating_mul(2));
            let (config, knocks, room) = (config.clone(), knocks.clone(), room.clone());
            Arc::new(Self { config, first, step, next, binding: Mutex::new(()), knocks, room })
        };
        (0..threads).map(part).collect()
    }

    /// Opens the next free pair of the range, or one port when RTCP is multiplexed (RFC 5761). Goes through the
    /// range once: calls that stay hold long runs of it.
    pub(crate) fn open(&self, family: Family, mux: bool) -> io::Result<Sockets> {
        self.open_for(1, family, mux)
    }

    /// The same for so many streams.
    fn open_for(&self, streams: usize, family: Family, mux: bool) -> io::Result<Sockets> {
        let _one = self.binding.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (listen, told) = match family {
            Family::V4 => (self.config.listen_v4, self.config.advertised_v4),
            Family::V6 => (self.config.listen_v6, self.config.advertised_v6),
        };
        let listen = listen.ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "media over this address family are not configured")
        })?;
        let told = told.unwrap_or(listen);
        let config = &self.config;
        let mut last = io::Error::new(io::ErrorKind::AddrInUse, "the port range is empty");
        let pairs = usize::from(config.max.saturating_sub(self.first)) / usize::from(self.step) + 1;
        for _ in 0..pairs {
            let port = self.advance();
            if port >= config.max {
                break;
            }
            let bind = |port| bind(SocketAddr::new(listen, port), config, streams);
            let pair = bind(port).and_then(|rtp| {
                let rtcp = if mux { None } else { Some(bind(port + 1)?) };
                Ok((rtp, rtcp))
            });
            match pair {
                Ok((rtp, rtcp)) => {
                    let told_rtp = SocketAddr::new(told, port);
                    let told_rtcp = SocketAddr::new(told, if mux { port } else { port + 1 });
                    let (rtp, rtcp) = (Arc::new(rtp), rtcp.map(Arc::new));
                    let (knocks, room) = (self.knocks.clone(), self.room.clone());
                    return Ok(Sockets { rtp, rtcp, told_rtp, told_rtcp, knocks, room, seat: None });
                }
                // Somebody else has it: the next one. Anything else will not get better by trying.
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => last = e,
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }

    fn advance(&self) -> u16 {
        let port = self.next.load(Ordering::Relaxed);
        let next = match port.checked_add(self.step) {
            Some(n) if n < self.config.max => n,
            _ => self.first,
        };
        self.next.store(next, Ordering::Relaxed);
        port
    }
}

/// A program of the packet filter that lets nothing through.
const NOTHING: [SockFilter; 1] = [SockFilter::new(BPF_RETURN, 0, 0, 0)];
/// `BPF_RET | BPF_K`
const BPF_RETURN: u16 = 0x06;

fn bind(address: SocketAddr, config: &PortConfig, streams: usize) -> io::Result<UdpSocket> {
    // In the call that makes it: setting it afterwards is two more.
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if config.is_held {
        // Before it is bound: nothing is to wait there.
        socket.attach_filter(&NOTHING)?;
    } else {
        // The kernel takes a C int.
        let most = usize::try_from(i32::MAX).unwrap_or(usize::MAX);
        socket.set_recv_buffer_size(config.receive_buffer.saturating_mul(streams).min(most))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// An address of loopback that nobody else binds, below the ports that the kernel gives to whoever asks for any:
    /// a test that wants the whole of a range must have it.
    fn ports(min: u16, max: u16) -> Ports {
        let local = IpAddr::V4(Ipv4Addr::new(127, 44, 0, 1));
        let config = PortConfig {
            listen_v4: Some(local),
            listen_v6: None,
            advertised_v4: Some("192.0.2.1".parse().unwrap()),
            advertised_v6: None,
            min,
            max,
            receive_buffer: 64 << 10,
            is_held: false,
        };
        Ports::new(config, Knocks::new().0)
    }

    #[test]
    fn pairs_are_even_and_odd_and_the_advertised_address_is_told() {
        let ports = ports(9_400, 9_499);
        let (a, b) = (ports.open(Family::V4, false).unwrap(), ports.open(Family::V4, false).unwrap());
        assert_eq!(a.told_rtp.port() % 2, 0);
        assert_eq!(a.told_rtcp.port(), a.told_rtp.port() + 1);
        assert_eq!(a.told_rtp.ip().to_string(), "192.0.2.1");
        assert_ne!(a.told_rtp, b.told_rtp);
    }

    #[test]
    fn each_thread_has_ports_of_its_own_and_together_they_have_all() {
        let config = ports(9_700, 9_723).config;
        let dealt = Ports::dealt(&config, &Knocks::new().0, 5);
        let held: Vec<Vec<Sockets>> = dealt.iter().map(|ports| all(ports)).collect();
        for (part, of) in held.iter().enumerate() {
            assert!(of.iter().all(|s| usize::from(s.told_rtp.port()) / 2 % 5 == part), "{part}: {of:?}");
        }
        let mut taken: Vec<u16> = held.iter().flatten().map(|s| s.told_rtp.port()).collect();
        taken.sort_unstable();
        assert_eq!(taken, (9_700..9_723).step_by(2).collect::<Vec<_>>());
    }

    #[test]
    fn a_family_that_is_not_configured_is_an_error_at_once() {
        let error = ports(9_500, 9_599).open(Family::V6, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }

    /// All that the range has: whoever is bound to a port at every address has it at this one too.
    fn all(ports: &Ports) -> Vec<Sockets> {
        std::iter::from_fn(|| ports.open(Family::V4, false).ok()).collect()
    }

    #[test]
    fn the_one_free_pair_of_a_range_is_found_wherever_it_is() {
        let ports = ports(9_000, 9_399);
        let mut held = all(&ports);
        assert!(held.len() > 100, "{} of 200", held.len());
        for at in [held.len() - 10, 0, 50] {
            let free = held.remove(at).told_rtp;
            let found = ports.open(Family::V4, false).unwrap();
            assert_eq!(found.told_rtp, free);
            held.insert(at, found);
        }
    }

    /// As many octets as a C int cannot say, 64 times 64 MiB: the most that the kernel gives, and not its least.
    #[test]
    fn a_buffer_for_many_streams_is_no_smaller_than_for_one() {
        let config = PortConfig { receive_buffer: 64 << 20, ..ports(9_640, 9_659).config };
        let ports = Ports::new(config, Knocks::new().0);
        let octets = |streams| {
            let sockets = ports.open_for(streams, Family::V4, true).unwrap();
            socket2::SockRef::from(&*sockets.rtp).recv_buffer_size().unwrap()
        };
        assert!(octets(64) >= octets(1), "{} octets", octets(64));
    }

    #[test]
    fn a_full_range_is_an_error_and_a_closed_pair_comes_back() {
        let ports = ports(9_600, 9_603);
        let held = all(&ports);
        assert!(!held.is_empty());
        let error = ports.open(Family::V4, false).unwrap_err();
        let none = model::Failure::Resources("no media port is free".to_owned());
        assert_eq!(super::super::disk::failure(&error), none, "no failure of the storage");
        drop(held);
        assert!(ports.open(Family::V4, false).is_ok());
    }
}
