//! Sends what a batch holds: by one call what goes by one socket, and by one datagram of the kernel's what goes to one
//! address in equal pieces (UDP GSO).
//!
//! An end has ports of its own, so what is forwarded is mostly one datagram a socket, and costs a call; by io_uring what
//! goes by many sockets is handed over by one. Copies for recorders go by a socket for each host, by `sendmmsg`; replays
//! are runs of equal packets to one address, where GSO helps.
//! What the kernel does not take is lost and counted: it is a moment of sound, and what comes next is waiting.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use media::relay::{Outgoing, Sends};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, sendmsg};
use rings::{Passed, Sending};

use crate::answers::TEES;
use crate::arrivals::Arrivals;

/// Datagrams of one call.
const BATCH: usize = 64;
/// Octets that the kernel takes as one datagram to cut: 64 KiB less its headers.
const SEGMENTED_MAX: usize = 64_000;
/// Equal datagrams in a row from which on it is worth it.
const RUN_MIN: usize = 4;
/// Answers of ICMP to earlier datagrams that are read over.
const ERRORS_MAX: usize = 2;

/// Whether the kernel cuts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Segmentation {
    /// Until it is seen that it does not.
    Tried,
    Missing,
}

/// Buffers of a thread, and what it counts.
pub(crate) struct Sender {
    headers: MultiHeaders<SockaddrStorage>,
    addresses: Vec<Option<SockaddrStorage>>,
    segmentation: Segmentation,
    /// What sends by many sockets at once, where there is such a thing.
    ring: Option<Box<Sending>>,
    pub(crate) sent: u64,
    pub(crate) unsent: u64,
    pub(crate) calls: u64,
}

impl Sender {
    /// What is forwarded goes by the ring, if there is one.
    pub(crate) fn new(ring: Option<Box<Sending>>) -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            addresses: Vec::with_capacity(BATCH),
            segmentation: Segmentation::Tried,
            ring,
            sent: 0,
            unsent: 0,
            calls: 0,
        }
    }

    pub(crate) const fn is_by_ring(&self) -> bool {
        self.ring.is_some()
    }

    /// From now on each goes by a call of its own.
    pub(crate) fn give_up_ring(&mut self) {
        self.ring = None;
    }

    /// Sends what is forwarded, each by its port.
    pub(crate) fn forward<'a>(
        &mut self,
        sends: &'a Sends,
        port: impl Fn(&Outgoing) -> Option<&'a UdpSocket>,
    ) {
        let forwards = sends.forwards();
        if forwards.is_empty() {
            return;
        }
        if let Some(ring) = &mut self.ring {
            let each = forwards.iter().filter_map(|o| Some((port(o)?, o.to, sends.octets(o))));
            let mut passed = Passed::default();
            if ring.send(each, &mut passed).is_err() {
                self.give_up_ring();
            }
            self.sent += passed.sent;
            self.unsent += forwards.len() as u64 - passed.sent;
            self.calls += passed.calls;
            return;
        }
        for run in forwards.chunk_by(|a, b| (a.tag, a.by) == (b.tag, b.by)) {
            match run.first().and_then(&port) {
                Some(socket) => self.send(socket, sends, run),
                None => self.unsent += run.len() as u64,
            }
        }
    }

    /// Sends datagrams by one socket, in their order.
    pub(crate) fn send(&mut self, socket: &UdpSocket, sends: &Sends, mut datagrams: &[Outgoing]) {
        while let [first, rest @ ..] = datagrams {
            let run = self.run(sends, datagrams);
            let count = if rest.is_empty() {
                self.one(socket, sends, first);
                1
            } else if run >= RUN_MIN {
                self.segmented(socket, sends, datagrams.get(..run).unwrap_or_default());
                run
            } else {
                let count = datagrams.len().min(BATCH);
                self.many(socket, sends, datagrams.get(..count).unwrap_or_default());
                count
            };
            datagrams = datagrams.get(count..).unwrap_or_default();
        }
    }

    /// How many at the front are equally long and to one address.
    fn run(&self, sends: &Sends, datagrams: &[Outgoing]) -> usize {
        let (Some(first), Segmentation::Tried) = (datagrams.first(), self.segmentation) else { return 0 };
        let length = sends.octets(first).len();
        let most = BATCH.min(SEGMENTED_MAX / length.max(1));
        let is_same = |d: &&Outgoing| d.to == first.to && sends.octets(d).len() == length;
        datagrams.iter().take(most).take_while(is_same).count()
    }

    fn one(&mut self, socket: &UdpSocket, sends: &Sends, datagram: &Outgoing) {
        for _ in 0..=ERRORS_MAX {
            self.calls += 1;
            match socket.send_to(sends.octets(datagram), datagram.to) {
                Ok(_) => {
                    self.sent += 1;
                    return;
                }
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Err(_) => break,
            }
        }
        self.unsent += 1;
    }

    fn many(&mut self, socket: &UdpSocket, sends: &Sends, datagrams: &[Outgoing]) {
        let mut slices = [[IoSlice::new(&[])]; BATCH];
        self.addresses.clear();
        for (slice, datagram) in slices.iter_mut().zip(datagrams) {
            *slice = [IoSlice::new(sends.octets(datagram))];
            self.addresses.push(Some(datagram.to.into()));
        }
        let (mut from, mut errors) = (0, 0);
        while from < datagrams.len() {
            self.calls += 1;
            let slices = slices.get(from..datagrams.len()).unwrap_or_default();
            let addresses = self.addresses.get(from..).unwrap_or_default();
            let fd = socket.as_raw_fd();
            let sent = sendmmsg(fd, &mut self.headers, slices, addresses, [], MsgFlags::MSG_DONTWAIT);
            match sent.map(Iterator::count) {
                Ok(count) if count > 0 => {
                    self.sent += count as u64;
                    from += count;
                }
                Err(Errno::ECONNREFUSED) if errors < ERRORS_MAX => errors += 1,
                // There is no room for more.
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    self.unsent += (datagrams.len() - from) as u64;
                    return;
                }
                // This one cannot be sent.
                _ => {
                    self.unsent += 1;
                    from += 1;
                }
            }
        }
    }

    /// Equal pieces to one address, of which the kernel makes datagrams.
    fn segmented(&mut self, socket: &UdpSocket, sends: &Sends, datagrams: &[Outgoing]) {
        let mut slices = [IoSlice::new(&[]); BATCH];
        for (slice, datagram) in slices.iter_mut().zip(datagrams) {
            *slice = IoSlice::new(sends.octets(datagram));
        }
        let Some(first) = datagrams.first() else { return };
        let size = u16::try_from(sends.octets(first).len()).unwrap_or(u16::MAX);
        let (to, cut) = (SockaddrStorage::from(first.to), [ControlMessage::UdpGsoSegments(&size)]);
        let slices = slices.get(..datagrams.len()).unwrap_or_default();
        self.calls += 1;
        match sendmsg(socket.as_raw_fd(), slices, &cut, MsgFlags::MSG_DONTWAIT, Some(&to)) {
            Ok(_) => self.sent += datagrams.len() as u64,
            Err(Errno::EAGAIN | Errno::ENOBUFS) => self.unsent += datagrams.len() as u64,
            Err(e) => {
                // EIO: the interface makes no checksums. EMSGSIZE: a piece is longer than its frames.
                if matches!(e, Errno::EIO | Errno::EINVAL | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) {
                    self.segmentation = Segmentation::Missing;
                }
                self.many(socket, sends, datagrams);
            }
        }
    }
}

/// Sockets that copies for recorders are sent from: one for each host that there are recorders on. One whose network takes
/// nothing fills the buffer of its own, and costs the others nothing.
pub(crate) struct TeeSockets {
    /// For hosts beyond [`HOSTS_MAX`], and where there was no descriptor for one more.
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    hosts: Vec<(IpAddr, Arc<UdpSocket>)>,
}

impl TeeSockets {
    pub(crate) fn open() -> Self {
        Self { v4: socket("0.0.0.0:0"), v6: socket("[::]:0"), hosts: Vec::new() }
    }

    /// A recorder is to be sent to. What it is sent comes from the same port from now on, and what it answers is read there;
    /// of those that share a socket nothing is.
    pub(crate) fn meet(&mut self, host: IpAddr, arrivals: &mut Arrivals) {
        if self.hosts.len() >= HOSTS_MAX || self.own(host).is_some() {
            return;
        }
        if let Some(socket) = socket(if host.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }) {
            let socket = Arc::new(socket);
            // Without it there are no reports for its clients, and copies go all the same.
            let _ = arrivals.watch(key(self.hosts.len()), &socket);
            self.hosts.push((host, socket));
        }
    }

    /// Those that are read, each with its key.
    pub(crate) fn watched(&self) -> impl Iterator<Item = (u64, &Arc<UdpSocket>)> {
        self.hosts.iter().enumerate().map(|(place, (_, socket))| (key(place), socket))
    }

    pub(crate) fn towards(&self, to: SocketAddr) -> Option<&UdpSocket> {
        let shared = if to.is_ipv4() { self.v4.as_ref() } else { self.v6.as_ref() };
        self.own(to.ip()).or(shared)
    }

    fn own(&self, host: IpAddr) -> Option<&UdpSocket> {
        self.hosts.iter().find(|(of, _)| *of == host).map(|(_, socket)| &**socket)
    }
}

fn key(place: usize) -> u64 {
    (TEES as u64) << 16 | (place as u64) << 1
}

fn socket(any: &str) -> Option<UdpSocket> {
    let socket = UdpSocket::bind(any).ok()?;
    socket.set_nonblocking(true).ok()?;
    // Copies of two seconds of many calls at once.
    let _ = nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::SndBuf, &SEND_BUFFER);
    Some(socket)
}

/// Octets of the kernel's buffer of a socket for copies.
const SEND_BUFFER: usize = 4 << 20;
/// 32: more record servers than a proxy has. Those that it is told of later in its life share a socket.
const HOSTS_MAX: usize = 32;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::sys::eventfd::{EfdFlags, EventFd};

    use super::*;
    use crate::arrivals::Prepared;

    #[test]
    fn each_host_has_a_socket_as_far_as_there_are_some() {
        let mut sockets = TeeSockets::open();
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let mut arrivals = Prepared::new(&wake).unwrap().begin();
        let port = |sockets: &TeeSockets, host: u8, port| {
            let to = SocketAddr::from(([127, 0, 0, host], port));
            sockets.towards(to).unwrap().local_addr().unwrap().port()
        };
        let shared = port(&sockets, 1, 4_000);
        for _ in 0..2 {
            (1..=40).for_each(|host| sockets.meet([127, 0, 0, host].into(), &mut arrivals));
        }
        let own: Vec<u16> = (1..=40).map(|host| port(&sockets, host, 4_000)).collect();
        assert_eq!(port(&sockets, 7, 4_002), own[6], "the same for all its ports");
        let (known, later) = own.split_at(HOSTS_MAX);
        let different: std::collections::BTreeSet<_> = known.iter().chain([&shared]).collect();
        assert_eq!(different.len(), HOSTS_MAX + 1);
        assert!(later.iter().all(|port| *port == shared));
        assert_eq!(sockets.watched().count(), HOSTS_MAX);
    }
}
